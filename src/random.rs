//! Random bytes, behind a trait so that vectors can be reproduced.

use std::fmt;

use crate::secret::SecretBytes;

/// Fills buffers with random bytes.
pub trait Random: fmt::Debug + Send + Sync {
    /// Fills `out` completely.
    ///
    /// # Errors
    ///
    /// [`RandomError`] when the source has failed; `out` must not be used then.
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomError>;
}

/// AWS-LC's generator (CTR_DRBG, SP 800-90A, seeded by the operating system).
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomError> {
        aws_lc_rs::rand::fill(out).map_err(|_| RandomError)
    }
}

/// The system gave no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RandomError;

impl fmt::Display for RandomError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the random generator failed")
    }
}

impl std::error::Error for RandomError {}

/// Makes a secret of `len` random bytes, filled in place.
///
/// # Errors
///
/// [`RandomError`] when the source has failed.
pub fn random_secret(random: &dyn Random, len: usize) -> Result<SecretBytes, RandomError> {
    let mut secret = SecretBytes::zeroed(len);
    random.fill(secret.expose_mut())?;
    Ok(secret)
}
