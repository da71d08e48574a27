//! The words of `sobre preflight`.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

/// Asks beforehand whether snapshots will open.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).args(["snapshots", "set", "all"])), after_help = HONESTY)]
pub(crate) struct PreflightArgs {
    /// Snapshots
    #[arg(value_name = "SNAP")]
    pub(crate) snapshots: Vec<PathBuf>,
    /// The catalogued snapshots of this encryption set
    #[arg(long, value_name = "SET")]
    pub(crate) set: Option<String>,
    /// Every catalogued snapshot
    #[arg(long)]
    pub(crate) all: bool,
    /// Prove each key: a random secret that is wrapped here must come back from its vault
    #[arg(long)]
    pub(crate) challenge: bool,
}

const HONESTY: &str = "Reads what the snapshots say of their keys, not their data, and asks every vault once for each key. 'sobre verify' proves \
that a snapshot is whole. Exit code 14 when a key is missing or refused.";
