//! Whole suites over chunks in memory, and what limits a snapshot.

use std::fmt;
use std::sync::Arc;

use crate::engine::{Engine, Geometry, LayerPolicy, SealPolicy, WrappingKey};
use crate::format::Suite;
use crate::key::{KeyRef, KeyState, KeyVersion, Thumbprint, VaultName};
use crate::measure::{CHUNK, Direction, Effort, MeasureError, MemoryReport, all_cores};
use crate::oaep::{RsaPrivateKey, WrapAlgorithm};
use crate::provider::{KeyProvider, OpContext, ProviderError, ProviderErrorKind, WrappedKey, wrap_locally};
use crate::secret::SecretBytes;

/// One suite, with sectors of 512 bytes and chunks of 256 KiB, in place and in cache.
#[derive(Clone, Copy, Debug)]
pub struct SuiteRow {
    /// The suite.
    pub suite: Suite,
    /// Sealing, or opening, which begins with a copy of the sealed bytes.
    pub direction: Direction,
    /// Bytes a second on one core.
    pub rate: f64,
    /// Bytes a second on all cores.
    pub rate_on_all_cores: f64,
}

/// What a snapshot of the default suite spends its time on here, where files are in memory.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// The greater share.
    pub resource: LimitingResource,
    /// CPU seconds for encrypting and hashing a GiB.
    pub cipher_seconds: f64,
    /// CPU seconds for reading and writing a GiB through the kernel.
    pub copy_seconds: f64,
    /// Bytes a second that all cores carry from file to file together: a slower device limits instead of them.
    pub device: f64,
}

/// A resource of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitingResource {
    /// AES and hashing units.
    Cipher,
    /// The kernel's copies and new pages.
    Copies,
}

impl LimitingResource {
    /// Returns `cipher` or `copies`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cipher => "cipher",
            Self::Copies => "copies",
        }
    }
}

pub(super) fn measure(effort: Effort) -> Result<Vec<SuiteRow>, MeasureError> {
    let (customer, platform) = (wrapping_key("customer", true)?, wrapping_key("platform", false)?);
    let engine = Engine::new(vec![Arc::clone(&customer.provider), Arc::clone(&platform.provider)]);
    let pool = all_cores()?;
    let cores = pool.current_num_threads() as u64;
    let mut rows = Vec::new();
    for suite in [Suite::XtsGmac, Suite::XtsBlake3, Suite::XtsGcm] {
        let layer = |key: &WrappingKey| LayerPolicy::new(vec![key.clone()]).map_err(|_| MeasureError::Key);
        let policy = match suite {
            Suite::XtsGcm => SealPolicy::double(layer(&customer)?, layer(&platform)?),
            _ => SealPolicy::new(layer(&customer)?).suite(suite).map_err(|_| MeasureError::Key)?,
        };
        let sealer = engine.sealer(Geometry::disk(CHUNK as u64), &policy)?;
        let chunk = sealer.chunk(0).ok_or(MeasureError::Key)?;
        let mut sealed = vec![0x5a; CHUNK];
        let record = sealer.seal_chunk(chunk, &mut sealed)?;
        let again = engine.sealer(Geometry::disk(CHUNK as u64), &policy)?;
        let header = sealer.header().to_vec();
        let opener = engine.open_parts(&header, sealer.finish([record])?.as_bytes())?;

        // What is sealed does not matter; what is opened must be what was sealed.
        let seal = |buffer: &mut Vec<u8>| drop(std::hint::black_box(again.seal_chunk(chunk, buffer)));
        let open = |buffer: &mut Vec<u8>| {
            buffer.copy_from_slice(&sealed);
            let opened = opener.open_chunk(chunk, buffer);
            debug_assert!(opened.is_ok(), "what was sealed here opens here");
        };
        let many = |work: &(dyn Fn(&mut Vec<u8>) + Sync)| {
            let mut buffer = vec![0x5a; CHUNK];
            (0..REPEATS).for_each(|_| work(&mut buffer));
        };
        let (mut one, mut other) = (vec![0x5a; CHUNK], vec![0x5a; CHUNK]);
        let mut contest = effort.contest();
        let alone = [contest.add(CHUNK as u64, || seal(&mut one)), contest.add(CHUNK as u64, || open(&mut other))];
        let bytes = REPEATS * cores * CHUNK as u64;
        let together = [
            contest.add(bytes, || drop(pool.broadcast(|_| many(&seal)))),
            contest.add(bytes, || drop(pool.broadcast(|_| many(&open)))),
        ];
        let rates = contest.run();
        for ((direction, alone), together) in
            [Direction::Encrypt, Direction::Decrypt].into_iter().zip(alone).zip(together)
        {
            rows.push(SuiteRow { suite, direction, rate: rates.rate(alone), rate_on_all_cores: rates.rate(together) });
        }
    }
    Ok(rows)
}

