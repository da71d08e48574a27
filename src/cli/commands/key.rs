//! `sobre key`

mod change;
mod confirm;
mod copy;
mod export;
mod impact;
mod import;
mod replace;

use std::process::ExitCode;
use std::sync::Arc;

use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::{Value, json};
use sobre::key::{KeyAlias, KeyDetails, KeyName, KeyRef, KeyVersion};
use sobre::manage::{Home, HomeError};
use sobre::oaep::RsaPublicKey;
use sobre::provider::embedded::EmbeddedVault;
use sobre::provider::{Audited, KeyAdmin, KeyCensus, KeyProvider};

use crate::cli::args::{Change, Global, KeyArgs, KeyCommand, PublicForm};
use crate::cli::commands::{nag, open_home, say_created};
use crate::cli::exit::Failure;
use crate::cli::report::Output;
use crate::cli::units::count;

pub(crate) fn run(args: &KeyArgs, global: &Global, output: &Output) -> Result<ExitCode, Failure> {
    match &args.command {
        KeyCommand::Create { name, size, change } => create(name, size, *change, global, output),
        KeyCommand::List { deleted: false } => list(global, output),
        KeyCommand::List { deleted: true } => list_deleted(global, output),
        KeyCommand::Show { key, public } => show(key, *public, global, output),
        KeyCommand::Rotate { key, change } => rotate(key, *change, global, output),
        KeyCommand::Import {
            file,
            name,
            format,
            target,
            discard_certificates,
            not_before,
            expires,
            alias,
            import_passphrase_file,
            change,
        } => {
            let source = import::KeyFile {
                file,
                format: *format,
                target: target.as_deref(),
                discard_certificates: *discard_certificates,
                passphrase: import_passphrase_file.as_deref(),
                aliases: alias,
            };
            import::run(&source, name, (*not_before, *expires), *change, global, output)
        }
        KeyCommand::Export { key, file, byok, kid, force, change } => {
            let to = export::Recipient { key: byok, kid: kid.as_deref() };
            export::run(key, file, &to, *force, *change, global, output)
        }
        KeyCommand::Enable { key, change } => change::enable(key, *change, global, output),
        KeyCommand::Disable { key, accept_loss, change } => change::disable(key, *accept_loss, *change, global, output),
        KeyCommand::Update { key, not_before, expires, delete_lock, alias, remove_alias, change } => {
            let wanted = change::Wanted {
                not_before: *not_before,
                expires: *expires,
                delete_lock: *delete_lock,
                aliases: alias,
                forgotten: remove_alias,
            };
            change::update(key, &wanted, *change, global, output)
        }
        KeyCommand::Policy { key, rotate_every, rotate_before, notify_after, notify_before, change } => {
            let periods =
                change::Periods { rotate: (*rotate_every, *rotate_before), notify: (*notify_after, *notify_before) };
            change::policy(key, &periods, *change, global, output)
        }
        KeyCommand::Impact { key } => impact::impact(key, global, output),
        KeyCommand::Replace { key, new, delete, accept_loss, change } => {
            replace::run(key, new, (*delete, *accept_loss), *change, global, output)
        }
        KeyCommand::Delete { key, accept_loss, change } => change::delete(key, *accept_loss, *change, global, output),
        KeyCommand::Recover { key, change } => change::recover(key, *change, global, output),
        KeyCommand::Purge { key, accept_loss, record, change } => {
            change::purge(key, *accept_loss, record.as_deref(), *change, global, output)
        }
        KeyCommand::Backup { key, file, to, force } => copy::backup(key, file, to.as_deref(), *force, global, output),
        KeyCommand::Restore { file, key, change } => copy::restore(file, key.as_deref(), *change, global, output),
    }
}

fn create(name: &str, size: &str, change: Change, global: &Global, output: &Output) -> Result<ExitCode, Failure> {
    let name: KeyName = name.parse().map_err(|source| HomeError::Name { text: name.to_owned(), source })?;
    let bits = size.parse().unwrap_or(3072);
    if change.dry_run {
        return would(output, "make", &name.to_string(), json!({ "bits": bits }));
    }
    let (key, created) = open_home(global)?.create_key(None, &name, bits)?;
    say_created(output, &created);
    output.say(format_args!("made key {}, {} bits, jkt:{}", key.id, key.public.bits(), key.thumbprint));
    nag(output);
    output.finish(json!({ "key": describe(&key), "recoverable": false }))
}

