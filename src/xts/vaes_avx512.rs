//! The kernel for VAES on 512-bit registers: 32 blocks in flight, four in a register.
//!
//! A group is 512 bytes, one small sector. Its tweaks come from the sector's first one by carry-less multiplication, and the
//! next group's are computed between the rounds. The first tweaks of the next four sectors are encrypted as a ninth
//! register, once in four sectors. The AES-NI kernel runs what is left at the end of a unit.

#![allow(unsafe_code, reason = "the entry into VAES code, 512-bit loads and stores, and an empty assembly statement")]

use std::arch::asm;
use std::arch::x86_64::*;
use std::mem::swap;

use super::SectorSize;
use super::aesni::{encrypt_one, load, unit_under};
use super::detect::HaveVaesAvx512;
use super::order::{fetch, put};
use super::placed::Placed;
use super::prefetch::Prefetch;
use super::round_keys::RoundKeys;

/// Holds the round keys of both halves.
pub(super) struct VaesAvx512 {
    _token: HaveVaesAvx512,
    narrow: Placed<RoundKeys>,
    wide: Placed<WideKeys>,
}

impl VaesAvx512 {
    pub(super) fn new(token: HaveVaesAvx512, data: &[u8; 32], tweak: &[u8; 32]) -> Self {
        let narrow = RoundKeys::expand(token.aes_ni(), data, tweak);
        // SAFETY: `token` proves every feature that the function enables.
        let wide = unsafe { widen(&narrow) };
        Self { _token: token, narrow, wide }
    }

    /// Runs one data unit of at least one block.
    pub(super) fn unit<const ENCRYPT: bool>(&self, tweak: &[u8; 16], unit: &mut [u8]) {
        // SAFETY: `_token` was made where all features of the function were detected.
        unsafe { one_unit::<ENCRYPT>(self, tweak, unit) }
    }

    /// Runs whole sectors; `first` is the tweak value of the first one.
    pub(super) fn sectors<const ENCRYPT: bool>(&self, sector: SectorSize, first: u64, data: &mut [u8]) {
        // SAFETY: holding `_token` means that this CPU has all features that the function enables.
        unsafe { all_sectors::<ENCRYPT>(self, sector, first, data) }
    }
}

/// Every round key four times, once for each block in a register.
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

type WideSchedule = [__m512i; 15];

#[target_feature(enable = "aes,avx512f,avx512bw,avx512vl,vaes,vpclmulqdq")]
fn widen(narrow: &RoundKeys) -> Placed<WideKeys> {
    let empty = [_mm512_setzero_si512(); 15];
    let mut wide = Placed::new(|| WideKeys { encrypt: empty, decrypt: empty, tweak: empty });
    let WideKeys { encrypt, decrypt, tweak } = &mut *wide;
    for (to, from) in [(encrypt, &narrow.encrypt), (decrypt, &narrow.decrypt), (tweak, &narrow.tweak)] {
        for (to, from) in to.iter_mut().zip(from) {
            *to = _mm512_broadcast_i32x4(*from);
        }
    }
    wide
}

#[target_feature(enable = "aes,avx512f,avx512bw,avx512vl,vaes,vpclmulqdq")]
fn all_sectors<const ENCRYPT: bool>(keys: &VaesAvx512, sector: SectorSize, first: u64, data: &mut [u8]) {
    let schedule = keys.wide.data::<ENCRYPT>();
    let prefetch = Prefetch::over(data.len());
    let mut number = first;
    let mut starts = encrypt_four(&keys.wide.tweak, from_numbers(number, sector));
    let mut tweaks = fresh(_mm512_shuffle_i32x4::<0x00>(starts, starts));
    let mut following = tweaks;
    let (mut tweaks, mut following) = (&mut tweaks, &mut following);
    for four in data.chunks_mut(4 * sector.bytes()) {
        number = number.wrapping_add(4 * sector.tweak_step());
        let mut rider = from_numbers(number, sector);
        for (position, sector_data) in four.chunks_exact_mut(sector.bytes()).enumerate() {
            let Some((last, before)) = groups(sector_data).split_last_mut() else { continue };
            let mut riding = (position == 0).then_some((&mut rider, &keys.wide.tweak));
            for group in before {
                prefetch.behind(group);
                step::<ENCRYPT>(schedule, tweaks, following, riding.take(), group);
                swap(&mut tweaks, &mut following);
            }
            prefetch.behind(last);
            if let Some(riding) = riding.take() {
                let start = _mm512_shuffle_i32x4::<0x55>(starts, starts);
                start_next::<ENCRYPT>(schedule, tweaks, start, following, Some(riding), last);
            } else {
                let start = match position {
                    0 => _mm512_shuffle_i32x4::<0x55>(starts, starts),
                    1 => _mm512_shuffle_i32x4::<0xaa>(starts, starts),
                    2 => _mm512_shuffle_i32x4::<0xff>(starts, starts),
                    _ => _mm512_shuffle_i32x4::<0x00>(rider, rider),
                };
                start_next::<ENCRYPT>(schedule, tweaks, start, following, None, last);
            }
            swap(&mut tweaks, &mut following);
        }
        starts = rider;
    }
}

