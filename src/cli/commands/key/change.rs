//! Changing keys that are there.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Value, json};
use sobre::audit::{FailureKind, Operation, Properties, Text};
use sobre::io::escaped_path;
use sobre::key::{KeyAlias, KeyName, KeyRef, KeyState, KeyVersion, RotationPolicy, Trigger, VersionNumber};
use sobre::manage::{Home, HomeError, PurgeRecord};
use sobre::provider::embedded::EmbeddedVault;
use sobre::provider::{
    Audited, KeyAdmin, KeyCensus, KeyChanges, KeyProvider, KeyRecovery, KeyRefusal, OpContext, ProviderError,
    ProviderErrorKind,
};

use crate::cli::args::{Change, Global, Switch};
use crate::cli::commands::key::confirm::{Deed, confirm};
use crate::cli::commands::key::{describe, describe_whole, impact, remind, whole, would};
use crate::cli::commands::open_home;
use crate::cli::exit::Failure;
use crate::cli::report::Output;
use crate::cli::units::{Date, PolicyPeriod, count};

pub(super) fn enable(key: &str, change: Change, global: &Global, output: &Output) -> Result<ExitCode, Failure> {
    let home = open_home(global)?;
    let found = Found::of(&home, key)?;
    if change.dry_run {
        return would(output, "enable", &found.version.id, json!({}));
    }
    let version = found.update(&home, &KeyChanges::enable())?;
    output.say(format_args!("enabled {}", version.id));
    remind(output);
    output.finish(json!({ "key": describe(&version) }))
}

pub(super) fn disable(
    key: &str,
    accept_loss: bool,
    change: Change,
    global: &Global,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let home = open_home(global)?;
    let found = Found::of(&home, key)?;
    let id = found.version.id.clone();
    let others = match found.others(&home)? {
        0 => String::new(),
        1 => "; 1 other version is still enabled".to_owned(),
        others => format!("; {others} other versions are still enabled"),
    };
    let meaning = format!("{id} wraps and unwraps nothing until it is enabled again{others}");
    let impact = home.impact_of(found.vault.name(), std::slice::from_ref(&found.version))?;
    let deed = Deed { verb: "disable", id: &id, meaning: &meaning, impact: Some(&impact), accept_loss, ask: false };
    let place = Place { home: &home, vault: &found.vault, name: &found.name, dry_run: change.dry_run };
    if !place.confirm(Operation::KeyUpdate, deed, change, output)? {
        return would(output, "disable", &id, json!({ "impact": impact::describe(&impact) }));
    }
    let cx = accepting(home.context(), &deed);
    let version = found.vault.update(&found.name, Some(found.number), &KeyChanges::disable(), &cx);
    let version = version.map_err(HomeError::from)?;
    output.say(&meaning);
    deed.mourn(output);
    remind(output);
    output.finish(json!({ "key": describe(&version), "impact": impact::describe(&impact) }))
}

/// What is to change about a version or its key.
pub(super) struct Wanted<'a> {
    pub(super) not_before: Option<Date>,
    pub(super) expires: Option<Date>,
    pub(super) delete_lock: Option<Switch>,
    pub(super) aliases: &'a [KeyAlias],
    pub(super) forgotten: &'a [KeyAlias],
}

