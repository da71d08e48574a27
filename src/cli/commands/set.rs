//! `sobre set`

mod rotate;

pub(super) use rotate::in_pool;

use std::process::ExitCode;

use serde_json::{Value, json};
use sobre::catalog::{EncryptionSet, SetKey, SetKind, SetName};
use sobre::format::Layer;
use sobre::key::KeyRef;
use sobre::manage::{Created, Home, HomeError, NewSet, RotationRequest, SetChanges, SetError};

use crate::cli::args::{Change, Global, LayerName, SetArgs, SetCommand, SetType, Switch};
use crate::cli::commands::{nag, open_home, say_created};
use crate::cli::exit::Failure;
use crate::cli::report::Output;
use crate::cli::units::count;

pub(crate) fn run(args: &SetArgs, global: &Global, output: &Output) -> Result<ExitCode, Failure> {
    let home = open_home(global)?;
    match &args.command {
        SetCommand::Create {
            name,
            kind,
            key,
            platform_key,
            location,
            subscription,
            auto_rotate,
            no_recovery,
            epoch,
            change,
        } => {
            let new = NewSet {
                name: set_name(name)?,
                kind: match kind {
                    SetType::Customer => SetKind::Customer,
                    SetType::Platform => SetKind::Platform,
                    SetType::PlatformAndCustomer => SetKind::PlatformAndCustomer,
                },
                key: key_ref(key.as_ref())?,
                platform_key: key_ref(platform_key.as_ref())?,
                location: location.clone(),
                subscription: subscription.clone(),
                auto_rotate: *auto_rotate,
                epoch: *epoch,
                recovery: !no_recovery,
            };
            create(&home, &new, *change, output)
        }
        SetCommand::List => list(&home, output),
        SetCommand::Show { set } => show(&home, &set_name(set)?, output),
        SetCommand::Update {
            set,
            key,
            platform_key,
            location,
            subscription,
            auto_rotate,
            recovery,
            new_epoch,
            change,
        } => {
            let text = |text: &Option<String>| text.clone().map(|text| (text != "none").then_some(text));
            let changes = SetChanges {
                key: key_ref(key.as_ref())?,
                platform_key: key_ref(platform_key.as_ref())?,
                location: text(location),
                subscription: text(subscription),
                auto_rotate: auto_rotate.map(|switch| switch == Switch::On),
                recovery: recovery.map(|switch| switch == Switch::On),
                new_epoch: *new_epoch,
            };
            update(&home, &set_name(set)?, &changes, *change, output)
        }
        SetCommand::Link { set, key, change } => {
            let set = home.link_key(&set_name(set)?, &Home::key_ref(key)?, change.dry_run)?;
            let id = set.links.last().map(|link| link.key_id.clone()).unwrap_or_default();
            let would = if change.dry_run { "would be " } else { "" };
            output.say(format_args!("{id} {would}linked to set '{}': it never seals", set.name));
            output.finish(json!({ "dry_run": change.dry_run, "set": describe(&set) }))
        }
        SetCommand::Unlink { set, key, change } => {
            let (set, link) = home.unlink_key(&set_name(set)?, &Home::key_ref(key)?, change.dry_run)?;
            let would = if change.dry_run { "would be " } else { "" };
            output.say(format_args!("{} {would}unlinked from set '{}'; the key itself stays", link.key_id, set.name));
            output.finish(json!({ "dry_run": change.dry_run, "set": describe(&set), "unlinked": link.key_id }))
        }
        SetCommand::Rotate { set: Some(set), resume, layer, envelopes, workers, change, .. } => {
            let layer = match layer {
                LayerName::Customer => Layer::Inner,
                LayerName::Platform => Layer::Outer,
            };
            let request = RotationRequest { set: set_name(set)?, layer, resume: *resume, envelopes: envelopes.clone() };
            rotate::one(&home, &request, (*workers, *change), global, output)
        }
        SetCommand::Rotate { set: None, workers, change, .. } => {
            rotate::due(&home, (*workers, *change), global, output)
        }
        SetCommand::Delete { set, change } => {
            let name = set_name(set)?;
            let snapshots = home.delete_set(&name, change.yes, change.dry_run)?;
            let would = if change.dry_run { "would remove" } else { "removed" };
            output.say(format_args!("{would} set '{name}'; its keys and {} stay", known(snapshots)));
            output.finish(json!({ "dry_run": change.dry_run, "deleted": name.as_str(), "snapshots": snapshots }))
        }
    }
}

