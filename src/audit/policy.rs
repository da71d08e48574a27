//! What goes on when events can't be kept.

use std::io::Write;

use crate::audit::{AuditError, AuditSink, Event, Operation};

/// What goes on when the log is full, read-only or broken. Wrapping and administration never go on without a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailurePolicy {
    /// Reading what is sealed goes on, its events on standard error: a full disk does not stop a restore.
    StandardError,
    /// Nothing goes on.
    #[default]
    Stop,
}

impl FailurePolicy {
    /// Whether `operation` may go on with its record on standard error.
    pub fn spares(self, operation: Operation) -> bool {
        match self {
            Self::StandardError => matches!(operation, Operation::KeyGet | Operation::KeyUnwrap),
            Self::Stop => false,
        }
    }

    /// Whether every one of `events` may go on with its record on standard error.
    pub(crate) fn spares_all(self, events: &[Event]) -> bool {
        events.iter().all(|event| self.spares(event.operation))
    }
}

/// Where events were kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kept {
    /// In the log.
    Log,
    /// On standard error only.
    StandardError,
}

/// Keeps `events` as `policy` wants it: in `sink`, or else, where every one of them may go on without it, on standard error.
///
/// # Errors
///
/// The sink's, where the policy spares not all of the events.
pub fn keep(sink: &dyn AuditSink, policy: FailurePolicy, events: &[Event]) -> Result<Kept, AuditError> {
    match sink.append(events) {
        Ok(()) => Ok(Kept::Log),
        Err(error) if policy.spares_all(events) => {
            tell(&error, events);
            Ok(Kept::StandardError)
        }
        Err(error) => Err(error),
    }
}

/// Writes events that the log did not take to standard error.
pub(crate) fn tell(error: &AuditError, events: &[Event]) {
    let mut stderr = std::io::stderr().lock();
    // Nothing is left to tell it to when standard error fails as well.
    let _ = writeln!(stderr, "warning: {error}; what would stand in it:");
    for event in events {
        let _ = writeln!(stderr, "audit: {}", summary(event));
    }
}

fn summary(event: &Event) -> String {
    let properties = &event.properties;
    let mut text = format!(
        "{} {} {} {} uid={} pid={}",
        event.time,
        event.operation,
        event.outcome.result_signature(),
        event.correlation,
        event.identity.uid,
        event.identity.pid
    );
    if let Some(vault) = &properties.vault {
        text = format!("{text} vault={vault}");
    }
    if let Some(key) = &properties.key {
        text = format!("{text} key={key}");
    }
    if let Some(thumbprint) = &properties.thumbprint {
        text = format!("{text} jkt:{thumbprint}");
    }
    if let Some(snapshot) = &properties.snapshot {
        text = format!("{text} snapshot={snapshot}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{CorrelationId, Outcome};
    use crate::clock::UnixTime;

    #[derive(Debug)]
    struct Full;

    impl AuditSink for Full {
        fn append(&self, _: &[Event]) -> Result<(), AuditError> {
            Err(AuditError::io("log".as_ref(), std::io::ErrorKind::StorageFull.into()))
        }
    }

    fn event(operation: Operation) -> Event {
        Event::new(operation, Outcome::Success, UnixTime(0), CorrelationId::from_bytes([1; 16]))
    }

    #[test]
    fn only_reading_may_go_on_without_the_log() {
        let keep = |policy, operations: &[Operation]| {
            let events: Vec<Event> = operations.iter().copied().map(event).collect();
            keep(&Full, policy, &events).ok()
        };
        use FailurePolicy::{StandardError, Stop};
        assert_eq!(keep(StandardError, &[Operation::KeyGet, Operation::KeyUnwrap]), Some(Kept::StandardError));
        for operation in [Operation::KeyWrap, Operation::KeyCreate, Operation::KeyPurge, Operation::SetRotate] {
            assert_eq!(keep(StandardError, &[operation]), None);
            assert_eq!(keep(StandardError, &[Operation::KeyUnwrap, operation]), None);
        }
        assert_eq!(keep(Stop, &[Operation::KeyUnwrap]), None);
    }
}
