//! `sobre rewrap`

use std::process::ExitCode;

use serde_json::json;
use sobre::engine::{Change, LayerPolicy, RewrapReport};
use sobre::format::Layer;
use sobre::io::escaped_path;
use sobre::manage::Home;
use sobre::{Engine, Error};

use crate::cli::args::{Global, LayerName, RewrapArgs};
use crate::cli::commands::{open_home, open_snapshot};
use crate::cli::exit::{Failure, SOME_FAILED};
use crate::cli::report::{Output, error_object_of};

pub(crate) fn run(args: &RewrapArgs, global: &Global, output: &Output) -> Result<ExitCode, Failure> {
    let home = open_home(global)?;
    let engine: Engine = home.engine(&args.key)?;
    let change = change(&home, args)?;
    let layer = match args.layer {
        LayerName::Customer => Layer::Inner,
        LayerName::Platform => Layer::Outer,
    };
    let mut results = Vec::new();
    let mut failures = Vec::new();
    for path in &args.snapshots {
        match open_snapshot(path).and_then(|_| engine.rewrap(path, layer, &change)) {
            Ok(report) => {
                output.say(format_args!("{}: {}", escaped_path(path), sentence(&change, &report)));
                results.push(json!({
                    "snapshot": escaped_path(path),
                    "changed": report.changed,
                    "generation": report.generation,
                    "keys": report.keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
                }));
            }
            Err(error) => {
                let failure = Failure::from(error).at(path);
                if args.snapshots.len() > 1 {
                    output.warn(format_args!("sobre: {}", failure.message));
                }
                results.push(error_object_of(&failure, path));
                failures.push(failure);
            }
        }
    }
    if matches!(change, Change::Remove(_) | Change::To(_)) && failures.len() < args.snapshots.len() {
        output.say(
            "older copies of these files still open with the old key, and so does whoever kept the old wrapped key",
        );
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

fn change(home: &Home, args: &RewrapArgs) -> Result<Change, Failure> {
    let find = |text: &String| -> Result<_, Failure> { Ok(home.find(&Home::key_ref(text)?)?) };
    Ok(match (&args.to, &args.add, &args.remove) {
        (Some(key), ..) => Change::To(LayerPolicy::new(vec![find(key)?]).map_err(Error::from)?),
        (_, Some(key), _) => Change::Add(find(key)?),
        (_, _, Some(key)) => Change::Remove(find(key)?.version.thumbprint),
        _ => Change::Repair,
    })
}

fn sentence(change: &Change, report: &RewrapReport) -> String {
    let keys: Vec<_> = report.keys.iter().map(|thumbprint| format!("jkt:{}", thumbprint.short())).collect();
    match change {
        Change::Repair if report.changed => "mended: both heads are the same again".to_owned(),
        Change::Repair => "both heads are whole; nothing to mend".to_owned(),
        _ => format!("opens with {} now", keys.join(" or ")),
    }
}