fn create(home: &Home, new: &NewSet, change: Change, output: &Output) -> Result<ExitCode, Failure> {
    if change.dry_run {
        let set = home.plan_set(new)?;
        output.say(format_args!("would make set '{}'; nothing was changed", set.name));
        let makes = set.keys.len() < if set.kind == SetKind::PlatformAndCustomer { 2 } else { 1 };
        if makes {
            output.say("would make the platform's key, and its vault where there is none");
        }
        say_keys(&set, output);
        return output.finish(json!({ "dry_run": true, "set": describe(&set), "makes_platform_key": makes }));
    }
    let (set, created) = home.create_set(new)?;
    say_created(output, &created);
    output.say(format_args!("made set '{}', type {}", set.name, set.kind.name()));
    say_keys(&set, output);
    if set.epoch {
        output.say("one epoch key is between them and the DEKs: whoever learns it opens every snapshot of the set,");
        output.say("and every folder with such snapshots has its record, a file *.sobre-epoch: keep it with them");
    }
    output.say(format_args!("seal with it: sobre seal --set {} SRC DST", set.name));
    if created.iter().any(|created| matches!(created, Created::Key(_))) {
        nag(output);
    }
    output.finish(json!({ "dry_run": false, "set": describe(&set) }))
}

fn say_epochs(home: &Home, set: &EncryptionSet, output: &Output) -> Result<(), Failure> {
    let Some(catalog) = home.catalog()? else { return Ok(()) };
    for key in &set.keys {
        for known in catalog.epochs_of_set(set.name.as_str(), key.layer).map_err(HomeError::from)? {
            let folders = catalog.epoch_folders(&known.id()).map_err(HomeError::from)?;
            let snapshots: u64 = folders.iter().map(|(_, snapshots)| snapshots).sum();
            let seals = if known.active { ", seals" } else { "" };
            output.say(format_args!(
                "epoch key     {}  layer {}, made {}{seals}: {} in {}",
                known.id(),
                key.layer,
                known.record.header.created,
                self::known(snapshots),
                count(folders.len(), "folder")
            ));
        }
    }
    Ok(())
}

fn list(home: &Home, output: &Output) -> Result<ExitCode, Failure> {
    let sets = home.sets()?;
    if sets.is_empty() {
        output.say("there are no sets");
    }
    let width = sets.iter().map(|set| set.name.as_str().len()).max().unwrap_or(0);
    for set in &sets {
        let keys: Vec<_> = set.keys.iter().map(|key| key.key_id.as_str()).collect();
        let follows = if set.auto_rotate { "  follows the newest version" } else { "" };
        output.say(format_args!("{:width$}  {:21}  {}{follows}", set.name.as_str(), set.kind.name(), keys.join(" + ")));
    }
    output.finish(json!({ "sets": sets.iter().map(describe).collect::<Vec<_>>() }))
}

fn show(home: &Home, name: &SetName, output: &Output) -> Result<ExitCode, Failure> {
    let set = home.set(name)?;
    output.say(format_args!("name          {}", set.name));
    output.say(format_args!("type          {}", set.kind.name()));
    for (title, text) in [("location", &set.location), ("subscription", &set.subscription)] {
        if let Some(text) = text {
            output.say(format_args!("{title:13} {text}"));
        }
    }
    output.say(format_args!("auto-rotate   {}", if set.auto_rotate { "on" } else { "off" }));
    if !set.recovery {
        output.say("recovery      off: recovery keys are not added");
    }
    if set.epoch {
        say_epochs(home, &set, output)?;
    }
    output.say(format_args!("created       {}", set.created));
    let catalog = home.catalog()?;
    let snapshots = match &catalog {
        Some(catalog) => catalog.sealed_in_set(name.as_str()).map_err(HomeError::from)?.len() as u64,
        None => 0,
    };
    output.say(format_args!("snapshots     {}", indicatif::HumanCount(snapshots)));
    let mut layers = Vec::new();
    for key in &set.keys {
        let (state, expires) = state_of(home, key);
        let until = expires.as_ref().map_or_else(String::new, |time| format!(", expires {time}"));
        output.say(format_args!("seals with    {}  jkt:{}  {state}{until}", key.key_id, key.thumbprint.short()));
        let request = RotationRequest { set: name.clone(), layer: key.layer, resume: true, envelopes: None };
        // A vault that can't be asked is said above.
        let plan = home.plan_rotation(&request).ok();
        let mut layer = describe_key(key);
        if let Value::Object(fields) = &mut layer {
            fields.insert("state".to_owned(), json!(state));
            fields.insert("expires".to_owned(), json!(expires));
            if let Some(plan) = &plan {
                let needs = plan.rewrapped + plan.remaining.iter().map(|remaining| remaining.snapshots).sum::<u64>();
                fields.insert("need_older_keys".to_owned(), json!(needs));
                if needs > 0 {
                    let verb = if needs == 1 { "needs" } else { "need" };
                    output.say(format_args!("              {} still {verb} older keys", known(needs)));
                }
                if plan.resumed {
                    output.say(format_args!(
                        "              a rotation was interrupted: sobre set rotate {name} --resume"
                    ));
                }
                fields.insert("unfinished".to_owned(), json!(plan.resumed));
            }
        }
        layers.push(layer);
    }
    for link in &set.links {
        output.say(format_args!("linked        {}  jkt:{}", link.key_id, link.thumbprint.short()));
    }
    let mut object = describe(&set);
    if let Value::Object(fields) = &mut object {
        fields.insert("keys".to_owned(), json!(layers));
        fields.insert("snapshots".to_owned(), json!(snapshots));
    }
    output.finish(json!({ "set": object }))
}

