//! The kernel for VAES without AVX-512: sixteen blocks in flight, two in a register.
//!
//! The halves of a register belong to two sectors (in a single unit: to blocks eight apart). So one doubling serves two
//! blocks, which neighbours in a register could not share, and no carry-less multiplication is needed. For the rest it works
//! like the AES-NI kernel, which also runs what is left at the end of a unit.

#![allow(unsafe_code, reason = "the entry into VAES code and an empty assembly statement")]

use std::arch::asm;
use std::arch::x86_64::*;
use std::mem::swap;

use super::SectorSize;
use super::aesni::{encrypt_one, from_number, load, store, unit_under};
use super::detect::HaveVaesAvx2;
use super::order::{fetch, put};
use super::placed::Placed;
use super::prefetch::Prefetch;
use super::round_keys::RoundKeys;

/// Holds the round keys of both halves.
pub(super) struct VaesAvx2 {
    _token: HaveVaesAvx2,
    narrow: Placed<RoundKeys>,
    wide: Placed<WideKeys>,
}

impl VaesAvx2 {
    pub(super) fn new(token: HaveVaesAvx2, data: &[u8; 32], tweak: &[u8; 32]) -> Self {
        let narrow = RoundKeys::expand(token.aes_ni(), data, tweak);
        // SAFETY: `token` proves aes, avx2 and vaes, which is all that the function enables.
        let wide = unsafe { widen(&narrow) };
        Self { _token: token, narrow, wide }
    }

    /// Runs one data unit of at least one block.
    pub(super) fn unit<const ENCRYPT: bool>(&self, tweak: &[u8; 16], unit: &mut [u8]) {
        // SAFETY: `_token` was made where aes, avx2 and vaes were detected.
        unsafe { one_unit::<ENCRYPT>(self, tweak, unit) }
    }

    /// Runs whole sectors; `first` is the tweak value of the first one.
    pub(super) fn sectors<const ENCRYPT: bool>(&self, sector: SectorSize, first: u64, data: &mut [u8]) {
        // SAFETY: the function enables aes, avx2 and vaes; holding `_token` means that this CPU has them.
        unsafe { all_sectors::<ENCRYPT>(self, sector, first, data) }
    }
}

/// Every round key twice, for both halves of a register.
#[repr(C, align(64))]
struct WideKeys {
    encrypt: WideSchedule,
    decrypt: WideSchedule,
    tweak: WideSchedule,
}

impl WideKeys {
    #[inline(always)]
    fn data<const ENCRYPT: bool>(&self) -> &WideSchedule {
        if ENCRYPT { &self.encrypt } else { &self.decrypt }
    }
}

type WideSchedule = [__m256i; 15];

#[target_feature(enable = "aes,avx2,vaes")]
fn widen(narrow: &RoundKeys) -> Placed<WideKeys> {
    let empty = [_mm256_setzero_si256(); 15];
    let mut wide = Placed::new(|| WideKeys { encrypt: empty, decrypt: empty, tweak: empty });
    let WideKeys { encrypt, decrypt, tweak } = &mut *wide;
    for (to, from) in [(encrypt, &narrow.encrypt), (decrypt, &narrow.decrypt), (tweak, &narrow.tweak)] {
        for (to, from) in to.iter_mut().zip(from) {
            *to = _mm256_broadcastsi128_si256(*from);
        }
    }
    wide
}

