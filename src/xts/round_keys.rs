//! AES-256 key expansion with AES-NI, for every kernel of this architecture.

#![allow(unsafe_code, reason = "entering and loading for AES-NI code")]

use std::arch::x86_64::*;

use super::detect::HaveAesNi;
use super::placed::Placed;

/// The round keys of one AES-256 direction, in the order in which they are used.
pub(super) type Schedule = [__m128i; 15];

/// The three schedules that XTS needs.
#[repr(C, align(64))]
pub(super) struct RoundKeys {
    /// Encrypts data.
    pub(super) encrypt: Schedule,
    /// Decrypts data (equivalent inverse cipher, FIPS 197 §5.3.5).
    pub(super) decrypt: Schedule,
    /// Encrypts tweaks, in both directions.
    pub(super) tweak: Schedule,
}

impl RoundKeys {
    /// Expands both keys on secret pages.
    pub(super) fn expand(_token: HaveAesNi, data: &[u8; 32], tweak: &[u8; 32]) -> Placed<Self> {
        // SAFETY: `_token` proves aes and sse2, which is all that the function enables.
        unsafe { expand_all(data, tweak) }
    }

    /// Returns the data key's schedule of one direction.
    #[inline(always)]
    pub(super) fn data<const ENCRYPT: bool>(&self) -> &Schedule {
        if ENCRYPT { &self.encrypt } else { &self.decrypt }
    }
}

#[target_feature(enable = "aes,sse2")]
fn expand_all(data: &[u8; 32], tweak: &[u8; 32]) -> Placed<RoundKeys> {
    let empty = [_mm_setzero_si128(); 15];
    let mut placed = Placed::new(|| RoundKeys { encrypt: empty, decrypt: empty, tweak: empty });
    let keys = &mut *placed;
    expand(data, &mut keys.encrypt);
    expand(tweak, &mut keys.tweak);
    invert(&keys.encrypt, &mut keys.decrypt);
    placed
}

/// FIPS 197 §5.2 for eight-word keys: two round keys a step.
#[target_feature(enable = "aes,sse2")]
fn expand(key: &[u8; 32], schedule: &mut Schedule) {
    let (low, high) = key.split_at(16);
    // SAFETY: `low` has the 16 bytes that are read; the load needs no alignment; sse2 is enabled here.
    let mut even = unsafe { _mm_loadu_si128(low.as_ptr().cast()) };
    // SAFETY: `high` is the other 16 bytes; the load needs no alignment; sse2 is enabled here.
    let mut odd = unsafe { _mm_loadu_si128(high.as_ptr().cast()) };
    let [first, second, rest @ ..] = schedule;
    (*first, *second) = (even, odd);
    let (pairs, last) = rest.as_chunks_mut::<2>();
    for (pair, round) in pairs.iter_mut().zip(0..) {
        even = _mm_xor_si128(prefix_xor(even), even_word(odd, round));
        odd = _mm_xor_si128(prefix_xor(odd), odd_word(even));
        *pair = [even, odd];
    }
    for key in last {
        *key = _mm_xor_si128(prefix_xor(even), even_word(odd, 6));
    }
}

/// Every word of `key` XORed with the words below it.
#[inline]
#[target_feature(enable = "aes,sse2")]
fn prefix_xor(key: __m128i) -> __m128i {
    let key = _mm_xor_si128(key, _mm_slli_si128::<4>(key));
    _mm_xor_si128(key, _mm_slli_si128::<8>(key))
}

/// SubWord(RotWord(w)) XOR the round's constant, in all words, where w is the last word.
#[inline]
#[target_feature(enable = "aes,sse2")]
fn even_word(key: __m128i, round: i32) -> __m128i {
    let word = _mm_shuffle_epi32::<0xff>(_mm_aeskeygenassist_si128::<0>(key));
    _mm_xor_si128(word, _mm_set1_epi32(1 << round))
}

/// SubWord(w) in all words, where w is the last word.
#[inline]
#[target_feature(enable = "aes,sse2")]
fn odd_word(key: __m128i) -> __m128i {
    _mm_shuffle_epi32::<0xaa>(_mm_aeskeygenassist_si128::<0>(key))
}

/// The equivalent inverse cipher's keys: reversed, with InvMixColumns on all but the outer two.
#[target_feature(enable = "aes,sse2")]
fn invert(encrypt: &Schedule, decrypt: &mut Schedule) {
    for (to, from) in decrypt.iter_mut().zip(encrypt.iter().rev()) {
        *to = _mm_aesimc_si128(*from);
    }
    let ([outer, .., inner], [first, .., last]) = (encrypt, decrypt);
    (*first, *last) = (*inner, *outer);
}
