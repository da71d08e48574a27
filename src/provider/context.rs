//! What every call to a vault carries.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, SystemClock, UnixTime};

/// The deadline of an operation, by the clock that measures it.
#[derive(Clone, Debug)]
pub struct OpContext {
    clock: Arc<dyn Clock>,
    deadline: Duration,
}

impl OpContext {
    /// Starts an operation that must be over after `timeout`.
    pub fn new(clock: Arc<dyn Clock>, timeout: Duration) -> Self {
        let deadline = clock.monotonic().saturating_add(timeout);
        Self { clock, deadline }
    }

    /// Returns the wall clock.
    pub fn now(&self) -> UnixTime {
        self.clock.now()
    }

    /// Returns how much time is left, zero when the deadline has passed.
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_sub(self.clock.monotonic())
    }
}

impl Default for OpContext {
    /// The system's clock and the default deadline of two minutes.
    fn default() -> Self {
        Self::new(Arc::new(SystemClock), Duration::from_secs(120))
    }
}
