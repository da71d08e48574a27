//! The grammar of `sobre key`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use sobre::key::KeyAlias;
use sobre::provider::import::Format;

use crate::cli::units::{Date, PolicyPeriod};

/// Keys.
#[derive(Debug, Args)]
#[command(after_help = ROTATION)]
pub(crate) struct KeyArgs {
    #[command(subcommand)]
    pub(crate) command: KeyCommand,
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Generate a key
    Create {
        /// Its name: letters, digits and '-'
        name: String,
        /// Bits of the RSA key
        #[arg(long, value_name = "BITS", default_value = "3072", value_parser = ["2048", "3072", "4096"])]
        size: String,
        #[command(flatten)]
        change: Change,
    },
    /// List keys and their versions
    List {
        /// List the deleted keys instead
        #[arg(long)]
        deleted: bool,
    },
    /// Show a key
    Show {
        /// The key
        key: String,
        /// Print only the public half, as pem or jwk
        #[arg(long, value_enum, value_name = "FORM", hide_possible_values = true)]
        public: Option<PublicForm>,
    },
    /// Make a new version of a key; snapshots keep opening with the version they were sealed for
    #[command(after_help = ROTATION)]
    Rotate {
        /// The key, without a version
        key: String,
        #[command(flatten)]
        change: Change,
    },
    /// Take over a private key that was made elsewhere: PEM, DER, PFX, JWK or .byok
    Import {
        /// The file
        file: PathBuf,
        /// The key's name here: letters, digits and '-'
        name: String,
        /// Insist on a format: pem, der, pfx, jwk or byok
        #[arg(long, value_name = "FORMAT")]
        format: Option<Format>,
        /// The key that a .byok file was written for
        #[arg(long, value_name = "KEY")]
        target: Option<String>,
        /// Take the key although a certificate is beside it, and drop the certificate
        #[arg(long)]
        discard_certificates: bool,
        /// Wrap nothing before this time
        #[arg(long, value_name = "TIME")]
        not_before: Option<Date>,
        /// Wrap nothing from this time on; it still unwraps
        #[arg(long, value_name = "TIME")]
        expires: Option<Date>,
        /// What the key is called elsewhere, several times for several names: x5t:SHA1, cka:CKA_ID, url:https://...
        #[arg(long, value_name = "ALIAS")]
        alias: Vec<KeyAlias>,
        /// Read the file's passphrase from a file
        #[arg(long, value_name = "FILE")]
        import_passphrase_file: Option<PathBuf>,
        #[command(flatten)]
        change: Change,
    },
    /// Write a private key into a .byok file that only another vault's key opens
    Export {
        /// The version, as in NAME@2; the newest where none is named
        key: String,
        /// File to write
        file: PathBuf,
        /// The public key of the vault that it is for, as file:PUB.pem
        #[arg(long, value_name = "KEY", required = true)]
        byok: String,
        /// What that vault calls its key, as Key Vault's https://.../keys/NAME/VERSION
        #[arg(long, value_name = "TEXT")]
        kid: Option<String>,
        /// Replace an existing FILE
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        change: Change,
    },
    /// Let a version wrap and unwrap again
    Enable {
        /// The version, as in NAME@2; the newest where none is named
        key: String,
        #[command(flatten)]
        change: Change,
    },
    /// Stop a version from wrapping and unwrapping, until it is enabled again
    Disable {
        /// The version, as in NAME@2; the newest where none is named
        key: String,
        /// Do it although snapshots are lost with it, or nobody knows whether any are
        #[arg(long)]
        accept_loss: bool,
        #[command(flatten)]
        change: Change,
    },
    /// Change a version's dates or aliases, or lock a key against deletion
    Update {
        /// The version, as in NAME@2; the newest where none is named
        key: String,
        /// Wrap nothing before this time, as in 2031-12-24 or 2031-12-24T18:00:00Z; 'none' takes the date away
        #[arg(long, value_name = "TIME")]
        not_before: Option<Date>,
        /// Wrap nothing from this time on; it still unwraps. 'never' takes the date away
        #[arg(long, value_name = "TIME")]
        expires: Option<Date>,
        /// Lock the key against deletion, with all its versions: on or off
        #[arg(long, value_enum, value_name = "on|off", hide_possible_values = true)]
        delete_lock: Option<Switch>,
        /// Record what the version is called elsewhere: x5t:SHA1, cka:CKA_ID, url:https://...
        #[arg(long, value_name = "ALIAS")]
        alias: Vec<KeyAlias>,
        /// Forget such a name
        #[arg(long, value_name = "ALIAS")]
        remove_alias: Vec<KeyAlias>,
        #[command(flatten)]
        change: Change,
    },
    /// Show or set when a key is to be rotated, and when you want to be told
    Policy {
        /// The key, without a version
        key: String,
        /// Rotate when the newest version is this old, as in P30D, P6M or P1Y; 'none' stops it
        #[arg(long, value_name = "PERIOD", conflicts_with = "rotate_before")]
        rotate_every: Option<PolicyPeriod>,
        /// Rotate this long before the newest version expires
        #[arg(long, value_name = "PERIOD")]
        rotate_before: Option<PolicyPeriod>,
        /// Tell when the newest version is this old
        #[arg(long, value_name = "PERIOD", conflicts_with = "notify_before")]
        notify_after: Option<PolicyPeriod>,
        /// Tell this long before the newest version expires; 'none' stops it
        #[arg(long, value_name = "PERIOD")]
        notify_before: Option<PolicyPeriod>,
        #[command(flatten)]
        change: Change,
    },
    /// Say what becomes unreadable when a key or a version goes, and what stays readable
    Impact {
        /// The key, or one version of it, as in NAME@2
        key: String,
    },
    /// Put another key, in another vault, in the place of one that was stolen: sets, epoch keys and snapshots move to it
    Replace {
        /// The key that was stolen
        key: String,
        /// The key that takes its place, as in VAULT/NAME; it is made where there is none
        #[arg(long = "with", value_name = "KEY")]
        new: String,
        /// Delete the old key when nothing needs it any more
        #[arg(long)]
        delete: bool,
        /// With --delete: delete it although snapshots become unreadable, or nobody knows which
        #[arg(long, requires = "delete")]
        accept_loss: bool,
        #[command(flatten)]
        change: Change,
    },
    /// Delete a key with all its versions; it can be recovered
    Delete {
        /// The key, without a version
        key: String,
        /// Do it although snapshots are lost with it, or nobody knows whether any are
        #[arg(long)]
        accept_loss: bool,
        #[command(flatten)]
        change: Change,
    },
    /// Bring a deleted key back as it was
    Recover {
        /// The key, without a version
        key: String,
        #[command(flatten)]
        change: Change,
    },
    /// Destroy a deleted key for ever
    Purge {
        /// The key, without a version
        key: String,
        /// Do it although snapshots are lost with it, or nobody knows whether any are
        #[arg(long)]
        accept_loss: bool,
        /// Write what is destroyed, and what can't be known of it, into a new file first
        #[arg(long, value_name = "FILE")]
        record: Option<PathBuf>,
        #[command(flatten)]
        change: Change,
    },
    /// Write one key with all its versions into a sealed file: under a passphrase, or a recovery key
    Backup {
        /// The key, without a version
        key: String,
        /// File to write
        file: PathBuf,
        /// Seal it for this public key instead of a passphrase: file:PUB.pem
        #[arg(long, value_name = "KEY")]
        to: Option<String>,
        /// Replace an existing FILE
        #[arg(long)]
        force: bool,
    },
    /// Bring a key back from its backup, into a vault that has none of its name
    Restore {
        /// The backup
        file: PathBuf,
        /// Open it with this private key instead of a passphrase: file:PRIV.pem
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
        #[command(flatten)]
        change: Change,
    },
}

/// How carefully a change is made.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Change {
    /// Say what would be done, and do nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// Don't ask
    #[arg(short, long)]
    pub(crate) yes: bool,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    /// Off
    Off,
    /// On
    On,
}

/// Forms of a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PublicForm {
    /// SubjectPublicKeyInfo
    Pem,
    /// JSON Web Key (RFC 7517)
    Jwk,
}

const ROTATION: &str = "A new version seals what comes; 'rewrap' moves existing snapshots to it. Neither protects data whose key was stolen: \
whoever has the old key and an old copy of a snapshot can open that copy. Seal the data anew.";
