//! PFX files: PKCS#12 (RFC 7292), with today's ciphers and with those of old exporters.

use der::asn1::{AnyRef, BmpString, ObjectIdentifier, OctetStringRef, SetOfVec};
use der::{Decode, Encode, Sequence, ValueOrd};

use super::encryption::{Algorithm, EncryptedKey, PfxMac, Unlock};
use super::{Format, ImportError, Read, numbers};
use crate::secret::SecretBytes;

/// Reads the key, its friendly name and its certificates.
pub(super) fn read(
    file: &SecretBytes,
    discard_certificates: bool,
    unlock: &mut Unlock<'_>,
) -> Result<Read, ImportError> {
    let pfx: Pfx<'_> = decode(file.expose())?;
    if pfx.content.kind != DATA {
        return Err(ImportError::Unsupported(pfx.content.kind.to_string()));
    }
    let content: &OctetStringRef = pfx.content.content.decode_as().map_err(|error| fault(&error))?;
    if let Some(mac) = &pfx.mac {
        let digest = mac.digest.algorithm.oid.to_string();
        unlock.check(
            &PfxMac {
                digest: &digest,
                salt: mac.salt.as_bytes(),
                iterations: mac.iterations,
                expected: mac.digest.digest.as_bytes(),
            },
            content.as_bytes(),
        )?;
    }
    let mut found = Found { keys: Vec::new(), certificate: false, certificates: Vec::new() };
    for safe in decode::<Vec<Content<'_>>>(content.as_bytes())? {
        match safe.kind {
            DATA => {
                let bags: &OctetStringRef = safe.content.decode_as().map_err(|error| fault(&error))?;
                found.collect(bags.as_bytes(), 0)?;
            }
            ENCRYPTED_DATA => {
                let safe: EncryptedData<'_> = safe.content.decode_as().map_err(|error| fault(&error))?;
                let data = safe.content.data.map(OctetStringRef::as_bytes).unwrap_or_default();
                let bags = unlock.decrypt(&safe.content.algorithm, data, Format::Pfx)?;
                let collected = found.collect(bags.expose(), 0);
                // Only a MAC proves that the passphrase was the right one.
                if pfx.mac.is_some() { collected? } else { collected.map_err(|_| wrong())? }
            }
            other => return Err(ImportError::Unsupported(other.to_string())),
        }
    }
    let key = match found.keys.as_slice() {
        [key] => key,
        [] => return Err(ImportError::NoKey),
        several => return Err(ImportError::SeveralKeys(several.len())),
    };
    if found.certificate && !discard_certificates {
        return Err(ImportError::Certificate);
    }
    let private = if key.shrouded {
        let sealed: EncryptedKey<'_> = decode(key.der.expose())?;
        let pkcs8 = unlock.decrypt(&sealed.algorithm, sealed.data.as_bytes(), Format::Pfx)?;
        if pfx.mac.is_some() {
            numbers::from_pkcs8(&pkcs8, Format::Pfx)?
        } else {
            numbers::from_decrypted(&pkcs8, Format::Pfx)?
        }
    } else {
        numbers::from_pkcs8(&key.der, Format::Pfx)?
    };
    let name = key.name.clone();
    Ok(Read { private, name, certificates: found.certificates })
}

/// What is in the bags of a file.
struct Found {
    keys: Vec<FoundKey>,
    certificate: bool,
    /// In DER.
    certificates: Vec<Vec<u8>>,
}

impl Found {
    fn collect(&mut self, bags: &[u8], depth: usize) -> Result<(), ImportError> {
        if depth > MAX_DEPTH {
            return Err(ImportError::Malformed(Format::Pfx));
        }
        for bag in decode::<Vec<Bag<'_>>>(bags)? {
            match bag.kind {
                CERTIFICATE_BAG | REVOCATION_BAG => {
                    self.certificate = true;
                    self.certificates.extend(bag.certificate());
                }
                KEY_BAG | SHROUDED_BAG => {
                    let len = bag.value.encoded_len().and_then(usize::try_from).map_err(|error| fault(&error))?;
                    let mut der = SecretBytes::zeroed(len);
                    bag.value.encode_to_slice(der.expose_mut()).map_err(|error| fault(&error))?;
                    self.keys.push(FoundKey { der, shrouded: bag.kind == SHROUDED_BAG, name: bag.name() });
                }
                CONTENTS_BAG => {
                    let len = bag.value.encoded_len().and_then(usize::try_from).map_err(|error| fault(&error))?;
                    let mut der = SecretBytes::zeroed(len);
                    bag.value.encode_to_slice(der.expose_mut()).map_err(|error| fault(&error))?;
                    self.collect(der.expose(), depth + 1)?;
                }
                other => return Err(ImportError::Unsupported(other.to_string())),
            }
        }
        Ok(())
    }
}

