//! `sobre completions`, `sobre man`, `sobre exit-codes`

use std::io::Write;
use std::process::ExitCode;

use clap::CommandFactory;
use serde_json::json;
use sobre::Error;
use sobre::io::escaped_path;

use crate::cli::args::{Arguments, CompletionsArgs, ManArgs};
use crate::cli::exit::{Failure, TABLE};
use crate::cli::report::Output;

pub(crate) fn completions(args: &CompletionsArgs) -> Result<ExitCode, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Arguments::command(), "sobre", &mut text);
    std::io::stdout().write_all(&text)?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn man(args: &ManArgs, output: &Output) -> Result<ExitCode, Failure> {
    std::fs::create_dir_all(&args.folder).map_err(|error| Error::Io(error).at(&args.folder))?;
    clap_mangen::generate_to(Arguments::command(), &args.folder).map_err(|error| Error::Io(error).at(&args.folder))?;
    output.say(format_args!("wrote the pages into {}", escaped_path(&args.folder)));
    output.finish(json!({ "folder": escaped_path(&args.folder) }))
}

pub(crate) fn exit_codes() -> Result<ExitCode, Failure> {
    writeln!(std::io::stdout(), "{TABLE}")?;
    Ok(ExitCode::SUCCESS)
}
