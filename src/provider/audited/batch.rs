//! Many operations, one record: their events are written together, and what they gave is withheld until then.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use crate::audit::Event;
use crate::provider::OpContext;
use crate::provider::audited::{NotRecorded, Trail};

/// Wraps and unwraps whose events are recorded together: thousands of them would else wait for the disk twice each.
///
/// Whoever begins a batch withholds what its operations gave until [`commit`](Self::commit) has returned. Administration is recorded by itself,
/// as always.
#[derive(Debug)]
pub struct Batch {
    queue: Queue,
}

impl Batch {
    /// Begins a batch, and returns the context that its operations are called with.
    pub fn begin(cx: &OpContext) -> (Self, OpContext) {
        let queue = Queue::default();
        (Self { queue: queue.clone() }, cx.with_queue(queue))
    }

    /// Records what was done, durably.
    ///
    /// # Errors
    ///
    /// [`NotRecorded`]: then nothing that the operations gave may be used.
    pub fn commit(self) -> Result<(), NotRecorded> {
        self.queue.write()
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // What was done is recorded also where the batch was given up; who gave it up has no use for the answer.
        let _ = self.queue.write();
    }
}

/// Events that wait for their batch, and where they go.
#[derive(Clone, Debug, Default)]
pub(in crate::provider) struct Queue {
    waiting: Arc<Mutex<Vec<Waiting>>>,
}

/// Where events go, and the events.
type Waiting = (Arc<Trail>, Vec<Event>);

impl Queue {
    pub(super) fn add(&self, trail: &Arc<Trail>, events: Vec<Event>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.iter_mut().find(|(known, _)| Arc::ptr_eq(known, trail)) {
            Some((_, known)) => known.extend(events),
            None => waiting.push((Arc::clone(trail), events)),
        }
    }

    fn write(&self) -> Result<(), NotRecorded> {
        let waiting = mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        let mut result = Ok(());
        for (trail, events) in waiting {
            let recorded = trail.record(events).map_err(|source| NotRecorded { done: false, source });
            result = result.and(recorded);
        }
        result
    }
}
