//! What an administrator's changes do.

use crate::key::{KeyName, KeyState, Thumbprint};
use crate::provider::conformance::world::{World, cx, fresh_name};
use crate::provider::conformance::{Finding, checks};
use crate::provider::{KeyChanges, ProviderErrorKind};

checks! {
    created_key_is_enabled_and_wraps [Administration],
    taken_name_is_refused_in_any_case [Administration],
    sizes_that_no_vault_has_are_refused [Administration],
    rotation_makes_new_material_and_the_old_version_unwraps [Administration],
    unknown_key_is_not_changed [Administration],
}

fn created_key_is_enabled_and_wraps(world: &World<'_>) -> Result<(), Finding> {
    let first = world.made()?.first;
    let bits = first.public.bits();
    if (first.state, bits) != (KeyState::Enabled, 2048) {
        return Err(Finding::new("an enabled key of 2048 bits", format!("{} bits, {}", bits, first.state.name())));
    }
    if first.thumbprint != Thumbprint::of(&first.public) {
        return Err(Finding::new("the thumbprint of the public key", first.thumbprint.to_string()));
    }
    world.unwraps(&world.wrap(&first, 128)?, 128)
}

fn taken_name_is_refused_in_any_case(world: &World<'_>) -> Result<(), Finding> {
    let (admin, made) = (world.admin()?, world.made()?);
    let upper: KeyName = match made.name.as_str().to_ascii_uppercase().parse() {
        Ok(upper) => upper,
        Err(error) => return Err(Finding::new("a name in upper case", error.to_string())),
    };
    for name in [&made.name, &upper] {
        let created = admin.create(name, 2048, &cx());
        world.refused("a name that is taken", &[ProviderErrorKind::Exists], created)?;
    }
    Ok(())
}

fn sizes_that_no_vault_has_are_refused(world: &World<'_>) -> Result<(), Finding> {
    for bits in [0, 512, 1024, 2047, 8192, usize::MAX] {
        let created = world.admin()?.create(&fresh_name(), bits, &cx());
        world.refused(&format!("{bits} bits"), &[ProviderErrorKind::Unsupported], created)?;
    }
    Ok(())
}

fn rotation_makes_new_material_and_the_old_version_unwraps(world: &World<'_>) -> Result<(), Finding> {
    let made = world.made()?;
    if made.first.thumbprint == made.second.thumbprint {
        return Err(Finding::new("new material", "the same again"));
    }
    if made.first.public.bits() != made.second.public.bits() {
        return Err(Finding::new("a key of the same size", made.second.public.bits().to_string()));
    }
    for version in [&made.first, &made.second] {
        world.unwraps(&world.wrap_here(version, 64)?, 64)?;
    }
    Ok(())
}

fn unknown_key_is_not_changed(world: &World<'_>) -> Result<(), Finding> {
    let (admin, unknown) = (world.admin()?, fresh_name());
    let kinds = [ProviderErrorKind::NotFound];
    world.refused("rotating an unknown key", &kinds, admin.rotate(&unknown, &cx()))?;
    let updated = admin.update(&unknown, None, &KeyChanges::disable(), &cx());
    world.refused("disabling an unknown key", &kinds, updated).map(drop)
}
