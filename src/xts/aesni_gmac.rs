//! XTS and GMAC in one pass on AES-NI and carry-less multiplication.
//!
//! GHASH (SP 800-38D §6.4) multiplies on an execution port that the AES rounds leave idle, so beside them it is almost free. Encryption
//! hashes a group of eight blocks while the next group is encrypted, decryption while the group itself is decrypted.

#![allow(unsafe_code, reason = "the entry into AES-NI and PCLMULQDQ code, and an empty assembly statement")]

use std::arch::asm;
use std::arch::x86_64::*;
use std::mem::swap;

use super::SectorSize;
use super::aesni::{double, encrypt_one, from_number, last_round, load, middle_round, powers, store};
use super::detect::HaveAesNiClmul;
use super::ghash::{HashKey, LANES, Product, reversed};
use super::order::{fetch, put};
use super::placed::Placed;
use super::prefetch::Prefetch;
use super::round_keys::{RoundKeys, Schedule};

/// Holds the round keys of XTS and GMAC, and the powers of the hash key.
pub(super) struct AesNiGmac {
    _token: HaveAesNiClmul,
    xts: Placed<RoundKeys>,
    mac: Placed<MacKeys>,
}

struct MacKeys {
    schedule: Schedule,
    hash: HashKey,
}

impl AesNiGmac {
    pub(super) fn new(token: HaveAesNiClmul, data: &[u8; 32], tweak: &[u8; 32], mac: &[u8; 32]) -> Self {
        let xts = RoundKeys::expand(token.aes_ni(), data, tweak);
        let narrow = RoundKeys::expand(token.aes_ni(), mac, mac);
        // SAFETY: `token` proves aes, avx, pclmulqdq, sse2 and ssse3, which is all that the function enables.
        let mac = unsafe { mac_keys(&narrow) };
        Self { _token: token, xts, mac }
    }

    /// Encrypts whole sectors, of which `first` is the first one's tweak value, and returns the GMAC of the ciphertext.
    pub(super) fn encrypt(&self, sector: SectorSize, first: u64, nonce: &[u8; 12], data: &mut [u8]) -> [u8; 16] {
        // SAFETY: all features of the function were detected where `_token` was made.
        unsafe { run::<true>(self, sector, first, nonce, data) }
    }

    /// Decrypts whole sectors and returns the GMAC of the ciphertext that was there.
    pub(super) fn decrypt(&self, sector: SectorSize, first: u64, nonce: &[u8; 12], data: &mut [u8]) -> [u8; 16] {
        // SAFETY: holding `_token` means that this CPU has every feature that the function enables.
        unsafe { run::<false>(self, sector, first, nonce, data) }
    }
}

#[target_feature(enable = "aes,avx,pclmulqdq,sse2,ssse3")]
fn mac_keys(narrow: &RoundKeys) -> Placed<MacKeys> {
    let empty = [_mm_setzero_si128(); 15];
    let mut placed = Placed::new(|| MacKeys { schedule: empty, hash: HashKey::empty() });
    let MacKeys { schedule, hash } = &mut *placed;
    *schedule = narrow.encrypt;
    let mut subkey = [0; 16];
    store(&mut subkey, encrypt_one(schedule, _mm_setzero_si128()));
    hash.fill(&subkey);
    zeroize::Zeroize::zeroize(&mut subkey);
    placed
}

#[target_feature(enable = "aes,avx,pclmulqdq,sse2,ssse3")]
fn run<const ENCRYPT: bool>(
    keys: &AesNiGmac,
    sector: SectorSize,
    first: u64,
    nonce: &[u8; 12],
    data: &mut [u8],
) -> [u8; 16] {
    let bits = (data.len() as u64).wrapping_mul(8);
    let hashed = all_sectors::<ENCRYPT>(&keys.xts, &keys.mac.hash, sector, first, data);
    // The last block has the lengths of both parts; the encrypted one is empty.
    let lengths = _mm_set_epi64x(bits.cast_signed(), 0);
    let mut product = Product::zero();
    product.add(_mm_xor_si128(hashed, lengths), keys.mac.hash.power(LANES - 1));
    let mut counter = [0; 16];
    counter[..12].copy_from_slice(nonce);
    counter[15] = 1;
    let mask = encrypt_one(&keys.mac.schedule, load(&counter));
    let mut tag = [0; 16];
    store(&mut tag, _mm_xor_si128(reversed(product.reduced()), mask));
    tag
}

/// Runs the sectors and returns the hash of their ciphertext so far.
#[target_feature(enable = "aes,avx,pclmulqdq,sse2,ssse3")]
fn all_sectors<const ENCRYPT: bool>(
    keys: &RoundKeys,
    hash: &HashKey,
    sector: SectorSize,
    first: u64,
    data: &mut [u8],
) -> __m128i {
    let schedule = keys.data::<ENCRYPT>();
    let prefetch = Prefetch::over(data.len());
    let step = sector.tweak_step();
    let mut number = first;
    let mut starts = first_tweaks(&keys.tweak, number, step);
    let mut tweaks = powers(starts[0]);
    let mut following = tweaks;
    let (mut tweaks, mut following) = (&mut tweaks, &mut following);
    let mut hashed = _mm_setzero_si128();
    // Blocks of zeros leave an empty hash empty.
    let mut behind: &Group = &[[0; 16]; LANES];
    for (position, sector_data) in data.chunks_exact_mut(sector.bytes()).enumerate() {
        // The last group of a sector prepares the tweaks of the next sector's first one.
        let following_sector = (position + 1) % LANES;
        if following_sector == 0 {
            number = number.wrapping_add(LANES as u64 * step);
            starts = first_tweaks(&keys.tweak, number, step);
        }
        let start = starts[following_sector];
        let (blocks, _) = sector_data.as_chunks_mut::<16>();
        let (groups, _) = blocks.as_chunks_mut::<LANES>();
        let count = groups.len();
        for (position, blocks) in groups.iter_mut().enumerate() {
            let next = if position + 1 == count { start } else { double(tweaks[LANES - 1]) };
            prefetch.behind(blocks);
            hashed = group::<ENCRYPT>(schedule, tweaks, next, following, (hash, hashed, behind), blocks);
            behind = blocks;
            swap(&mut tweaks, &mut following);
        }
    }
    if ENCRYPT { hash_only(hash, hashed, behind) } else { hashed }
}

