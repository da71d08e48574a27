//! What the AES unit of this CPU can do at most: load, 14 rounds, store, without tweaks. The measure for the kernels.

#![allow(unsafe_code, reason = "the entry into AES code, loads and stores")]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use aes::Aes256;
use aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};

use super::Backend;
#[cfg(target_arch = "x86_64")]
use super::detect::{HaveAesNi, HaveVaesAvx2, HaveVaesAvx512};
#[cfg(target_arch = "x86_64")]
use super::order::fetch;

/// Bare AES-256 rounds over memory, in the registers of one backend: the ceiling that its XTS kernel is measured against.
///
/// The rounds run in place, on eight registers at once, under a fixed round key that is no secret. This is a load for the AES unit,
/// **not encryption**; it is here for measurements.
#[derive(Clone, Copy, Debug)]
pub struct Roofline {
    engine: Engine,
}

impl Roofline {
    /// Prepares the rounds for `backend`; `None` where this CPU cannot run it. For [`Backend::Portable`] they are those of the `aes`
    /// crate's batches.
    pub fn new(backend: Backend) -> Option<Self> {
        let engine = match backend {
            #[cfg(target_arch = "x86_64")]
            Backend::AesNi => Engine::AesNi(HaveAesNi::detect()?),
            Backend::Portable => Engine::Portable,
            #[cfg(target_arch = "x86_64")]
            Backend::VaesAvx2 => Engine::VaesAvx2(HaveVaesAvx2::detect()?),
            #[cfg(target_arch = "x86_64")]
            Backend::VaesAvx512 => Engine::VaesAvx512(HaveVaesAvx512::detect()?),
            #[cfg(not(target_arch = "x86_64"))]
            _ => return None,
        };
        Some(Self { engine })
    }

    /// Runs the encrypting rounds over the whole kibibytes of `data`; what is left at its end stays as it is.
    pub fn encrypt(&self, data: &mut [u8]) {
        self.run::<true>(data);
    }

    /// Runs the decrypting rounds, likewise.
    pub fn decrypt(&self, data: &mut [u8]) {
        self.run::<false>(data);
    }

