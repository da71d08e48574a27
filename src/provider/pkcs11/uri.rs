//! PKCS#11 URIs (RFC 7512): which token, in which module.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::io::Escaped;
use crate::provider::pkcs11::TokenSelector;

/// A PKCS#11 URI that names a token, and perhaps its module: `pkcs11:token=backup;serial=17?module-path=/usr/lib/softhsm/libsofthsm2.so`.
///
/// A PIN in the URI itself (`pin-value`) is refused: URIs end up in logs and process lists. Attributes that this program does not know
/// would narrow what is meant, so they are refused too, but for those of vendors in the query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenUri {
    /// Which token.
    pub token: TokenSelector,
    /// The module, from `module-path`.
    pub module: Option<PathBuf>,
    /// Where the PIN is, from `pin-source`: as it is written there.
    pub pin_source: Option<String>,
    /// The key's label, from `object`.
    pub object: Option<String>,
}

impl FromStr for TokenUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        let scheme = text.get(..SCHEME.len()).filter(|scheme| scheme.eq_ignore_ascii_case(SCHEME));
        let rest = scheme.and_then(|_| text.get(SCHEME.len()..)).ok_or(UriError::Scheme)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut uri = Self::default();
        let (mut kind, mut slot) = (None, None);
        for (name, value) in attributes(path, ';')? {
            let place = match name {
                "manufacturer" => &mut uri.token.manufacturer,
                "model" => &mut uri.token.model,
                "object" => &mut uri.object,
                "serial" => &mut uri.token.serial,
                "slot-id" => &mut slot,
                "token" => &mut uri.token.label,
                "type" => &mut kind,
                other => return Err(UriError::Unknown(other.to_owned())),
            };
            fill(place, name, value)?;
        }
        if kind.is_some_and(|kind| !matches!(kind.as_str(), "public" | "private")) {
            return Err(UriError::Value("type"));
        }
        let slot = slot.map(|slot| slot.parse().map_err(|_| UriError::Value("slot-id")));
        uri.token.slot = slot.transpose()?;
        let mut module = None;
        for (name, value) in attributes(query, '&')? {
            match name {
                "module-path" => fill(&mut module, name, value)?,
                "pin-source" => fill(&mut uri.pin_source, name, value)?,
                "pin-value" => return Err(UriError::PinValue),
                vendors if vendors.starts_with("x-") => {}
                other => return Err(UriError::Unknown(other.to_owned())),
            }
        }
        uri.module = module.map(PathBuf::from);
        Ok(uri)
    }
}

/// Why a text is no URI of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UriError {
    /// A PIN in the URI itself.
    PinValue,
    /// The same attribute twice.
    Repeated(String),
    /// It does not begin with `pkcs11:`.
    Scheme,
    /// An attribute that is not known here.
    Unknown(String),
    /// A value that the attribute can't have.
    Value(&'static str),
    /// No `name=value`, or a `%` that is not followed by two hexadecimal digits of UTF-8.
    Written(String),
}

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PinValue => f.write_str("a PIN does not belong into a URI: use pin-source, or let it be asked for"),
            Self::Repeated(name) => write!(f, "the attribute {} is there twice", Escaped(name)),
            Self::Scheme => f.write_str("a PKCS#11 URI begins with 'pkcs11:'"),
            Self::Unknown(name) => write!(f, "the attribute {} is not known here", Escaped(name)),
            Self::Value(name) => write!(f, "the attribute {name} has a value that it can't have"),
            // Not the text itself: a PIN may be in it.
            Self::Written(name) if name.is_empty() => f.write_str("an attribute is not written as name=value"),
            Self::Written(name) => write!(f, "the value of {} is not percent-encoded UTF-8", Escaped(name)),
        }
    }
}

impl std::error::Error for UriError {}

fn attributes(text: &str, between: char) -> Result<Vec<(&str, String)>, UriError> {
    let parts = text.split(between).filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) = part.split_once('=').ok_or_else(|| UriError::Written(String::new()))?;
            Ok((name, decoded(value).ok_or_else(|| UriError::Written(name.to_owned()))?))
        })
        .collect()
}

fn fill(place: &mut Option<String>, name: &str, value: String) -> Result<(), UriError> {
    match place.replace(value) {
        Some(_) => Err(UriError::Repeated(name.to_owned())),
        None => Ok(()),
    }
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        bytes.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
    }
    String::from_utf8(bytes).ok()
}

const SCHEME: &str = "pkcs11:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_decoded_and_select_the_token() {
        let text = "pkcs11:token=My%20token;manufacturer=Snake%20Oil,%20Inc.;model=1.0;serial=17%3b;slot-id=5;object=k;type=private\
                    ?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:/etc/pin&x-vendor=1";
        let uri: TokenUri = text.parse().expect("a URI");
        assert_eq!(uri.token.label.as_deref(), Some("My token"));
        assert_eq!(uri.token.manufacturer.as_deref(), Some("Snake Oil, Inc."));
        assert_eq!(uri.token.serial.as_deref(), Some("17;"));
        assert_eq!((uri.token.slot, uri.token.model.as_deref()), (Some(5), Some("1.0")));
        assert_eq!(uri.module.as_deref(), Some("/usr/lib/softhsm/libsofthsm2.so".as_ref()));
        assert_eq!(uri.pin_source.as_deref(), Some("file:/etc/pin"));
        assert_eq!("PKCS11:".parse(), Ok(TokenUri::default()));
    }

    #[test]
    fn bad_uris_are_refused_with_the_reason() {
        for (text, error) in [
            ("", UriError::Scheme),
            ("pkcs1", UriError::Scheme),
            ("https:token=a", UriError::Scheme),
            ("pkcs11:token", UriError::Written(String::new())),
            ("pkcs11:token=%4", UriError::Written("token".to_owned())),
            ("pkcs11:token=%zz", UriError::Written("token".to_owned())),
            ("pkcs11:token=%ff", UriError::Written("token".to_owned())),
            ("pkcs11:token=a;token=b", UriError::Repeated("token".to_owned())),
            ("pkcs11:colour=red", UriError::Unknown("colour".to_owned())),
            ("pkcs11:slot-id=-1", UriError::Value("slot-id")),
            ("pkcs11:type=cert", UriError::Value("type")),
            ("pkcs11:?pin-value=1234", UriError::PinValue),
            ("pkcs11:?module-name=softhsm2", UriError::Unknown("module-name".to_owned())),
        ] {
            assert_eq!(text.parse::<TokenUri>(), Err(error), "{text}");
        }
        assert!(!"pkcs11:?pin-value=1234".parse::<TokenUri>().expect_err("a PIN").to_string().contains("1234"));
    }
}
