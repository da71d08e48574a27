//! What the command says: for people, or as one JSON object.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Map, Value, json};
use sobre::io::escaped_path;

use crate::cli::args::{Arguments, Command};
use crate::cli::exit::Failure;

/// Where results go.
#[derive(Debug)]
pub(crate) struct Output {
    command: &'static str,
    json: bool,
    quiet: bool,
    verbose: bool,
    report: Option<PathBuf>,
    stdout_is_data: bool,
    /// The first line that standard output did not take.
    lost: RefCell<Option<io::Error>>,
}

impl Output {
    pub(crate) fn new(arguments: &Arguments) -> Result<Self, Failure> {
        let global = &arguments.global;
        let (command, stdout_is_data) = match &arguments.command {
            Command::Seal(args) => ("seal", is_dash(&args.target)),
            Command::Open(args) => ("open", is_dash(&args.target)),
            Command::Verify(_) => ("verify", false),
            Command::Inspect(_) => ("inspect", false),
            Command::Rewrap(_) => ("rewrap", false),
            Command::Preflight(_) => ("preflight", false),
            Command::Key(_) => ("key", false),
            Command::Set(_) => ("set", false),
            Command::Vault(_) => ("vault", false),
            Command::Catalog(_) => ("catalog", false),
            Command::Audit(_) => ("audit", false),
            Command::Bench(_) => ("bench", false),
            Command::Config(_) => ("config", false),
            Command::Completions(_) => ("completions", true),
            Command::Man(_) => ("man", false),
            Command::ExitCodes => ("exit-codes", false),
        };
        if global.json && stdout_is_data {
            return Err(Failure::usage(
                "--json and the data would both go to standard output",
                "write the JSON to a file with --report FILE",
            ));
        }
        if global.report.as_deref().is_some_and(is_dash) {
            return Err(Failure::usage("--report writes into a file", "--json prints the same on standard output"));
        }
        let (json, quiet, verbose) = (global.json, global.quiet, global.verbose);
        Ok(Self {
            command,
            json,
            quiet,
            verbose,
            report: global.report.clone(),
            stdout_is_data,
            lost: RefCell::default(),
        })
    }

    /// Whether JSON goes to standard output, so that nothing else may.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Tells a person something; on standard output unless data go there.
    pub(crate) fn say(&self, line: impl Display) {
        if self.quiet || self.json {
            return;
        }
        self.print(line);
    }

    /// Tells a person who asked for more, on standard error.
    pub(crate) fn detail(&self, line: impl Display) {
        if self.verbose && !self.quiet {
            self.warn(line);
        }
    }

    /// Prints what was asked for, also with `-q`.
    pub(crate) fn print(&self, line: impl Display) {
        if self.stdout_is_data {
            let _ = writeln!(io::stderr(), "{line}");
        } else if let Err(error) = writeln!(io::stdout(), "{line}") {
            // A reader that went away early is no error of ours.
            if error.kind() != io::ErrorKind::BrokenPipe {
                self.lost.borrow_mut().get_or_insert(error);
            }
        }
    }

    /// Tells a person something that must not be missed; `-q` does not silence it.
    pub(crate) fn warn(&self, line: impl Display) {
        let _ = writeln!(std::io::stderr(), "{line}");
    }

    /// Ends with a result.
    pub(crate) fn finish(&self, result: Value) -> Result<ExitCode, Failure> {
        self.finish_with(result, 0)
    }

    /// Ends with a result and an exit code.
    pub(crate) fn finish_with(&self, result: Value, code: u8) -> Result<ExitCode, Failure> {
        let mut object = Map::new();
        object.insert("schema".to_owned(), json!(1));
        object.insert("command".to_owned(), json!(self.command));
        if let Value::Object(fields) = result {
            object.extend(fields);
        }
        let text = format!("{}\n", serde_json::to_string_pretty(&Value::Object(object)).unwrap_or_default());
        if let Some(path) = &self.report {
            std::fs::write(path, &text).map_err(|error| sobre::Error::Io(error).at(path))?;
        }
        if self.json {
            io::stdout().write_all(text.as_bytes()).map_err(stdout_failed)?;
        }
        match self.lost.borrow_mut().take() {
            Some(error) => Err(stdout_failed(error)),
            None => Ok(ExitCode::from(code)),
        }
    }

    /// Ends with a failure.
    pub(crate) fn fail(&self, failure: &Failure) -> ExitCode {
        if !self.json {
            let code = failure.show_plain();
            if self.report.is_some() {
                let _ = self.finish_with(error_object(failure), failure.code);
            }
            return code;
        }
        if self.finish_with(error_object(failure), failure.code).is_err() {
            return failure.show_plain();
        }
        ExitCode::from(failure.code)
    }
}

/// Ends where the words make no sense, or only ask for help. Then there are no options yet: they are looked for by hand.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        return match error.print() {
            Err(failed) if failed.kind() != io::ErrorKind::BrokenPipe => stdout_failed(failed).show_plain(),
            _ => ExitCode::SUCCESS,
        };
    }
    let words: Vec<OsString> = std::env::args_os().skip(1).take_while(|word| word != "--").collect();
    let json = words.iter().any(|word| word == "--json");
    let report = words.iter().zip(words.iter().skip(1)).find_map(|(word, next)| (word == "--report").then_some(next));
    if !json {
        let _ = error.print();
    }
    if json || report.is_some() {
        let text = error.render().to_string();
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let message = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let advice: Vec<_> = lines.map(str::trim).collect();
        let failure = Failure { kind: "usage", code: USAGE, message, advice: Some(advice.join("; ")) };
        let (report, lost) = (report.map(PathBuf::from), RefCell::default());
        let output = Output { command: "", json, quiet: true, verbose: false, report, stdout_is_data: false, lost };
        let _ = output.finish_with(error_object(&failure), USAGE);
    }
    ExitCode::from(USAGE)
}

fn stdout_failed(error: io::Error) -> Failure {
    sobre::Error::Io(error).at(Path::new("standard output")).into()
}

/// The JSON object of a failure.
pub(crate) fn error_object(failure: &Failure) -> Value {
    json!({ "error": {
        "kind": failure.kind,
        "message": failure.message,
        "exit_code": failure.code,
        "advice": failure.advice,
    } })
}

/// The JSON object of a failure with one of several snapshots.
pub(crate) fn error_object_of(failure: &Failure, snapshot: &Path) -> Value {
    let mut object = error_object(failure);
    if let Value::Object(fields) = &mut object {
        fields.insert("snapshot".to_owned(), json!(escaped_path(snapshot)));
    }
    object
}

/// Whether a path means standard input or output.
pub(crate) fn is_dash(path: &Path) -> bool {
    path.as_os_str() == "-"
}

const USAGE: u8 = 2;
