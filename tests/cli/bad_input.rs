//! Sources, targets, options and names that make trouble.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use super::world::{Ran, World, assert_disk, disk, key_file, private_key};

#[test]
fn what_can_not_be_sealed_is_named() {
    let world = World::single();
    rustix::fs::mkfifoat(rustix::fs::CWD, world.path("pipe"), rustix::fs::Mode::RUSR).expect("makes");
    fs::create_dir(world.path("folder")).expect("makes");
    symlink("loop", world.path("loop")).expect("links");
    world.write("src", "data");
    fs::hard_link(world.path("src"), world.path("same")).expect("links");
    for (words, code, says) in [
        ("seal pipe n", 1, "pipe: it is a named pipe"),
        ("seal folder n", 1, "folder: it is a folder"),
        ("seal /dev/zero n", 1, "/dev/zero"),
        ("seal loop n", 1, "loop"),
        ("seal missing n", 10, "missing"),
        ("seal src src", 1, "src"),
        ("seal src same --force", 1, "same file"),
        ("seal src folder", 1, "folder"),
        ("seal src /dev/full", 1, "/dev/full"),
        ("seal src no/such/n", 10, "no/such/n"),
        ("open folder n", 1, "folder"),
        ("open pipe n", 1, "pipe"),
        ("verify folder", 1, "folder"),
        ("verify pipe", 1, "pipe"),
        ("inspect pipe", 1, "pipe"),
        ("rewrap pipe --repair", 1, "pipe"),
        ("open s.sobre s.sobre --force", 1, "same file"),
    ] {
        world.sobre(words).code(code).warns(says);
        assert!(!world.has("n") && !world.has("n.partial"), "{words}");
    }
    assert_eq!(world.read("src"), b"data");
    world.sobre("verify s.sobre").code(0);
}

#[test]
fn nothing_takes_the_place_of_a_special_file() {
    use std::os::unix::fs::FileTypeExt;
    let world = World::single();
    rustix::fs::mkfifoat(rustix::fs::CWD, world.path("pipe"), rustix::fs::Mode::RUSR).expect("makes");
    for words in [
        "open s.sobre pipe --force".to_owned(),
        "open s.sobre pipe".to_owned(),
        "seal s.sobre pipe --force".to_owned(),
        format!("vault backup pipe --to {} --force", super::world::public_key()),
        format!("key backup platform/default pipe --to {} --force", super::world::public_key()),
    ] {
        world.sobre(&words).code(1).warns("pipe").silent_on("--force");
        assert!(fs::symlink_metadata(world.path("pipe")).expect("is there").file_type().is_fifo(), "{words}");
        assert!(!world.has("pipe.partial"), "{words}");
    }
}

#[test]
fn options_that_make_no_sense_are_usage_errors() {
    let world = World::single();
    world.write("src", [1; 1001]);
    for words in [
        "seal src n --sector-size 1000",
        "seal src n --sector-size 0",
        "seal src n --chunk-size 100K",
        "seal src n --chunk-size 2M",
        "seal src n --chunk-size 99999999999999999999",
        "seal src n --chunk-size -1",
        "seal src n --workers 0",
        "seal src n --workers 99999",
        "seal src n --deadline 0",
        "seal src n --deadline 5y",
        "seal src n --label novalue",
        "seal src n --label =v",
        "seal src n --label a=1 --label a=2",
        "seal src n --integrity crc32",
        "seal src n --double --integrity gmac",
        "seal src n --platform-key x",
        "seal src n --verify-source",
        "seal - n --resume",
        "seal src n --manifest n",
        "seal src n --report -",
        "open s.sobre n --range 5",
        "open s.sobre n --range -1:5",
        "open s.sobre n --range 1:-5",
        "open s.sobre n --range 0x10:5",
        "open s.sobre n --range 4194304:1",
        "open s.sobre n --range 18446744073709551615:2",
        "verify s.sobre --root 00",
        "verify s.sobre --keyless --root 00",
        "verify s.sobre s.sobre --keyless --root 0000000000000000000000000000000000000000000000000000000000000000",
        "verify s.sobre --keyless --key x",
        "rewrap s.sobre --to a --add b",
        "rewrap s.sobre --layer middle --repair",
        "key create a/b",
        "key create x --size 1024",
        "key show default@0",
        "key show jkt:ab",
        "key rotate default@1",
        "completions tcsh",
    ] {
        let ran = world.sobre(words);
        ran.code(2);
        assert_ne!(ran.err, "", "{words}");
        assert!(!world.has("n") && !world.has("n.partial"), "{words}");
    }
}

