//! `sobre key import`

use std::error::Error as StdError;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use sobre::Error;
use sobre::io::escaped_path;
use sobre::key::{KeyAlias, KeyName, KeyRef};
use sobre::manage::{Home, HomeError};
use sobre::provider::embedded::Purpose;
use sobre::provider::import::{Format, ImportError, ImportedKey, Importer, MAX_LEN};
use sobre::provider::{KeyAdmin, KeyChanges};
use sobre::secret::SecretBytes;

use crate::cli::args::{Change, Global};
use crate::cli::commands::key::{describe, would};
use crate::cli::commands::{nag, open_home, say_created};
use crate::cli::exit::Failure;
use crate::cli::passphrase::Passphrases;
use crate::cli::report::Output;
use crate::cli::units::Date;

/// Where a key comes from, and how it is read.
pub(super) struct KeyFile<'a> {
    pub(super) file: &'a Path,
    pub(super) format: Option<Format>,
    pub(super) target: Option<&'a str>,
    pub(super) discard_certificates: bool,
    pub(super) passphrase: Option<&'a Path>,
    /// What it is called elsewhere, besides what the file says.
    pub(super) aliases: &'a [KeyAlias],
}

pub(super) fn run(
    source: &KeyFile<'_>,
    name: &str,
    (not_before, expires): (Option<Date>, Option<Date>),
    change: Change,
    global: &Global,
    output: &Output,
) -> Result<ExitCode, Failure> {
    let name: KeyName = name.parse().map_err(|source| HomeError::Name { text: name.to_owned(), source })?;
    let home = open_home(global)?;
    let imported = source.read(&home)?;
    let public = imported.private.public().map_err(|error| Failure::plain(&error).at(source.file))?;
    let thumbprint = sobre::key::Thumbprint::of(&public);
    let seen = imported.certificates.iter().copied().map(KeyAlias::Certificate);
    let aliases: Vec<KeyAlias> = seen.chain(source.aliases.iter().cloned()).collect();
    let shown: Vec<String> = aliases.iter().map(ToString::to_string).collect();
    if change.dry_run {
        let facts = json!({
            "format": imported.format.name(), "bits": public.bits(), "thumbprint": thumbprint.to_string(), "aliases": shown,
        });
        return would(output, "import", name.as_str(), facts);
    }
    let (mut key, created) = home.import_key(None, &name, &imported.private, &aliases)?;
    say_created(output, &created);
    output.say(format_args!(
        "imported {} from {}, {} bits, jkt:{thumbprint}",
        key.id,
        escaped_path(source.file),
        public.bits()
    ));
    for alias in &aliases {
        output.say(format_args!("recorded {alias}  ({})", alias.kind().algorithm()));
    }
    if not_before.is_some() || expires.is_some() {
        let changes = KeyChanges {
            not_before: not_before.map(|date| date.0),
            not_after: expires.map(|date| date.0),
            ..KeyChanges::default()
        };
        if let Ok(KeyRef::Named { vault: Some(vault), version, .. }) = key.id.parse() {
            key = home.vault(&vault)?.update(&name, version, &changes, &home.context()).map_err(HomeError::from)?;
        }
    }
    output.say("whoever has a copy of that file can open what this key seals: keep it as safe, or destroy it");
    nag(output);
    output.finish(
        json!({ "key": describe(&key), "format": imported.format.name(), "aliases": shown, "recoverable": false }),
    )
}

impl KeyFile<'_> {
    fn read(&self, home: &Home) -> Result<ImportedKey, Failure> {
        let bytes = read(self.file).map_err(|error| Failure::from(Error::Io(error).at(self.file)))?;
        let passphrases = Passphrases::of_file(self.passphrase);
        let mut ask = || {
            let secret = passphrases.ask(&escaped_path(self.file), Purpose::Open);
            secret.map_err(|error| Box::new(error) as Box<dyn StdError + Send + Sync>)
        };
        let target = self.target.map(|key| home.find(&Home::key_ref(key)?)).transpose()?;
        let cx = home.context();
        let mut importer = Importer::new().passphrase(&mut ask);
        if let Some(format) = self.format {
            importer = importer.format(format);
        }
        if let Some(target) = &target {
            importer = importer.byok_target(&*target.provider, &target.version, &cx);
        }
        if self.discard_certificates {
            importer = importer.discard_certificates();
        }
        importer.read(&bytes).map_err(|error| failure(error).at(self.file))
    }
}

fn failure(error: ImportError) -> Failure {
    let advice = match &error {
        ImportError::Certificate => "say so with --discard-certificates",
        ImportError::Passphrase(_) | ImportError::PassphraseNeeded => {
            "give the file's passphrase with --import-passphrase-file"
        }
        ImportError::SobreBackup => "bring it back with: sobre key restore FILE, or: sobre vault restore FILE",
        ImportError::TargetNeeded { .. } => "name the key that it was written for with --target KEY",
        ImportError::Target(_) => {
            let ImportError::Target(error) = error else { return Failure::plain(&error) };
            return HomeError::from(error).into();
        }
        _ => return with_code(&error),
    };
    let mut failure = with_code(&error);
    failure.advice = Some(advice.to_owned());
    failure
}

fn with_code(error: &ImportError) -> Failure {
    let failure = Failure::plain(error);
    match error {
        ImportError::Passphrase(_) | ImportError::PassphraseNeeded | ImportError::Undecryptable(_) => {
            Failure { kind: "wrong_key", code: 12, ..failure }
        }
        _ => failure,
    }
}

/// Reads a file into locked memory; one byte more than a key file has tells that it is none.
fn read(path: &Path) -> io::Result<SecretBytes> {
    let mut file = File::open(path)?;
    let mut bytes = SecretBytes::zeroed(MAX_LEN + 1);
    let mut len = 0;
    while let Some(rest) = bytes.expose_mut().get_mut(len..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(count) => len += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(len);
    Ok(bytes)
}