fn list(global: &Global, output: &Output) -> Result<ExitCode, Failure> {
    let home = open_home(global)?;
    let cx = home.context();
    let mut rows = Vec::new();
    let mut deleted = 0;
    for vault in home.vaults()? {
        for name in vault.keys(&cx).map_err(HomeError::from)? {
            for (_, version) in vault.versions(&name, &cx).map_err(HomeError::from)? {
                rows.push(version);
            }
        }
        deleted += vault.deleted(&cx).map_err(HomeError::from)?.len();
    }
    if rows.is_empty() {
        output.say(if home.is_fresh() { "there are no vaults yet" } else { "there are no keys" });
    }
    let width = rows.iter().map(|version| version.id.len()).max().unwrap_or(0);
    for version in &rows {
        let created = version.created.map_or_else(String::new, |created| created.to_string());
        output.say(format_args!(
            "{:width$}  {:8}  {} bits  {created}  jkt:{}",
            version.id,
            version.state.name(),
            version.public.bits(),
            version.thumbprint
        ));
    }
    if deleted > 0 {
        output.say(format_args!("and {}: sobre key list --deleted", count(deleted, "deleted key")));
    }
    output.finish(json!({ "keys": rows.iter().map(describe).collect::<Vec<_>>(), "deleted": deleted }))
}

fn list_deleted(global: &Global, output: &Output) -> Result<ExitCode, Failure> {
    let home = open_home(global)?;
    let cx = home.context();
    let mut rows = Vec::new();
    for vault in home.vaults()? {
        for key in vault.deleted(&cx).map_err(HomeError::from)? {
            let versions = vault.versions(&key.name, &cx).map_err(HomeError::from)?;
            let id = format!("{}/{}", vault.name(), key.name);
            if let Some(deletion) = key.deletion {
                output.say(format_args!(
                    "{id}  {}  deleted {}  kept until {} at least",
                    count(versions.len(), "version"),
                    deletion.deleted,
                    deletion.recoverable_until
                ));
            }
            let mut row = describe_whole(&id, &key);
            if let Value::Object(fields) = &mut row {
                let versions: Vec<Value> = versions.iter().map(|(_, version)| describe(version)).collect();
                fields.insert("versions".to_owned(), json!(versions));
            }
            rows.push(row);
        }
    }
    if rows.is_empty() {
        output.say("there are no deleted keys");
    }
    output.finish(json!({ "deleted": rows }))
}

fn show(key: &str, public: Option<PublicForm>, global: &Global, output: &Output) -> Result<ExitCode, Failure> {
    let home = open_home(global)?;
    let found = home.find(&Home::key_ref(key)?)?;
    // A role may see versions and no more; a key in a file has no more.
    let details = details_of(&home, &found.version);
    let aliases = home.aliases(&found)?;
    let version = found.version;
    match public {
        Some(form) => {
            if !output.is_json() {
                output.print(match form {
                    PublicForm::Pem => pem(&version.public),
                    PublicForm::Jwk => jwk(&version).to_string(),
                });
            }
        }
        None => {
            output.say(format_args!("id          {}", version.id));
            output.say(format_args!("thumbprint  jkt:{}  (JWK SHA-256)", version.thumbprint));
            for alias in &aliases {
                output.say(format_args!("alias       {alias}  ({})", alias.kind().algorithm()));
            }
            output.say(format_args!("size        {} bits", version.public.bits()));
            output.say(format_args!("state       {}", version.state.name()));
            output.say(format_args!("owner       {}", owner(&version)));
            for (name, time) in
                [("created", version.created), ("not before", version.not_before), ("expires", version.not_after)]
            {
                if let Some(time) = time {
                    output.say(format_args!("{name:11} {time}"));
                }
            }
            if let Some(details) = &details {
                say_details(details, &version, &home, output);
            }
        }
    }
    let mut key = describe(&version);
    if let Value::Object(fields) = &mut key {
        fields.insert("jwk".to_owned(), jwk(&version));
        fields.insert("pem".to_owned(), json!(pem(&version.public)));
        fields.insert("aliases".to_owned(), describe_aliases(&version, &aliases));
        if let Some(details) = &details {
            fields.insert("whole".to_owned(), describe_whole(&details.name.to_string(), details));
        }
    }
    output.finish(json!({ "key": key }))
}

fn rotate(key: &str, change: Change, global: &Global, output: &Output) -> Result<ExitCode, Failure> {
    let home = open_home(global)?;
    let (vault, name) = whole(&home, key, "rotated", "rotate")?;
    let id = format!("{}/{name}", vault.name());
    let before = home.find(&Home::key_ref(&id)?)?.version;
    if change.dry_run {
        return would(output, "rotate", &id, json!({ "before": describe(&before) }));
    }
    let fresh = vault.rotate(&name, &home.context()).map_err(HomeError::from)?;
    output.say(format_args!("made key {}, {} bits, jkt:{}", fresh.id, fresh.public.bits(), fresh.thumbprint));
    output
        .say("snapshots sealed before keep opening with their version; move them with: sobre rewrap --to KEY SNAP...");
    nag(output);
    output.finish(json!({ "key": describe(&fresh), "before": describe(&before), "recoverable": false }))
}

