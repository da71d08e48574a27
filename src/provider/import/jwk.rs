//! RSA private keys as JSON Web Keys (RFC 7517 §4, RFC 7518 §6.3).

use base64ct::{Base64, Base64UrlUnpadded, Encoding};
use der::Encode;
use der::asn1::UintRef;

use super::json::{self, Member, Members};
use super::{Format, ImportError, Read, numbers};
use crate::secret::SecretBytes;

/// Reads the key, its `kid` and its certificates.
pub(super) fn read(file: &SecretBytes, discard_certificates: bool) -> Result<Read, ImportError> {
    let members = json::parse(file.expose(), Format::Jwk)?;
    let kind = members.text("kty")?;
    if kind != "RSA" {
        return Err(ImportError::Algorithm(kind.to_owned()));
    }
    if !discard_certificates && CERTIFICATES.iter().any(|name| members.find(name).is_some()) {
        return Err(ImportError::Certificate);
    }
    check_purpose(&members)?;
    if members.find("oth").is_some() {
        return Err(ImportError::OtherPrimes);
    }
    if members.find("d").is_none() {
        return Err(ImportError::PublicOnly);
    }
    let [n, e, d, p, q, dp, dq, qi] = NUMBERS.map(|name| number(&members, name));
    let (n, e, d, p, q, dp, dq, qi) = (n?, e?, d?, p?, q?, dp?, dq?, qi?);
    let encoded = encode(&[&n, &e, &d, &p, &q, &dp, &dq, &qi]).map_err(|_| ImportError::Malformed(Format::Jwk))?;
    let name = match members.find("kid") {
        None => None,
        Some(Member::Text(kid)) => Some(kid.clone().into_owned()),
        Some(_) => return Err(ImportError::Member("kid")),
    };
    let private = numbers::from_pkcs1(&encoded, Format::Jwk)?;
    Ok(Read { private, name, certificates: certificates(&members) })
}

/// Decodes `x5c` (RFC 7517 §4.7). `x5t` alone is what somebody says of a certificate that nobody sees here.
fn certificates(members: &Members<'_>) -> Vec<Vec<u8>> {
    let Some(Member::List(list)) = members.find("x5c") else { return Vec::new() };
    let decoded = list.iter().map(|item| match item {
        Member::Text(text) => Base64::decode_vec(text).unwrap_or_default(),
        _ => Vec::new(),
    });
    decoded.collect()
}

fn check_purpose(members: &Members<'_>) -> Result<(), ImportError> {
    let refused = |member, value: &str| Err(ImportError::Purpose { member, value: value.to_owned() });
    for (member, allowed) in [("use", ["enc"].as_slice()), ("alg", &["RSA-OAEP", "RSA-OAEP-256"])] {
        match members.find(member) {
            None => {}
            Some(Member::Text(value)) if allowed.contains(&&**value) => {}
            Some(Member::Text(value)) => return refused(member, value),
            Some(_) => return Err(ImportError::Member(member)),
        }
    }
    match members.find("key_ops") {
        None => Ok(()),
        Some(Member::List(list)) => {
            let mut names = Vec::new();
            for item in list {
                let Member::Text(name) = item else { return Err(ImportError::Member("key_ops")) };
                names.push(&**name);
            }
            if names.iter().any(|name| ["unwrapKey", "decrypt"].contains(name)) {
                Ok(())
            } else {
                refused("key_ops", &names.join(", "))
            }
        }
        Some(_) => Err(ImportError::Member("key_ops")),
    }
}

/// Decodes one number: base64url without padding.
fn number(members: &Members<'_>, name: &'static str) -> Result<SecretBytes, ImportError> {
    let text = members.secret_text(name)?;
    let mut bytes = SecretBytes::zeroed(text.len());
    let len = Base64UrlUnpadded::decode(text, bytes.expose_mut()).map_err(|_| ImportError::Member(name))?.len();
    if len == 0 {
        return Err(ImportError::Member(name));
    }
    bytes.truncate(len);
    Ok(bytes)
}

/// Encodes `n`, `e` and the private numbers, in the order of PKCS#1, as an `RSAPrivateKey`.
fn encode(numbers: &[&SecretBytes; 8]) -> der::Result<SecretBytes> {
    let [n, e, d, p, q, dp, dq, qi] = numbers.map(|number| UintRef::new(number.expose()));
    let key = pkcs1::RsaPrivateKeyRef {
        modulus: n?,
        public_exponent: e?,
        private_exponent: d?,
        prime1: p?,
        prime2: q?,
        exponent1: dp?,
        exponent2: dq?,
        coefficient: qi?,
        other_prime_infos: None,
    };
    let mut der = SecretBytes::zeroed(usize::try_from(key.encoded_len()?)?);
    key.encode_to_slice(der.expose_mut())?;
    Ok(der)
}

const NUMBERS: [&str; 8] = ["n", "e", "d", "p", "q", "dp", "dq", "qi"];

/// Members that speak of a certificate (RFC 7517 §4.6 to §4.9).
const CERTIFICATES: [&str; 4] = ["x5u", "x5c", "x5t", "x5t#S256"];
