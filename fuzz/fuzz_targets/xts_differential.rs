//! Every backend gives what `xts-mode` gives, for units of any length and for runs of sectors at any offset.
//!
//! The input is `key[32] | tweak[16] | kind u8 | shift u8 | data`.

#![no_main]

use aes::Aes256;
use aes::cipher::KeyInit;
use libfuzzer_sys::fuzz_target;
use sobre::secret::SecretBytes;
use sobre::xts::{Backend, SectorSize, Xts256};
use xts_mode::Xts128;

fuzz_target!(|data: &[u8]| {
    let Some((half, data)) = data.split_first_chunk::<32>() else { return };
    let Some((tweak, data)) = data.split_first_chunk::<16>() else { return };
    let Some((&[kind, shift], data)) = data.split_first_chunk() else { return };
    // The other half follows from this one, and is never the same.
    let mut key = half.to_vec();
    key.extend(half.iter().map(|byte| !byte));
    let reference = Xts128::new(
        Aes256::new_from_slice(&key[..32]).expect("32 bytes"),
        Aes256::new_from_slice(&key[32..]).expect("32 bytes"),
    );
    let key = SecretBytes::taken_from(key);
    // Where the data begins in memory matters to the kernels.
    let shift = usize::from(shift % 64);
    let offset = u64::from_le_bytes(*tweak.first_chunk().expect("8 of 16"));
    for backend in Backend::available() {
        let xts = Xts256::with_backend(&key, backend).expect("available");
        let mut memory = vec![0; shift];
        memory.extend_from_slice(data);
        let work = &mut memory[shift..];
        match kind % 3 {
            0 => {
                let mut expected = data.to_vec();
                if data.len() < 16 {
                    assert!(xts.encrypt_unit(tweak, work).is_err());
                    continue;
                }
                reference.encrypt_sector(&mut expected, (*tweak).into());
                xts.encrypt_unit(tweak, work).expect("in bounds");
                assert!(work == expected, "{backend}: a unit of {} bytes", data.len());
                xts.decrypt_unit(tweak, work).expect("in bounds");
                assert!(work == data, "{backend}: a unit of {} bytes back", data.len());
            }
            kind => {
                let sector = if kind == 1 { SectorSize::Bytes512 } else { SectorSize::Bytes4096 };
                let size = sector.bytes();
                // A few bytes of input stand for whole sectors.
                let count = data.len() % 40;
                let mut plain: Vec<u8> =
                    data.iter().copied().cycle().take(if data.is_empty() { 0 } else { count * size }).collect();
                for (at, byte) in plain.iter_mut().enumerate() {
                    *byte = byte.wrapping_add((at / 16) as u8);
                }
                let offset = offset / size as u64 * size as u64;
                let mut expected = plain.clone();
                for (number, unit) in expected.chunks_mut(size).enumerate() {
                    let tweak = u128::from(offset / 512) + (number * size / 512) as u128;
                    reference.encrypt_sector(unit, tweak.to_le_bytes().into());
                }
                let mut memory = vec![0; shift];
                memory.extend_from_slice(&plain);
                let work = &mut memory[shift..];
                xts.encrypt_sectors(sector, offset, work).expect("aligned");
                assert!(work == expected, "{backend}: {count} sectors at {offset}");
                xts.decrypt_sectors(sector, offset, work).expect("aligned");
                assert!(work == plain, "{backend}: {count} sectors at {offset} back");
                assert!(xts.encrypt_sectors(sector, offset | 1, work).is_err());
            }
        }
    }
});
