//! The words of `sobre audit`.

use clap::{Args, Subcommand};

use crate::cli::units::Since;

/// The audit log.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    #[command(subcommand)]
    pub(crate) command: AuditCommand,
}

/// What to do with the audit log.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Show what happened to keys
    Show {
        /// From this time on: 2026-01-31, 2026-01-31T08:00:00Z, or so long ago: 90m, 12h, 7d
        #[arg(long, value_name = "TIME")]
        since: Option<Since>,
        /// About this key: NAME[@N], VAULT/NAME[@N], jkt:PREFIX, an alias
        #[arg(long, value_name = "KEY")]
        key: Option<String>,
        /// Only what was refused or failed
        #[arg(long)]
        failed: bool,
    },
    /// Check that no record was changed, removed, added or moved
    Verify,
    /// Begin the log anew after a loss; what is left of it is set aside
    Restart {
        /// Say what would be done, and do nothing
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
}
