//! Making keys in the token, and changing their states and dates.

use std::sync::{MutexGuard, TryLockError};
use std::time::Duration;

use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::Session;

use crate::key::{Deletion, KeyDetails, KeyName, KeyVersion, RotationPolicy, VersionNumber};
use crate::oaep::{RsaKeyError, RsaPrivateKey};
use crate::provider::pkcs11::Pkcs11Vault;
use crate::provider::pkcs11::connection::Access;
use crate::provider::pkcs11::dates;
use crate::provider::pkcs11::error::{Fault, TokenError};
use crate::provider::pkcs11::keys::{self, Label};
use crate::provider::pkcs11::token::Token;
use crate::provider::{BackupUnlock, KeyAdmin, KeyChanges, KeyRefusal, OpContext, ProviderError, ProviderErrorKind};

/// Two processes that make the same name or version at once make two keys, and the name is refused as ambiguous from then on: PKCS#11 has
/// nothing that would make one of them wait.
impl KeyAdmin for Pkcs11Vault {
    fn create(&self, key: &KeyName, bits: usize, cx: &OpContext) -> Result<KeyVersion, ProviderError> {
        cx.in_time(&self.name, key.as_str())?;
        if !SIZES.contains(&bits) {
            let answer = ProviderError::new(ProviderErrorKind::Unsupported, &self.name, key.as_str());
            return Err(answer.because(RsaKeyError::Size(bits)));
        }
        let _numbering = self.alone(key, cx)?;
        let name = key.clone();
        self.call(key.as_str(), Access::Write, cx, move |session, token| {
            if !keys::named(session, token, &name)?.is_empty() {
                return Err(Fault::plain(ProviderErrorKind::Exists));
            }
            generate(session, token, &name, VersionNumber::FIRST, bits)
        })
    }

    /// Refuses: a key that was outside the token can't be one that never left it.
    fn import(&self, key: &KeyName, _private: &RsaPrivateKey, cx: &OpContext) -> Result<KeyVersion, ProviderError> {
        cx.in_time(&self.name, key.as_str())?;
        Err(ProviderError::new(ProviderErrorKind::Unsupported, &self.name, key.as_str()))
    }

    fn rotate(&self, key: &KeyName, cx: &OpContext) -> Result<KeyVersion, ProviderError> {
        let _numbering = self.alone(key, cx)?;
        let name = key.clone();
        self.call(key.as_str(), Access::Write, cx, move |session, token| {
            let found = keys::named(session, token, &name)?;
            let Some((number, newest)) = found.into_iter().next_back() else {
                return Err(Fault::plain(ProviderErrorKind::NotFound));
            };
            let next = number.next().ok_or_else(|| Fault::plain(ProviderErrorKind::Unsupported))?;
            // In the case that the name is written in.
            let name = match newest.label {
                Label::Name(name, _) => name,
                Label::Other => name.clone(),
            };
            let bits = newest.version?.public.bits();
            if !SIZES.contains(&bits) {
                return Err(Fault::of(ProviderErrorKind::Unsupported, TokenError::Key(RsaKeyError::Size(bits))));
            }
            generate(session, token, &name, next, bits)
        })
    }

    /// A time must be midnight in UTC: tokens know whole days only.
    fn update(
        &self,
        key: &KeyName,
        version: Option<VersionNumber>,
        changes: &KeyChanges,
        cx: &OpContext,
    ) -> Result<KeyVersion, ProviderError> {
        let (name, changes) = (key.clone(), *changes);
        let text = version.map_or_else(|| key.to_string(), |number| Label::text(key, number));
        let changed = self.call(&text, Access::Write, cx, move |session, token| {
            let Some(found) = keys::pick(keys::named(session, token, &name)?, version)? else {
                return Err(Fault::plain(ProviderErrorKind::NotFound));
            };
            let known = found.version?;
            let from = changes.not_before.unwrap_or(known.not_before);
            let until = changes.not_after.unwrap_or(known.not_after);
            if let (Some(from), Some(until)) = (from, until)
                && from >= until
            {
                return Ok(Err(KeyRefusal::ExpiresBeforeItBegins));
            }
            if changes.not_before.is_some() || changes.not_after.is_some() {
                let new = [Attribute::StartDate(dates::first_day(from)?), Attribute::EndDate(dates::last_day(until)?)];
                session.update_attributes(found.object, &new)?;
            }
            if let Some(enabled) = changes.enabled {
                switch(session, found.object, &known, enabled)?;
            }
            let changed = keys::pick(keys::named(session, token, &name)?, version)?;
            changed.ok_or_else(|| Fault::plain(ProviderErrorKind::Lying))?.version.map(Ok)
        })?;
        changed
            .map_err(|refusal| ProviderError::new(ProviderErrorKind::Unsupported, &self.name, &text).because(refusal))
    }

