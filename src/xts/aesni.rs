//! The AES-NI kernel: eight blocks in flight.
//!
//! What keeps the AES unit busy: the tweaks of the next eight blocks are doubled between the rounds of these eight, and
//! the first tweak of the next sector is encrypted as a ninth block.

#![allow(unsafe_code, reason = "loads, stores and the entry into AES-NI code")]

use std::arch::asm;
use std::arch::x86_64::*;
use std::mem::swap;

use super::SectorSize;
use super::detect::HaveAesNi;
use super::order::{fetch, put};
use super::placed::Placed;
use super::prefetch::Prefetch;
use super::round_keys::{RoundKeys, Schedule};
use super::tweak::{double as double_integer, split_unit, steal};

/// Holds the round keys of both halves.
pub(super) struct AesNi {
    _token: HaveAesNi,
    keys: Placed<RoundKeys>,
}

impl AesNi {
    pub(super) fn new(token: HaveAesNi, data: &[u8; 32], tweak: &[u8; 32]) -> Self {
        Self { _token: token, keys: RoundKeys::expand(token, data, tweak) }
    }

    /// Runs one data unit of at least one block.
    pub(super) fn unit<const ENCRYPT: bool>(&self, tweak: &[u8; 16], unit: &mut [u8]) {
        // SAFETY: `_token` proves aes and sse2, which is all that the function enables.
        unsafe { one_unit::<ENCRYPT>(&self.keys, tweak, unit) }
    }

    /// Runs whole sectors; `first` is the tweak value of the first one.
    pub(super) fn sectors<const ENCRYPT: bool>(&self, sector: SectorSize, first: u64, data: &mut [u8]) {
        // SAFETY: aes and sse2, the features of the function, are proven by `_token`.
        unsafe { all_sectors::<ENCRYPT>(&self.keys, sector, first, data) }
    }
}

#[target_feature(enable = "aes,sse2")]
fn all_sectors<const ENCRYPT: bool>(keys: &RoundKeys, sector: SectorSize, first: u64, data: &mut [u8]) {
    let schedule = keys.data::<ENCRYPT>();
    let prefetch = Prefetch::over(data.len());
    let mut number = first;
    let mut tweaks = powers(encrypt_one(&keys.tweak, from_number(number)));
    let mut following = tweaks;
    let (mut tweaks, mut following) = (&mut tweaks, &mut following);
    for sector_data in data.chunks_exact_mut(sector.bytes()) {
        number = number.wrapping_add(sector.tweak_step());
        let mut rider = from_number(number);
        let (blocks, _) = sector_data.as_chunks_mut::<16>();
        let (groups, _) = blocks.as_chunks_mut::<LANES>();
        let [head, middle @ .., last] = groups else { continue };
        let next = double(tweaks[LANES - 1]);
        prefetch.behind(head);
        group::<ENCRYPT>(schedule, tweaks, next, following, Some((&mut rider, &keys.tweak)), head);
        swap(&mut tweaks, &mut following);
        for blocks in middle {
            let next = double(tweaks[LANES - 1]);
            prefetch.behind(blocks);
            group::<ENCRYPT>(schedule, tweaks, next, following, None, blocks);
            swap(&mut tweaks, &mut following);
        }
        prefetch.behind(last);
        group::<ENCRYPT>(schedule, tweaks, rider, following, None, last);
        swap(&mut tweaks, &mut following);
    }
}

#[target_feature(enable = "aes,sse2")]
fn one_unit<const ENCRYPT: bool>(keys: &RoundKeys, tweak: &[u8; 16], unit: &mut [u8]) {
    unit_under::<ENCRYPT>(keys, encrypt_one(&keys.tweak, load(tweak)), unit);
}

