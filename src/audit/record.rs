//! Events as they stand in the log, and which of them are wanted.

use serde::{Deserialize, Serialize};

use crate::audit::{Event, Properties};
use crate::clock::UnixTime;

/// An event as it was read from a log. Names and fields that a newer version wrote are kept as text or left out; nothing of it is harmless
/// on a terminal unless the line's MAC was right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// The record's number, from 1.
    pub seq: u64,
    /// When it ended: RFC 3339.
    pub time: String,
    /// What was done.
    pub operation_name: String,
    /// `Success`, `Failure` or `Started`.
    pub result_type: String,
    /// `OK`, or why it was not done.
    pub result_signature: String,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
    /// The same for everything that one request caused.
    pub correlation_id: String,
    /// Who did it.
    pub identity: RecordIdentity,
    /// To what.
    #[serde(default)]
    pub properties: RecordProperties,
}

/// Who did something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordIdentity {
    /// The user id.
    pub uid: u32,
    /// The user's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The user id at login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_uid: Option<u32>,
    /// The process id.
    pub pid: u32,
    /// The machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}

/// To what something was done: see [`Properties`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RecordProperties {
    /// A loss was accepted.
    #[serde(skip_serializing_if = "is_false")]
    pub accepted_loss: bool,
    /// A number of bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// A number of things.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<u64>,
    /// The key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<u8>,
    /// The operator chose the key.
    #[serde(skip_serializing_if = "is_false")]
    pub overridden: bool,
    /// The MAC that a chain goes on from after a loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_mac: Option<String>,
    /// The encryption set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
    /// The snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// The next key's material.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub successor: Option<String>,
    /// The key's material.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thumbprint: Option<String>,
    /// The date that matters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// The vault.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vault: Option<String>,
}

impl Record {
    pub(super) fn of(event: &Event, seq: u64) -> Self {
        let identity = &event.identity;
        Self {
            seq,
            time: event.time.to_string(),
            operation_name: event.operation.name().to_owned(),
            result_type: event.outcome.result_type().to_owned(),
            result_signature: event.outcome.result_signature().to_owned(),
            duration_ms: u64::try_from(event.duration.as_millis()).unwrap_or(u64::MAX),
            correlation_id: event.correlation.to_string(),
            identity: RecordIdentity {
                uid: identity.uid,
                user: identity.user.as_ref().map(ToString::to_string),
                login_uid: identity.login_uid,
                pid: identity.pid,
                host: identity.host.as_ref().map(ToString::to_string),
            },
            properties: RecordProperties::of(&event.properties),
        }
    }

    /// Whether the operation was refused or failed.
    pub fn failed(&self) -> bool {
        self.result_type == "Failure"
    }
}

impl RecordProperties {
    fn of(properties: &Properties) -> Self {
        Self {
            accepted_loss: properties.accepted_loss,
            bytes: properties.bytes,
            items: properties.items,
            key: properties.key.as_ref().map(ToString::to_string),
            layer: properties.layer.map(|layer| layer.number()),
            overridden: properties.overridden,
            previous_mac: None,
            set: properties.set.as_ref().map(ToString::to_string),
            snapshot: properties.snapshot.map(|id| id.to_string()),
            successor: properties.successor.map(|thumbprint| thumbprint.to_string()),
            thumbprint: properties.thumbprint.map(|thumbprint| thumbprint.to_string()),
            until: properties.until.map(|time| time.to_string()),
            vault: properties.vault.as_ref().map(ToString::to_string),
        }
    }
}

/// Which records are wanted: those that fit everything that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// From this time on. Records whose time can't be read are kept: to leave something out takes knowing it.
    pub since: Option<UnixTime>,
    /// About this key: the id with or without its version and vault, or `jkt:` and the beginning of a thumbprint.
    pub key: Option<String>,
    /// Refused or failed.
    pub failed: bool,
}

impl Filter {
    /// Whether `record` is wanted.
    pub fn wants(&self, record: &Record) -> bool {
        let recent = self.since.is_none_or(|since| record.time.parse().map_or(true, |time: UnixTime| time >= since));
        let about = self.key.as_deref().is_none_or(|key| is_about(&record.properties, key));
        recent && about && (!self.failed || record.failed())
    }
}

fn is_about(properties: &RecordProperties, key: &str) -> bool {
    if let Some(prefix) = key.strip_prefix("jkt:") {
        let thumbprints = [&properties.thumbprint, &properties.successor];
        return thumbprints.into_iter().flatten().any(|thumbprint| thumbprint.starts_with(prefix));
    }
    let Some(id) = properties.key.as_deref() else { return false };
    // What is not said of the wanted key fits anything.
    let strip_vault = |text: &str| text.split_once('/').map_or_else(|| text.to_owned(), |(_, rest)| rest.to_owned());
    let strip_version = |text: &str| text.split_once('@').map_or_else(|| text.to_owned(), |(name, _)| name.to_owned());
    let mut id = if key.contains('/') || id.contains(':') { id.to_owned() } else { strip_vault(id) };
    if !key.contains('@') {
        id = strip_version(&id);
    }
    id.eq_ignore_ascii_case(key)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_found_by_name_version_vault_and_thumbprint() {
        let properties = RecordProperties {
            key: Some("prod/backup@3".into()),
            thumbprint: Some("abcdefgh".into()),
            successor: Some("zyxwvu".into()),
            ..RecordProperties::default()
        };
        for key in ["backup", "BACKUP", "backup@3", "prod/backup", "prod/backup@3", "jkt:abcdef", "jkt:zyxwvu"] {
            assert!(is_about(&properties, key), "{key}");
        }
        for key in ["back", "backup@33", "test/backup", "prod", "jkt:bcdefg", "backup@"] {
            assert!(!is_about(&properties, key), "{key}");
        }
        assert!(!is_about(&RecordProperties::default(), "backup"));
    }
}
