//! The words of `sobre set`.

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::args::{Change, LayerName, Switch};

/// Encryption sets.
#[derive(Debug, Args)]
#[command(after_help = MEANING)]
pub(crate) struct SetArgs {
    #[command(subcommand)]
    pub(crate) command: SetCommand,
}

/// What to do with encryption sets.
#[derive(Debug, Subcommand)]
pub(crate) enum SetCommand {
    /// Make a set
    Create {
        /// Its name: letters, digits, '.', '_' and '-'
        name: String,
        /// Whose keys seal: platform, customer or platform-and-customer (double encryption); it can't change
        #[arg(long = "type", value_enum, value_name = "TYPE", hide_possible_values = true)]
        kind: SetType,
        /// The key that seals
        #[arg(long, value_name = "KEY", required_if_eq_any = [("kind", "customer"), ("kind", "platform-and-customer")])]
        key: Option<String>,
        /// The platform's key; it is made where there is none
        #[arg(long, value_name = "KEY")]
        platform_key: Option<String>,
        /// Where it belongs
        #[arg(long, value_name = "TEXT")]
        location: Option<String>,
        /// To whom it belongs
        #[arg(long, value_name = "TEXT")]
        subscription: Option<String>,
        /// Follow the newest version of the keys, at the next 'set rotate --due'
        #[arg(long)]
        auto_rotate: bool,
        /// Add no recovery key of the configuration to what this set seals: it would survive a revocation
        #[arg(long)]
        no_recovery: bool,
        /// Put one key between the KEK and the DEKs: rotating costs one unwrap then, and stealing that key opens every snapshot of the set
        #[arg(long)]
        epoch: bool,
        #[command(flatten)]
        change: Change,
    },
    /// List the sets
    List,
    /// Show a set, its keys and what still needs older ones
    Show {
        /// The set
        set: String,
    },
    /// Change a set; its type can't change
    Update {
        /// The set
        set: String,
        /// Seal with this key from now on; 'set rotate SET --resume' moves existing snapshots to it
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
        /// Seal with this platform's key from now on
        #[arg(long, value_name = "KEY")]
        platform_key: Option<String>,
        /// Where it belongs; 'none' takes it away
        #[arg(long, value_name = "TEXT")]
        location: Option<String>,
        /// To whom it belongs; 'none' takes it away
        #[arg(long, value_name = "TEXT")]
        subscription: Option<String>,
        /// Follow the newest version of the keys: on or off
        #[arg(long, value_enum, value_name = "on|off", hide_possible_values = true)]
        auto_rotate: Option<Switch>,
        /// Add the recovery keys of the configuration to what it seals: on or off
        #[arg(long, value_enum, value_name = "on|off", hide_possible_values = true)]
        recovery: Option<Switch>,
        /// Seal under a new epoch key from now on; what was sealed stays under the older ones
        #[arg(long)]
        new_epoch: bool,
        #[command(flatten)]
        change: Change,
    },
    /// Link an older or secondary key: it never seals, and what it sealed belongs to the set
    Link {
        /// The set
        set: String,
        /// The key
        key: String,
        #[command(flatten)]
        change: Change,
    },
    /// Take a linked key out of a set; the key itself stays
    Unlink {
        /// The set
        set: String,
        /// The key
        key: String,
        #[command(flatten)]
        change: Change,
    },
    /// Make a new version of a set's key active, and re-wrap the set's snapshots under it
    #[command(after_help = ROTATION)]
    Rotate {
        /// The set
        #[arg(required_unless_present = "due", conflicts_with = "due")]
        set: Option<String>,
        /// Rotate every set that is due, and no other: for a timer
        #[arg(long)]
        due: bool,
        /// Make no new version: finish an interrupted rotation, or move what still needs an older key
        #[arg(long, conflicts_with = "due")]
        resume: bool,
        /// Which key of double encryption: customer (layer 1) or platform (layer 2)
        #[arg(
            long,
            value_enum,
            default_value_t,
            value_name = "LAYER",
            hide_possible_values = true,
            conflicts_with = "due"
        )]
        layer: LayerName,
        /// Write the new heads of snapshots that can't be written into this folder, for 'open --envelope': for write-once storage
        #[arg(long, value_name = "DIR", conflicts_with = "due")]
        envelopes: Option<std::path::PathBuf>,
        /// Number of threads
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
        workers: Option<u16>,
        #[command(flatten)]
        change: Change,
    },
    /// Remove a set; its snapshots and keys stay
    Delete {
        /// The set
        set: String,
        #[command(flatten)]
        change: Change,
    },
}

/// Types of sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SetType {
    /// A customer's key
    Customer,
    /// The platform's key
    Platform,
    /// Both
    PlatformAndCustomer,
}

const MEANING: &str = "A set has one active key for each layer; 'seal --set NAME' seals with it. Linked keys never seal. The sets are in the \
catalogue; snapshots open without it.";
const ROTATION: &str = "'key rotate' makes a version; 'set rotate' makes one too if the set's is the newest, seals with it from then on, and \
re-wraps what the catalogue knows of the set. Older versions stay enabled, for what is listed as still needing them. Neither protects data whose \
key was stolen: whoever has the old key and an old copy of a snapshot can open that copy. Seal the data anew.";
