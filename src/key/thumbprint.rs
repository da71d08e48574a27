//! The identity of a key's material.

use std::fmt;
use std::str::FromStr;

use base64ct::{Base64UrlUnpadded, Encoding};

use crate::kdf;
use crate::key::BitPrefix;
use crate::oaep::RsaPublicKey;

/// SHA-256 JWK thumbprint (RFC 7638 §3) of an RSA public key: the same wherever the key lives. `Display` is base64url without padding.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Thumbprint([u8; 32]);

impl Thumbprint {
    /// Computes the thumbprint of `key`.
    pub fn of(key: &RsaPublicKey) -> Self {
        let exponent = Base64UrlUnpadded::encode_string(key.exponent());
        let modulus = Base64UrlUnpadded::encode_string(key.modulus());
        let jwk = format!(r#"{{"e":"{exponent}","kty":"RSA","n":"{modulus}"}}"#);
        Self(kdf::sha256(&[jwk.as_bytes()]))
    }

    /// Takes the bytes of a thumbprint that was computed elsewhere.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the first 12 characters, enough for a person to tell keys apart.
    pub fn short(&self) -> String {
        self.to_string().chars().take(SHORT).collect()
    }
}

impl FromStr for Thumbprint {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let mut bytes = [0; 32];
        let len = Base64UrlUnpadded::decode(text, &mut bytes).map_err(|_| TextError)?.len();
        if len == bytes.len() { Ok(Self(bytes)) } else { Err(TextError) }
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Base64UrlUnpadded::encode_string(&self.0))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thumbprint({self})")
    }
}

/// The beginning of a thumbprint's text: 6 to 43 characters of base64url.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ThumbprintPrefix(String);

impl ThumbprintPrefix {
    /// Whether `thumbprint` begins like this.
    pub fn matches(&self, thumbprint: &Thumbprint) -> bool {
        thumbprint.to_string().starts_with(&self.0)
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the range in which every thumbprint that begins like this lies, from the first to before the second; `None` where there can
    /// be none.
    #[cfg_attr(not(feature = "store"), expect(dead_code, reason = "only databases look up by ranges"))]
    pub(crate) fn range(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        BitPrefix::from_base64(&self.0, 32).map(|prefix| prefix.range())
    }
}

impl FromStr for ThumbprintPrefix {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        if plain && (MIN_PREFIX..=FULL).contains(&text.len()) { Ok(Self(text.to_owned())) } else { Err(TextError) }
    }
}

/// Not the text of a thumbprint, or of the beginning of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextError;

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a thumbprint is {MIN_PREFIX} to {FULL} characters of base64url")
    }
}

impl std::error::Error for TextError {}

const SHORT: usize = 12;
const MIN_PREFIX: usize = 6;
const FULL: usize = 43;

#[cfg(test)]
mod tests;
