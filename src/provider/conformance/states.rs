//! What a key's state and dates allow (R39, R63, R71).

use crate::key::KeyState;
use crate::provider::conformance::world::{World, cx, midnight, secret};
use crate::provider::conformance::{Finding, checks};
use crate::provider::{KeyChanges, ProviderErrorKind};

checks! {
    disabled_key_is_found_and_does_nothing [Disabling],
    enabled_again_it_unwraps [Administration, Disabling],
    expired_key_unwraps_and_never_wraps [ExpiryDate],
    key_not_yet_valid_unwraps_and_never_wraps [ActivationDate],
    deleted_key_does_nothing_until_it_is_recovered [Recovery],
}

fn disabled_key_is_found_and_does_nothing(world: &World<'_>) -> Result<(), Finding> {
    world.changed(world.subject.disabled.as_ref(), KeyChanges::disable(), KeyChanges::enable(), |key| {
        let found = world.yes("the disabled key", world.subject.provider.find(&key.thumbprint, &cx()))?;
        if found.state != KeyState::Disabled {
            return Err(Finding::new("the state 'disabled'", found.state.name()));
        }
        let kinds = [ProviderErrorKind::Disabled];
        world.refused("wrapping", &kinds, world.subject.provider.wrap_key(&found, &secret(64), &cx()))?;
        let wrapped = world.wrap_here(key, 64)?;
        world.refused("unwrapping", &kinds, world.subject.provider.unwrap_key(&wrapped, &cx())).map(drop)
    })
}

fn enabled_again_it_unwraps(world: &World<'_>) -> Result<(), Finding> {
    let made = world.made()?;
    let wrapped = world.wrap(&made.second, 64)?;
    world.changed(None, KeyChanges::disable(), KeyChanges::enable(), |_| Ok(()))?;
    world.unwraps(&wrapped, 64)
}

fn expired_key_unwraps_and_never_wraps(world: &World<'_>) -> Result<(), Finding> {
    let changes = KeyChanges { not_after: Some(Some(midnight(-1))), ..KeyChanges::default() };
    let back = KeyChanges { not_after: Some(None), ..KeyChanges::default() };
    world.changed(world.subject.expired.as_ref(), changes, back, |key| {
        let found = world.yes("the expired key", world.subject.provider.find(&key.thumbprint, &cx()))?;
        let wrapped = world.subject.provider.wrap_key(&found, &secret(64), &cx());
        world.refused("wrapping", &[ProviderErrorKind::Expired], wrapped)?;
        world.unwraps(&world.wrap_here(key, 64)?, 64)
    })
}

fn key_not_yet_valid_unwraps_and_never_wraps(world: &World<'_>) -> Result<(), Finding> {
    let changes = KeyChanges { not_before: Some(Some(midnight(2))), ..KeyChanges::default() };
    let back = KeyChanges { not_before: Some(None), ..KeyChanges::default() };
    world.changed(world.subject.not_yet_valid.as_ref(), changes, back, |key| {
        let found = world.yes("the key", world.subject.provider.find(&key.thumbprint, &cx()))?;
        let wrapped = world.subject.provider.wrap_key(&found, &secret(64), &cx());
        world.refused("wrapping", &[ProviderErrorKind::NotYetValid], wrapped)?;
        world.unwraps(&world.wrap_here(key, 64)?, 64)
    })
}

fn deleted_key_does_nothing_until_it_is_recovered(world: &World<'_>) -> Result<(), Finding> {
    let (admin, made) = (world.admin()?, world.made()?);
    let Some(recovery) = &world.subject.recovery else { return Ok(()) };
    let wrapped = world.wrap(&made.second, 64)?;
    world.yes("a deleted key", admin.delete(&made.name, &cx()))?;
    let result = (|| {
        let kinds = [ProviderErrorKind::Deleted];
        let found = world.yes("the deleted key", world.subject.provider.find(&made.second.thumbprint, &cx()))?;
        world.refused("wrapping", &kinds, world.subject.provider.wrap_key(&found, &secret(64), &cx()))?;
        world.refused("unwrapping", &kinds, world.subject.provider.unwrap_key(&wrapped, &cx()))?;
        world.refused("rotating", &kinds, admin.rotate(&made.name, &cx()))?;
        world.refused("a deleted key's name", &[ProviderErrorKind::Exists], admin.create(&made.name, 2048, &cx()))
    })();
    world.yes("the key to be recovered", recovery.recover(&made.name, &cx()))?;
    result?;
    world.unwraps(&wrapped, 64)
}