#[test]
fn keys_of_vaults_that_this_build_has_not_are_refused_with_the_reason() {
    let world = World::single();
    world.write("src", "data");
    for key in ["https://v.vault.azure.net/keys/k", "pkcs11:token=t;object=o", "awskms:x", "http://x"] {
        let ran = world.run(["seal", "src", "n", "--key", key]);
        ran.code(2).warns(key).warns("this build has no vault for").warns("file:PATH.pem");
        world.run(["open", "s.sobre", "n", "--key", key]).code(2);
        world.run(["rewrap", "s.sobre", "--to", key]).code(2);
    }
    for (name, says) in
        [("test-ec-p256.spki.pem", "test-ec"), ("test-truncated-body.pem", "test-truncated"), ("none.pem", "none.pem")]
    {
        let ran = world.run(["seal", "src", "n", "--key", &key_file(name)]);
        assert!(matches!(ran.code, Some(1 | 10)), "{ran:#?}");
        ran.warns(says);
    }
}

#[test]
fn a_key_name_must_mean_one_key() {
    let world = World::double();
    world.write("src", "data");
    let ran = world.sobre("seal src n --key default");
    ran.code(2).warns("customer/default@1, platform/default@1").warns("VAULT/NAME@N");
    world.sobre("seal src n --key default --vault customer").code(0);
    let missing = world.sobre("seal src m --key nope");
    missing.code(10).warns("vaults customer, platform").warns(&world.home().display().to_string()).warns("root");
    world.sobre("seal src m --key nope/default").code(10).warns("configured: customer, platform");
    world.sobre("key show customer/default@9").code(10);
    world.sobre("vault create second").code(0);
    world.sobre("key create x --size 2048").code(2).warns("several vaults: customer, second").warns("--vault NAME");
    world.sobre("key create x --size 2048 --vault platform").code(1).warns("platform's");
    world.sobre("vault create second").code(1).warns("configured already");
    world.sobre("vault create a/b").code(2);
}

#[test]
fn double_encryption_in_a_home_with_one_vault_says_what_is_missing() {
    let world = World::single();
    world.write("src", "data");
    world.sobre("seal --double src n").code(2).warns("customer_key").warns("vault create").warns("key create");
    world.sobre("vault create customer").code(0);
    world.sobre("key create default --size 2048").code(0);
    world.sobre("seal --double src n --key customer/default").code(0);
    world.sobre("open n out").code(0);
}

#[test]
fn an_abandoned_partial_is_discarded_with_a_message() {
    let world = World::single();
    world.write("src", "data");
    world.write("n.partial", [9; 5000]);
    world.sobre("seal src n -q").code(0).warns("discarded n.partial");
    world.write("out.partial", [9; 5000]);
    world.sobre("open n out -q").code(0).warns("discarded out.partial");
    assert_eq!(world.read("out"), b"data");
}

#[test]
fn a_live_partial_is_not_touched() {
    let world = World::single();
    world.write("src", "data");
    let path = world.write("n.partial", "someone else's");
    let held = fs::File::open(&path).expect("opens");
    held.lock().expect("locks");
    for words in ["seal src n", "seal src n --force", "seal src n --resume", "open s.sobre n"] {
        world.sobre(words).code(11).warns("n.partial");
    }
    assert_eq!(fs::read(path).expect("reads"), b"someone else's");
}

