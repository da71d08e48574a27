//! The backend for every CPU: safe Rust over the `aes` crate, many blocks at once.

use aes::Aes256;
use aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit, consts::U16};

use super::SectorSize;
use super::placed::Placed;
use super::tweak::{double, split_unit, steal, times_x32};

/// Holds the round keys of both halves.
pub(super) struct Portable {
    data: Placed<Aes256>,
    tweak: Placed<Aes256>,
}

impl Portable {
    pub(super) fn new(data: &[u8; 32], tweak: &[u8; 32]) -> Self {
        Self { data: Placed::new(|| Aes256::new(data.into())), tweak: Placed::new(|| Aes256::new(tweak.into())) }
    }

    /// Runs one data unit of at least one block.
    pub(super) fn unit<const ENCRYPT: bool>(&self, tweak: &[u8; 16], unit: &mut [u8]) {
        let mut start = Block::from(*tweak);
        self.tweak.encrypt_block(&mut start);
        let mut next = u128::from_le_bytes(start.into());

        let (blocks, ending) = split_unit(unit);
        let mut tweaks = Tweaks::new();
        for batch in blocks.chunks_mut(BATCH) {
            tweaks.fill(batch.len(), |lane, before| if lane == 0 { next } else { times_x32(before) });
            self.apply::<ENCRYPT>(&tweaks, batch);
            if let Some(&last) = tweaks.0.get(batch.len().wrapping_sub(1)) {
                next = double(last);
            }
        }
        if let Some((last, partial)) = ending {
            steal::<ENCRYPT>([next, double(next)], last, partial, |tweak, block| self.one::<ENCRYPT>(tweak, block));
        }
    }

    /// Runs whole sectors; `first` is the tweak value of the first one.
    pub(super) fn sectors<const ENCRYPT: bool>(&self, sector: SectorSize, first: u64, data: &mut [u8]) {
        let mut number = u128::from(first);
        let mut tweaks = Tweaks::new();
        for run in data.chunks_mut(RUN * sector.bytes()) {
            let mut starts = [Block::default(); RUN];
            for start in &mut starts {
                *start = number.to_le_bytes().into();
                number += u128::from(sector.tweak_step());
            }
            let count = run.len() / sector.bytes();
            let (starts, _) = starts.split_at_mut(count.min(RUN));
            self.tweak.encrypt_blocks(starts);

            let mut starts = starts.iter().map(|start| u128::from_le_bytes((*start).into()));
            let (blocks, _) = run.as_chunks_mut::<16>();
            for batch in blocks.chunks_mut(BATCH) {
                let lanes_per_sector = sector.bytes() / 16 / LANE;
                tweaks.fill(batch.len(), |lane, before| {
                    if lane % lanes_per_sector == 0 { starts.next().unwrap_or_default() } else { times_x32(before) }
                });
                self.apply::<ENCRYPT>(&tweaks, batch);
            }
        }
    }

    fn apply<const ENCRYPT: bool>(&self, tweaks: &Tweaks, batch: &mut [[u8; 16]]) {
        mask(batch, tweaks);
        let blocks = Array::cast_slice_from_core_mut(batch);
        if ENCRYPT {
            self.data.encrypt_blocks(blocks);
        } else {
            self.data.decrypt_blocks(blocks);
        }
        mask(batch, tweaks);
    }

    fn one<const ENCRYPT: bool>(&self, tweak: u128, block: &mut [u8; 16]) {
        let mut masked = Block::from((u128::from_le_bytes(*block) ^ tweak).to_le_bytes());
        if ENCRYPT {
            self.data.encrypt_block(&mut masked);
        } else {
            self.data.decrypt_block(&mut masked);
        }
        *block = (u128::from_le_bytes(masked.into()) ^ tweak).to_le_bytes();
    }
}

/// The tweaks of one batch, in lanes that are computed side by side: one lane alone waits for every doubling.
struct Tweaks([u128; BATCH]);

impl Tweaks {
    fn new() -> Self {
        Self([0; BATCH])
    }

    /// Fills in the tweaks of `blocks` blocks; `start` gives a lane's first tweak from its number and the start of the lane before.
    #[inline(always)]
    fn fill(&mut self, blocks: usize, mut start: impl FnMut(usize, u128) -> u128) {
        let mut before = 0;
        if blocks <= LANE {
            before = start(0, before);
            for tweak in self.0.iter_mut().take(blocks) {
                *tweak = before;
                before = double(before);
            }
            return;
        }
        let mut current = [0; LANES];
        for (lane, slot) in current.iter_mut().enumerate().take(blocks.div_ceil(LANE)) {
            before = start(lane, before);
            *slot = before;
        }
        for position in 0..LANE {
            for (lane, tweak) in current.iter_mut().enumerate() {
                self.0[lane * LANE + position] = *tweak;
                *tweak = double(*tweak);
            }
        }
    }
}

fn mask(batch: &mut [[u8; 16]], tweaks: &Tweaks) {
    for (block, tweak) in batch.iter_mut().zip(&tweaks.0) {
        *block = (u128::from_le_bytes(*block) ^ tweak).to_le_bytes();
    }
}

type Block = Array<u8, U16>;

/// Sectors whose tweaks are encrypted with one call.
const RUN: usize = 32;
/// Consecutive blocks in a lane: the blocks of the smallest sector.
const LANE: usize = 32;
/// Lanes in a batch.
const LANES: usize = 8;
/// Blocks in a batch: 4 KiB of data and 4 KiB of tweaks, which fits the first-level cache beside everything else.
const BATCH: usize = LANES * LANE;
