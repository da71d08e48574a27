//! Key files: an RSA private key is read from what other tools write, and written for other vaults (R28, R40, R69).
//!
//! [`Importer::read`] takes PEM and DER (PKCS#8, encrypted PKCS#8, PKCS#1), PFX (PKCS#12), JWK and `.byok`, and refuses every
//! file that does not hold exactly one stand-alone RSA key of 2048, 3072 or 4096 bits, with the reason (R10, R38, R70).
//! [`write_byok`] writes what Key Vault imports.

mod asn1;
mod byok;
mod certificate;
mod detect;
mod encryption;
mod error;
mod json;
mod jwk;
mod numbers;
mod pem;
mod pfx;

use std::error::Error;
use std::fmt;
use std::str::FromStr;

pub use byok::write_byok;
pub use error::{ExportError, ImportError, UnknownFormat};

use self::encryption::Unlock;
use crate::key::{CertificateHash, KeyVersion};
use crate::oaep::RsaPrivateKey;
use crate::provider::{KeyProvider, OpContext};
use crate::secret::SecretBytes;

/// The size that no key file exceeds, in bytes: 64 KiB.
pub const MAX_LEN: usize = 64 * 1024;

/// Gives the passphrase of a file; it is called at most once, and only for a file that has one.
pub type Passphrase<'a> = dyn FnMut() -> Result<SecretBytes, Box<dyn Error + Send + Sync>> + 'a;

/// Reads one private key out of a file that another tool has written.
///
/// **Certificates (R10).** A certificate beside the key says that the key belongs to somebody's identity: it is replaced when the
/// certificate is renewed, and destroyed with it, and then nothing that it wrapped opens. So a file that holds a certificate, be it PFX,
/// PEM or JWK, is refused as [`ImportError::Certificate`], whoever issued it: most self-signed ones are in use as well. A key that is exported
/// alone (`openssl pkcs12 -export -nocerts`) is taken (R40). Who knows that the certificate is mere packaging says so with
/// [`discard_certificates`](Self::discard_certificates).
///
/// ```
/// use sobre::provider::import::{Format, Importer};
/// use sobre::secret::SecretBytes;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/imports/modern.pfx");
/// let mut ask = || Ok(SecretBytes::copied_from(b"sobre-test"));
/// let key = Importer::new().passphrase(&mut ask).read(&SecretBytes::taken_from(std::fs::read(path)?))?;
/// assert_eq!((key.format, key.private.public()?.bits()), (Format::Pfx, 2048));
/// # Ok(())
/// # }
/// ```
pub struct Importer<'a> {
    format: Option<Format>,
    passphrase: Option<&'a mut Passphrase<'a>>,
    target: Option<ByokTarget<'a>>,
    discard_certificates: bool,
}

impl<'a> Importer<'a> {
    /// Starts with what needs no passphrase; the format is found out from the bytes.
    pub fn new() -> Self {
        Self { format: None, passphrase: None, target: None, discard_certificates: false }
    }

    /// Insists on one format.
    #[must_use]
    pub fn format(mut self, format: Format) -> Self {
        self.format = Some(format);
        self
    }

    /// Asks `passphrase` when the file is encrypted.
    #[must_use]
    pub fn passphrase(mut self, passphrase: &'a mut Passphrase<'a>) -> Self {
        self.passphrase = Some(passphrase);
        self
    }

    /// Opens `.byok` files with `version` of `provider`: the key that they were written for. Its private half stays where it is;
    /// [`PemFiles`](crate::provider::PemFiles) serves one that is in a file.
    #[must_use]
    pub fn byok_target(mut self, provider: &'a dyn KeyProvider, version: &'a KeyVersion, cx: &'a OpContext) -> Self {
        self.target = Some(ByokTarget { provider, version, cx });
        self
    }

    /// Takes a key that has certificates beside it, and drops them.
    #[must_use]
    pub fn discard_certificates(mut self) -> Self {
        self.discard_certificates = true;
        self
    }

