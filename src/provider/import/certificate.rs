//! The certificates beside a key: they are dropped, but remembered by name where they are the key's own.

use der::asn1::AnyRef;
use der::{Decode, Encode, Sequence};
use sha1::{Digest, Sha1};

use crate::key::CertificateHash;
use crate::oaep::RsaPublicKey;

/// Returns the SHA-1 of those certificates that were issued for `key`. What is no certificate, or another key's, is left out: only what
/// was seen to belong together is recorded.
pub(super) fn hashes(certificates: &[Vec<u8>], key: &RsaPublicKey) -> Vec<CertificateHash> {
    let own = |der: &&Vec<u8>| subject_key(der).is_ok_and(|spki| spki == key.spki_der());
    certificates.iter().filter(own).map(|der| CertificateHash::from_bytes(Sha1::digest(der).into())).collect()
}

/// Returns the public key of a certificate in DER, as it stands there.
fn subject_key(der: &[u8]) -> der::Result<Vec<u8>> {
    Certificate::from_der(der)?.content.key.to_der()
}

/// `Certificate` (RFC 5280 §4.1), as far as it is needed.
#[derive(Sequence)]
struct Certificate<'a> {
    content: Content<'a>,
    algorithm: AnyRef<'a>,
    signature: AnyRef<'a>,
}

/// `TBSCertificate`.
#[derive(Sequence)]
struct Content<'a> {
    #[asn1(context_specific = "0", tag_mode = "EXPLICIT", optional = "true")]
    version: Option<AnyRef<'a>>,
    serial: AnyRef<'a>,
    algorithm: AnyRef<'a>,
    issuer: AnyRef<'a>,
    validity: AnyRef<'a>,
    subject: AnyRef<'a>,
    key: AnyRef<'a>,
    #[asn1(context_specific = "3", tag_mode = "EXPLICIT", optional = "true")]
    extensions: Option<AnyRef<'a>>,
}
