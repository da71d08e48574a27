//! `sobre set rotate`

use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Value, json};
use sobre::engine::Control;
use sobre::format::Layer;
use sobre::io::{Escaped, escaped_path};
use sobre::manage::{DueReason, Home, KeyOrigin, Remaining, RotationReport, RotationRequest};

use crate::cli::args::{Change, Global};
use crate::cli::commands::nag;
use crate::cli::commands::set::known;
use crate::cli::exit::{Failure, SOME_FAILED};
use crate::cli::progress::Progress;
use crate::cli::report::{Output, error_object, error_object_of};
use crate::cli::signals::{self, Stopped};
use crate::cli::units::count;

/// Rotates one set.
pub(super) fn one(
    home: &Home,
    request: &RotationRequest,
    how: (Option<u16>, Change),
    global: &Global,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let ctl = Arc::new(Control::default());
    let stopped = signals::stop_on_signal(&ctl)?;
    let report = rotated(home, request, how, (&ctl, &stopped), global, output)?;
    let failed = report.failed;
    let result = describe(report, how.1.dry_run);
    output.finish_with(result, if failed > 0 { SOME_FAILED } else { 0 })
}

/// Rotates every set that is due. One that fails does not stop the others.
pub(super) fn due(
    home: &Home,
    how: (Option<u16>, Change),
    global: &Global,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let due = home.due_sets()?;
    if due.is_empty() {
        output.say("no set is due");
    }
    let ctl = Arc::new(Control::default());
    let stopped = signals::stop_on_signal(&ctl)?;
    let (all, mut failed) = (due.len(), 0);
    let mut results = Vec::new();
    let mut last = None;
    for due in due {
        let rotated = due.reason.map_err(Failure::from).and_then(|reason| {
            output.say(format_args!("set '{}': {}", due.set, sentence(&reason)));
            let request = RotationRequest {
                set: due.set.clone(),
                layer: due.layer,
                resume: reason == DueReason::Unfinished,
                envelopes: None,
            };
            rotated(home, &request, how, (&ctl, &stopped), global, output)
        });
        match rotated {
            Ok(report) => {
                failed += usize::from(report.failed > 0);
                results.push(describe(report, how.1.dry_run));
            }
            Err(failure) if stopped.signal().is_some() => return Err(failure),
            Err(failure) => {
                let mut object = error_object(&failure);
                if let Value::Object(fields) = &mut object {
                    fields.insert("set".to_owned(), json!(due.set.as_str()));
                }
                results.push(object);
                failed += 1;
                if all > 1 {
                    output.warn(format_args!("sobre: set '{}': {}", due.set, failure.message));
                }
                last = Some(failure);
            }
        }
    }
    match last {
        Some(failure) if all == 1 => Err(failure),
        _ => output.finish_with(json!({ "rotated": results }), if failed > 0 { SOME_FAILED } else { 0 }),
    }
}

fn rotated(
    home: &Home,
    request: &RotationRequest,
    (workers, change): (Option<u16>, Change),
    (ctl, stopped): (&Arc<Control>, &Stopped),
    global: &Global,
    output: &Output,
) -> Result<RotationReport, Failure> {
    if change.dry_run {
        let report = home.plan_rotation(request)?;
        tell_plan(&report, output);
        return Ok(report);
    }
    let progress = Progress::watch_snapshots(global, "re-wrapping", ctl);
    let report = in_pool(workers, || home.rotate_set(request, ctl))??;
    drop(progress);
    tell(&report, output);
    if report.stopped {
        let message = format!("stopped after {} of set '{}'", known(report.rewrapped), report.set);
        let advice = format!("go on with: sobre set rotate {} --resume", report.set);
        return Err(Failure::signalled(stopped.signal().unwrap_or(2), message, Some(advice)));
    }
    Ok(report)
}

/// Runs in a pool of so many threads; in the usual one where no number is given.
pub(crate) fn in_pool<T: Send>(workers: Option<u16>, run: impl FnOnce() -> T + Send) -> Result<T, Failure> {
    match workers {
        None => Ok(run()),
        Some(workers) => {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(workers.into()).build();
            Ok(pool.map_err(|error| Failure::plain(&error))?.install(run))
        }
    }
}

