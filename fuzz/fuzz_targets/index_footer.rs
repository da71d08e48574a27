//! Index and footer: what decodes encodes to the same bytes; the numbers in it agree with each other.
//!
//! The input is `geometry u8 | footer[192] | index`. H and the CRC are made to hold, or else nothing would get past them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sobre::format::{BODY_OFFSET, ChunkSize, FOOTER_LEN, Footer, INDEX_ENTRY_LEN, Index, Shape, Suite};
use sobre::secret::SecretBytes;
use sobre::xts::SectorSize;
use sobre_fuzz::{crc64, header};

fuzz_target!(|data: &[u8]| {
    let Some((&geometry, data)) = data.split_first() else { return };
    let Some((footer, index)) = data.split_first_chunk::<FOOTER_LEN>() else { return };
    let sector = if geometry & 8 == 0 { SectorSize::Bytes512 } else { SectorSize::Bytes4096 };
    let chunk = ChunkSize::from_log2(16 + geometry % 5).expect("16 to 20");
    let header = header(Suite::XtsBlake3, sector, chunk);
    let hash = header.hash();
    let key = SecretBytes::taken_from(vec![2; 32]);

    let mut bytes = *footer;
    bytes[8..40].copy_from_slice(&hash.0);
    let crc = crc64(&bytes[..184]);
    bytes[184..].copy_from_slice(&crc.to_le_bytes());
    if let Ok(footer) = Footer::decode(&bytes, &header, None) {
        let shape = footer.shape;
        assert_eq!(Shape::of(&header, shape.disk_len).expect("it is in the footer"), shape);
        let lengths: u64 = (0..shape.chunk_count).take(3000).map(|index| shape.chunk_len(index)).sum();
        assert!(shape.chunk_count > 3000 || lengths == shape.disk_len);
        assert!(footer.index_offset >= BODY_OFFSET + footer.data_len);
        let sealed = footer.seal(&key);
        assert!(sealed[..120] == bytes[..120] && sealed[152..184] == bytes[152..184], "another encoding");
        assert!(Footer::decode(&sealed, &header, Some(footer.file_len)).is_ok());
        assert!(Footer::decode(&sealed, &header, Some(footer.file_len ^ 1)).is_err());
        assert!(footer.authenticate(&sealed, &key).is_ok());
    }

    // An index of as many pages as the input has, under a root that holds.
    let pages = (index.len() / INDEX_ENTRY_LEN) as u64;
    let index = &index[..pages as usize * INDEX_ENTRY_LEN];
    let disk_len = (pages * 1020 * chunk.bytes()).saturating_sub(u64::from(geometry >> 4) * 4096);
    let shape = Shape::of(&header, disk_len).expect("a short disk");
    if u64::from(shape.page_count) != pages {
        return;
    }
    let data_len = u64::from_le_bytes(*bytes[56..].first_chunk().expect("8 bytes")) >> 16;
    let footer = Footer::new(hash, shape, data_len, index).expect("a short disk");
    if let Ok(decoded) = Index::decode(index, &footer) {
        assert!(decoded.encode() == index, "another encoding");
        let offsets: Vec<_> = (0..shape.page_count).map(|page| decoded.offset(page).expect("there")).collect();
        assert!(offsets.is_sorted_by(|a, b| a < b), "pages out of order");
        assert!(offsets.iter().all(|offset| (BODY_OFFSET..footer.index_offset).contains(offset)));
        assert_eq!(decoded.offset(shape.page_count), None);
    }
    if let Some(first) = index.first() {
        let mut changed = index.to_vec();
        changed[0] = !first;
        assert!(Index::decode(&changed, &footer).is_err(), "a changed index passes");
    }
});
