//! sobre

mod aead;
pub mod clock;
mod integrity;
pub mod io;
mod kdf;
pub mod key;
pub mod oaep;
pub mod provider;
pub mod random;
pub mod secret;
#[cfg(test)]
mod testing;
pub mod xts;
