//! The key schedule (SPEC §4).

use crate::format::blob::{Layer, LayerSecret};
use crate::format::{HeaderHash, Suite};
use crate::kdf;
use crate::secret::SecretBytes;

/// Keys that one layer's secret gives alone.
#[derive(Debug)]
pub struct LayerKeys {
    /// Authenticates the layer's section.
    pub envelope: SecretBytes,
    prk: SecretBytes,
}

impl LayerKeys {
    /// Derives them.
    pub fn derive(secret: &LayerSecret, hash: &HeaderHash) -> Self {
        let prk = secret.pseudo_random_key(hash);
        Self { envelope: kdf::expand(&prk, "sobre/1 envelope"), prk }
    }
}

/// Keys of a snapshot that need all layers.
#[derive(Debug)]
pub struct Keys {
    /// Authenticates pages.
    pub page: SecretBytes,
    /// Authenticates the footer.
    pub footer: SecretBytes,
    /// Authenticates chunks in suite `xts-gmac`.
    pub gmac: SecretBytes,
    /// Encrypts layer 2 in suite `xts-gcm`.
    pub gcm: SecretBytes,
    /// Encrypts layer 1: 64 bytes.
    pub xts: SecretBytes,
}

impl Keys {
    /// Derives them from layer 1 and, where the suite has one, layer 2. `None` when a layer is missing or in the other's place.
    pub fn derive(suite: Suite, layers: &[(LayerSecret, LayerKeys)]) -> Option<Self> {
        let find = |layer| layers.iter().find(|(secret, _)| secret.layer() == layer);
        let (inner, inner_keys) = find(Layer::Inner)?;
        let xts = inner.xts_key();
        if suite.layers() == 1 {
            return Some(Self::from_prk(&inner_keys.prk, SecretBytes::zeroed(0), xts));
        }
        let (_, outer_keys) = find(Layer::Outer)?;
        let prk = kdf::extract(inner_keys.prk.expose(), &[], &outer_keys.prk);
        Some(Self::from_prk(&prk, kdf::expand(&outer_keys.prk, "sobre/1 gcm"), xts))
    }

    fn from_prk(prk: &SecretBytes, gcm: SecretBytes, xts: SecretBytes) -> Self {
        Self {
            page: kdf::expand(prk, "sobre/1 page"),
            footer: kdf::expand(prk, "sobre/1 footer"),
            gmac: kdf::expand(prk, "sobre/1 gmac"),
            gcm,
            xts,
        }
    }
}
