//! The chunk API: sealing and opening in parts, in any order, from any host.

use std::collections::HashMap;
use std::sync::Mutex;

use rayon::prelude::*;
use sobre::engine::{Chunk, ChunkRecord, Geometry, PolicyError, Sealer, is_zero};
use sobre::format::{HEAD_LEN, Suite};
use sobre::xts::SectorSize;
use sobre::{Error, ErrorKind};

use crate::common::{CUSTOMER, PLATFORM, disk_of, engine_with, named, small_chunks};

const SUITES: [Suite; 3] = [Suite::XtsBlake3, Suite::XtsGmac, Suite::XtsGcm];
const LEN: usize = 50 * 65536 + 777;

fn bytes_of<'a>(disk: &'a [u8], chunk: &Chunk) -> &'a [u8] {
    let start = usize::try_from(chunk.offset()).expect("small");
    &disk[start..start + chunk.len()]
}

/// Seals one chunk as a caller would: into its own buffer, stored under the object's name.
fn seal_one(sealer: &Sealer, disk: &[u8], chunk: Chunk, store: &Mutex<HashMap<String, Vec<u8>>>) -> ChunkRecord {
    let plain = bytes_of(disk, &chunk);
    if is_zero(plain) {
        return sealer.zero(chunk);
    }
    // The room behind the chunk holds junk: it must not get into the snapshot.
    let mut buf = vec![0xEE; chunk.padded_len()];
    buf[..chunk.len()].copy_from_slice(plain);
    let record = sealer.seal_chunk(chunk, &mut buf).expect("seals");
    store.lock().expect("no panic").insert(record.object_name(), buf);
    record
}

#[test]
fn chunks_sealed_in_parallel_and_any_order_open_again() {
    let disk = disk_of(LEN, 11);
    for suite in SUITES {
        let (engine, policy) = small_chunks(suite);
        let sealer = engine.sealer(Geometry::disk(LEN as u64), &policy).expect("a sealer");
        assert_eq!(sealer.chunks().len(), 51);
        let store = Mutex::new(HashMap::new());
        let mut records: Vec<_> =
            sealer.chunks().into_par_iter().map(|chunk| seal_one(&sealer, &disk, chunk, &store)).collect();
        // An order that is neither the disk's nor its reverse.
        records.sort_by_key(|record| record.index().wrapping_mul(0x9E37_79B9_7F4A_7C15));
        assert!(records.iter().any(ChunkRecord::is_hole) && records.iter().any(|record| !record.is_hole()));
        let header = sealer.header().to_vec();
        let trailer = sealer.finish(records).expect("finishes");
        let store = store.into_inner().expect("no panic");

        let opener = engine.open_parts(&header, trailer.as_bytes()).expect("opens");
        assert_eq!((opener.disk_len(), opener.root()), (LEN as u64, trailer.root()));
        let out = Mutex::new(vec![1_u8; LEN]);
        opener.chunks().into_par_iter().for_each(|chunk| {
            let mut buf = match opener.object_name(chunk).expect("a record") {
                Some(name) => store[&name].clone(),
                None => vec![0xAA; chunk.padded_len()],
            };
            opener.open_chunk(chunk, &mut buf).expect("opens");
            let start = usize::try_from(chunk.offset()).expect("small");
            out.lock().expect("no panic")[start..start + chunk.len()].copy_from_slice(&buf[..chunk.len()]);
        });
        assert!(out.into_inner().expect("no panic") == disk, "{suite}");
    }
}