#[target_feature(enable = "aes,avx512f,avx512bw,avx512vl,vaes,vpclmulqdq")]
fn one_unit<const ENCRYPT: bool>(keys: &VaesAvx512, tweak: &[u8; 16], unit: &mut [u8]) {
    let schedule = keys.wide.data::<ENCRYPT>();
    let start = encrypt_one(&keys.narrow.tweak, load(tweak));
    // Where there is a partial block, the block before it stays with it.
    let whole = unit.len() - if unit.len().is_multiple_of(16) { 0 } else { 16 };
    let (plain, rest) = unit.split_at_mut(whole / GROUP_BYTES * GROUP_BYTES);
    let mut tweaks = fresh(_mm512_broadcast_i32x4(start));
    let mut following = tweaks;
    let (mut tweaks, mut following) = (&mut tweaks, &mut following);
    for group in groups(plain) {
        step::<ENCRYPT>(schedule, tweaks, following, None, group);
        swap(&mut tweaks, &mut following);
    }
    if !rest.is_empty() {
        unit_under::<ENCRYPT>(&keys.narrow, _mm512_castsi512_si128(fetch(&tweaks[0])), rest);
    }
}

/// Four blocks, and the schedule that encrypts them beside a group.
type Riding<'a> = Option<(&'a mut __m512i, &'a WideSchedule)>;

/// Runs a group and writes the tweaks of the next one in the same sector or unit.
#[inline]
#[target_feature(enable = "aes,avx512f,avx512bw,avx512vl,vaes,vpclmulqdq")]
fn step<const ENCRYPT: bool>(
    schedule: &WideSchedule,
    tweaks: &[__m512i; LANES],
    following: &mut [__m512i; LANES],
    rider: Riding<'_>,
    data: &mut Group,
) {
    let mut lanes = whiten(schedule, tweaks, data);
    let (mut ridden, own) = board(&rider);
    for round in 1..=LANES {
        round_of::<ENCRYPT>(round, schedule, &mut lanes, own, &mut ridden);
        let lane = round - 1;
        put(&mut following[lane], times_bytes::<4, 12>(fetch(&tweaks[lane])));
    }
    for round in LANES + 1..LAST {
        round_of::<ENCRYPT>(round, schedule, &mut lanes, own, &mut ridden);
    }
    alight(rider, ridden);
    finish::<ENCRYPT>(schedule, tweaks, &lanes, data);
}

/// Runs the last group of a sector and writes the tweaks of the next sector, which begins with `start`.
#[inline]
#[target_feature(enable = "aes,avx512f,avx512bw,avx512vl,vaes,vpclmulqdq")]
fn start_next<const ENCRYPT: bool>(
    schedule: &WideSchedule,
    tweaks: &[__m512i; LANES],
    start: __m512i,
    following: &mut [__m512i; LANES],
    rider: Riding<'_>,
    data: &mut Group,
) {
    let mut lanes = whiten(schedule, tweaks, data);
    let (mut ridden, own) = board(&rider);
    let pair = [times_low_powers(start, 0), times_low_powers(start, 1)];
    for register in 0..2 {
        round_of::<ENCRYPT>(1 + register, schedule, &mut lanes, own, &mut ridden);
        put(&mut following[register], pair[register]);
    }
    for register in 0..2 {
        round_of::<ENCRYPT>(3 + register, schedule, &mut lanes, own, &mut ridden);
        put(&mut following[2 + register], times_bytes::<1, 15>(pair[register]));
    }
    for register in 0..2 {
        round_of::<ENCRYPT>(5 + register, schedule, &mut lanes, own, &mut ridden);
        put(&mut following[4 + register], times_bytes::<2, 14>(pair[register]));
    }
    for register in 0..2 {
        round_of::<ENCRYPT>(7 + register, schedule, &mut lanes, own, &mut ridden);
        put(&mut following[6 + register], times_bytes::<3, 13>(pair[register]));
    }
    for round in LANES + 1..LAST {
        round_of::<ENCRYPT>(round, schedule, &mut lanes, own, &mut ridden);
    }
    alight(rider, ridden);
    finish::<ENCRYPT>(schedule, tweaks, &lanes, data);
}

