//! What somebody does to a log who has not its key.

use super::*;

/// A log of nine records in three or more parts, and its last part.
fn made() -> (tempfile::TempDir, AuditLog) {
    let folder = tempfile::tempdir().expect("a folder");
    let log = log_in_parts(folder.path());
    fill(&log, 1..=9);
    (folder, log)
}

fn part_with(folder: &Path, record: u64) -> PathBuf {
    let prefix = format!("{{\"seq\":{record},");
    let files = names(&folder.join("log")).into_iter().map(|name| folder.join("log").join(name));
    let mut holding = files.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    holding.find(|path| std::fs::read_to_string(path).is_ok_and(|text| text.contains(&prefix))).expect("a part")
}

/// Rewrites the lines of the part that has `record`.
fn edit(folder: &Path, record: u64, change: impl FnOnce(&mut Vec<String>, usize)) {
    let path = part_with(folder, record);
    let text = std::fs::read_to_string(&path).expect("reads");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let at = lines.iter().position(|line| line.starts_with(&format!("{{\"seq\":{record},"))).expect("there");
    change(&mut lines, at);
    std::fs::write(&path, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).expect("writes");
}

#[test]
fn every_changed_byte_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = log(folder.path());
    fill(&log, 1..=2);
    let path = current(folder.path());
    let good = std::fs::read(&path).expect("reads");
    for at in 0..good.len() {
        for mask in [1, 0x20] {
            let mut bad = good.clone();
            bad[at] ^= mask;
            std::fs::write(&path, &bad).expect("writes");
            assert!(!log.verify().expect("reads").is_intact(), "byte {at} with {mask:#x}");
        }
    }
    std::fs::write(&path, &good).expect("writes");
    assert_intact(&log, 2);
}

#[test]
fn every_cut_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = log(folder.path());
    fill(&log, 1..=3);
    let good = std::fs::read(current(folder.path())).expect("reads");
    for len in (0..good.len()).step_by(7).chain([good.len() - 1]) {
        std::fs::write(current(folder.path()), &good[..len]).expect("writes");
        let found = log.verify().expect("reads");
        assert!(matches!(found.breaks.as_slice(), [Break { fault: ChainFault::Truncated { to: 3, .. }, .. }]), "{len}");
        let error = log.append(&events(4..=4)).expect_err("cut");
        assert!(matches!(error, AuditError::Broken(Break { fault: ChainFault::Truncated { .. }, .. })), "{error:?}");
        assert_eq!(std::fs::metadata(current(folder.path())).expect("there").len(), len as u64, "evidence was changed");
    }
}

#[test]
fn a_changed_record_is_named_with_file_and_line() {
    let (folder, log) = made();
    edit(folder.path(), 5, |lines, at| lines[at] = lines[at].replace("KeyUnwrap", "KeyDelete"));
    let found = log.verify().expect("reads");
    let [only] = found.breaks.as_slice() else { panic!("{:?}", found.breaks) };
    assert_eq!(only.fault, ChainFault::Altered(5));
    assert_eq!(only.file, part_with(folder.path(), 5));
    assert!(only.to_string().ends_with(": record 5 was changed"), "{only}");
    let mut intact = Vec::new();
    log.read(|entry| intact.push(entry.intact)).expect("reads");
    assert_eq!(intact.iter().filter(|intact| !**intact).count(), 1);
}

#[test]
fn missing_moved_and_repeated_records_are_told_apart() {
    let (folder, log) = made();
    edit(folder.path(), 5, |lines, at| drop(lines.remove(at)));
    assert!(faults(&log).contains(&ChainFault::Missing { from: 5, to: 5 }), "{:?}", faults(&log));

    let (folder, log) = made();
    edit(folder.path(), 2, |lines, at| lines.swap(at, at + 1));
    assert_eq!(faults(&log), [ChainFault::Missing { from: 2, to: 2 }, ChainFault::OutOfOrder(2)]);

    let (folder, log) = made();
    edit(folder.path(), 2, |lines, at| lines.insert(at, lines[at].clone()));
    assert_eq!(faults(&log), [ChainFault::OutOfOrder(2)]);
}

#[test]
fn missing_and_renamed_parts_are_found() {
    let (folder, log) = made();
    std::fs::remove_file(folder.path().join("log/audit-1.jsonl")).expect("removes");
    assert!(matches!(faults(&log)[..], [ChainFault::Missing { from: 1, .. }]), "{:?}", faults(&log));

    let (folder, log) = made();
    std::fs::rename(folder.path().join("log/audit-1.jsonl"), folder.path().join("log/audit-2.jsonl")).expect("renames");
    assert_eq!(faults(&log), [ChainFault::Renamed(1)]);

    let (folder, log) = made();
    std::fs::remove_file(current(folder.path())).expect("removes");
    assert!(matches!(faults(&log)[..], [ChainFault::Truncated { to: 9, .. }]), "{:?}", faults(&log));

    let (folder, log) = made();
    std::fs::remove_dir_all(folder.path().join("log")).expect("removes");
    assert_eq!(faults(&log), [ChainFault::Truncated { from: 1, to: 9 }]);
    assert!(matches!(log.append(&events(1..=1)), Err(AuditError::KeyMissing(_))));
}

