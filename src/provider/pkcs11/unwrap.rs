//! The private-key operation, and which hash the token has for it.

use cryptoki::error::Error;
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsOaepParams, PkcsOaepSource};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeInfo, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use crate::oaep::{RsaPublicKey, WrapAlgorithm};
use crate::provider::pkcs11::error::{Fault, TokenError, is_opaque, may_unwrap_instead};
use crate::provider::pkcs11::keys::{self, Listing, PrivateKey};
use crate::provider::pkcs11::token::Token;
use crate::provider::{ProviderErrorKind, WrappedKey};
use crate::secret::SecretBytes;

/// Unwraps in the token. `Ok(Err(_))` names the key that refused.
pub(super) fn unwrap(
    session: &Session,
    token: &Token,
    wrapped: &WrappedKey,
) -> Result<Result<SecretBytes, (String, Fault)>, Fault> {
    let Some(key) = keys::with_thumbprint(session, token, &wrapped.thumbprint)? else {
        return Err(Fault::plain(ProviderErrorKind::NotFound));
    };
    let version = key.version?;
    let refused = |fault| Ok(Err((version.id.clone(), fault)));
    let Some(private) = keys::private_half(session, &version.public)? else {
        return refused(Fault::of(ProviderErrorKind::NotFound, TokenError::NoPrivateHalf));
    };
    // The private half alone decides: a team may have taken from the public one what is done elsewhere anyway.
    if !(private.decrypts || private.unwraps) {
        return refused(Fault::plain(ProviderErrorKind::Disabled));
    }
    if private.asks_each_time {
        return refused(Fault::of(ProviderErrorKind::Unsupported, TokenError::AsksEachTime));
    }
    if wrapped.ciphertext.len() != version.public.modulus().len() {
        return refused(Fault::plain(ProviderErrorKind::UnwrapFailed));
    }
    match decrypted(session, private, wrapped) {
        Ok(secret) if secret.len() > carried(&version.public, wrapped.algorithm) => {
            refused(Fault::lying("answer to C_Decrypt"))
        }
        Ok(secret) => Ok(Ok(secret)),
        Err(fault) if fault.lost => Err(fault),
        Err(fault) => refused(fault),
    }
}

/// Finds out by which hash the token does OAEP: by letting it encrypt a few bytes, which takes no PIN.
pub(super) fn algorithm(session: &Session, token: &Token, public: &RsaPublicKey) -> Result<WrapAlgorithm, Fault> {
    let module = token.module()?;
    let slot = session.get_session_info()?.slot_id();
    if !module.get_mechanism_list(slot)?.contains(&MechanismType::RSA_PKCS_OAEP) {
        return Err(Fault::plain(ProviderErrorKind::Unsupported));
    }
    let template = [
        Attribute::Class(ObjectClass::PUBLIC_KEY),
        Attribute::KeyType(KeyType::RSA),
        Attribute::Token(false),
        Attribute::Encrypt(true),
        Attribute::Modulus(public.modulus().to_vec()),
        Attribute::PublicExponent(public.exponent().to_vec()),
    ];
    let made = session.create_object(&template);
    let object = match &made {
        Ok(object) => Some(*object),
        // Not every token takes a key for a moment: then one of its own must do.
        Err(_) => Listing::read(session, token)?.keys.into_iter().next().map(|key| key.object),
    };
    let encrypts = |algorithm, object| session.encrypt(&oaep(algorithm), object, b"probe").is_ok();
    let found = match object {
        Some(object) if encrypts(WrapAlgorithm::RsaOaep256, object) => WrapAlgorithm::RsaOaep256,
        Some(object) if encrypts(WrapAlgorithm::RsaOaep, object) => WrapAlgorithm::RsaOaep,
        // A token that encrypts nothing at all: what nearly every one has.
        Some(_) | None => WrapAlgorithm::RsaOaep256,
    };
    if let Ok(object) = made {
        session.destroy_object(object)?;
    }
    Ok(found)
}

fn decrypted(session: &Session, private: PrivateKey, wrapped: &WrappedKey) -> Result<SecretBytes, Fault> {
    let mechanism = oaep(wrapped.algorithm);
    if private.decrypts {
        match session.decrypt(&mechanism, private.object, &wrapped.ciphertext) {
            Ok(secret) => return Ok(SecretBytes::taken_from(secret)),
            Err(error) if private.unwraps && may_unwrap_instead(&error) => {}
            Err(error) => return Err(opaque(error)),
        }
    }
    // As a secret key that lives as long as this session at most, and may be read. The second choice also because cryptoki reads it
    // by way of a buffer of its own, which it does not wipe.
    let template = [
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::GENERIC_SECRET),
        Attribute::Token(false),
        Attribute::Sensitive(false),
        Attribute::Extractable(true),
    ];
    let object = session.unwrap_key(&mechanism, private.object, &wrapped.ciphertext, &template).map_err(opaque)?;
    let value = value_of(session, object);
    session.destroy_object(object)?;
    value
}

fn value_of(session: &Session, object: ObjectHandle) -> Result<SecretBytes, Fault> {
    match session.get_attribute_info(object, &[AttributeType::Value])?.as_slice() {
        [AttributeInfo::Available(length)] if *length <= MAX_SECRET => {}
        _ => return Err(Fault::lying("CKA_VALUE")),
    }
    let attributes = session.get_attributes(object, &[AttributeType::Value])?;
    let value = attributes.into_iter().find_map(|attribute| match attribute {
        Attribute::Value(value) => Some(SecretBytes::taken_from(value)),
        _ => None,
    });
    value.ok_or_else(|| Fault::lying("CKA_VALUE"))
}

/// Inside the private-key operation every failure looks alike.
fn opaque(error: Error) -> Fault {
    if is_opaque(&error) { Fault::plain(ProviderErrorKind::UnwrapFailed) } else { error.into() }
}

/// Returns how many bytes a key carries at most (RFC 8017 §7.1.1).
fn carried(public: &RsaPublicKey, algorithm: WrapAlgorithm) -> usize {
    let hash = match algorithm {
        WrapAlgorithm::RsaOaep => 20,
        WrapAlgorithm::RsaOaep256 => 32,
    };
    public.modulus().len().saturating_sub(2 * hash + 2)
}

fn oaep(algorithm: WrapAlgorithm) -> Mechanism<'static> {
    let (hash, mask) = match algorithm {
        WrapAlgorithm::RsaOaep => (MechanismType::SHA1, PkcsMgfType::MGF1_SHA1),
        WrapAlgorithm::RsaOaep256 => (MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
    };
    Mechanism::RsaPkcsOaep(PkcsOaepParams::new(hash, mask, PkcsOaepSource::empty()))
}

/// Bytes of a secret: what RSA-4096 carries.
const MAX_SECRET: usize = 512;
