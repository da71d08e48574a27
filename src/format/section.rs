//! One layer's section of the envelope (SPEC §3.2).

use crate::clock::UnixTime;
use crate::format::blob::Layer;
use crate::format::wire::{Fields, len_u16, len_u32};
use crate::format::{Authenticated, EpochId, Fault, FormatError, Part};
use crate::kdf;
use crate::key::Thumbprint;
use crate::oaep::WrapAlgorithm;
use crate::secret::SecretBytes;

/// Who can unwrap one layer's secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The layer.
    pub layer: Layer,
    /// Sealed for a customer's key: sticky (R6).
    pub customer: bool,
    /// Goes up with every rewrap of this layer.
    pub generation: u64,
    /// When it was written.
    pub updated: UnixTime,
    /// Name of the encryption set; empty without one.
    pub set: String,
    /// Hash that identifies the source, for resume; empty where there is none.
    pub source: Vec<u8>,
    /// Wrapped secrets in order of preference: 1 to 8.
    pub entries: Vec<Entry>,
}

/// A layer's secret wrapped under one KEK or epoch key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What wrapped it, as it stands in the file; 1 is a KEK, 2 an epoch key.
    pub kind: u8,
    /// How a KEK wrapped it; `None` for an epoch key, and for an algorithm that this version does not know.
    pub algorithm: Option<WrapAlgorithm>,
    /// The code of the algorithm, as it stands in the file.
    pub algorithm_code: u16,
    /// The code of the thumbprint's algorithm; 1 is RFC 7638 with SHA-256, 2 an epoch key's id.
    pub thumbprint_code: u8,
    /// The KEK; or the id of the epoch key, and zeros.
    pub thumbprint: Thumbprint,
    /// Versioned key ids: hints that select among configured vaults.
    pub locators: Vec<String>,
    /// The wrapped blob.
    pub ciphertext: Vec<u8>,
}

impl Entry {
    /// Makes an entry for a key that has wrapped.
    pub fn new(algorithm: WrapAlgorithm, thumbprint: Thumbprint, locator: String, ciphertext: Vec<u8>) -> Self {
        let algorithm_code = match algorithm {
            WrapAlgorithm::RsaOaep256 => ALG_OAEP_256,
            WrapAlgorithm::RsaOaep => ALG_OAEP,
        };
        let locators = if locator.is_empty() || locator.len() > MAX_LOCATOR { Vec::new() } else { vec![locator] };
        Self {
            kind: ENTRY_KEK,
            algorithm: Some(algorithm),
            algorithm_code,
            thumbprint_code: THUMBPRINT_RFC7638,
            thumbprint,
            locators,
            ciphertext,
        }
    }

    /// Makes an entry for an epoch key that has wrapped.
    pub fn under_epoch(epoch: &EpochId, ciphertext: Vec<u8>) -> Self {
        Self {
            kind: ENTRY_EPOCH,
            algorithm: None,
            algorithm_code: ALG_AES_256_KWP,
            thumbprint_code: THUMBPRINT_EPOCH,
            thumbprint: epoch.in_entry(),
            locators: Vec::new(),
            ciphertext,
        }
    }

    /// Returns the epoch key that wrapped it, where this version can use the entry.
    pub fn epoch(&self) -> Option<EpochId> {
        let known = self.kind == ENTRY_EPOCH
            && self.algorithm_code == ALG_AES_256_KWP
            && self.thumbprint_code == THUMBPRINT_EPOCH;
        EpochId::from_entry(&self.thumbprint).filter(|_| known)
    }

    /// How a KEK wrapped it, where one has and this version can use the entry.
    pub fn usable(&self) -> Option<WrapAlgorithm> {
        self.algorithm.filter(|_| self.kind == ENTRY_KEK && self.thumbprint_code == THUMBPRINT_RFC7638)
    }

    fn encode(&self) -> Vec<u8> {
        let mut body = vec![self.kind];
        body.extend_from_slice(&self.algorithm_code.to_le_bytes());
        body.push(self.thumbprint_code);
        body.extend_from_slice(self.thumbprint.as_bytes());
        body.push(u8::try_from(self.locators.len()).unwrap_or(u8::MAX));
        for locator in &self.locators {
            body.extend_from_slice(&len_u16(locator.len()));
            body.extend_from_slice(locator.as_bytes());
        }
        body.extend_from_slice(&len_u16(self.ciphertext.len()));
        body.extend_from_slice(&self.ciphertext);
        let mut entry = len_u16(body.len() + 2).to_vec();
        entry.append(&mut body);
        entry
    }

