//! What a census lists.

use std::sync::Arc;

use crate::key::{KeyName, KeyRef};
use crate::provider::conformance::world::{World, cx, fresh_name};
use crate::provider::conformance::{Finding, checks};
use crate::provider::{KeyCensus, ProviderErrorKind};

checks! {
    census_lists_the_key [Census, Names],
    census_lists_names_in_order_and_once [Census],
    census_lists_all_versions_oldest_first [Census, Names],
    census_and_look_up_agree [Census, Names],
    census_knows_no_unknown_key [Census],
}

fn census_lists_the_key(world: &World<'_>) -> Result<(), Finding> {
    let (census, name) = (census(world)?, name(world)?);
    let keys = world.yes("the list of keys", census.keys(&cx()))?;
    if !keys.iter().any(|key| key.as_str().eq_ignore_ascii_case(name.as_str())) {
        return Err(Finding::new(format!("{name} in the list"), format!("{keys:?}")));
    }
    let details = world.yes("the key as a whole", census.details(&name, &cx()))?;
    if details.deletion.is_some() {
        return Err(Finding::new("a key that is not deleted", format!("{:?}", details.deletion)));
    }
    Ok(())
}

fn census_lists_names_in_order_and_once(world: &World<'_>) -> Result<(), Finding> {
    let keys = world.yes("the list of keys", census(world)?.keys(&cx()))?;
    let folded: Vec<_> = keys.iter().map(|key| key.as_str().to_ascii_lowercase()).collect();
    if folded.is_sorted_by(|one, next| one < next) || keys.is_sorted_by(|one, next| one < next) {
        return Ok(());
    }
    Err(Finding::new("names in order", format!("{keys:?}")))
}

fn census_lists_all_versions_oldest_first(world: &World<'_>) -> Result<(), Finding> {
    let (census, name) = (census(world)?, name(world)?);
    let versions = world.yes("the versions", census.versions(&name, &cx()))?;
    if !versions.is_sorted_by(|(one, _), (next, _)| one < next) {
        return Err(Finding::new("versions in order", format!("{:?}", numbers(&versions))));
    }
    let newest = world.key()?;
    if versions.last().is_none_or(|(_, last)| last.thumbprint != newest.thumbprint) {
        return Err(Finding::new("the newest version last", format!("{:?}", numbers(&versions))));
    }
    if world.subject.admin.is_some() {
        let made = world.made()?;
        let versions = world.yes("the versions", census.versions(&made.name, &cx()))?;
        let found: Vec<_> = versions.iter().map(|(number, version)| (number.get(), version.thumbprint)).collect();
        if found != [(1, made.first.thumbprint), (2, made.second.thumbprint)] {
            return Err(Finding::new("two versions, 1 and 2", format!("{:?}", numbers(&versions))));
        }
    }
    Ok(())
}

fn census_and_look_up_agree(world: &World<'_>) -> Result<(), Finding> {
    let (census, name) = (census(world)?, name(world)?);
    for (number, version) in world.yes("the versions", census.versions(&name, &cx()))? {
        let by = KeyRef::Named { vault: None, name: name.clone(), version: Some(number) };
        let found = world.version(&by)?;
        let told = |version: &crate::key::KeyVersion| {
            (version.thumbprint, version.id.clone(), version.state, version.not_before, version.not_after)
        };
        if told(&found) != told(&version) {
            return Err(Finding::new(format!("{:?}", told(&version)), format!("{:?}", told(&found))));
        }
    }
    Ok(())
}

fn census_knows_no_unknown_key(world: &World<'_>) -> Result<(), Finding> {
    let (census, unknown) = (census(world)?, fresh_name());
    let kinds = [ProviderErrorKind::NotFound];
    world.refused("an unknown key's versions", &kinds, census.versions(&unknown, &cx()))?;
    world.refused("an unknown key as a whole", &kinds, census.details(&unknown, &cx())).map(drop)
}

fn census<'a>(world: &'a World<'_>) -> Result<&'a Arc<dyn KeyCensus>, Finding> {
    world.subject.census.as_ref().ok_or_else(|| Finding::new("a census", "none"))
}

fn name(world: &World<'_>) -> Result<KeyName, Finding> {
    match &world.subject.key {
        KeyRef::Named { name, .. } => Ok(name.clone()),
        other => Err(Finding::new("a key with a name", other.to_string())),
    }
}

fn numbers<T>(versions: &[(crate::key::VersionNumber, T)]) -> Vec<u32> {
    versions.iter().map(|(number, _)| number.get()).collect()
}
