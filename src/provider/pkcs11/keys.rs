//! The keys of a token, as their public-key objects describe them.

use cryptoki::object::{Attribute, AttributeInfo, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use der::Encode;

use crate::key::{CkaId, KeyName, KeyState, KeyVersion, Thumbprint, VersionNumber};
use crate::oaep::{RsaKeyError, RsaPublicKey};
use crate::provider::pkcs11::dates;
use crate::provider::pkcs11::error::{Fault, TokenError};
use crate::provider::pkcs11::token::Token;
use crate::provider::{AmbiguousKey, ProviderErrorKind};

/// A public-key object of the token.
#[derive(Debug)]
pub(super) struct TokenKey {
    pub(super) object: ObjectHandle,
    pub(super) label: Label,
    pub(super) id: Option<CkaId>,
    /// What wrapping needs to know, or why it is no key for that.
    pub(super) version: Result<KeyVersion, Fault>,
}

/// What a label says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Label {
    /// A name, and a version: the first where none is named.
    Name(KeyName, VersionNumber),
    /// Nothing that can be a name here.
    Other,
}

impl Label {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let Ok(text) = std::str::from_utf8(bytes) else { return Self::Other };
        let (name, number) = match text.trim_end_matches(['\0', ' ']).rsplit_once('@') {
            Some((name, number)) => (name.to_owned(), number.parse().ok()),
            None => (text.trim_end_matches(['\0', ' ']).to_owned(), Some(VersionNumber::FIRST)),
        };
        match (name.parse(), number) {
            (Ok(name), Some(number)) => Self::Name(name, number),
            _ => Self::Other,
        }
    }

    pub(super) fn text(name: &KeyName, number: VersionNumber) -> String {
        format!("{name}@{number}")
    }

    /// Whether the label has this name, in any case (R61).
    pub(super) fn has(&self, name: &KeyName) -> bool {
        matches!(self, Self::Name(own, _) if own.as_str().eq_ignore_ascii_case(name.as_str()))
    }
}

/// The RSA keys of the token that are for encryption.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) keys: Vec<TokenKey>,
    /// Why a key could not be read. Others can be used; but nothing is said not to be there.
    pub(super) unreadable: Option<Fault>,
}

impl Listing {
    /// Asks for no PIN.
    pub(super) fn read(session: &Session, token: &Token) -> Result<Self, Fault> {
        let template =
            [Attribute::Class(ObjectClass::PUBLIC_KEY), Attribute::KeyType(KeyType::RSA), Attribute::Token(true)];
        let mut listing = Self { keys: Vec::new(), unreadable: None };
        // All handles first: a session can't do two searches at once.
        for object in session.find_objects(&template)? {
            match read(session, token, object) {
                Ok(key) => listing.keys.extend(key),
                Err(fault) if fault.lost => return Err(fault),
                Err(fault) => listing.unreadable = Some(fault),
            }
        }
        Ok(listing)
    }

    /// Takes the first key that is as wanted.
    fn take(self, wanted: impl Fn(&TokenKey) -> bool) -> Result<Option<TokenKey>, Fault> {
        match (self.keys.into_iter().find(wanted), self.unreadable) {
            (None, Some(fault)) => Err(fault),
            (found, _) => Ok(found),
        }
    }
}

/// Returns the keys of this name; those of the highest version last.
pub(super) fn named(session: &Session, token: &Token, name: &KeyName) -> Result<Vec<(VersionNumber, TokenKey)>, Fault> {
    let listing = Listing::read(session, token)?;
    let mut found: Vec<_> = listing
        .keys
        .into_iter()
        .filter_map(|key| match key.label {
            Label::Name(_, number) if key.label.has(name) => Some((number, key)),
            Label::Name(..) | Label::Other => None,
        })
        .collect();
    if let (true, Some(fault)) = (found.is_empty(), listing.unreadable) {
        return Err(fault);
    }
    found.sort_by_key(|(number, _)| *number);
    // The same key twice is one.
    found.dedup_by(|(number, key), (before, kept)| {
        let material = |key: &TokenKey| key.version.as_ref().ok().map(|version| version.thumbprint);
        number == before && material(key).is_some() && material(key) == material(kept)
    });
    Ok(found)
}

/// Picks a version of those that have the name: the newest where `number` is `None`.
pub(super) fn pick(
    mut found: Vec<(VersionNumber, TokenKey)>,
    number: Option<VersionNumber>,
) -> Result<Option<TokenKey>, Fault> {
    let Some(wanted) = number.or(found.last().map(|(newest, _)| *newest)) else { return Ok(None) };
    found.retain(|(number, _)| *number == wanted);
    if found.len() > 1 {
        return Err(ambiguous(found.iter().map(|(_, key)| key)));
    }
    Ok(found.pop().map(|(_, key)| key))
}

