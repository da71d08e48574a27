//! What wrapping does, and what it refuses.

use crate::key::{KeyState, KeyVersion};
use crate::provider::ProviderErrorKind;
use crate::provider::conformance::world::{World, cx, foreign, foreign_version, midnight, secret};
use crate::provider::conformance::{Finding, checks};

checks! {
    secrets_of_all_lengths_come_back,
    secret_too_long_for_the_key_is_refused,
    wrapped_key_names_its_key_and_version,
    wrapping_twice_gives_two_ciphertexts,
    wrapping_needs_the_public_half_only,
    kek_described_as_disabled_does_not_wrap,
    kek_described_as_deleted_does_not_wrap,
    kek_described_as_expired_does_not_wrap,
    kek_described_as_not_yet_valid_does_not_wrap,
}

fn secrets_of_all_lengths_come_back(world: &World<'_>) -> Result<(), Finding> {
    let key = world.key()?;
    for len in [1, 16, 32, 64, 96, 128, capacity(&key)] {
        let wrapped = world.wrap(&key, len)?;
        world.unwraps(&wrapped, len)?;
    }
    Ok(())
}

fn secret_too_long_for_the_key_is_refused(world: &World<'_>) -> Result<(), Finding> {
    let key = world.key()?;
    let wrapped = world.subject.provider.wrap_key(&key, &secret(capacity(&key) + 1), &cx());
    world.refused("one byte more than the key carries", &[ProviderErrorKind::Unsupported], wrapped).map(drop)
}

fn wrapped_key_names_its_key_and_version(world: &World<'_>) -> Result<(), Finding> {
    let key = world.key()?;
    let wrapped = world.wrap(&key, 64)?;
    if wrapped.thumbprint != key.thumbprint {
        return Err(Finding::new("the key's thumbprint", wrapped.thumbprint.to_string()));
    }
    if wrapped.id != key.id {
        return Err(Finding::new(format!("the id {}", key.id), wrapped.id));
    }
    let (expected, found) = (key.public.modulus().len(), wrapped.ciphertext.len());
    if expected == found {
        Ok(())
    } else {
        Err(Finding::new(format!("a ciphertext of {expected} bytes"), found.to_string()))
    }
}

fn wrapping_twice_gives_two_ciphertexts(world: &World<'_>) -> Result<(), Finding> {
    let key = world.key()?;
    if world.wrap(&key, 64)?.ciphertext == world.wrap(&key, 64)?.ciphertext {
        return Err(Finding::new("ciphertexts that differ", "the same one twice"));
    }
    Ok(())
}

/// A vault that has the private half wraps no better than one that has not: so the vault is not asked.
fn wrapping_needs_the_public_half_only(world: &World<'_>) -> Result<(), Finding> {
    let kek = foreign_version(&world.key()?)?;
    let wrapped = world.wrap(&kek, 64)?;
    let unwrapped = foreign()?.decrypt(wrapped.algorithm, &wrapped.ciphertext);
    match unwrapped {
        Ok(unwrapped) if unwrapped.ct_eq(secret(64).expose()) => Ok(()),
        Ok(_) => Err(Finding::new("what was wrapped", "something else")),
        Err(_) => Err(Finding::new("a ciphertext under the public key that was given", "one under another")),
    }
}

fn kek_described_as_disabled_does_not_wrap(world: &World<'_>) -> Result<(), Finding> {
    described(world, ProviderErrorKind::Disabled, |kek| kek.state = KeyState::Disabled)
}

fn kek_described_as_deleted_does_not_wrap(world: &World<'_>) -> Result<(), Finding> {
    described(world, ProviderErrorKind::Deleted, |kek| kek.state = KeyState::Deleted)
}

fn kek_described_as_expired_does_not_wrap(world: &World<'_>) -> Result<(), Finding> {
    described(world, ProviderErrorKind::Expired, |kek| kek.not_after = Some(midnight(0)))
}

fn kek_described_as_not_yet_valid_does_not_wrap(world: &World<'_>) -> Result<(), Finding> {
    described(world, ProviderErrorKind::NotYetValid, |kek| kek.not_before = Some(midnight(2)))
}

fn described(world: &World<'_>, kind: ProviderErrorKind, change: impl FnOnce(&mut KeyVersion)) -> Result<(), Finding> {
    let mut kek = world.key()?;
    change(&mut kek);
    let wrapped = world.subject.provider.wrap_key(&kek, &secret(64), &cx());
    world.refused("a key that may not wrap", &[kind], wrapped).map(drop)
}

/// How many bytes any vault can carry under a key of this size: by RSA-OAEP-256, so that a secret can move between vaults.
fn capacity(key: &KeyVersion) -> usize {
    key.public.modulus().len().saturating_sub(2 * 32 + 2)
}
