//! Finds out what a file is, and says so of what can't be imported at all.

use der::{Decode, Reader, SliceReader, Tag};

use super::json::{self, Member};
use super::{Format, ImportError};

/// Returns the format of `file`.
pub(super) fn format(file: &[u8]) -> Result<Format, ImportError> {
    let text = file.trim_ascii_start();
    match text.first() {
        None => Err(ImportError::Empty),
        _ if is_key_vault_backup(text) => Err(ImportError::KeyVaultBackup),
        _ if file.starts_with(SOBRE) => Err(own(file)),
        Some(b'{') => json_format(file),
        _ if is_der(file) => der_format(file),
        _ if file.windows(BEGIN.len()).any(|window| window == BEGIN) => Ok(Format::Pem),
        Some(_) => Err(ImportError::Unrecognized),
    }
}

/// Tells a backup from what else this program writes under its name.
fn own(file: &[u8]) -> ImportError {
    let magic = file.get(..SOBRE_MAGIC).unwrap_or(file);
    if magic.windows(BACKUP.len()).any(|window| window == BACKUP) {
        return ImportError::SobreBackup;
    }
    let text = magic.iter().take_while(|byte| byte.is_ascii_graphic() || **byte == b' ').copied();
    ImportError::Unsupported(text.map(char::from).collect())
}

/// Whether a sequence starts here: one with a long length, which no text has, or a short one of the file's length.
fn is_der(file: &[u8]) -> bool {
    match file {
        [SEQUENCE, len, rest @ ..] => !len.is_ascii() || usize::from(*len) == rest.len(),
        _ => false,
    }
}

/// Tells PKCS#12 from the other structures by its first element.
fn der_format(file: &[u8]) -> Result<Format, ImportError> {
    if file.get(1) == Some(&INDEFINITE) {
        return Err(ImportError::IndefiniteLength);
    }
    Ok(match first_elements(file) {
        Some((version, Tag::Sequence)) if version == PFX_VERSION => Format::Pfx,
        _ => Format::Der,
    })
}

/// Returns the first element of a sequence with its header, and the tag of the second.
fn first_elements(file: &[u8]) -> Option<(&[u8], Tag)> {
    let mut reader = SliceReader::new(file).ok()?;
    der::Header::decode(&mut reader).ok()?;
    let first = reader.tlv_bytes().ok()?;
    Some((first, der::Header::decode(&mut reader).ok()?.tag()))
}

fn json_format(file: &[u8]) -> Result<Format, ImportError> {
    let members = json::parse(file, Format::Jwk)?;
    if matches!(members.find("value"), Some(Member::Text(blob)) if is_key_vault_backup(blob.as_bytes())) {
        return Err(ImportError::KeyVaultBackup);
    }
    if members.find("kty").is_some() {
        Ok(Format::Jwk)
    } else if members.find("ciphertext").is_some() || members.find("schema_version").is_some() {
        Ok(Format::Byok)
    } else if let Some(Member::List(keys)) = members.find("keys") {
        Err(if keys.len() > 1 { ImportError::SeveralKeys(keys.len()) } else { ImportError::Unsupported("keys".into()) })
    } else {
        Err(ImportError::Unrecognized)
    }
}

/// Whether a backup blob of Key Vault starts here, as its API gives it or decoded.
fn is_key_vault_backup(text: &[u8]) -> bool {
    text.starts_with(KEY_VAULT) || text.starts_with(KEY_VAULT_BASE64)
}

const BEGIN: &[u8] = b"-----BEGIN ";
const KEY_VAULT: &[u8] = b"&AzureKeyVault";
/// The first twelve characters of [`KEY_VAULT`] in base64: whole groups of three.
const KEY_VAULT_BASE64: &[u8] = b"JkF6dXJlS2V5VmF1";
const SOBRE: &[u8] = b"SOBRE ";
const BACKUP: &[u8] = b"backup";
/// Bytes in which a file of this program has said what it is.
const SOBRE_MAGIC: usize = 32;
const SEQUENCE: u8 = 0x30;
/// BER's length octet for "until the end marker".
const INDEFINITE: u8 = 0x80;
/// `INTEGER 3` (RFC 7292 §4).
const PFX_VERSION: &[u8] = &[2, 1, 3];
