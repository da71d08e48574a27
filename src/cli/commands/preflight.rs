//! `sobre preflight`

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};
use sobre::catalog::{CatalogError, Snapshot};
use sobre::io::{Escaped, escaped_path};
use sobre::key::Thumbprint;
use sobre::manage::{
    Challenge, Choice, Home, HomeError, KeyPlace, NeedState, NeededKey, Preflight, PreflightOptions, SnapshotCheck,
    Standing, Verdict,
};

use crate::cli::args::{Global, PreflightArgs};
use crate::cli::commands::open_home;
use crate::cli::exit::{Failure, SOME_FAILED};
use crate::cli::report::{Output, error_object, error_object_of};
use crate::cli::units::count;

pub(crate) fn run(args: &PreflightArgs, global: &Global, output: &Output) -> Result<ExitCode, Failure> {
    let home = open_home(global)?;
    let options = PreflightOptions { challenge: args.challenge };
    let (all, mut found) = match &args.set {
        None if !args.all => (args.snapshots.len(), home.preflight(&args.snapshots, options)?),
        set => {
            let known = catalogued(&home, set.as_deref())?;
            (known.len(), home.preflight_catalogued(known, options)?)
        }
    };
    let unread = std::mem::take(&mut found.unread);
    let mut failures: Vec<(PathBuf, Failure)> = unread.into_iter().map(|one| (one.path, one.error.into())).collect();
    tell(&found, &failures, all, output);
    let result = describe(&found, &failures);
    if !found.is_ok() {
        return output.finish_with(result, REFUSED);
    }
    match failures.pop() {
        None => output.finish(result),
        Some((_, only)) if all == 1 => Err(only),
        Some(_) => output.finish_with(result, SOME_FAILED),
    }
}

fn catalogued(home: &Home, set: Option<&str>) -> Result<Vec<Snapshot>, Failure> {
    let Some(catalog) = home.catalog()? else {
        return Err(HomeError::Catalog(CatalogError::NotFound(home.catalog_path())).into());
    };
    let Some(set) = set else { return Ok(catalog.snapshots().map_err(HomeError::from)?) };
    let snapshots = catalog.sealed_in_set(set).map_err(HomeError::from)?;
    // A misspelt name must not look like a set that needs nothing.
    if snapshots.is_empty() {
        let name = set.parse().map_err(|_| HomeError::Catalog(CatalogError::SetNotFound(set.to_owned())))?;
        catalog.set(&name).map_err(HomeError::from)?;
    }
    Ok(snapshots)
}

fn tell(found: &Preflight, unread: &[(PathBuf, Failure)], all: usize, output: &Output) {
    let width = found.keys.iter().map(|key| label(key).len()).max().unwrap_or(0);
    for key in &found.keys {
        output.say(format_args!(
            "{:width$}  {}  for {}  jkt:{}",
            label(key),
            state(key),
            snapshots(key.snapshots),
            key.thumbprint
        ));
    }
    let concerned = found.concerned().count();
    for check in found.concerned().take(MOST_LINES) {
        output.say(format_args!("{}: {}", escaped_path(&check.snapshot.path), sentence(check, found)));
    }
    if concerned > MOST_LINES {
        output.say(format_args!("and {} more; --json lists all", snapshots((concerned - MOST_LINES) as u64)));
    }
    // The failure of the only one ends the command.
    for (_, failure) in unread.iter().filter(|_| all > 1) {
        output.warn(format_args!("sobre: {}", failure.message));
    }
    if output.is_json() {
        return;
    }
    for unanswered in &found.unanswered {
        output.print(format_args!(
            "access warning: vault '{}' can't be asked: {}",
            unanswered.vault,
            Escaped(&unanswered.error.to_string())
        ));
    }
    for key in found.obstacles() {
        output.print(format_args!("access warning: {}: {}{}", label(key), state(key), advice(key)));
    }
    match found.concerned_span() {
        Some((first, last)) => output.print(format_args!(
            "{concerned} of {}, sealed between {first} and {last}, {} not open as things are",
            snapshots(found.snapshots.len() as u64),
            if concerned == 1 { "does" } else { "do" }
        )),
        None if found.is_ok() && !found.snapshots.is_empty() => {
            output.print(format_args!("access ok: every key for {} is there", snapshots(found.snapshots.len() as u64)));
        }
        None if all == 0 => output.print("access ok: there are no snapshots"),
        None => {}
    }
}

fn snapshots(number: u64) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), "snapshot")
}

fn label(key: &NeededKey) -> String {
    Escaped(&key.label()).to_string()
}

fn state(key: &NeededKey) -> String {
    let said = |standing: Standing| match key.places.first().and_then(|place| place.challenge) {
        Some(Challenge::Failed(kind)) => format!("{standing}, but does not unwrap ({kind:?})"),
        Some(Challenge::Passed) => format!("{standing}, proved"),
        _ => standing.to_string(),
    };
    let elsewhere = || {
        let usable = key.places.iter().skip(1).find(|place| place.is_usable());
        usable.map_or_else(String::new, |place| format!("; usable as {}", place.id))
    };
    match key.state() {
        NeedState::Here(standing) if standing.is_usable() => said(standing),
        NeedState::Here(standing) => format!("{}{}", said(standing), elsewhere()),
        NeedState::Elsewhere(standing) => {
            format!(
                "{} (was {}){}",
                said(standing),
                Escaped(&key.key_id),
                if standing.is_usable() { String::new() } else { elsewhere() }
            )
        }
        NeedState::RecordMissing => "the epoch record is missing".to_owned(),
        NeedState::Unknown => "not found; a vault could not be asked".to_owned(),
        _ => "in no vault".to_owned(),
    }
}

