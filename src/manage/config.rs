//! `config.toml`: which vaults there are and which keys are meant when none is named.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::audit::FailurePolicy;
use crate::manage::HomeError;
use crate::provider::embedded::Owner;

/// The configuration as it stands in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Key that seals when no `--key` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Key of layer 1 with `--double`, when no `--key` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub customer_key: Option<String>,
    /// Key of layer 2 with `--double`, when no `--platform-key` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform_key: Option<String>,
    /// Keys that every seal is wrapped for as well, so that a lost vault loses nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "one_or_many")]
    pub recovery: Vec<String>,
    /// What goes on when the audit log can't be written: `stop`, or `stderr`, with which reading what is sealed goes on, its records on
    /// standard error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit_failure: Option<AuditFailure>,
    /// The vaults by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vault: BTreeMap<String, VaultConfig>,
}

/// What goes on when the audit log can't be written, in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum AuditFailure {
    /// Opening goes on, with its records on standard error.
    Stderr,
    /// Nothing.
    Stop,
}

impl From<AuditFailure> for FailurePolicy {
    fn from(name: AuditFailure) -> Self {
        match name {
            AuditFailure::Stderr => Self::StandardError,
            AuditFailure::Stop => Self::Stop,
        }
    }
}

/// One vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultConfig {
    /// What kind of vault it is; `embedded` is the only one so far.
    #[serde(rename = "type")]
    pub kind: VaultKind,
    /// Whose keys it holds.
    pub owner: OwnerName,
    /// The database; a relative path counts from the data folder.
    pub path: PathBuf,
}

/// Kinds of vaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum VaultKind {
    /// A database on this machine.
    Embedded,
}

/// Whose keys a vault holds, in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OwnerName {
    /// A customer's.
    Customer,
    /// The platform's.
    Platform,
}

impl From<OwnerName> for Owner {
    fn from(name: OwnerName) -> Self {
        match name {
            OwnerName::Customer => Self::Customer,
            OwnerName::Platform => Self::Platform,
        }
    }
}

impl Config {
    /// Reads the file; `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`HomeError::Config`] when it can't be read or is no valid configuration.
    pub fn read(path: &Path) -> Result<Option<Self>, HomeError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(HomeError::Io { path: path.to_owned(), source }),
        };
        let config = toml::from_str(&text).map_err(|error| HomeError::Config {
            path: path.to_owned(),
            line: error.span().map(|span| text.get(..span.start).unwrap_or_default().matches('\n').count() + 1),
            message: error.message().to_owned(),
        })?;
        Ok(Some(config))
    }

    /// Writes the configuration as the text of a new file.
    pub(super) fn to_text(&self) -> String {
        let body = toml::to_string(self).unwrap_or_default();
        format!("# sobre: which vaults there are and which keys seal. Lines may be added and changed by hand.\n{body}")
    }
}

impl VaultConfig {
    /// Writes the vault as a table that can stand at the end of a configuration.
    pub(super) fn to_text(&self, name: &str) -> String {
        let vault = BTreeMap::from([(name.to_owned(), self.clone())]);
        toml::to_string(&Config { vault, ..Config::default() }).unwrap_or_default()
    }
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_configuration_reads_back_also_with_a_vault_added() {
        let vault = VaultConfig { kind: VaultKind::Embedded, owner: OwnerName::Customer, path: "vaults/a.db".into() };
        let config = Config {
            key: Some("a/default".into()),
            vault: BTreeMap::from([("a".into(), vault.clone())]),
            ..Config::default()
        };
        let text = format!("{}\n{}", config.to_text(), vault.to_text("b"));
        let read: Config = toml::from_str(&text).expect("valid");
        assert_eq!(read.vault.len(), 2);
        assert_eq!(read.key.as_deref(), Some("a/default"));
    }

    #[test]
    fn one_recovery_key_needs_no_list() {
        let read: Config = toml::from_str("recovery = \"file:a.pem\"").expect("valid");
        assert_eq!(read.recovery, ["file:a.pem"]);
        let read: Config = toml::from_str("recovery = [\"file:a.pem\", \"b\"]").expect("valid");
        assert_eq!(read.recovery.len(), 2);
    }

    #[test]
    fn a_misspelt_setting_is_an_error() {
        assert!(toml::from_str::<Config>("recovry = \"file:a.pem\"").is_err());
    }
}
