//! Reading and checking the audit log.

use std::path::PathBuf;
use std::sync::Arc;

use sobre::audit::{
    AuditLog, AuditSettings, AuditSink, CorrelationId, Event, FailureKind, FileHead, Identity, Operation, Outcome,
    Properties, Text,
};
use sobre::clock::{SystemClock, UnixTime};
use sobre::key::Thumbprint;
use sobre::random::SystemRandom;

use super::world::World;

/// The log of a world's home.
pub(crate) fn log(world: &World) -> AuditLog {
    AuditLog::new(AuditSettings {
        folder: world.home().join("audit"),
        heads: Arc::new(FileHead::new(world.home().join("audit.head"))),
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        part_bytes: AuditSettings::PART_BYTES,
        wait: AuditSettings::WAIT,
    })
}

pub(crate) fn event(number: u8, operation: Operation, outcome: Outcome) -> Event {
    let time = UnixTime(1_800_000_000 + 3600 * u64::from(number));
    let event = Event::new(operation, outcome, time, CorrelationId::from_bytes([number; 16]));
    let (user, host) = (Some(Text::new("ana\u{1b}[2J")), Some(Text::new("web1")));
    let identity = Identity { uid: 1000, user, login_uid: Some(1000), pid: 4242, host };
    Event { identity, ..event }.with(Properties {
        key: Some(Text::new(&format!("prod/backup@{number}"))),
        thumbprint: Some(Thumbprint::from_bytes([number; 32])),
        vault: Some("prod".parse().expect("a name")),
        ..Properties::default()
    })
}

/// A home with four records.
pub(crate) fn recorded() -> World {
    let world = World::fresh();
    log(&world)
        .append(&[
            event(1, Operation::KeyCreate, Outcome::Success),
            event(1, Operation::KeyWrap, Outcome::Success),
            event(2, Operation::KeyUnwrap, Outcome::Failure(FailureKind::Disabled)),
            event(3, Operation::KeyUnwrap, Outcome::Success),
        ])
        .expect("appends");
    world
}

fn file(world: &World) -> PathBuf {
    world.home().join("audit/audit.jsonl")
}

fn edit(world: &World, change: impl FnOnce(String) -> String) {
    let text = std::fs::read_to_string(file(world)).expect("reads");
    std::fs::write(file(world), change(text)).expect("writes");
}

#[test]
fn records_are_shown_by_time_key_and_failure() {
    let world = recorded();
    let seqs = |words: &str| {
        let shown = world.sobre(&format!("audit show --json {words}")).code(0).json();
        let records = shown["records"].as_array().expect("a list").clone();
        records.iter().map(|record| record["seq"].as_u64().expect("a number")).collect::<Vec<_>>()
    };
    assert_eq!(seqs(""), [1, 2, 3, 4]);
    assert_eq!(seqs("--failed"), [3]);
    assert_eq!(seqs("--key backup@1"), [1, 2]);
    assert_eq!(seqs("--key prod/backup"), [1, 2, 3, 4]);
    assert_eq!(seqs("--key jkt:AgIC"), [3]);
    assert_eq!(seqs("--since 2027-01-15T10:00:00Z"), [3, 4]);
    assert_eq!(seqs("--since 2028-01-01"), Vec::<u64>::new());
    world.sobre("audit show --since yesterday").code(2);
    let shown = world.sobre("audit show");
    assert!(!shown.code(0).out.contains('\u{1b}'), "{shown:?}");
}

#[test]
fn a_broken_log_is_13_and_named_with_its_line() {
    let world = recorded();
    let good = world.sobre("audit verify --json").code(0).json();
    assert_eq!((&good["intact"], &good["records"], &good["head"]["count"]), (&true.into(), &4.into(), &4.into()));
    edit(&world, |text| text.replacen("\"Disabled\"", "\"OK\"", 1));
    world.sobre("audit verify").code(13).warns("audit.jsonl, line 3: record 3 was changed");
    let bad = world.sobre("audit verify --json").code(13).json();
    assert_eq!((&bad["breaks"][0]["line"], &bad["error"]["kind"]), (&3.into(), &"damaged".into()));
    world.sobre("audit show").code(0).prints("<- not as it was written").warns("audit verify");
}

#[test]
fn a_cut_log_is_13_until_it_is_begun_anew() {
    let world = recorded();
    world.sobre("audit restart").code(0).prints("nothing was done");
    edit(&world, |text| text.lines().take(2).map(|line| format!("{line}\n")).collect());
    world.sobre("audit verify").code(13).warns("records 3 to 4, the last ones, are missing");
    world.sobre("audit restart").code(0).prints("begins anew");
    world.sobre("audit verify").code(0).prints("begun anew with record 5");
    assert!(world.has("sobre/audit/audit.jsonl.lost1"));
    std::fs::remove_dir_all(world.home().join("audit")).expect("removes");
    world.sobre("audit verify").code(13);
}

#[test]
fn a_lost_key_file_says_how_to_go_on() {
    let world = recorded();
    std::fs::remove_file(world.home().join("audit/audit.key")).expect("removes");
    world.sobre("audit verify").code(10).warns("audit restart");
    world.sobre("audit show").code(10);
}

#[test]
fn looking_at_a_log_that_is_not_there_makes_none() {
    let world = World::fresh();
    world.sobre("audit verify").code(0).prints("0 records");
    world.sobre("audit show").code(0).prints("nothing was recorded yet");
    assert!(!world.home().exists());
}