#[test]
fn parts_put_together_are_a_snapshot() {
    // What the chunk API makes and what a file holds are the same format.
    let disk = disk_of(LEN, 3);
    for suite in SUITES {
        let (engine, policy) = small_chunks(suite);
        let sealer = engine.sealer(Geometry::disk(LEN as u64), &policy).expect("a sealer");
        let store = Mutex::new(HashMap::new());
        let records: Vec<_> = sealer.chunks().map(|chunk| seal_one(&sealer, &disk, chunk, &store)).collect();
        let mut file = [sealer.header(), sealer.header()].concat();
        for record in &records {
            if let Some(bytes) = store.lock().expect("no panic").get(&record.object_name()) {
                file.extend_from_slice(bytes);
            }
        }
        let trailer = sealer.finish(records).expect("finishes");
        // One page only, so everything behind FIXED follows the data.
        file.extend_from_slice(&trailer.as_bytes()[1024..]);
        let reader = engine.open(file.as_slice()).expect("opens");
        let mut out = vec![1; LEN];
        reader.read_at(&mut out, 0).expect("reads");
        assert!(out == disk, "{suite}");
        assert_eq!(
            engine.verify(file.as_slice(), 1, &sobre::engine::Control::default()).expect("whole").root,
            *trailer.root()
        );
        let opener = engine.open_parts(&file[..2 * HEAD_LEN], trailer.as_bytes()).expect("both heads do as well");
        for chunk in opener.chunks() {
            if let Some(range) = opener.stored_range(chunk).expect("a record") {
                let range = usize::try_from(range.start).expect("small")..usize::try_from(range.end).expect("small");
                let mut buf = file[range].to_vec();
                opener.open_chunk(chunk, &mut buf).expect("where the file has it");
            }
        }
    }
}

#[test]
fn forgotten_repeated_and_foreign_records_are_refused() {
    let (engine, policy) = small_chunks(Suite::XtsGmac);
    let sealer = || engine.sealer(Geometry::disk(5 * 65536), &policy).expect("a sealer");
    let holes = |sealer: &Sealer| sealer.chunks().map(|chunk| sealer.zero(chunk)).collect::<Vec<_>>();
    for forgotten in 0..5 {
        let sealer = sealer();
        let mut records = holes(&sealer);
        records.remove(forgotten);
        match sealer.finish(records) {
            Err(Error::IncompleteChunks(chunk)) => assert_eq!(chunk, forgotten as u64),
            other => panic!("{other:?}"),
        }
    }
    for repeated in 0..5 {
        let sealer = sealer();
        let mut records = holes(&sealer);
        records.push(records[repeated]);
        match sealer.finish(records) {
            Err(Error::DuplicateChunk(chunk)) => assert_eq!(chunk, repeated as u64),
            other => panic!("{other:?}"),
        }
    }
    for foreign in 0..5 {
        let (sealer, other) = (sealer(), sealer());
        let mut records = holes(&sealer);
        records[foreign] = other.zero(other.chunk(foreign as u64).expect("inside"));
        let error = sealer.finish(records).expect_err("foreign");
        assert!(matches!(error, Error::Foreign), "{error}");
        assert_eq!(error.kind(), ErrorKind::Damaged);
    }
    let sealer = sealer();
    assert!(matches!(sealer.finish(Vec::new()), Err(Error::IncompleteChunks(0))));
}

#[test]
fn a_short_chunk_inside_a_stream_is_refused() {
    let (engine, policy) = small_chunks(Suite::XtsBlake3);
    let sealer = engine.sealer(Geometry::stream(), &policy).expect("a sealer");
    let records: Vec<_> = [(0, 100), (1, 65536)]
        .into_iter()
        .map(|(index, len)| {
            let chunk = sealer.stream_chunk(index, len).expect("a chunk");
            sealer.seal_chunk(chunk, &mut vec![1; chunk.padded_len()]).expect("seals")
        })
        .collect();
    // A manifest of these would never open: the hole in the disk must be found now.
    assert!(matches!(sealer.finish(records), Err(Error::IncompleteChunks(0))));
}

