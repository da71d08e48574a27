//! `sobre audit`

use std::process::ExitCode;

use serde_json::{Value, json};
use sobre::audit::{AuditLog, Entry, Filter, Record, Verification};
use sobre::io::{Escaped, escaped_path};
use sobre::key::KeyRef;
use sobre::manage::{Home, HomeError};

use crate::cli::args::{AuditArgs, AuditCommand, Global};
use crate::cli::commands::open_home;
use crate::cli::exit::Failure;
use crate::cli::report::{Output, error_object};
use crate::cli::units::{count, hex};

pub(crate) fn run(args: &AuditArgs, global: &Global, output: &Output) -> Result<ExitCode, Failure> {
    let home = open_home(global)?;
    let log = home.audit();
    match &args.command {
        AuditCommand::Show { since, key, failed } => {
            let key = key.as_deref().map(|key| recorded_name(&home, key)).transpose()?;
            let filter = Filter { since: since.map(|since| since.0), key, failed: *failed };
            show(&log, &filter, output)
        }
        AuditCommand::Verify => verify(&log, output),
        AuditCommand::Restart { dry_run: true } => would_restart(&log, output),
        AuditCommand::Restart { dry_run: false } => restart(&log, output),
    }
}

/// Returns what the log calls a key: it knows no aliases.
fn recorded_name(home: &Home, key: &str) -> Result<String, Failure> {
    Ok(match key.parse() {
        Ok(alias @ KeyRef::Alias(_)) => format!("jkt:{}", home.find(&alias)?.version.thumbprint),
        _ => key.to_owned(),
    })
}

fn show(log: &AuditLog, filter: &Filter, output: &Output) -> Result<ExitCode, Failure> {
    let mut rows = Vec::new();
    let found = log
        .read(|entry| {
            // A line that can't be read may be about anything.
            if entry.record.as_ref().is_some_and(|record| !filter.wants(record)) {
                return;
            }
            if output.is_json() {
                rows.push(describe(&entry));
            } else {
                output.print(line(&entry));
            }
        })
        .map_err(HomeError::from)?;
    if found.records == 0 {
        output.say("nothing was recorded yet");
    }
    if !found.is_intact() {
        output.warn("warning: the log is not as it was written; see 'sobre audit verify'");
    }
    output.finish(json!({ "records": rows, "intact": found.is_intact() }))
}

fn line(entry: &Entry<'_>) -> String {
    let mark = if entry.intact { "" } else { "  <- not as it was written" };
    let Some(record) = &entry.record else {
        return format!("{}, line {}: unreadable{mark}", escaped_path(entry.file), entry.line);
    };
    let Record { time, operation_name, result_signature, identity, properties, correlation_id, .. } = record;
    let mut about: Vec<String> = Vec::new();
    about.extend(properties.key.clone().or_else(|| properties.vault.clone()));
    about.extend(properties.thumbprint.as_ref().map(|thumbprint| format!("jkt:{thumbprint}")));
    about.extend(properties.set.as_ref().map(|set| format!("set {set}")));
    about.extend(properties.snapshot.as_ref().map(|id| format!("snapshot {id}")));
    about.extend(properties.items.map(|items| format!("{items} items")));
    about.extend(properties.until.as_ref().map(|until| format!("until {until}")));
    about.extend(properties.overridden.then(|| "key chosen by the operator".to_owned()));
    about.extend(properties.accepted_loss.then(|| "loss accepted".to_owned()));
    let user = identity.user.clone().unwrap_or_else(|| identity.uid.to_string());
    let text = format!(
        "{time}  {operation_name:14}  {result_signature:12}  {}  by {user}, process {}, request {correlation_id}{mark}",
        about.join("  "),
        identity.pid
    );
    Escaped(&text).to_string()
}

fn describe(entry: &Entry<'_>) -> Value {
    let mut object = match &entry.record {
        Some(record) => serde_json::to_value(record).unwrap_or_default(),
        None => json!({}),
    };
    if let Value::Object(fields) = &mut object {
        fields.insert("intact".to_owned(), json!(entry.intact));
        fields.insert("file".to_owned(), json!(escaped_path(entry.file)));
        fields.insert("line".to_owned(), json!(entry.line));
    }
    object
}