#[target_feature(enable = "aes,avx2,vaes")]
fn all_sectors<const ENCRYPT: bool>(keys: &VaesAvx2, sector: SectorSize, first: u64, data: &mut [u8]) {
    let schedule = keys.wide.data::<ENCRYPT>();
    let step = sector.tweak_step();
    let prefetch = Prefetch::over(data.len());
    let mut number = first;
    let mut tweaks = powers(encrypt_both(&keys.wide.tweak, from_numbers(number, number.wrapping_add(step))));
    let mut following = tweaks;
    let (mut tweaks, mut following) = (&mut tweaks, &mut following);
    let mut pairs = data.chunks_exact_mut(2 * sector.bytes());
    for pair in &mut pairs {
        number = number.wrapping_add(2 * step);
        let mut rider = from_numbers(number, number.wrapping_add(step));
        let (front, back) = pair.split_at_mut(sector.bytes());
        let ([front_head, front @ .., front_last], [back_head, back @ .., back_last]) = (groups(front), groups(back))
        else {
            continue;
        };
        let next = double(tweaks[LANES - 1]);
        let riding = Some((&mut rider, &keys.wide.tweak));
        prefetch.behind(front_head);
        prefetch.behind(back_head);
        group::<ENCRYPT>(schedule, tweaks, next, following, riding, front_head, back_head);
        swap(&mut tweaks, &mut following);
        for (front, back) in front.iter_mut().zip(back) {
            let next = double(tweaks[LANES - 1]);
            prefetch.behind(front);
            prefetch.behind(back);
            group::<ENCRYPT>(schedule, tweaks, next, following, None, front, back);
            swap(&mut tweaks, &mut following);
        }
        prefetch.behind(front_last);
        prefetch.behind(back_last);
        group::<ENCRYPT>(schedule, tweaks, rider, following, None, front_last, back_last);
        swap(&mut tweaks, &mut following);
    }
    let odd = pairs.into_remainder();
    if !odd.is_empty() {
        unit_from::<ENCRYPT>(keys, from_number(number), odd);
    }
}

#[target_feature(enable = "aes,avx2,vaes")]
fn one_unit<const ENCRYPT: bool>(keys: &VaesAvx2, tweak: &[u8; 16], unit: &mut [u8]) {
    unit_from::<ENCRYPT>(keys, load(tweak), unit);
}

/// Runs one data unit; `tweak` is not encrypted yet.
#[target_feature(enable = "aes,avx2,vaes")]
fn unit_from<const ENCRYPT: bool>(keys: &VaesAvx2, tweak: __m128i, unit: &mut [u8]) {
    let schedule = keys.wide.data::<ENCRYPT>();
    let start = _mm256_broadcastsi128_si256(encrypt_one(&keys.narrow.tweak, tweak));
    let mut tweaks = powers(_mm256_blend_epi32::<0xf0>(start, times_x8(start)));
    let mut following = tweaks;
    let (mut tweaks, mut following) = (&mut tweaks, &mut following);
    // Where there is a partial block, the block before it stays with it.
    let whole = unit.len() - if unit.len().is_multiple_of(16) { 0 } else { 16 };
    let (plain, rest) = unit.split_at_mut(whole / GROUP_BYTES * GROUP_BYTES);
    for both in groups(plain).chunks_exact_mut(2) {
        let [front, back] = both else { continue };
        let next = times_x8(double(tweaks[LANES - 1]));
        group::<ENCRYPT>(schedule, tweaks, next, following, None, front, back);
        swap(&mut tweaks, &mut following);
    }
    if !rest.is_empty() {
        unit_under::<ENCRYPT>(&keys.narrow, _mm256_castsi256_si128(tweaks[0]), rest);
    }
}

