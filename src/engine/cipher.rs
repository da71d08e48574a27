//! One chunk, sealed or opened, in each suite (SPEC §6).

use std::sync::OnceLock;

use zeroize::Zeroize;

use crate::aead::{Gcm256, NONCE_LEN, TAG_LEN};
use crate::engine::{Chunk, Error};
use crate::format::{Fault, Keys, Part, Record, Suite, Tag};
use crate::integrity::{blake3, crc64};
use crate::secret::SecretBytes;
use crate::xts::{Backend, SectorSize, Xts256, XtsGmac};

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
    Gmac(Gmac),
}

/// GMAC apart from XTS, for verifying, and both in one pass where that is faster.
#[derive(Debug)]
struct Gmac {
    alone: Gcm256,
    fused: Option<XtsGmac>,
}

impl Gmac {
    fn new(keys: &Keys, backend: Backend) -> Option<Self> {
        let alone = Gcm256::new(&keys.gmac).ok()?;
        // Beside VAES the rounds take so little that two passes are no slower.
        let pays = backend == Backend::AesNi && fused_agrees();
        let fused = if pays { XtsGmac::new(&keys.xts, &keys.gmac).ok()? } else { None };
        Some(Self { alone, fused })
    }
}

impl ChunkCipher {
    pub(super) fn new(suite: Suite, sector: SectorSize, keys: &Keys) -> Result<Self, Error> {
        // Keys come from the schedule with the right lengths, and the blob check has refused equal halves.
        let unusable = || Error::damaged(Part::Blob(1), Fault::EqualHalves);
        let xts = Xts256::new(&keys.xts).map_err(|_| unusable())?;
        let integrity = match suite {
            Suite::XtsBlake3 => Integrity::Blake3,
            Suite::XtsGcm => Integrity::Gcm(Gcm256::new(&keys.gcm).map_err(|_| unusable())?),
            Suite::XtsGmac => Integrity::Gmac(Gmac::new(keys, xts.backend()).ok_or_else(unusable)?),
        };
        Ok(Self { sector, xts, integrity })
    }

    /// Encrypts the padded chunk in place.
    pub(super) fn seal(&self, chunk: Chunk, nonce: &[u8; NONCE_LEN], data: &mut [u8]) -> Result<Record, Error> {
        let misfit = |_| Error::BufferLength { found: chunk.len, expected: chunk.padded_len };
        let encrypt = |data: &mut [u8]| self.xts.encrypt_sectors(self.sector, chunk.offset, data).map_err(misfit);
        let tag = match &self.integrity {
            Integrity::Blake3 => {
                encrypt(data)?;
                blake3(data)
            }
            Integrity::Gcm(gcm) => {
                encrypt(data)?;
                joined(nonce, &gcm.seal(nonce, &[], data).map_err(|_| Error::Random)?)
            }
            Integrity::Gmac(Gmac { fused: Some(fused), .. }) => {
                joined(nonce, &fused.encrypt_sectors(self.sector, chunk.offset, nonce, data).map_err(misfit)?)
            }
            Integrity::Gmac(Gmac { alone, fused: None }) => {
                encrypt(data)?;
                joined(nonce, &alone.gmac(nonce, data).map_err(|_| Error::Random)?)
            }
        };
        let len = u32::try_from(data.len())
            .map_err(|_| Error::BufferLength { found: data.len(), expected: chunk.padded_len })?;
        Ok(Record::Data { len, crc: crc64(data), tag })
    }

    /// Verifies and decrypts in place; on an error the buffer is zeroed.
    pub(super) fn open(&self, chunk: Chunk, tag: &Tag, data: &mut [u8]) -> Result<(), Error> {
        let misfit = |_| Error::BufferLength { found: chunk.len, expected: chunk.padded_len };
        let opened = match &self.integrity {
            Integrity::Gmac(Gmac { fused: Some(fused), .. }) => {
                let forged = Error::damaged(Part::Chunk(chunk.index), Fault::Tag);
                match split(tag).map(|(nonce, mac)| fused.decrypt_sectors(self.sector, chunk.offset, nonce, mac, data))
                {
                    Some(Ok(true)) => Ok(()),
                    Some(Ok(false)) | None => Err(forged),
                    Some(Err(error)) => Err(misfit(error)),
                }
            }
            _ => self
                .verify(chunk, tag, data)
                .and_then(|()| self.xts.decrypt_sectors(self.sector, chunk.offset, data).map_err(misfit)),
        };
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
                gmac.alone.verify_gmac(nonce, mac, data).map_err(|_| forged)
            }
        }
    }
}

/// Whether the fused kernel gives what two passes give: asked once per process, like the known-answer test of the XTS kernels.
fn fused_agrees() -> bool {
    static AGREES: OnceLock<bool> = OnceLock::new();
    *AGREES.get_or_init(|| self_test().unwrap_or(false))
}

fn self_test() -> Option<bool> {
    let key =
        |len: u8| SecretBytes::taken_from((0..len).map(|number| number.wrapping_mul(41).wrapping_add(7)).collect());
    let (xts_key, mac_key, nonce) = (key(64), key(32), [0x5a; NONCE_LEN]);
    let fused = XtsGmac::new(&xts_key, &mac_key).ok()??;
    let plain: Vec<u8> = (0..3 * 4096_u32).map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let (mut one, mut two) = (plain.clone(), plain.clone());
    let tag = fused.encrypt_sectors(SectorSize::Bytes512, 1 << 40, &nonce, &mut one).ok()?;
    let portable = Xts256::with_backend(&xts_key, Backend::Portable).ok()?;
    portable.encrypt_sectors(SectorSize::Bytes512, 1 << 40, &mut two).ok()?;
    let same = one == two && Gcm256::new(&mac_key).ok()?.verify_gmac(&nonce, &tag, &two).is_ok();
    let back = fused.decrypt_sectors(SectorSize::Bytes512, 1 << 40, &nonce, &tag, &mut one).ok()?;
    Some(same && back && one == plain)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fused_kernel_passes_its_self_test_where_there_is_one() {
        let runs = XtsGmac::new(&SecretBytes::taken_from((0..64).collect()), &SecretBytes::zeroed(32));
        assert_eq!(fused_agrees(), runs.expect("good keys").is_some());
    }
}
