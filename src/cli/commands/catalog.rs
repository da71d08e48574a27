//! `sobre catalog`

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Value, json};
use sobre::Error;
use sobre::catalog::{Catalog, CatalogError, Coverage, ScanFailure, ScanFault, ScanReport, Snapshot, find_snapshots};
use sobre::clock::{Clock, SystemClock, UnixTime};
use sobre::engine::Control;
use sobre::io::{Escaped, escaped_path};
use sobre::key::{KeyRef, Thumbprint};
use sobre::manage::{Home, HomeError};

use crate::cli::args::{CatalogArgs, CatalogCommand, Global};
use crate::cli::commands::open_home;
use crate::cli::exit::{Failure, SOME_FAILED};
use crate::cli::report::{Output, error_object_of};
use crate::cli::signals;
use crate::cli::units::{bytes, count, hex};

pub(crate) fn run(args: &CatalogArgs, global: &Global, output: &Output) -> Result<ExitCode, Failure> {
    let home = open_home(global)?;
    match &args.command {
        CatalogCommand::Add { paths, dry_run } => {
            let catalog = if *dry_run { None } else { Some(home.catalog_or_new()?) };
            add(paths, catalog.as_ref(), json!({}), output)
        }
        CatalogCommand::List { key } => list(&home, key.as_deref(), output),
        CatalogCommand::Remove { paths, dry_run } => remove(&home, paths, *dry_run, output),
        CatalogCommand::Rebuild { folders, dry_run } => rebuild(&home, folders, *dry_run, output),
    }
}

/// Takes in what is at `paths`; without a catalogue only looks.
fn add(paths: &[PathBuf], catalog: Option<&Catalog>, more: Value, output: &Output) -> Result<ExitCode, Failure> {
    let ctl = Arc::new(Control::default());
    let stopped = signals::stop_on_signal(&ctl)?;
    let now = SystemClock.now();
    let word = if catalog.is_some() { "added" } else { "would add" };
    let mut added = 0;
    let mut failures: Vec<(PathBuf, Failure)> = Vec::new();
    let mut rows = Vec::new();
    let mut gone = Vec::new();
    for path in paths {
        if path.is_dir() {
            match scan(path, catalog, now, &ctl) {
                Ok(report) => {
                    let found = usize::try_from(report.found).unwrap_or(usize::MAX);
                    output.say(format_args!("{}: {word} {}", escaped_path(path), count(found, "snapshot")));
                    rows.push(describe_scan(path, &report));
                    added += report.found;
                    tell_scan(&report, output);
                    failures.extend(report.failures.into_iter().map(failed));
                    gone.extend(report.gone);
                    if report.stopped {
                        let signal = stopped.signal().unwrap_or(2);
                        return Err(Failure::signalled(
                            signal,
                            "stopped: not every folder was looked at".to_owned(),
                            None,
                        ));
                    }
                }
                Err(error) => failures.push((path.clone(), HomeError::from(error).into())),
            }
        } else {
            let taken = Snapshot::read(path, now).map_err(HomeError::from).and_then(|snapshot| {
                if let Some(catalog) = catalog {
                    catalog.register(std::slice::from_ref(&snapshot))?;
                }
                Ok(snapshot)
            });
            match taken {
                Ok(snapshot) => {
                    output.say(format_args!("{}: {word}", escaped_path(path)));
                    rows.push(describe(&snapshot));
                    added += 1;
                }
                Err(error) => failures.push((path.clone(), error.into())),
            }
        }
    }
    let mut result = json!({
        "added": added,
        "dry_run": catalog.is_none(),
        "paths": rows,
        "gone": gone.iter().map(|path| escaped_path(path)).collect::<Vec<_>>(),
        "failures": failures.iter().map(|(path, failure)| error_object_of(failure, path)).collect::<Vec<_>>(),
    });
    if let (Value::Object(fields), Value::Object(more)) = (&mut result, more) {
        fields.extend(more);
    }
    match failures.len() {
        0 => output.finish(result),
        1 if paths.len() == 1 && added == 0 => Err(failures.remove(0).1),
        failed => {
            for (_, failure) in &failures {
                output.warn(format_args!("sobre: {}", failure.message));
            }
            output.warn(format_args!("sobre: {} could not be read", count(failed, "path")));
            output.finish_with(result, SOME_FAILED)
        }
    }
}

