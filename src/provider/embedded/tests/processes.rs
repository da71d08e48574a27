//! Several processes at one vault, and processes that are killed.

use std::process::{Child, Command, Stdio};
use std::time::Instant;

use super::*;

const ACTION: &str = "SOBRE_TEST_VAULT_ACTION";
const PATH: &str = "SOBRE_TEST_VAULT_PATH";

/// Runs [`child`] in a process of its own.
fn spawn(action: &str, path: &Path) -> Child {
    Command::new(std::env::current_exe().expect("a program"))
        .args(["provider::embedded::tests::processes::child", "--exact", "--nocapture", "--test-threads=1"])
        .env(ACTION, action)
        .env(PATH, path)
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("starts")
}

fn all_succeed(children: Vec<Child>) {
    for mut child in children {
        assert!(child.wait().expect("ends").success());
    }
}

/// What the other processes do; nothing when the tests run it as a test.
#[test]
fn child() {
    let (Ok(action), Some(path)) = (std::env::var(ACTION), std::env::var_os(PATH)) else { return };
    let settings = settings(Path::new(&path), &Answer::of("one"));
    match action.as_str() {
        "create" => {
            let (vault, made) = EmbeddedVault::open_or_create(settings, Protection::KeyFile).expect("a vault");
            if made {
                std::fs::write(files::beside(Path::new(&path), &format!(".made-{}", std::process::id())), b"")
                    .expect("writes");
            }
            vault.keys(&cx()).expect("lists");
        }
        "protect" => {
            let vault = EmbeddedVault::open(settings).expect("opens");
            loop {
                vault.set_protection(cheap(), &cx()).expect("protects");
                vault.set_protection(Protection::KeyFile, &cx()).expect("protects");
            }
        }
        "rotate" => {
            let vault = EmbeddedVault::open(settings).expect("opens");
            vault.rotate(&name("backup"), &cx()).expect("rotates");
        }
        "rotate for ever" => {
            let vault = EmbeddedVault::open(settings).expect("opens");
            loop {
                vault.rotate(&name("backup"), &cx()).expect("rotates");
            }
        }
        "rotate synthetically for ever" => {
            let mut log = std::fs::OpenOptions::new();
            let mut log = log.create(true).append(true).open(log_of(Path::new(&path))).expect("opens");
            loop {
                let vault = EmbeddedVault::open(settings.clone()).expect("opens");
                for _ in 0..20 {
                    let made = vault.rotate_with(&name("backup"), &cx(), |_| Ok(synthetic())).expect("rotates");
                    // Only now, when the vault says that it is durable. One line is one write.
                    std::io::Write::write_all(&mut log, format!("{} {}\n", made.id, made.thumbprint).as_bytes())
                        .expect("writes");
                }
            }
        }
        "change for ever" => {
            let vault = EmbeddedVault::open(settings).expect("opens");
            let (key, other) = (name("backup"), name("other"));
            let policy = "rotate P1Y after creation".parse().expect("a policy");
            loop {
                vault.update(&key, None, &KeyChanges::disable(), &cx()).expect("disables");
                vault.set_policy(&key, &policy, &cx()).expect("sets");
                vault.update(&key, None, &KeyChanges::enable(), &cx()).expect("enables");
                vault.delete(&key, &cx()).expect("deletes");
                vault.recover(&key, &cx()).expect("recovers");
                vault.add(&other, &synthetic(), &cx()).expect("adds");
                vault.delete(&other, &cx()).expect("deletes");
                vault.purge(&other, &cx()).expect("purges");
            }
        }
        "create for ever" => loop {
            drop(EmbeddedVault::open_or_create(settings.clone(), Protection::KeyFile).expect("a vault"));
            std::fs::remove_file(&path).expect("removes");
            // Else every round leaves one more key file aside.
            std::fs::remove_file(files::key_path(Path::new(&path))).expect("removes");
        },
        other => panic!("no such action: {other}"),
    }
}

