//! `.byok` files: a private key wrapped for another vault, in the way of Key Vault (R69).
//!
//! RSA-OAEP with SHA-1 carries a fresh AES-256 key, and that wraps the PKCS#8 key with padding (RFC 5649): PKCS#11's
//! `CKM_RSA_AES_KEY_WRAP`.

use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded};
use base64ct::{Base64UrlUnpadded, Encoding};

use super::json::{self, Member, Members};
use super::{ByokTarget, ExportError, Format, ImportError, numbers};
use crate::oaep::{RsaPrivateKey, RsaPublicKey, WrapAlgorithm};
use crate::provider::{ProviderErrorKind, WrappedKey};
use crate::random::{SystemRandom, random_secret};
use crate::secret::SecretBytes;

/// Writes `key` as a `.byok` file that only the holder of `target` can open; `kid` is what that vault calls `target`.
///
/// # Errors
///
/// [`ExportError`] when AWS-LC fails.
pub fn write_byok(key: &RsaPrivateKey, target: &RsaPublicKey, kid: &str) -> Result<Vec<u8>, ExportError> {
    let pkcs8 = key.to_pkcs8_der().map_err(ExportError::Key)?;
    let aes = random_secret(&SystemRandom, AES_LEN).map_err(ExportError::Random)?;
    let mut package = target.encrypt(WrapAlgorithm::RsaOaep, &aes).map_err(ExportError::Target)?;
    let mut wrapped = vec![0; pkcs8.len() + KWP_OVERHEAD];
    let len = AesKek::new(&AES_256, aes.expose())
        .and_then(|kek| kek.wrap_with_padding(pkcs8.expose(), &mut wrapped).map(|wrapped| wrapped.len()))
        .map_err(|_| ExportError::Encryption)?;
    wrapped.truncate(len);
    package.append(&mut wrapped);
    let file = serde_json::json!({
        "schema_version": "1.0.0",
        "header": {"kid": kid, "alg": "dir", "enc": ENCRYPTION},
        "ciphertext": Base64UrlUnpadded::encode_string(&package),
        "generator": GENERATOR,
    });
    Ok(format!("{file:#}\n").into_bytes())
}

/// Reads the key of a `.byok` file, with the help of who holds the target.
pub(super) fn read(file: &SecretBytes, target: Option<&ByokTarget<'_>>) -> Result<RsaPrivateKey, ImportError> {
    let malformed = || ImportError::Malformed(Format::Byok);
    let members = json::parse(file.expose(), Format::Byok)?;
    let text = |of: &Members<'_>, name| of.text(name).map(str::to_owned).map_err(|_| malformed());
    let version = text(&members, "schema_version")?;
    if !version.starts_with("1.") {
        return Err(ImportError::Unsupported(format!("schema_version {version}")));
    }
    let Some(Member::Object(header)) = members.find("header") else { return Err(malformed()) };
    for (name, expected) in [("alg", "dir"), ("enc", ENCRYPTION)] {
        let found = text(header, name)?;
        if found != expected {
            return Err(ImportError::Unsupported(format!("{name} {found}")));
        }
    }
    let kid = text(header, "kid")?;
    let package =
        Base64UrlUnpadded::decode_vec(members.text("ciphertext").map_err(|_| malformed())?).map_err(|_| malformed())?;
    let target = target.ok_or(ImportError::TargetNeeded { kid })?;
    let pkcs8 = open(&package, target)?;
    numbers::from_pkcs8(&pkcs8, Format::Byok)
}

/// Unwraps a package. A foreign target and a damaged package take the same way to the same error.
fn open(package: &[u8], target: &ByokTarget<'_>) -> Result<SecretBytes, ImportError> {
    let wrong = || ImportError::Undecryptable(Format::Byok);
    let (first, second) =
        package.split_at_checked(target.version.public.modulus().len()).ok_or(ImportError::Malformed(Format::Byok))?;
    let wrapped = WrappedKey {
        thumbprint: target.version.thumbprint,
        id: target.version.id.clone(),
        algorithm: WrapAlgorithm::RsaOaep,
        ciphertext: first.to_vec(),
    };
    let aes = match target.provider.unwrap_key(&wrapped, target.cx) {
        Ok(aes) => aes,
        Err(error) if error.kind == ProviderErrorKind::UnwrapFailed => SecretBytes::zeroed(0),
        Err(error) => return Err(ImportError::Target(error)),
    };
    let good = aes.len() == AES_LEN;
    let aes = if good { aes } else { SecretBytes::zeroed(AES_LEN) };
    let mut pkcs8 = SecretBytes::zeroed(second.len());
    let len = AesKek::new(&AES_256, aes.expose())
        .and_then(|kek| kek.unwrap_with_padding(second, pkcs8.expose_mut()).map(|pkcs8| pkcs8.len()))
        .map_err(|_| wrong())?;
    if !good {
        return Err(wrong());
    }
    pkcs8.truncate(len);
    Ok(pkcs8)
}

const ENCRYPTION: &str = "CKM_RSA_AES_KEY_WRAP";
const GENERATOR: &str = concat!("sobre ", env!("CARGO_PKG_VERSION"));
/// Bytes.
const AES_LEN: usize = 32;
/// Bytes that wrapping with padding may add (RFC 5649 §4.1).
const KWP_OVERHEAD: usize = 15;
