//! `sobre key impact`, and what is said of it before a key goes.

use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};
use sobre::io::{Escaped, escaped_path};
use sobre::manage::{Home, Impact};

use crate::cli::args::Global;
use crate::cli::commands::open_home;
use crate::cli::exit::Failure;
use crate::cli::report::Output;
use crate::cli::units::count;

pub(super) fn impact(key: &str, global: &Global, output: &Output) -> Result<ExitCode, Failure> {
    let home = open_home(global)?;
    let impact = home.impact(&Home::key_ref(key)?)?;
    for target in &impact.targets {
        let id = if target.id.is_empty() { "in no vault" } else { &target.id };
        output.say(format_args!("{id}  {}  jkt:{}", snapshots(target.snapshots), target.thumbprint));
    }
    tell(&impact, |line| output.say(line));
    output.finish(json!({ "impact": describe(&impact) }))
}

/// Says what is lost, what stays, and on what the answer is based.
pub(super) fn tell(impact: &Impact, mut say: impl FnMut(String)) {
    say(match impact.lost.len() {
        0 => "no known snapshot becomes unreadable".to_owned(),
        1 => "1 snapshot becomes unreadable:".to_owned(),
        more => format!("{more} snapshots become unreadable:"),
    });
    for lost in impact.lost.iter().take(MOST_LINES) {
        let gone = if lost.gone { "  (not where it was)" } else { "" };
        let elsewhere = match lost.elsewhere.as_slice() {
            [] => String::new(),
            others => {
                let others: Vec<_> = others.iter().map(|one| Escaped(one).to_string()).collect();
                format!("  (else only with {}, which no vault here can use)", others.join(", "))
            }
        };
        say(format!("  {}{gone}{elsewhere}", escaped_path(&lost.snapshot.path)));
    }
    if impact.lost.len() > MOST_LINES {
        say(format!("  and {} more; --json lists all", impact.lost.len() - MOST_LINES));
    }
    if !impact.survivors.is_empty() {
        let mut through: Vec<&str> = impact.survivors.iter().flat_map(|one| &one.through).map(String::as_str).collect();
        through.sort_unstable();
        through.dedup();
        let shown: Vec<_> = through.iter().take(MOST_KEYS).copied().collect();
        let more = through.len().saturating_sub(MOST_KEYS);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        say(format!(
            "{} readable through {}{more}",
            count(impact.survivors.len(), "snapshot") + if impact.survivors.len() == 1 { " stays" } else { " stay" },
            shown.join(", ")
        ));
    }
    for set in &impact.sets {
        let how = if set.active { "seals with it" } else { "links it" };
        say(format!("set {} {how} (jkt:{})", set.set, set.thumbprint.short()));
    }
    let coverage = &impact.coverage;
    say(format!(
        "known: {}, {} not verified, {} not where they were; folders that were never scanned, and copies elsewhere, are not",
        snapshots(coverage.snapshots),
        coverage.unverified,
        coverage.gone
    ));
    for folder in &coverage.folders {
        say(format!(
            "scanned {} at {}: {}, {} unreadable",
            escaped_path(&folder.path),
            folder.scanned,
            snapshots(folder.files),
            folder.failures
        ));
    }
    for doubt in &impact.doubts {
        say(format!("uncertain: {doubt}"));
    }
}

/// Says what a deed would lose, in one clause; `None` when it is certain that nothing is lost.
pub(super) fn loss(impact: &Impact) -> Option<String> {
    let doubts: Vec<_> = impact.doubts.iter().map(ToString::to_string).collect();
    match (impact.lost.len(), doubts.is_empty()) {
        (0, true) => None,
        (0, false) => Some(format!("it is not known what is lost: {}", doubts.join("; "))),
        (lost, _) => {
            let first: Vec<_> = impact.lost.iter().take(3).map(|lost| escaped_path(&lost.snapshot.path)).collect();
            let more = if lost > 3 { ", ..." } else { "" };
            Some(format!("{} would be lost: {}{more}", count(lost, "snapshot"), first.join(", ")))
        }
    }
}

pub(super) fn describe(impact: &Impact) -> Value {
    let path = |path: &Path| escaped_path(path);
    json!({
        "harmless": impact.is_harmless(),
        "keys": impact.targets.iter().map(|target| json!({
            "id": if target.id.is_empty() { None } else { Some(&target.id) },
            "thumbprint": target.thumbprint.to_string(),
            "snapshots": target.snapshots,
        })).collect::<Vec<_>>(),
        "lost": impact.lost.iter().map(|lost| json!({
            "snapshot": path(&lost.snapshot.path),
            "id": lost.snapshot.id.to_string(),
            "sealed": lost.snapshot.sealed.to_string(),
            "verified": lost.snapshot.verified,
            "gone": lost.gone,
            "keys": lost.keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "elsewhere": lost.elsewhere,
        })).collect::<Vec<_>>(),
        "still_open": impact.survivors.iter().map(|one| json!({
            "snapshot": path(&one.snapshot.path),
            "id": one.snapshot.id.to_string(),
            "verified": one.snapshot.verified,
            "through": one.through,
        })).collect::<Vec<_>>(),
        "sets": impact.sets.iter().map(|set| json!({
            "set": set.set,
            "thumbprint": set.thumbprint.to_string(),
            "active": set.active,
        })).collect::<Vec<_>>(),
        "coverage": {
            "snapshots": impact.coverage.snapshots,
            "unverified": impact.coverage.unverified,
            "gone": impact.coverage.gone,
            "unreadable": impact.coverage.unreadable,
            "folders": impact.coverage.folders.iter().map(|folder| json!({
                "folder": path(&folder.path),
                "scanned": folder.scanned.to_string(),
                "snapshots": folder.files,
                "unreadable": folder.failures,
            })).collect::<Vec<_>>(),
        },
        "unknown": impact.doubts.iter().map(|doubt| json!({
            "kind": doubt.name(),
            "message": doubt.to_string(),
        })).collect::<Vec<_>>(),
    })
}

fn snapshots(number: u64) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), "snapshot")
}

const MOST_LINES: usize = 20;
const MOST_KEYS: usize = 5;