/// Runs one data unit, or the end of one, of at least one block; `tweak` is its first block's, encrypted.
#[target_feature(enable = "aes,sse2")]
pub(super) fn unit_under<const ENCRYPT: bool>(keys: &RoundKeys, tweak: __m128i, unit: &mut [u8]) {
    let schedule = keys.data::<ENCRYPT>();
    let mut tweaks = powers(tweak);
    let mut following = tweaks;
    let (mut tweaks, mut following) = (&mut tweaks, &mut following);
    let (blocks, mut ending) = split_unit(unit);
    let (groups, rest) = blocks.as_chunks_mut::<LANES>();
    for blocks in groups {
        let next = double(tweaks[LANES - 1]);
        group::<ENCRYPT>(schedule, tweaks, next, following, None, blocks);
        swap(&mut tweaks, &mut following);
    }
    few::<ENCRYPT>(schedule, tweaks, rest);
    if let (Some(&next), Some((last, partial))) = (tweaks.get(rest.len()), &mut ending) {
        let next = to_integer(next);
        steal::<ENCRYPT>([next, double_integer(next)], last, partial, |tweak, block| {
            let tweak = load(&tweak.to_le_bytes());
            let whitened = _mm_xor_si128(load(block), tweak);
            store(block, _mm_xor_si128(crypt_one::<ENCRYPT>(schedule, whitened), tweak));
        });
    }
}

/// Runs eight blocks and writes the tweaks of the next eight, which begin with `next`.
///
/// The rider is one more block, encrypted beside them under a schedule of its own.
#[inline]
#[target_feature(enable = "aes,sse2")]
fn group<const ENCRYPT: bool>(
    schedule: &Schedule,
    tweaks: &[__m128i; LANES],
    mut next: __m128i,
    following: &mut [__m128i; LANES],
    rider: Option<(&mut __m128i, &Schedule)>,
    blocks: &mut [[u8; 16]; LANES],
) {
    let mut lanes = [_mm_setzero_si128(); LANES];
    let first_key = fetch(&schedule[0]);
    for lane in 0..LANES {
        lanes[lane] = _mm_xor_si128(load(&blocks[lane]), _mm_xor_si128(fetch(&tweaks[lane]), first_key));
    }
    let (mut ridden, own) = match &rider {
        Some((block, own)) => (_mm_xor_si128(**block, fetch(&own[0])), Some(*own)),
        None => (next, None),
    };
    // Two loops, because the compiler unrolls neither when they are one.
    for round in 1..=LANES {
        round_of::<ENCRYPT>(round, schedule, &mut lanes, own, &mut ridden);
        put(&mut following[round - 1], next);
        next = double(next);
    }
    for round in LANES + 1..LAST {
        round_of::<ENCRYPT>(round, schedule, &mut lanes, own, &mut ridden);
    }
    if let Some((block, own)) = rider {
        put(block, _mm_aesenclast_si128(ridden, fetch(&own[LAST])));
    }
    let last_key = fetch(&schedule[LAST]);
    for lane in 0..LANES {
        // The last round's key and the tweak behind it are one XOR.
        let outer = _mm_xor_si128(fetch(&tweaks[lane]), last_key);
        store(&mut blocks[lane], last_round::<ENCRYPT>(lanes[lane], outer));
    }
}

/// Runs one middle round of a group and of its rider, where `own`, the rider's schedule, says that there is one.
#[inline]
#[target_feature(enable = "aes,sse2")]
fn round_of<const ENCRYPT: bool>(
    round: usize,
    schedule: &Schedule,
    lanes: &mut [__m128i; LANES],
    own: Option<&Schedule>,
    ridden: &mut __m128i,
) {
    let key = fetch(&schedule[round]);
    for lane in &mut *lanes {
        *lane = middle_round::<ENCRYPT>(*lane, key);
    }
    if let Some(own) = own {
        *ridden = _mm_aesenc_si128(*ridden, fetch(&own[round]));
    }
    anchor(lanes);
}

/// Runs the blocks that are too few for a group, side by side all the same.
#[target_feature(enable = "aes,sse2")]
fn few<const ENCRYPT: bool>(schedule: &Schedule, tweaks: &[__m128i; LANES], blocks: &mut [[u8; 16]]) {
    let mut lanes = *tweaks;
    let first_key = fetch(&schedule[0]);
    for ((lane, tweak), block) in lanes.iter_mut().zip(tweaks).zip(&*blocks) {
        *lane = _mm_xor_si128(load(block), _mm_xor_si128(*tweak, first_key));
    }
    for key in &schedule[1..LAST] {
        let key = fetch(key);
        for lane in &mut lanes {
            *lane = middle_round::<ENCRYPT>(*lane, key);
        }
    }
    let last_key = fetch(&schedule[LAST]);
    for ((lane, tweak), block) in lanes.iter().zip(tweaks).zip(blocks) {
        store(block, last_round::<ENCRYPT>(*lane, _mm_xor_si128(*tweak, last_key)));
    }
}

