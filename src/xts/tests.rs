//! Every backend against `xts-mode`, against the portable one, and at its edges.

use aes::Aes256;
use aes::cipher::KeyInit;
use proptest::prelude::*;
use xts_mode::Xts128;

use super::*;

mod guarded;
mod vectors;

proptest! {
    #[test]
    fn any_unit_agrees_with_xts_mode(
        key in any::<[u8; 32]>(),
        tweak in any::<[u8; 16]>(),
        mut unit in proptest::collection::vec(any::<u8>(), 16..9000),
    ) {
        let key = key_from(key);
        let mut expected = unit.clone();
        reference(&key).encrypt_sector(&mut expected, tweak.into());
        for backend in Backend::available() {
            let xts = Xts256::with_backend(&key, backend).expect("available");
            let plaintext = unit.clone();
            xts.encrypt_unit(&tweak, &mut unit).expect("length in bounds");
            prop_assert!(unit == expected, "{backend} encrypts {} bytes wrongly", unit.len());
            xts.decrypt_unit(&tweak, &mut unit).expect("length in bounds");
            prop_assert!(unit == plaintext, "{backend} decrypts {} bytes wrongly", unit.len());
        }
    }
}

#[test]
fn every_unit_length_agrees_with_xts_mode() {
    let key = key_from([0x3c; 32]);
    let tweak = [0xff; 16];
    for backend in Backend::available() {
        let xts = Xts256::with_backend(&key, backend).expect("available");
        for len in (16..=1100).chain(4090..=4200).chain([8191, 8192, 8193, 70_001]) {
            let plaintext = pattern(len);
            let mut expected = plaintext.clone();
            reference(&key).encrypt_sector(&mut expected, tweak.into());
            let mut unit = plaintext.clone();
            xts.encrypt_unit(&tweak, &mut unit).expect("length in bounds");
            assert!(unit == expected, "{backend} encrypts {len} bytes wrongly");
            xts.decrypt_unit(&tweak, &mut unit).expect("length in bounds");
            assert!(unit == plaintext, "{backend} decrypts {len} bytes wrongly");
        }
    }
}

#[test]
fn every_sector_count_agrees_with_xts_mode() {
    let key = key_from([0xa5; 32]);
    let offsets = [0, 4096, (1 << 41) - 16 * 4096, u64::MAX - (u64::MAX % 4096), (u64::MAX >> 12 << 12) - 5 * 4096];
    for backend in Backend::available() {
        let xts = Xts256::with_backend(&key, backend).expect("available");
        for sector in [SectorSize::Bytes512, SectorSize::Bytes4096] {
            for (count, offset) in (0..=40).flat_map(|count| offsets.map(|offset| (count, offset))) {
                let plaintext = pattern(count * sector.bytes());
                let expected = encrypted_by_reference(&key, sector, offset, &plaintext);
                let mut data = plaintext.clone();
                xts.encrypt_sectors(sector, offset, &mut data).expect("aligned");
                assert!(data == expected, "{backend} encrypts {count} of {sector:?} at {offset} wrongly");
                xts.decrypt_sectors(sector, offset, &mut data).expect("aligned");
                assert!(data == plaintext, "{backend} decrypts {count} of {sector:?} at {offset} wrongly");
            }
        }
    }
}

#[test]
fn equal_halves_are_refused() {
    let error = Xts256::new(&SecretBytes::copied_from(&[7; 64])).expect_err("the halves are equal");
    assert_eq!(error, XtsError::EqualHalves);
}

#[test]
fn halves_that_differ_in_one_bit_are_a_key() {
    for bit in [0, 255] {
        let mut key = [7; 64];
        key[32 + bit / 8] ^= 1 << (bit % 8);
        Xts256::new(&SecretBytes::copied_from(&key)).expect("the halves differ");
    }
}

