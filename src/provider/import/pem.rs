//! PEM (RFC 7468): one private key, with comments in front of the blocks and nothing behind the last.

use super::encryption::Unlock;
use super::{Format, ImportError, Read, asn1, numbers};
use crate::secret::SecretBytes;

/// Reads the key of a PEM file.
pub(super) fn read(
    file: &SecretBytes,
    discard_certificates: bool,
    unlock: &mut Unlock<'_>,
) -> Result<Read, ImportError> {
    let format = Format::Pem;
    let (mut keys, mut certificates, mut public) = (Vec::new(), Vec::new(), false);
    for block in blocks(file.expose())? {
        match block.kind()? {
            Kind::Certificate => certificates.push(block.text),
            Kind::Key => keys.push(block),
            Kind::Public => public = true,
        }
    }
    let key = match keys.as_slice() {
        [key] if !public => key,
        [] if public => return Err(ImportError::PublicOnly),
        [] => return Err(ImportError::NoKey),
        [_] => return Err(ImportError::Unsupported("PUBLIC KEY".into())),
        several => return Err(ImportError::SeveralKeys(several.len())),
    };
    if !certificates.is_empty() && !discard_certificates {
        return Err(ImportError::Certificate);
    }
    if key.text.windows(PROC_TYPE.len()).any(|window| window == PROC_TYPE) {
        return Err(ImportError::Encryption("MD5, in the headers of PKCS#1".into()));
    }
    let mut decoder = pem_rfc7468::Decoder::new_detect_wrap(key.text).map_err(|_| ImportError::Malformed(format))?;
    let mut bytes = SecretBytes::zeroed(decoder.remaining_len());
    decoder.decode(bytes.expose_mut()).map_err(|_| ImportError::Malformed(format))?;
    let private = match key.label {
        "PRIVATE KEY" => numbers::from_pkcs8(&bytes, format)?,
        "ENCRYPTED PRIVATE KEY" => asn1::encrypted(&bytes, format, unlock)?,
        "RSA PRIVATE KEY" => numbers::from_pkcs1(&bytes, format)?,
        label => return Err(ImportError::Unsupported(label.to_owned())),
    };
    // What does not decode is dropped like the others.
    let certificates = certificates.into_iter().filter_map(|text| pem_rfc7468::decode_vec(text).ok());
    Ok(Read { private, name: None, certificates: certificates.map(|(_, der)| der).collect() })
}

/// One block with its first and last line.
struct Block<'a> {
    label: &'a str,
    text: &'a [u8],
}

impl Block<'_> {
    fn kind(&self) -> Result<Kind, ImportError> {
        match self.label {
            "PRIVATE KEY" | "ENCRYPTED PRIVATE KEY" | "RSA PRIVATE KEY" => Ok(Kind::Key),
            "PUBLIC KEY" | "RSA PUBLIC KEY" => Ok(Kind::Public),
            "CERTIFICATE" | "TRUSTED CERTIFICATE" | "X509 CERTIFICATE" | "PKCS7" | "CMS" => Ok(Kind::Certificate),
            "EC PRIVATE KEY" | "EC PARAMETERS" => Err(ImportError::Algorithm("EC".into())),
            "DSA PRIVATE KEY" | "DSA PARAMETERS" => Err(ImportError::Algorithm("DSA".into())),
            label => Err(ImportError::Unsupported(label.to_owned())),
        }
    }
}

enum Kind {
    Certificate,
    Key,
    Public,
}

/// Splits a file into its blocks. Between them may stand what `openssl` writes there; behind the last only white space.
fn blocks(file: &[u8]) -> Result<Vec<Block<'_>>, ImportError> {
    let malformed = || ImportError::Malformed(Format::Pem);
    let mut blocks = Vec::new();
    let mut rest = file;
    while let Some(start) = position(rest, BEGIN) {
        let text = rest.get(start..).ok_or_else(malformed)?;
        let label = text.get(BEGIN.len()..).ok_or_else(malformed)?;
        let label = label.get(..position(label, DASHES).ok_or_else(malformed)?).ok_or_else(malformed)?;
        let label = str::from_utf8(label).map_err(|_| malformed())?;
        if label.len() > MAX_LABEL || label.contains(['\r', '\n']) {
            return Err(malformed());
        }
        let end = [END, label.as_bytes(), DASHES].concat();
        let len = position(text, &end).ok_or_else(malformed)? + end.len();
        let (text, behind) = text.split_at_checked(len).ok_or_else(malformed)?;
        blocks.push(Block { label, text });
        rest = behind;
    }
    if rest.iter().all(u8::is_ascii_whitespace) { Ok(blocks) } else { Err(ImportError::TrailingData(Format::Pem)) }
}

fn position(text: &[u8], of: &[u8]) -> Option<usize> {
    text.windows(of.len()).position(|window| window == of)
}

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";
const DASHES: &[u8] = b"-----";
const PROC_TYPE: &[u8] = b"Proc-Type:";
/// Bytes.
const MAX_LABEL: usize = 64;