fn tell(report: &RotationReport, output: &Output) {
    let set = &report.set;
    if report.resumed {
        output.say(format_args!("set '{set}': going on with an interrupted rotation"));
    }
    match report.origin {
        KeyOrigin::Made => output.say(format_args!("made key {}", report.to)),
        KeyOrigin::Adopted => output.say(format_args!("{} is the newest version", report.to)),
        _ => {}
    }
    match report.from == report.to {
        true => output.say(format_args!("set '{set}' seals with {}", report.to)),
        false => output.say(format_args!("set '{set}' seals with {} now; before with {}", report.to, report.from)),
    }
    if report.epochs > 0 || report.covered > 0 {
        output.say(format_args!("re-wrapped {}, over {}", epoch_keys(report.epochs), known(report.covered)));
    }
    if report.rewrapped > 0 || report.covered == 0 {
        output.say(format_args!("re-wrapped {}", known(report.rewrapped)));
    }
    if report.aside > 0 {
        output.say(format_args!(
            "wrote new heads of {} that can't be written, for 'open --envelope'",
            known(report.aside)
        ));
    }
    for (path, error) in &report.failures {
        let path = sobre::io::escaped_path(path);
        let text = error.to_string();
        let text = if text.contains(&path) { text } else { format!("{path}: {text}") };
        output.warn(format_args!("sobre: {text}"));
    }
    if report.failed > 0 {
        output.warn(format_args!("sobre: {} could not be re-wrapped", known(report.failed)));
    }
    tell_remaining(&report.remaining, output);
    if report.origin == KeyOrigin::Made {
        nag(output);
    }
}

fn tell_plan(report: &RotationReport, output: &Output) {
    let set = &report.set;
    if report.resumed {
        output.say(format_args!("set '{set}': would go on with an interrupted rotation"));
    }
    match report.origin {
        KeyOrigin::Made => output.say(format_args!("would make key {}", report.to)),
        KeyOrigin::Adopted => output.say(format_args!("{} is the newest version", report.to)),
        _ => {}
    }
    if report.from != report.to {
        output.say(format_args!("set '{set}' would seal with {}; now with {}", report.to, report.from));
    }
    if report.epochs > 0 {
        output.say(format_args!("would re-wrap {}, over {}", epoch_keys(report.epochs), known(report.covered)));
    }
    output.say(format_args!("would re-wrap {}; nothing was changed", known(report.rewrapped)));
    tell_remaining(&report.remaining, output);
}

fn tell_remaining(remaining: &[Remaining], output: &Output) {
    for remaining in remaining {
        let key = match remaining.key_id.as_str() {
            "" => format!("jkt:{}", remaining.thumbprint.short()),
            id => Escaped(id).to_string(),
        };
        let mut why = Vec::new();
        for (number, what) in [
            (remaining.missing, "not where they were"),
            (remaining.read_only, "not writable here"),
            (remaining.not_linked, "under a key that is not linked: sobre set link SET KEY"),
        ] {
            if number > 0 {
                why.push(format!("{} {what}", indicatif::HumanCount(number)));
            }
        }
        let why = if why.is_empty() { String::new() } else { format!(" ({})", why.join("; ")) };
        let verb = if remaining.snapshots == 1 { "needs" } else { "need" };
        output.say(format_args!("{} still {verb} {key}{why}", known(remaining.snapshots)));
    }
    if !remaining.is_empty() {
        output.say("keep the older versions enabled for them");
    }
}

fn epoch_keys(number: u64) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), "epoch key")
}

fn sentence(reason: &DueReason) -> String {
    match reason {
        DueReason::NewerVersion(id) => format!("there is a newer version, {id}"),
        DueReason::Policy(since) => format!("due by its key's policy since {since}"),
        _ => "snapshots still need an older key".to_owned(),
    }
}

fn describe(report: RotationReport, dry_run: bool) -> Value {
    let origin = match report.origin {
        KeyOrigin::Adopted => "adopted",
        KeyOrigin::Made => "made",
        _ => "kept",
    };
    let layer = if report.layer == Layer::Inner { 1 } else { 2 };
    let failures = report.failures.into_iter().map(|(path, error)| error_object_of(&Failure::from(error), &path));
    let failures: Vec<_> = failures.collect();
    json!({
        "dry_run": dry_run,
        "set": report.set.as_str(),
        "layer": layer,
        "from": report.from,
        "to": report.to,
        "thumbprint": report.thumbprint.map(|thumbprint| thumbprint.to_string()),
        "origin": origin,
        "resumed": report.resumed,
        "rewrapped": report.rewrapped,
        "failed": report.failed,
        "failures": failures,
        "remaining": report.remaining.iter().map(|remaining| json!({
            "id": remaining.key_id,
            "thumbprint": remaining.thumbprint.to_string(),
            "snapshots": remaining.snapshots,
            "missing": remaining.missing,
            "read_only": remaining.read_only,
            "not_linked": remaining.not_linked,
            "epoch_records": remaining.folders.iter().map(|path| escaped_path(path)).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    })
}
