//! The grammar of the command line.

mod audit;
mod bench;
mod catalog;
mod key;
mod preflight;
mod set;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use sobre::provider::Role;

pub(crate) use key::{Change, KeyArgs, KeyCommand, PublicForm, Switch};

pub(crate) use audit::{AuditArgs, AuditCommand};
pub(crate) use bench::{BenchArgs, TopicName};
pub(crate) use catalog::{CatalogArgs, CatalogCommand};
pub(crate) use preflight::PreflightArgs;
pub(crate) use set::{SetArgs, SetCommand, SetType};

use crate::cli::exit;
use crate::cli::units::{ByteSize, DiskRange, Label, Timeout};

/// The words of a command line.
#[derive(Debug, Parser)]
#[command(name = "sobre", version, about = "sealed disk snapshots whose keys you can still find in ten years", long_about = None,
    override_usage = "sobre <COMMAND> [OPTIONS]", help_template = PAGE, after_help = START, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Folder of the configuration and the vaults
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// Configuration file
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Use this configured vault only
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) vault: Option<String>,
    /// Act only as administrator, backup, recovery or run-time
    #[arg(long, global = true, value_name = "ROLE")]
    pub(crate) role: Option<Role>,
    /// Print one JSON object
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Write the JSON object to a file
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Say nothing but warnings and errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Say which home, vaults and CPU instructions are used
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// Show progress: auto (a bar on a terminal), json (lines on standard error) or none
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "HOW",
        hide_possible_values = true,
        hide_default_value = true
    )]
    pub(crate) progress: ProgressKind,
    /// Time for every operation on a vault
    #[arg(long, global = true, default_value = "2m", value_name = "TIME")]
    pub(crate) deadline: Timeout,
    /// Read the vault's passphrase from a file
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Read the vault's passphrase from the output of a command
    #[arg(long, global = true, value_name = "COMMAND", conflicts_with = "passphrase_file")]
    pub(crate) passphrase_command: Option<String>,
    /// Read the vault's passphrase from a file descriptor
    #[arg(long, global = true, value_name = "N", conflicts_with_all = ["passphrase_file", "passphrase_command"])]
    pub(crate) passphrase_fd: Option<u32>,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressKind {
    /// A bar where standard error is a terminal
    #[default]
    Auto,
    /// JSON lines on standard error
    Json,
    /// Not at all
    None,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Seal a disk into a snapshot
    #[command(alias = "encrypt")]
    Seal(SealArgs),
    /// Open a snapshot: verify and decrypt it
    #[command(aliases = ["decrypt", "restore"])]
    Open(OpenArgs),
    /// Check every byte of snapshots
    #[command(alias = "check")]
    Verify(VerifyArgs),
    /// Show what snapshots say of themselves, without a key
    #[command(alias = "info")]
    Inspect(InspectArgs),
    /// Change who can open snapshots; their data stay as they are
    Rewrap(RewrapArgs),
    /// Ask beforehand whether snapshots will open, and which keys are missing
    Preflight(PreflightArgs),
    /// Create, rotate, disable, delete and recover keys
    Key(KeyArgs),
    /// Make encryption sets, which name the keys that seal, and rotate them
    Set(SetArgs),
    /// Create vaults, back them up and restore them
    Vault(VaultArgs),
    /// Know which snapshots there are and which keys they need
    Catalog(CatalogArgs),
    /// Read and check the record of what happened to keys
    Audit(AuditArgs),
    /// Measure what this machine can do
    Bench(BenchArgs),
    /// Show the configuration that is in effect
    Config(ConfigArgs),
    /// Print shell completions
    Completions(CompletionsArgs),
    /// Write manual pages into a folder
    Man(ManArgs),
    /// What the exit codes mean
    #[command(hide = true, long_about = exit::TABLE, help_template = "{about}")]
    ExitCodes,
}