/// Runs eight blocks of each half and writes the tweaks of the next, which begin with `next`.
///
/// The rider is one more pair of blocks, encrypted beside them under a schedule of its own.
#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
fn group<const ENCRYPT: bool>(
    schedule: &WideSchedule,
    tweaks: &[__m256i; LANES],
    mut next: __m256i,
    following: &mut [__m256i; LANES],
    rider: Option<(&mut __m256i, &WideSchedule)>,
    front: &mut [[u8; 16]; LANES],
    back: &mut [[u8; 16]; LANES],
) {
    let mut lanes = [_mm256_setzero_si256(); LANES];
    let first_key = fetch(&schedule[0]);
    for lane in 0..LANES {
        let both = _mm256_set_m128i(load(&back[lane]), load(&front[lane]));
        lanes[lane] = _mm256_xor_si256(both, _mm256_xor_si256(fetch(&tweaks[lane]), first_key));
    }
    let (mut ridden, own) = match &rider {
        Some((blocks, own)) => (_mm256_xor_si256(**blocks, fetch(&own[0])), Some(*own)),
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
    if let Some((blocks, own)) = rider {
        put(blocks, _mm256_aesenclast_epi128(ridden, fetch(&own[LAST])));
    }
    let last_key = fetch(&schedule[LAST]);
    for lane in 0..LANES {
        // The last round's key and the tweak behind it are one XOR.
        let outer = _mm256_xor_si256(fetch(&tweaks[lane]), last_key);
        let out = if ENCRYPT {
            _mm256_aesenclast_epi128(lanes[lane], outer)
        } else {
            _mm256_aesdeclast_epi128(lanes[lane], outer)
        };
        store(&mut front[lane], _mm256_castsi256_si128(out));
        store(&mut back[lane], _mm256_extracti128_si256::<1>(out));
    }
}

/// Runs one middle round of a group and of its rider, where `own`, the rider's schedule, says that there is one.
#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
fn round_of<const ENCRYPT: bool>(
    round: usize,
    schedule: &WideSchedule,
    lanes: &mut [__m256i; LANES],
    own: Option<&WideSchedule>,
    ridden: &mut __m256i,
) {
    let key = fetch(&schedule[round]);
    for lane in &mut *lanes {
        *lane = if ENCRYPT { _mm256_aesenc_epi128(*lane, key) } else { _mm256_aesdec_epi128(*lane, key) };
    }
    if let Some(own) = own {
        *ridden = _mm256_aesenc_epi128(*ridden, fetch(&own[round]));
    }
    anchor(lanes);
}

#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
fn encrypt_both(schedule: &WideSchedule, blocks: __m256i) -> __m256i {
    let mut blocks = _mm256_xor_si256(blocks, fetch(&schedule[0]));
    for key in &schedule[1..LAST] {
        blocks = _mm256_aesenc_epi128(blocks, fetch(key));
    }
    _mm256_aesenclast_epi128(blocks, fetch(&schedule[LAST]))
}

/// Both tweaks and their products with x to x^7.
#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
fn powers(tweaks: __m256i) -> [__m256i; LANES] {
    let mut powers = [tweaks; LANES];
    for power in 1..LANES {
        powers[power] = double(powers[power - 1]);
    }
    powers
}

/// Multiplies both tweaks by x, as the AES-NI kernel does with one.
#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
fn double(tweaks: __m256i) -> __m256i {
    let lost = _mm256_shuffle_epi32::<0x13>(_mm256_srai_epi32::<31>(tweaks));
    let carries = _mm256_and_si256(lost, _mm256_set_epi32(0, 1, 0, 0x87, 0, 1, 0, 0x87));
    _mm256_xor_si256(_mm256_add_epi64(tweaks, tweaks), carries)
}

/// Multiplies both tweaks by x^8: the byte that is shifted out comes back times x^7 + x^2 + x + 1.
#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
fn times_x8(tweaks: __m256i) -> __m256i {
    let lost = _mm256_bsrli_epi128::<15>(tweaks);
    let low = _mm256_xor_si256(lost, _mm256_slli_epi64::<1>(lost));
    let high = _mm256_xor_si256(_mm256_slli_epi64::<2>(lost), _mm256_slli_epi64::<7>(lost));
    _mm256_xor_si256(_mm256_bslli_epi128::<1>(tweaks), _mm256_xor_si256(low, high))
}

#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
fn from_numbers(front: u64, back: u64) -> __m256i {
    _mm256_set_m128i(from_number(back), from_number(front))
}

/// Makes the lanes' values due here and now, for the reason that [`order`](super::order) gives.
#[inline]
#[target_feature(enable = "aes,avx2,vaes")]
fn anchor(lanes: &mut [__m256i; LANES]) {
    let [a, b, c, d, e, f, g, h] = lanes;
    // SAFETY: an assembly comment runs nothing and touches neither memory nor stack nor flags; its registers exist, because
    // avx2 is enabled here.
    unsafe {
        asm!(
            "/* {} {} {} {} {} {} {} {} */",
            inout(ymm_reg) * a,
            inout(ymm_reg) * b,
            inout(ymm_reg) * c,
            inout(ymm_reg) * d,
            inout(ymm_reg) * e,
            inout(ymm_reg) * f,
            inout(ymm_reg) * g,
            inout(ymm_reg) * h,
            options(nomem, nostack, preserves_flags)
        );
    }
}

/// Splits into groups of [`LANES`] blocks.
fn groups(data: &mut [u8]) -> &mut [[[u8; 16]; LANES]] {
    let (blocks, _) = data.as_chunks_mut::<16>();
    let (groups, _) = blocks.as_chunks_mut::<LANES>();
    groups
}

/// Registers in flight.
const LANES: usize = 8;
/// Bytes that one group takes from a unit: both halves of every register.
const GROUP_BYTES: usize = 2 * 16 * LANES;
/// The last round's key.
const LAST: usize = 14;