fn scan(path: &Path, catalog: Option<&Catalog>, now: UnixTime, ctl: &Control) -> Result<ScanReport, CatalogError> {
    match catalog {
        Some(catalog) => catalog.scan(path, now, ctl),
        None => find_snapshots(path, now, ctl, |_| Ok(())),
    }
}

fn failed(failure: ScanFailure) -> (PathBuf, Failure) {
    let error = match failure.fault {
        ScanFault::Snapshot(error) => *error,
        ScanFault::Folder(error) => Error::Io(error).at(&failure.path),
        _ => Error::Io(io::Error::other(failure.to_string())),
    };
    (failure.path, error.into())
}

fn tell_scan(report: &ScanReport, output: &Output) {
    if report.links > 0 {
        output
            .say(format_args!("  {} not followed", count(usize::try_from(report.links).unwrap_or(usize::MAX), "link")));
    }
    for path in &report.gone {
        output.warn(format_args!(
            "note: {} is not there any more; forget it with: sobre catalog remove PATH",
            escaped_path(path)
        ));
    }
    if report.more_failures > 0 {
        output.warn(format_args!("and {} more paths that could not be read", report.more_failures));
    }
}

fn list(home: &Home, key: Option<&str>, output: &Output) -> Result<ExitCode, Failure> {
    let Some(catalog) = home.catalog()? else {
        output.say("there is no catalogue yet: 'sobre seal' and 'sobre catalog add' make one");
        return output.finish(json!({ "snapshots": [], "coverage": null }));
    };
    let snapshots = match key {
        None => catalog.snapshots().map_err(HomeError::from)?,
        Some(key) => {
            let mut found = Vec::new();
            for thumbprint in thumbprints(home, &catalog, key)? {
                found.extend(catalog.sealed_with(&thumbprint).map_err(HomeError::from)?);
            }
            found.sort_by(|one, other| one.path.cmp(&other.path));
            found.dedup_by(|one, other| one.path == other.path);
            found
        }
    };
    for snapshot in &snapshots {
        output.say(row(snapshot));
    }
    let coverage = catalog.coverage().map_err(HomeError::from)?;
    tell_coverage(&coverage, key.map(|_| snapshots.len()), output);
    output.finish(json!({
        "snapshots": snapshots.iter().map(describe).collect::<Vec<_>>(),
        "coverage": describe_coverage(&coverage),
    }))
}

/// Finds the keys that a person means: also those that no vault has any more, by their thumbprint.
fn thumbprints(home: &Home, catalog: &Catalog, key: &str) -> Result<Vec<Thumbprint>, Failure> {
    let reference = Home::key_ref(key)?;
    let KeyRef::Thumbprint(prefix) = &reference else {
        return Ok(vec![home.find(&reference)?.version.thumbprint]);
    };
    let uses = catalog.key_uses().map_err(HomeError::from)?;
    Ok(uses.into_iter().map(|found| found.thumbprint).filter(|thumbprint| prefix.matches(thumbprint)).collect())
}

fn row(snapshot: &Snapshot) -> String {
    let keys: Vec<_> = snapshot
        .deks
        .iter()
        .map(|dek| match (&dek.epoch, dek.key_id.as_str()) {
            (Some(epoch), _) => format!("epoch key {epoch}"),
            (None, "") => format!("jkt:{}", dek.thumbprint),
            (None, id) => Escaped(id).to_string(),
        })
        .collect();
    let set = snapshot.set.as_deref().map_or_else(String::new, |set| format!("  set {}", Escaped(set)));
    format!(
        "{}  {}  {}  sealed {}  {}{set}{}",
        escaped_path(&snapshot.path),
        snapshot.disk_len.map_or_else(|| "unknown length".to_owned(), bytes),
        snapshot.suite,
        snapshot.sealed,
        keys.join(", "),
        if snapshot.verified { "" } else { "  (not verified)" }
    )
}

fn tell_coverage(coverage: &Coverage, fitting: Option<usize>, output: &Output) {
    let known = count(usize::try_from(coverage.snapshots).unwrap_or(usize::MAX), "snapshot");
    match fitting {
        Some(fitting) => output.say(format_args!("{fitting} of {known} need this key")),
        None => output.say(format_args!("{known}, {} of them not verified with a key", coverage.unverified)),
    }
    for folder in &coverage.folders {
        output.say(format_args!(
            "scanned {} at {}: {}, {} unreadable",
            escaped_path(&folder.path),
            folder.scanned,
            count(usize::try_from(folder.files).unwrap_or(usize::MAX), "snapshot"),
            folder.failures
        ));
    }
}

