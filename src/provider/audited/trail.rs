//! From many threads to one sink: events that wait at the same time are written together.

use std::collections::BTreeSet;
use std::mem;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::audit::{AuditError, AuditSink, CorrelationId, Event, FailurePolicy, Outcome, tell};
use crate::clock::UnixTime;
use crate::key::Thumbprint;
use crate::provider::audited::notices::Notices;

/// Takes the events of a process to a sink.
///
/// Threads that record at the same time share one append. Look-ups wait for the next one, and for the end of the trail at the latest.
#[derive(Debug)]
pub struct Trail {
    sink: Arc<dyn AuditSink>,
    policy: FailurePolicy,
    correlation: CorrelationId,
    /// The events that go into the next append.
    next: Mutex<Arc<Group>>,
    writing: Mutex<()>,
    looked_up: Mutex<LookUps>,
    notices: Notices,
}

impl Trail {
    /// Takes events to `sink`; `policy` says what goes on when it fails. `correlation` marks operations that belong to no request of their own.
    pub fn new(sink: Arc<dyn AuditSink>, policy: FailurePolicy, correlation: CorrelationId) -> Self {
        Self {
            sink,
            policy,
            correlation,
            next: Mutex::default(),
            writing: Mutex::default(),
            looked_up: Mutex::default(),
            notices: Notices::default(),
        }
    }

    /// Remembers in a file which keys were said to expire soon today, so that all processes together say it once. Without it every process
    /// says it once.
    #[must_use]
    pub fn with_notices(mut self, file: PathBuf) -> Self {
        self.notices = Notices::at(file);
        self
    }

    /// Returns the mark of operations that belong to no request of their own.
    pub fn correlation(&self) -> CorrelationId {
        self.correlation
    }

    /// Records events durably, or on standard error where the policy spares them.
    ///
    /// # Errors
    ///
    /// The sink's.
    pub fn record(&self, events: Vec<Event>) -> Result<(), Arc<AuditError>> {
        let spared = self.policy.spares_all(&events).then(|| events.clone());
        let group = {
            let next = lock(&self.next);
            lock(&next.events).extend(events);
            Arc::clone(&next)
        };
        match (self.written(&group), spared) {
            (Err(error), Some(events)) => {
                tell(&error, &events);
                Ok(())
            }
            (result, _) => result,
        }
    }

    /// Records durably what needs no leave: a refusal, or what can't be undone. Where the sink fails, it goes to standard error.
    pub(crate) fn tell(&self, event: Event) {
        if let Err(error) = self.record(vec![event.clone()]) {
            tell(&error, &[event]);
        }
    }

    /// Records with the next record, and at the end of the trail at the latest, what another record has told the essence of.
    pub(crate) fn defer(&self, event: Event) {
        let full = {
            let mut looked_up = lock(&self.looked_up);
            looked_up.waiting.push(event);
            looked_up.waiting.len() >= MOST_WAITING
        };
        if full {
            self.flush();
        }
    }

    /// Notes a look-up: the same one of the same request only once.
    pub(super) fn note(&self, event: Event) {
        let full = {
            let mut looked_up = lock(&self.looked_up);
            let mark = format!(
                "{}|{:?}|{:?}|{:?}|{:?}",
                event.correlation,
                event.properties.vault,
                event.properties.key,
                event.properties.thumbprint,
                event.outcome
            );
            // A refusal is recorded as often as it is made.
            if matches!(event.outcome, Outcome::Failure(_)) || looked_up.known.insert(mark) {
                looked_up.waiting.push(event);
            }
            if looked_up.known.len() > MOST_KNOWN {
                looked_up.known.clear();
            }
            looked_up.waiting.len() >= MOST_WAITING
        };
        if full {
            self.flush();
        }
    }

    /// Records the look-ups that wait. What was looked up is known already: where the sink fails, they go to standard error.
    pub fn flush(&self) {
        let events = mem::take(&mut lock(&self.looked_up).waiting);
        if !events.is_empty()
            && let Err(error) = self.sink.append(&events)
        {
            tell(&error, &events);
        }
    }

    /// Whether nobody has said yet today that this key expires soon.
    pub(super) fn is_first_today(&self, key: &Thumbprint, now: UnixTime) -> bool {
        self.notices.is_first(key, now)
    }

    /// Waits until the group is written, by this thread or another one.
    fn written(&self, group: &Arc<Group>) -> Result<(), Arc<AuditError>> {
        let _writing = lock(&self.writing);
        if let Some(result) = group.result.get() {
            return result.clone();
        }
        // From here on nobody joins it: what comes now goes into the next one.
        let _ = mem::take(&mut *lock(&self.next));
        let mut events = mem::take(&mut lock(&self.looked_up).waiting);
        let count = events.len();
        events.append(&mut lock(&group.events));
        let result = self.sink.append(&events).map_err(Arc::new);
        if result.is_err() {
            events.truncate(count);
            lock(&self.looked_up).waiting.append(&mut events);
        }
        let _ = group.result.set(result.clone());
        result
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Events that are written by one append, and how that went.
#[derive(Debug, Default)]
struct Group {
    events: Mutex<Vec<Event>>,
    result: OnceLock<Result<(), Arc<AuditError>>>,
}

#[derive(Debug, Default)]
struct LookUps {
    waiting: Vec<Event>,
    known: BTreeSet<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const MOST_WAITING: usize = 256;
const MOST_KNOWN: usize = 4096;
