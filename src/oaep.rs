//! RSA-OAEP (RFC 8017 §7.1) and RSA keys, by AWS-LC: its private operation runs in constant time.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey,
    PrivateDecryptingKey, PublicEncryptingKey,
};
use der::{Decode, Encode};

use crate::secret::SecretBytes;

/// How a KEK wraps: the hash and mask function of RSA-OAEP (R77).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WrapAlgorithm {
    /// `RSA-OAEP`: SHA-1 with MGF1-SHA-1, for vaults and key packages that know nothing newer.
    RsaOaep,
    /// `RSA-OAEP-256`: SHA-256 with MGF1-SHA-256.
    RsaOaep256,
}

impl WrapAlgorithm {
    /// Returns the name that JWA (RFC 7518 §4.1) and Key Vault use.
    pub fn name(self) -> &'static str {
        match self {
            Self::RsaOaep => "RSA-OAEP",
            Self::RsaOaep256 => "RSA-OAEP-256",
        }
    }

    fn parameters(self) -> &'static aws_lc_rs::rsa::OaepAlgorithm {
        match self {
            Self::RsaOaep => &OAEP_SHA1_MGF1SHA1,
            Self::RsaOaep256 => &OAEP_SHA256_MGF1SHA256,
        }
    }
}

impl fmt::Display for WrapAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A public RSA key that may wrap: 2048 to 4096 bits, an odd exponent of 65537 or more (R38).
#[derive(Clone)]
pub struct RsaPublicKey {
    spki: Vec<u8>,
    modulus: Vec<u8>,
    exponent: Vec<u8>,
    key: PublicEncryptingKey,
}

impl RsaPublicKey {
    /// Parses an X.509 `SubjectPublicKeyInfo` in DER.
    ///
    /// # Errors
    ///
    /// [`RsaKeyError`] with the reason for which the key is refused.
    pub fn from_spki_der(spki: &[u8]) -> Result<Self, RsaKeyError> {
        let info = pkcs8::spki::SubjectPublicKeyInfoRef::from_der(spki).map_err(|_| RsaKeyError::Malformed)?;
        if info.algorithm.oid != pkcs1::ALGORITHM_OID {
            return Err(RsaKeyError::NotRsa);
        }
        // AWS-LC ignores them here, but not in private keys.
        if info.algorithm != pkcs1::ALGORITHM_ID {
            return Err(RsaKeyError::Malformed);
        }
        let bits = info.subject_public_key.as_bytes().ok_or(RsaKeyError::Malformed)?;
        let rsa = pkcs1::RsaPublicKeyRef::from_der(bits).map_err(|_| RsaKeyError::Malformed)?;
        let (modulus, exponent) = (rsa.modulus.as_bytes(), rsa.public_exponent.as_bytes());
        let size = bit_length(modulus);
        if !(MIN_BITS..=MAX_BITS).contains(&size) {
            return Err(RsaKeyError::Size(size));
        }
        let odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
        // An odd number of 17 bits or more is 65537 or more.
        if !odd(exponent) || bit_length(exponent) < 17 {
            return Err(RsaKeyError::Exponent);
        }
        if !odd(modulus) {
            return Err(RsaKeyError::Malformed);
        }
        let key = PublicEncryptingKey::from_der(spki).map_err(|_| RsaKeyError::Malformed)?;
        Ok(Self { spki: spki.to_vec(), modulus: modulus.to_vec(), exponent: exponent.to_vec(), key })
    }

    /// Parses a PKCS#1 `RSAPublicKey` in DER.
    ///
    /// # Errors
    ///
    /// [`RsaKeyError`] with the reason for which the key is refused.
    pub fn from_pkcs1_der(pkcs1_der: &[u8]) -> Result<Self, RsaKeyError> {
        let info = pkcs8::spki::SubjectPublicKeyInfoRef {
            algorithm: pkcs1::ALGORITHM_ID,
            subject_public_key: der::asn1::BitStringRef::from_bytes(pkcs1_der).map_err(|_| RsaKeyError::Malformed)?,
        };
        Self::from_spki_der(&info.to_der().map_err(|_| RsaKeyError::Malformed)?)
    }

