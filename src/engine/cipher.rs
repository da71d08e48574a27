//! One chunk, sealed or opened, in each suite (SPEC §6).

use zeroize::Zeroize;

use crate::aead::{Gcm256, NONCE_LEN, TAG_LEN};
use crate::engine::{Chunk, Error};
use crate::format::{Fault, Keys, Part, Record, Suite, Tag};
use crate::integrity::{blake3, crc64};
use crate::xts::{SectorSize, Xts256};

/// The expanded keys that chunks need.
#[derive(Debug)]
pub(super) struct ChunkCipher {
    sector: SectorSize,
    xts: Xts256,
    integrity: Integrity,
}

#[derive(Debug)]
enum Integrity {
    Blake3,
    Gcm(Gcm256),
    Gmac(Gcm256),
}

impl ChunkCipher {
    pub(super) fn new(suite: Suite, sector: SectorSize, keys: &Keys) -> Result<Self, Error> {
        // Keys come from the schedule with the right lengths, and the blob check has refused equal halves.
        let unusable = || Error::damaged(Part::Blob(1), Fault::EqualHalves);
        let xts = Xts256::new(&keys.xts).map_err(|_| unusable())?;
        let integrity = match suite {
            Suite::XtsBlake3 => Integrity::Blake3,
            Suite::XtsGcm => Integrity::Gcm(Gcm256::new(&keys.gcm).map_err(|_| unusable())?),
            Suite::XtsGmac => Integrity::Gmac(Gcm256::new(&keys.gmac).map_err(|_| unusable())?),
        };
        Ok(Self { sector, xts, integrity })
    }

    /// Encrypts the padded chunk in place.
    pub(super) fn seal(&self, chunk: Chunk, nonce: &[u8; NONCE_LEN], data: &mut [u8]) -> Result<Record, Error> {
        let misfit = |_| Error::BufferLength { found: chunk.len, expected: chunk.padded_len };
        self.xts.encrypt_sectors(self.sector, chunk.offset, data).map_err(misfit)?;
        let tag = match &self.integrity {
            Integrity::Blake3 => blake3(data),
            Integrity::Gcm(gcm) => joined(nonce, &gcm.seal(nonce, &[], data).map_err(|_| Error::Random)?),
            Integrity::Gmac(gmac) => joined(nonce, &gmac.gmac(nonce, data).map_err(|_| Error::Random)?),
        };
        let len = u32::try_from(data.len())
            .map_err(|_| Error::BufferLength { found: data.len(), expected: chunk.padded_len })?;
        Ok(Record::Data { len, crc: crc64(data), tag })
    }

    /// Verifies, then decrypts in place; on an error the buffer is zeroed.
    pub(super) fn open(&self, chunk: Chunk, tag: &Tag, data: &mut [u8]) -> Result<(), Error> {
        let opened = self.verify(chunk, tag, data).and_then(|()| {
            self.xts
                .decrypt_sectors(self.sector, chunk.offset, data)
                .map_err(|_| Error::BufferLength { found: chunk.len, expected: chunk.padded_len })
        });
        if opened.is_err() {
            data.zeroize();
        }
        opened
    }

    /// Verifies only. With a second layer the buffer holds the first layer's ciphertext afterwards.
    pub(super) fn verify(&self, chunk: Chunk, tag: &Tag, data: &mut [u8]) -> Result<(), Error> {
        let forged = Error::damaged(Part::Chunk(chunk.index), Fault::Tag);
        match &self.integrity {
            Integrity::Blake3 => {
                if blake3(data) == *tag {
                    Ok(())
                } else {
                    Err(forged)
                }
            }
            Integrity::Gcm(gcm) => {
                let Some((nonce, mac)) = split(tag) else { return Err(forged) };
                gcm.open(nonce, &[], mac, data).map_err(|_| forged)
            }
            Integrity::Gmac(gmac) => {
                let Some((nonce, mac)) = split(tag) else { return Err(forged) };
                gmac.verify_gmac(nonce, mac, data).map_err(|_| forged)
            }
        }
    }
}

fn joined(nonce: &[u8; NONCE_LEN], mac: &[u8; TAG_LEN]) -> Tag {
    let mut tag = [0; 32];
    for (to, from) in tag.iter_mut().zip(nonce.iter().chain(mac)) {
        *to = *from;
    }
    tag
}

/// `None` when the bytes behind nonce and tag are not zero.
fn split(tag: &Tag) -> Option<(&[u8; NONCE_LEN], &[u8; TAG_LEN])> {
    let (nonce, rest) = tag.split_first_chunk()?;
    let (mac, zeros) = rest.split_first_chunk()?;
    zeros.iter().all(|&byte| byte == 0).then_some((nonce, mac))
}
