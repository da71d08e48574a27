//! An epoch key's record: one key that wraps the DEKs of many snapshots, itself wrapped under KEKs (SPEC §3.3).

use std::fmt;
use std::str::FromStr;

use subtle::ConstantTimeEq;

use crate::clock::UnixTime;
use crate::format::blob::Layer;
use crate::format::head::{frame, whole};
use crate::format::header::{CRITICAL_AT, KIND_EPOCH, MAGIC, VERSION, hex};
use crate::format::wire::Fields;
use crate::format::{Envelope, Fault, FormatError, HEADER_LEN, HeaderHash, Part, Section};
use crate::kdf;
use crate::key::Thumbprint;
use crate::random::{Random, RandomError};
use crate::secret::SecretBytes;

/// Random name of an epoch key. `Display` is 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EpochId([u8; 16]);

impl EpochId {
    /// Takes 16 random bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Returns the name of the record's file: `ID.sobre-epoch`.
    pub fn file_name(&self) -> String {
        format!("{self}{EPOCH_SUFFIX}")
    }

    /// Returns what stands in an entry where a KEK's thumbprint would.
    pub(crate) fn in_entry(self) -> Thumbprint {
        let mut bytes = [0; 32];
        bytes.first_chunk_mut::<16>().expect("32 bytes have 16").copy_from_slice(&self.0);
        Thumbprint::from_bytes(bytes)
    }

    pub(super) fn from_entry(thumbprint: &Thumbprint) -> Option<Self> {
        let (id, zeros) = thumbprint.as_bytes().split_first_chunk::<16>()?;
        zeros.iter().all(|&byte| byte == 0).then_some(Self(*id))
    }
}

impl FromStr for EpochId {
    type Err = FormatError;

    fn from_str(text: &str) -> Result<Self, FormatError> {
        let error = || FormatError { part: Part::Epoch, fault: Fault::Text("name") };
        let mut id = [0; 16];
        if text.len() != 2 * id.len() || !text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(error());
        }
        for (place, byte) in id.iter_mut().enumerate() {
            let digits = text.get(2 * place..2 * place + 2).ok_or_else(error)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| error())?;
        }
        Ok(Self(id))
    }
}

impl fmt::Display for EpochId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(f, &self.0)
    }
}

impl fmt::Debug for EpochId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EpochId({self})")
    }
}

/// FIXED of an epoch record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochHeader {
    /// The layer whose secrets the key wraps.
    pub layer: Layer,
    /// Bits that readers may ignore.
    pub optional: u32,
    /// When the key was made.
    pub created: UnixTime,
    /// Random.
    pub id: EpochId,
}

impl EpochHeader {
    /// Returns `H` of the record.
    pub fn hash(&self) -> HeaderHash {
        HeaderHash(kdf::sha256(&[&self.encode()]))
    }

    fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = Vec::with_capacity(HEADER_LEN);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[KIND_EPOCH, 0, self.layer.number(), 0, 0, 0]);
        bytes.extend_from_slice(&0_u32.to_le_bytes());
        bytes.extend_from_slice(&self.optional.to_le_bytes());
        bytes.extend_from_slice(&self.created.0.to_le_bytes());
        bytes.extend_from_slice(self.id.as_bytes());
        let mut fixed = [0; HEADER_LEN];
        for (to, from) in fixed.iter_mut().zip(bytes) {
            *to = from;
        }
        fixed
    }

    fn decode(bytes: &[u8; HEADER_LEN]) -> Result<Self, FormatError> {
        let mut fields = Fields::new(Part::Epoch, bytes);
        fields.magic(MAGIC)?;
        let version = fields.u16()?;
        if version != VERSION {
            return Err(fields.error(Fault::Unsupported { field: "version", value: version.into() }));
        }
        match fields.u8()? {
            KIND_EPOCH => {}
            1 => return Err(fields.error(Fault::Kind("a snapshot"))),
            kind => return Err(fields.error(Fault::Unsupported { field: "kind", value: kind.into() })),
        }
        let suite = fields.u8()?;
        if suite != 0 {
            return Err(fields.error(Fault::Unsupported { field: "suite", value: suite.into() }));
        }
        // What a critical bit announces may change the rules for every field.
        let critical =
            u32::from_le_bytes(*bytes.get(CRITICAL_AT..).and_then(|rest| rest.first_chunk()).unwrap_or(&[0; 4]));
        if critical != 0 {
            return Err(fields.error(Fault::Unsupported { field: "critical bits", value: critical.into() }));
        }
        let layer = fields.u8()?;
        let layer = [Layer::Inner, Layer::Outer]
            .into_iter()
            .find(|known| known.number() == layer)
            .ok_or_else(|| fields.error(Fault::Range { field: "layer", value: layer.into() }))?;
        fields.zeros(3)?;
        let _critical = fields.u32()?;
        let optional = fields.u32()?;
        let created = UnixTime(fields.u64()?);
        let id = EpochId(fields.array()?);
        fields.zeros(HEADER_LEN - USED)?;
        Ok(Self { layer, optional, created, id })
    }
}