/// Finds a key that is meant with all its versions.
fn whole(home: &Home, key: &str, done: &str, verb: &str) -> Result<(Arc<Audited<EmbeddedVault>>, KeyName), Failure> {
    home.whole_key(&Home::key_ref(key)?)?.ok_or_else(|| {
        Failure::usage(
            format!("a key is {done} by its name, without a version"),
            format!("as in: sobre key {verb} customer/default"),
        )
    })
}

/// Returns what is known of a version's key, where the vault says it.
fn details_of(home: &Home, version: &KeyVersion) -> Option<KeyDetails> {
    let Ok(KeyRef::Named { vault: Some(vault), name, .. }) = version.id.parse() else { return None };
    home.vault(&vault).ok()?.details(&name, &home.context()).ok()
}

fn say_details(details: &KeyDetails, version: &KeyVersion, home: &Home, output: &Output) {
    if details.delete_lock {
        output.say("delete lock on");
    }
    if !details.policy.is_empty() {
        output.say(format_args!("policy      {}", details.policy));
        let now = home.context().now();
        for action in details.policy.schedule(version) {
            let due = if action.since <= now { "due since" } else { "due on" };
            output.say(format_args!("{:11} {due} {}", action.action.name(), action.since));
        }
    }
    if let Some(deletion) = details.deletion {
        output.say(format_args!("deleted     {}", deletion.deleted));
        output.say(format_args!("kept until  {} at least", deletion.recoverable_until));
    }
}

/// Ends a dry run.
fn would(output: &Output, verb: &str, id: &str, more: Value) -> Result<ExitCode, Failure> {
    output.say(format_args!("would {verb} {id}; nothing was changed"));
    let mut result = json!({ "dry_run": true, "would": verb, "key": id });
    if let (Value::Object(fields), Value::Object(more)) = (&mut result, more) {
        fields.extend(more);
    }
    output.finish(result)
}

/// Reminds of the backup, which does not have the change. Keys that are only changed are not lost without it.
fn remind(output: &Output) {
    output.say("the newest vault backup does not have this change: sobre vault backup FILE");
}

fn describe_whole(id: &str, key: &KeyDetails) -> Value {
    json!({
        "key": id,
        "delete_lock": key.delete_lock,
        "policy": (!key.policy.is_empty()).then(|| key.policy.to_string()),
        "deleted": key.deletion.map(|deletion| deletion.deleted.to_string()),
        "recoverable_until": key.deletion.map(|deletion| deletion.recoverable_until.to_string()),
    })
}

/// Describes all names of a version's material, each with its algorithm.
fn describe_aliases(version: &KeyVersion, aliases: &[KeyAlias]) -> Value {
    let thumbprint = json!({ "alias": format!("jkt:{}", version.thumbprint), "algorithm": "JWK SHA-256" });
    let others =
        aliases.iter().map(|alias| json!({ "alias": alias.to_string(), "algorithm": alias.kind().algorithm() }));
    std::iter::once(thumbprint).chain(others).collect()
}

fn describe(version: &KeyVersion) -> Value {
    json!({
        "id": version.id,
        "thumbprint": version.thumbprint.to_string(),
        "bits": version.public.bits(),
        "state": version.state.name(),
        "owner": owner(version),
        "created": version.created.map(|time| time.to_string()),
        "not_before": version.not_before.map(|time| time.to_string()),
        "expires": version.not_after.map(|time| time.to_string()),
    })
}

fn owner(version: &KeyVersion) -> &'static str {
    if version.customer { "customer" } else { "platform" }
}

fn pem(key: &RsaPublicKey) -> String {
    let text = pem_rfc7468::encode_string("PUBLIC KEY", pem_rfc7468::LineEnding::LF, key.spki_der());
    text.unwrap_or_default().trim_end().to_owned()
}

fn jwk(version: &KeyVersion) -> Value {
    let number = |bytes: &[u8]| Base64UrlUnpadded::encode_string(bytes);
    json!({
        "kty": "RSA",
        "kid": version.id,
        "use": "enc",
        "alg": "RSA-OAEP-256",
        "n": number(version.public.modulus()),
        "e": number(version.public.exponent()),
    })
}