#[test]
fn a_stream_ends_with_its_last_record() {
    for len in [0, 1, 65535, 65536, 65537, 3 * 65536 + 9] {
        let disk = vec![5; len];
        let (engine, policy) = small_chunks(Suite::XtsGcm);
        let sealer = engine.sealer(Geometry::stream(), &policy).expect("a sealer");
        assert_eq!(sealer.chunks().count(), 0);
        assert_eq!(sealer.chunk(0), None);
        let mut store = Vec::new();
        let records: Vec<_> = (0..)
            .zip(disk.chunks(65536))
            .map(|(index, bytes)| {
                let chunk = sealer.stream_chunk(index, bytes.len()).expect("a chunk");
                let mut buf = bytes.to_vec();
                buf.resize(chunk.padded_len(), 0);
                let record = sealer.seal_chunk(chunk, &mut buf).expect("seals");
                store.push(buf);
                record
            })
            .collect();
        let header = sealer.header().to_vec();
        let trailer = sealer.finish(records).expect("finishes");
        let opener = engine.open_parts(&header, trailer.as_bytes()).expect("opens");
        assert_eq!(opener.disk_len(), len as u64);
        for (chunk, mut buf) in opener.chunks().zip(store) {
            opener.open_chunk(chunk, &mut buf).expect("opens");
            assert!(buf[..chunk.len()].iter().all(|&byte| byte == 5));
        }
    }
}

#[test]
fn stream_chunks_have_limits() {
    let (engine, policy) = small_chunks(Suite::XtsBlake3);
    let sealer = engine.sealer(Geometry::stream(), &policy).expect("a sealer");
    for (index, len) in [(0, 0), (0, 65537), (1 << 28, 1), (u64::MAX, 1)] {
        let error = sealer.stream_chunk(index, len).expect_err("no chunk");
        assert!(matches!(error, Error::Policy(PolicyError::DiskLength { .. })), "{error}");
    }
    sealer.stream_chunk((1 << 28) - 1, 65536).expect("the last one that can be");
    let sealer = engine.sealer(Geometry::stream(), &policy.sector_size(SectorSize::Bytes4096)).expect("a sealer");
    for len in [1, 512, 4095, 4097] {
        assert!(matches!(sealer.stream_chunk(0, len), Err(Error::Policy(PolicyError::DiskLength { .. }))));
    }
    sealer.stream_chunk(0, 8192).expect("two sectors");
}

#[test]
fn a_buffer_of_another_length_is_refused_untouched() {
    for suite in SUITES {
        let (engine, policy) = small_chunks(suite);
        let sealer = engine.sealer(Geometry::disk(65536 + 1), &policy).expect("a sealer");
        let chunks: Vec<_> = sealer.chunks().collect();
        assert_eq!((chunks[1].len(), chunks[1].padded_len()), (1, 512));
        for (chunk, wrong) in
            [(chunks[0], 65535), (chunks[0], 65537), (chunks[0], 0), (chunks[1], 1), (chunks[1], 1024)]
        {
            let mut buf = vec![7; wrong];
            match sealer.seal_chunk(chunk, &mut buf) {
                Err(Error::BufferLength { found, expected }) => {
                    assert_eq!((found, expected), (wrong, chunk.padded_len()));
                }
                other => panic!("{other:?}"),
            }
            assert!(buf.iter().all(|&byte| byte == 7), "plaintext was touched");
        }
        let records: Vec<_> = chunks.iter().map(|chunk| sealer.zero(*chunk)).collect();
        let header = sealer.header().to_vec();
        let trailer = sealer.finish(records).expect("finishes");
        let opener = engine.open_parts(&header, trailer.as_bytes()).expect("opens");
        for (chunk, wrong) in [(chunks[0], 65535), (chunks[1], 1)] {
            let error = opener.open_chunk(chunk, &mut vec![0; wrong]).expect_err("a wrong length");
            assert!(matches!(error, Error::BufferLength { .. }), "{error}");
        }
    }
}

