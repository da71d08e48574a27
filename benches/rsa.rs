//! RSA-OAEP-256 wraps and unwraps: ours, and the crate `rsa` that serves as an oracle.
//!
//! `cargo bench --bench rsa`

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rsa::pkcs8::DecodePrivateKey;
use sobre::oaep::{RsaPrivateKey, WrapAlgorithm};
use sobre::secret::SecretBytes;

fn oaep(criterion: &mut Criterion) {
    for bits in [2048, 3072, 4096] {
        let private = RsaPrivateKey::generate(bits).expect("a key");
        let public = private.public().expect("its public half");
        let secret = SecretBytes::taken_from(vec![0x5a; 100]);
        let wrapped = public.encrypt(WrapAlgorithm::RsaOaep256, &secret).expect("a short secret");
        let der = private.to_pkcs8_der().expect("PKCS#8");
        let other = rsa::RsaPrivateKey::from_pkcs8_der(der.expose()).expect("the same key");

        let mut group = criterion.benchmark_group(format!("rsa-oaep-256/{bits}"));
        group.throughput(Throughput::Elements(1)).sample_size(20);
        group.bench_function("wrap", |bencher| bencher.iter(|| public.encrypt(WrapAlgorithm::RsaOaep256, &secret)));
        group.bench_function("unwrap", |bencher| bencher.iter(|| private.decrypt(WrapAlgorithm::RsaOaep256, &wrapped)));
        group.bench_function("unwrap by the crate rsa", |bencher| {
            bencher.iter(|| other.decrypt(rsa::Oaep::<sha2::Sha256>::new(), &wrapped).expect("its own key"));
        });
        group.finish();
    }
}

criterion_group!(benches, oaep);
criterion_main!(benches);
