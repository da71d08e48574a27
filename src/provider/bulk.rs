//! Many wraps or unwraps at once, on all cores.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use rayon::prelude::*;

use crate::key::KeyVersion;
use crate::provider::{Batch, KeyProvider, NotRecorded, OpContext, ProviderError, ProviderErrorKind, WrappedKey};
use crate::secret::SecretBytes;

/// Unwraps many keys on the threads of the current rayon pool, and hands each to `each`, with its place in `wrapped`, as it comes.
///
/// Secrets are unwrapped in groups of 128, recorded as one [`Batch`], and then handed over: no more of them are in memory at once. When
/// `each` breaks, what was not begun is left out. The cost is the vault's private-key operations: an embedded vault does about 500 a second
/// and core with RSA-3072.
pub fn unwrap_each<F>(provider: &dyn KeyProvider, wrapped: &[WrappedKey], cx: &OpContext, each: F)
where
    F: Fn(usize, Result<SecretBytes, ProviderError>) -> ControlFlow<()> + Sync,
{
    let stopped = AtomicBool::new(false);
    let mut first = 0;
    for group in wrapped.chunks(GROUP) {
        let (batch, cx) = Batch::begin(cx);
        let unwrapped: Vec<_> =
            group.par_iter().with_max_len(1).map(|wrapped| provider.unwrap_key(wrapped, &cx)).collect();
        let recorded = batch.commit();
        unwrapped.into_par_iter().zip(group).enumerate().with_max_len(1).for_each(|(place, (result, wrapped))| {
            if !stopped.load(Ordering::Relaxed)
                && each(first + place, released(result, &recorded, provider, &wrapped.id)).is_break()
            {
                stopped.store(true, Ordering::Relaxed);
            }
        });
        if stopped.load(Ordering::Relaxed) {
            return;
        }
        first += group.len();
    }
}

/// Wraps many secrets under one key, on the threads of the current rayon pool; the results are in the secrets' order. All of them are
/// recorded as one [`Batch`].
pub fn wrap_all(
    provider: &dyn KeyProvider,
    kek: &KeyVersion,
    secrets: &[SecretBytes],
    cx: &OpContext,
) -> Vec<Result<WrappedKey, ProviderError>> {
    let (batch, cx) = Batch::begin(cx);
    let wrapped: Vec<_> = secrets.par_iter().map(|secret| provider.wrap_key(kek, secret, &cx)).collect();
    let recorded = batch.commit();
    wrapped.into_iter().map(|result| released(result, &recorded, provider, &kek.id)).collect()
}

/// Withholds a result that is not recorded.
fn released<T>(
    result: Result<T, ProviderError>,
    recorded: &Result<(), NotRecorded>,
    provider: &dyn KeyProvider,
    key: &str,
) -> Result<T, ProviderError> {
    match recorded {
        Ok(()) => result,
        Err(cause) => {
            Err(ProviderError::new(ProviderErrorKind::Unrecorded, provider.name(), key).because(cause.clone()))
        }
    }
}

/// How many results are withheld at once: enough that the record costs little, few enough that locked memory holds them.
const GROUP: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use crate::clock::SystemClock;
    use crate::provider::PemFiles;

    fn key_and_context() -> (PemFiles, KeyVersion, OpContext) {
        let mut files = PemFiles::new();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/keys/test-rsa2048.pkcs8.pem");
        let version = files.add(path.as_ref()).expect("a private test key");
        (files, version, OpContext::new(Arc::new(SystemClock), Duration::from_secs(60)))
    }

    fn secret(number: u8) -> SecretBytes {
        SecretBytes::taken_from(vec![number; 64])
    }

    #[test]
    fn what_was_wrapped_in_bulk_unwraps_in_bulk() {
        let (files, kek, cx) = key_and_context();
        let secrets: Vec<_> = (0..20).map(secret).collect();
        let wrapped: Vec<_> =
            wrap_all(&files, &kek, &secrets, &cx).into_iter().map(|one| one.expect("an enabled key wraps")).collect();
        let seen = Mutex::new(vec![0; wrapped.len()]);
        unwrap_each(&files, &wrapped, &cx, |place, unwrapped| {
            assert_eq!(unwrapped.expect("its own key").expose(), secrets[place].expose());
            seen.lock().expect("no panic")[place] += 1;
            ControlFlow::Continue(())
        });
        assert_eq!(*seen.lock().expect("no panic"), [1; 20]);
    }

    #[test]
    fn nothing_is_begun_after_a_break() {
        let (files, kek, cx) = key_and_context();
        let wrapped = files.wrap_key(&kek, &secret(1), &cx).expect("an enabled key wraps");
        let many = vec![wrapped; 200];
        let calls = Mutex::new(0);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().expect("threads");
        pool.install(|| {
            unwrap_each(&files, &many, &cx, |_, _| {
                *calls.lock().expect("no panic") += 1;
                ControlFlow::Break(())
            });
        });
        let calls = *calls.lock().expect("no panic");
        assert!((1..=2).contains(&calls), "{calls} calls by two threads");
    }
}
