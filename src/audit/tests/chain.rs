//! What is appended, and what is read.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use proptest::prelude::*;

use super::*;

#[test]
fn what_is_appended_is_read_back_in_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = log(folder.path());
    log.append(&events(1..=3)).expect("appends");
    log.append(&events(4..=4)).expect("appends");
    let mut records = Vec::new();
    let found = log.read(|entry| records.push(entry.record.expect("a record"))).expect("reads");
    assert!(found.is_intact());
    assert_eq!(found.head, found.last);
    assert_eq!(records.iter().map(|record| record.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let record = &records[2];
    assert_eq!(record, &Record::of(&event(3), 3));
    assert_eq!((record.operation_name.as_str(), record.result_type.as_str()), ("KeyUnwrap", "Success"));
    assert_eq!(record.time, "2027-01-15T08:00:03Z");
    assert_eq!(record.properties.key.as_deref(), Some("prod/backup@3"));
}

#[test]
fn a_line_has_the_names_that_azure_uses() {
    let folder = tempfile::tempdir().expect("a folder");
    let refused = Outcome::Failure(FailureKind::Disabled);
    let event = Event { outcome: refused, operation: Operation::KeyWrap, ..event(1) };
    log(folder.path()).append(&[event]).expect("appends");
    let text = std::fs::read_to_string(current(folder.path())).expect("text");
    let line: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    for (name, value) in [
        ("operationName", "KeyWrap"),
        ("resultType", "Failure"),
        ("resultSignature", "Disabled"),
        ("correlationId", "00000000000000010000000000000000"),
        ("time", "2027-01-15T08:00:01Z"),
    ] {
        assert_eq!(line[name], value);
    }
    assert_eq!((&line["durationMs"], &line["seq"]), (&3.into(), &1.into()));
    assert_eq!(line["identity"]["pid"], std::process::id());
    assert_eq!(line["properties"]["vault"], "prod");
}

#[test]
fn the_log_is_its_owners_only() {
    let folder = tempfile::tempdir().expect("a folder");
    fill(&log(folder.path()), 1..=1);
    for (name, mode) in
        [("log", 0o700), ("log/audit.jsonl", 0o600), ("log/audit.key", 0o600), ("log/audit.lock", 0o600)]
    {
        let found = std::fs::metadata(folder.path().join(name)).expect("there").mode() & 0o777;
        assert_eq!(found, mode, "{name}");
    }
    let key = folder.path().join("log/audit.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o640)).expect("chmod");
    let error = log(folder.path()).append(&events(2..=2)).expect_err("exposed");
    assert!(matches!(error, AuditError::Exposed { mode: 0o640, .. }), "{error:?}");
}

#[test]
fn nothing_is_made_by_reading() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_intact(&log(folder.path()), 0);
    assert_eq!(names(folder.path()), Vec::<String>::new());
}

#[test]
fn a_full_part_is_followed_by_another_and_the_chain_goes_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = log_in_parts(folder.path());
    fill(&log, 1..=20);
    let parts = names(&folder.path().join("log")).into_iter().filter(|name| name.ends_with(".jsonl")).count();
    assert!(parts >= 5, "{parts}");
    assert_intact(&log, 20);
    // A batch is never split, however long it is.
    log.append(&events(21..=60)).expect("appends");
    assert_intact(&log, 60);
}

#[test]
fn an_append_does_not_read_the_whole_log() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = AuditLog::new(AuditSettings { part_bytes: 1, ..settings(folder.path()) });
    fill(&log, 1..=4);
    let oldest = folder.path().join("log/audit-1.jsonl");
    let text = std::fs::read_to_string(&oldest).expect("reads");
    assert_eq!(text.lines().count(), 1);
    std::fs::write(&oldest, text.replace("KeyUnwrap", "KeyDelete")).expect("writes");
    fill(&log, 5..=6);
    assert_eq!(faults(&log), [ChainFault::Altered(1)]);
}

#[test]
fn a_torn_line_is_cut_and_noted_at_the_next_append() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = log(folder.path());
    fill(&log, 1..=3);
    let path = current(folder.path());
    let mut text = std::fs::read(&path).expect("reads");
    text.extend_from_slice(br#"{"seq":4,"time":"20"#);
    std::fs::write(&path, &text).expect("writes");
    let found = log.verify().expect("reads");
    assert!(found.is_intact() && found.torn == 19, "{found:?}");
    fill(&log, 5..=5);
    let mut records = Vec::new();
    log.read(|entry| records.push(entry.record.expect("a record"))).expect("reads");
    let repair = &records[3];
    assert_eq!((repair.operation_name.as_str(), repair.properties.bytes), ("LogRepair", Some(19)));
    assert_intact(&log, 5);
}

#[test]
fn records_between_log_and_head_are_adopted() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = log_in_parts(folder.path());
    let head = folder.path().join("head");
    fill(&log, 1..=2);
    let old = std::fs::read(&head).expect("reads");
    // Also when a part ended in between.
    fill(&log, 3..=9);
    std::fs::write(&head, &old).expect("writes");
    assert_eq!(log.verify().expect("reads").beyond, 7);
    fill(&log, 10..=10);
    assert_intact(&log, 11);
    std::fs::remove_file(&head).expect("removes");
    assert!(log.verify().expect("reads").head.is_none());
    fill(&log, 11..=11);
    assert_intact(&log, 13);
}