#[test]
fn sixteen_processes_that_create_at_once_make_one_vault() {
    let (folder, path) = folder();
    all_succeed((0..16).map(|_| spawn("create", &path)).collect());
    let mut names: Vec<String> = std::fs::read_dir(folder.path())
        .expect("lists")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
        .collect();
    names.sort();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(
        names[0] == "vault.db" && names[1] == "vault.db.key" && names[2].starts_with("vault.db.made-"),
        "{names:?}"
    );
    open(&path).expect("opens");
}

#[test]
fn sixteen_threads_that_create_at_once_make_one_vault() {
    let (folder, path) = folder();
    let made = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| match EmbeddedVault::create(settings(&path, &Answer::nothing()), Protection::KeyFile) {
                Ok(_) => drop(made.fetch_add(1, Ordering::SeqCst)),
                Err(VaultError::Exists(_)) => drop(open(&path).expect("the winner's is complete")),
                Err(other) => panic!("{other:?}"),
            });
        }
    });
    assert_eq!(made.load(Ordering::SeqCst), 1);
    assert_eq!(std::fs::read_dir(folder.path()).expect("lists").count(), 2);
}

#[test]
fn rotations_at_once_all_count() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    make(&vault, "backup");
    all_succeed((0..4).map(|_| spawn("rotate", &path)).collect());
    let versions = vault.versions(&name("backup"), &cx()).expect("lists");
    let numbers: Vec<u32> = versions.iter().map(|(number, _)| number.get()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
}

#[test]
fn two_creations_of_one_key_at_once_make_one() {
    let (_folder, path) = folder();
    let (one, two) = (plain(&path), open(&path).expect("opens"));
    let made = std::thread::scope(|scope| {
        let create = |vault| scope.spawn(move || KeyAdmin::create(vault, &name("backup"), 2048, &cx()));
        [create(&one), create(&two)].map(|thread| thread.join().expect("ends"))
    });
    assert_eq!(made.iter().filter(|result| result.is_ok()).count(), 1);
    assert!(made.iter().flat_map(|result| result.as_ref().err()).all(|error| error.kind == ProviderErrorKind::Exists));
}

/// Kills a child after each of several times.
fn killed(action: &str, path: &Path, delays: &[u64], check: impl Fn()) {
    for &delay in delays {
        let mut child = spawn(action, path);
        let start = Instant::now();
        std::thread::sleep(Duration::from_millis(delay));
        child.kill().expect("kills");
        child.wait().expect("ends");
        assert!(start.elapsed() >= Duration::from_millis(delay));
        check();
    }
}

#[test]
fn a_process_killed_while_it_changes_the_protection_loses_nothing() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    let wrapped = wrap(&vault, &make(&vault, "backup"));
    drop(vault);
    killed("protect", &path, &[60, 61, 63, 66, 70, 75, 81, 88, 96, 105, 115, 126, 138, 151, 165], || {
        let vault = EmbeddedVault::open(settings(&path, &Answer::of("one"))).expect("opens");
        unwraps(&vault, &wrapped);
    });
}

#[test]
fn a_process_killed_while_it_rotates_loses_nothing() {
    let (_folder, path) = folder();
    let vault = plain(&path);
    let wrapped = wrap(&vault, &make(&vault, "backup"));
    drop(vault);
    killed("rotate for ever", &path, &[200, 330, 470, 610, 750], || {
        let vault = open(&path).expect("opens");
        unwraps(&vault, &wrapped);
        let versions = vault.versions(&name("backup"), &cx()).expect("lists");
        let numbers: Vec<u32> = versions.iter().map(|(number, _)| number.get()).collect();
        assert!(numbers.iter().copied().eq(1..=numbers.len() as u32), "{numbers:?}");
    });
}

