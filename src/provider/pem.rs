//! Keys in PEM files, with no vault at all: a public one seals, a private one opens.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::io::escaped_path;
use crate::key::{KeyAlias, KeyRef, KeyState, KeyVersion, SpkiHash, Thumbprint, VaultName};
use crate::oaep::{RsaKeyError, RsaPrivateKey, RsaPublicKey, WrapAlgorithm};
use crate::provider::{KeyProvider, OpContext, ProviderError, ProviderErrorKind, WrappedKey, wrap_locally};
use crate::secret::SecretBytes;

/// Provides the keys of the PEM files that it was given, and of no others.
#[derive(Debug)]
pub struct PemFiles {
    name: VaultName,
    keys: BTreeMap<Thumbprint, PemKey>,
    paths: BTreeMap<PathBuf, Thumbprint>,
}

impl PemFiles {
    /// Starts without keys, under the vault name `file`.
    ///
    /// # Panics
    ///
    /// Never: the name is a valid one.
    pub fn new() -> Self {
        Self { name: "file".parse().expect("a valid name"), keys: BTreeMap::new(), paths: BTreeMap::new() }
    }

    /// Adds the key of the file at `path`.
    ///
    /// # Errors
    ///
    /// [`PemError`] with the reason.
    pub fn add(&mut self, path: &Path) -> Result<KeyVersion, PemError> {
        let key = PemKey::read(path)?;
        let version = key.version.clone();
        self.paths.insert(path.to_owned(), version.thumbprint);
        // The private half of the same key may come after its public half, never the other way round.
        let known = self.keys.get(&version.thumbprint).is_some_and(|known| known.private.is_some());
        if !known {
            self.keys.insert(version.thumbprint, key);
        }
        Ok(version)
    }

    fn missing(&self, key: &str) -> ProviderError {
        ProviderError::new(ProviderErrorKind::NotFound, &self.name, key)
    }
}

impl Default for PemFiles {
    fn default() -> Self {
        Self::new()
    }
}

impl KeyProvider for PemFiles {
    fn name(&self) -> &VaultName {
        &self.name
    }

    fn version(&self, key: &KeyRef, cx: &OpContext) -> Result<KeyVersion, ProviderError> {
        cx.in_time(&self.name, &key.to_string())?;
        let found = match key {
            KeyRef::Alias(prefix) => {
                let fits = |known: &&PemKey| prefix.matches(&KeyAlias::Spki(SpkiHash::of(&known.version.public)));
                self.keys.values().find(fits)
            }
            KeyRef::File(path) => self.paths.get(path).and_then(|of| self.keys.get(of)),
            KeyRef::Thumbprint(prefix) => self.keys.values().find(|known| prefix.matches(&known.version.thumbprint)),
            KeyRef::Named { .. } => None,
        };
        found.map(|known| known.version.clone()).ok_or_else(|| self.missing(&key.to_string()))
    }

    fn find(&self, of: &Thumbprint, cx: &OpContext) -> Result<KeyVersion, ProviderError> {
        cx.in_time(&self.name, &format!("jkt:{of}"))?;
        self.keys.get(of).map(|known| known.version.clone()).ok_or_else(|| self.missing(&format!("jkt:{of}")))
    }

    fn wrap_key(&self, kek: &KeyVersion, secret: &SecretBytes, cx: &OpContext) -> Result<WrappedKey, ProviderError> {
        wrap_locally(&self.name, kek, WrapAlgorithm::RsaOaep256, secret, cx)
    }

    fn unwrap_key(&self, wrapped: &WrappedKey, cx: &OpContext) -> Result<SecretBytes, ProviderError> {
        cx.in_time(&self.name, &wrapped.id)?;
        let known = self.keys.get(&wrapped.thumbprint).ok_or_else(|| self.missing(&wrapped.id))?;
        let private = known.private.as_ref().ok_or_else(|| {
            ProviderError::new(ProviderErrorKind::Unsupported, &self.name, &known.version.id).because(PublicOnly)
        })?;
        private
            .decrypt(wrapped.algorithm, &wrapped.ciphertext)
            .map_err(|_| ProviderError::new(ProviderErrorKind::UnwrapFailed, &self.name, &known.version.id))
    }
}

/// One key read from a PEM file.
#[derive(Debug)]
pub struct PemKey {
    /// The public half, described.
    pub version: KeyVersion,
    private: Option<RsaPrivateKey>,
}

impl PemKey {
    /// Reads a `PUBLIC KEY`, `RSA PUBLIC KEY`, `PRIVATE KEY` or `RSA PRIVATE KEY`.
    ///
    /// # Errors
    ///
    /// [`PemError`] with the reason.
    pub fn read(path: &Path) -> Result<Self, PemError> {
        let fail = |fault| PemError { path: path.to_owned(), fault };
        let text = read_small(path).map_err(|error| fail(PemFault::Io(error)))?;
        let (public, private) = parse(&text).map_err(fail)?;
        let version = KeyVersion {
            id: format!("file:{}", path.display()),
            thumbprint: Thumbprint::of(&public),
            state: KeyState::Enabled,
            not_before: None,
            not_after: None,
            created: None,
            customer: true,
            public,
        };
        Ok(Self { version, private })
    }