#[test]
fn keys_of_other_lengths_are_refused() {
    for len in [0, 32, 63, 65, 96, 128] {
        let error = Xts256::new(&SecretBytes::copied_from(&pattern(len))).expect_err("not 64 bytes");
        assert_eq!(error, XtsError::KeyLength(len));
    }
}

#[test]
fn units_outside_the_bounds_are_refused_unchanged() {
    let xts = Xts256::new(&key_from([1; 32])).expect("a key");
    for len in [0, 1, 15, (16 << 20) + 1] {
        let mut unit = vec![9; len];
        assert_eq!(xts.encrypt_unit(&[0; 16], &mut unit), Err(XtsError::UnitLength(len)));
        assert_eq!(xts.decrypt_unit(&[0; 16], &mut unit), Err(XtsError::UnitLength(len)));
        assert!(unit.iter().all(|&byte| byte == 9));
    }
}

#[test]
fn longest_unit_agrees_with_xts_mode() {
    let key = key_from([2; 32]);
    let plaintext = pattern(16 << 20);
    let mut expected = plaintext.clone();
    reference(&key).encrypt_sector(&mut expected, [6; 16].into());
    for backend in Backend::available() {
        let xts = Xts256::with_backend(&key, backend).expect("available");
        let mut unit = plaintext.clone();
        xts.encrypt_unit(&[6; 16], &mut unit).expect("length in bounds");
        assert!(unit == expected, "{backend}");
        xts.decrypt_unit(&[6; 16], &mut unit).expect("length in bounds");
        assert!(unit == plaintext, "{backend}");
    }
}

#[test]
fn partial_sectors_are_refused_unchanged() {
    let xts = Xts256::new(&key_from([1; 32])).expect("a key");
    let sector = SectorSize::Bytes4096;
    for (offset, len) in [(0, 512), (512, 4096), (4095, 4096), (1, 0), (0, 4097), (u64::MAX, 0)] {
        let mut data = vec![9; len];
        assert_eq!(xts.encrypt_sectors(sector, offset, &mut data), Err(XtsError::Misaligned { offset, len, sector }));
        assert_eq!(xts.decrypt_sectors(sector, offset, &mut data), Err(XtsError::Misaligned { offset, len, sector }));
        assert!(data.iter().all(|&byte| byte == 9));
    }
}

#[test]
fn best_backend_is_chosen_and_printed() {
    let available = Backend::available();
    assert_eq!(available.last(), Some(&Backend::Portable));
    let xts = Xts256::new(&key_from([1; 32])).expect("a key");
    assert_eq!(Some(&xts.backend()), available.first());
    for backend in available {
        let xts = Xts256::with_backend(&key_from([1; 32]), backend).expect("available");
        assert_eq!(xts.backend(), backend);
        assert_eq!(format!("{xts:?}"), format!("Xts256({backend})"));
    }
}

#[test]
fn backend_names_parse_back() {
    for backend in ALL_BACKENDS {
        assert_eq!(backend.to_string().parse(), Ok(backend));
    }
    assert_eq!("AES-NI".parse::<Backend>(), Err(UnknownBackend));
}

#[test]
fn sector_sizes_parse_from_log2_and_bytes() {
    for sector in [SectorSize::Bytes512, SectorSize::Bytes4096] {
        assert_eq!(SectorSize::from_log2(sector.log2()), Ok(sector));
        assert_eq!(SectorSize::try_from(sector.bytes() as u64), Ok(sector));
    }
    assert_eq!(SectorSize::from_log2(10), Err(XtsError::SectorSize(1024)));
    assert_eq!(SectorSize::from_log2(200), Err(XtsError::SectorSize(0)));
    assert_eq!(SectorSize::try_from(1024), Err(XtsError::SectorSize(1024)));
}

