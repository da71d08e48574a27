//! The words of `sobre catalog`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// The catalogue.
#[derive(Debug, Args)]
#[command(after_help = COVERAGE)]
pub(crate) struct CatalogArgs {
    #[command(subcommand)]
    pub(crate) command: CatalogCommand,
}

/// What to do with the catalogue.
#[derive(Debug, Subcommand)]
pub(crate) enum CatalogCommand {
    /// Take snapshots in: files, or folders with everything below them that is named *.sobre
    Add {
        /// Snapshots and folders
        #[arg(value_name = "PATH", required = true)]
        paths: Vec<PathBuf>,
        /// Only say what would be done
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
    /// List the snapshots that are known
    List {
        /// Only those that need this key
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
    },
    /// Forget snapshots; the files stay
    Remove {
        /// Snapshots
        #[arg(value_name = "PATH", required = true)]
        paths: Vec<PathBuf>,
        /// Only say what would be done
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
    /// Make the catalogue anew from the snapshots; one that is damaged or newer is set aside
    Rebuild {
        /// Folders with snapshots
        #[arg(value_name = "DIR", required = true)]
        folders: Vec<PathBuf>,
        /// Only say what would be done
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
}

const COVERAGE: &str = "'seal' adds what it seals. The catalogue is an index: losing it loses no snapshot, and 'rebuild' makes it anew. It knows \
nothing of snapshots in folders that were never added.";