struct FoundKey {
    der: SecretBytes,
    shrouded: bool,
    name: Option<String>,
}

#[derive(Sequence)]
struct Pfx<'a> {
    version: u8,
    content: Content<'a>,
    #[asn1(optional = "true")]
    mac: Option<MacData<'a>>,
}

/// `ContentInfo` (RFC 5652 §3).
#[derive(Sequence)]
struct Content<'a> {
    kind: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    content: AnyRef<'a>,
}

#[derive(Sequence)]
struct MacData<'a> {
    digest: DigestInfo<'a>,
    salt: &'a OctetStringRef,
    #[asn1(default = "one")]
    iterations: u32,
}

#[derive(Sequence)]
struct DigestInfo<'a> {
    algorithm: Algorithm<'a>,
    digest: &'a OctetStringRef,
}

/// `EncryptedData` (RFC 5652 §8).
#[derive(Sequence)]
struct EncryptedData<'a> {
    version: u8,
    content: EncryptedContent<'a>,
}

#[derive(Sequence)]
struct EncryptedContent<'a> {
    kind: ObjectIdentifier,
    algorithm: Algorithm<'a>,
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT", optional = "true")]
    data: Option<&'a OctetStringRef>,
}

/// `SafeBag` (RFC 7292 §4.2).
#[derive(Sequence)]
struct Bag<'a> {
    kind: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    value: AnyRef<'a>,
    #[asn1(optional = "true")]
    attributes: Option<SetOfVec<Attribute<'a>>>,
}

impl Bag<'_> {
    /// Returns the X.509 certificate in a bag of certificates.
    fn certificate(&self) -> Option<Vec<u8>> {
        let bag: CertificateValue<'_> = self.value.decode_as().ok()?;
        let data: &OctetStringRef = bag.value.decode_as().ok()?;
        (bag.kind == X509_CERTIFICATE).then(|| data.as_bytes().to_vec())
    }

    fn name(&self) -> Option<String> {
        let attribute = self.attributes.as_ref()?.iter().find(|attribute| attribute.kind == FRIENDLY_NAME)?;
        let name: BmpString = attribute.values.iter().next()?.decode_as().ok()?;
        Some(name.to_string())
    }
}

/// `CertBag` (RFC 7292 §4.2.3).
#[derive(Sequence)]
struct CertificateValue<'a> {
    kind: ObjectIdentifier,
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT")]
    value: AnyRef<'a>,
}

#[derive(Sequence, ValueOrd)]
struct Attribute<'a> {
    kind: ObjectIdentifier,
    values: SetOfVec<AnyRef<'a>>,
}

fn decode<'a, T: Decode<'a, Error = der::Error>>(bytes: &'a [u8]) -> Result<T, ImportError> {
    T::from_der(bytes).map_err(|error| fault(&error))
}

fn fault(error: &der::Error) -> ImportError {
    numbers::der_fault(error, Format::Pfx)
}

fn wrong() -> ImportError {
    ImportError::Undecryptable(Format::Pfx)
}

fn one() -> u32 {
    1
}

/// Bags in bags: nobody writes more than one level.
const MAX_DEPTH: usize = 4;

const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
const ENCRYPTED_DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.6");
const KEY_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.1");
const SHROUDED_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.2");
const CERTIFICATE_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.3");
const REVOCATION_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.4");
const CONTENTS_BAG: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.10.1.6");
const X509_CERTIFICATE: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.22.1");
const FRIENDLY_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.9.20");
