//! Exit codes and failures: what happened, to what, what to do now.

use std::error::Error as StdError;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use sobre::audit::AuditError;
use sobre::catalog::CatalogError;
use sobre::engine::PolicyError;
use sobre::format::{Fault, Part};
use sobre::io::{CommitError, Escaped, escaped_path};
use sobre::manage::{HomeError, SetError};
use sobre::provider::embedded::{BackupError, PassphraseError, VaultError};
use sobre::provider::{KeyRefusal, MissingRight, NotRecorded, ProviderError, ProviderErrorKind};
use sobre::{Error, ErrorKind};

/// The table of exit codes, also `sobre help exit-codes`.
pub(crate) const TABLE: &str = "What the exit codes mean:

  0    done, and every byte that was written or checked is as it should be
  1    failed
  2    the command line makes no sense
  3    some of several items failed
  10   a file, key or vault was not found
  11   busy: another process holds it; try later
  12   wrong key, passphrase or PIN
  13   damaged or forged; trying again does not help
  14   a key is refused, disabled, deleted or missing, or data would be lost: ask the
       key's owner
  15   a vault can't be reached or is throttled; try later
  130  stopped by SIGINT
  143  stopped by SIGTERM";

/// Some of several items failed.
pub(crate) const SOME_FAILED: u8 = 3;

/// Why the command did not do its work.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: &'static str,
    pub(crate) code: u8,
    pub(crate) message: String,
    pub(crate) advice: Option<String>,
}

impl Failure {
    /// A command line that makes no sense.
    pub(crate) fn usage(message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { kind: "usage", code: 2, message: message.into(), advice: Some(advice.into()) }
    }

    /// Failed for a reason that has no code of its own.
    pub(crate) fn plain(error: &dyn StdError) -> Self {
        Self { kind: "failed", code: 1, message: chain(error), advice: None }
    }

    /// Stopped by a signal.
    pub(crate) fn signalled(signal: i32, message: String, advice: Option<String>) -> Self {
        let code = u8::try_from(128 + signal).unwrap_or(1);
        Self { kind: "cancelled", code, message, advice }
    }

    /// Whether a key's owner, or what would be lost, forbids it.
    pub(crate) fn is_refusal(&self) -> bool {
        self.code == code_of(ErrorKind::Refused).1
    }

    /// Says at which file it happened, where the message does not.
    pub(crate) fn at(mut self, path: &Path) -> Self {
        let path = escaped_path(path);
        if !self.message.contains(&path) {
            self.message = format!("{path}: {}", self.message);
        }
        self
    }

    /// Writes the failure to standard error, for when there is no output yet.
    pub(crate) fn show_plain(&self) -> ExitCode {
        // Standard error may be full or closed, which must not turn into a panic and its exit code.
        let mut stderr = std::io::stderr();
        let _ = writeln!(stderr, "sobre: {}", self.message);
        if let Some(advice) = &self.advice {
            let _ = writeln!(stderr, "  {advice}");
        }
        ExitCode::from(self.code)
    }
}

impl From<HomeError> for Failure {
    fn from(error: HomeError) -> Self {
        let (kind, code) = code_of(error.kind());
        Self { kind, code, message: chain(&error), advice: advice_for_home(&error) }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        HomeError::Engine(error).into()
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Error::Io(error).into()
    }
}

/// Joins an error and its causes into one line.
fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let words = Escaped(&next.to_string()).to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = next.source();
    }
    text
}

/// Whether the cause of it all is a full disk.
fn is_out_of_room(error: &(dyn StdError + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| io.kind() == std::io::ErrorKind::StorageFull) {
            return true;
        }
        cause = error.source();
    }
    false
}

fn code_of(kind: ErrorKind) -> (&'static str, u8) {
    match kind {
        ErrorKind::Busy => ("busy", 11),
        ErrorKind::Cancelled => ("cancelled", 130),
        ErrorKind::Damaged => ("damaged", 13),
        ErrorKind::NotFound => ("not_found", 10),
        ErrorKind::Refused => ("refused", 14),
        ErrorKind::Unavailable => ("unavailable", 15),
        ErrorKind::Usage => ("usage", 2),
        ErrorKind::WrongKey => ("wrong_key", 12),
        _ => ("failed", 1),
    }
}