/// An epoch record. In bounds, not authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochRecord {
    /// The part that never changes.
    pub header: EpochHeader,
    /// The part that a rotation changes: one section.
    pub envelope: Envelope,
}

impl EpochRecord {
    /// Encodes the record: 32768 bytes.
    pub fn encode(&self) -> Vec<u8> {
        frame(&self.header.encode(), &self.envelope)
    }

    /// Parses a record; `bytes` is all of it.
    ///
    /// # Errors
    ///
    /// [`FormatError`] with the first thing that is wrong.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let (fixed, envelope) = whole(bytes, Part::Epoch)?;
        let header = EpochHeader::decode(fixed)?;
        let envelope = Envelope::decode(envelope, &[header.layer])?;
        let record = Self { header, envelope };
        let (found, expected) = (bytes.len() as u64, crate::format::HEAD_LEN as u64);
        if found != expected {
            return Err(FormatError { part: Part::Epoch, fault: Fault::Length { found, expected } });
        }
        if record.section().is_some_and(|(section, _)| !section.source.is_empty()) {
            return Err(FormatError { part: Part::Epoch, fault: Fault::NotZero });
        }
        Ok(record)
    }

    /// Returns the section, with its bytes: who can unwrap the epoch key.
    pub fn section(&self) -> Option<(&Section, &[u8])> {
        self.envelope.section(self.header.layer)
    }

    /// Returns the KEKs that the epoch key is wrapped under, in order of preference.
    pub fn keys(&self) -> impl Iterator<Item = Thumbprint> {
        let entries = self.section().into_iter().flat_map(|(section, _)| &section.entries);
        entries.filter(|entry| entry.usable().is_some()).map(|entry| entry.thumbprint)
    }
}

/// An epoch key, behind the tag that ties it to its record.
#[derive(Debug)]
pub struct EpochSecret {
    layer: Layer,
    blob: SecretBytes,
}

impl EpochSecret {
    /// Draws a fresh key for the record whose FIXED hashes to `hash`.
    ///
    /// # Errors
    ///
    /// [`RandomError`] when the generator fails.
    pub fn fresh(layer: Layer, hash: &HeaderHash, random: &dyn Random) -> Result<Self, RandomError> {
        let mut blob = SecretBytes::zeroed(TAG_LEN + KEY_LEN);
        let (tag, key) = blob.expose_mut().split_at_mut(TAG_LEN);
        tag.copy_from_slice(&context_tag(layer, hash));
        random.fill(key)?;
        Ok(Self { layer, blob })
    }

    /// Checks what a KEK unwrapped.
    ///
    /// # Errors
    ///
    /// [`Fault::Length`]; [`Fault::Foreign`] for the key of another record.
    pub fn from_blob(layer: Layer, hash: &HeaderHash, blob: SecretBytes) -> Result<Self, FormatError> {
        let error = |fault| FormatError { part: Part::Epoch, fault };
        let (found, expected) = (blob.len() as u64, (TAG_LEN + KEY_LEN) as u64);
        if found != expected {
            return Err(error(Fault::Length { found, expected }));
        }
        let tag = blob.expose().get(..TAG_LEN).unwrap_or_default();
        if !bool::from(tag.ct_eq(&context_tag(layer, hash))) {
            return Err(error(Fault::Foreign));
        }
        Ok(Self { layer, blob })
    }

    /// Returns what is to be wrapped.
    pub fn blob(&self) -> &SecretBytes {
        &self.blob
    }
}

/// Keys that an epoch key gives.
#[derive(Debug)]
pub struct EpochKeys {
    /// Authenticates the record's section.
    pub envelope: SecretBytes,
    /// Wraps DEKs: an AES-256-KWP key.
    pub wrap: SecretBytes,
}

impl EpochKeys {
    /// Derives them under the record's `H`.
    pub fn derive(secret: &EpochSecret, hash: &HeaderHash) -> Self {
        let key = SecretBytes::copied_from(secret.blob.expose().get(TAG_LEN..).unwrap_or_default());
        let prk = kdf::extract(&hash.0, &[secret.layer.number()], &key);
        Self { envelope: kdf::expand(&prk, "sobre/1 envelope"), wrap: kdf::expand(&prk, "sobre/1 epoch wrap") }
    }
}

fn context_tag(layer: Layer, hash: &HeaderHash) -> [u8; TAG_LEN] {
    kdf::sha256(&[b"sobre/1 epoch\0", &[layer.number()], &hash.0])
}

/// How the names of records end.
pub const EPOCH_SUFFIX: &str = ".sobre-epoch";
/// Bytes of FIXED up to the id's end.
const USED: usize = 48;
const TAG_LEN: usize = 32;
const KEY_LEN: usize = 32;