/// Seals a disk.
#[derive(Debug, Args)]
pub(crate) struct SealArgs {
    /// Disk image or block device; '-' is standard input
    #[arg(value_name = "SRC")]
    pub(crate) source: PathBuf,
    /// Snapshot to write; '-' is standard output
    #[arg(value_name = "DST")]
    pub(crate) target: PathBuf,
    /// Key that can open it: NAME[@N], VAULT/NAME[@N], jkt:PREFIX, an alias, file:PATH.pem; several times for several keys
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Vec<String>,
    /// Seal with the keys of this encryption set, twice if it is of both
    #[arg(long, value_name = "NAME", conflicts_with_all = ["key", "double", "platform_key"])]
    pub(crate) set: Option<String>,
    /// Encrypt twice: opening needs the customer's and the platform's key
    #[arg(long)]
    pub(crate) double: bool,
    /// The platform's key of double encryption
    #[arg(long, value_name = "KEY", requires = "double")]
    pub(crate) platform_key: Vec<String>,
    /// What detects tampering: blake3 (default; can be checked without a key) or gmac (NIST algorithms only); --double has its own
    #[arg(long, value_enum, value_name = "KIND", conflicts_with = "double", hide_possible_values = true)]
    pub(crate) integrity: Option<Integrity>,
    /// Bytes of a sector, one XTS data unit: 512 or 4096
    #[arg(long, value_name = "N", default_value = "512")]
    pub(crate) sector_size: ByteSize,
    /// Bytes of a chunk: a power of two from 64K to 1M
    #[arg(long, value_name = "SIZE", default_value = "256K")]
    pub(crate) chunk_size: ByteSize,
    /// Store holes and zeros like other data
    #[arg(long)]
    pub(crate) no_sparse: bool,
    /// Write a detached manifest as well, for opening from a pipe
    #[arg(long, value_name = "FILE")]
    pub(crate) manifest: Option<PathBuf>,
    /// Public label; anyone can read it
    #[arg(long, value_name = "K=V")]
    pub(crate) label: Vec<Label>,
    /// Seal a source that is mounted or changes meanwhile
    #[arg(long)]
    pub(crate) live: bool,
    /// Go on with the partial file of an interrupted run
    #[arg(long)]
    pub(crate) resume: bool,
    /// With --resume: compare what was sealed with the source
    #[arg(long, requires = "resume")]
    pub(crate) verify_source: bool,
    /// Replace an existing DST
    #[arg(long)]
    pub(crate) force: bool,
    /// Number of threads
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) workers: Option<u16>,
}

/// What detects tampering.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Integrity {
    /// BLAKE3: can be checked without a key
    Blake3,
    /// AES-256-GMAC: NIST algorithms only
    Gmac,
}

/// Opens a snapshot.
#[derive(Debug, Args)]
pub(crate) struct OpenArgs {
    /// Snapshot; '-' is standard input and needs --manifest
    #[arg(value_name = "SNAP")]
    pub(crate) source: PathBuf,
    /// File to write, or with --force a block device; '-' is standard output
    #[arg(value_name = "DST")]
    pub(crate) target: PathBuf,
    /// Open with this key
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Vec<String>,
    /// Only these bytes of the disk, as in 1M:512
    #[arg(long, value_name = "OFFSET:LENGTH", allow_hyphen_values = true)]
    pub(crate) range: Option<DiskRange>,
    /// Detached manifest
    #[arg(long, value_name = "FILE")]
    pub(crate) manifest: Option<PathBuf>,
    /// Detached head with the wrapped keys
    #[arg(long, value_name = "FILE")]
    pub(crate) envelope: Option<PathBuf>,
    /// Replace an existing DST, or overwrite a block device
    #[arg(long)]
    pub(crate) force: bool,
    /// Number of threads
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) workers: Option<u16>,
}

/// Checks snapshots.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Snapshots
    #[arg(value_name = "SNAP", required = true)]
    pub(crate) snapshots: Vec<PathBuf>,
    /// Look for damage without any key
    #[arg(long)]
    pub(crate) keyless: bool,
    /// With --keyless: the root that the snapshot must have
    #[arg(long, value_name = "HEX", requires = "keyless")]
    pub(crate) root: Option<String>,
    /// Verify with this key
    #[arg(long, value_name = "KEY", conflicts_with = "keyless")]
    pub(crate) key: Vec<String>,
    /// Number of threads
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) workers: Option<u16>,
}

/// Shows what snapshots say of themselves.
#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// Snapshots
    #[arg(value_name = "SNAP", required = true)]
    pub(crate) snapshots: Vec<PathBuf>,
}

/// Changes who can open snapshots.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("change").required(true).args(["to", "set", "add", "remove", "repair"])))]
pub(crate) struct RewrapArgs {
    /// Snapshots
    #[arg(value_name = "SNAP", required_unless_present = "files_from")]
    pub(crate) snapshots: Vec<PathBuf>,
    /// Read the names of more snapshots from a file, one on each line or with NUL behind each; '-' is standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) files_from: Option<PathBuf>,
    /// Only this key opens them from now on
    #[arg(long, value_name = "KEY")]
    pub(crate) to: Option<String>,
    /// Only the keys of this set open them from now on, and they belong to it
    #[arg(long, value_name = "NAME")]
    pub(crate) set: Option<String>,
    /// This key opens them as well
    #[arg(long, value_name = "KEY")]
    pub(crate) add: Option<String>,
    /// This key no longer opens them
    #[arg(long, value_name = "KEY")]
    pub(crate) remove: Option<String>,
    /// Make both heads the same again after damage or an interrupted rewrap
    #[arg(long)]
    pub(crate) repair: bool,
    /// Which layer of double encryption: customer (inner) or platform (outer)
    #[arg(long, value_enum, default_value_t, value_name = "LAYER", hide_possible_values = true)]
    pub(crate) layer: LayerName,
    /// Leave the snapshot as it is, and write its new head into this file: for write-once storage
    #[arg(long, value_name = "FILE", conflicts_with_all = ["files_from", "repair"])]
    pub(crate) envelope: Option<PathBuf>,
    /// Open with this key
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Vec<String>,
    /// Number of threads
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) workers: Option<u16>,
    /// Say what would be done, and do nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
}