    fn decode(part: Part, outer: &mut Fields<'_>) -> Result<Self, FormatError> {
        let len = outer.u16()?;
        let body_len = usize::from(len)
            .checked_sub(2)
            .ok_or_else(|| outer.error(Fault::Range { field: "entry length", value: len.into() }))?;
        let mut fields = Fields::new(part, outer.bytes(body_len)?);
        let kind = fields.u8()?;
        let algorithm_code = fields.u16()?;
        let algorithm = match algorithm_code {
            ALG_OAEP_256 => Some(WrapAlgorithm::RsaOaep256),
            ALG_OAEP => Some(WrapAlgorithm::RsaOaep),
            _ => None,
        };
        let thumbprint_code = fields.u8()?;
        let thumbprint = Thumbprint::from_bytes(fields.array()?);
        let count = fields.u8()?;
        if count > MAX_LOCATORS {
            return Err(fields.error(Fault::Range { field: "number of locators", value: count.into() }));
        }
        let mut locators = Vec::with_capacity(count.into());
        for _ in 0..count {
            let locator = fields.text("locator length", MAX_LOCATOR)?;
            if locator.is_empty() {
                return Err(fields.error(Fault::Range { field: "locator length", value: 0 }));
            }
            locators.push(locator.to_owned());
        }
        let ciphertext = fields.counted("wrapped key length", MAX_CIPHERTEXT)?.to_vec();
        if ciphertext.is_empty() {
            return Err(fields.error(Fault::Range { field: "wrapped key length", value: 0 }));
        }
        if !fields.is_empty() {
            return Err(fields.error(Fault::Range { field: "entry length", value: len.into() }));
        }
        Ok(Self { kind, algorithm, algorithm_code, thumbprint_code, thumbprint, locators, ciphertext })
    }
}

impl Section {
    /// Encodes the section with its MAC under `key`, the layer's envelope key.
    pub fn seal(&self, key: &SecretBytes) -> Vec<u8> {
        let mut body = vec![self.layer.number(), u8::try_from(self.entries.len()).unwrap_or(u8::MAX)];
        body.extend_from_slice(&u16::from(self.customer).to_le_bytes());
        body.extend_from_slice(&self.generation.to_le_bytes());
        body.extend_from_slice(&self.updated.0.to_le_bytes());
        body.extend_from_slice(&len_u16(self.set.len()));
        body.extend_from_slice(self.set.as_bytes());
        body.extend_from_slice(&len_u16(self.source.len()));
        body.extend_from_slice(&self.source);
        for entry in &self.entries {
            body.extend_from_slice(&entry.encode());
        }
        let mut section = len_u32(4 + body.len() + MAC_LEN).to_vec();
        section.append(&mut body);
        let mac = kdf::hmac(key, &[&section]);
        section.extend_from_slice(&mac);
        section
    }

    /// Parses a section, without its MAC.
    pub(super) fn decode(bytes: &[u8], layer: Layer) -> Result<Self, FormatError> {
        let part = Part::Section(layer.number());
        let body_len = bytes.len().saturating_sub(MAC_LEN);
        let mut fields = Fields::new(part, bytes.get(..body_len).unwrap_or_default());
        let _len = fields.u32()?;
        let number = fields.u8()?;
        if number != layer.number() {
            return Err(fields.error(Fault::Range { field: "layer", value: number.into() }));
        }
        let count = fields.u8()?;
        if !(1..=MAX_ENTRIES).contains(&count) {
            return Err(fields.error(Fault::Range { field: "number of entries", value: count.into() }));
        }
        let flags = fields.u16()?;
        if flags > 1 {
            return Err(fields.error(Fault::Range { field: "flags", value: flags.into() }));
        }
        let generation = fields.u64()?;
        let updated = UnixTime(fields.u64()?);
        let set = fields.text("set name length", MAX_SET)?.to_owned();
        let source = fields.counted("source length", SOURCE_LEN)?.to_vec();
        let source_fits = source.is_empty() || (layer == Layer::Inner && source.len() == SOURCE_LEN);
        if !source_fits {
            return Err(fields.error(Fault::Range { field: "source length", value: source.len() as u64 }));
        }
        let mut entries = Vec::<Entry>::with_capacity(count.into());
        for _ in 0..count {
            let entry = Entry::decode(part, &mut fields)?;
            if entries.iter().any(|known| known.thumbprint == entry.thumbprint) {
                return Err(fields.error(Fault::Duplicate("thumbprint")));
            }
            entries.push(entry);
        }
        if !fields.is_empty() {
            return Err(fields.error(Fault::Range { field: "section length", value: bytes.len() as u64 }));
        }
        Ok(Self { layer, customer: flags == 1, generation, updated, set, source, entries })
    }

    /// Checks the MAC of the section whose encoding is `bytes`.
    ///
    /// # Errors
    ///
    /// [`Fault::Mac`].
    pub fn authenticate(self, bytes: &[u8], key: &SecretBytes) -> Result<Authenticated<Self>, FormatError> {
        let error = FormatError { part: Part::Section(self.layer.number()), fault: Fault::Mac };
        let Some((body, mac)) = bytes.split_last_chunk::<MAC_LEN>() else { return Err(error) };
        if kdf::hmac_matches(key, &[body], mac) { Ok(Authenticated(self)) } else { Err(error) }
    }
}

/// Most wrapped copies of one layer's secret.
pub(crate) const MAX_ENTRIES: u8 = 8;
/// Most bytes of a set's name.
pub(crate) const MAX_SET: usize = 128;
const SOURCE_LEN: usize = 32;
const MAX_LOCATORS: u8 = 4;
const MAX_LOCATOR: usize = 512;
const MAX_CIPHERTEXT: usize = 4096;
const MAC_LEN: usize = 32;
const ENTRY_KEK: u8 = 1;
const ENTRY_EPOCH: u8 = 2;
const ALG_OAEP_256: u16 = 1;
const ALG_OAEP: u16 = 2;
const ALG_AES_256_KWP: u16 = 3;
const THUMBPRINT_RFC7638: u8 = 1;
const THUMBPRINT_EPOCH: u8 = 2;
