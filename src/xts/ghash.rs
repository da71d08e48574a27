//! GHASH (SP 800-38D §6.4) by carry-less multiplication, eight blocks with one reduction.
//!
//! The arithmetic is POLYVAL's: RFC 8452, appendix A, shows how the two hashes relate. A product `dot(a, b)` is `a b x^-128`.

#![allow(unsafe_code, reason = "loads for carry-less multiplication")]

use std::arch::x86_64::*;

use super::aesni::{load, store};
use super::order::fetch;

/// The powers of the hash key, the eighth first: what a group's blocks are multiplied by, in their order.
#[repr(C, align(64))]
pub(super) struct HashKey {
    powers: [__m128i; LANES],
}

impl HashKey {
    /// Derives the powers from the hash subkey, the encrypted block of zeros.
    #[target_feature(enable = "sse2,ssse3,pclmulqdq")]
    pub(super) fn fill(&mut self, subkey: &[u8; 16]) {
        let first = times_x(reversed(load(subkey)));
        let mut power = first;
        for slot in self.powers.iter_mut().rev() {
            *slot = power;
            let mut product = Product::zero();
            product.add(power, first);
            power = product.reduced();
        }
    }

    /// An empty key, to be filled where it lies.
    #[target_feature(enable = "sse2")]
    pub(super) fn empty() -> Self {
        Self { powers: [_mm_setzero_si128(); LANES] }
    }

    /// The power for one block of a group.
    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) fn power(&self, block: usize) -> __m128i {
        fetch(&self.powers[block])
    }
}

/// A sum of products that is not reduced yet: 256 bits, the middle 128 of them apart.
#[derive(Clone, Copy)]
pub(super) struct Product {
    pub(super) low: __m128i,
    pub(super) middle: __m128i,
    pub(super) high: __m128i,
}

impl Product {
    #[inline]
    #[target_feature(enable = "sse2")]
    pub(super) fn zero() -> Self {
        let zero = _mm_setzero_si128();
        Self { low: zero, middle: zero, high: zero }
    }

    /// Adds `a` times `b`.
    #[inline]
    #[target_feature(enable = "sse2,pclmulqdq")]
    pub(super) fn add(&mut self, a: __m128i, b: __m128i) {
        self.low = _mm_xor_si128(self.low, _mm_clmulepi64_si128::<0x00>(a, b));
        self.middle = _mm_xor_si128(self.middle, _mm_clmulepi64_si128::<0x01>(a, b));
        self.middle = _mm_xor_si128(self.middle, _mm_clmulepi64_si128::<0x10>(a, b));
        self.high = _mm_xor_si128(self.high, _mm_clmulepi64_si128::<0x11>(a, b));
    }

    /// Divides by x^128 modulo the field polynomial.
    #[inline]
    #[target_feature(enable = "sse2,pclmulqdq")]
    pub(super) fn reduced(self) -> __m128i {
        let low = _mm_xor_si128(self.low, _mm_slli_si128::<8>(self.middle));
        let high = _mm_xor_si128(self.high, _mm_srli_si128::<8>(self.middle));
        _mm_xor_si128(high, folded(folded(low)))
    }
}

/// Divides by x^64: the lower half, times what is above x^64 in the polynomial, goes into the upper one.
#[inline]
#[target_feature(enable = "sse2,pclmulqdq")]
fn folded(low: __m128i) -> __m128i {
    // x^63 + x^62 + x^57: the terms x^127, x^126 and x^121 of the polynomial, counted from x^64.
    let polynomial = _mm_set_epi64x(0, POLYNOMIAL.cast_signed());
    _mm_xor_si128(_mm_shuffle_epi32::<0x4e>(low), _mm_clmulepi64_si128::<0x00>(low, polynomial))
}

/// Multiplies by x modulo x^128 + x^127 + x^126 + x^121 + 1 (`mulX_POLYVAL`).
#[target_feature(enable = "sse2")]
fn times_x(value: __m128i) -> __m128i {
    let mut bytes = [0; 16];
    store(&mut bytes, value);
    let value = u128::from_le_bytes(bytes);
    let carry = (value >> 127).wrapping_neg();
    let terms = (u128::from(POLYNOMIAL) << 64) | 1;
    load(&((value << 1) ^ (carry & terms)).to_le_bytes())
}

/// Reverses the bytes of a block: GHASH counts them from the other end.
#[inline]
#[target_feature(enable = "sse2,ssse3")]
pub(super) fn reversed(block: __m128i) -> __m128i {
    _mm_shuffle_epi8(block, _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))
}

/// Blocks with one reduction.
pub(super) const LANES: usize = 8;
const POLYNOMIAL: u64 = 0xc200_0000_0000_0000;
