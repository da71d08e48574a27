//! What several integration tests share.

#![allow(dead_code, reason = "every test binary uses its own part")]

use std::path::PathBuf;
use std::sync::Arc;

use sobre::Engine;
use sobre::engine::{LayerPolicy, SealPolicy, WrappingKey};
use sobre::format::Suite;
use sobre::provider::{KeyProvider, PemFiles};

/// Path of a test key in `vectors/keys`.
pub fn test_key(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/keys").join(name)
}

/// An engine that holds the private keys of these files.
pub fn engine_with(keys: &[&str]) -> Engine {
    let mut files = PemFiles::new();
    for key in keys {
        files.add(&test_key(key)).expect("a test key");
    }
    Engine::new(vec![Arc::new(files)])
}

/// A layer wrapped under these keys.
pub fn layer(keys: &[&str]) -> LayerPolicy {
    let mut files = PemFiles::new();
    let versions: Vec<_> = keys.iter().map(|key| files.add(&test_key(key)).expect("a test key")).collect();
    let provider: Arc<dyn KeyProvider> = Arc::new(files);
    let keys = versions.into_iter().map(|version| WrappingKey { provider: Arc::clone(&provider), version }).collect();
    LayerPolicy::new(keys).expect("a policy")
}

/// An engine and a policy for a suite, with one key a layer.
pub fn policy_for(suite: Suite) -> (Engine, SealPolicy) {
    let engine = engine_with(&[CUSTOMER, PLATFORM]);
    let policy = if suite == Suite::XtsGcm {
        SealPolicy::double(layer(&[CUSTOMER]), layer(&[PLATFORM]))
    } else {
        SealPolicy::new(layer(&[CUSTOMER])).suite(suite).expect("one layer")
    };
    (engine, policy)
}

/// Test data with holes: about half of every 64 KiB stretch is zero.
pub fn disk_of(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut disk = vec![0; len];
    for (number, stretch) in disk.chunks_mut(65536).enumerate() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        if state % 3 == 0 && number > 0 {
            continue;
        }
        for byte in stretch.iter_mut() {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (state >> 56) as u8;
        }
    }
    disk
}

pub const CUSTOMER: &str = "test-rsa2048.pkcs8.pem";
pub const PLATFORM: &str = "test-rsa3072.pkcs8.pem";
