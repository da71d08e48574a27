//! Where a home keeps its audit log.

use std::sync::Arc;

use crate::audit::{AuditLog, AuditSettings, FileHead};
use crate::manage::Home;
use crate::random::SystemRandom;

impl Home {
    /// Returns the audit log: the folder `audit` of the data folder, with its head beside it. Makes nothing yet.
    pub fn audit(&self) -> AuditLog {
        let data = &self.paths().data;
        AuditLog::new(AuditSettings {
            folder: data.join("audit"),
            // Beside the folder, so that the loss of all of it shows.
            heads: Arc::new(FileHead::new(data.join("audit.head"))),
            clock: self.clock(),
            random: Arc::new(SystemRandom),
            part_bytes: AuditSettings::PART_BYTES,
            wait: AuditSettings::WAIT.min(self.context().remaining()),
        })
    }
}
