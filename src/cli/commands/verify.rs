//! `sobre verify`

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Value, json};
use sobre::engine::{Control, Engine, SealOptions, Verdict, verify_keyless};
use sobre::io::escaped_path;
use sobre::{Error, ErrorKind};

use crate::cli::args::{Global, VerifyArgs};
use crate::cli::commands::{detail, open_home, open_snapshot};
use crate::cli::exit::{Failure, SOME_FAILED};
use crate::cli::progress::Progress;
use crate::cli::report::{Output, error_object_of};
use crate::cli::signals;
use crate::cli::units::{bytes, hex, parse_root};

pub(crate) fn run(args: &VerifyArgs, global: &Global, output: &Output) -> Result<ExitCode, Failure> {
    let root = match &args.root {
        Some(text) => Some(parse_root(text).ok_or_else(|| {
            Failure::usage("a root has 64 hexadecimal digits", "'sobre seal' prints it, and 'sobre inspect' shows it")
        })?),
        None => None,
    };
    if root.is_some() && args.snapshots.len() > 1 {
        return Err(Failure::usage("one root is that of one snapshot", "verify them one by one"));
    }
    let home = if args.keyless { None } else { Some(open_home(global)?) };
    let engine = home.as_ref().map(|home| home.engine(&args.key)).transpose()?;
    let workers = args.workers.map_or_else(|| SealOptions::default().workers, usize::from);
    if let Some(home) = &home {
        detail(home, workers, output);
    }
    let ctl = Arc::new(Control::default());
    let stopped = signals::stop_on_signal(&ctl)?;
    let mut results = Vec::new();
    let mut failures = Vec::new();
    for path in &args.snapshots {
        let one = Arc::new(Control::default());
        let progress = Progress::watch(global, "verifying", &one);
        // A catalogue that can't be used does not keep a snapshot from being verified.
        let known = home.as_ref().and_then(|home| home.known(path).ok().flatten());
        let verdict = verify(path, engine.as_ref(), root.as_ref(), workers, &ctl, &one);
        drop(progress);
        match verdict {
            Ok(verdict) => {
                if let (Some(home), Some(known)) = (&home, known)
                    && let Err(error) = home.note_verified(known, &verdict)
                {
                    output.warn(format_args!("warning: the catalogue does not know that it is verified: {error}"));
                }
                for warning in &verdict.warnings {
                    output.warn(format_args!("warning: {}: {warning}", escaped_path(path)));
                }
                output.say(sentence(path, args.keyless, root.is_some(), &verdict));
                results.push(describe(path, &verdict));
            }
            Err(error) if error.kind() == ErrorKind::Cancelled => {
                let signal = stopped.signal().unwrap_or(2);
                return Err(Failure::signalled(signal, error.to_string(), None));
            }
            Err(error) => {
                let failure = Failure::from(error);
                if args.snapshots.len() > 1 {
                    output.warn(format_args!("sobre: {}", failure.message));
                }
                results.push(error_object_of(&failure, path));
                failures.push(failure);
            }
        }
    }
    match (failures.len(), args.snapshots.len()) {
        (0, _) => output.finish(json!({ "snapshots": results })),
        (1, 1) => Err(failures.remove(0)),
        (failed, all) => {
            output.warn(format_args!("sobre: {failed} of {all} snapshots failed"));
            output.finish_with(json!({ "snapshots": results }), SOME_FAILED)
        }
    }
}

fn verify(
    path: &Path,
    engine: Option<&Engine>,
    root: Option<&[u8; 32]>,
    workers: usize,
    all: &Arc<Control>,
    one: &Arc<Control>,
) -> Result<Verdict, Error> {
    let file = open_snapshot(path)?;
    // The signal cancels `all`; this snapshot's own control shows its progress.
    let (watched, done) = (Arc::clone(one), Arc::new(std::sync::atomic::AtomicBool::new(false)));
    let (all, ended) = (Arc::clone(all), Arc::clone(&done));
    let watcher = std::thread::spawn(move || {
        while !ended.load(std::sync::atomic::Ordering::Relaxed) {
            if all.is_cancelled() {
                watched.cancel();
            }
            std::thread::park_timeout(std::time::Duration::from_millis(50));
        }
    });
    let verdict = match engine {
        Some(engine) => engine.beside(path).verify(&file, workers, one),
        None => verify_keyless(&file, root, workers, one),
    };
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    watcher.thread().unpark();
    let _ = watcher.join();
    verdict.map_err(|error| error.at(path))
}

fn sentence(path: &Path, keyless: bool, rooted: bool, verdict: &Verdict) -> String {
    let path = escaped_path(path);
    let size = bytes(verdict.disk_len);
    match (keyless, rooted, verdict.authentic) {
        (false, ..) => format!("{path}: authentic, {size} of disk"),
        (true, true, true) => format!("{path}: root matches, every byte is as it was sealed, {size} of disk"),
        (true, true, false) => {
            format!("{path}: root matches and no damage, {size} of disk; this suite proves its data only with a key")
        }
        (true, false, _) => {
            format!("{path}: no damage, {size} of disk; without a key or a known root this says nothing of tampering")
        }
    }
}

fn describe(path: &Path, verdict: &Verdict) -> Value {
    json!({
        "snapshot": escaped_path(path),
        "id": verdict.header.id.to_string(),
        "suite": verdict.header.suite.name(),
        "disk_bytes": verdict.disk_len,
        "stored_bytes": verdict.stored,
        "root": hex(&verdict.root),
        "authentic": verdict.authentic,
        "warnings": verdict.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}
