//! What a person sees: help, a terminal, passphrase prompts, shells, manual pages, settings.

use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::world::{Ran, World, disk};

#[test]
fn the_help_is_one_page_in_groups() {
    let world = World::fresh();
    let long = world.sobre("--help");
    long.code(0);
    assert!(
        long.out.starts_with("sobre - sealed disk snapshots whose keys you can still find in ten years\n"),
        "{}",
        long.out
    );
    for text in [
        "\nSnapshots:\n",
        "\nKeys:\n",
        "\nOperations:\n",
        "\nStart:\n",
        "sobre vault backup keys.backup",
        "help exit-codes",
    ] {
        long.prints(text);
    }
    assert!(!long.out.contains("Possible values") && !long.out.contains("alias"), "{}", long.out);
    assert!(long.out.lines().count() <= 50, "{} lines", long.out.lines().count());
    assert_eq!(world.sobre("-h").out, long.out);
    assert_eq!(world.sobre("help").out, long.out);
    let none = world.sobre("");
    none.code(2);
    assert_eq!(none.err, long.out, "no command: the page, as an error");
    for command in ["seal", "open", "verify", "inspect", "rewrap", "key", "vault", "config", "completions", "man"] {
        long.prints(&format!("\n  {command} "));
        let help = world.sobre(&format!("{command} --help"));
        help.code(0).prints("Usage: sobre");
        assert!(!help.out.contains("Possible values:"), "{}", help.out);
        assert_eq!(world.sobre(&format!("help {command}")).out, help.out);
    }
    world.sobre("key rotate --help").code(0).prints("Neither protects data");
}

#[test]
fn words_of_other_tools_are_understood() {
    let world = World::single();
    world.write("src", "data");
    world.sobre("encrypt src n").code(0);
    world.sobre("decrypt n out").code(0);
    world.sobre("restore n out --force").code(0);
    world.sobre("check n").code(0);
    world.sobre("info n").code(0);
    world.sobre("backup src n2").code(2);
}

#[test]
fn shells_and_manual_pages() {
    let world = World::fresh();
    for (shell, text) in [("bash", "complete -F"), ("zsh", "#compdef sobre"), ("fish", "complete -c sobre")] {
        let ran = world.sobre(&format!("completions {shell}"));
        ran.code(0).prints(text).prints("rewrap").prints("passphrase-file");
    }
    world.sobre("man pages/of/sobre").code(0);
    for page in ["sobre.1", "sobre-seal.1", "sobre-open.1", "sobre-key-rotate.1", "sobre-vault-backup.1"] {
        let text = String::from_utf8(world.read(format!("pages/of/sobre/{page}"))).expect("text");
        assert!(text.contains(".TH") && text.contains("SYNOPSIS"), "{page}");
    }
    world.write("file", "");
    world.sobre("man file").code(1).warns("file");
    world.sobre("--version").code(0).prints(concat!("sobre ", env!("CARGO_PKG_VERSION"), "\n"));
    assert!(!world.home().exists());
}

#[test]
fn settings_come_from_flags_then_the_environment_then_xdg() {
    let world = World::single();
    fs::rename(world.home(), world.path("moved")).expect("moves");
    let show = |change: &dyn Fn(&mut Command)| {
        let mut command = world.command(["config", "show"]);
        command.env_remove("SOBRE_HOME");
        change(&mut command);
        let ran = Ran::of(&mut command);
        ran.code(0);
        ran
    };
    let flag = show(&|c| {
        c.args(["--home", "moved"]).env("SOBRE_HOME", "other");
    });
    flag.prints("moved/config.toml  [option]").prints("vaults/platform.db").prints("key           platform/default");
    let variable = show(&|c| {
        c.env("SOBRE_HOME", world.path("moved"));
    });
    variable.prints("moved/config.toml  [$SOBRE_HOME]");
    let default = show(&|_| ());
    default.prints("user/.config/sobre/config.toml (does not exist yet)  [XDG").prints("user/.local/share/sobre  [XDG");
    let xdg = show(&|c| {
        c.env("XDG_CONFIG_HOME", world.path("xc")).env("XDG_DATA_HOME", world.path("xd"));
    });
    xdg.prints("xc/sobre/config.toml").prints("xd/sobre");
    // Empty and relative ones count for nothing.
    let relative = show(&|c| {
        c.env("XDG_CONFIG_HOME", "xc").env("XDG_DATA_HOME", "").env("SOBRE_HOME", "");
    });
    assert_eq!(relative.out, default.out);
    let config = show(&|c| {
        c.args(["--config", "moved/config.toml", "--deadline", "500ms"]);
    });
    config.prints("moved/config.toml  [option]").prints("(missing)").prints("deadline      500 ms");
    let mut nowhere = world.command(["config", "show"]);
    let ran = Ran::of(nowhere.env_remove("SOBRE_HOME").env_remove("HOME"));
    assert!(matches!(ran.code, Some(0 | 1)), "{ran:?}");
    world.sobre("config show --config missing.toml").code(10).warns("missing.toml does not exist");
}

#[test]
fn a_home_in_the_xdg_folders_works_from_end_to_end() {
    let world = World::fresh();
    world.write("src", "data");
    let sobre = |words: &str| {
        let mut command = world.command(words.split_whitespace());
        command.env_remove("SOBRE_HOME").env("XDG_DATA_HOME", world.path("xd"));
        Ran::of(&mut command)
    };
    sobre("seal src n").code(0);
    assert!(world.has("user/.config/sobre/config.toml") && world.has("xd/sobre/vaults/platform.db"));
    sobre("open n out").code(0);
    assert_eq!(world.read("out"), b"data");
}