#[test]
fn misaligned_buffers_agree_with_aligned_ones() {
    let key = key_from([0x5e; 32]);
    let len = 3 * 512;
    let plaintext = pattern(len);
    let expected = encrypted_by_reference(&key, SectorSize::Bytes512, 512, &plaintext);
    for backend in Backend::available() {
        let xts = Xts256::with_backend(&key, backend).expect("available");
        for shift in 0..64 {
            let mut memory = vec![0xee; len + 128];
            let data = &mut memory[shift..shift + len];
            data.copy_from_slice(&plaintext);
            xts.encrypt_sectors(SectorSize::Bytes512, 512, data).expect("aligned");
            assert!(data == expected, "{backend}, buffer shifted by {shift}");
            xts.decrypt_sectors(SectorSize::Bytes512, 512, data).expect("aligned");
            assert!(data == plaintext, "{backend}, buffer shifted by {shift}");
            xts.encrypt_unit(&[3; 16], &mut data[..517]).expect("length in bounds");
            xts.decrypt_unit(&[3; 16], &mut data[..517]).expect("length in bounds");
            assert!(data == plaintext, "{backend}, unit shifted by {shift}");
            let (before, rest) = memory.split_at(shift);
            assert!(before.iter().chain(&rest[len..]).all(|&byte| byte == 0xee), "{backend} wrote outside");
        }
    }
}

/// House rule 21: what this CPU can run is tested here, and what it cannot is said.
#[test]
fn backends_that_are_not_tested_here_are_named() {
    let available = Backend::available();
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| cpu.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_once(": "));
    let model = field("model name").map_or("an unknown CPU", |(_, model)| model);
    for backend in ALL_BACKENDS {
        if !available.contains(&backend) {
            println!("not run: {backend} on {model}");
        }
    }
    #[cfg(all(target_arch = "x86_64", not(feature = "__cpu_mask")))]
    assert_eq!(available.contains(&Backend::AesNi), std::is_x86_feature_detected!("aes"));
}

#[cfg(feature = "__cpu_mask")]
#[test]
fn masked_features_take_their_backends_away() {
    let masked = |feature: &str| std::env::var(format!("SOBRE_CPU_DISABLE_{feature}")).as_deref() == Ok("1");
    let available = Backend::available();
    if masked("aes") {
        assert_eq!(available, [Backend::Portable]);
    }
    if masked("vaes") || masked("avx2") {
        assert!(!available.contains(&Backend::VaesAvx2));
    }
    if masked("vaes") || masked("avx512f") {
        assert!(!available.contains(&Backend::VaesAvx512));
    }
}

#[test]
fn backends_that_cannot_run_are_refused() {
    let available = Backend::available();
    for backend in ALL_BACKENDS.into_iter().filter(|backend| !available.contains(backend)) {
        let error = Xts256::with_backend(&key_from([1; 32]), backend).expect_err("not available");
        assert_eq!(error, XtsError::BackendUnavailable(backend));
    }
}

/// A key whose second half is the first one's complement.
fn key_from(half: [u8; 32]) -> SecretBytes {
    SecretBytes::taken_from(half.iter().copied().chain(half.iter().map(|byte| !byte)).collect())
}

fn reference(key: &SecretBytes) -> Xts128<Aes256> {
    let (data, tweak) = key.expose().split_at(32);
    let aes = |half| Aes256::new_from_slice(half).expect("32 bytes");
    Xts128::new(aes(data), aes(tweak))
}

fn encrypted_by_reference(key: &SecretBytes, sector: SectorSize, offset: u64, data: &[u8]) -> Vec<u8> {
    let reference = reference(key);
    let mut data = data.to_vec();
    for (unit, at) in data.chunks_mut(sector.bytes()).zip((0_u128..).step_by(sector.bytes())) {
        let tweak = (u128::from(offset) + at) / 512;
        reference.encrypt_sector(unit, tweak.to_le_bytes().into());
    }
    data
}

/// Bytes that differ from block to block.
fn pattern(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(1);
        state.to_be_bytes()[0]
    })
    .take(len)
    .collect()
}

const ALL_BACKENDS: [Backend; 4] = [Backend::AesNi, Backend::Portable, Backend::VaesAvx2, Backend::VaesAvx512];
