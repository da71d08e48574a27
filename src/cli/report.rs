//! What the command says: for people, or as one JSON object.

use std::fmt::Display;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Map, Value, json};

use crate::cli::args::{Arguments, Command};
use crate::cli::exit::Failure;

/// Where results go.
#[derive(Debug)]
pub(crate) struct Output {
    command: &'static str,
    json: bool,
    quiet: bool,
    report: Option<PathBuf>,
    stdout_is_data: bool,
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
            Command::Key(_) => ("key", false),
            Command::Vault(_) => ("vault", false),
            Command::Config(_) => ("config", false),
            Command::Completions(_) => ("completions", false),
            Command::Man(_) => ("man", false),
            Command::ExitCodes => ("exit-codes", false),
        };
        if global.json && stdout_is_data {
            return Err(Failure::usage(
                "--json and the data would both go to standard output",
                "write the JSON to a file with --report FILE",
            ));
        }
        let (json, quiet) = (global.json, global.quiet);
        Ok(Self { command, json, quiet, report: global.report.clone(), stdout_is_data })
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

    /// Prints what was asked for, also with `-q`.
    pub(crate) fn print(&self, line: impl Display) {
        // A reader that went away early is no error of ours.
        let _ = if self.stdout_is_data {
            writeln!(std::io::stderr(), "{line}")
        } else {
            writeln!(std::io::stdout(), "{line}")
        };
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
            std::io::stdout().write_all(text.as_bytes())?;
        }
        Ok(ExitCode::from(code))
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
        let _ = self.finish_with(error_object(failure), failure.code);
        ExitCode::from(failure.code)
    }
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

/// Whether a path means standard input or output.
pub(crate) fn is_dash(path: &Path) -> bool {
    path.as_os_str() == "-"
}