#[test]
fn a_full_target_fails_and_names_it() {
    let world = World::single();
    let full = || fs::File::options().write(true).open("/dev/full").expect("opens");
    let disk = disk();
    let ran = Ran::of(world.command(["seal".as_ref(), disk.as_os_str(), "-".as_ref()]).stdout(full()));
    ran.code(1).warns("standard output").warns("No space left");
    let ran = Ran::of(world.command(["open", "s.sobre", "-"]).stdout(full()));
    ran.code(1).warns("standard output").warns("No space left");
}

#[test]
fn pipes_of_unknown_length_work_both_ways() {
    let world = World::single();
    let disk = fs::read(disk()).expect("reads");
    world.sobre_with("seal - p.sobre --manifest p.man", &disk).code(0).prints("standard input");
    world.sobre("open p.sobre out").code(0);
    assert_disk(&world, "out");
    let snapshot = world.read("p.sobre");
    world.sobre_with("open - piped --manifest p.man", &snapshot).code(0);
    assert_disk(&world, "piped");
    world.sobre_with("open - none", &snapshot).code(2).warns("manifest");
    world.sobre_with("open - none --manifest s.sobre", &snapshot).code(13);
    world.sobre_with("open - none --manifest missing", &snapshot).code(10).warns("missing");
    world.sobre_with("open - none --manifest p.man", &snapshot[..snapshot.len() / 2]).code(13);
    let foreign = world.read("s.sobre");
    world.sobre_with("open - none --manifest p.man", &foreign).code(13);
    assert!(!world.has("none"));
    let through = world.sobre_with("seal - -", &disk);
    through.code(0).warns("sealed standard input to standard output");
    world.write("t.sobre", &through.stdout);
    world.sobre("open t.sobre t.out").code(0);
    assert_disk(&world, "t.out");
    world.sobre_with("seal - empty.sobre", b"").code(0);
    world.sobre("open empty.sobre empty").code(0);
    assert_eq!(world.read("empty"), b"");
}

#[test]
fn sources_of_every_small_length() {
    let world = World::single();
    for len in [0, 1, 15, 16, 511, 512, 513, 1001, 65_537] {
        let bytes: Vec<u8> = (0..len).map(|n: u32| (n % 251) as u8 + 1).collect();
        world.write("src", &bytes);
        world.sobre(&format!("seal src {len}.sobre --chunk-size 64K")).code(0);
        world.sobre(&format!("open {len}.sobre out --force")).code(0);
        assert!(world.read("out") == bytes, "{len}");
        let wide = world.sobre(&format!("seal src wide{len}.sobre --sector-size 4096"));
        if len.is_multiple_of(4096) {
            wide.code(0)
        } else {
            wide.code(1).warns("no multiple of 4096")
        };
    }
}

#[test]
fn ranges_up_to_the_edges() {
    let world = World::single();
    let disk = fs::read(disk()).expect("reads");
    for (range, from, len) in [
        ("0:0", 0, 0),
        ("0:1", 0, 1),
        ("4194303:1", 4_194_303, 1),
        ("4194304:0", 4_194_304, 0),
        ("1M:512", 1 << 20, 512),
        ("262143:2", 262_143, 2),
        ("0:4M", 0, 4 << 20),
    ] {
        let ran = world.sobre(&format!("open s.sobre - --range {range}"));
        ran.code(0);
        assert!(ran.stdout == disk[from..from + len], "{range}");
    }
}

#[test]
fn what_a_snapshot_says_can_not_command_the_terminal() {
    let world = World::single();
    world.write("src", "data");
    let sealed = world.run(["seal", "src", "evil.sobre", "--label", "x=\x1b[31mred\n\u{202e}lia"]);
    sealed.code(0);
    let shown = world.sobre("inspect evil.sobre");
    shown.code(0).prints("x=\\u{1b}[31mred\\u{a}\\u{202e}lia");
    assert!(!shown.out.contains('\x1b'));
    let object = world.sobre("inspect --json evil.sobre");
    assert_eq!(object.json()["snapshots"][0]["labels"]["x"], "\x1b[31mred\n\u{202e}lia");
    assert!(!object.out.contains('\x1b'), "JSON escapes it by itself");
    // A key file's path becomes a locator.
    let pem = fs::read(private_key().trim_start_matches("file:")).expect("reads");
    world.write("\x1b[2Jkey.pem", pem);
    world.run(["seal", "src", "locator.sobre", "--key", "file:\x1b[2Jkey.pem"]).code(0);
    for words in ["inspect locator.sobre", "open locator.sobre out", "verify locator.sobre"] {
        let ran = world.sobre(words);
        assert!(!ran.out.contains('\x1b') && !ran.err.contains('\x1b'), "{ran:#?}");
    }
}

