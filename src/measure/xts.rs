//! The XTS kernels against their rooflines.

use std::cell::RefCell;

use crate::measure::{CHUNK, Effort, MeasureError, all_cores};
use crate::secret::SecretBytes;
use crate::xts::{Backend, Roofline, SectorSize, Xts256};

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Ciphertext to plaintext.
    Decrypt,
    /// Plaintext to ciphertext.
    Encrypt,
}

impl Direction {
    /// Returns `decrypt` or `encrypt`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Decrypt => "decrypt",
            Self::Encrypt => "encrypt",
        }
    }
}

/// Bare AES rounds on one core.
#[derive(Clone, Copy, Debug)]
pub struct RooflineRow {
    /// The backend whose registers were used.
    pub backend: Backend,
    /// Which rounds.
    pub direction: Direction,
    /// Bytes a second.
    pub rate: f64,
}

/// One kernel on one core.
#[derive(Clone, Copy, Debug)]
pub struct XtsRow {
    /// The kernel.
    pub backend: Backend,
    /// The data unit.
    pub sector: SectorSize,
    /// Which way.
    pub direction: Direction,
    /// Bytes a second.
    pub rate: f64,
    /// Part of the roofline of [`roofline`](Self::roofline) that the kernel reaches.
    pub fraction_of_roofline: f64,
    /// Whose roofline: the backend's own; for the portable one that of the AES unit, where there is one.
    pub roofline: Backend,
}

/// All kernels of this CPU over 256 KiB in place.
#[derive(Clone, Debug)]
pub struct XtsReport {
    /// The ceilings.
    pub rooflines: Vec<RooflineRow>,
    /// The kernels.
    pub rows: Vec<XtsRow>,
    /// Encrypting on all cores at once, by the best kernel, as a multiple of one core.
    pub scaling: f64,
}

pub(super) fn measure(effort: Effort) -> Result<XtsReport, MeasureError> {
    let backends = Backend::available();
    let key = test_key();
    let buffer = RefCell::new(vec![0x5a; CHUNK]);
    let (mut rooflines, mut rows) = (Vec::new(), Vec::new());
    for direction in [Direction::Encrypt, Direction::Decrypt] {
        // Kernels and their ceilings in one contest.
        let mut contest = effort.contest();
        let mut ceilings = Vec::new();
        let mut kernels = Vec::new();
        for &backend in &backends {
            let Some(roofline) = Roofline::new(backend) else { continue };
            let buffer = &buffer;
            let number = contest.add(CHUNK as u64, move || match direction {
                Direction::Decrypt => roofline.decrypt(&mut buffer.borrow_mut()),
                Direction::Encrypt => roofline.encrypt(&mut buffer.borrow_mut()),
            });
            ceilings.push((backend, number));
        }
        let own_or_best = |backend: Backend| match backend {
            Backend::Portable => ceilings.iter().rev().nth(1).or(ceilings.last()).copied(),
            _ => ceilings.iter().find(|(other, _)| *other == backend).copied(),
        };
        for &backend in &backends {
            for sector in [SectorSize::Bytes512, SectorSize::Bytes4096] {
                let xts = Xts256::with_backend(&key, backend).map_err(|_| MeasureError::Key)?;
                let buffer = &buffer;
                let number = contest.add(CHUNK as u64, move || {
                    let mut buffer = buffer.borrow_mut();
                    // The buffer is a whole number of sectors, at an offset of 0.
                    let _ = match direction {
                        Direction::Decrypt => xts.decrypt_sectors(sector, 0, &mut buffer),
                        Direction::Encrypt => xts.encrypt_sectors(sector, 0, &mut buffer),
                    };
                });
                kernels.push((backend, sector, number));
            }
        }
        let rates = contest.run();
        rooflines.extend(ceilings.iter().map(|&(backend, number)| RooflineRow {
            backend,
            direction,
            rate: rates.rate(number),
        }));
        rows.extend(kernels.iter().filter_map(|&(backend, sector, number)| {
            let (roofline, ceiling) = own_or_best(backend)?;
            Some(XtsRow {
                backend,
                sector,
                direction,
                rate: rates.rate(number),
                fraction_of_roofline: rates.ratio(number, ceiling),
                roofline,
            })
        }));
    }
    Ok(XtsReport { rooflines, rows, scaling: scaling(effort, &key)? })
}

/// Measures how many times as fast all cores are as one, each with a buffer of its own in its own cache.
fn scaling(effort: Effort, key: &SecretBytes) -> Result<f64, MeasureError> {
    let xts = Xts256::new(key).map_err(|_| MeasureError::Key)?;
    let pool = all_cores()?;
    let work = || {
        let mut buffer = vec![0x5a; CHUNK];
        for _ in 0..REPEATS {
            let _ = xts.encrypt_sectors(SectorSize::Bytes512, 0, &mut buffer);
        }
    };
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().map_err(MeasureError::Threads)?;
    let mut contest = effort.contest();
    let alone = contest.add(1, || one.install(work));
    let together = contest.add(pool.current_num_threads() as u64, || {
        pool.broadcast(|_| work());
    });
    Ok(contest.run().ratio(together, alone))
}

/// The key of every measurement: no secret.
pub(super) fn test_key() -> SecretBytes {
    SecretBytes::taken_from((0..64).collect())
}

/// Passes over a buffer between two looks at the clock by a whole pool: starting it must not count.
const REPEATS: usize = 64;
