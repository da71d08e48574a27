//! XTS over 256 KiB in place, one core: our kernels, `xts-mode`, AWS-LC and OpenSSL.
//!
//! `cargo bench --features __peers --bench xts`. For ratios see `bounds`, which interleaves the candidates.

#[path = "peers/aws_lc.rs"]
mod aws_lc;
#[path = "peers/openssl.rs"]
mod openssl;
#[path = "peers/xts_mode.rs"]
mod xts_mode;

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sobre::secret::SecretBytes;
use sobre::xts::{Backend, Roofline, SectorSize, Xts256};

fn xts(criterion: &mut Criterion) {
    let key: [u8; 64] = std::array::from_fn(|number| number as u8);
    let mut data = vec![0x5a; LEN];
    for (direction, encrypt) in [("encrypt", true), ("decrypt", false)] {
        let mut group = criterion.benchmark_group(format!("rounds alone/{direction}"));
        group.throughput(Throughput::Bytes(LEN as u64));
        for backend in Backend::available() {
            let roofline = Roofline::new(backend).expect("an available backend");
            group.bench_function(backend.name(), |bencher| {
                bencher.iter(|| if encrypt { roofline.encrypt(&mut data) } else { roofline.decrypt(&mut data) });
            });
        }
        group.finish();
        for sector in [SectorSize::Bytes512, SectorSize::Bytes4096] {
            let size = sector.bytes();
            let mut group = criterion.benchmark_group(format!("xts-{size}/{direction}"));
            group.throughput(Throughput::Bytes(LEN as u64));
            for backend in Backend::available() {
                let key = SecretBytes::taken_from(key.to_vec());
                let xts = Xts256::with_backend(&key, backend).expect("an available backend");
                group.bench_function(backend.name(), |bencher| {
                    bencher.iter(|| {
                        let done = if encrypt {
                            xts.encrypt_sectors(sector, 0, &mut data)
                        } else {
                            xts.decrypt_sectors(sector, 0, &mut data)
                        };
                        done.expect("whole sectors");
                    });
                });
            }
            let mut aws_lc = aws_lc::AwsLcXts::new(&key, encrypt);
            group.bench_function("aws-lc", |bencher| bencher.iter(|| aws_lc.sectors(size, 0, &mut data)));
            let mut openssl = openssl::OpenSslXts::new(&key, encrypt);
            group.bench_function("openssl", |bencher| bencher.iter(|| openssl.sectors(size, 0, &mut data)));
            let xts_mode = xts_mode::XtsMode::new(&key);
            group.bench_function("xts-mode", |bencher| {
                bencher.iter(|| {
                    if encrypt {
                        xts_mode.encrypt(size, 0, &mut data);
                    } else {
                        xts_mode.decrypt(size, 0, &mut data);
                    }
                });
            });
            group.finish();
            black_box(&data);
        }
    }
}

/// The default chunk, in the second-level cache.
const LEN: usize = 256 << 10;

criterion_group!(benches, xts);
criterion_main!(benches);