#[test]
fn a_buffer_whose_tag_fails_is_zeroed() {
    let disk = disk_of(65536 * 2, 5);
    for suite in SUITES {
        let (engine, policy) = small_chunks(suite);
        let sealer = engine.sealer(Geometry::disk(disk.len() as u64), &policy).expect("a sealer");
        let store = Mutex::new(HashMap::new());
        let records: Vec<_> =
            sealer.chunks().map(|chunk| seal_one(&sealer, &vec![9; disk.len()], chunk, &store)).collect();
        let stored: Vec<_> =
            records.iter().map(|record| store.lock().expect("ok")[&record.object_name()].clone()).collect();
        let header = sealer.header().to_vec();
        let trailer = sealer.finish(records).expect("finishes");
        let opener = engine.open_parts(&header, trailer.as_bytes()).expect("opens");
        for at in [0, 1, 15, 16, 511, 512, 65535] {
            let mut buf = stored[0].clone();
            buf[at] ^= 0x80;
            let error = opener.open_chunk(opener.chunk(0).expect("inside"), &mut buf).expect_err("damaged");
            assert_eq!(named(&error), "chunk-0 tag");
            assert!(is_zero(&buf), "{suite}: unverified bytes were released");
        }
        // The right bytes in another place are as wrong.
        let mut buf = stored[0].clone();
        assert_eq!(
            named(&opener.open_chunk(opener.chunk(1).expect("inside"), &mut buf).expect_err("moved")),
            "chunk-1 tag"
        );
        assert!(is_zero(&buf));
    }
}

#[test]
fn a_chunk_sealed_again_never_repeats_a_nonce() {
    for suite in SUITES {
        let (engine, policy) = small_chunks(suite);
        let sealer = engine.sealer(Geometry::disk(3 * 65536), &policy).expect("a sealer");
        let chunk = sealer.chunk(1).expect("inside");
        let seal = |byte: u8| {
            let mut buf = vec![byte; chunk.padded_len()];
            (sealer.seal_chunk(chunk, &mut buf).expect("seals"), buf)
        };
        let (first, stored) = seal(1);
        let (second, again) = seal(1);
        let (third, _) = seal(2);
        assert_ne!(first.object_name(), third.object_name());
        if suite == Suite::XtsBlake3 {
            // No nonce: the same bytes are the same object.
            assert_eq!(first.object_name(), second.object_name());
            assert_eq!(stored, again);
            continue;
        }
        let nonces: Vec<_> = [&first, &second, &third].map(|record| record.object_name()[9..33].to_owned()).into();
        assert_ne!(nonces[0], nonces[1], "{suite}");
        assert_ne!(nonces[0], nonces[2], "{suite}: one nonce for two contents");
        assert_ne!(nonces[1], nonces[2], "{suite}: one nonce for two contents");
        // Whichever of them is recorded is the one that opens.
        let records =
            [sealer.zero(sealer.chunk(0).expect("inside")), second, sealer.zero(sealer.chunk(2).expect("inside"))];
        let header = sealer.header().to_vec();
        let trailer = sealer.finish(records).expect("finishes");
        let opener = engine.open_parts(&header, trailer.as_bytes()).expect("opens");
        let mut buf = again;
        opener.open_chunk(chunk, &mut buf).expect("opens");
        assert!(buf.iter().all(|&byte| byte == 1));
    }
}

#[test]
fn another_host_goes_on_from_the_header() {
    let disk = disk_of(LEN, 23);
    for suite in SUITES {
        let (engine, policy) = small_chunks(suite);
        let store = Mutex::new(HashMap::new());
        let sealer = engine.sealer(Geometry::disk(LEN as u64), &policy).expect("a sealer");
        let mut records: Vec<_> =
            sealer.chunks().take(20).map(|chunk| seal_one(&sealer, &disk, chunk, &store)).collect();
        let header = sealer.header().to_vec();
        drop(sealer);
        let host = engine_with(&[CUSTOMER, PLATFORM]);
        let sealer = host.resume(&header, Geometry::disk(LEN as u64)).expect("resumes");
        assert_eq!(sealer.header(), header);
        records.extend(sealer.chunks().skip(20).map(|chunk| seal_one(&sealer, &disk, chunk, &store)));
        let trailer = sealer.finish(records).expect("finishes");
        let store = store.into_inner().expect("no panic");
        let opener = engine.open_parts(&header, trailer.as_bytes()).expect("opens");
        for chunk in opener.chunks() {
            let Some(name) = opener.object_name(chunk).expect("a record") else { continue };
            let mut buf = store[&name].clone();
            opener.open_chunk(chunk, &mut buf).expect("opens");
            assert_eq!(&buf[..chunk.len()], bytes_of(&disk, &chunk));
        }
    }
}