fn advice(key: &NeededKey) -> String {
    let Some(place) = key.places.first() else {
        return "; bring it back with: sobre vault restore FILE, or: sobre key restore FILE".to_owned();
    };
    let whole = place.id.split('@').next().unwrap_or(&place.id);
    match place.standing {
        Standing::Deleted(_) => format!("; sobre key recover {whole}"),
        Standing::Disabled => format!("; sobre key enable {}", place.id),
        _ => String::new(),
    }
}

fn sentence(check: &SnapshotCheck, found: &Preflight) -> String {
    let known = if check.from_catalog { " (by the catalogue: the file can't be read)" } else { "" };
    match &check.verdict {
        Verdict::DoesNotOpen { missing } => {
            let needs: Vec<_> = missing.iter().map(|thumbprint| named(thumbprint, found)).collect();
            format!("does not open; needs {}{known}", needs.join(", "))
        }
        Verdict::OpensByChoice(choices) => {
            let words: Vec<_> = choices.iter().map(choice).collect();
            format!("opens only with {}{known}", words.join(" "))
        }
        _ => format!("opens{known}"),
    }
}

fn choice(choice: &Choice) -> String {
    match choice {
        Choice::Key(id) => format!("--key {id}"),
        Choice::Vault(vault) => format!("--vault {vault}"),
        _ => String::new(),
    }
}

fn named(thumbprint: &Thumbprint, found: &Preflight) -> String {
    let key = found.keys.iter().find(|key| key.thumbprint == *thumbprint);
    key.map_or_else(|| format!("jkt:{thumbprint}"), label)
}

fn describe(found: &Preflight, unread: &[(PathBuf, Failure)]) -> Value {
    json!({
        "access": if found.is_ok() { "ok" } else { "warning" },
        "keys": found.keys.iter().map(describe_key).collect::<Vec<_>>(),
        "snapshots": found.snapshots.iter().map(describe_check).collect::<Vec<_>>(),
        "unread": unread.iter().map(|(path, failure)| error_object_of(failure, path)).collect::<Vec<_>>(),
        "unanswered": found.unanswered.iter().map(|vault| {
            let failure = Failure { kind: "vault", code: REFUSED, message: vault.error.to_string(), advice: None };
            json!({ "vault": vault.vault.to_string(), "error": error_object(&failure)["error"] })
        }).collect::<Vec<_>>(),
        "sealed_between": found.concerned_span().map(|(first, last)| json!([first.to_string(), last.to_string()])),
        "azure_message": found.azure_message(),
    })
}

fn describe_key(key: &NeededKey) -> Value {
    let state = match key.state() {
        NeedState::Elsewhere(_) => "elsewhere",
        NeedState::Here(standing) => standing.name(),
        NeedState::Unknown => "unknown",
        _ => "gone",
    };
    json!({
        "thumbprint": key.thumbprint.to_string(),
        "named": if key.key_id.is_empty() { None } else { Some(&key.key_id) },
        "state": state,
        "usable": key.usable().is_some(),
        "snapshots": key.snapshots,
        "layers": key.layers,
        "obstructs": key.obstructs,
        "places": key.places.iter().map(describe_place).collect::<Vec<_>>(),
    })
}

fn describe_place(place: &KeyPlace) -> Value {
    let time = match place.standing {
        Standing::Deleted(until) => until,
        Standing::Expired(time) | Standing::NotYetValid(time) => Some(time),
        _ => None,
    };
    json!({
        "vault": place.vault.to_string(),
        "id": place.id,
        "state": place.standing.name(),
        "time": time.map(|time| time.to_string()),
        "explanation": place.standing.to_string(),
        "usable": place.is_usable(),
        "challenge": place.challenge.map(|challenge| challenge == Challenge::Passed),
    })
}

fn describe_check(check: &SnapshotCheck) -> Value {
    let (verdict, missing, choices) = match &check.verdict {
        Verdict::DoesNotOpen { missing } => ("does_not_open", missing.as_slice(), [].as_slice()),
        Verdict::OpensByChoice(choices) => ("opens_by_choice", [].as_slice(), choices.as_slice()),
        _ => ("opens", [].as_slice(), [].as_slice()),
    };
    json!({
        "snapshot": escaped_path(&check.snapshot.path),
        "id": check.snapshot.id.to_string(),
        "sealed": check.snapshot.sealed.to_string(),
        "from_catalog": check.from_catalog,
        "verdict": verdict,
        "missing": missing.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "choices": choices.iter().map(choice).collect::<Vec<_>>(),
    })
}

const REFUSED: u8 = 14;
const MOST_LINES: usize = 50;