#[test]
fn a_process_killed_while_it_creates_leaves_a_vault_or_none() {
    let (_folder, path) = folder();
    killed("create for ever", &path, &[40, 43, 47, 52, 58, 65, 73, 82, 92, 103], || {
        let (vault, _) =
            EmbeddedVault::open_or_create(settings(&path, &Answer::nothing()), Protection::KeyFile).expect("a vault");
        drop(vault);
    });
}

#[test]
fn a_process_killed_while_it_changes_keys_leaves_the_state_before_or_after() {
    let (_folder, path) = folder();
    let soft_delete = SoftDelete { retention: Retention::default(), purge_protection: false };
    let vault = EmbeddedVault::create_with(settings(&path, &Answer::nothing()), Protection::KeyFile, soft_delete);
    let vault = vault.expect("a vault");
    let wrapped = wrap(&vault, &import(&vault, "backup"));
    drop(vault);
    killed("change for ever", &path, &[60, 64, 69, 75, 82, 90, 99, 109, 120, 132, 145, 159], || {
        // Opening checks every record.
        let vault = open(&path).expect("opens");
        let (key, other) = (name("backup"), name("other"));
        if vault.details(&key, &cx()).expect("is there").deletion.is_some() {
            vault.recover(&key, &cx()).expect("recovers");
        }
        vault.update(&key, None, &KeyChanges::enable(), &cx()).expect("enables");
        unwraps(&vault, &wrapped);
        if let Ok(details) = vault.details(&other, &cx()) {
            if details.deletion.is_none() {
                vault.delete(&other, &cx()).expect("deletes");
            }
            vault.purge(&other, &cx()).expect("purges");
        }
    });
}

#[test]
fn three_hundred_rotations_by_killed_processes_lose_none() {
    rotations_under_kills(300, 4);
}

#[test]
#[ignore = "takes minutes"]
fn ten_thousand_rotations_by_killed_processes_lose_none() {
    rotations_under_kills(10_000, 8);
}

/// Rotates until there are `rotations` versions that were acknowledged, with a kill of one of the processes every 50 to 200 ms.
fn rotations_under_kills(rotations: usize, processes: usize) {
    let (_folder, path) = folder();
    import(&plain(&path), "backup");
    let start = Instant::now();
    let mut children: Vec<Child> = (0..processes).map(|_| spawn("rotate synthetically for ever", &path)).collect();
    let mut kills = 0;
    let acknowledged = loop {
        // 50 to 200 ms, in an order that is no rhythm.
        std::thread::sleep(Duration::from_millis(50 + (kills * 67) % 151));
        let victim = usize::try_from(kills * 5).expect("small") % processes;
        children[victim].kill().expect("kills");
        children[victim].wait().expect("ends");
        kills += 1;
        let log = std::fs::read_to_string(log_of(&path)).unwrap_or_default();
        if log.lines().count() >= rotations {
            break log;
        }
        assert!(start.elapsed() < Duration::from_secs(3600), "{} after an hour", log.lines().count());
        children[victim] = spawn("rotate synthetically for ever", &path);
    };
    for mut child in children {
        child.kill().expect("kills");
        child.wait().expect("ends");
    }
    // Opening checks every record, so a torn one would be found here.
    let vault = open(&path).expect("nothing is torn");
    let versions = vault.versions(&name("backup"), &cx()).expect("lists");
    assert!(versions.iter().map(|(number, _)| number.get() as usize).eq(1..=versions.len()), "a gap");
    let there: std::collections::HashSet<String> =
        versions.iter().map(|(_, version)| format!("{} {}", version.id, version.thumbprint)).collect();
    let lost = acknowledged.lines().filter(|line| !there.contains(*line)).count();
    println!(
        "{} rotations by {processes} processes, {kills} kills, {:.0} s: lost {lost}, torn 0",
        versions.len() - 1,
        start.elapsed().as_secs_f64()
    );
    assert_eq!(lost, 0);
}

fn log_of(path: &Path) -> PathBuf {
    files::beside(path, ".acknowledged")
}
