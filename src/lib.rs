//! Envelope encryption for disk snapshots.
//!
//! An [`Engine`] turns disks into snapshots and back: [`Engine::sealer`] and [`engine::Opener`] work on chunks in place, without I/O;
//! [`Engine::seal`] and [`Engine::open_whole`] carry whole files, devices and pipes; [`Engine::open`] reads at any offset. Keys come from
//! [`provider`]s: an embedded vault, PEM files, or PKCS#11 tokens. [`mod@format`] is the container, [`xts`] the kernels, [`measure`]
//! what they reach here.
//!
//! ```
//! use std::sync::Arc;
//! use sobre::engine::{Geometry, LayerPolicy, SealPolicy, WrappingKey};
//! use sobre::provider::PemFiles;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/keys/test-rsa2048.pkcs8.pem");
//! let mut files = PemFiles::new();
//! let version = files.add(path.as_ref())?;
//! let files = Arc::new(files);
//! let policy = SealPolicy::new(LayerPolicy::new(vec![WrappingKey { provider: files.clone(), version }])?);
//! let engine = sobre::Engine::new(vec![files]);
//!
//! let sealer = engine.sealer(Geometry::disk(5), &policy)?;
//! let chunk = sealer.chunk(0).expect("one chunk");
//! let mut buf = vec![0; chunk.padded_len()];
//! buf[..5].copy_from_slice(b"hello");
//! let record = sealer.seal_chunk(chunk, &mut buf)?;
//! let header = sealer.header().to_vec();
//! let manifest = sealer.finish([record])?;
//!
//! let opener = engine.open_parts(&header, manifest.as_bytes())?;
//! opener.open_chunk(chunk, &mut buf)?;
//! assert_eq!(&buf[..5], b"hello");
//! # Ok(())
//! # }
//! ```

#[cfg(not(target_os = "linux"))]
compile_error!("sobre runs on Linux: it needs SEEK_HOLE, memory locking and rename without replacement");

#[cfg(not(target_pointer_width = "64"))]
compile_error!("sobre needs 64-bit pointers");

mod aead;
pub mod audit;
#[cfg(feature = "store")]
pub mod catalog;
pub mod clock;
pub mod engine;
pub mod format;
mod integrity;
pub mod io;
mod kdf;
pub mod key;
#[cfg(feature = "store")]
pub mod manage;
pub mod measure;
pub mod oaep;
pub mod provider;
pub mod random;
pub mod secret;
#[cfg(test)]
mod testing;
pub mod xts;

pub use engine::{Engine, Error, ErrorKind};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