/// Adds up what sealing with the default suite takes; `None` without its row.
pub(super) fn limit(rows: &[SuiteRow], copies: &MemoryReport) -> Option<Limit> {
    let row = rows.iter().find(|row| row.suite == Suite::default() && row.direction == Direction::Encrypt)?;
    let cores = row.rate_on_all_cores / row.rate;
    let cipher_seconds = GIB / row.rate;
    let copy_seconds = GIB / copies.file_read + GIB / copies.file_write;
    Some(Limit {
        resource: if cipher_seconds > copy_seconds { LimitingResource::Cipher } else { LimitingResource::Copies },
        cipher_seconds,
        copy_seconds,
        device: GIB * cores / (cipher_seconds + copy_seconds),
    })
}

/// Makes a key that lives as long as the measurement.
fn wrapping_key(name: &str, customer: bool) -> Result<WrappingKey, MeasureError> {
    let private = RsaPrivateKey::generate(2048).map_err(|_| MeasureError::Key)?;
    let public = private.public().map_err(|_| MeasureError::Key)?;
    let version = KeyVersion {
        id: format!("{name}/bench@1"),
        thumbprint: Thumbprint::of(&public),
        state: KeyState::Enabled,
        not_before: None,
        not_after: None,
        created: None,
        customer,
        public,
    };
    let name = name.parse().map_err(|_| MeasureError::Key)?;
    let provider = Arc::new(PassingKey { name, version: version.clone(), private });
    Ok(WrappingKey { provider, version })
}

/// A vault with one key, in memory only.
struct PassingKey {
    name: VaultName,
    version: KeyVersion,
    private: RsaPrivateKey,
}

impl KeyProvider for PassingKey {
    fn name(&self) -> &VaultName {
        &self.name
    }

    fn version(&self, _: &KeyRef, _: &OpContext) -> Result<KeyVersion, ProviderError> {
        Ok(self.version.clone())
    }

    fn find(&self, of: &Thumbprint, _: &OpContext) -> Result<KeyVersion, ProviderError> {
        if *of == self.version.thumbprint {
            return Ok(self.version.clone());
        }
        Err(ProviderError::new(ProviderErrorKind::NotFound, &self.name, &of.to_string()))
    }

    fn wrap_key(&self, kek: &KeyVersion, secret: &SecretBytes, cx: &OpContext) -> Result<WrappedKey, ProviderError> {
        wrap_locally(&self.name, kek, WrapAlgorithm::RsaOaep256, secret, cx)
    }

    fn unwrap_key(&self, wrapped: &WrappedKey, cx: &OpContext) -> Result<SecretBytes, ProviderError> {
        self.find(&wrapped.thumbprint, cx)?;
        self.private
            .decrypt(wrapped.algorithm, &wrapped.ciphertext)
            .map_err(|_| ProviderError::new(ProviderErrorKind::UnwrapFailed, &self.name, &wrapped.id))
    }
}

impl fmt::Debug for PassingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PassingKey({})", self.version.id)
    }
}

const GIB: f64 = (1_u64 << 30) as f64;
/// Chunks of a worker between two looks at the clock.
const REPEATS: u64 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_is_where_most_cpu_time_goes() {
        let row = SuiteRow {
            suite: Suite::default(),
            direction: Direction::Encrypt,
            rate: GIB,
            rate_on_all_cores: 2.0 * GIB,
        };
        let copies = |rate| MemoryReport {
            large_buffer: 0,
            memcpy: 1.0,
            xts: 1.0,
            xts_of_memcpy: 1.0,
            file_read: rate,
            file_write: rate,
        };
        let slow = limit(&[row], &copies(GIB)).expect("the default suite has a row");
        assert_eq!(slow.resource, LimitingResource::Copies);
        assert!((slow.device / GIB - 2.0 / 3.0).abs() < 1e-9);
        let fast = limit(&[row], &copies(4.0 * GIB)).expect("the default suite has a row");
        assert_eq!(fast.resource, LimitingResource::Cipher);
        assert!(limit(&[], &copies(GIB)).is_none());
    }
}
