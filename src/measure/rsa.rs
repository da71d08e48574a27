//! RSA-OAEP: what wrapping and unwrapping DEKs costs.

use crate::measure::{Effort, MeasureError, all_cores};
use crate::oaep::{RsaPrivateKey, WrapAlgorithm};
use crate::secret::SecretBytes;

/// One key size, RSA-OAEP-256.
#[derive(Clone, Copy, Debug)]
pub struct RsaRow {
    /// Bits of the modulus.
    pub bits: usize,
    /// Wraps a second on one core.
    pub wraps: f64,
    /// Unwraps a second on one core.
    pub unwraps: f64,
    /// Wraps a second on all cores.
    pub wraps_on_all_cores: f64,
    /// Unwraps a second on all cores.
    pub unwraps_on_all_cores: f64,
}

pub(super) fn measure(effort: Effort) -> Result<Vec<RsaRow>, MeasureError> {
    let pool = all_cores()?;
    let cores = pool.current_num_threads() as u64;
    let secret = SecretBytes::taken_from(vec![0x5a; 100]);
    let mut rows = Vec::new();
    for bits in [2048, 3072, 4096] {
        let private = RsaPrivateKey::generate(bits).map_err(|_| MeasureError::Key)?;
        let public = private.public().map_err(|_| MeasureError::Key)?;
        let algorithm = WrapAlgorithm::RsaOaep256;
        let wrapped = public.encrypt(algorithm, &secret).map_err(|_| MeasureError::Key)?;
        let wrap = || drop(std::hint::black_box(public.encrypt(algorithm, &secret)));
        let unwrap = || drop(std::hint::black_box(private.decrypt(algorithm, &wrapped)));
        let mut contest = effort.contest();
        let wraps = contest.add(1, wrap);
        let unwraps = contest.add(1, unwrap);
        let all_wraps = contest.add(WRAPS * cores, || drop(pool.broadcast(|_| (0..WRAPS).for_each(|_| wrap()))));
        let all_unwraps =
            contest.add(UNWRAPS * cores, || drop(pool.broadcast(|_| (0..UNWRAPS).for_each(|_| unwrap()))));
        let rates = contest.run();
        rows.push(RsaRow {
            bits,
            wraps: rates.rate(wraps),
            unwraps: rates.rate(unwraps),
            wraps_on_all_cores: rates.rate(all_wraps),
            unwraps_on_all_cores: rates.rate(all_unwraps),
        });
    }
    Ok(rows)
}

/// Operations of a worker between two looks at the clock.
const WRAPS: u64 = 64;
const UNWRAPS: u64 = 8;
