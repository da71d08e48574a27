//! What programs read: one object, also for failures.

use super::world::{Ran, World, assert_disk, disk, public_key};

#[test]
fn every_command_answers_with_one_object() {
    let world = World::double();
    world.write("pass", "words");
    let disk = disk().to_str().expect("text").to_owned();
    let seal = format!("seal {disk} n.sobre");
    let back = format!("vault backup k --to {}", public_key());
    for (name, words) in [
        ("seal", seal.as_str()),
        ("open", "open n.sobre out"),
        ("verify", "verify n.sobre d.sobre"),
        ("verify", "verify --keyless n.sobre"),
        ("inspect", "inspect n.sobre d.sobre"),
        ("rewrap", "rewrap n.sobre --repair"),
        ("rewrap", "rewrap n.sobre --to customer/default"),
        ("preflight", "preflight n.sobre d.sobre --challenge"),
        ("preflight", "preflight --all"),
        ("key", "key create more --size 2048"),
        ("key", "key impact more"),
        ("key", "key list"),
        ("key", "key show more"),
        ("key", "key show more --public pem"),
        ("key", "key show more --public jwk"),
        ("key", "key rotate more"),
        ("key", "key disable more@1 --accept-loss"),
        ("key", "key enable more@1"),
        ("key", "key update more --expires 2031-12-24 --delete-lock off"),
        ("key", "key policy more --rotate-every P1Y"),
        ("key", "key policy more"),
        ("key", "key backup more one.key --passphrase-file pass"),
        ("key", "key delete more --accept-loss --yes"),
        ("key", "key list --deleted"),
        ("key", "key recover more"),
        ("vault", "vault create extra"),
        ("vault", "vault list"),
        ("vault", back.as_str()),
        ("vault", "vault backup k2 --passphrase-file pass"),
        ("vault", "vault restore k2 --passphrase-file pass"),
        ("vault", "vault passphrase --vault extra --new-passphrase-file pass"),
        ("config", "config show"),
        ("man", "man pages"),
    ] {
        let ran = world.sobre(&format!("{words} --json"));
        ran.code(0);
        let object = ran.json();
        assert_eq!(object["command"], name, "{words}");
        assert!(object.get("error").is_none(), "{words}");
    }
}

#[test]
fn every_failure_is_an_object_with_kind_message_code_and_advice() {
    let world = World::single();
    world.write("taken", "");
    for (words, code, kind) in [
        ("open s.sobre taken", 1, "failed"),
        ("open s.sobre", 2, "usage"),
        ("frob", 2, "usage"),
        ("seal --sector-size x a b", 2, "usage"),
        ("open s.sobre out --range 99999999999:1", 2, "usage"),
        ("verify missing", 10, "not_found"),
        ("key show nope", 10, "not_found"),
        ("vault list --vault nope", 10, "not_found"),
        ("verify taken", 13, "damaged"),
        ("config show --config missing", 10, "not_found"),
    ] {
        let ran = world.sobre(&format!("--json {words}"));
        ran.code(code);
        let error = ran.json()["error"].clone();
        assert_eq!(error["exit_code"], code, "{words}");
        assert_eq!(error["kind"], kind, "{words}");
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{words}: {error}");
        assert!(error.get("advice").is_some(), "{words}: {error}");
    }
}

#[test]
fn json_never_mixes_with_data() {
    let world = World::single();
    world.write("src", "data");
    for words in ["seal src - --json", "open s.sobre - --json", "completions bash --json"] {
        let ran = world.sobre(words);
        ran.code(2).warns("--report FILE");
        assert_eq!(ran.out, "");
    }
    let ran = world.sobre("open s.sobre - --report r.json");
    ran.code(0).warns("every byte verified");
    assert!(ran.stdout == std::fs::read(disk()).expect("reads"), "only data");
    let report: serde_json::Value = serde_json::from_slice(&world.read("r.json")).expect("an object");
    assert_eq!((&report["schema"], &report["disk_bytes"]), (&1.into(), &4_194_304.into()));
}

#[test]
fn a_report_is_written_for_success_and_failure() {
    let world = World::single();
    let report = |words: &str, code| {
        world.sobre(&format!("{words} --report r.json")).code(code);
        let object: serde_json::Value = serde_json::from_slice(&world.read("r.json")).expect("an object");
        assert_eq!(object["schema"], 1);
        object
    };
    assert_eq!(report("verify s.sobre", 0)["snapshots"][0]["authentic"], true);
    assert_eq!(report("verify missing", 10)["error"]["exit_code"], 10);
    assert_eq!(report("verify missing s.sobre", 3)["snapshots"][0]["error"]["kind"], "not_found");
    assert_eq!(report("verify", 2)["error"]["kind"], "usage");
    world.sobre("verify s.sobre --report no/such/r.json").code(10).warns("no/such/r.json");
}

#[test]
fn progress_is_json_lines_on_standard_error() {
    let world = World::single();
    for words in ["open s.sobre out", "verify s.sobre", "seal out again.sobre"] {
        let ran = world.sobre(&format!("{words} --progress json --json"));
        ran.code(0).json();
        let lines: Vec<serde_json::Value> = ran
            .err
            .lines()
            .filter(|line| line.starts_with('{'))
            .map(|l| serde_json::from_str(l).expect("json"))
            .collect();
        let last = lines.last().expect("a line");
        assert_eq!((&last["schema"], &last["done"]), (&1.into(), &last["total"]), "{words}: {last}");
        assert_eq!(last["total"], 4_194_304, "{words}");
    }
    world.sobre("verify s.sobre --progress none").code(0).silent_on("{");
}

#[test]
fn quiet_prints_nothing_but_what_was_asked_for() {
    let world = World::double();
    let disk = disk().to_str().expect("text").to_owned();
    for words in [
        &format!("seal {disk} n.sobre"),
        "open n.sobre out",
        "verify n.sobre",
        "verify --keyless n.sobre",
        "rewrap n.sobre --to customer/default",
        "rewrap n.sobre --repair",
        "key create more --size 2048",
        "key rotate more",
        "vault create extra",
        "man pages",
        "key list",
        "vault list",
        "config show",
    ] {
        let ran = world.sobre(&format!("-q {words}"));
        ran.code(0);
        assert_eq!(ran.out, "", "{words}");
    }
    for words in ["key show more --public pem", "inspect n.sobre", "completions bash"] {
        assert_ne!(world.sobre(&format!("-q {words}")).code(0).out, "", "{words} was asked for");
    }
    assert_disk(&world, "out");
}

#[test]
fn a_full_standard_output_is_a_failure_and_a_closed_pipe_is_none() {
    let world = World::single();
    for words in [
        "key list",
        "verify s.sobre",
        "inspect s.sobre --json",
        "config show",
        "exit-codes",
        "--help",
        "completions zsh",
    ] {
        let full = std::fs::File::options().write(true).open("/dev/full").expect("opens");
        let ran = Ran::of(world.command(words.split_whitespace()).stdout(full));
        ran.code(1).warns("No space left");
    }
    // With nowhere to complain, the code still tells.
    let full = || std::fs::File::options().write(true).open("/dev/full").expect("opens");
    assert_eq!(Ran::of(world.command(["verify", "missing"]).stderr(full())).code, Some(10));
    assert_eq!(Ran::of(world.command(["frob"]).stderr(full())).code, Some(2));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    Ran::of(world.command(["key", "list"]).stdout(writer)).code(0);
}
