//! The mutable part of a head: one section per layer (SPEC §3.2).

use crate::format::blob::Layer;
use crate::format::wire::{Fields, len_u32};
use crate::format::{Fault, FormatError, Part, Section};

/// Length of the envelope in bytes.
pub(super) const ENVELOPE_LEN: usize = 31712;

/// The sections as they stand in a file, each with its bytes, so that a rewrap of one layer keeps the other's byte for byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Chooses between the heads.
    pub generation: u64,
    sections: Vec<(Section, Vec<u8>)>,
    public: Vec<u8>,
}

impl Envelope {
    /// Puts sealed sections together; `sections` in order of layers, each as [`Section::seal`] gave it.
    ///
    /// # Errors
    ///
    /// [`Fault::Range`] when they are too long for an envelope together.
    pub fn new(generation: u64, sections: Vec<(Section, Vec<u8>)>) -> Result<Self, FormatError> {
        let envelope = Self { generation, sections, public: Vec::new() };
        envelope.check_len()?;
        Ok(envelope)
    }

    /// Returns the same envelope with one section replaced and the generation raised.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); [`Fault::Range`] also when the generation can't be raised.
    pub fn replacing(&self, section: Section, bytes: Vec<u8>) -> Result<Self, FormatError> {
        let generation = self.generation.checked_add(1).ok_or(FormatError {
            part: Part::Envelope,
            fault: Fault::Range { field: "generation", value: self.generation },
        })?;
        let mut envelope = Self { generation, ..self.clone() };
        for slot in &mut envelope.sections {
            if slot.0.layer == section.layer {
                *slot = (section.clone(), bytes.clone());
            }
        }
        envelope.check_len()?;
        Ok(envelope)
    }

    /// Returns the section of `layer` with its bytes.
    pub fn section(&self, layer: Layer) -> Option<(&Section, &[u8])> {
        self.sections
            .iter()
            .find(|(section, _)| section.layer == layer)
            .map(|(section, bytes)| (section, bytes.as_slice()))
    }

    /// Returns the sections in order of layers. Not authenticated.
    pub fn sections(&self) -> impl Iterator<Item = &Section> {
        self.sections.iter().map(|(section, _)| section)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&len_u32(self.len()));
        bytes.extend_from_slice(&self.generation.to_le_bytes());
        for (_, section) in &self.sections {
            bytes.extend_from_slice(section);
        }
        bytes.extend_from_slice(&self.public);
        bytes.resize(ENVELOPE_LEN, 0);
        bytes
    }

    pub(super) fn decode(bytes: &[u8], layers: &[Layer]) -> Result<Self, FormatError> {
        let mut fields = Fields::new(Part::Envelope, bytes);
        fields.magic(MAGIC)?;
        let len = fields.u32()?;
        let used = usize::try_from(len).ok().filter(|used| (PREFIX_LEN..=ENVELOPE_LEN).contains(used));
        let Some(used) = used else {
            return Err(fields.error(Fault::Range { field: "length", value: len.into() }));
        };
        let generation = fields.u64()?;
        let mut inside = Fields::new(Part::Envelope, fields.bytes(used - PREFIX_LEN)?);
        let fill = fields.rest().len();
        Fields::new(Part::Envelope, bytes.get(used..).unwrap_or_default()).zeros(fill)?;
        let mut sections = Vec::new();
        for &layer in layers {
            let section_len = inside.u32()?;
            let body_len = usize::try_from(section_len)
                .ok()
                .and_then(|len| len.checked_sub(4))
                .ok_or_else(|| inside.error(Fault::Range { field: "section length", value: section_len.into() }))?;
            let mut section = section_len.to_le_bytes().to_vec();
            section.extend_from_slice(inside.bytes(body_len)?);
            sections.push((Section::decode(&section, layer)?, section));
        }
        let public = inside.rest();
        let mut items = Fields::new(Part::Envelope, public);
        while !items.is_empty() {
            let kind = items.u16()?;
            // The zero fill must not pass for items.
            if kind & !CRITICAL == 0 {
                return Err(items.error(Fault::Range { field: "item type", value: kind.into() }));
            }
            if kind & CRITICAL != 0 {
                return Err(items.error(Fault::Unsupported { field: "critical item", value: kind.into() }));
            }
            items.counted("item length", usize::from(u16::MAX))?;
        }
        Ok(Self { generation, sections, public: public.to_vec() })
    }

    fn len(&self) -> usize {
        PREFIX_LEN + self.sections.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() + self.public.len()
    }

    fn check_len(&self) -> Result<(), FormatError> {
        if self.len() <= ENVELOPE_LEN {
            return Ok(());
        }
        Err(FormatError { part: Part::Envelope, fault: Fault::Range { field: "length", value: self.len() as u64 } })
    }
}

const MAGIC: &[u8; 4] = b"ENVL";
const PREFIX_LEN: usize = 16;
const CRITICAL: u16 = 1 << 15;