fn advice_for_home(error: &HomeError) -> Option<String> {
    let text = match error {
        HomeError::AmbiguousKey { .. } => "name one of them in full, as VAULT/NAME@N",
        HomeError::Audit(error) => return advice_for_audit(error),
        HomeError::Catalog(CatalogError::Damaged { .. } | CatalogError::Newer { .. }) => {
            "no snapshot is lost; make the catalogue anew with: sobre catalog rebuild DIR..."
        }
        HomeError::Backup(error) if is_out_of_room(error) => MAKE_ROOM,
        HomeError::Catalog(error) if is_out_of_room(error) => MAKE_ROOM,
        HomeError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => MAKE_ROOM,
        HomeError::Catalog(CatalogError::Changed(_) | CatalogError::JobRunning(_)) => "look at it, and try again",
        HomeError::Catalog(CatalogError::SetNotFound(_)) => {
            "see 'sobre set list'; a common cause is running as root in one case and as a user in the other"
        }
        HomeError::Engine(error) => return advice_for(error),
        HomeError::KeyNotFound { .. } => {
            "see 'sobre key list' and 'sobre config show'; a common cause is running as root in one case and as a user in the other"
        }
        HomeError::NoKeyConfigured { setting: "customer_key", .. } => {
            "name the customer's key with --key; make one with 'sobre vault create customer' and 'sobre key create NAME'"
        }
        HomeError::NoKeyConfigured { .. } => "name a key with --key, or set one in the configuration",
        HomeError::NotSetUp { .. } => {
            "'sobre seal' makes a vault and a key on first use; a lost home comes back with 'sobre vault restore FILE'; if it is on a volume, mount it"
        }
        HomeError::NotRecorded(error) => return advice_for_audit(error.error()),
        HomeError::PlatformVault(_) => "make a vault for it first: sobre vault create NAME",
        HomeError::Backup(BackupError::KeyVaultBackup) => {
            "get the key out of Key Vault as PEM, PFX or .byok, for: sobre key import FILE NAME"
        }
        HomeError::Backup(BackupError::Write(CommitError::Exists(_))) => {
            "name another file, or replace it with --force"
        }
        HomeError::Set(error) => return advice_for_set(error),
        HomeError::VaultNotChosen(_) => "choose one with --vault NAME",
        HomeError::Vault(error) => return advice_for_vault(error),
        HomeError::VaultNotConfigured { .. } => "see 'sobre config show'; make one with: sobre vault create NAME",
        _ => return None,
    };
    Some(text.to_owned())
}

fn advice_for_set(error: &SetError) -> Option<String> {
    let text = match error {
        SetError::Busy(_) => "wait for it to end; if it is cut off, this goes on where it stopped",
        SetError::Challenge { .. } => "the vault is not sound: see 'sobre vault list'; the set was not changed",
        SetError::InUse { .. } => "they stay and open as before, but don't rotate any more; say so with --yes",
        SetError::KeyInFile(_) => "name a key as NAME[@N], VAULT/NAME[@N], jkt:PREFIX or an alias",
        SetError::KeyNeeded { .. } => "name it with --key; make one with: sobre key create NAME",
        SetError::NotLinked { .. } => "see 'sobre set show'",
        SetError::Owner { customer: true, .. } => "name a key of the platform's vault, or choose another --type",
        SetError::Owner { customer: false, .. } => "name a key of a customer's vault, or choose another --type",
        SetError::Pinned { .. } => {
            "nothing was sealed: find out who changed the vault; if it is right, say so with: sobre set update SET --key KEY"
        }
        _ => return None,
    };
    Some(text.to_owned())
}

fn advice_for_audit(error: &AuditError) -> Option<String> {
    let text = match error {
        AuditError::Broken(_) => {
            "see 'sobre audit verify'; bring the files back from a copy, or go on without them with: sobre audit restart"
        }
        AuditError::Busy(_) => "other processes are writing to it; try again",
        AuditError::Exposed { .. } => "make it yours alone with chown and chmod 600",
        _ if is_out_of_room(error) => MAKE_ROOM,
        AuditError::KeyDamaged(_) | AuditError::KeyMissing(_) => {
            "bring the key file back from a copy, or go on without the old records with: sobre audit restart"
        }
        _ => return None,
    };
    Some(text.to_owned())
}

fn advice_for_vault(error: &VaultError) -> Option<String> {
    let text = match error {
        VaultError::Busy(_) => "another process is writing to it; try again",
        VaultError::Damaged { .. } | VaultError::NotAVault(_) => {
            "keep the file as it is; move it away and bring the keys back with: sobre vault restore FILE"
        }
        VaultError::Denied(_) => OTHER_ROLE,
        _ if is_out_of_room(error) => MAKE_ROOM,
        VaultError::KeyFileMissing(_) => {
            "copy the key file back, or move the vault away and bring the keys back with: sobre vault restore FILE"
        }
        VaultError::NetworkFilesystem(_) => "SQLite's log does not work there; put the vault on a local disk",
        VaultError::Newer { .. } => "it was written by a newer sobre; use that one",
        VaultError::NotFound(_) => {
            "if it is on a volume, mount it; a lost vault comes back with: sobre vault restore FILE"
        }
        VaultError::Passphrase { source: PassphraseError::NotGiven, .. } => {
            "give it with --passphrase-file, --passphrase-command or --passphrase-fd"
        }
        _ => return None,
    };
    Some(text.to_owned())
}