#[inline]
#[target_feature(enable = "aes,sse2")]
fn crypt_one<const ENCRYPT: bool>(schedule: &Schedule, block: __m128i) -> __m128i {
    let mut block = _mm_xor_si128(block, fetch(&schedule[0]));
    for key in &schedule[1..LAST] {
        block = middle_round::<ENCRYPT>(block, fetch(key));
    }
    last_round::<ENCRYPT>(block, fetch(&schedule[LAST]))
}

#[inline]
#[target_feature(enable = "aes,sse2")]
pub(super) fn encrypt_one(schedule: &Schedule, block: __m128i) -> __m128i {
    crypt_one::<true>(schedule, block)
}

#[inline]
#[target_feature(enable = "aes,sse2")]
pub(super) fn middle_round<const ENCRYPT: bool>(block: __m128i, key: __m128i) -> __m128i {
    if ENCRYPT { _mm_aesenc_si128(block, key) } else { _mm_aesdec_si128(block, key) }
}

#[inline]
#[target_feature(enable = "aes,sse2")]
pub(super) fn last_round<const ENCRYPT: bool>(block: __m128i, key: __m128i) -> __m128i {
    if ENCRYPT { _mm_aesenclast_si128(block, key) } else { _mm_aesdeclast_si128(block, key) }
}

/// The tweak and its products with x to x^7.
#[inline]
#[target_feature(enable = "aes,sse2")]
pub(super) fn powers(tweak: __m128i) -> [__m128i; LANES] {
    let mut powers = [tweak; LANES];
    for power in 1..LANES {
        powers[power] = double(powers[power - 1]);
    }
    powers
}

/// Multiplies a tweak by x: both halves are doubled, and the bits they lose move to the other half.
#[inline]
#[target_feature(enable = "aes,sse2")]
pub(super) fn double(tweak: __m128i) -> __m128i {
    // Words 1 and 3 become all ones where the half's top bit is set, then change places.
    let lost = _mm_shuffle_epi32::<0x13>(_mm_srai_epi32::<31>(tweak));
    let carries = _mm_and_si128(lost, _mm_set_epi32(0, 1, 0, 0x87));
    _mm_xor_si128(_mm_add_epi64(tweak, tweak), carries)
}

#[inline]
#[target_feature(enable = "aes,sse2")]
pub(super) fn from_number(number: u64) -> __m128i {
    _mm_set_epi64x(0, number.cast_signed())
}

#[inline]
#[target_feature(enable = "aes,sse2")]
fn to_integer(tweak: __m128i) -> u128 {
    let mut bytes = [0; 16];
    store(&mut bytes, tweak);
    u128::from_le_bytes(bytes)
}

/// Makes the lanes' values due here and now, for the reason that [`order`](super::order) gives.
#[inline]
#[target_feature(enable = "aes,sse2")]
fn anchor(lanes: &mut [__m128i; LANES]) {
    let [a, b, c, d, e, f, g, h] = lanes;
    // SAFETY: the template is a comment: no instruction, no memory, no stack, no flags. `xmm_reg` needs sse, part of sse2.
    unsafe {
        asm!(
            "/* {} {} {} {} {} {} {} {} */",
            inout(xmm_reg) * a,
            inout(xmm_reg) * b,
            inout(xmm_reg) * c,
            inout(xmm_reg) * d,
            inout(xmm_reg) * e,
            inout(xmm_reg) * f,
            inout(xmm_reg) * g,
            inout(xmm_reg) * h,
            options(nomem, nostack, preserves_flags)
        );
    }
}

#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn load(block: &[u8; 16]) -> __m128i {
    // SAFETY: the block's 16 bytes are readable, and this load takes any alignment; sse2 is enabled.
    unsafe { _mm_loadu_si128(block.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "sse2")]
pub(super) fn store(block: &mut [u8; 16], value: __m128i) {
    // SAFETY: 16 bytes behind a unique reference are writable at any alignment by this store; sse2 is enabled.
    unsafe { _mm_storeu_si128(block.as_mut_ptr().cast(), value) }
}

/// Blocks in flight: more than the unit's latency times its throughput, and few enough for 16 registers.
const LANES: usize = 8;
/// The last round's key.
const LAST: usize = 14;
