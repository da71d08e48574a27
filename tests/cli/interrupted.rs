//! Runs that are stopped on the way, and what becomes of them.

use std::fs;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::world::{Ran, World};

/// A source that takes a moment to seal: dense parts between holes.
fn big(world: &World) {
    let file = fs::File::create(world.path("big")).expect("creates");
    let mut block = vec![0; 1 << 20];
    for n in 0..96_u64 {
        for (at, byte) in block.iter_mut().enumerate() {
            *byte = (at as u64).wrapping_mul(n + 3).wrapping_shr(7) as u8 | 1;
        }
        file.write_all_at(&block, (n * 3) << 20).expect("writes");
    }
    file.set_len(300 << 20).expect("sets");
}

/// Stops a seal with a signal once a page of it is written, but not all. Pages are what can be resumed: 1020 chunks each.
fn stopped_by(world: &World, signal: Signal) -> Ran {
    let child = world.start(&mut world.command(["seal", "big", "big.sobre", "--chunk-size", "64K", "--workers", "1"]));
    let start = Instant::now();
    let partial = world.path("big.sobre.partial");
    while fs::metadata(&partial).map_or(0, |metadata| metadata.len()) < 30 << 20 {
        assert!(start.elapsed() < Duration::from_secs(30), "never wrote anything");
        std::thread::sleep(Duration::from_millis(2));
    }
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("fits")).expect("a process");
    kill_process(pid, signal).expect("is there");
    child.wait_with_output().expect("ends").into()
}

fn resumes_to_the_same(world: &World) {
    assert!(!world.has("big.sobre"));
    let resumed = world.sobre("seal big big.sobre --chunk-size 64K --resume --json");
    resumed.code(0);
    let object = resumed.json();
    assert!(object["resumed_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{object}");
    assert!(!world.has("big.sobre.partial"));
    world.sobre("open big.sobre big.out").code(0);
    assert!(world.read("big.out") == world.read("big"), "the resumed snapshot is another disk");
    world.sobre("verify big.sobre").code(0);
}

#[test]
fn sigint_is_130_and_resumes() {
    let world = World::single();
    big(&world);
    stopped_by(&world, Signal::INT).code(130).warns("stopped after").warns("--resume");
    resumes_to_the_same(&world);
}

#[test]
fn sigterm_is_143_and_resumes() {
    let world = World::single();
    big(&world);
    stopped_by(&world, Signal::TERM).code(143).warns("--resume");
    let before = world.read("big.sobre.partial").len();
    assert!(before > 0);
    resumes_to_the_same(&world);
}

#[test]
fn a_killed_run_resumes() {
    let world = World::single();
    big(&world);
    assert_eq!(stopped_by(&world, Signal::KILL).code, None);
    resumes_to_the_same(&world);
}

#[test]
fn without_resume_the_abandoned_part_is_discarded_and_that_is_said() {
    let world = World::single();
    big(&world);
    stopped_by(&world, Signal::KILL);
    world.sobre("seal big big.sobre -q").code(0).warns("discarded big.sobre.partial").warns("abandoned");
    world.sobre("verify big.sobre").code(0);
}

#[test]
fn another_source_or_other_options_do_not_resume() {
    let world = World::single();
    big(&world);
    stopped_by(&world, Signal::KILL);
    world.sobre("seal big big.sobre --chunk-size 64K --resume --integrity gmac").code(1).warns("another suite");
    world.sobre("seal big big.sobre --chunk-size 64K --resume --label a=b").code(1).warns("labels");
    let file = fs::File::options().write(true).open(world.path("big")).expect("opens");
    file.set_len(299 << 20).expect("sets");
    let changed = world.sobre("seal big big.sobre --chunk-size 64K --resume");
    changed.code(1).warns("big");
    assert!(world.has("big.sobre.partial") && !world.has("big.sobre"), "nothing is lost");
    world.sobre("seal missing.sobre new.sobre --resume").code(10);
    world.write("junk.sobre.partial", [5; 9000]);
    let forged = world.sobre("seal big junk.sobre --resume");
    assert!(matches!(forged.code, Some(1 | 13)), "{forged:#?}");
    assert_eq!(world.read("junk.sobre.partial"), [5; 9000]);
    world.sobre("seal big none.sobre --resume").code(1).warns("no partial file");
}

/// Somebody who forgot to pipe something in gets out with one Ctrl-C.
#[test]
fn one_signal_ends_a_seal_that_waits_for_its_input() {
    let world = World::single();
    let mut child = world.start(world.command(["seal", "-", "n.sobre"]).stdin(std::process::Stdio::piped()));
    let stdin = child.stdin.take();
    let start = Instant::now();
    while !world.has("n.sobre.partial") {
        assert!(start.elapsed() < Duration::from_secs(30), "never started");
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(100));
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("fits")).expect("a process");
    kill_process(pid, Signal::INT).expect("is there");
    let start = Instant::now();
    while child.try_wait().expect("waits").is_none() {
        if start.elapsed() > Duration::from_secs(5) {
            kill_process(pid, Signal::KILL).expect("is there");
            panic!("it still waits for input");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    drop(stdin);
    Ran::from(child.wait_with_output().expect("ends")).code(130);
    assert!(!world.has("n.sobre"));
}
