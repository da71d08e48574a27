//! `sobre open`

use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;
use sobre::ErrorKind;
use sobre::engine::{Control, OpenOptions, Source, Target};
use sobre::io::{escaped_path, partial_path};

use crate::cli::args::{Global, OpenArgs};
use crate::cli::commands::{detail, open_home, shown, stream_error};
use crate::cli::exit::Failure;
use crate::cli::progress::Progress;
use crate::cli::report::{Output, is_dash};
use crate::cli::stdin::Stdin;
use crate::cli::units::bytes;
use crate::cli::{secrets, signals};

pub(crate) fn run(args: &OpenArgs, global: &Global, output: &Output) -> Result<ExitCode, Failure> {
    if is_dash(&args.target) && std::io::stdout().is_terminal() {
        return Err(Failure::usage("standard output is a terminal", "name a file, or send the disk into a pipe"));
    }
    let home = open_home(global)?;
    let engine = home.engine(&args.key)?;
    let engine = if is_dash(&args.source) { engine } else { engine.beside(&args.source) };
    let mut options = OpenOptions {
        force: args.force,
        range: args.range.map(|range| (range.offset, range.len)),
        manifest: args.manifest.clone(),
        sidecar: args.envelope.clone(),
        ..OpenOptions::default()
    };
    if let Some(workers) = args.workers {
        options.workers = workers.into();
    }
    detail(&home, options.workers, output);
    let ctl = Arc::new(Control::default());
    let stopped = signals::stop_on_signal(&ctl)?;
    let progress = Progress::watch(global, "opening", &ctl);
    let (mut stdin, mut stdout) = (Stdin::new(&ctl), std::io::stdout());
    let source = if is_dash(&args.source) { Source::Stream(&mut stdin) } else { Source::Path(&args.source) };
    let target = if is_dash(&args.target) { Target::Stream(&mut stdout) } else { Target::Path(&args.target) };
    let opened = engine.open_whole(source, target, &options, &ctl);
    drop(progress);
    secrets::warn_of_unlocked_memory(output);
    let summary = match opened {
        Ok(summary) => summary,
        Err(error) => {
            return Err(match (stopped.signal(), error.kind()) {
                // Standard input ends with an error of its own when it is stopped.
                (Some(signal), kind) if kind == ErrorKind::Cancelled || is_dash(&args.source) => {
                    Failure::signalled(signal, error.to_string(), None)
                }
                _ => stream_error(error, &args.source, &args.target).into(),
            });
        }
    };
    for warning in &summary.warnings {
        output.warn(format_args!("warning: {}: {warning}", shown(&args.source)));
    }
    if summary.discarded > 0 {
        let partial = escaped_path(&partial_path(&args.target));
        output.warn(format_args!("note: discarded {partial}, {} of an abandoned run", bytes(summary.discarded)));
    }
    let target = if is_dash(&args.target) { "standard output".to_owned() } else { escaped_path(&args.target) };
    output.say(format_args!(
        "opened {} to {target}: {} of disk, every byte verified",
        shown(&args.source),
        bytes(summary.written)
    ));
    output.finish(json!({
        "snapshot": shown(&args.source),
        "target": target,
        "id": summary.id.to_string(),
        "disk_bytes": summary.disk_len,
        "written_bytes": summary.written,
        "stored_bytes": summary.stored,
        "warnings": summary.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
    }))
}