#[inline]
#[target_feature(enable = "aes,avx512f,avx512bw,avx512vl,vaes,vpclmulqdq")]
fn whiten(schedule: &WideSchedule, tweaks: &[__m512i; LANES], data: &Group) -> [__m512i; LANES] {
    let mut lanes = [_mm512_setzero_si512(); LANES];
    let first_key = fetch(&schedule[0]);
    for lane in 0..LANES {
        lanes[lane] = xor3(load_four(&data[lane]), fetch(&tweaks[lane]), first_key);
    }
    lanes
}

#[inline]
#[target_feature(enable = "aes,avx512f,avx512bw,avx512vl,vaes,vpclmulqdq")]
fn finish<const ENCRYPT: bool>(
    schedule: &WideSchedule,
    tweaks: &[__m512i; LANES],
    lanes: &[__m512i; LANES],
    data: &mut Group,
) {
    let last_key = fetch(&schedule[LAST]);
    for lane in 0..LANES {
        // The last round's key and the tweak behind it are one XOR.
        let outer = _mm512_xor_si512(fetch(&tweaks[lane]), last_key);
        let out = if ENCRYPT {
            _mm512_aesenclast_epi128(lanes[lane], outer)
        } else {
            _mm512_aesdeclast_epi128(lanes[lane], outer)
        };
        store_four(&mut data[lane], out);
    }
}

/// Starts the rider, where there is one.
#[inline]
#[target_feature(enable = "aes,avx512f,avx512bw,avx512vl,vaes,vpclmulqdq")]
fn board<'a>(rider: &Riding<'a>) -> (__m512i, Option<&'a WideSchedule>) {
    match rider {
        Some((blocks, own)) => (_mm512_xor_si512(**blocks, fetch(&own[0])), Some(*own)),
        None => (_mm512_setzero_si512(), None),
    }
}

/// Ends what [`board`] began.
#[inline]
#[target_feature(enable = "aes,avx512f,avx512bw,avx512vl,vaes,vpclmulqdq")]
fn alight(rider: Riding<'_>, ridden: __m512i) {
    if let Some((blocks, own)) = rider {
        put(blocks, _mm512_aesenclast_epi128(ridden, fetch(&own[LAST])));
    }
}

/// Runs one middle round of a group and of its rider, where `own`, the rider's schedule, says that there is one.
#[inline]
#[target_feature(enable = "aes,avx512f,avx512bw,avx512vl,vaes,vpclmulqdq")]
fn round_of<const ENCRYPT: bool>(
    round: usize,
    schedule: &WideSchedule,
    lanes: &mut [__m512i; LANES],
    own: Option<&WideSchedule>,
    ridden: &mut __m512i,
) {
    let key = fetch(&schedule[round]);
    for lane in &mut *lanes {
        *lane = if ENCRYPT { _mm512_aesenc_epi128(*lane, key) } else { _mm512_aesdec_epi128(*lane, key) };
    }
    if let Some(own) = own {
        *ridden = _mm512_aesenc_epi128(*ridden, fetch(&own[round]));
    }
    anchor(lanes);
}

#[inline]
#[target_feature(enable = "aes,avx512f,avx512bw,avx512vl,vaes,vpclmulqdq")]
fn encrypt_four(schedule: &WideSchedule, blocks: __m512i) -> __m512i {
    let mut blocks = _mm512_xor_si512(blocks, fetch(&schedule[0]));
    for key in &schedule[1..LAST] {
        blocks = _mm512_aesenc_epi128(blocks, fetch(key));
    }
    _mm512_aesenclast_epi128(blocks, fetch(&schedule[LAST]))
}

/// The tweaks of a whole group from its first one, given in all four places.
#[inline]
#[target_feature(enable = "aes,avx512f,avx512bw,avx512vl,vaes,vpclmulqdq")]
fn fresh(start: __m512i) -> [__m512i; LANES] {
    let pair = [times_low_powers(start, 0), times_low_powers(start, 1)];
    let [a, b] = pair;
    let [c, d] = [times_bytes::<1, 15>(a), times_bytes::<1, 15>(b)];
    let [e, f] = [times_bytes::<2, 14>(a), times_bytes::<2, 14>(b)];
    [a, b, c, d, e, f, times_bytes::<3, 13>(a), times_bytes::<3, 13>(b)]
}