    /// Whether the file holds the private half.
    pub fn is_private(&self) -> bool {
        self.private.is_some()
    }

    /// Takes the private half, where there is one.
    pub fn into_private(self) -> Option<RsaPrivateKey> {
        self.private
    }
}

/// Why a PEM file gives no key.
#[derive(Debug)]
pub struct PemError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub fault: PemFault,
}

/// What is wrong with a PEM file.
#[derive(Debug)]
#[non_exhaustive]
pub enum PemFault {
    /// The private key is encrypted under a password.
    Encrypted,
    /// It can't be read.
    Io(io::Error),
    /// The key itself is refused.
    Key(RsaKeyError),
    /// Another kind of PEM block.
    Label(String),
    /// Not exactly one PEM block.
    NotOneBlock,
}

impl fmt::Display for PemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = escaped_path(&self.path);
        match &self.fault {
            PemFault::Encrypted => {
                write!(f, "the key in {path} is encrypted; decrypt it first: openssl pkey -in {path} -out KEY.pem")
            }
            PemFault::Io(_) => write!(f, "can't read the key file {path}"),
            PemFault::Key(_) => write!(f, "the key in {path} is refused"),
            PemFault::Label(label) => {
                write!(f, "{path} holds a '{}', not a PUBLIC KEY or PRIVATE KEY", crate::io::Escaped(label))
            }
            PemFault::NotOneBlock => write!(f, "{path} is not a file with exactly one PEM block"),
        }
    }
}

impl std::error::Error for PemError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.fault {
            PemFault::Io(error) => Some(error),
            PemFault::Key(error) => Some(error),
            PemFault::Encrypted | PemFault::Label(_) | PemFault::NotOneBlock => None,
        }
    }
}

/// The file holds only the public half.
#[derive(Debug)]
struct PublicOnly;

impl fmt::Display for PublicOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the file holds only the public half; opening needs the private one")
    }
}

impl std::error::Error for PublicOnly {}

fn parse(text: &SecretBytes) -> Result<(RsaPublicKey, Option<RsaPrivateKey>), PemFault> {
    let blocks = text.expose().windows(BEGIN.len()).filter(|window| window == &BEGIN).count();
    if blocks != 1 {
        return Err(PemFault::NotOneBlock);
    }
    // PKCS#1's own encryption stands in headers, which RFC 7468 has not.
    if text.expose().windows(PROC_TYPE.len()).any(|window| window == PROC_TYPE) {
        return Err(PemFault::Encrypted);
    }
    let mut decoder =
        pem_rfc7468::Decoder::new_detect_wrap(trimmed(text.expose())).map_err(|_| PemFault::NotOneBlock)?;
    let label = decoder.type_label().to_owned();
    let mut der = SecretBytes::zeroed(decoder.remaining_len());
    decoder.decode(der.expose_mut()).map_err(|_| PemFault::NotOneBlock)?;
    let private = match label.as_str() {
        "PUBLIC KEY" => return RsaPublicKey::from_spki_der(der.expose()).map(|key| (key, None)).map_err(PemFault::Key),
        "RSA PUBLIC KEY" => {
            return RsaPublicKey::from_pkcs1_der(der.expose()).map(|key| (key, None)).map_err(PemFault::Key);
        }
        "PRIVATE KEY" => RsaPrivateKey::from_pkcs8_der(&der),
        "RSA PRIVATE KEY" => RsaPrivateKey::from_pkcs1_der(&der),
        "ENCRYPTED PRIVATE KEY" => return Err(PemFault::Encrypted),
        _ => return Err(PemFault::Label(label)),
    };
    let private = private.map_err(PemFault::Key)?;
    Ok((private.public().map_err(PemFault::Key)?, Some(private)))
}

/// Drops what stands before the block and white space behind it: `openssl` writes comments there.
fn trimmed(text: &[u8]) -> &[u8] {
    let start = text.windows(BEGIN.len()).position(|window| window == BEGIN).unwrap_or(0);
    text.get(start..).unwrap_or_default().trim_ascii_end()
}

/// Reads a file of at most 64 KiB into locked memory.
fn read_small(path: &Path) -> io::Result<SecretBytes> {
    // A FIFO without a writer must not block.
    let no_wait =
        i32::try_from((OFlags::NONBLOCK | OFlags::CLOEXEC).bits()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut file = OpenOptions::new().read(true).custom_flags(no_wait).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let mut bytes = SecretBytes::zeroed(MAX_FILE + 1);
    let mut len = 0;
    loop {
        let rest = bytes.expose_mut().get_mut(len..).unwrap_or_default();
        match file.read(rest) {
            Ok(0) => break,
            Ok(count) => len += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    if len > MAX_FILE {
        return Err(io::Error::from(io::ErrorKind::FileTooLarge));
    }
    bytes.truncate(len);
    Ok(bytes)
}

const BEGIN: &[u8] = b"-----BEGIN ";
const PROC_TYPE: &[u8] = b"Proc-Type:";
const MAX_FILE: usize = 64 * 1024;

#[cfg(test)]
mod tests;