#[test]
fn a_head_that_fails_stops_the_append_and_loses_nothing() {
    #[derive(Debug)]
    struct Failing(FileHead);
    impl HeadStore for Failing {
        fn read(&self) -> Result<Option<Head>, HeadError> {
            self.0.read()
        }
        fn advance(&self, _: Option<Head>, _: Head) -> Result<(), HeadError> {
            Err(HeadError::Failed("no vault".into()))
        }
    }
    let folder = tempfile::tempdir().expect("a folder");
    fill(&log(folder.path()), 1..=2);
    let heads = Arc::new(Failing(FileHead::new(folder.path().join("head"))));
    let failing = AuditLog::new(AuditSettings { heads, ..settings(folder.path()) });
    assert!(matches!(failing.append(&events(3..=3)), Err(AuditError::Head(_))));
    assert_eq!(failing.verify().expect("reads").beyond, 1);
    fill(&log(folder.path()), 4..=4);
    assert_intact(&log(folder.path()), 5);
}

#[test]
fn threads_at_once_lose_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = log_in_parts(folder.path());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let log = &log;
            scope.spawn(move || fill(log, thread * 100 + 1..=thread * 100 + 10));
        }
    });
    assert_intact(&log, 40);
    let mut ids = BTreeSet::new();
    log.read(|entry| ids.extend(entry.record.map(|record| record.correlation_id))).expect("reads");
    assert_eq!(ids.len(), 40);
}

#[test]
fn a_busy_log_is_an_error_after_the_wait() {
    let folder = tempfile::tempdir().expect("a folder");
    fill(&log(folder.path()), 1..=1);
    let holder = std::fs::File::open(folder.path().join("log/audit.lock")).expect("opens");
    holder.lock().expect("locks");
    let hasty = AuditLog::new(AuditSettings { wait: Duration::from_millis(20), ..settings(folder.path()) });
    assert!(matches!(hasty.append(&events(2..=2)), Err(AuditError::Busy(_))));
    drop(holder);
    hasty.append(&events(2..=2)).expect("appends");
}

#[test]
fn hostile_texts_stay_on_one_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = log(folder.path());
    let hostile = "\",\"mac\":\"00\"}\n{\"seq\":9}\u{1b}[2J\u{202e}".repeat(50);
    let properties = Properties {
        key: Some(Text::new(&hostile)),
        set: Some(Text::new(&"\u{10ffff}\u{0}\\\"".repeat(500))),
        ..Properties::default()
    };
    log.append(&[event(1).with(properties), event(2)]).expect("appends");
    assert_intact(&log, 2);
    let text = std::fs::read_to_string(current(folder.path())).expect("text");
    assert_eq!(text.lines().count(), 2);
    assert!(text.lines().all(|line| line.chars().all(|c| !c.is_control() && c != '\u{202e}')));
}

#[test]
fn filters_leave_out_only_what_is_known_to_be_unwanted() {
    let refused = Record::of(&Event { outcome: Outcome::Failure(FailureKind::Deleted), ..event(5) }, 5);
    let mut undated = Record::of(&event(1), 1);
    undated.time = "yesterday".to_owned();
    let good = Record::of(&event(9), 9);
    let wants = |filter: Filter| [&refused, &undated, &good].map(|record| filter.wants(record));
    assert_eq!(wants(Filter::default()), [true, true, true]);
    assert_eq!(wants(Filter { failed: true, ..Filter::default() }), [true, false, false]);
    let since = Some(UnixTime(1_800_000_006));
    assert_eq!(wants(Filter { since, ..Filter::default() }), [false, true, true]);
    assert_eq!(wants(Filter { key: Some("backup".into()), failed: true, since: None }), [true, false, false]);
    assert_eq!(wants(Filter { key: Some("other".into()), ..Filter::default() }), [false, false, false]);
}

#[derive(Clone, Debug)]
enum Step {
    Append(u8),
    ForgetHead,
    Tear(u16),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..5_u8).prop_map(Step::Append),
        1 => (1..300_u16).prop_map(Step::Tear),
        1 => Just(Step::ForgetHead),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_appends_and_accidents_loses_a_record(steps in proptest::collection::vec(step(), 1..25)) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut log = log_in_parts(folder.path());
        let mut appended = 0_u64;
        for step in steps {
            match step {
                Step::Append(count) => {
                    let batch = events(appended + 1..=appended + u64::from(count));
                    log.append(&batch).expect("appends");
                    appended += u64::from(count);
                }
                Step::ForgetHead => drop(std::fs::remove_file(folder.path().join("head"))),
                Step::Reopen => log = log_in_parts(folder.path()),
                Step::Tear(len) => {
                    if let Ok(mut text) = std::fs::read(current(folder.path())) {
                        text.extend(std::iter::repeat_n(0, len.into()));
                        std::fs::write(current(folder.path()), text).expect("writes");
                    }
                }
            }
        }
        let mut seen = Vec::new();
        let found = log.read(|entry| {
            let record = entry.record.expect("a record");
            if record.operation_name == "KeyUnwrap" {
                seen.push(u64::from_str_radix(&record.correlation_id[..16], 16).expect("a number"));
            }
        }).expect("reads");
        prop_assert!(found.is_intact(), "{:?}", found.breaks);
        prop_assert!(seen.into_iter().eq(1..=appended));
    }
}