/// Multiplies by x^0 to x^3 (register 0) or x^4 to x^7 (register 1), one power a block.
#[inline]
#[target_feature(enable = "aes,avx512f,avx512bw,avx512vl,vaes,vpclmulqdq")]
fn times_low_powers(tweaks: __m512i, register: usize) -> __m512i {
    let powers = if register == 0 {
        _mm512_set_epi64(0, 8, 0, 4, 0, 2, 0, 1)
    } else {
        _mm512_set_epi64(0, 128, 0, 64, 0, 32, 0, 16)
    };
    let low = _mm512_clmulepi64_epi128::<0x00>(tweaks, powers);
    let high = _mm512_clmulepi64_epi128::<0x01>(tweaks, powers);
    xor3(low, _mm512_bslli_epi128::<8>(high), _mm512_clmulepi64_epi128::<0x01>(high, polynomial()))
}

/// Multiplies by x^(8 * `UP`); `DOWN` is 16 - `UP`. The bytes that are shifted out come back times x^7 + x^2 + x + 1.
#[inline]
#[target_feature(enable = "aes,avx512f,avx512bw,avx512vl,vaes,vpclmulqdq")]
fn times_bytes<const UP: i32, const DOWN: i32>(tweaks: __m512i) -> __m512i {
    let lost = _mm512_bsrli_epi128::<DOWN>(tweaks);
    _mm512_xor_si512(_mm512_bslli_epi128::<UP>(tweaks), _mm512_clmulepi64_epi128::<0x00>(lost, polynomial()))
}

#[inline]
#[target_feature(enable = "aes,avx512f,avx512bw,avx512vl,vaes,vpclmulqdq")]
fn polynomial() -> __m512i {
    _mm512_set_epi64(0, 0x87, 0, 0x87, 0, 0x87, 0, 0x87)
}

#[inline]
#[target_feature(enable = "aes,avx512f,avx512bw,avx512vl,vaes,vpclmulqdq")]
fn xor3(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
    _mm512_ternarylogic_epi64::<0x96>(a, b, c)
}

/// The tweak values of four sectors, not encrypted yet.
#[inline]
#[target_feature(enable = "aes,avx512f,avx512bw,avx512vl,vaes,vpclmulqdq")]
fn from_numbers(first: u64, sector: SectorSize) -> __m512i {
    let at = |position: u64| first.wrapping_add(position * sector.tweak_step()).cast_signed();
    _mm512_set_epi64(0, at(3), 0, at(2), 0, at(1), 0, at(0))
}

/// Makes the lanes' values due here and now, for the reason that [`order`](super::order) gives.
#[inline]
#[target_feature(enable = "aes,avx512f,avx512bw,avx512vl,vaes,vpclmulqdq")]
fn anchor(lanes: &mut [__m512i; LANES]) {
    let [a, b, c, d, e, f, g, h] = lanes;
    // SAFETY: nothing but a comment is assembled, so that no memory, stack or flag changes; avx512f gives the registers.
    unsafe {
        asm!(
            "/* {} {} {} {} {} {} {} {} */",
            inout(zmm_reg) * a,
            inout(zmm_reg) * b,
            inout(zmm_reg) * c,
            inout(zmm_reg) * d,
            inout(zmm_reg) * e,
            inout(zmm_reg) * f,
            inout(zmm_reg) * g,
            inout(zmm_reg) * h,
            options(nomem, nostack, preserves_flags)
        );
    }
}

#[inline]
#[target_feature(enable = "aes,avx512f,avx512bw,avx512vl,vaes,vpclmulqdq")]
fn load_four(blocks: &[u8; 64]) -> __m512i {
    // SAFETY: all 64 bytes belong to `blocks`, and the load takes any alignment; avx512f is enabled.
    unsafe { _mm512_loadu_si512(blocks.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "aes,avx512f,avx512bw,avx512vl,vaes,vpclmulqdq")]
fn store_four(blocks: &mut [u8; 64], value: __m512i) {
    // SAFETY: `blocks` is 64 writable bytes, borrowed uniquely; this avx512f store needs no alignment.
    unsafe { _mm512_storeu_si512(blocks.as_mut_ptr().cast(), value) }
}

/// Splits into groups.
fn groups(data: &mut [u8]) -> &mut [Group] {
    let (registers, _) = data.as_chunks_mut::<64>();
    let (groups, _) = registers.as_chunks_mut::<LANES>();
    groups
}

/// The data of one group, by register.
type Group = [[u8; 64]; LANES];

/// Registers in flight.
const LANES: usize = 8;
/// Bytes in a group.
const GROUP_BYTES: usize = 64 * LANES;
/// The last round's key.
const LAST: usize = 14;
