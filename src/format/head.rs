//! A head: fixed header, envelope, check hash (SPEC §3).

use crate::format::envelope::ENVELOPE_LEN;
use crate::format::header::MAGIC;
use crate::format::{Envelope, Fault, FormatError, HEADER_LEN, Header, Layer, Part};
use crate::kdf;

/// Length of a head in bytes.
pub const HEAD_LEN: usize = 32768;

/// One of a snapshot's two heads, or a sidecar. In bounds, not authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The part that never changes.
    pub header: Header,
    /// The part that rewrap changes.
    pub envelope: Envelope,
}

impl Head {
    /// Encodes the head.
    pub fn encode(&self) -> Vec<u8> {
        frame(&self.header.encode(), &self.envelope)
    }

    /// Parses head `number` (0 is A, 1 is B).
    ///
    /// The magic and the version come first, so that foreign and newer files are told from damaged ones; then the check hash.
    ///
    /// # Errors
    ///
    /// [`FormatError`] with the first thing that is wrong.
    pub fn decode(bytes: &[u8], number: u8) -> Result<Self, FormatError> {
        let (fixed, envelope) = whole(bytes, Part::Head(number))?;
        let header = Header::decode(fixed)?;
        let envelope = Envelope::decode(envelope, Layer::of(header.suite))?;
        Ok(Self { header, envelope })
    }
}

/// Puts a head together.
pub(super) fn frame(fixed: &[u8; HEADER_LEN], envelope: &Envelope) -> Vec<u8> {
    let mut bytes = fixed.to_vec();
    bytes.extend_from_slice(&envelope.encode());
    let check = kdf::sha256(&[&bytes]);
    bytes.extend_from_slice(&check);
    bytes
}

/// Returns FIXED and ENVELOPE of a head whose magic and check hash hold.
pub(super) fn whole(bytes: &[u8], part: Part) -> Result<(&[u8; HEADER_LEN], &[u8]), FormatError> {
    let error = |fault| FormatError { part, fault };
    // A short file that begins otherwise was never one of ours.
    if bytes.iter().zip(MAGIC).any(|(found, expected)| found != expected) {
        return Err(error(Fault::Magic));
    }
    let fixed: &[u8; HEADER_LEN] = bytes.first_chunk().ok_or(error(Fault::Truncated))?;
    let Some((body, check)) = bytes.get(..HEAD_LEN).and_then(|head| head.split_last_chunk::<CHECK_LEN>()) else {
        return Err(error(Fault::Truncated));
    };
    if kdf::sha256(&[body]) != *check {
        return Err(error(Fault::Check));
    }
    Ok((fixed, body.get(HEADER_LEN..).unwrap_or_default()))
}

const CHECK_LEN: usize = 32;
const _: () = assert!(HEADER_LEN + ENVELOPE_LEN + CHECK_LEN == HEAD_LEN);