/// Runs a command line under a terminal of its own; answers each prompt. Returns what the terminal showed.
fn on_a_terminal(world: &World, line: &str, answers: &[(&str, &str)]) -> (i32, String) {
    let line = format!("{} {line}; echo \"[code $?]\"", env!("CARGO_BIN_EXE_sobre"));
    let mut script = Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).current_dir(world.path("")).env("SOBRE_HOME", world.home());
    script.env("TERM", "xterm").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = script.spawn().expect("script(1) runs");
    let (mut keys, mut screen) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
    let (mut shown, mut seen, mut next) = (String::new(), 0, answers.iter());
    let mut prompt = next.next();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = screen.read(&mut buffer) {
        shown.push_str(&String::from_utf8_lossy(&buffer[..count]));
        if let Some((text, answer)) = prompt
            && let Some(at) = shown.get(seen..).and_then(|new| new.find(text))
        {
            seen += at + text.len();
            // The echo is switched off right after the prompt.
            std::thread::sleep(Duration::from_millis(150));
            keys.write_all(answer.as_bytes()).expect("types");
            prompt = next.next();
        }
    }
    child.wait().expect("ends");
    let code = shown.rsplit("[code ").next().and_then(|rest| rest.split(']').next()).and_then(|code| code.parse().ok());
    (code.unwrap_or_else(|| panic!("no code: {shown:?}")), shown)
}

#[test]
#[ignore = "needs script (util-linux); run by tests/run.sh"]
fn a_terminal_shows_a_bar_with_rate_and_time_left() {
    let world = World::single();
    let file = fs::File::create(world.path("big")).expect("creates");
    for _ in 0..160 {
        (&file).write_all(&[0x5a; 1 << 20]).expect("writes");
    }
    let (code, shown) = on_a_terminal(&world, "seal big big.sobre --workers 1", &[]);
    assert_eq!(code, 0, "{shown}");
    assert!(shown.contains("sealing") && shown.contains("MiB/s") && shown.contains("left"), "{shown}");
    let (_, quiet) = on_a_terminal(&world, "verify big.sobre -q", &[]);
    assert!(!quiet.contains("verifying"), "{quiet}");
}

#[test]
#[ignore = "needs script (util-linux); run by tests/run.sh"]
fn a_terminal_is_asked_for_the_name_of_a_key_before_it_is_deleted() {
    let world = World::double();
    let prompt = "type its name: ";
    let (code, shown) = on_a_terminal(&world, "key delete customer/default --accept-loss", &[(prompt, "y\n")]);
    assert_eq!(code, 2, "{shown}");
    assert!(shown.contains("stays as it is") && shown.contains("for 90 days at least"), "{shown}");
    world.sobre("open s.sobre out").code(0);
    let (code, shown) = on_a_terminal(&world, "key delete customer/default --accept-loss", &[(prompt, "default\n")]);
    assert_eq!(code, 0, "{shown}");
    world.sobre("open s.sobre out2").code(14);
}

#[test]
#[ignore = "needs script (util-linux); run by tests/run.sh"]
fn a_terminal_gets_no_binary_data() {
    let world = World::single();
    for line in [format!("seal {} -", disk().display()), "open s.sobre -".to_owned()] {
        let (code, shown) = on_a_terminal(&world, &line, &[]);
        assert_eq!(code, 2);
        assert!(shown.contains("standard output is a terminal") && shown.len() < 400, "{shown}");
    }
}

#[test]
#[ignore = "needs script (util-linux); run by tests/run.sh"]
fn a_new_passphrase_is_asked_for_twice_and_never_shown() {
    let world = World::single();
    let (code, shown) =
        on_a_terminal(&world, "vault backup b", &[("for the backup: ", "s3cret\n"), ("again: ", "s3cret\n")]);
    assert_eq!(code, 0, "{shown}");
    assert!(!shown.contains("s3cret"), "{shown}");
    let (code, shown) =
        on_a_terminal(&world, "vault backup c", &[("for the backup: ", "s3cret\n"), ("again: ", "s3cert\n")]);
    assert!(code == 12 && shown.contains("differ"), "{shown}");
    let (code, shown) = on_a_terminal(&world, "vault backup c", &[("for the backup: ", "\n")]);
    assert!(code == 12 && shown.contains("empty") && !world.has("c"), "{shown}");
    let (code, shown) = on_a_terminal(&world, "vault backup b", &[]);
    assert!(code == 1 && shown.contains("exists already") && !shown.contains("passphrase"), "{shown}");
    fs::remove_dir_all(world.home()).expect("removes");
    let (code, shown) = on_a_terminal(&world, "vault restore b", &[("of the backup: ", "s3cret\n")]);
    assert!(code == 0 && !shown.contains("s3cret"), "{shown}");
    world.sobre("verify s.sobre").code(0);
}

#[test]
fn saying_more_names_home_vaults_and_instructions() {
    let world = World::single();
    for words in ["open s.sobre out -v", "verify s.sobre -v", "open s.sobre - -v"] {
        world.sobre(words).code(0).warns("config.toml").warns("vaults platform").warns("portable (best first)");
    }
}
