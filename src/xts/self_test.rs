//! A known-answer test at run time: a kernel that disagrees with the portable one on this very CPU is never used.
//!
//! Somebody's only copy of a disk goes through these kernels, and one of them has been run on an emulator only. The test takes
//! a fraction of a millisecond, once per process.

use std::sync::OnceLock;

use super::{Backend, SectorSize, Xts256};
use crate::secret::SecretBytes;

/// Returns the best backend that agrees with the portable one here.
pub(super) fn best_backend() -> Backend {
    static BEST: OnceLock<Backend> = OnceLock::new();
    *BEST.get_or_init(|| {
        let mut available = Backend::available().into_iter();
        available.find(|&backend| agrees_with_portable(backend)).unwrap_or(Backend::Portable)
    })
}

/// Whether `backend` encrypts as the portable one does, and decrypts what it encrypted: both sector sizes, counts that are no
/// multiple of any batch, a tweak that carries past 32 bits, and a unit with ciphertext stealing.
fn agrees_with_portable(backend: Backend) -> bool {
    if backend == Backend::Portable {
        return true;
    }
    let key = SecretBytes::taken_from((0..64).map(|number: u8| number.wrapping_mul(37).wrapping_add(11)).collect());
    let (Ok(kernel), Ok(portable)) =
        (Xts256::with_backend(&key, backend), Xts256::with_backend(&key, Backend::Portable))
    else {
        return false;
    };
    let plain: Vec<u8> = (0..7 * 4096_u32).map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let whole = [(SectorSize::Bytes512, 0_u64), (SectorSize::Bytes4096, (1 << 41) - 3 * 4096)].into_iter().all(
        |(sector, at)| {
            let (mut fast, mut slow) = (plain.clone(), plain.clone());
            let done =
                kernel.encrypt_sectors(sector, at, &mut fast).and(portable.encrypt_sectors(sector, at, &mut slow));
            let same = done.is_ok() && fast == slow;
            same && kernel.decrypt_sectors(sector, at, &mut fast).is_ok() && fast == plain
        },
    );
    let unit = plain.get(..1000).unwrap_or_default().to_vec();
    let (mut fast, mut slow) = (unit.clone(), unit.clone());
    let done = kernel.encrypt_unit(&[0xff; 16], &mut fast).and(portable.encrypt_unit(&[0xff; 16], &mut slow));
    let same = done.is_ok() && fast == slow;
    whole && same && kernel.decrypt_unit(&[0xff; 16], &mut fast).is_ok() && fast == unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_backend_of_this_cpu_passes_its_self_test() {
        for backend in Backend::available() {
            assert!(agrees_with_portable(backend), "{backend}");
        }
        assert_eq!(best_backend(), Backend::available()[0]);
    }
}