/// Refuses to choose between keys; names them as each of them is found.
pub(super) fn ambiguous<'a>(keys: impl Iterator<Item = &'a TokenKey>) -> Fault {
    let id = |key: &TokenKey| match &key.version {
        Ok(version) => format!("jkt:{}", version.thumbprint),
        Err(_) => "a key that is refused".to_owned(),
    };
    Fault::of(ProviderErrorKind::Unsupported, AmbiguousKey { ids: keys.map(id).collect() })
}

/// Finds the key that a reference means which is about material.
pub(super) fn matching(
    session: &Session,
    token: &Token,
    matches: impl Fn(&TokenKey, &KeyVersion) -> bool,
) -> Result<Option<KeyVersion>, Fault> {
    let Listing { mut keys, unreadable } = Listing::read(session, token)?;
    keys.retain(|key| key.version.as_ref().is_ok_and(|version| matches(key, version)));
    // The same key twice is one.
    let material = |key: &TokenKey| key.version.as_ref().ok().map(|version| version.thumbprint);
    keys.sort_by_key(material);
    keys.dedup_by_key(|key| material(key));
    if keys.len() > 1 {
        return Err(ambiguous(keys.iter()));
    }
    match (keys.pop(), unreadable) {
        (None, Some(fault)) => Err(fault),
        (found, _) => found.map(|key| key.version).transpose(),
    }
}

/// Finds the key whose public half has this thumbprint.
pub(super) fn with_thumbprint(session: &Session, token: &Token, of: &Thumbprint) -> Result<Option<TokenKey>, Fault> {
    let is = |key: &TokenKey| key.version.as_ref().is_ok_and(|version| version.thumbprint == *of);
    // Keys that were made here say so themselves; a token may have very many others.
    let template = [
        Attribute::Class(ObjectClass::PUBLIC_KEY),
        Attribute::KeyType(KeyType::RSA),
        Attribute::Token(true),
        Attribute::Id(of.as_bytes().to_vec()),
    ];
    for object in session.find_objects(&template)? {
        if let Some(key) = read(session, token, object)?.filter(is) {
            return Ok(Some(key));
        }
    }
    Listing::read(session, token)?.take(is)
}

/// A private-key object.
#[derive(Clone, Copy, Debug)]
pub(super) struct PrivateKey {
    pub(super) object: ObjectHandle,
    pub(super) decrypts: bool,
    pub(super) unwraps: bool,
    pub(super) asks_each_time: bool,
}

/// Finds the private half by its modulus: a `CKA_ID` need not be unique.
pub(super) fn private_half(session: &Session, public: &RsaPublicKey) -> Result<Option<PrivateKey>, Fault> {
    let template = [
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::KeyType(KeyType::RSA),
        Attribute::Modulus(public.modulus().to_vec()),
    ];
    let mut found = None;
    for object in session.find_objects(&template)? {
        let mut key = PrivateKey { object, decrypts: false, unwraps: false, asks_each_time: false };
        let wanted = [AttributeType::Decrypt, AttributeType::Unwrap, AttributeType::AlwaysAuthenticate];
        for attribute in session.get_attributes(object, &wanted)? {
            match attribute {
                Attribute::AlwaysAuthenticate(asks) => key.asks_each_time = asks,
                Attribute::Decrypt(may) => key.decrypts = may,
                Attribute::Unwrap(may) => key.unwraps = may,
                _ => {}
            }
        }
        // Of several copies, one that may be used.
        if key.decrypts || key.unwraps {
            return Ok(Some(key));
        }
        found = Some(key);
    }
    Ok(found)
}

