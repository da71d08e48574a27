use super::*;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::audit::{AuditSink, CorrelationId, FailurePolicy};
use crate::clock::{SystemClock, UnixTime};
use crate::provider::{Disposition, PemFiles, unwrap_each, wrap_all};

/// Keeps events in memory; can be made to refuse them.
#[derive(Debug, Default)]
struct Memory {
    events: Mutex<Vec<Event>>,
    appends: AtomicUsize,
    full: AtomicBool,
}

impl Memory {
    fn seen(&self) -> Vec<(Operation, Outcome)> {
        self.events.lock().expect("no panic").iter().map(|event| (event.operation, event.outcome)).collect()
    }
}

impl AuditSink for Memory {
    fn append(&self, events: &[Event]) -> Result<(), AuditError> {
        if self.full.load(Ordering::Relaxed) {
            return Err(AuditError::Io { path: "log".into(), source: std::io::ErrorKind::StorageFull.into() });
        }
        self.appends.fetch_add(1, Ordering::Relaxed);
        self.events.lock().expect("no panic").extend_from_slice(events);
        Ok(())
    }
}

/// Counts what an administrator would have changed.
#[derive(Debug, Default)]
struct Untouched(AtomicUsize);

impl KeyRecovery for Untouched {
    fn recover(&self, _: &KeyName, _: &OpContext) -> Result<KeyDetails, ProviderError> {
        unreachable!("not called")
    }

    fn purge(&self, key: &KeyName, _: &OpContext) -> Result<(), ProviderError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Err(ProviderError::new(ProviderErrorKind::Denied, &"v".parse().expect("a name"), key.as_str()))
    }
}

fn world(policy: FailurePolicy) -> (Audited<PemFiles>, KeyVersion, Arc<Memory>, OpContext) {
    let mut files = PemFiles::new();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/keys/test-rsa2048.pkcs8.pem");
    let version = files.add(path.as_ref()).expect("a private test key");
    let memory = Arc::new(Memory::default());
    let trail = Trail::new(memory.clone(), policy, CorrelationId::from_bytes([7; 16]));
    let cx = OpContext::new(Arc::new(SystemClock), Duration::from_secs(60));
    (Audited::new(Arc::new(files), Arc::new(trail)), version, memory, cx)
}

fn secret() -> SecretBytes {
    SecretBytes::taken_from(vec![5; 64])
}

use FailurePolicy::{StandardError, Stop};
use Operation::{KeyGet, KeyNearExpiry, KeyPurge, KeyUnwrap, KeyWrap};

#[test]
fn a_look_up_is_recorded_once_with_what_follows() {
    let (vault, version, memory, cx) = world(Stop);
    for _ in 0..5 {
        vault.find(&version.thumbprint, &cx).expect("is there");
    }
    assert_eq!(memory.seen(), []);
    vault.wrap_key(&version, &secret(), &cx).expect("wraps");
    assert_eq!(memory.seen(), [(KeyGet, Outcome::Success), (KeyWrap, Outcome::Success)]);
    assert_eq!(memory.appends.load(Ordering::Relaxed), 1);
    let other = cx.clone().with_correlation(CorrelationId::from_bytes([8; 16]));
    vault.find(&version.thumbprint, &other).expect("is there");
    drop(vault);
    assert_eq!(memory.seen().len(), 3, "another request looks up anew, and the end of the trail records it");
}

#[test]
fn no_secret_is_handed_out_without_a_record() {
    let (vault, version, memory, cx) = world(Stop);
    let wrapped = vault.wrap_key(&version, &secret(), &cx).expect("wraps");
    memory.full.store(true, Ordering::Relaxed);
    for error in [
        vault.unwrap_key(&wrapped, &cx).expect_err("no record"),
        vault.wrap_key(&version, &secret(), &cx).expect_err("no record"),
    ] {
        assert_eq!(error.kind, ProviderErrorKind::Unrecorded);
        assert_eq!(error.kind.disposition(), Disposition::Stop);
    }
}

