//! `sobre inspect`

use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};
use sobre::Error;
use sobre::engine::{Description, EpochFolder, EpochRecords, inspect};
use sobre::format::{EpochId, Section};
use sobre::io::{Escaped, escaped_path};

use crate::cli::args::InspectArgs;
use crate::cli::commands::open_snapshot;
use crate::cli::exit::{Failure, SOME_FAILED};
use crate::cli::report::{Output, error_object_of};
use crate::cli::units::{bytes, hex};

pub(crate) fn run(args: &InspectArgs, output: &Output) -> Result<ExitCode, Failure> {
    let mut results = Vec::new();
    let mut failures = Vec::new();
    for path in &args.snapshots {
        match look(path) {
            Ok(description) => {
                if !output.is_json() {
                    show(path, &description, output);
                }
                results.push(describe(path, &description));
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

fn look(path: &Path) -> Result<Description, Error> {
    let file = open_snapshot(path)?;
    inspect(&file).map_err(|error| error.at(path))
}

fn show(path: &Path, description: &Description, output: &Output) {
    let header = &description.header;
    output.print(format_args!("{}", escaped_path(path)));
    output.print(format_args!("  id        {}", header.id));
    output.print(format_args!("  suite     {}", header.suite));
    output.print(format_args!("  created   {}", header.created));
    match &description.footer {
        Some(footer) => {
            output.print(format_args!(
                "  disk      {} ({} bytes)",
                bytes(footer.shape.disk_len),
                footer.shape.disk_len
            ));
            output.print(format_args!("  stored    {}", bytes(footer.data_len)));
            output.print(format_args!("  root      {}", hex(&footer.root)));
        }
        None => output.print("  disk      unknown: the end of the snapshot is missing or damaged"),
    }
    output.print(format_args!("  sectors   {} bytes, chunks {}", header.sector.bytes(), bytes(header.chunk.bytes())));
    for (key, value) in header.labels.iter() {
        output.print(format_args!("  label     {}={}", Escaped(key), Escaped(value)));
    }
    for section in &description.sections {
        let owner = if section.customer { "customer" } else { "platform" };
        output.print(format_args!(
            "  layer {}   {owner} key, wrapped {}, generation {}",
            section.layer, section.updated, section.generation
        ));
        for entry in &section.entries {
            if let Some(id) = entry.epoch() {
                output.print(format_args!("    epoch key {id}: {}", behind(path, &id)));
                continue;
            }
            let locators: Vec<_> = entry.locators.iter().map(|locator| Escaped(locator).to_string()).collect();
            let algorithm = entry.algorithm.map_or("unknown algorithm".to_owned(), |algorithm| algorithm.to_string());
            output.print(format_args!("    {}  jkt:{}  {algorithm}", locators.join(", "), entry.thumbprint));
        }
    }
    for warning in &description.warnings {
        output.warn(format_args!("warning: {}: {warning}", escaped_path(path)));
    }
    output.print("  (nothing of this is authenticated: 'sobre verify' does that)");
}

/// Names the keys behind an epoch key, by the record beside the snapshot.
fn behind(path: &Path, id: &EpochId) -> String {
    let record = match EpochFolder::of(path).find(id) {
        Ok(Some(record)) => record,
        Ok(None) => return format!("its record {} is not here", id.file_name()),
        Err(error) => return Escaped(&error.to_string()).to_string(),
    };
    let entries = record.section().into_iter().flat_map(|(section, _)| &section.entries);
    let keys = entries.filter(|entry| entry.usable().is_some()).map(|entry| {
        let locators: Vec<_> = entry.locators.iter().map(|locator| Escaped(locator).to_string()).collect();
        format!("{} jkt:{}", locators.join(", "), entry.thumbprint)
    });
    format!("wrapped under {}", keys.collect::<Vec<_>>().join(" or "))
}

fn describe(path: &Path, description: &Description) -> Value {
    let header = &description.header;
    json!({
        "snapshot": escaped_path(path),
        "authenticated": false,
        "id": header.id.to_string(),
        "suite": header.suite.name(),
        "created": header.created.to_string(),
        "sector_bytes": header.sector.bytes(),
        "chunk_bytes": header.chunk.bytes(),
        "labels": header.labels.iter().collect::<std::collections::BTreeMap<_, _>>(),
        "file_bytes": description.file_len,
        "disk_bytes": description.footer.as_ref().map(|footer| footer.shape.disk_len),
        "stored_bytes": description.footer.as_ref().map(|footer| footer.data_len),
        "root": description.footer.as_ref().map(|footer| hex(&footer.root)),
        "layers": description.sections.iter().map(layer).collect::<Vec<_>>(),
        "warnings": description.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn layer(section: &Section) -> Value {
    json!({
        "layer": section.layer.number(),
        "customer": section.customer,
        "generation": section.generation,
        "updated": section.updated.to_string(),
        "set": if section.set.is_empty() { None } else { Some(&section.set) },
        "keys": section.entries.iter().map(|entry| json!({
            "thumbprint": if entry.epoch().is_none() { Some(entry.thumbprint.to_string()) } else { None },
            "epoch": entry.epoch().map(|id| id.to_string()),
            "algorithm": entry.algorithm.map(|algorithm| algorithm.to_string()),
            "locators": entry.locators,
        })).collect::<Vec<_>>(),
    })
}
