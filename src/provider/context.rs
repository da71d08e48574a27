//! What every call to a vault carries.

use std::sync::Arc;
use std::time::Duration;

use crate::audit::{CorrelationId, Properties};
use crate::clock::{Clock, SystemClock, UnixTime};
use crate::key::VaultName;
use crate::provider::audited::Queue;
use crate::provider::{ProviderError, ProviderErrorKind};

/// The deadline of an operation, by the clock that measures it, and the request that it belongs to.
#[derive(Clone, Debug)]
pub struct OpContext {
    clock: Arc<dyn Clock>,
    deadline: Duration,
    correlation: Option<CorrelationId>,
    about: Option<Arc<Properties>>,
    queue: Option<Queue>,
}

impl OpContext {
    /// Starts an operation that must be over after `timeout`.
    pub fn new(clock: Arc<dyn Clock>, timeout: Duration) -> Self {
        let deadline = clock.monotonic().saturating_add(timeout);
        Self { clock, deadline, correlation: None, about: None, queue: None }
    }

    /// Says which request the operation belongs to: what is recorded of it says so too.
    #[must_use]
    pub fn with_correlation(mut self, correlation: CorrelationId) -> Self {
        self.correlation = Some(correlation);
        self
    }

    /// Returns the request that the operation belongs to, where one was named.
    pub fn correlation(&self) -> Option<CorrelationId> {
        self.correlation
    }

    /// Says what the operation is done for: the snapshot and its layer, say. What is recorded of it says so too, but for look-ups.
    #[must_use]
    pub fn with_about(mut self, about: Properties) -> Self {
        self.about = Some(Arc::new(about));
        self
    }

    /// Returns what the operation is done for.
    pub(super) fn about(&self) -> Option<&Properties> {
        self.about.as_deref()
    }

    /// Returns the wall clock.
    pub fn now(&self) -> UnixTime {
        self.clock.now()
    }

    /// Returns how much time is left, zero when the deadline has passed.
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_sub(self.clock.monotonic())
    }

    /// Refuses what is asked after the deadline, before anything is done about it.
    pub(super) fn in_time(&self, vault: &VaultName, key: &str) -> Result<(), ProviderError> {
        if self.remaining().is_zero() {
            return Err(ProviderError::new(ProviderErrorKind::Timeout, vault, key));
        }
        Ok(())
    }

    /// Returns the clock that measures the deadline.
    pub(super) fn monotonic(&self) -> Duration {
        self.clock.monotonic()
    }

    /// Returns where events go that are recorded together later.
    pub(super) fn queue(&self) -> Option<&Queue> {
        self.queue.as_ref()
    }

    pub(super) fn with_queue(&self, queue: Queue) -> Self {
        Self { queue: Some(queue), ..self.clone() }
    }
}

impl Default for OpContext {
    /// The system's clock and the default deadline of two minutes.
    fn default() -> Self {
        Self::new(Arc::new(SystemClock), Duration::from_secs(120))
    }
}