    /// Refuses: tokens have no such lock.
    fn set_delete_lock(&self, key: &KeyName, _locked: bool, cx: &OpContext) -> Result<KeyDetails, ProviderError> {
        self.must_have(key, cx)?;
        Err(ProviderError::new(ProviderErrorKind::Unsupported, &self.name, key.as_str()))
    }

    /// Refuses: tokens keep no policy.
    fn set_policy(&self, key: &KeyName, _policy: &RotationPolicy, cx: &OpContext) -> Result<KeyDetails, ProviderError> {
        self.must_have(key, cx)?;
        Err(ProviderError::new(ProviderErrorKind::Unsupported, &self.name, key.as_str()))
    }

    /// Refuses: nothing can be recovered from a token (R36).
    fn delete(&self, key: &KeyName, cx: &OpContext) -> Result<Deletion, ProviderError> {
        self.must_have(key, cx)?;
        let answer = ProviderError::new(ProviderErrorKind::Unsupported, &self.name, key.as_str());
        Err(answer.because(TokenError::NoSoftDelete))
    }

    /// Refuses: tokens take no backups of keys.
    fn restore(&self, _backup: &[u8], _by: Option<BackupUnlock<'_>>, cx: &OpContext) -> Result<KeyName, ProviderError> {
        cx.in_time(&self.name, "")?;
        Err(ProviderError::new(ProviderErrorKind::Unsupported, &self.name, ""))
    }
}

impl Pkcs11Vault {
    /// Waits until no other thread gives out version numbers, but no longer than the deadline.
    fn alone(&self, key: &KeyName, cx: &OpContext) -> Result<MutexGuard<'_, ()>, ProviderError> {
        loop {
            match self.numbering.try_lock() {
                Ok(guard) => return Ok(guard),
                Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => cx.in_time(&self.name, key.as_str())?,
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// Generates a pair that never leaves the token.
fn generate(
    session: &Session,
    token: &Token,
    name: &KeyName,
    number: VersionNumber,
    bits: usize,
) -> Result<KeyVersion, Fault> {
    let label = Attribute::Label(Label::text(name, number).into_bytes());
    let public = [
        Attribute::Token(true),
        Attribute::Private(false),
        label.clone(),
        Attribute::Encrypt(true),
        Attribute::Wrap(true),
        Attribute::Verify(false),
        Attribute::ModulusBits(bits.try_into()?),
        Attribute::PublicExponent(vec![1, 0, 1]),
    ];
    let private = [
        Attribute::Token(true),
        Attribute::Private(true),
        label,
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Decrypt(true),
        Attribute::Unwrap(true),
        Attribute::Sign(false),
    ];
    let (public, private) = session.generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &public, &private)?;
    if !stays_inside(session, private)? {
        session.destroy_object(private)?;
        session.destroy_object(public)?;
        return Err(Fault::of(ProviderErrorKind::Lying, TokenError::NotSensitive));
    }
    let made = keys::pick(keys::named(session, token, name)?, Some(number))?;
    let made = made.filter(|key| key.object == public).ok_or_else(|| Fault::plain(ProviderErrorKind::Lying))?;
    let version = made.version?;
    if version.public.bits() != bits {
        return Err(Fault::lying("CKA_MODULUS"));
    }
    // Only to make the key easy to find: some tokens choose it themselves, and nothing here depends on it.
    let id = Attribute::Id(version.thumbprint.as_bytes().to_vec());
    for object in [public, private] {
        let _ = session.update_attributes(object, std::slice::from_ref(&id));
    }
    Ok(version)
}

fn stays_inside(session: &Session, private: ObjectHandle) -> Result<bool, Fault> {
    let (mut sensitive, mut extractable) = (false, true);
    for attribute in session.get_attributes(private, &[AttributeType::Sensitive, AttributeType::Extractable])? {
        match attribute {
            Attribute::Sensitive(is) => sensitive = is,
            Attribute::Extractable(is) => extractable = is,
            _ => {}
        }
    }
    Ok(sensitive && !extractable)
}

/// Switches both halves, in the order in which nothing is wrapped that can't be unwrapped.
fn switch(session: &Session, public: ObjectHandle, known: &KeyVersion, enabled: bool) -> Result<(), Fault> {
    let Some(private) = keys::private_half(session, &known.public)? else {
        return Err(Fault::of(ProviderErrorKind::NotFound, TokenError::NoPrivateHalf));
    };
    let halves = [
        (public, [Attribute::Encrypt(enabled), Attribute::Wrap(enabled)]),
        (private.object, [Attribute::Decrypt(enabled), Attribute::Unwrap(enabled)]),
    ];
    let [first, second] = if enabled { [&halves[1], &halves[0]] } else { [&halves[0], &halves[1]] };
    for (object, attributes) in [first, second] {
        session.update_attributes(*object, attributes)?;
    }
    Ok(())
}

const PAUSE: Duration = Duration::from_millis(5);
const SIZES: &[usize] = &[2048, 3072, 4096];
