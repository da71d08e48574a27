//! What detects damage and tampering, over one chunk in cache.

use crate::aead::Gcm256;
use crate::integrity::{blake3, crc64};
use crate::kdf;
use crate::measure::{CHUNK, Effort, MeasureError};
use crate::secret::SecretBytes;

/// One algorithm on one core.
#[derive(Clone, Copy, Debug)]
pub struct IntegrityRow {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub role: &'static str,
    /// Bytes a second.
    pub rate: f64,
}

pub(super) fn measure(effort: Effort) -> Result<Vec<IntegrityRow>, MeasureError> {
    let gcm = Gcm256::new(&SecretBytes::taken_from((0..32).collect())).map_err(|_| MeasureError::Key)?;
    let data = vec![0xa5; CHUNK];
    let mut scratch = vec![0xa5; CHUNK];
    // One nonce for all: this key seals nothing.
    let nonce = [0; 12];
    let candidates: [(&str, &str, Run<'_>); 5] = [
        ("CRC-64/NVME", "every suite: finds damage without a key", Box::new(|| discard(crc64(&data)))),
        ("BLAKE3", "xts-blake3, the default", Box::new(|| discard(blake3(&data)))),
        ("SHA-256", "metadata", Box::new(|| discard(kdf::sha256(&[&data])))),
        ("GMAC", "xts-gmac", Box::new(|| discard(gcm.gmac(&nonce, &data)))),
        ("GCM", "xts-gcm, the second layer", Box::new(|| discard(gcm.seal(&nonce, &[], &mut scratch)))),
    ];
    let mut contest = effort.contest();
    let rows: Vec<_> =
        candidates.into_iter().map(|(name, role, run)| (name, role, contest.add(CHUNK as u64, run))).collect();
    let rates = contest.run();
    Ok(rows.into_iter().map(|(name, role, number)| IntegrityRow { name, role, rate: rates.rate(number) }).collect())
}

type Run<'a> = Box<dyn FnMut() + 'a>;

fn discard<T>(result: T) {
    drop(std::hint::black_box(result));
}