fn remove(home: &Home, paths: &[PathBuf], dry_run: bool, output: &Output) -> Result<ExitCode, Failure> {
    let catalog = home.catalog()?;
    let mut removed = Vec::new();
    let mut unknown = Vec::new();
    for path in paths {
        let known = match (&catalog, dry_run) {
            (None, _) => false,
            (Some(catalog), true) => catalog.snapshot(path).map_err(HomeError::from)?.is_some(),
            (Some(catalog), false) => catalog.forget(path).map_err(HomeError::from)?,
        };
        if known {
            let word = if dry_run { "would forget" } else { "forgot" };
            output.say(format_args!("{word} {}", escaped_path(path)));
            removed.push(escaped_path(path));
        } else {
            unknown.push(escaped_path(path));
        }
    }
    let failure = |path: &String| Failure {
        kind: "not_found",
        code: 10,
        message: format!("the catalogue has no snapshot {path}"),
        advice: Some("see 'sobre catalog list'".to_owned()),
    };
    match unknown.as_slice() {
        [only] if paths.len() == 1 => Err(failure(only)),
        _ => {
            for path in &unknown {
                output.warn(format_args!("sobre: {}", failure(path).message));
            }
            let code = if unknown.is_empty() { 0 } else { SOME_FAILED };
            output.finish_with(json!({ "removed": removed, "unknown": unknown, "dry_run": dry_run }), code)
        }
    }
}

fn rebuild(home: &Home, folders: &[PathBuf], dry_run: bool, output: &Output) -> Result<ExitCode, Failure> {
    // Before a catalogue is set aside that could not be filled again.
    for folder in folders {
        let listed = std::fs::read_dir(folder).map_err(|error| Error::Io(error).at(folder));
        listed?;
    }
    if dry_run {
        let sound = home.catalog();
        if let Err(error) = &sound {
            output.say(format_args!("would set {} aside: {error}", escaped_path(&home.catalog_path())));
        }
        return add(folders, None, json!({ "sound": sound.is_ok() }), output);
    }
    let rebuilt = home.rebuild_catalog()?;
    if let Some(aside) = &rebuilt.aside {
        output.say(format_args!("the old catalogue is now {}", escaped_path(aside)));
        match rebuilt.sets {
            Some(0) => {}
            Some(sets) => output.say(format_args!("took over {} from it", count(sets, "encryption set"))),
            None => {
                output.warn("warning: its encryption sets, if it had any, can't be read: they have to be made again")
            }
        }
    }
    let more = json!({ "aside": rebuilt.aside.as_deref().map(escaped_path), "sets": rebuilt.sets });
    add(folders, Some(&rebuilt.catalog), more, output)
}

fn describe(snapshot: &Snapshot) -> Value {
    json!({
        "snapshot": escaped_path(&snapshot.path),
        "id": snapshot.id.to_string(),
        "suite": snapshot.suite.name(),
        "disk_bytes": snapshot.disk_len,
        "file_bytes": snapshot.file_len,
        "root": snapshot.root.as_ref().map(|root| hex(root)),
        "sealed": snapshot.sealed.to_string(),
        "set": snapshot.set,
        "writable": snapshot.writable,
        "verified": snapshot.verified,
        "last_seen": snapshot.seen.to_string(),
        "keys": snapshot.deks.iter().map(|dek| json!({
            "layer": dek.layer.number(),
            "thumbprint": if dek.epoch.is_none() { Some(dek.thumbprint.to_string()) } else { None },
            "epoch": dek.epoch.map(|epoch| epoch.to_string()),
            "id": if dek.key_id.is_empty() { None } else { Some(&dek.key_id) },
            "algorithm": dek.algorithm,
        })).collect::<Vec<_>>(),
    })
}

fn describe_scan(path: &Path, report: &ScanReport) -> Value {
    json!({
        "folder": escaped_path(path),
        "added": report.found,
        "links": report.links,
        "unreadable": report.more_failures + report.failures.len() as u64,
    })
}

fn describe_coverage(coverage: &Coverage) -> Value {
    json!({
        "snapshots": coverage.snapshots,
        "unverified": coverage.unverified,
        "folders": coverage.folders.iter().map(|folder| json!({
            "folder": escaped_path(&folder.path),
            "scanned": folder.scanned.to_string(),
            "snapshots": folder.files,
            "unreadable": folder.failures,
        })).collect::<Vec<_>>(),
    })
}
