//! sobre

mod aead;
pub mod clock;
pub mod engine;
pub mod format;
mod integrity;
pub mod io;
mod kdf;
pub mod key;
#[cfg(feature = "store")]
pub mod manage;
pub mod oaep;
pub mod provider;
pub mod random;
pub mod secret;
#[cfg(test)]
mod testing;
pub mod xts;

pub use engine::{Engine, Error, ErrorKind};
