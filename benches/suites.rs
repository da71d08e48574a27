//! XTS with integrity over one chunk: GMAC in the same pass, in a second one, by the crate `aes-gcm`; BLAKE3.
//!
//! `cargo bench --bench suites`

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use aws_lc_rs::aead::{self, AES_256_GCM, Aad, LessSafeKey, UnboundKey};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sobre::secret::SecretBytes;
use sobre::xts::{SectorSize, Xts256, XtsGmac};

fn suites(criterion: &mut Criterion) {
    let key = || SecretBytes::taken_from((0..64).collect());
    let mac = || SecretBytes::taken_from((0..32).collect());
    let mut data = vec![0x5a; LEN];
    let mut group = criterion.benchmark_group("xts-512 and integrity");
    group.throughput(Throughput::Bytes(LEN as u64));
    let xts = Xts256::new(&key()).expect("a good key");
    group.bench_function("xts alone", |bencher| {
        bencher.iter(|| xts.encrypt_sectors(SectorSize::Bytes512, 0, &mut data).expect("whole sectors"));
    });
    if let Some(fused) = XtsGmac::new(&key(), &mac()).expect("good keys") {
        group.bench_function("xts and gmac in one pass", |bencher| {
            bencher
                .iter(|| fused.encrypt_sectors(SectorSize::Bytes512, 0, &[0; 12], &mut data).expect("whole sectors"));
        });
    }
    let unbound = UnboundKey::new(&AES_256_GCM, mac().expose()).expect("32 bytes");
    let gmac = LessSafeKey::new(unbound);
    group.bench_function("xts, then gmac by aws-lc", |bencher| {
        bencher.iter(|| {
            xts.encrypt_sectors(SectorSize::Bytes512, 0, &mut data).expect("whole sectors");
            let nonce = aead::Nonce::assume_unique_for_key([0; 12]);
            gmac.seal_in_place_separate_tag(nonce, Aad::from(&data[..]), &mut []).expect("short enough")
        });
    });
    group.bench_function("xts, then blake3", |bencher| {
        bencher.iter(|| {
            xts.encrypt_sectors(SectorSize::Bytes512, 0, &mut data).expect("whole sectors");
            blake3::hash(&data)
        });
    });
    let gcm = Aes256Gcm::new_from_slice(mac().expose()).expect("32 bytes");
    group.bench_function("xts, then gmac by the crate aes-gcm", |bencher| {
        bencher.iter(|| {
            xts.encrypt_sectors(SectorSize::Bytes512, 0, &mut data).expect("whole sectors");
            gcm.encrypt_inout_detached(&Nonce::default(), &data, (&mut [][..]).into()).expect("short enough")
        });
    });
    group.finish();
}

const LEN: usize = 256 << 10;

criterion_group!(benches, suites);
criterion_main!(benches);