/// A layer of double encryption.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LayerName {
    /// The inner layer, or the only one
    #[default]
    Customer,
    /// The outer layer
    Platform,
}

/// Vaults.
#[derive(Debug, Args)]
pub(crate) struct VaultArgs {
    #[command(subcommand)]
    pub(crate) command: VaultCommand,
}

/// What to do with vaults.
#[derive(Debug, Subcommand)]
pub(crate) enum VaultCommand {
    /// Make a vault on this machine
    Create {
        /// Its name: letters, digits and '-'
        name: String,
        /// Whose keys it holds: customer or platform
        #[arg(long, value_enum, default_value_t, value_name = "WHOSE", hide_possible_values = true)]
        owner: LayerName,
        /// Protect it with a passphrase instead of a key file
        #[arg(long)]
        passphrase: bool,
        /// How long a deleted key is kept for certain, 7 to 90 days
        #[arg(long, value_name = "N", default_value = "90", value_parser = clap::value_parser!(u8).range(7..=90))]
        retention_days: u8,
        /// Let deleted keys be purged before that time is over
        #[arg(long)]
        no_purge_protection: bool,
        /// Say what would be done, and do nothing
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
    /// Check vaults: their files, records and rights, their backup, and keys that need attention
    Check {
        /// The vault; all of them where none is named
        name: Option<String>,
    },
    /// List the configured vaults
    List,
    /// Change what becomes of deleted keys
    Update {
        /// The vault
        name: String,
        /// Keep deleted keys for as long as the vault says, whoever wants to purge them; this can't be switched off again
        #[arg(long, required = true)]
        purge_protection: bool,
        /// Say what would be done, and do nothing
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
    /// Write all keys into a sealed file: under a passphrase, or a recovery key
    Backup {
        /// File to write
        file: PathBuf,
        /// Seal it for this public key instead of a passphrase: file:PUB.pem
        #[arg(long, value_name = "KEY")]
        to: Option<String>,
        /// Replace an existing FILE
        #[arg(long)]
        force: bool,
    },
    /// Bring the keys of a backup back; keys that are there already stay
    Restore {
        /// The backup
        file: PathBuf,
        /// Open it with this private key instead of a passphrase: file:PRIV.pem
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
        /// Say what would be done, and do nothing
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
    /// Protect a vault with a passphrase, or with a key file again
    Passphrase {
        /// Go back to a key file
        #[arg(long)]
        remove: bool,
        /// Read the new passphrase from a file
        #[arg(long, value_name = "FILE", conflicts_with = "remove")]
        new_passphrase_file: Option<PathBuf>,
        /// Say what would be done, and do nothing
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
}

/// The configuration.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    pub(crate) command: ConfigCommand,
}

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print every path, who decided on it, and what is in effect
    Show,
}

/// Shell completions.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

/// Manual pages.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Folder to write into
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
}

/// The help of `sobre` itself: the commands in groups, which clap has no words for.
const PAGE: &str = "\
{name} - {about}

{usage-heading} {usage}

Snapshots:
  seal         Seal a disk into a snapshot
  open         Open a snapshot: verify and decrypt it
  verify       Check every byte of snapshots
  inspect      Show what snapshots say of themselves, without a key
  rewrap       Change who can open snapshots; their data stay as they are
  preflight    Ask beforehand whether snapshots will open, and which keys are missing

Keys:
  key          Create, rotate, disable, delete and recover keys
  set          Make encryption sets, which name the keys that seal, and rotate them
  vault        Create vaults, back them up and restore them

Operations:
  catalog      Know which snapshots there are and which keys they need
  audit        Read and check the record of what happened to keys
  bench        Measure what this machine can do
  config       Show the configuration that is in effect
  completions  Print shell completions
  man          Write manual pages into a folder
  help         Explain a command, as in: sobre help seal

Options:
{options}{after-help}";

const START: &str = "Start:
  sobre seal disk.img disk.sobre       makes a key on first use
  sobre vault backup keys.backup       do this next; store it elsewhere
  sobre open disk.sobre restored.img

Exit codes: sobre help exit-codes";