pub(super) fn update(
    key: &str,
    wanted: &Wanted<'_>,
    change: Change,
    global: &Global,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let Wanted { not_before, expires, delete_lock, aliases, forgotten } = *wanted;
    let dates = not_before.is_some() || expires.is_some();
    let names = !aliases.is_empty() || !forgotten.is_empty();
    if !dates && !names && delete_lock.is_none() {
        return Err(Failure::usage(
            "there is nothing to change",
            "say what, with --not-before, --expires, --alias, --remove-alias or --delete-lock",
        ));
    }
    let home = open_home(global)?;
    let lock = match delete_lock {
        Some(switch) => Some((whole(&home, key, "locked", "update")?, switch == Switch::On)),
        None => None,
    };
    let found = Found::of(&home, key)?;
    if change.dry_run {
        return would(output, "update", &found.version.id, json!({}));
    }
    let mut result = json!({});
    if let (Value::Object(fields), true) = (&mut result, dates) {
        let changes = KeyChanges {
            not_before: not_before.map(|date| date.0),
            not_after: expires.map(|date| date.0),
            ..KeyChanges::default()
        };
        let version = found.update(&home, &changes)?;
        let (from, until) = (version.not_before, version.not_after);
        let from = from.map_or_else(String::new, |time| format!(" from {time}"));
        let until = until.map_or_else(|| ", without end".to_owned(), |time| format!(" until {time}"));
        output.say(format_args!("{} wraps{from}{until}; it unwraps at any time", version.id));
        fields.insert("key".to_owned(), describe(&version));
    }
    if let (Value::Object(fields), true) = (&mut result, names) {
        let changed = found.vault.change_aliases(&found.name, Some(found.number), aliases, forgotten, &home.context());
        let version = changed.map_err(HomeError::from)?;
        let known = found.vault.aliases(&version.thumbprint, &home.context()).map_err(HomeError::from)?;
        let shown: Vec<String> = known.iter().map(ToString::to_string).collect();
        output.say(format_args!("{} is also {}", version.id, shown.join(", ")));
        fields.insert("key".to_owned(), describe(&version));
        fields.insert("aliases".to_owned(), json!(shown));
    }
    if let (Value::Object(fields), Some(((vault, name), locked))) = (&mut result, lock) {
        let details = vault.set_delete_lock(&name, locked, &home.context()).map_err(HomeError::from)?;
        let id = format!("{}/{name}", vault.name());
        output.say(format_args!("{id} {} be deleted", if locked { "can't" } else { "can" }));
        fields.insert("whole".to_owned(), describe_whole(&id, &details));
    }
    remind(output);
    output.finish(result)
}

/// The periods of a policy, after creation and before expiry.
pub(super) struct Periods {
    pub(super) rotate: (Option<PolicyPeriod>, Option<PolicyPeriod>),
    pub(super) notify: (Option<PolicyPeriod>, Option<PolicyPeriod>),
}

pub(super) fn policy(
    key: &str,
    periods: &Periods,
    change: Change,
    global: &Global,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let home = open_home(global)?;
    let (vault, name) = whole(&home, key, "given a policy", "policy")?;
    let id = format!("{}/{name}", vault.name());
    let before = vault.details(&name, &home.context()).map_err(HomeError::from)?;
    let trigger =
        |present: Option<Trigger>, (after, before): (Option<PolicyPeriod>, Option<PolicyPeriod>)| match (after, before)
        {
            (Some(period), _) => period.0.map(Trigger::AfterCreation),
            (None, Some(period)) => period.0.map(Trigger::BeforeExpiry),
            (None, None) => present,
        };
    let policy = RotationPolicy {
        notify: trigger(before.policy.notify, periods.notify),
        rotate: trigger(before.policy.rotate, periods.rotate),
    };
    let asked = [periods.rotate.0, periods.rotate.1, periods.notify.0, periods.notify.1].iter().any(Option::is_some);
    if asked && change.dry_run {
        return would(output, "change the policy of", &id, json!({ "policy": policy.to_string() }));
    }
    let details = match asked {
        true => vault.set_policy(&name, &policy, &home.context()).map_err(HomeError::from)?,
        false => before,
    };
    output.say(format_args!("{id}: {}", details.policy));
    let newest = home.find(&Home::key_ref(&id)?)?.version;
    let mut due = Vec::new();
    for action in details.policy.schedule(&newest) {
        output.say(format_args!("  {}: {} from {} on", newest.id, action.action.name(), action.since));
        due.push(json!({ "action": action.action.name(), "since": action.since.to_string() }));
    }
    if asked {
        remind(output);
    }
    output.finish(json!({ "whole": describe_whole(&id, &details), "schedule": due }))
}

