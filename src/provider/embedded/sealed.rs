//! Small secrets under AES-256-GCM, and keys from passphrases.

use std::fmt;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use zeroize::Zeroize;

use crate::aead::{AeadError, Gcm256, NONCE_LEN, TAG_LEN};
use crate::provider::embedded::VaultError;
use crate::random::Random;
use crate::secret::SecretBytes;

/// What sealing adds to a secret, in bytes: nonce in front, tag behind.
pub(super) const OVERHEAD: usize = NONCE_LEN + TAG_LEN;
/// Length of the salts for passphrases and key files, in bytes.
pub(super) const SALT_LEN: usize = 32;

/// Seals `secret`: `nonce | ciphertext | tag`, with a random nonce.
pub(super) fn seal(key: &Gcm256, aad: &[u8], secret: &SecretBytes, random: &dyn Random) -> Result<Vec<u8>, VaultError> {
    let mut nonce = [0; NONCE_LEN];
    random.fill(&mut nonce)?;
    // Encrypted in locked memory first: a vector would hold the secret in clear for a moment.
    let mut work = SecretBytes::copied_from(secret.expose());
    let tag = key.seal(&nonce, aad, work.expose_mut()).map_err(|AeadError| VaultError::Random)?;
    Ok([nonce.as_slice(), work.expose(), &tag].concat())
}

/// Opens what [`seal`] made.
pub(super) fn unseal(key: &Gcm256, aad: &[u8], sealed: &[u8]) -> Result<SecretBytes, AeadError> {
    let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(AeadError)?;
    let (ciphertext, tag) = rest.split_last_chunk::<TAG_LEN>().ok_or(AeadError)?;
    let mut secret = SecretBytes::copied_from(ciphertext);
    key.open(nonce, aad, tag, secret.expose_mut())?;
    Ok(secret)
}

/// How costly it is to try a passphrase: Argon2id (RFC 9106), version 0x13.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassphraseCost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl PassphraseCost {
    /// Checks the parameters; `None` below 19 MiB (with 2 passes what OWASP calls the least) or above 1 GiB, 16 lanes
    /// or 4 GiB written in all passes together.
    pub fn new(memory_kib: u32, passes: u32, lanes: u32) -> Option<Self> {
        let cost = Self::read(memory_kib, passes, lanes)?;
        (memory_kib >= LEAST_MEMORY_KIB && u64::from(memory_kib) * u64::from(passes) >= LEAST_WORK_KIB).then_some(cost)
    }

    /// Takes parameters from a file, which may be hostile: at most 1 GiB, 16 lanes, and 4 GiB written in all passes together, about
    /// ten seconds.
    pub(super) fn read(memory_kib: u32, passes: u32, lanes: u32) -> Option<Self> {
        let work = u64::from(memory_kib) * u64::from(passes);
        let bounded = (1..=MOST_LANES).contains(&lanes)
            && (8 * lanes..=MOST_MEMORY_KIB).contains(&memory_kib)
            && passes >= 1
            && work <= MOST_WORK_KIB;
        bounded.then_some(Self { memory_kib, passes, lanes })
    }

    /// Returns memory in KiB, passes and lanes.
    pub fn parameters(self) -> (u32, u32, u32) {
        (self.memory_kib, self.passes, self.lanes)
    }

    /// Derives 32 bytes from a passphrase.
    pub(super) fn stretch(self, passphrase: &SecretBytes, salt: &[u8]) -> Result<SecretBytes, StretchError> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).map_err(|_| StretchError)?;
        let mut blocks = Vec::new();
        blocks.try_reserve_exact(params.block_count()).map_err(|_| StretchError)?;
        blocks.resize(params.block_count(), Block::default());
        let mut key = SecretBytes::zeroed(32);
        let result = Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password_into_with_memory(
            passphrase.expose(),
            salt,
            key.expose_mut(),
            &mut blocks,
        );
        // The last blocks give the key away.
        for block in &mut blocks {
            AsMut::<[u64]>::as_mut(block).zeroize();
        }
        result.map(|()| key).map_err(|_| StretchError)
    }
}

impl Default for PassphraseCost {
    /// The second recommendation of RFC 9106 §4: 64 MiB, 3 passes, 4 lanes.
    fn default() -> Self {
        Self { memory_kib: 64 * 1024, passes: 3, lanes: 4 }
    }
}

impl fmt::Display for PassphraseCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "argon2id m={},t={},p={}", self.memory_kib, self.passes, self.lanes)
    }
}

/// Argon2 failed: no memory, or a passphrase of more than 4 GiB.
#[derive(Clone, Copy, Debug)]
pub(super) struct StretchError;

const LEAST_MEMORY_KIB: u32 = 19 * 1024;
const LEAST_WORK_KIB: u64 = 2 * 19 * 1024;
const MOST_MEMORY_KIB: u32 = 1024 * 1024;
const MOST_WORK_KIB: u64 = 4 * 1024 * 1024;
const MOST_LANES: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_cost_is_refused_before_memory_is_taken() {
        for (memory, passes, lanes) in [
            (u32::MAX, 1, 1),
            (1024 * 1024 + 1, 1, 1),
            (1024 * 1024, 5, 1),
            (65536, u32::MAX, 1),
            (65536, 0, 1),
            (65536, 3, 0),
            (65536, 3, 17),
            (31, 1, 4),
        ] {
            assert_eq!(PassphraseCost::read(memory, passes, lanes), None, "{memory} {passes} {lanes}");
        }
        let (memory, passes, lanes) = PassphraseCost::default().parameters();
        assert_eq!(PassphraseCost::new(memory, passes, lanes), Some(PassphraseCost::default()));
        assert_eq!(PassphraseCost::new(8, 1, 1), None);
    }

    #[test]
    fn argon2id_is_that_of_the_reference_implementation() {
        // phc-winner-argon2 20190702, src/test.c: hashtest(0x13, 2, 8, 1, "password", "somesalt", ..., Argon2_id).
        let cost = PassphraseCost { memory_kib: 256, passes: 2, lanes: 1 };
        let key = cost.stretch(&SecretBytes::copied_from(b"password"), b"somesalt").expect("stretches");
        let text: String = key.expose().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text, "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe");
    }
}
