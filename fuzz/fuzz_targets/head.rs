//! A head or epoch record that decodes encodes to the same bytes. The input is FIXED and the beginning of the envelope; the check hash is made to hold, or
//! else nothing would get past it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sobre::format::{EpochRecord, HEAD_LEN, Head};

fuzz_target!(|data: &[u8]| {
    // As it comes, too: what does not have the right check hash is refused, whatever its length.
    if Head::decode(data, 0).is_ok() {
        assert!(data.len() >= HEAD_LEN);
    }
    let mut bytes = data.to_vec();
    bytes.resize(HEAD_LEN - 32, 0);
    let check = sobre_fuzz::sha256(&[&bytes]);
    bytes.extend_from_slice(&check);
    if let Ok(record) = EpochRecord::decode(&bytes) {
        assert!(record.encode() == bytes, "another encoding of the record");
        assert!(Head::decode(&bytes, 0).is_err(), "both a record and a head");
        bytes[40] ^= 1;
        assert!(EpochRecord::decode(&bytes).is_err(), "a changed record passes");
        return;
    }
    if let Ok(head) = Head::decode(&bytes, 1) {
        assert!(head.encode() == bytes, "another encoding");
        assert_eq!(head.header.hash().0, sobre_fuzz::sha256(&[&bytes[..1024]]));
        bytes[40] ^= 1;
        assert!(Head::decode(&bytes, 1).is_err(), "a changed head passes");
    }
});
