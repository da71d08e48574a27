//! The head of an audit log, kept in a vault.

use std::sync::Arc;
use std::time::Duration;

use crate::audit::{Head, HeadError, HeadStore};
use crate::clock::Clock;
use crate::provider::OpContext;
use crate::provider::embedded::error::VaultError;
use crate::provider::embedded::{AuditHead, EmbeddedVault};

/// A head in the database of an embedded vault: it is copied, moved and brought back with the vault, not with the log.
#[derive(Debug)]
pub struct VaultHead {
    vault: Arc<EmbeddedVault>,
    clock: Arc<dyn Clock>,
    wait: Duration,
}

impl VaultHead {
    /// Keeps the head in `vault`, and waits no longer than `wait` for other processes.
    pub fn new(vault: Arc<EmbeddedVault>, clock: Arc<dyn Clock>, wait: Duration) -> Self {
        Self { vault, clock, wait }
    }

    fn context(&self) -> OpContext {
        OpContext::new(Arc::clone(&self.clock), self.wait)
    }
}

impl HeadStore for VaultHead {
    fn read(&self) -> Result<Option<Head>, HeadError> {
        let head = self.vault.audit_head(&self.context()).map_err(failed)?;
        Ok(head.map(|AuditHead { count, mac }| Head { count, mac }))
    }

    fn advance(&self, expected: Option<Head>, next: Head) -> Result<(), HeadError> {
        let stored = |Head { count, mac }| AuditHead { count, mac };
        let (expected, next) = (expected.map(stored), stored(next));
        match self.vault.advance_audit_head(expected.as_ref(), &next, &self.context()) {
            Ok(true) => Ok(()),
            Ok(false) => Err(HeadError::Changed),
            Err(error) => Err(failed(error)),
        }
    }
}

fn failed(error: VaultError) -> HeadError {
    match error {
        VaultError::Busy(_) => HeadError::Busy(Box::new(error)),
        other => HeadError::Failed(Box::new(other)),
    }
}
