//! The PKCS#11 provider on real tokens: SoftHSM 2.6.1 and NSS softokn, and on SoftHSM behind a shim that fails on demand.
//!
//! Modules read their configuration from the environment, once in a process. So this program has no test framework: it makes fresh
//! tokens, starts itself once for each kind of module with the environment that the module needs, and adds up what they say.

#[path = "pkcs11/faults.rs"]
mod faults;
#[path = "pkcs11/nss.rs"]
mod nss;
#[path = "pkcs11/softhsm.rs"]
mod softhsm;
#[path = "pkcs11/tokens.rs"]
mod tokens;

use std::panic::catch_unwind;
use std::process::{Command, ExitCode};
use std::time::Instant;

/// The tests of one kind of module, by name.
type Tests = &'static [(&'static str, fn())];

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    // Nothing here is ignored, and nothing is a benchmark.
    if arguments.iter().any(|argument| argument == "--ignored") {
        println!("running 0 tests\ntest result: ok. 0 passed; 0 failed");
        return ExitCode::SUCCESS;
    }
    let filters: Vec<_> = arguments.into_iter().filter(|argument| !argument.starts_with('-')).collect();
    match std::env::var(KIND).as_deref() {
        Ok("attempt") => faults::attempt(),
        Ok("faults") => run(faults::TESTS, &filters),
        Ok("nss") => run(nss::TESTS, &filters),
        Ok("softhsm") => run(softhsm::TESTS, &filters),
        Ok(other) => panic!("no kind of module: {other}"),
        Err(_) => start_all(&filters),
    }
}

fn start_all(filters: &[String]) -> ExitCode {
    let program = std::env::current_exe().expect("this program");
    let mut failed = false;
    for kind in ["softhsm", "nss", "faults"] {
        let world = tokens::World::make(kind);
        let mut command = Command::new(&program);
        command.args(filters).env(KIND, kind).envs(world.environment());
        // Panics of failed tests speak for themselves.
        command.env("RUST_BACKTRACE", "0");
        let status = command.status().expect("starts");
        if !status.success() {
            println!("{kind}: {status}");
            failed = true;
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn run(tests: Tests, filters: &[String]) -> ExitCode {
    let wanted = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()));
    let (mut passed, mut failed) = (0, 0);
    for (name, test) in tests.iter().filter(|(name, _)| wanted(name)) {
        let began = Instant::now();
        let outcome = catch_unwind(test);
        let word = if outcome.is_ok() { "ok" } else { "FAILED" };
        println!("test {name} ... {word} ({:.2} s)", began.elapsed().as_secs_f64());
        if outcome.is_ok() { passed += 1 } else { failed += 1 }
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("test result: {word}. {passed} passed; {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Lists functions as tests under their own names.
macro_rules! tests {
    ($($name:ident),+ $(,)?) => {
        pub(crate) const TESTS: crate::Tests = &[$((stringify!($name), $name)),+];
    };
}
pub(crate) use tests;

pub(crate) const KIND: &str = "SOBRE_PKCS11_KIND";