/// Encrypts the first tweaks of eight sectors side by side; `number` is the first one's, and they are `step` apart.
#[target_feature(enable = "aes,avx,pclmulqdq,sse2,ssse3")]
fn first_tweaks(schedule: &Schedule, number: u64, step: u64) -> [__m128i; LANES] {
    let mut starts = [_mm_setzero_si128(); LANES];
    let mut next = number;
    for start in &mut starts {
        *start = _mm_xor_si128(from_number(next), fetch(&schedule[0]));
        next = next.wrapping_add(step);
    }
    for key in &schedule[1..LAST] {
        let key = fetch(key);
        for start in &mut starts {
            *start = _mm_aesenc_si128(*start, key);
        }
    }
    for start in &mut starts {
        *start = _mm_aesenclast_si128(*start, fetch(&schedule[LAST]));
    }
    starts
}

/// Runs eight blocks, writes the tweaks of the next eight, and hashes eight blocks of ciphertext: those `behind` when encrypting,
/// the blocks themselves when decrypting.
#[inline]
#[target_feature(enable = "aes,avx,pclmulqdq,sse2,ssse3")]
fn group<const ENCRYPT: bool>(
    schedule: &Schedule,
    tweaks: &[__m128i; LANES],
    next: __m128i,
    following: &mut [__m128i; LANES],
    (hash, hashed, behind): (&HashKey, __m128i, &Group),
    blocks: &mut Group,
) -> __m128i {
    let ciphertext = |number: usize, blocks: &Group| reversed(load(&if ENCRYPT { behind } else { blocks }[number]));
    let mut sum = Product::zero();
    sum.add(_mm_xor_si128(ciphertext(0, blocks), hashed), hash.power(0));
    let mut lanes = [_mm_setzero_si128(); LANES];
    let first_key = fetch(&schedule[0]);
    for lane in 0..LANES {
        lanes[lane] = _mm_xor_si128(load(&blocks[lane]), _mm_xor_si128(fetch(&tweaks[lane]), first_key));
    }
    put(&mut following[0], next);
    for round in 1..LANES {
        let key = fetch(&schedule[round]);
        for lane in &mut lanes {
            *lane = middle_round::<ENCRYPT>(*lane, key);
        }
        sum.add(ciphertext(round, blocks), hash.power(round));
        // By way of memory: there is no register to keep it in.
        let tweak = double(fetch(&following[round - 1]));
        put(&mut following[round], tweak);
        anchor(&mut lanes, &mut sum);
    }
    for key in &schedule[LANES..LAST] {
        let key = fetch(key);
        for lane in &mut lanes {
            *lane = middle_round::<ENCRYPT>(*lane, key);
        }
        anchor(&mut lanes, &mut sum);
    }
    let hashed = sum.reduced();
    let last_key = fetch(&schedule[LAST]);
    for lane in 0..LANES {
        let outer = _mm_xor_si128(fetch(&tweaks[lane]), last_key);
        store(&mut blocks[lane], last_round::<ENCRYPT>(lanes[lane], outer));
    }
    hashed
}

#[target_feature(enable = "aes,avx,pclmulqdq,sse2,ssse3")]
fn hash_only(hash: &HashKey, hashed: __m128i, blocks: &Group) -> __m128i {
    let mut sum = Product::zero();
    for (position, block) in blocks.iter().enumerate() {
        let block = reversed(load(block));
        let block = if position == 0 { _mm_xor_si128(block, hashed) } else { block };
        sum.add(block, hash.power(position));
    }
    sum.reduced()
}

/// Makes these values due here and now, for the reason that [`order`](super::order) gives.
#[inline]
#[target_feature(enable = "aes,avx,pclmulqdq,sse2,ssse3")]
fn anchor(lanes: &mut [__m128i; LANES], sum: &mut Product) {
    let [a, b, c, d, e, f, g, h] = lanes;
    // SAFETY: the template is a comment: no instruction, no memory, no stack, no flags. `xmm_reg` needs sse, part of avx.
    unsafe {
        asm!(
            "/* {} {} {} {} {} {} {} {} {} {} {} */",
            inout(xmm_reg) * a,
            inout(xmm_reg) * b,
            inout(xmm_reg) * c,
            inout(xmm_reg) * d,
            inout(xmm_reg) * e,
            inout(xmm_reg) * f,
            inout(xmm_reg) * g,
            inout(xmm_reg) * h,
            inout(xmm_reg) sum.low,
            inout(xmm_reg) sum.middle,
            inout(xmm_reg) sum.high,
            options(nomem, nostack, preserves_flags)
        );
    }
}

type Group = [[u8; 16]; LANES];

/// The last round's key.
const LAST: usize = 14;