pub(super) fn delete(
    key: &str,
    accept_loss: bool,
    change: Change,
    global: &Global,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let home = open_home(global)?;
    let (vault, name) = whole(&home, key, "deleted", "delete")?;
    let cx = home.context();
    let id = format!("{}/{name}", vault.name());
    let details = vault.details(&name, &cx).map_err(HomeError::from)?;
    // What would be refused is refused before anybody is asked.
    let place = Place { home: &home, vault: &vault, name: &name, dry_run: change.dry_run };
    if let Some(deletion) = details.deletion {
        let cause = KeyRefusal::Recoverable(deletion.recoverable_until);
        return Err(place.refuse(Operation::KeyDelete, ProviderErrorKind::Deleted, cause));
    }
    if details.delete_lock {
        return Err(place.refuse(Operation::KeyDelete, ProviderErrorKind::Denied, KeyRefusal::DeleteLocked));
    }
    let held = vault.versions(&name, &cx).map_err(HomeError::from)?;
    let held: Vec<_> = held.into_iter().map(|(_, version)| version).collect();
    let versions = held.len();
    let days = vault.soft_delete(&cx).map_err(HomeError::from)?.retention.days();
    let meaning = format!(
        "{id} with {} unwraps nothing any more; for {days} days at least it can be recovered",
        count(versions, "version")
    );
    let impact = home.impact_of(vault.name(), &held)?;
    let deed = Deed { verb: "delete", id: &id, meaning: &meaning, impact: Some(&impact), accept_loss, ask: true };
    if !place.confirm(Operation::KeyDelete, deed, change, output)? {
        let more = json!({ "versions": versions, "impact": impact::describe(&impact) });
        return would(output, "delete", &id, more);
    }
    let deletion = vault.delete(&name, &accepting(home.context(), &deed)).map_err(HomeError::from)?;
    output.say(format_args!("deleted {id} with {}", count(versions, "version")));
    output
        .say(format_args!("bring it back until {} at least with: sobre key recover {id}", deletion.recoverable_until));
    deed.mourn(output);
    output.finish(json!({
        "key": id,
        "versions": versions,
        "impact": impact::describe(&impact),
        "deleted": deletion.deleted.to_string(),
        "recoverable_until": deletion.recoverable_until.to_string(),
    }))
}

pub(super) fn recover(key: &str, change: Change, global: &Global, output: &Output) -> Result<ExitCode, Failure> {
    let home = open_home(global)?;
    let (vault, name) = whole(&home, key, "recovered", "recover")?;
    let id = format!("{}/{name}", vault.name());
    if change.dry_run {
        let details = vault.details(&name, &home.context()).map_err(HomeError::from)?;
        if details.deletion.is_none() {
            let place = Place { home: &home, vault: &vault, name: &name, dry_run: true };
            return Err(place.refuse(Operation::KeyRecover, ProviderErrorKind::Unsupported, KeyRefusal::NotDeleted));
        }
        return would(output, "recover", &id, json!({}));
    }
    let details = vault.recover(&name, &home.context()).map_err(HomeError::from)?;
    output.say(format_args!("recovered {id}: its versions are as they were"));
    remind(output);
    output.finish(json!({ "whole": describe_whole(&id, &details) }))
}

pub(super) fn purge(
    key: &str,
    accept_loss: bool,
    record: Option<&Path>,
    change: Change,
    global: &Global,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let home = open_home(global)?;
    let (vault, name) = whole(&home, key, "purged", "purge")?;
    let cx = home.context();
    let id = format!("{}/{name}", vault.name());
    let details = vault.details(&name, &cx).map_err(HomeError::from)?;
    let place = Place { home: &home, vault: &vault, name: &name, dry_run: change.dry_run };
    let Some(deletion) = details.deletion else {
        return Err(place.refuse(Operation::KeyPurge, ProviderErrorKind::Unsupported, KeyRefusal::NotDeleted));
    };
    let until = deletion.recoverable_until;
    if vault.soft_delete(&cx).map_err(HomeError::from)?.purge_protection && cx.now() < until {
        return Err(place.refuse(Operation::KeyPurge, ProviderErrorKind::Denied, KeyRefusal::PurgeProtected(until)));
    }
    let versions = vault.versions(&name, &cx).map_err(HomeError::from)?;
    let versions: Vec<_> = versions.into_iter().map(|(_, version)| version).collect();
    let meaning = format!(
        "{id} with {} is destroyed for ever: what only it unwraps can't be opened again, except with a backup of the key",
        count(versions.len(), "version")
    );
    let impact = home.impact_of(vault.name(), &versions)?;
    let deed = Deed { verb: "purge", id: &id, meaning: &meaning, impact: Some(&impact), accept_loss, ask: true };
    if !place.confirm(Operation::KeyPurge, deed, change, output)? {
        let more = json!({ "versions": versions.len(), "impact": impact::describe(&impact) });
        return would(output, "purge", &id, more);
    }
    let begun = match record {
        Some(path) => Some(PurgeRecord::begin(path, vault.name(), &details, &versions, &impact, cx.now())?),
        None => None,
    };
    // A person may have taken longer to answer than an operation on a vault may.
    let cx = accepting(home.context(), &deed);
    if let Err(error) = vault.purge(&name, &cx) {
        if let Some(record) = begun {
            record.fail(&error.to_string())?;
        }
        return Err(HomeError::from(error).into());
    }
    output.say(format_args!("purged {id} with {}", count(versions.len(), "version")));
    output.say("copies of the vault's files, and backups, may still have it");
    deed.mourn(output);
    if let Some(record) = begun {
        record.complete(cx.now())?;
    }
    let versions: Vec<Value> = versions.iter().map(describe).collect();
    output.finish(json!({
        "key": id,
        "purged": versions,
        "impact": impact::describe(&impact),
        "record": record.map(escaped_path),
    }))
}