    /// Reads the key in `file`: at most [`MAX_LEN`] bytes, of which none may be left over.
    ///
    /// The work that a passphrase may cost is bounded (a few seconds, 256 MiB). The key has passed AWS-LC's checks of all its
    /// numbers against each other, and has unwrapped what its public half had wrapped.
    ///
    /// # Errors
    ///
    /// [`ImportError`] with the reason. A wrong passphrase and a damaged ciphertext look alike
    /// ([`Undecryptable`](ImportError::Undecryptable)).
    pub fn read(self, file: &SecretBytes) -> Result<ImportedKey, ImportError> {
        if file.len() > MAX_LEN {
            return Err(ImportError::TooLong(file.len()));
        }
        let found = detect::format(file.expose())?;
        if let Some(expected) = self.format.filter(|&expected| expected != found) {
            return Err(ImportError::OtherFormat { expected, found });
        }
        let mut unlock = Unlock::new(self.passphrase);
        let certificates = self.discard_certificates;
        let read = match found {
            Format::Byok => Read::of(byok::read(file, self.target.as_ref())?),
            Format::Der => Read::of(asn1::read(file, &mut unlock)?),
            Format::Jwk => jwk::read(file, certificates)?,
            Format::Pem => pem::read(file, certificates, &mut unlock)?,
            Format::Pfx => pfx::read(file, certificates, &mut unlock)?,
        };
        let public = read.private.public().map_err(|_| ImportError::Inconsistent)?;
        let certificates = certificate::hashes(&read.certificates, &public);
        Ok(ImportedKey { private: read.private, format: found, name: read.name, certificates })
    }
}

impl Default for Importer<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Importer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Importer")
            .field("format", &self.format)
            .field("discard_certificates", &self.discard_certificates)
            .finish_non_exhaustive()
    }
}

/// A key as it came out of a file.
#[derive(Debug)]
pub struct ImportedKey {
    /// The key: checked, and proved to unwrap.
    pub private: RsaPrivateKey,
    /// What the file was.
    pub format: Format,
    /// What the file calls the key: a JWK's `kid`, a PFX's friendly name. Chosen by whoever wrote the file: to be escaped, and a suggestion only.
    pub name: Option<String>,
    /// SHA-1 of the certificates in the file that are this key's own: what it was known by, for those who look for it.
    pub certificates: Vec<CertificateHash>,
}

/// Whether `file` is a backup blob of Key Vault, in any of the forms that its tools write.
pub(super) fn is_key_vault_backup(file: &[u8]) -> bool {
    matches!(detect::format(file), Err(ImportError::KeyVaultBackup))
}

/// The formats of key files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Key Vault's package, wrapped under a key of the vault that it is for (R69).
    Byok,
    /// PKCS#8, encrypted PKCS#8 or PKCS#1 in DER.
    Der,
    /// A JSON Web Key (RFC 7517, RFC 7518 §6.3).
    Jwk,
    /// PKCS#8, encrypted PKCS#8 or PKCS#1 in PEM (RFC 7468).
    Pem,
    /// PKCS#12 (RFC 7292).
    Pfx,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Byok, Self::Der, Self::Jwk, Self::Pem, Self::Pfx];

    /// Returns the name that [`FromStr`] takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Byok => "byok",
            Self::Der => "der",
            Self::Jwk => "jwk",
            Self::Pem => "pem",
            Self::Pfx => "pfx",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        Self::ALL.into_iter().find(|format| format.name() == text).ok_or_else(|| UnknownFormat(text.to_owned()))
    }
}

/// What a reader of one format found.
struct Read {
    private: RsaPrivateKey,
    name: Option<String>,
    /// In DER, whosever they are.
    certificates: Vec<Vec<u8>>,
}

impl Read {
    /// A key and nothing else.
    fn of(private: RsaPrivateKey) -> Self {
        Self { private, name: None, certificates: Vec::new() }
    }
}

/// The key for which a `.byok` file was written, and who holds it.
struct ByokTarget<'a> {
    provider: &'a dyn KeyProvider,
    version: &'a KeyVersion,
    cx: &'a OpContext,
}

#[cfg(test)]
mod tests;
