//! PKCS#8, encrypted PKCS#8 and PKCS#1 in DER, told apart by their first elements.

use der::asn1::AnyRef;
use der::{Decode, Reader, SliceReader, Tag, Tagged};

use super::encryption::{EncryptedKey, Unlock};
use super::{Format, ImportError, numbers};
use crate::oaep::RsaPrivateKey;
use crate::secret::SecretBytes;

/// Reads the key of a DER file.
pub(super) fn read(file: &SecretBytes, unlock: &mut Unlock<'_>) -> Result<RsaPrivateKey, ImportError> {
    let format = Format::Der;
    let tags = first_tags(file.expose()).map_err(|error| numbers::der_fault(&error, format))?;
    match tags.as_slice() {
        [Tag::Integer, Tag::Sequence, Tag::OctetString, ..] => numbers::from_pkcs8(file, format),
        [Tag::Sequence, Tag::OctetString] => encrypted(file, format, unlock),
        [Tag::Integer, Tag::OctetString, ..] => Err(ImportError::Algorithm("EC".into())),
        [Tag::Integer, Tag::Integer] | [Tag::Sequence, Tag::BitString] => Err(ImportError::PublicOnly),
        [Tag::Integer, Tag::Integer, Tag::Integer, ..] => numbers::from_pkcs1(file, format),
        [Tag::Sequence, Tag::Sequence, Tag::BitString] => Err(ImportError::NoKey),
        _ => Err(ImportError::Malformed(format)),
    }
}

/// Decrypts an `EncryptedPrivateKeyInfo`, and reads the key in it.
pub(super) fn encrypted(
    file: &SecretBytes,
    format: Format,
    unlock: &mut Unlock<'_>,
) -> Result<RsaPrivateKey, ImportError> {
    let key = EncryptedKey::from_der(file.expose()).map_err(|error| numbers::der_fault(&error, format))?;
    let pkcs8 = unlock.decrypt(&key.algorithm, key.data.as_bytes(), format)?;
    numbers::from_decrypted(&pkcs8, format)
}

/// Returns the tags of the elements of the outer sequence: at most [`MAX_TAGS`].
fn first_tags(file: &[u8]) -> der::Result<Vec<Tag>> {
    let sequence = AnyRef::from_der(file)?;
    sequence.tag().assert_eq(Tag::Sequence)?;
    let mut reader = SliceReader::new(sequence.value())?;
    let mut tags = Vec::new();
    while !reader.is_finished() && tags.len() < MAX_TAGS {
        tags.push(AnyRef::decode(&mut reader)?.tag());
    }
    Ok(tags)
}

/// Enough to tell PKCS#1's public key, of two elements, from its private one, of nine.
const MAX_TAGS: usize = 4;