/// A version in a vault.
struct Found {
    vault: Arc<Audited<EmbeddedVault>>,
    name: KeyName,
    number: VersionNumber,
    version: KeyVersion,
}

impl Found {
    fn of(home: &Home, key: &str) -> Result<Self, Failure> {
        let found = home.find(&Home::key_ref(key)?)?;
        let Ok(KeyRef::Named { name, version: Some(number), .. }) = found.version.id.parse() else {
            return Err(Failure::usage(
                "a key in a file has no state",
                "name a key of a vault, as NAME or VAULT/NAME@N",
            ));
        };
        let vault = home.vault(found.provider.name())?;
        Ok(Self { vault, name, number, version: found.version })
    }

    fn update(&self, home: &Home, changes: &KeyChanges) -> Result<KeyVersion, HomeError> {
        Ok(self.vault.update(&self.name, Some(self.number), changes, &home.context())?)
    }

    /// Counts the other versions of the key that are enabled.
    fn others(&self, home: &Home) -> Result<usize, HomeError> {
        let versions = self.vault.versions(&self.name, &home.context())?;
        let enabled = |version: &KeyVersion| version.state == KeyState::Enabled;
        Ok(versions.iter().filter(|(number, version)| *number != self.number && enabled(version)).count())
    }
}

/// A key that something is refused for before its vault is asked: that is recorded here.
struct Place<'a> {
    home: &'a Home,
    vault: &'a Audited<EmbeddedVault>,
    name: &'a KeyName,
    /// What would be refused is no refusal yet.
    dry_run: bool,
}

impl Place<'_> {
    fn refuse(&self, operation: Operation, kind: ProviderErrorKind, cause: KeyRefusal) -> Failure {
        self.record(
            operation,
            match kind {
                ProviderErrorKind::Deleted => FailureKind::Deleted,
                ProviderErrorKind::Denied => FailureKind::Protected,
                _ => FailureKind::Unsupported,
            },
        );
        HomeError::from(ProviderError::new(kind, self.vault.name(), self.name.as_str()).because(cause)).into()
    }

    fn confirm(&self, operation: Operation, deed: Deed<'_>, change: Change, output: &Output) -> Result<bool, Failure> {
        let confirmed = confirm(deed, change, output);
        if confirmed.as_ref().is_err_and(Failure::is_refusal) {
            self.record(operation, FailureKind::Protected);
        }
        confirmed
    }

    fn record(&self, operation: Operation, kind: FailureKind) {
        if self.dry_run {
            return;
        }
        let about = Properties {
            key: Some(Text::new(self.name.as_str())),
            vault: Some(self.vault.name().clone()),
            ..Properties::default()
        };
        self.home.refused(operation, kind, about);
    }
}

/// Has the record of a deed say that a loss was accepted, where there is one.
fn accepting(cx: OpContext, deed: &Deed<'_>) -> OpContext {
    let accepted_loss = deed.accept_loss && deed.impact.and_then(impact::loss).is_some();
    cx.with_about(Properties { accepted_loss, ..Properties::default() })
}