    /// Returns the key as `SubjectPublicKeyInfo` in DER.
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// Returns the modulus, big-endian without leading zeros.
    pub fn modulus(&self) -> &[u8] {
        &self.modulus
    }

    /// Returns the public exponent, big-endian without leading zeros.
    pub fn exponent(&self) -> &[u8] {
        &self.exponent
    }

    /// Returns the size in bits.
    pub fn bits(&self) -> usize {
        bit_length(&self.modulus)
    }

    /// Encrypts `secret`. The ciphertext is as long as the modulus; RSA-2048 carries 190 bytes with RSA-OAEP-256.
    ///
    /// # Errors
    ///
    /// [`OaepError`] when `secret` is too long for the key.
    pub fn encrypt(&self, algorithm: WrapAlgorithm, secret: &SecretBytes) -> Result<Vec<u8>, OaepError> {
        let key = OaepPublicEncryptingKey::new(self.key.clone()).map_err(|_| OaepError)?;
        let mut ciphertext = vec![0; key.ciphertext_size()];
        let len =
            key.encrypt(algorithm.parameters(), secret.expose(), &mut ciphertext, None).map_err(|_| OaepError)?.len();
        ciphertext.truncate(len);
        Ok(ciphertext)
    }
}

impl fmt::Debug for RsaPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RsaPublicKey({} bits)", self.bits())
    }
}

impl PartialEq for RsaPublicKey {
    fn eq(&self, other: &Self) -> bool {
        (&self.modulus, &self.exponent) == (&other.modulus, &other.exponent)
    }
}

impl Eq for RsaPublicKey {}

/// A private RSA key. Its numbers live in AWS-LC's heap, which zeroes what it frees.
pub struct RsaPrivateKey {
    key: PrivateDecryptingKey,
}

impl RsaPrivateKey {
    /// Generates a key of 2048, 3072 or 4096 bits with exponent 65537. Takes a quarter of a second to several seconds.
    ///
    /// # Errors
    ///
    /// [`RsaKeyError::Size`] for another size; [`RsaKeyError::Generation`] when AWS-LC fails.
    pub fn generate(bits: usize) -> Result<Self, RsaKeyError> {
        let size = match bits {
            2048 => KeySize::Rsa2048,
            3072 => KeySize::Rsa3072,
            4096 => KeySize::Rsa4096,
            other => return Err(RsaKeyError::Size(other)),
        };
        let key = PrivateDecryptingKey::generate(size).map_err(|_| RsaKeyError::Generation)?;
        Ok(Self { key })
    }

    /// Parses an unencrypted PKCS#8 `PrivateKeyInfo` in DER and checks the numbers against each other.
    ///
    /// # Errors
    ///
    /// [`RsaKeyError`] with the reason for which the key is refused.
    pub fn from_pkcs8_der(pkcs8: &SecretBytes) -> Result<Self, RsaKeyError> {
        let info = pkcs8::PrivateKeyInfoRef::from_der(pkcs8.expose()).map_err(|_| RsaKeyError::Malformed)?;
        if info.algorithm.oid != pkcs1::ALGORITHM_OID {
            return Err(RsaKeyError::NotRsa);
        }
        let numbers =
            pkcs1::RsaPrivateKeyRef::from_der(info.private_key.as_bytes()).map_err(|_| RsaKeyError::Malformed)?;
        let size = bit_length(numbers.modulus.as_bytes());
        if !(MIN_BITS..=MAX_BITS).contains(&size) {
            return Err(RsaKeyError::Size(size));
        }
        let key = PrivateDecryptingKey::from_pkcs8(pkcs8.expose()).map_err(|_| RsaKeyError::Malformed)?;
        let key = Self { key };
        key.public()?;
        Ok(key)
    }

