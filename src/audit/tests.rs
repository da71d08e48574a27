//! A log, and what becomes of it under crashes, full disks and other people's hands.

mod chain;
mod processes;
mod tampering;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::clock::{SystemClock, UnixTime};
use crate::format::SnapshotId;
use crate::key::Thumbprint;
use crate::random::SystemRandom;

fn settings(folder: &Path) -> AuditSettings {
    AuditSettings {
        folder: folder.join("log"),
        heads: Arc::new(FileHead::new(folder.join("head"))),
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        part_bytes: AuditSettings::PART_BYTES,
        wait: AuditSettings::WAIT,
    }
}

fn log(folder: &Path) -> AuditLog {
    AuditLog::new(settings(folder))
}

/// A log that begins a new part after every few records.
fn log_in_parts(folder: &Path) -> AuditLog {
    AuditLog::new(AuditSettings { part_bytes: 2000, ..settings(folder) })
}

fn event(number: u64) -> Event {
    let mut correlation = [0; 16];
    correlation[..8].copy_from_slice(&number.to_be_bytes());
    let properties = Properties {
        key: Some(Text::new("prod/backup@3")),
        snapshot: Some(SnapshotId::from_bytes([5; 16])),
        thumbprint: Some(Thumbprint::from_bytes([7; 32])),
        vault: Some("prod".parse().expect("a name")),
        ..Properties::default()
    };
    let correlation = CorrelationId::from_bytes(correlation);
    Event::new(Operation::KeyUnwrap, Outcome::Success, UnixTime(1_800_000_000 + number), correlation)
        .took(Duration::from_millis(3))
        .with(properties)
}

fn events(numbers: std::ops::RangeInclusive<u64>) -> Vec<Event> {
    numbers.map(event).collect()
}

/// Appends one after the other.
fn fill(log: &AuditLog, numbers: std::ops::RangeInclusive<u64>) {
    for event in events(numbers) {
        log.append(&[event]).expect("appends");
    }
}

fn current(folder: &Path) -> PathBuf {
    folder.join("log/audit.jsonl")
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("lists");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
    names.sort();
    names
}

#[track_caller]
fn assert_intact(log: &AuditLog, records: u64) {
    let found = log.verify().expect("reads");
    assert!(found.is_intact(), "{:?}", found.breaks);
    assert_eq!((found.records, found.last.map_or(0, |last| last.count)), (records, records));
}

fn faults(log: &AuditLog) -> Vec<ChainFault> {
    log.verify().expect("reads").breaks.into_iter().map(|found| found.fault).collect()
}
