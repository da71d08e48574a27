//! One thing that happened.

use std::fmt;
use std::time::Duration;

use crate::audit::{CorrelationId, Identity, Properties};
use crate::clock::UnixTime;

/// One key operation, or one of its consequences (R76).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it ended, by the wall clock.
    pub time: UnixTime,
    /// What was done.
    pub operation: Operation,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took.
    pub duration: Duration,
    /// What belongs together: the same for everything that one request caused.
    pub correlation: CorrelationId,
    /// Who did it.
    pub identity: Identity,
    /// To what.
    pub properties: Properties,
}

impl Event {
    /// Makes the event of an operation of this process that took no time worth telling.
    pub fn new(operation: Operation, outcome: Outcome, time: UnixTime, correlation: CorrelationId) -> Self {
        let identity = Identity::of_process();
        Self {
            time,
            operation,
            outcome,
            duration: Duration::ZERO,
            correlation,
            identity,
            properties: Properties::default(),
        }
    }

    /// Sets how long it took.
    #[must_use]
    pub fn took(mut self, duration: Duration) -> Self {
        self.duration = duration;
        self
    }

    /// Sets to what it was done.
    #[must_use]
    pub fn with(mut self, properties: Properties) -> Self {
        self.properties = properties;
        self
    }
}

/// What was done. `Display` is the operation's name in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// What a set's key allows got worse (R49).
    AccessLost,
    /// What a set's key allows got better (R50).
    AccessRestored,
    /// A key left its vault as a sealed or opaque copy.
    KeyBackup,
    /// A key was generated.
    KeyCreate,
    /// A key was soft-deleted.
    KeyDelete,
    /// A key left its vault for another one, wrapped.
    KeyExport,
    /// The public half and the state of a key were read.
    KeyGet,
    /// A key that was made elsewhere came in.
    KeyImport,
    /// A key that seals expires soon.
    KeyNearExpiry,
    /// A key was destroyed for good.
    KeyPurge,
    /// A soft-deleted key came back.
    KeyRecover,
    /// A key came back from a copy.
    KeyRestore,
    /// A key got a new version.
    KeyRotate,
    /// A DEK was unwrapped.
    KeyUnwrap,
    /// State, dates, lock or policy of a key changed.
    KeyUpdate,
    /// A DEK was wrapped.
    KeyWrap,
    /// The log found remains of an interrupted run at its end, and cut them off.
    LogRepair,
    /// The log begins anew after what was before was lost.
    LogRestart,
    /// An encryption set was made.
    SetCreate,
    /// An encryption set was removed.
    SetDelete,
    /// A key was linked to a set: it unwraps and never wraps.
    SetLink,
    /// A set got a new active key, and its DEKs were re-wrapped.
    SetRotate,
    /// A key was unlinked from a set.
    SetUnlink,
    /// A set's settings changed.
    SetUpdate,
    /// The wrapped DEKs of a snapshot changed.
    SnapshotRewrap,
    /// All keys of a vault left it as a sealed copy.
    VaultBackup,
    /// A vault was made.
    VaultCreate,
    /// The keys of a vault came back from a copy.
    VaultRestore,
    /// The protection or another setting of a vault changed.
    VaultUpdate,
}

impl Operation {
    /// Returns the name in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::AccessLost => "AccessLost",
            Self::AccessRestored => "AccessRestored",
            Self::KeyBackup => "KeyBackup",
            Self::KeyCreate => "KeyCreate",
            Self::KeyDelete => "KeyDelete",
            Self::KeyExport => "KeyExport",
            Self::KeyGet => "KeyGet",
            Self::KeyImport => "KeyImport",
            Self::KeyNearExpiry => "KeyNearExpiry",
            Self::KeyPurge => "KeyPurge",
            Self::KeyRecover => "KeyRecover",
            Self::KeyRestore => "KeyRestore",
            Self::KeyRotate => "KeyRotate",
            Self::KeyUnwrap => "KeyUnwrap",
            Self::KeyUpdate => "KeyUpdate",
            Self::KeyWrap => "KeyWrap",
            Self::LogRepair => "LogRepair",
            Self::LogRestart => "LogRestart",
            Self::SetCreate => "SetCreate",
            Self::SetDelete => "SetDelete",
            Self::SetLink => "SetLink",
            Self::SetRotate => "SetRotate",
            Self::SetUnlink => "SetUnlink",
            Self::SetUpdate => "SetUpdate",
            Self::SnapshotRewrap => "SnapshotRewrap",
            Self::VaultBackup => "VaultBackup",
            Self::VaultCreate => "VaultCreate",
            Self::VaultRestore => "VaultRestore",
            Self::VaultUpdate => "VaultUpdate",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How an operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It was refused or failed.
    Failure(FailureKind),
    /// It begins: recorded first where the act itself can't be undone.
    Started,
    /// It was done.
    Success,
}

impl Outcome {
    /// Returns `resultType`.
    pub fn result_type(self) -> &'static str {
        match self {
            Self::Failure(_) => "Failure",
            Self::Started => "Started",
            Self::Success => "Success",
        }
    }

    /// Returns `resultSignature`.
    pub fn result_signature(self) -> &'static str {
        match self {
            Self::Failure(kind) => kind.name(),
            Self::Started => "Started",
            Self::Success => "OK",
        }
    }
}

/// Why an operation was not done: a vault's answers, and what else stops one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// Held by another process.
    Busy,
    /// Records contradict each other or fail their authentication.
    Damaged,
    /// The key is deleted.
    Deleted,
    /// The caller has not the right.
    Denied,
    /// The key is disabled.
    Disabled,
    /// The name is taken.
    Exists,
    /// The key's time is over, for wrapping.
    Expired,
    /// Anything else.
    Failed,
    /// The passphrase or PIN is wrong.
    Locked,
    /// An answer about something else than what was asked: suspicious.
    Lying,
    /// There is no such key.
    NotFound,
    /// The key's time has not come.
    NotYetValid,
    /// A lock, a retention or a possible loss forbids it.
    Protected,
    /// The vault asks to wait.
    Throttled,
    /// No answer before the deadline.
    Timeout,
    /// No way to the vault.
    Unavailable,
    /// The vault can't do this.
    Unsupported,
    /// The private-key operation failed.
    UnwrapFailed,
}

impl FailureKind {
    /// Returns the name in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Busy => "Busy",
            Self::Damaged => "Damaged",
            Self::Deleted => "Deleted",
            Self::Denied => "Denied",
            Self::Disabled => "Disabled",
            Self::Exists => "Exists",
            Self::Expired => "Expired",
            Self::Failed => "Failed",
            Self::Locked => "Locked",
            Self::Lying => "Lying",
            Self::NotFound => "NotFound",
            Self::NotYetValid => "NotYetValid",
            Self::Protected => "Protected",
            Self::Throttled => "Throttled",
            Self::Timeout => "Timeout",
            Self::Unavailable => "Unavailable",
            Self::Unsupported => "Unsupported",
            Self::UnwrapFailed => "UnwrapFailed",
        }
    }
}
