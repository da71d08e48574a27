//! The command line: words in, calls on the library, words and exit codes out. It sees only the public API.

mod args;
mod commands;
mod exit;
mod passphrase;
mod progress;
mod report;
mod secrets;
mod signals;
mod stdin;
mod units;

use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command};
use exit::Failure;
use report::Output;

/// Runs the command of this process.
pub(crate) fn run() -> ExitCode {
    secrets::forbid_core_dumps();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return report::usage(&error),
    };
    let output = match Output::new(&arguments) {
        Ok(output) => output,
        Err(failure) => return failure.show_plain(),
    };
    match dispatch(&arguments, &output) {
        Ok(code) => code,
        Err(failure) => output.fail(&failure),
    }
}

fn dispatch(arguments: &Arguments, output: &Output) -> Result<ExitCode, Failure> {
    let global = &arguments.global;
    match &arguments.command {
        Command::Seal(args) => commands::seal::run(args, global, output),
        Command::Open(args) => commands::open::run(args, global, output),
        Command::Verify(args) => commands::verify::run(args, global, output),
        Command::Inspect(args) => commands::inspect::run(args, output),
        Command::Rewrap(args) => commands::rewrap::run(args, global, output),
        Command::Preflight(args) => commands::preflight::run(args, global, output),
        Command::Key(args) => commands::key::run(args, global, output),
        Command::Set(args) => commands::set::run(args, global, output),
        Command::Vault(args) => commands::vault::run(args, global, output),
        Command::Catalog(args) => commands::catalog::run(args, global, output),
        Command::Audit(args) => commands::audit::run(args, global, output),
        Command::Bench(args) => commands::bench::run(args, output),
        Command::Config(args) => commands::config::run(args, global, output),
        Command::Completions(args) => commands::generate::completions(args),
        Command::Man(args) => commands::generate::man(args, output),
        Command::ExitCodes => commands::generate::exit_codes(),
    }
}
