//! What a KEK wraps (SPEC §3.2, BLOB).

use std::fmt;

use subtle::ConstantTimeEq;

use crate::format::{Fault, FormatError, HeaderHash, Part};
use crate::kdf;
use crate::random::{Random, RandomError};
use crate::secret::SecretBytes;

/// One of the up to two layers of encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layer {
    /// Layer 1: AES-256-XTS, the customer's where there are two.
    Inner,
    /// Layer 2: AES-256-GCM, the platform's.
    Outer,
}

impl Layer {
    /// Returns the number that the format uses.
    pub fn number(self) -> u8 {
        match self {
            Self::Inner => 1,
            Self::Outer => 2,
        }
    }

    /// Returns the layers of a suite in order.
    pub fn of(suite: crate::format::Suite) -> &'static [Self] {
        if suite.layers() == 2 { &[Self::Inner, Self::Outer] } else { &[Self::Inner] }
    }

    fn secret_len(self) -> usize {
        match self {
            Self::Inner => XTS_KEY_LEN + SEED_LEN,
            Self::Outer => SEED_LEN,
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number())
    }
}

/// The secret of one layer: `xts_key[64] | seed[32]`, or `seed[32]`, behind the tag that ties it to its snapshot.
#[derive(Debug)]
pub struct LayerSecret {
    layer: Layer,
    blob: SecretBytes,
}

impl LayerSecret {
    /// Draws a fresh secret for the snapshot whose header hashes to `hash`.
    ///
    /// # Errors
    ///
    /// [`RandomError`] when the generator fails.
    pub fn fresh(layer: Layer, hash: &HeaderHash, random: &dyn Random) -> Result<Self, RandomError> {
        let mut blob = SecretBytes::zeroed(TAG_LEN + layer.secret_len());
        let (tag, secret) = blob.expose_mut().split_at_mut(TAG_LEN);
        tag.copy_from_slice(&context_tag(layer, hash));
        random.fill(secret)?;
        // 2^-256 for a working generator: equal halves mean a broken one.
        if layer == Layer::Inner && equal_halves(secret) {
            return Err(RandomError);
        }
        Ok(Self { layer, blob })
    }

    /// Checks what a KEK unwrapped.
    ///
    /// # Errors
    ///
    /// [`Fault::Length`], [`Fault::Foreign`] for the blob of another snapshot or layer, [`Fault::EqualHalves`].
    pub fn from_blob(layer: Layer, hash: &HeaderHash, blob: SecretBytes) -> Result<Self, FormatError> {
        let error = |fault| FormatError { part: Part::Blob(layer.number()), fault };
        let expected = TAG_LEN + layer.secret_len();
        if blob.len() != expected {
            return Err(error(Fault::Length { found: blob.len() as u64, expected: expected as u64 }));
        }
        let mut found = [0; TAG_LEN];
        found.copy_from_slice(blob.expose().get(..TAG_LEN).unwrap_or_default());
        if !bool::from(found.as_slice().ct_eq(&context_tag(layer, hash))) {
            return Err(error(Fault::Foreign));
        }
        let secret = Self { layer, blob };
        if layer == Layer::Inner && equal_halves(secret.secret()) {
            return Err(error(Fault::EqualHalves));
        }
        Ok(secret)
    }

    /// Returns what is to be wrapped.
    pub fn blob(&self) -> &SecretBytes {
        &self.blob
    }

    /// Returns which layer this is the secret of.
    pub fn layer(&self) -> Layer {
        self.layer
    }

    /// Copies the XTS key out; empty for layer 2.
    pub fn xts_key(&self) -> SecretBytes {
        match self.layer {
            Layer::Inner => SecretBytes::copied_from(self.secret().get(..XTS_KEY_LEN).unwrap_or_default()),
            Layer::Outer => SecretBytes::zeroed(0),
        }
    }

    /// Returns PRK of the layer: Extract(H, layer | secret).
    pub(super) fn pseudo_random_key(&self, hash: &HeaderHash) -> SecretBytes {
        let secret = SecretBytes::copied_from(self.secret());
        kdf::extract(&hash.0, &[self.layer.number()], &secret)
    }

    fn secret(&self) -> &[u8] {
        self.blob.expose().get(TAG_LEN..).unwrap_or_default()
    }
}

fn context_tag(layer: Layer, hash: &HeaderHash) -> [u8; TAG_LEN] {
    kdf::sha256(&[b"sobre/1 dek\0", &[layer.number()], &hash.0])
}

fn equal_halves(secret: &[u8]) -> bool {
    let key = secret.get(..XTS_KEY_LEN).unwrap_or_default();
    let (data, tweak) = key.split_at(key.len() / 2);
    data.ct_eq(tweak).into()
}

const TAG_LEN: usize = 32;
const XTS_KEY_LEN: usize = 64;
const SEED_LEN: usize = 32;