fn advice_for(error: &Error) -> Option<String> {
    let text = match error.inner() {
        Error::Commit(CommitError::Busy(_)) => "wait for it to end",
        Error::Commit(CommitError::Exists(_)) => "name another file, or replace it with --force",
        Error::DeviceInUse { .. } => "unmount it, or seal it as it is with --live",
        Error::Format(error) => match (error.part, error.fault) {
            (Part::Head(_), Fault::Magic) => "is it the right file?",
            (_, Fault::Kind(_)) => "name a snapshot; epoch records are found by themselves beside it",
            _ if error.is_unsupported() => "use a newer sobre",
            (Part::Snapshot, Fault::Truncated) => {
                "the end of the file is missing: copy it again from where it came from"
            }
            _ => "copy it again from where it came from; 'sobre verify --keyless' tells what else is damaged",
        },
        Error::HeadDamaged { .. } => "it still opens; mend it with: sobre rewrap --repair SNAP",
        Error::KeyMissing { .. } | Error::KeyNotWanted { .. } => {
            "see 'sobre inspect SNAP' for the keys and 'sobre config show' for the vaults; bring a lost vault back with: \
             sobre vault restore FILE; open with a key in a file with: --key file:PRIV.pem"
        }
        Error::EpochMissing { .. } => {
            "copy that file beside the snapshot: it lies beside every snapshot of its set, in the catalogue, and in the \
             vault's backup ('sobre vault restore FILE' brings it back)"
        }
        Error::ManifestNeeded => "give the manifest that 'seal --manifest' wrote, or open the snapshot as a file",
        Error::NothingToResume => "seal it without --resume",
        Error::OtherOptions => "resume with the same options, or start anew without --resume",
        Error::PartlyWritten { .. } => "do not use what was written behind that",
        Error::Policy(PolicyError::CustomerToPlatform) => "choose another key of the customer",
        Error::Policy(PolicyError::LastKey) => "add a key with --add first",
        Error::Provider(error) => match error.kind {
            _ if refusal_of(error).is_some() => return refusal_of(error).map(str::to_owned),
            ProviderErrorKind::UnwrapFailed => "the wrapped key in the snapshot is damaged or not this key's",
            ProviderErrorKind::Unrecorded => {
                let cause = StdError::source(error).and_then(|cause| cause.downcast_ref::<NotRecorded>());
                return cause.and_then(|cause| advice_for_audit(cause.error()));
            }
            ProviderErrorKind::Locked => {
                let cause = StdError::source(error).and_then(|cause| cause.downcast_ref::<VaultError>());
                return cause.and_then(advice_for_vault);
            }
            ProviderErrorKind::Disabled | ProviderErrorKind::Deleted | ProviderErrorKind::Denied => {
                "ask the key's owner; sobre never turns to another key by itself"
            }
            _ => return None,
        },
        Error::RootDiffers => "this is another snapshot than the one whose root you have, or it was changed",
        Error::SourceChanged(_) => "seal a snapshot of the disk, or accept the change with --live",
        _ => return None,
    };
    Some(text.to_owned())
}

/// What to do about a refusal whose cause says more than its kind.
fn refusal_of(error: &ProviderError) -> Option<&'static str> {
    let cause = StdError::source(error)?;
    if cause.is::<MissingRight>() {
        return Some(OTHER_ROLE);
    }
    Some(match cause.downcast_ref()? {
        KeyRefusal::DeleteLocked => "unlock it first: sobre key update KEY --delete-lock off",
        KeyRefusal::Held { .. } => "use it under the name that it has",
        KeyRefusal::NotDeleted => "delete it first: sobre key delete KEY",
        KeyRefusal::NotOneKey(_) => "bring all keys of a vault back with: sobre vault restore FILE",
        KeyRefusal::PurgeProtected(_) => "nothing shortens that time, and nothing is lost by waiting",
        KeyRefusal::Deleted(_) | KeyRefusal::Recoverable(_) => "bring it back with: sobre key recover KEY",
        _ => return None,
    })
}

const MAKE_ROOM: &str = "make room on the disk";
const OTHER_ROLE: &str = "name the role that may do it with --role, or none";