/// Reads a public-key object; `None` when it is for signatures only.
fn read(session: &Session, token: &Token, object: ObjectHandle) -> Result<Option<TokenKey>, Fault> {
    let lengths = check_lengths(session, object)?;
    let wanted = [
        AttributeType::Label,
        AttributeType::Id,
        AttributeType::Modulus,
        AttributeType::PublicExponent,
        AttributeType::Encrypt,
        AttributeType::Wrap,
        AttributeType::Verify,
        AttributeType::StartDate,
        AttributeType::EndDate,
    ];
    let (mut label, mut own_id, mut modulus, mut exponent) = (Label::Other, None, Vec::new(), Vec::new());
    let (mut encrypts, mut wraps, mut verifies) = (false, false, false);
    let (mut start, mut end) = (Ok(None), Ok(None));
    for attribute in session.get_attributes(object, &wanted)? {
        match attribute {
            Attribute::Label(bytes) => label = Label::of(&bytes),
            Attribute::Id(bytes) => own_id = CkaId::new(&bytes),
            Attribute::Modulus(bytes) => modulus = bytes,
            Attribute::PublicExponent(bytes) => exponent = bytes,
            Attribute::Encrypt(may) => encrypts = may,
            Attribute::Wrap(may) => wraps = may,
            Attribute::Verify(may) => verifies = may,
            Attribute::StartDate(date) => start = dates::begins(date),
            Attribute::EndDate(date) => end = dates::ends(date),
            _ => {}
        }
    }
    // A module that says one length and gives another: what it gave is not to be trusted.
    let [.., modulus_length, exponent_length] = lengths;
    if modulus.len() != modulus_length || exponent.len() != exponent_length {
        return Err(Fault::lying("CKA_MODULUS or CKA_PUBLIC_EXPONENT"));
    }
    let usable = encrypts || wraps;
    if verifies && !usable {
        return Ok(None);
    }
    let public = public_key(&modulus, &exponent);
    let version = public.map_err(|error| Fault::of(ProviderErrorKind::Unsupported, TokenError::Key(error)));
    let version = version.and_then(|public| {
        let thumbprint = Thumbprint::of(&public);
        let vault = &token.settings.name;
        let id = match &label {
            Label::Name(name, number) => format!("{vault}/{}", Label::text(name, *number)),
            Label::Other => format!("jkt:{thumbprint}"),
        };
        Ok(KeyVersion {
            id,
            thumbprint,
            state: if usable { KeyState::Enabled } else { KeyState::Disabled },
            not_before: start?,
            not_after: end?,
            created: None,
            customer: token.settings.customer,
            public,
        })
    });
    Ok(Some(TokenKey { object, label, id: own_id, version }))
}

/// Returns the lengths of label, id, modulus and exponent. Refuses those that no RSA key has, before memory of that size is asked for.
fn check_lengths(session: &Session, object: ObjectHandle) -> Result<[usize; 4], Fault> {
    let limits = [
        (AttributeType::Label, "CKA_LABEL", MAX_LABEL),
        (AttributeType::Id, "CKA_ID", MAX_LABEL),
        (AttributeType::Modulus, "CKA_MODULUS", MAX_NUMBER),
        (AttributeType::PublicExponent, "CKA_PUBLIC_EXPONENT", MAX_NUMBER),
    ];
    let found = session.get_attribute_info(object, &limits.map(|(attribute, ..)| attribute))?;
    let mut lengths = [0; 4];
    for ((length, info), (_, attribute, limit)) in lengths.iter_mut().zip(found).zip(limits) {
        *length = match info {
            AttributeInfo::Available(length) => length,
            AttributeInfo::Sensitive | AttributeInfo::TypeInvalid | AttributeInfo::Unavailable => 0,
        };
        if *length > limit {
            return Err(Fault::lying(attribute));
        }
    }
    Ok(lengths)
}

fn public_key(modulus: &[u8], exponent: &[u8]) -> Result<RsaPublicKey, RsaKeyError> {
    let number = |bytes| der::asn1::UintRef::new(bytes).map_err(|_| RsaKeyError::Malformed);
    let key = pkcs1::RsaPublicKeyRef { modulus: number(modulus)?, public_exponent: number(exponent)? };
    RsaPublicKey::from_pkcs1_der(&key.to_der().map_err(|_| RsaKeyError::Malformed)?)
}

/// Bytes of a label or id. Tokens have some hundreds at most.
const MAX_LABEL: usize = 4096;
/// Bytes of a modulus or exponent: 16,384 bits, more than any key that is accepted, so that a large one is refused for its size.
const MAX_NUMBER: usize = 2049;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_name_versions_and_bare_ones_are_the_first() {
        let name = |label: &str| match Label::of(label.as_bytes()) {
            Label::Name(name, number) => Some((name.to_string(), number.get())),
            Label::Other => None,
        };
        assert_eq!(name("backup@3"), Some(("backup".to_owned(), 3)));
        assert_eq!(name("Backup"), Some(("Backup".to_owned(), 1)));
        assert_eq!(name("backup@3   "), Some(("backup".to_owned(), 3)));
        for other in ["", "a b", "a_b", "backup@0", "backup@x", "backup@", "a@1@2", "\u{e4}", "@1"] {
            assert_eq!(name(other), None, "{other}");
        }
        assert_eq!(Label::of(b"\xff"), Label::Other);
        assert!(Label::of(b"Backup@2").has(&"bACKUP".parse().expect("a name")));
    }

    #[test]
    fn numbers_of_bad_keys_are_refused_with_the_reason() {
        assert!(public_key(&[], &[1, 0, 1]).is_err());
        assert_eq!(public_key(&[0xff; 128], &[1, 0, 1]).err(), Some(RsaKeyError::Size(1024)));
        assert_eq!(public_key(&[0xff; 256], &[3]).err(), Some(RsaKeyError::Exponent));
        assert_eq!(public_key(&[&[0][..], &[0xff; 256]].concat(), &[1, 0, 1]).expect("odd").bits(), 2048);
    }
}
