//! `sobre key`

use std::process::ExitCode;

use base64ct::{Base64UrlUnpadded, Encoding};
use serde_json::{Value, json};
use sobre::key::{KeyName, KeyRef, KeyVersion};
use sobre::manage::{Home, HomeError};
use sobre::oaep::RsaPublicKey;
use sobre::provider::{KeyAdmin, KeyCensus};

use crate::cli::args::{Global, KeyArgs, KeyCommand, PublicForm};
use crate::cli::commands::{nag, open_home, say_created};
use crate::cli::exit::Failure;
use crate::cli::report::Output;

pub(crate) fn run(args: &KeyArgs, global: &Global, output: &Output) -> Result<ExitCode, Failure> {
    match &args.command {
        KeyCommand::Create { name, size } => create(name, size, global, output),
        KeyCommand::List => list(global, output),
        KeyCommand::Show { key, public } => show(key, *public, global, output),
        KeyCommand::Rotate { key } => rotate(key, global, output),
    }
}

fn create(name: &str, size: &str, global: &Global, output: &Output) -> Result<ExitCode, Failure> {
    let name: KeyName = name.parse().map_err(|source| HomeError::Name { text: name.to_owned(), source })?;
    let bits = size.parse().unwrap_or(3072);
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
    for vault in home.vaults()? {
        for name in vault.keys(&cx).map_err(HomeError::from)? {
            for (_, version) in vault.versions(&name, &cx).map_err(HomeError::from)? {
                rows.push(version);
            }
        }
    }
    if rows.is_empty() {
        output.say(if home.is_fresh() { "there are no vaults yet" } else { "there are no keys yet" });
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
    output.finish(json!({ "keys": rows.iter().map(describe).collect::<Vec<_>>() }))
}

fn show(key: &str, public: Option<PublicForm>, global: &Global, output: &Output) -> Result<ExitCode, Failure> {
    let home = open_home(global)?;
    let version = home.find(&Home::key_ref(key)?)?.version;
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
            output.say(format_args!("thumbprint  jkt:{}", version.thumbprint));
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
        }
    }
    let mut key = describe(&version);
    if let Value::Object(fields) = &mut key {
        fields.insert("jwk".to_owned(), jwk(&version));
        fields.insert("pem".to_owned(), json!(pem(&version.public)));
    }
    output.finish(json!({ "key": key }))
}

fn rotate(key: &str, global: &Global, output: &Output) -> Result<ExitCode, Failure> {
    let home = open_home(global)?;
    let reference = Home::key_ref(key)?;
    let KeyRef::Named { name, version: None, .. } = &reference else {
        return Err(Failure::usage(
            "a key is rotated by its name, without a version",
            "as in: sobre key rotate customer/default",
        ));
    };
    let found = home.find(&reference)?;
    let vault = home.vault(found.provider.name())?;
    let fresh = vault.rotate(name, &home.context()).map_err(HomeError::from)?;
    output.say(format_args!("made key {}, {} bits, jkt:{}", fresh.id, fresh.public.bits(), fresh.thumbprint));
    output
        .say("snapshots sealed before keep opening with their version; move them with: sobre rewrap --to KEY SNAP...");
    nag(output);
    output.finish(json!({ "key": describe(&fresh), "before": describe(&found.version), "recoverable": false }))
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
