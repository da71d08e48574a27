//! XTS with GMAC behind it, or both in one pass.

use std::cell::RefCell;

use crate::aead::Gcm256;
use crate::measure::xts::test_key;
use crate::measure::{CHUNK, Effort, MeasureError};
use crate::secret::SecretBytes;
use crate::xts::{Backend, Roofline, SectorSize, Xts256, XtsGmac};

/// Sealing with XTS, 512-byte sectors, and GMAC on one core.
#[derive(Clone, Copy, Debug)]
pub struct GmacReport {
    /// One pass after the other over 256 KiB in cache.
    pub two_passes: GmacRate,
    /// Both in one pass, where this CPU has a kernel for it.
    pub fused: Option<GmacRate>,
    /// How many times as fast one pass is as two over buffers that fit no cache.
    pub fused_from_memory: Option<f64>,
}

/// A rate, and what it is of the roofline.
#[derive(Clone, Copy, Debug)]
pub struct GmacRate {
    /// Bytes a second.
    pub rate: f64,
    /// Part of the roofline of the best backend.
    pub fraction_of_roofline: f64,
}

pub(super) fn measure(effort: Effort) -> Result<GmacReport, MeasureError> {
    let mac_key = SecretBytes::taken_from((0..32).collect());
    let xts = Xts256::new(&test_key()).map_err(|_| MeasureError::Key)?;
    let gcm = Gcm256::new(&mac_key).map_err(|_| MeasureError::Key)?;
    let fused = XtsGmac::new(&test_key(), &mac_key).map_err(|_| MeasureError::Key)?;
    let best = Backend::available().into_iter().next().and_then(Roofline::new).ok_or(MeasureError::Key)?;

    let buffer = RefCell::new(vec![0x5a; CHUNK]);
    let mut contest = effort.contest();
    let ceiling = contest.add(CHUNK as u64, || best.encrypt(&mut buffer.borrow_mut()));
    let two = contest.add(CHUNK as u64, || separately(&xts, &gcm, &mut buffer.borrow_mut()));
    let one = fused.as_ref().map(|fused| {
        let buffer = &buffer;
        contest.add(CHUNK as u64, move || together(fused, &mut buffer.borrow_mut()))
    });
    let rates = contest.run();
    let rated = |number| GmacRate { rate: rates.rate(number), fraction_of_roofline: rates.ratio(number, ceiling) };

    let fused_from_memory = fused.as_ref().map(|fused| {
        let large = RefCell::new(vec![0x5a; effort.large_buffer]);
        let mut contest = effort.contest();
        let two = contest.add(1, || separately(&xts, &gcm, &mut large.borrow_mut()));
        let one = contest.add(1, || together(fused, &mut large.borrow_mut()));
        contest.run().ratio(one, two)
    });
    Ok(GmacReport { two_passes: rated(two), fused: one.map(rated), fused_from_memory })
}

fn separately(xts: &Xts256, gcm: &Gcm256, data: &mut [u8]) {
    // Whole sectors; the nonce serves twice because this key seals nothing.
    let _ = xts.encrypt_sectors(SectorSize::Bytes512, 0, data);
    let _ = std::hint::black_box(gcm.gmac(&[0; 12], data));
}

fn together(fused: &XtsGmac, data: &mut [u8]) {
    let _ = std::hint::black_box(fused.encrypt_sectors(SectorSize::Bytes512, 0, &[0; 12], data));
}
