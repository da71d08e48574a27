use super::*;
use crate::xts::Xts256;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};

fn keys() -> (SecretBytes, SecretBytes) {
    let bytes = |range: std::ops::Range<u8>, factor: u8| {
        SecretBytes::taken_from(range.map(|number| number.wrapping_mul(factor).wrapping_add(3)).collect())
    };
    (bytes(0..64, 29), bytes(0..32, 83))
}

fn fused() -> Option<XtsGmac> {
    let (xts, gmac) = keys();
    let fused = XtsGmac::new(&xts, &gmac).expect("the keys have the right lengths");
    if fused.is_none() {
        println!("not run: the fused kernel on this CPU, which lacks AES-NI, AVX or PCLMULQDQ, or they are masked");
    }
    fused
}

/// What two passes by two other crates give.
fn two_passes(sector: SectorSize, offset: u64, nonce: &[u8; 12], data: &mut [u8]) -> [u8; 16] {
    let (xts, gmac) = keys();
    Xts256::new(&xts).expect("a good key").encrypt_sectors(sector, offset, data).expect("whole sectors");
    let gcm = Aes256Gcm::new_from_slice(gmac.expose()).expect("32 bytes");
    let nonce = Nonce::try_from(nonce.as_slice()).expect("12 bytes");
    gcm.encrypt_inout_detached(&nonce, data, (&mut [][..]).into()).expect("short enough").into()
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32).map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
}

#[test]
fn one_pass_gives_what_two_passes_give_and_back() {
    let Some(fused) = fused() else { return };
    for (sector, counts) in [(SectorSize::Bytes512, 0..40), (SectorSize::Bytes4096, 0..9)] {
        for count in counts {
            let offset = (1 << 41) - 3 * 4096;
            let nonce = [count as u8; 12];
            let plain = pattern(count * sector.bytes());
            let (mut one, mut two) = (plain.clone(), plain.clone());
            let tag = fused.encrypt_sectors(sector, offset, &nonce, &mut one).expect("whole sectors");
            assert_eq!(tag, two_passes(sector, offset, &nonce, &mut two), "{count} sectors");
            assert!(one == two, "{count} sectors");
            assert!(fused.decrypt_sectors(sector, offset, &nonce, &tag, &mut one).expect("whole sectors"));
            assert!(one == plain, "{count} sectors");
        }
    }
}

#[test]
fn a_buffer_at_any_address_gives_the_same() {
    let Some(fused) = fused() else { return };
    let plain = pattern(4096);
    let mut expected = plain.clone();
    let tag = two_passes(SectorSize::Bytes512, 0, &[9; 12], &mut expected);
    for shift in 0..64 {
        let mut room = vec![0; 4096 + 64];
        let data = &mut room[shift..shift + 4096];
        data.copy_from_slice(&plain);
        assert_eq!(fused.encrypt_sectors(SectorSize::Bytes512, 0, &[9; 12], data).expect("whole sectors"), tag);
        assert!(data == expected, "shifted by {shift}");
    }
}

#[test]
fn every_flipped_bit_of_a_tag_or_byte_of_data_is_found_and_the_buffer_zeroed() {
    let Some(fused) = fused() else { return };
    let mut sealed = pattern(1024);
    let nonce = [1; 12];
    let tag = fused.encrypt_sectors(SectorSize::Bytes512, 512, &nonce, &mut sealed).expect("whole sectors");
    let refused = |tag: &[u8; 16], nonce: &[u8; 12], data: &[u8]| {
        let mut data = data.to_vec();
        let genuine = fused.decrypt_sectors(SectorSize::Bytes512, 512, nonce, tag, &mut data).expect("whole sectors");
        !genuine && data.iter().all(|&byte| byte == 0)
    };
    for bit in 0..128 {
        let mut other = tag;
        other[bit / 8] ^= 1 << (bit % 8);
        assert!(refused(&other, &nonce, &sealed), "bit {bit} of the tag");
    }
    for byte in 0..sealed.len() {
        let mut other = sealed.clone();
        other[byte] ^= 0x40;
        assert!(refused(&tag, &nonce, &other), "byte {byte}");
    }
    assert!(refused(&tag, &[2; 12], &sealed), "another nonce");
}

#[test]
fn bad_keys_and_lengths_are_refused() {
    let (xts, gmac) = keys();
    let short = SecretBytes::zeroed(31);
    assert_eq!(XtsGmac::new(&xts, &short).err(), Some(XtsError::KeyLength(31)));
    assert_eq!(XtsGmac::new(&short, &gmac).err(), Some(XtsError::KeyLength(31)));
    assert_eq!(XtsGmac::new(&SecretBytes::zeroed(64), &gmac).err(), Some(XtsError::EqualHalves));
    let Some(fused) = fused() else { return };
    let mut data = [7; 513];
    assert!(fused.encrypt_sectors(SectorSize::Bytes512, 0, &[0; 12], &mut data).is_err());
    assert!(fused.decrypt_sectors(SectorSize::Bytes512, 1, &[0; 12], &[0; 16], &mut data[..512]).is_err());
    assert_eq!(data, [7; 513], "refused before anything was touched");
}
