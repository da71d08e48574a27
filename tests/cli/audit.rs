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

/// A home whose log the commands wrote, and whose head is in a vault.
fn written() -> World {
    let world = World::single();
    for words in ["verify s.sobre", "key create k --size 2048", "verify s.sobre"] {
        // The platform's vault takes no key: a refusal is a record as well.
        world.sobre(words);
    }
    world.sobre("audit verify").code(0);
    assert!(lines(&world).len() > 6);
    world
}

fn lines(world: &World) -> Vec<String> {
    std::fs::read_to_string(file(world)).expect("reads").lines().map(str::to_owned).collect()
}

#[test]
fn every_kind_of_tampering_is_found_and_nothing_is_added_to_a_log_without_its_end() {
    let written = written();
    let last = lines(&written).len();
    type Change = fn(&mut Vec<String>);
    let kinds: [(Change, &str); 6] = [
        (|lines| lines[2] = lines[2].replacen("\"uid\":", "\"uid\":1", 1), "line 3: record 3 was changed"),
        (|lines| drop(lines.remove(3)), "record 4 is missing"),
        (|lines| lines.swap(2, 3), "line 3"),
        (|lines| lines.truncate(lines.len() - 1), "missing"),
        (|lines| lines.truncate(2), "missing"),
        (|lines| lines.clear(), "missing"),
    ];
    for (change, says) in kinds {
        let world = written.copy();
        let mut changed = lines(&world);
        change(&mut changed);
        std::fs::write(file(&world), changed.iter().map(|line| format!("{line}\n")).collect::<String>())
            .expect("writes");
        world.sobre("audit verify").code(13).warns(says).warns("not as it was written");
        let cut = changed.len() < last && changed.last() != lines(&written).last();
        let sealed = world.run(["seal".as_ref(), super::world::disk().as_os_str(), "n.sobre".as_ref()]);
        assert_eq!(sealed.code == Some(13), cut, "{says}: {sealed:#?}");
        assert_eq!(world.has("n.sobre"), !cut);
        // What was added does not hide it.
        world.sobre("audit verify").code(13);
    }
}

#[test]
fn an_older_copy_of_the_log_is_not_taken_for_it() {
    let world = written();
    let older = std::fs::read(file(&world)).expect("reads");
    world.sobre("verify s.sobre").code(0);
    std::fs::write(file(&world), older).expect("writes");
    world.sobre("audit verify").code(13).warns("the last ones, are missing");
    // Nor is one that another home wrote.
    let other = written();
    std::fs::copy(file(&other), file(&world)).expect("copies");
    world.sobre("audit verify").code(13);
    std::fs::copy(other.home().join("audit/audit.key"), world.home().join("audit/audit.key")).expect("copies");
    world.sobre("audit verify").code(13);
}

#[test]
fn a_log_that_can_not_be_written_stops_everything_but_a_restore_that_may_go_on() {
    let world = written();
    world.run(["rewrap", "s.sobre", "--add", &super::world::public_key()]).code(0);
    let snapshot = world.read("s.sobre");
    // Root, too, is stopped by a folder in the place of the file.
    std::fs::remove_file(file(&world)).expect("removes");
    std::fs::create_dir(file(&world)).expect("makes");
    let before = world.home_content();
    for words in [
        "seal s.sobre n.sobre",
        "key rotate platform/default",
        "key disable platform/default --accept-loss",
        "vault create more",
        "set create s --type platform",
        "open s.sobre out",
    ] {
        let ran = world.sobre(words);
        ran.code(1).warns("audit.jsonl").warns("nothing was done");
        assert!(!world.has("n.sobre") && !world.has("out") && !world.has("n.sobre.partial"), "{words}");
    }
    world.sobre("vault backup all --to").code(2);
    world.add_to_config("audit_failure = \"stderr\"");
    world.sobre("open s.sobre out").code(0).warns("audit: ").warns("KeyUnwrap OK").warns("snapshot=");
    super::world::assert_disk(&world, "out");
    world.sobre("seal s.sobre n.sobre").code(1).warns("nothing was done");
    world.sobre("key disable platform/default --accept-loss").code(1).warns("nothing was done");
    // Nothing is wrapped when a key goes; the way out of a snapshot is administration all the same.
    world.run(["rewrap", "s.sobre", "--remove", &super::world::public_key()]).code(1).warns("nothing was done");
    assert!(world.read("s.sobre") == snapshot, "it was changed");
    let text = String::from_utf8(world.read("sobre/config.toml")).expect("text");
    world.write("sobre/config.toml", text.replacen("audit_failure = \"stderr\"\n", "", 1));
    assert!(world.home_content() == before, "something changed");
}

#[test]
fn kills_in_the_middle_of_many_operations_leave_a_log_without_gaps() {
    let world = World::single();
    world.write("small.img", [5; 5000]);
    world.sobre("vault create mine").code(0);
    world.sobre("key create k --size 2048 --vault mine").code(0);
    std::thread::scope(|scope| {
        for worker in 0..8_u64 {
            let world = &world;
            scope.spawn(move || {
                for round in 0..12 {
                    let name = format!("{worker}.sobre");
                    let words = match (worker + round) % 4 {
                        0 => format!("seal small.img {name} --force --key mine/k"),
                        1 => format!("open s.sobre {worker}.out --force"),
                        2 => format!("key update k --expires {}-01-01", 2040 + round),
                        _ => "verify s.sobre".to_owned(),
                    };
                    let mut child = world.start(&mut world.command(words.split_whitespace()));
                    std::thread::sleep(std::time::Duration::from_millis(3 + (worker * 37 + round * 53) % 90));
                    let _ = child.kill();
                    child.wait().expect("ends");
                }
            });
        }
    });
    world.sobre("audit verify").code(0);
    world.sobre("verify s.sobre").code(0);
    let verified = world.sobre("audit verify --json").code(0).json();
    assert_eq!((&verified["torn_bytes"], &verified["beyond_head"]), (&0.into(), &0.into()));
    let shown = world.sobre("audit show --json").json();
    let seqs: Vec<u64> =
        shown["records"].as_array().expect("a list").iter().filter_map(|one| one["seq"].as_u64()).collect();
    assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>());
    assert!(seqs.len() > 20, "only {} records", seqs.len());
}

#[test]
fn a_torn_last_line_is_told_and_no_forgery() {
    let world = written();
    let mut bytes = std::fs::read(file(&world)).expect("reads");
    bytes.extend_from_slice(b"{\"seq\":99,\"time\":\"20");
    std::fs::write(file(&world), bytes).expect("writes");
    world.sobre("audit verify").code(0).prints("20 bytes of a torn line at the end, left by a crash");
    world.sobre("verify s.sobre").code(0);
    world.sobre("audit verify").code(0);
    world.sobre("audit show").code(0).prints("LogRepair");
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
