//! What unwrapping gives, and that it tells nothing when it fails.

use crate::oaep::WrapAlgorithm;
use crate::provider::conformance::world::{SeenError, World, cx, foreign_version};
use crate::provider::conformance::{Finding, checks};
use crate::provider::{ProviderErrorKind, WrappedKey};

checks! {
    what_anybody_wrapped_under_the_public_half_unwraps,
    id_in_a_wrapped_key_is_only_a_hint,
    ciphertext_of_another_key_does_not_unwrap,
    changed_ciphertext_does_not_unwrap,
    ciphertext_of_another_length_does_not_unwrap,
    empty_ciphertext_does_not_unwrap,
    unwrapping_by_another_algorithm_fails,
    failures_to_unwrap_look_alike_and_have_no_cause,
    unknown_thumbprint_unwraps_nothing,
}

fn what_anybody_wrapped_under_the_public_half_unwraps(world: &World<'_>) -> Result<(), Finding> {
    let wrapped = world.wrap_here(&world.key()?, 96)?;
    world.unwraps(&wrapped, 96)
}

fn id_in_a_wrapped_key_is_only_a_hint(world: &World<'_>) -> Result<(), Finding> {
    let mut wrapped = world.wrap(&world.key()?, 64)?;
    wrapped.id = "elsewhere/another@9".to_owned();
    world.unwraps(&wrapped, 64)
}

fn ciphertext_of_another_key_does_not_unwrap(world: &World<'_>) -> Result<(), Finding> {
    let key = world.key()?;
    let others = world.wrap_here(&foreign_version(&key)?, 64)?;
    fails(world, "another key's ciphertext", WrappedKey { thumbprint: key.thumbprint, ..others }).map(drop)
}

fn changed_ciphertext_does_not_unwrap(world: &World<'_>) -> Result<(), Finding> {
    for wrapped in changed(world)? {
        fails(world, "a changed ciphertext", wrapped)?;
    }
    Ok(())
}

fn ciphertext_of_another_length_does_not_unwrap(world: &World<'_>) -> Result<(), Finding> {
    for wrapped in of_other_lengths(world)? {
        fails(world, &format!("a ciphertext of {} bytes", wrapped.ciphertext.len()), wrapped)?;
    }
    Ok(())
}

fn empty_ciphertext_does_not_unwrap(world: &World<'_>) -> Result<(), Finding> {
    let wrapped = world.wrap(&world.key()?, 64)?;
    fails(world, "an empty ciphertext", WrappedKey { ciphertext: Vec::new(), ..wrapped }).map(drop)
}

fn unwrapping_by_another_algorithm_fails(world: &World<'_>) -> Result<(), Finding> {
    let wrapped = world.wrap(&world.key()?, 64)?;
    let algorithm = match wrapped.algorithm {
        WrapAlgorithm::RsaOaep => WrapAlgorithm::RsaOaep256,
        WrapAlgorithm::RsaOaep256 => WrapAlgorithm::RsaOaep,
    };
    let kinds = [ProviderErrorKind::Unsupported, ProviderErrorKind::UnwrapFailed];
    let unwrapped = world.subject.provider.unwrap_key(&WrappedKey { algorithm, ..wrapped }, &cx());
    world.refused("another algorithm", &kinds, unwrapped).map(drop)
}

/// What differs between failures is a padding oracle.
fn failures_to_unwrap_look_alike_and_have_no_cause(world: &World<'_>) -> Result<(), Finding> {
    let mut seen: Vec<SeenError> = Vec::new();
    for wrapped in changed(world)?.into_iter().chain(of_other_lengths(world)?) {
        seen.push(fails(world, "a bad ciphertext", wrapped)?);
    }
    if let Some(error) = seen.iter().find(|error| error.has_cause) {
        return Err(Finding::new("no cause", error.text.clone()));
    }
    match seen.iter().find(|error| seen.first() != Some(error)) {
        Some(other) => Err(Finding::new("the same words each time", other.text.clone())),
        None => Ok(()),
    }
}

/// A key is chosen by its thumbprint, never by trying.
fn unknown_thumbprint_unwraps_nothing(world: &World<'_>) -> Result<(), Finding> {
    let key = world.key()?;
    let wrapped = WrappedKey { thumbprint: foreign_version(&key)?.thumbprint, ..world.wrap(&key, 64)? };
    let unwrapped = world.subject.provider.unwrap_key(&wrapped, &cx());
    world.refused("a thumbprint that no key has", &[ProviderErrorKind::NotFound], unwrapped).map(drop)
}

/// Ciphertexts with one bit changed, or as large as they can be.
fn changed(world: &World<'_>) -> Result<Vec<WrappedKey>, Finding> {
    let good = world.wrap(&world.key()?, 64)?;
    let len = good.ciphertext.len();
    let mut all = Vec::new();
    for at in [1, len / 2, len.saturating_sub(1)] {
        let mut changed = good.clone();
        if let Some(byte) = changed.ciphertext.get_mut(at) {
            *byte ^= 1;
        }
        all.push(changed);
    }
    for byte in [0, 0xff] {
        all.push(WrappedKey { ciphertext: vec![byte; len], ..good.clone() });
    }
    Ok(all)
}

fn of_other_lengths(world: &World<'_>) -> Result<Vec<WrappedKey>, Finding> {
    let good = world.wrap(&world.key()?, 64)?;
    let bytes = &good.ciphertext;
    let shorter = bytes.get(1..).unwrap_or_default();
    let others = [shorter.to_vec(), [&[0], &**bytes].concat(), [&**bytes, &[0]].concat(), bytes.repeat(2), vec![7]];
    Ok(others.map(|ciphertext| WrappedKey { ciphertext, ..good.clone() }).into())
}

fn fails(world: &World<'_>, what: &str, wrapped: WrappedKey) -> Result<SeenError, Finding> {
    let unwrapped = world.subject.provider.unwrap_key(&wrapped, &cx());
    world.refused(what, &[ProviderErrorKind::UnwrapFailed], unwrapped)
}
