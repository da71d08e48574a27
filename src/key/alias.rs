//! Other names of key material than its thumbprint: those that certificates, tokens and other vaults have for it.

mod prefix;

use std::fmt;
use std::str::FromStr;

pub(crate) use prefix::BitPrefix;
pub use prefix::{AliasError, AliasPrefix};

use crate::io::Escaped;
use crate::kdf;
use crate::oaep::RsaPublicKey;

/// Another name of one key version, with the algorithm that it comes from.
///
/// `Display` is `spki:…`, `x5t:…`, `cka:…` or `url:…`, with the hashes in lower-case hexadecimal: that is what `sha256sum`, `openssl x509
/// -fingerprint`, `certutil` and `pkcs11-tool` print, it needs no care with case or with `+`, `/` and `=` on a command line, and it can't
/// be taken for a thumbprint, which RFC 7638 has in base64url. Base64 is read all the same, as in public key pins and in `x5t` members.
///
/// Only an [`Spki`](Self::Spki) says what the key *is*. The others say what somebody called it, and two keys may have the same one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum KeyAlias {
    /// A certificate of this key.
    Certificate(CertificateHash),
    /// The id of the key in a PKCS#11 token.
    CkaId(CkaId),
    /// The public half.
    Spki(SpkiHash),
    /// The key in Key Vault, with its version.
    Url(KeyUrl),
}

impl KeyAlias {
    /// Returns which kind of name it is.
    pub fn kind(&self) -> AliasKind {
        match self {
            Self::Certificate(_) => AliasKind::Certificate,
            Self::CkaId(_) => AliasKind::CkaId,
            Self::Spki(_) => AliasKind::Spki,
            Self::Url(_) => AliasKind::Url,
        }
    }

    /// Returns what is compared: the hash, the id, or the text of the URL in lower case.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Certificate(hash) => hash.as_bytes(),
            Self::CkaId(id) => id.as_bytes(),
            Self::Spki(hash) => hash.as_bytes(),
            Self::Url(url) => url.as_str().as_bytes(),
        }
    }

    /// Takes what [`as_bytes`](Self::as_bytes) gave; `None` where the bytes are no such alias.
    pub fn from_bytes(kind: AliasKind, bytes: &[u8]) -> Option<Self> {
        Some(match kind {
            AliasKind::Certificate => Self::Certificate(CertificateHash::from_bytes(bytes.try_into().ok()?)),
            AliasKind::CkaId => Self::CkaId(CkaId::new(bytes)?),
            AliasKind::Spki => Self::Spki(SpkiHash::from_bytes(bytes.try_into().ok()?)),
            AliasKind::Url => {
                let text = std::str::from_utf8(bytes).ok()?;
                Self::Url(text.parse().ok().filter(|url: &KeyUrl| url.as_str() == text)?)
            }
        })
    }
}

impl FromStr for KeyAlias {
    type Err = AliasError;

    /// Reads a whole alias, never an abbreviated one.
    fn from_str(text: &str) -> Result<Self, AliasError> {
        AliasPrefix::parse(text).ok_or(AliasError::Scheme)??.into_whole()
    }
}

impl fmt::Display for KeyAlias {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.kind().scheme())?;
        match self {
            Self::Url(url) => write!(f, "{}", Escaped(url.as_str())),
            other => other.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

/// A kind of alias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum AliasKind {
    /// `x5t:`
    Certificate,
    /// `cka:`
    CkaId,
    /// `spki:`
    Spki,
    /// `url:`
    Url,
}

impl AliasKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Certificate, Self::CkaId, Self::Spki, Self::Url];

    /// Returns the word in front of the colon.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::Certificate => "x5t",
            Self::CkaId => "cka",
            Self::Spki => "spki",
            Self::Url => "url",
        }
    }

    /// Returns the name of the algorithm that gives such an alias, or of what chose it.
    pub fn algorithm(self) -> &'static str {
        match self {
            Self::Certificate => "certificate SHA-1",
            Self::CkaId => "PKCS#11 CKA_ID",
            Self::Spki => "SPKI SHA-256",
            Self::Url => "Key Vault URL",
        }
    }
}

/// SHA-256 of a public key as `SubjectPublicKeyInfo` in DER (RFC 7469 §2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpkiHash([u8; 32]);

impl SpkiHash {
    /// Computes the hash of `key`.
    pub fn of(key: &RsaPublicKey) -> Self {
        Self(kdf::sha256(&[key.spki_der()]))
    }

    /// Takes a hash that was computed elsewhere.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// SHA-1 of a certificate in DER (RFC 7515 §4.1.7). It finds a key, and proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CertificateHash([u8; 20]);

impl CertificateHash {
    /// Takes a hash that was computed elsewhere.
    pub const fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }
}

/// `CKA_ID` (PKCS#11 §4.4): 1 to 255 bytes, which whoever stores a key in a token chooses. No two tokens need agree.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CkaId(Vec<u8>);

impl CkaId {
    /// Takes the bytes; `None` where there are none, or more than 255.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (1..=MOST_ID).contains(&bytes.len()).then(|| Self(bytes.to_vec()))
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// `https://HOST/keys/NAME/VERSION`: a key in Key Vault with its version of 32 hexadecimal digits, in lower case because case does not count
/// there (R61, R62).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyUrl(String);

impl KeyUrl {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyUrl {
    type Err = AliasError;

    fn from_str(text: &str) -> Result<Self, AliasError> {
        let lower = text.to_ascii_lowercase();
        let parts: Vec<&str> = lower.strip_prefix("https://").ok_or(AliasError::Url)?.split('/').collect();
        let plain = |text: &str, more: &str| {
            text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || more.as_bytes().contains(&byte))
        };
        match parts.as_slice() {
            [host, "keys", name, version]
                if (1..=MOST_HOST).contains(&host.len())
                    && plain(host, ".:")
                    && (1..=MOST_NAME).contains(&name.len())
                    && plain(name, "")
                    && version.len() == VERSION_DIGITS
                    && version.bytes().all(|byte| byte.is_ascii_hexdigit()) =>
            {
                Ok(Self(lower))
            }
            _ => Err(AliasError::Url),
        }
    }
}

/// Bytes.
const MOST_ID: usize = 255;
/// A DNS name and a port.
const MOST_HOST: usize = 253 + 6;
const MOST_NAME: usize = 127;
const VERSION_DIGITS: usize = 32;

#[cfg(test)]
mod tests;
