//! Arithmetic on tweaks, and the end of a unit that is not a whole number of blocks.

/// Multiplies by x in GF(2^128) as SP 800-38E §4 (IEEE 1619 §5.2) counts bits: little-endian, x^128 = x^7 + x^2 + x + 1.
///
/// No branch and no index depends on the value.
#[inline(always)]
pub(super) const fn double(tweak: u128) -> u128 {
    let carry = (tweak >> 127).wrapping_neg();
    (tweak << 1) ^ (carry & 0x87)
}

/// Multiplies by x^32: 32 doublings at once.
#[inline(always)]
pub(super) const fn times_x32(tweak: u128) -> u128 {
    let carry = tweak >> 96;
    (tweak << 32) ^ carry ^ (carry << 1) ^ (carry << 2) ^ (carry << 7)
}

/// Processes the last whole block and the partial one behind it by ciphertext stealing (IEEE 1619 §5.3.2 and §5.4.2).
///
/// `tweaks` are those of the last whole block's and the partial block's positions, in this order; `crypt` runs one block
/// under one of them. Decryption is the same with the tweaks swapped.
#[inline(always)]
pub(super) fn steal<const ENCRYPT: bool>(
    tweaks: [u128; 2],
    last: &mut [u8; 16],
    partial: &mut [u8],
    crypt: impl Fn(u128, &mut [u8; 16]),
) {
    let [whole, behind] = tweaks;
    crypt(if ENCRYPT { whole } else { behind }, last);
    for (a, b) in last.iter_mut().zip(partial) {
        std::mem::swap(a, b);
    }
    crypt(if ENCRYPT { behind } else { whole }, last);
}

/// Splits a unit of at least one block into the blocks that need no stealing and, where there is a partial block, the
/// last whole one and it.
#[inline(always)]
pub(super) fn split_unit(unit: &mut [u8]) -> (&mut [[u8; 16]], Option<Ending<'_>>) {
    let (blocks, partial) = unit.as_chunks_mut::<16>();
    if partial.is_empty() {
        return (blocks, None);
    }
    match blocks.split_last_mut() {
        Some((last, before)) => (before, Some((last, partial))),
        None => (&mut [], None),
    }
}

/// The last whole block, and the partial one.
type Ending<'a> = (&'a mut [u8; 16], &'a mut [u8]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubling_reduces_by_the_field_polynomial() {
        assert_eq!(double(1), 2);
        assert_eq!(double(1 << 127), 0x87);
        assert_eq!(double(u128::MAX), (u128::MAX << 1) ^ 0x87);
    }

    #[test]
    fn one_long_step_is_32_doublings() {
        for start in [1, u128::MAX, 1 << 127, 0xffff_ffff << 96, 0x0123_4567_89ab_cdef_fedc_ba98_7654_3210] {
            assert_eq!(times_x32(start), (0..32).fold(start, |tweak, _| double(tweak)));
        }
    }
}