#[test]
fn names_with_escapes_or_without_utf_8_are_only_names() {
    let world = World::single();
    for name in ["no\nsuch\x1b[31m", "\u{202e}gpj.exe", "-dash", "a b'\"$(x)"] {
        let path = format!("./{name}");
        let ran = world.run(["verify", &path]);
        ran.code(10);
        assert!(!ran.err.contains('\x1b') && ran.err.trim_end().lines().count() == 1, "{ran:#?}");
        fs::write(world.path(name), "data").expect("writes");
        let sealed = format!("./{name}.sobre");
        let ran = world.run(["seal", &path, &sealed]);
        ran.code(0);
        assert!(!ran.out.contains('\x1b'), "{ran:#?}");
        world.run(["open", &sealed, "out", "--force"]).code(0);
        assert_eq!(world.read("out"), b"data");
    }
    let odd = OsStr::from_bytes(b"caf\xe9");
    fs::write(world.path(odd), "data").expect("writes");
    world.run(["seal".as_ref(), odd, OsStr::from_bytes(b"caf\xe9.sobre")]).code(0);
    world.run(["open".as_ref(), OsStr::from_bytes(b"caf\xe9.sobre"), OsStr::from_bytes(b"\xff")]).code(0);
    assert_eq!(world.read(OsStr::from_bytes(b"\xff")), b"data");
    let json = world.run(["--json".as_ref(), "verify".as_ref(), OsStr::from_bytes(b"caf\xe9.sobre")]);
    json.code(0).json();
}

#[test]
fn hostile_snapshots_never_panic_or_leave_an_output() {
    let world = World::single();
    let whole = world.read("s.sobre");
    let cut = |len: usize| whole[..len].to_vec();
    let mut files: Vec<Vec<u8>> = [0, 1, 7, 8, 100, 4095, 4096, 8192, whole.len() - 1].into_iter().map(cut).collect();
    files.push([whole.as_slice(), b"x"].concat());
    files.push([whole.as_slice(), whole.as_slice()].concat());
    files.push(vec![0xff; 20_000]);
    for (n, file) in files.into_iter().enumerate() {
        world.write("h.sobre", file);
        for words in ["open h.sobre out", "verify h.sobre", "verify --keyless h.sobre"] {
            let ran = world.sobre(words);
            assert!(matches!(ran.code, Some(1 | 13)) && !ran.err.contains("panicked"), "{n}: {words}: {ran:#?}");
            ran.warns("h.sobre");
        }
        assert!(!world.has("out") && !world.has("out.partial"), "{n}");
    }
}

#[test]
fn a_manifest_saves_what_is_left_of_a_snapshot_without_its_end() {
    let world = World::single();
    world.write("disk", fs::read(disk()).expect("reads"));
    world.sobre("seal --chunk-size 64K --no-sparse --manifest m disk t.sobre").code(0);
    let mut bytes = world.read("t.sobre");
    bytes.truncate(bytes.len() - 300_000);
    world.write("t.sobre", bytes);
    world.sobre("open t.sobre out").code(13).warns("cut off");
    let ran = world.sobre("open --manifest m t.sobre -");
    ran.code(13).warns("cut off").warns("only the first");
    world.sobre("open --manifest m t.sobre out").code(13).warns("cut off");
    assert!(!world.path("out").exists() && !world.path("out.partial").exists());
}