    fn run<const ENCRYPT: bool>(&self, data: &mut [u8]) {
        let (kibibytes, _) = data.as_chunks_mut::<1024>();
        match self.engine {
            #[cfg(target_arch = "x86_64")]
            Engine::AesNi(_token) => {
                // SAFETY: `_token` proves aes and sse2, which is all that the function enables.
                unsafe { narrow::<ENCRYPT>(kibibytes) }
            }
            Engine::Portable => portable::<ENCRYPT>(kibibytes),
            #[cfg(target_arch = "x86_64")]
            Engine::VaesAvx2(_token) => {
                // SAFETY: aes, avx2 and vaes were detected where `_token` was made; the function enables no more.
                unsafe { double::<ENCRYPT>(kibibytes) }
            }
            #[cfg(target_arch = "x86_64")]
            Engine::VaesAvx512(_token) => {
                // SAFETY: avx512f and vaes, the features of the function, are among those that `_token` proves.
                unsafe { quadruple::<ENCRYPT>(kibibytes) }
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Engine {
    #[cfg(target_arch = "x86_64")]
    AesNi(HaveAesNi),
    Portable,
    #[cfg(target_arch = "x86_64")]
    VaesAvx2(HaveVaesAvx2),
    #[cfg(target_arch = "x86_64")]
    VaesAvx512(HaveVaesAvx512),
}

fn portable<const ENCRYPT: bool>(kibibytes: &mut [[u8; 1024]]) {
    let cipher = Aes256::new(&[ROUND_KEY; 32].into());
    for kibibyte in kibibytes {
        let (blocks, _) = kibibyte.as_chunks_mut::<16>();
        let blocks = Array::cast_slice_from_core_mut(blocks);
        if ENCRYPT {
            cipher.encrypt_blocks(blocks);
        } else {
            cipher.decrypt_blocks(blocks);
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "aes,sse2")]
fn narrow<const ENCRYPT: bool>(kibibytes: &mut [[u8; 1024]]) {
    // Read from memory in every round, as the kernel must with its 16 registers.
    let keys = [_mm_set1_epi8(ROUND_KEY.cast_signed()); ROUNDS + 1];
    for group in kibibytes.as_flattened_mut().as_chunks_mut::<{ 16 * LANES }>().0 {
        let (blocks, _) = group.as_chunks_mut::<16>();
        let mut lanes = [_mm_setzero_si128(); LANES];
        for (lane, block) in lanes.iter_mut().zip(&*blocks) {
            // SAFETY: the block's 16 bytes are readable at any alignment by this load; sse2 is enabled.
            *lane = unsafe { _mm_loadu_si128(block.as_ptr().cast()) };
        }
        for key in &keys[1..ROUNDS] {
            let key = fetch(key);
            for lane in &mut lanes {
                *lane = if ENCRYPT { _mm_aesenc_si128(*lane, key) } else { _mm_aesdec_si128(*lane, key) };
            }
        }
        let key = fetch(&keys[ROUNDS]);
        for (lane, block) in lanes.iter().zip(blocks) {
            let last = if ENCRYPT { _mm_aesenclast_si128(*lane, key) } else { _mm_aesdeclast_si128(*lane, key) };
            // SAFETY: 16 bytes behind a unique reference; the store takes any alignment; sse2 is enabled.
            unsafe { _mm_storeu_si128(block.as_mut_ptr().cast(), last) }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "aes,avx2,vaes")]
fn double<const ENCRYPT: bool>(kibibytes: &mut [[u8; 1024]]) {
    let keys = [_mm256_set1_epi8(ROUND_KEY.cast_signed()); ROUNDS + 1];
    for group in kibibytes.as_flattened_mut().as_chunks_mut::<{ 32 * LANES }>().0 {
        let (pairs, _) = group.as_chunks_mut::<32>();
        let mut lanes = [_mm256_setzero_si256(); LANES];
        for (lane, pair) in lanes.iter_mut().zip(&*pairs) {
            // SAFETY: the pair's 32 bytes are readable, and the load is unaligned; avx2 is enabled.
            *lane = unsafe { _mm256_loadu_si256(pair.as_ptr().cast()) };
        }
        for key in &keys[1..ROUNDS] {
            let key = fetch(key);
            for lane in &mut lanes {
                *lane = if ENCRYPT { _mm256_aesenc_epi128(*lane, key) } else { _mm256_aesdec_epi128(*lane, key) };
            }
        }
        let key = fetch(&keys[ROUNDS]);
        for (lane, pair) in lanes.iter().zip(pairs) {
            let last =
                if ENCRYPT { _mm256_aesenclast_epi128(*lane, key) } else { _mm256_aesdeclast_epi128(*lane, key) };
            // SAFETY: the unique reference covers the 32 bytes written, at any alignment; avx2 is enabled.
            unsafe { _mm256_storeu_si256(pair.as_mut_ptr().cast(), last) }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "aes,avx512f,vaes")]
fn quadruple<const ENCRYPT: bool>(kibibytes: &mut [[u8; 1024]]) {
    // In registers throughout: here there are enough of them.
    let key = fetch(&_mm512_set1_epi8(ROUND_KEY.cast_signed()));
    for group in kibibytes.as_flattened_mut().as_chunks_mut::<{ 64 * LANES }>().0 {
        let (fours, _) = group.as_chunks_mut::<64>();
        let mut lanes = [_mm512_setzero_si512(); LANES];
        for (lane, four) in lanes.iter_mut().zip(&*fours) {
            // SAFETY: 64 readable bytes; unaligned load; avx512f is enabled.
            *lane = unsafe { _mm512_loadu_si512(four.as_ptr().cast()) };
        }
        for _ in 1..ROUNDS {
            for lane in &mut lanes {
                *lane = if ENCRYPT { _mm512_aesenc_epi128(*lane, key) } else { _mm512_aesdec_epi128(*lane, key) };
            }
        }
        for (lane, four) in lanes.iter().zip(fours) {
            let last =
                if ENCRYPT { _mm512_aesenclast_epi128(*lane, key) } else { _mm512_aesdeclast_epi128(*lane, key) };
            // SAFETY: 64 bytes that only this reference reaches; unaligned store; avx512f is enabled.
            unsafe { _mm512_storeu_si512(four.as_mut_ptr().cast(), last) }
        }
    }
}

/// Every byte of every round key.
const ROUND_KEY: u8 = 0x5a;
/// Rounds of AES-256 (FIPS 197 §5).
const ROUNDS: usize = 14;
/// Registers in flight.
const LANES: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_reach_every_whole_kibibyte_and_nothing_behind() {
        for backend in Backend::available() {
            let roofline = Roofline::new(backend).expect("an available backend");
            let mut data = [7; 2100];
            roofline.encrypt(&mut data);
            assert!(data.as_chunks::<16>().0.iter().take(128).all(|block| *block != [7; 16]), "{backend}");
            assert!(data[2048..].iter().all(|&byte| byte == 7), "{backend}");
            let encrypted = data;
            roofline.decrypt(&mut data);
            assert_ne!(data[..2048], encrypted[..2048], "{backend}");
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn every_width_of_register_runs_the_same_rounds() {
        let vector: Vec<Vec<u8>> = Backend::available()
            .into_iter()
            .filter(|backend| *backend != Backend::Portable)
            .map(|backend| {
                let mut data = vec![3; 1024];
                Roofline::new(backend).expect("an available backend").encrypt(&mut data);
                data
            })
            .collect();
        assert!(vector.windows(2).all(|pair| pair[0] == pair[1]));
    }
}
