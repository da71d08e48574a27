//! Several processes at one log, processes that are killed, and disks that are full.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use super::*;

const ACTION: &str = "SOBRE_TEST_AUDIT_ACTION";
const PATH: &str = "SOBRE_TEST_AUDIT_PATH";
const NUMBER: &str = "SOBRE_TEST_AUDIT_NUMBER";

/// What the other processes do; nothing when the tests run it as a test.
#[test]
fn child() {
    let (Ok(action), Some(path)) = (std::env::var(ACTION), std::env::var_os(PATH)) else { return };
    let number: u64 = std::env::var(NUMBER).expect("a number").parse().expect("a number");
    let log = log_in_parts(Path::new(&path));
    match action.as_str() {
        "append" => fill(&log, number..=number + 9),
        "append for ever" => {
            for number in number.. {
                log.append(&events(number..=number)).expect("appends");
                println!("kept {number}");
            }
        }
        "append until full" => {
            for number in number.. {
                if let Err(error) = log.append(&events(number..=number)) {
                    assert!(matches!(error, AuditError::Io { .. }), "{error:?}");
                    println!("failed {number}");
                    return;
                }
                println!("kept {number}");
            }
        }
        other => panic!("no such action: {other}"),
    }
}

/// Runs [`child`] in a process of its own; `shell` comes before it.
fn spawn(action: &str, path: &Path, number: u64, shell: &str) -> Child {
    Command::new("sh")
        .args(["-c", &format!("{shell} exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().expect("a program"))
        .args(["audit::tests::processes::child", "--exact", "--nocapture", "--test-threads=1"])
        .env(ACTION, action)
        .env(PATH, path)
        .env(NUMBER, number.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("starts")
}

/// Returns the numbers that a child said it had kept.
fn kept(child: &mut Child) -> Vec<u64> {
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    // The first one stands behind what the test harness prints.
    lines.map_while(Result::ok).filter_map(|line| line.split_once("kept ")?.1.parse().ok()).collect()
}

fn numbers(log: &AuditLog) -> BTreeSet<u64> {
    let mut seen = BTreeSet::new();
    let found = log
        .read(|entry| {
            let record = entry.record.expect("a record");
            if record.operation_name == "KeyUnwrap" {
                let number = u64::from_str_radix(&record.correlation_id[..16], 16).expect("a number");
                assert!(seen.insert(number), "{number} twice");
            }
        })
        .expect("reads");
    assert!(found.is_intact(), "{:?}", found.breaks);
    seen
}

#[test]
fn processes_at_once_make_one_chain() {
    let folder = tempfile::tempdir().expect("a folder");
    let children: Vec<Child> = (1..=6).map(|child| spawn("append", folder.path(), child * 1000, "")).collect();
    for mut child in children {
        assert!(child.wait().expect("ends").success());
    }
    let expected: BTreeSet<u64> = (1..=6).flat_map(|child| child * 1000..child * 1000 + 10).collect();
    assert_eq!(numbers(&log_in_parts(folder.path())), expected);
}

#[test]
fn killed_processes_lose_no_record_that_was_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut expected = BTreeSet::new();
    for round in 0..8_u64 {
        let start = |child: u64| spawn("append for ever", folder.path(), (round * 10 + child + 1) << 32, "");
        let mut children: Vec<Child> = (0..3).map(start).collect();
        std::thread::sleep(Duration::from_millis(60 + 23 * round));
        for child in &mut children {
            child.kill().expect("kills");
        }
        for child in &mut children {
            expected.extend(kept(child));
            child.wait().expect("ends");
        }
        let seen = numbers(&log_in_parts(folder.path()));
        assert!(expected.is_subset(&seen), "lost: {:?}", expected.difference(&seen));
    }
    assert!(expected.len() > 20, "only {} records were written", expected.len());
    fill(&log_in_parts(folder.path()), 1..=1);
    assert!(numbers(&log_in_parts(folder.path())).contains(&1));
}

#[test]
fn a_full_disk_stops_the_log_and_leaves_it_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    // A file limit of 3 blocks stops the log in the middle of a line, as a full disk does.
    let mut child = spawn("append until full", folder.path(), 1, "trap '' XFSZ; ulimit -f 3;");
    let kept = kept(&mut child);
    assert!(child.wait().expect("ends").success());
    assert!(!kept.is_empty());
    let log = log(folder.path());
    assert_eq!(log.verify().expect("reads").torn, 0);
    assert_eq!(numbers(&log), kept.iter().copied().collect());
    fill(&log, 1000..=1000);
    assert_intact(&log, kept.len() as u64 + 1);
}