    /// Parses a PKCS#1 `RSAPrivateKey` in DER.
    ///
    /// # Errors
    ///
    /// [`RsaKeyError`] with the reason for which the key is refused.
    pub fn from_pkcs1_der(pkcs1_der: &SecretBytes) -> Result<Self, RsaKeyError> {
        let bytes = der::asn1::OctetStringRef::new(pkcs1_der.expose()).map_err(|_| RsaKeyError::Malformed)?;
        let info = pkcs8::PrivateKeyInfoRef::new(pkcs1::ALGORITHM_ID, bytes);
        let len = info.encoded_len().ok().and_then(|len| usize::try_from(len).ok()).ok_or(RsaKeyError::Malformed)?;
        let mut pkcs8_der = SecretBytes::zeroed(len);
        info.encode_to_slice(pkcs8_der.expose_mut()).map_err(|_| RsaKeyError::Malformed)?;
        Self::from_pkcs8_der(&pkcs8_der)
    }

    /// Returns the key as unencrypted PKCS#8 in DER.
    ///
    /// # Errors
    ///
    /// [`RsaKeyError::Malformed`] when AWS-LC can't encode it.
    pub fn to_pkcs8_der(&self) -> Result<SecretBytes, RsaKeyError> {
        let der: Pkcs8V1Der<'_> = self.key.as_der().map_err(|_| RsaKeyError::Malformed)?;
        // AWS-LC's buffer zeroes itself when it is dropped.
        Ok(SecretBytes::copied_from(der.as_ref()))
    }

    /// Returns the public half.
    ///
    /// # Errors
    ///
    /// [`RsaKeyError`] when the public half is one that [`RsaPublicKey::from_spki_der`] refuses.
    pub fn public(&self) -> Result<RsaPublicKey, RsaKeyError> {
        let der: PublicKeyX509Der<'_> = self.key.public_key().as_der().map_err(|_| RsaKeyError::Malformed)?;
        RsaPublicKey::from_spki_der(der.as_ref())
    }

    /// Decrypts `ciphertext`. Every failure looks alike and takes the same path.
    ///
    /// # Errors
    ///
    /// [`OaepError`], without a cause: no padding oracle.
    pub fn decrypt(&self, algorithm: WrapAlgorithm, ciphertext: &[u8]) -> Result<SecretBytes, OaepError> {
        let key = OaepPrivateDecryptingKey::new(self.key.clone()).map_err(|_| OaepError)?;
        let mut secret = SecretBytes::zeroed(key.min_output_size());
        let len =
            key.decrypt(algorithm.parameters(), ciphertext, secret.expose_mut(), None).map_err(|_| OaepError)?.len();
        secret.truncate(len);
        Ok(secret)
    }
}

impl fmt::Debug for RsaPrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RsaPrivateKey")
    }
}

/// Why an RSA key is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RsaKeyError {
    /// The public exponent is even or smaller than 65537.
    Exponent,
    /// AWS-LC could not generate a key.
    Generation,
    /// Not the DER of an RSA key, or numbers that contradict each other.
    Malformed,
    /// A key of another algorithm.
    NotRsa,
    /// A size in bits outside 2048 to 4096.
    Size(usize),
}

impl fmt::Display for RsaKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exponent => f.write_str("the public exponent must be odd and at least 65537"),
            Self::Generation => f.write_str("the RSA key could not be generated"),
            Self::Malformed => f.write_str("the RSA key is malformed or inconsistent"),
            Self::NotRsa => f.write_str("not an RSA key"),
            Self::Size(bits) => write!(f, "RSA keys must have 2048, 3072 or 4096 bits, not {bits}"),
        }
    }
}

impl std::error::Error for RsaKeyError {}

/// The RSA-OAEP operation failed; it does not say why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OaepError;

impl fmt::Display for OaepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the RSA-OAEP operation failed")
    }
}

impl std::error::Error for OaepError {}

fn bit_length(number: &[u8]) -> usize {
    let digits = number.iter().skip_while(|&&byte| byte == 0);
    let Some(first) = digits.clone().next() else { return 0 };
    digits.count() * 8 - first.leading_zeros() as usize
}

const MIN_BITS: usize = 2048;
const MAX_BITS: usize = 4096;

#[cfg(test)]
mod tests;
