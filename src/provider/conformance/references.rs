//! How keys are found.

use crate::key::{KeyAlias, KeyRef, SpkiHash, Thumbprint, ThumbprintPrefix, VersionNumber};
use crate::provider::ProviderErrorKind;
use crate::provider::conformance::world::{World, cx, foreign_version, fresh_name};
use crate::provider::conformance::{Finding, checks};

checks! {
    key_is_found_and_may_wrap,
    reference_without_version_gives_the_newest [Versions],
    reference_with_version_gives_that_one [Versions],
    versions_differ_in_id_and_material [Versions],
    id_finds_the_same_version,
    thumbprint_is_that_of_the_public_key,
    thumbprint_finds_its_key,
    abbreviated_thumbprint_finds_its_key,
    hash_of_the_public_key_finds_its_key,
    names_are_compared_without_case [Names],
    unknown_thumbprint_is_not_found,
    unknown_name_is_not_found,
    unknown_version_is_not_found [Names],
    name_in_another_vault_is_not_found [Names],
}

fn key_is_found_and_may_wrap(world: &World<'_>) -> Result<(), Finding> {
    let key = world.key()?;
    key.may_wrap(cx().now()).map_err(|refusal| Finding::new("a key that may wrap", refusal.to_string()))
}

fn reference_without_version_gives_the_newest(world: &World<'_>) -> Result<(), Finding> {
    let versions = world.two_versions()?;
    let newest = world.version(&versions.newest_by)?;
    same("another version than the older one", newest.thumbprint != versions.older.thumbprint, &newest.id)?;
    if world.subject.older.is_none() {
        let made = world.made()?;
        same("the version that was made last", newest.thumbprint == made.second.thumbprint, &newest.id)?;
    }
    Ok(())
}

fn reference_with_version_gives_that_one(world: &World<'_>) -> Result<(), Finding> {
    let versions = world.two_versions()?;
    let found = world.version(&versions.older_by)?;
    same("the older version", found.thumbprint == versions.older.thumbprint, &found.id)?;
    let newest = world.version(&versions.newest_by)?;
    same("another version than the newest", found.thumbprint != newest.thumbprint, &found.id)
}

fn versions_differ_in_id_and_material(world: &World<'_>) -> Result<(), Finding> {
    let versions = world.two_versions()?;
    let newest = world.version(&versions.newest_by)?;
    same("ids that name the version", newest.id != versions.older.id, &newest.id)?;
    same("new material in the new version", newest.public != versions.older.public, &newest.id)
}

fn id_finds_the_same_version(world: &World<'_>) -> Result<(), Finding> {
    let key = world.key()?;
    same("an id", !key.id.is_empty(), "an empty one")?;
    // Ids of other vaults, such as URLs, are not in our grammar.
    let Ok(by) = key.id.parse::<KeyRef>() else { return Ok(()) };
    if let KeyRef::Named { version, .. } = &by {
        same("an id that names the version", version.is_some(), &key.id)?;
    }
    let found = world.version(&by)?;
    same("the same version under its id", found.thumbprint == key.thumbprint, &found.id)
}

fn thumbprint_is_that_of_the_public_key(world: &World<'_>) -> Result<(), Finding> {
    let key = world.key()?;
    let computed = Thumbprint::of(&key.public);
    same("the thumbprint of the public key", key.thumbprint == computed, &key.thumbprint.to_string())
}

fn thumbprint_finds_its_key(world: &World<'_>) -> Result<(), Finding> {
    let key = world.key()?;
    let found = world.yes("the key by its thumbprint", world.subject.provider.find(&key.thumbprint, &cx()))?;
    same("the key with that thumbprint", found.thumbprint == key.thumbprint, &found.id)?;
    same("the public key with that thumbprint", found.public == key.public, &found.id)
}

fn abbreviated_thumbprint_finds_its_key(world: &World<'_>) -> Result<(), Finding> {
    let key = world.key()?;
    let prefix: ThumbprintPrefix =
        key.thumbprint.short().parse().map_err(|_| Finding::new("12 characters of base64url", "others"))?;
    let found = world.version(&KeyRef::Thumbprint(prefix))?;
    same("the key whose thumbprint begins like this", found.thumbprint == key.thumbprint, &found.id)
}

fn hash_of_the_public_key_finds_its_key(world: &World<'_>) -> Result<(), Finding> {
    let key = world.key()?;
    let alias = KeyAlias::Spki(SpkiHash::of(&key.public)).to_string();
    let by: KeyRef = alias.parse().map_err(|_| Finding::new("an alias in our grammar", alias))?;
    let found = world.version(&by)?;
    same("the key with that public half", found.thumbprint == key.thumbprint, &found.id)
}

fn names_are_compared_without_case(world: &World<'_>) -> Result<(), Finding> {
    let key = world.key()?;
    let KeyRef::Named { vault, name, version } = &world.subject.key else { return Ok(()) };
    let changed = |text: &str| {
        let other =
            if text == text.to_ascii_uppercase() { text.to_ascii_lowercase() } else { text.to_ascii_uppercase() };
        other.parse().map_err(|_| Finding::new("a name in other case", "none"))
    };
    let by = KeyRef::Named { vault: vault.clone(), name: changed(name.as_str())?, version: *version };
    let found = world.version(&by)?;
    same("the same key", found.thumbprint == key.thumbprint, &found.id)
}

fn unknown_thumbprint_is_not_found(world: &World<'_>) -> Result<(), Finding> {
    let unknown = foreign_version(&world.key()?)?.thumbprint;
    let found = world.subject.provider.find(&unknown, &cx());
    world.refused("a thumbprint that no key has", &[ProviderErrorKind::NotFound], found)?;
    let prefix = unknown.short().parse().map_err(|_| Finding::new("12 characters of base64url", "others"))?;
    let found = world.subject.provider.version(&KeyRef::Thumbprint(prefix), &cx());
    world.refused("the beginning of it", &[ProviderErrorKind::NotFound], found).map(drop)
}

fn unknown_name_is_not_found(world: &World<'_>) -> Result<(), Finding> {
    let by = KeyRef::Named { vault: None, name: fresh_name(), version: None };
    let found = world.subject.provider.version(&by, &cx());
    world.refused("a name that no key has", &[ProviderErrorKind::NotFound], found).map(drop)
}

fn unknown_version_is_not_found(world: &World<'_>) -> Result<(), Finding> {
    let KeyRef::Named { vault, name, .. } = &world.subject.key else { return Ok(()) };
    let by = KeyRef::Named { vault: vault.clone(), name: name.clone(), version: VersionNumber::new(u32::MAX) };
    let found = world.subject.provider.version(&by, &cx());
    world.refused("a version that the key has not", &[ProviderErrorKind::NotFound], found).map(drop)
}

fn name_in_another_vault_is_not_found(world: &World<'_>) -> Result<(), Finding> {
    let KeyRef::Named { name, version, .. } = &world.subject.key else { return Ok(()) };
    let vault = "conformance-elsewhere".parse().ok();
    let by = KeyRef::Named { vault, name: name.clone(), version: *version };
    let found = world.subject.provider.version(&by, &cx());
    world.refused("a key of another vault", &[ProviderErrorKind::NotFound], found).map(drop)
}

fn same(expected: &str, holds: bool, found: &str) -> Result<(), Finding> {
    if holds { Ok(()) } else { Err(Finding::new(expected, found)) }
}