fn verify(log: &AuditLog, output: &Output) -> Result<ExitCode, Failure> {
    let found = log.verify().map_err(HomeError::from)?;
    let facts = facts(&found);
    if found.is_intact() {
        output.say(format_args!(
            "the audit log is as it was written: {} in {}",
            count(usize::try_from(found.records).unwrap_or(usize::MAX), "record"),
            count(found.parts, "file")
        ));
        if let Some(last) = &found.last {
            output.say(format_args!("head {} {}", last.count, hex(&last.mac)));
        }
        notes(&found, output);
        return output.finish(facts);
    }
    for place in &found.breaks {
        output.warn(format_args!("{place}"));
    }
    if found.more_breaks > 0 {
        output.warn(format_args!(
            "and {} more",
            count(usize::try_from(found.more_breaks).unwrap_or(usize::MAX), "place")
        ));
    }
    notes(&found, output);
    let failure = Failure {
        kind: "damaged",
        code: DAMAGED,
        message: "the audit log is not as it was written".to_owned(),
        advice: Some(
            "keep its files as they are and find out who wrote to them; nothing more is recorded once its end is broken: \
             then bring it back from a copy, or go on without it with: sobre audit restart"
                .to_owned(),
        ),
    };
    let mut object = error_object(&failure);
    if let (Value::Object(fields), Value::Object(more)) = (&mut object, facts) {
        fields.extend(more);
    }
    if !output.is_json() {
        failure.show_plain();
    }
    output.finish_with(object, DAMAGED)
}

fn notes(found: &Verification, output: &Output) {
    if found.head.is_none() && found.records > 0 {
        output.warn("warning: the head of the log is gone: records that are missing at its end can't be noticed");
    }
    if let Some(first) = found.restarted {
        output.say(format_args!("begun anew with record {first}, after a loss that this record states"));
    }
    if found.head.is_some() && found.beyond > 0 {
        let beyond = count(usize::try_from(found.beyond).unwrap_or(usize::MAX), "record");
        output.say(format_args!("{beyond} behind the head, left by a crash; the next event adopts them"));
    }
    if found.torn > 0 {
        output.say(format_args!(
            "{} bytes of a torn line at the end, left by a crash; the next event cuts them off",
            found.torn
        ));
    }
}

fn facts(found: &Verification) -> Value {
    json!({
        "intact": found.is_intact(),
        "records": found.records,
        "files": found.parts,
        "head": found.last.map(|last| json!({ "count": last.count, "mac": hex(&last.mac) })),
        "head_known": found.head.is_some(),
        "beyond_head": found.beyond,
        "torn_bytes": found.torn,
        "restarted_at": found.restarted,
        "breaks": found.breaks.iter().map(|place| json!({
            "file": escaped_path(&place.file), "line": place.line, "fault": place.fault.to_string(),
        })).collect::<Vec<_>>(),
        "more_breaks": found.more_breaks,
    })
}

fn would_restart(log: &AuditLog, output: &Output) -> Result<ExitCode, Failure> {
    let broken = !log.verify().is_ok_and(|found| found.is_intact());
    output.say(if broken {
        format!("the log would begin anew, what is left of it set aside in {}", escaped_path(log.folder()))
    } else {
        "the log is as it was written: nothing would be done".to_owned()
    });
    output.finish(json!({ "dry_run": true, "would_restart": broken }))
}

fn restart(log: &AuditLog, output: &Output) -> Result<ExitCode, Failure> {
    let restarted = log.restart().map_err(HomeError::from)?;
    output.say(if restarted {
        format!("the log begins anew; what was left of it is in {}, named *.lostN", escaped_path(log.folder()))
    } else {
        "the log is as it was written: nothing was done".to_owned()
    });
    output.finish(json!({ "restarted": restarted, "folder": escaped_path(log.folder()) }))
}

const DAMAGED: u8 = 13;