fn update(
    home: &Home,
    name: &SetName,
    changes: &SetChanges,
    change: Change,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let SetChanges { key, platform_key, location, subscription, auto_rotate, recovery, new_epoch } = changes;
    let keys = key.is_some() || platform_key.is_some();
    let switches = auto_rotate.is_some() || recovery.is_some() || *new_epoch;
    if !keys && location.is_none() && subscription.is_none() && !switches {
        return Err(Failure::usage(
            "there is nothing to change",
            "say what, with --key, --platform-key, --location, --subscription or --auto-rotate",
        ));
    }
    let set = if change.dry_run { home.plan_changes(name, changes)? } else { home.update_set(name, changes)? };
    let would = if change.dry_run { "would change" } else { "changed" };
    output.say(format_args!("{would} set '{}'", set.name));
    if keys {
        say_keys(&set, output);
        output.say(format_args!("existing snapshots move with: sobre set rotate {} --resume", set.name));
    }
    output.finish(json!({ "dry_run": change.dry_run, "set": describe(&set) }))
}

/// Parses a set's name.
pub(super) fn set_name(text: &str) -> Result<SetName, Failure> {
    text.parse().map_err(|source| HomeError::from(SetError::Name { text: text.to_owned(), source }).into())
}

fn key_ref(text: Option<&String>) -> Result<Option<KeyRef>, HomeError> {
    text.map(|text| Home::key_ref(text)).transpose()
}

/// Says what a set's key may do now, and until when.
fn state_of(home: &Home, key: &SetKey) -> (String, Option<String>) {
    let found = Home::key_ref(&key.key_id)
        .and_then(|named| home.find(&named))
        .and_then(|found| Ok(found.provider.find(&key.thumbprint, &home.context())?));
    match found {
        Ok(version) => {
            let now = home.context().now();
            let state = match version.may_wrap(now) {
                Ok(()) => "seals".to_owned(),
                Err(refusal) => format!("does not seal: {refusal}"),
            };
            (state, version.not_after.map(|time| time.to_string()))
        }
        Err(error) => (format!("does not seal: {error}"), None),
    }
}

fn say_keys(set: &EncryptionSet, output: &Output) {
    for key in &set.keys {
        output.say(format_args!("seals with {}  jkt:{}", key.key_id, key.thumbprint.short()));
    }
}

fn known(snapshots: u64) -> String {
    let plural = if snapshots == 1 { "" } else { "s" };
    format!("{} snapshot{plural}", indicatif::HumanCount(snapshots))
}

fn describe(set: &EncryptionSet) -> Value {
    json!({
        "name": set.name.as_str(),
        "type": set.kind.name(),
        "keys": set.keys.iter().map(describe_key).collect::<Vec<_>>(),
        "links": set.links.iter().map(|link| json!({
            "id": link.key_id, "thumbprint": link.thumbprint.to_string(),
        })).collect::<Vec<_>>(),
        "location": set.location,
        "subscription": set.subscription,
        "auto_rotate": set.auto_rotate,
        "epoch": set.epoch,
        "recovery": set.recovery,
        "generation": set.generation,
        "created": set.created.to_string(),
    })
}

fn describe_key(key: &SetKey) -> Value {
    json!({ "layer": key.layer.number(), "id": key.key_id, "thumbprint": key.thumbprint.to_string() })
}