#[test]
fn a_host_without_the_keys_can_not_go_on() {
    for (suite, layer) in [(Suite::XtsBlake3, 1), (Suite::XtsGcm, 2)] {
        let (engine, policy) = small_chunks(suite);
        let sealer = engine.sealer(Geometry::disk(65536), &policy).expect("a sealer");
        let key = if layer == 1 { PLATFORM } else { CUSTOMER };
        let error = engine_with(&[key]).resume(sealer.header(), Geometry::disk(65536)).expect_err("no key");
        assert_eq!(named(&error), format!("key-missing {layer}"));
        let mut damaged = sealer.header().to_vec();
        damaged[2000] ^= 1;
        assert_eq!(named(&engine.resume(&damaged, Geometry::disk(65536)).expect_err("damaged")), "head-a check");
        assert_eq!(named(&engine.resume(&damaged[..100], Geometry::disk(1)).expect_err("cut")), "head-a truncated");
    }
}

#[test]
fn a_manifest_of_another_snapshot_is_foreign() {
    let (engine, policy) = small_chunks(Suite::XtsBlake3);
    let made = || {
        let sealer = engine.sealer(Geometry::disk(65536), &policy).expect("a sealer");
        let records: Vec<_> = sealer.chunks().map(|chunk| sealer.zero(chunk)).collect();
        (sealer.header().to_vec(), sealer.finish(records).expect("finishes"))
    };
    let ((header, trailer), (_, other)) = (made(), made());
    engine.open_parts(&header, trailer.as_bytes()).expect("its own");
    assert!(matches!(engine.open_parts(&header, other.as_bytes()), Err(Error::Foreign)));
}

#[test]
fn every_cut_flip_and_tail_of_a_manifest_is_refused() {
    let (engine, policy) = small_chunks(Suite::XtsGmac);
    let sealer = engine.sealer(Geometry::disk(3 * 65536), &policy).expect("a sealer");
    let store = Mutex::new(HashMap::new());
    let records: Vec<_> = sealer.chunks().map(|chunk| seal_one(&sealer, &[3; 3 * 65536], chunk, &store)).collect();
    let header = sealer.header().to_vec();
    let trailer = sealer.finish(records).expect("finishes");
    let good = trailer.as_bytes();
    // Pages are read when they are needed: the last step of opening.
    let check = |manifest: &[u8]| {
        let opener = engine.open_parts(&header, manifest)?;
        opener.chunks().try_for_each(|chunk| opener.stored_range(chunk).map(|_| ()))
    };
    check(good).expect("the good one");
    for cut in (0..good.len()).step_by(7).chain([good.len() - 1]) {
        let error = check(&good[..cut]).expect_err("cut");
        assert_eq!(error.kind(), ErrorKind::Damaged, "cut at {cut}: {error}");
    }
    for at in (0..1024).step_by(31).chain(1024..good.len()) {
        let mut bad = good.to_vec();
        bad[at] ^= 1 << (at % 8);
        let error = check(&bad).map(|()| at).expect_err("changed");
        assert_eq!(error.kind(), ErrorKind::Damaged, "changed at {at}: {error}");
    }
    for tail in [&[0][..], &good[good.len() - 192..], good] {
        let error = check(&[good, tail].concat()).expect_err("longer");
        assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    }
}
