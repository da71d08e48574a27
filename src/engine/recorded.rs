//! What an engine records by itself: refusals that no vault was asked about, and what became of a snapshot.

use std::sync::Arc;

use crate::audit::{AuditError, CorrelationId, Event, FailureKind, HeadError, Operation, Outcome, Properties, Text};
use crate::engine::{Change, Engine, Error, ErrorKind, PolicyError, RewrapReport, WrappingKey};
use crate::format::{Layer, SnapshotId};
use crate::key::WrapRefusal;
use crate::provider::{NotRecorded, OpContext, ProviderError, ProviderErrorKind, Trail};

impl Engine {
    /// Records in `trail` what an [`Audited`](crate::provider::Audited) vault can't know: refusals before a vault is asked, and rewraps.
    #[must_use]
    pub fn with_trail(mut self, trail: Arc<Trail>) -> Self {
        self.trail = Some(trail);
        self
    }

    /// Starts an operation on a vault for one layer of a snapshot.
    pub(super) fn context_of(&self, of: Purpose) -> OpContext {
        self.context().with_about(of_layer(of))
    }

    /// Records that a key may not wrap.
    pub(super) fn tell_wrap(&self, key: &WrappingKey, refusal: &WrapRefusal, of: Purpose) {
        let about = Properties { vault: Some(key.provider.name().clone()), ..of_key(key, of) };
        self.tell(Operation::KeyWrap, refused(refusal), about);
    }

    /// Records that nothing unwrapped a snapshot. What a vault refused, it has recorded itself.
    pub(super) fn tell_unlock(&self, snapshot: SnapshotId, error: &Error) {
        let (key, layer) = match error {
            Error::Provider(_) => return,
            Error::KeyMissing { layer, wanted, .. } => (Some(wanted), Some(*layer)),
            Error::KeyNotWanted { wanted } => (Some(wanted), None),
            _ => (None, None),
        };
        let key = key.map(|wanted| Text::new(&wanted.join(" or ")));
        let about = Properties { snapshot: Some(snapshot), layer, key, ..Properties::default() };
        self.tell(Operation::KeyUnwrap, failure_of(error), about);
    }

    /// Records that the wrapped keys of a layer are about to change without anything being wrapped, which would leave a record of its own.
    pub(super) fn start_rewrap(&self, snapshot: SnapshotId, layer: Layer, change: &Change) -> Result<(), Error> {
        let (Change::Remove(_), Some(trail)) = (change, &self.trail) else { return Ok(()) };
        let event = self.event(Operation::SnapshotRewrap, Outcome::Started, of_change((Some(snapshot), layer), change));
        trail.record(vec![event]).map_err(|source| {
            // One of them has unwrapped the layer.
            let Some(provider) = self.providers.first() else {
                return Error::KeyMissing { layer, wanted: Vec::new(), searched: Vec::new() };
            };
            let unrecorded = ProviderError::new(ProviderErrorKind::Unrecorded, provider.name(), "");
            unrecorded.because(NotRecorded::new(false, source)).into()
        })
    }

    /// Records how a rewrap ended; nothing of one that found nothing to do.
    pub(super) fn end_rewrap(
        &self,
        snapshot: SnapshotId,
        layer: Layer,
        change: &Change,
        result: &Result<RewrapReport, Error>,
    ) {
        let about = of_change((Some(snapshot), layer), change);
        match (result, &self.trail) {
            (Ok(report), Some(trail)) if report.changed => {
                trail.defer(self.event(Operation::SnapshotRewrap, Outcome::Success, about));
            }
            (Err(error), _) => self.tell(Operation::SnapshotRewrap, failure_of(error), about),
            _ => {}
        }
    }

    fn tell(&self, operation: Operation, kind: FailureKind, about: Properties) {
        if let Some(trail) = &self.trail {
            trail.tell(self.event(operation, Outcome::Failure(kind), about));
        }
    }

    fn event(&self, operation: Operation, outcome: Outcome, about: Properties) -> Event {
        let correlation = self.correlation.or(self.trail.as_ref().map(|trail| trail.correlation()));
        let correlation = correlation.unwrap_or(CorrelationId::from_bytes([0; 16]));
        Event::new(operation, outcome, self.clock.now(), correlation).with(about)
    }
}

/// Returns the word that the audit log has for a failure.
pub(crate) fn failure_of(error: &Error) -> FailureKind {
    match error.inner() {
        Error::Provider(error) => error.kind.failure(),
        Error::Policy(PolicyError::KeyRefused { refusal, .. }) => refused(refusal),
        Error::KeyMissing { .. } | Error::KeyNotWanted { .. } => FailureKind::NotFound,
        other => match other.kind() {
            ErrorKind::Busy => FailureKind::Busy,
            ErrorKind::Damaged => FailureKind::Damaged,
            ErrorKind::NotFound => FailureKind::NotFound,
            ErrorKind::Refused => FailureKind::Denied,
            ErrorKind::Unavailable => FailureKind::Unavailable,
            ErrorKind::WrongKey => FailureKind::UnwrapFailed,
            _ => FailureKind::Failed,
        },
    }
}

/// Says what kind of failure a log that can't be written is.
pub(crate) fn kind_of_audit(error: &AuditError) -> ErrorKind {
    match error {
        AuditError::Broken(_) | AuditError::KeyDamaged(_) => ErrorKind::Damaged,
        AuditError::Busy(_) | AuditError::Head(HeadError::Busy(_)) => ErrorKind::Busy,
        AuditError::KeyMissing(_) => ErrorKind::NotFound,
        _ => ErrorKind::Failed,
    }
}

fn refused(refusal: &WrapRefusal) -> FailureKind {
    match refusal {
        WrapRefusal::Deleted => FailureKind::Deleted,
        WrapRefusal::Disabled => FailureKind::Disabled,
        WrapRefusal::Expired(_) => FailureKind::Expired,
        WrapRefusal::NotYetValid(_) => FailureKind::NotYetValid,
    }
}

/// What a secret belongs to: a layer of a snapshot; without one, an epoch key of that layer.
pub(super) type Purpose = (Option<SnapshotId>, Layer);

fn of_layer((snapshot, layer): Purpose) -> Properties {
    Properties { snapshot, layer: Some(layer), ..Properties::default() }
}

fn of_key(key: &WrappingKey, of: Purpose) -> Properties {
    Properties { key: Some(Text::new(&key.version.id)), thumbprint: Some(key.version.thumbprint), ..of_layer(of) }
}

/// Names the key that a change is about.
fn of_change(of: Purpose, change: &Change) -> Properties {
    match change {
        Change::Add(key) | Change::Replace { to: key, .. } => of_key(key, of),
        Change::Remove(thumbprint) => Properties { thumbprint: Some(*thumbprint), ..of_layer(of) },
        Change::Repair => of_layer(of),
        Change::To(keys) => match keys.keks().next() {
            Some(key) => of_key(key, of),
            None => of_layer(of),
        },
    }
}