#[test]
fn only_unwrapping_may_be_told_to_go_on() {
    let (vault, version, memory, cx) = world(StandardError);
    let wrapped = vault.wrap_key(&version, &secret(), &cx).expect("wraps");
    memory.full.store(true, Ordering::Relaxed);
    assert_eq!(vault.unwrap_key(&wrapped, &cx).expect("spared").expose(), secret().expose());
    assert!(vault.wrap_key(&version, &secret(), &cx).is_err());
}

#[test]
fn nothing_is_administered_that_could_not_be_recorded() {
    let (_, _, memory, cx) = world(Stop);
    let trail = Arc::new(Trail::new(memory.clone(), Stop, CorrelationId::from_bytes([7; 16])));
    let inner = Arc::new(Untouched::default());
    let vault = Audited { vault: "v".parse().expect("a name"), trail, inner: inner.clone() };
    let name: KeyName = "k".parse().expect("a name");
    assert_eq!(vault.purge(&name, &cx).expect_err("denied").kind, ProviderErrorKind::Denied);
    assert_eq!(memory.seen(), [(KeyPurge, Outcome::Started), (KeyPurge, Outcome::Failure(FailureKind::Denied))]);
    memory.full.store(true, Ordering::Relaxed);
    assert_eq!(vault.purge(&name, &cx).expect_err("no record").kind, ProviderErrorKind::Unrecorded);
    assert_eq!(inner.0.load(Ordering::Relaxed), 1);
}

#[test]
fn a_refusal_is_recorded_with_its_kind() {
    let (vault, version, memory, cx) = world(Stop);
    let expired = KeyVersion { not_after: Some(UnixTime(1)), ..version };
    assert_eq!(vault.wrap_key(&expired, &secret(), &cx).expect_err("expired").kind, ProviderErrorKind::Expired);
    assert_eq!(memory.seen(), [(KeyWrap, Outcome::Failure(FailureKind::Expired))]);
}

#[test]
fn a_key_that_expires_soon_is_spoken_of_once_a_day() {
    let (vault, version, memory, cx) = world(Stop);
    let soon = KeyVersion { not_after: Some(cx.now().plus(29 * 86_400)), ..version.clone() };
    let later = KeyVersion { not_after: Some(cx.now().plus(31 * 86_400)), ..version };
    vault.wrap_key(&later, &secret(), &cx).expect("wraps");
    for _ in 0..3 {
        vault.wrap_key(&soon, &secret(), &cx).expect("wraps");
    }
    assert_eq!(memory.seen().iter().filter(|(operation, _)| *operation == KeyNearExpiry).count(), 1);
}

#[test]
fn many_operations_share_one_append() {
    let (vault, version, memory, cx) = world(Stop);
    let secrets: Vec<_> = (0..20).map(|_| secret()).collect();
    let wrapped: Vec<_> =
        wrap_all(&vault, &version, &secrets, &cx).into_iter().map(|one| one.expect("wraps")).collect();
    assert_eq!((memory.appends.load(Ordering::Relaxed), memory.seen().len()), (1, 20));
    unwrap_each(&vault, &wrapped, &cx, |_, result| {
        assert!(result.is_ok());
        std::ops::ControlFlow::Continue(())
    });
    assert_eq!((memory.appends.load(Ordering::Relaxed), memory.seen().len()), (2, 40));
    memory.full.store(true, Ordering::Relaxed);
    let refused = AtomicUsize::new(0);
    unwrap_each(&vault, &wrapped, &cx, |_, result| {
        assert_eq!(result.expect_err("no record").kind, ProviderErrorKind::Unrecorded);
        refused.fetch_add(1, Ordering::Relaxed);
        std::ops::ControlFlow::Continue(())
    });
    assert_eq!(refused.load(Ordering::Relaxed), 20);
}

#[test]
fn threads_that_record_at_once_each_find_their_record() {
    let (vault, version, memory, cx) = world(Stop);
    let wrapped = vault.wrap_key(&version, &secret(), &cx).expect("wraps");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..5 {
                    vault.unwrap_key(&wrapped, &cx).expect("unwraps");
                }
            });
        }
    });
    assert_eq!(memory.seen().iter().filter(|(operation, _)| *operation == KeyUnwrap).count(), 40);
}