#[test]
fn another_key_file_is_found_by_verify_and_by_append() {
    let (folder, log) = made();
    let other = tempfile::tempdir().expect("a folder");
    fill(&super::log(other.path()), 1..=1);
    std::fs::copy(other.path().join("log/audit.key"), folder.path().join("log/audit.key")).expect("copies");
    assert_eq!(faults(&log), [ChainFault::WrongKey]);
    let error = log.append(&events(10..=10)).expect_err("another key");
    assert!(matches!(error, AuditError::Broken(Break { fault: ChainFault::WrongKey, .. })), "{error:?}");
    std::fs::write(folder.path().join("log/audit.key"), [0; 64]).expect("writes");
    assert!(matches!(log.verify(), Err(AuditError::KeyDamaged(_))));
    std::fs::remove_file(folder.path().join("log/audit.key")).expect("removes");
    assert!(matches!(log.verify(), Err(AuditError::KeyMissing(_))));
}

#[test]
fn a_log_that_was_written_anew_is_not_the_heads() {
    let (folder, log) = made();
    let head = std::fs::read(folder.path().join("head")).expect("reads");
    std::fs::remove_dir_all(folder.path().join("log")).expect("removes");
    std::fs::remove_file(folder.path().join("head")).expect("removes");
    fill(&log, 1..=12);
    std::fs::write(folder.path().join("head"), head).expect("writes");
    assert_eq!(faults(&log), [ChainFault::HeadDiffers(9)]);
    assert!(matches!(log.append(&events(1..=1)), Err(AuditError::Broken(_))));
}

#[test]
fn junk_of_any_length_is_found_and_survived() {
    for junk in
        ["x\n".to_owned(), "{}\n".to_owned(), "[".repeat(15_000) + "\n", "y".repeat(3_000_000) + "\n", "\n".into()]
    {
        let (folder, log) = made();
        let text = std::fs::read_to_string(current(folder.path())).expect("reads");
        std::fs::write(current(folder.path()), format!("{text}{junk}")).expect("writes");
        let found = faults(&log);
        assert!(matches!(found[..], [ChainFault::TooLong | ChainFault::Unreadable]), "{found:?}");
        assert!(matches!(log.append(&events(10..=10)), Err(AuditError::Broken(_))));
    }
}

#[test]
fn a_link_in_place_of_the_log_is_not_followed() {
    let folder = tempfile::tempdir().expect("a folder");
    let victim = folder.path().join("victim");
    std::fs::write(&victim, b"keep").expect("writes");
    std::fs::create_dir(folder.path().join("log")).expect("makes");
    std::os::unix::fs::symlink(&victim, current(folder.path())).expect("links");
    assert!(log(folder.path()).append(&events(1..=1)).is_err());
    assert_eq!(std::fs::read(&victim).expect("reads"), b"keep");
}

#[test]
fn a_lost_log_begins_anew_and_says_so() {
    let (folder, log) = made();
    assert!(!log.restart().expect("restarts"), "a good log was restarted");
    std::fs::remove_file(folder.path().join("log/audit-1.jsonl")).expect("removes");
    std::fs::write(current(folder.path()), b"").expect("writes");
    assert!(log.append(&events(10..=10)).is_err());
    assert!(log.restart().expect("restarts"));
    fill(&log, 10..=14);
    let found = log.verify().expect("reads");
    assert!(found.is_intact(), "{:?}", found.breaks);
    assert_eq!((found.restarted, found.records), (Some(10), 6));
    assert!(names(&folder.path().join("log")).iter().any(|name| name == "audit.jsonl.lost1"));
    // The key alone may be lost as well.
    std::fs::remove_file(folder.path().join("log/audit.key")).expect("removes");
    assert!(matches!(log.append(&events(1..=1)), Err(AuditError::KeyMissing(_))));
    assert!(log.restart().expect("restarts"));
    fill(&log, 15..=15);
    assert_eq!(log.verify().expect("reads").restarted, Some(16));
    assert!(log.verify().expect("reads").is_intact());
}

#[test]
fn a_restart_can_t_be_forged() {
    let (folder, log) = made();
    std::fs::remove_file(folder.path().join("log/audit-1.jsonl")).expect("removes");
    assert!(log.restart().expect("restarts"));
    edit(folder.path(), 10, |lines, at| lines[at] = lines[at].replace("\"items\":9", "\"items\":8"));
    assert_eq!(faults(&log), [ChainFault::Altered(10)]);
}
