//! A head: fixed header, envelope, check hash (SPEC §3).

use crate::format::envelope::ENVELOPE_LEN;
use crate::format::header::MAGIC;
use crate::format::{Envelope, Fault, FormatError, HEADER_LEN, Header, Part};
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
        let mut bytes = self.header.encode().to_vec();
        bytes.extend_from_slice(&self.envelope.encode());
        let check = kdf::sha256(&[&bytes]);
        bytes.extend_from_slice(&check);
        bytes
    }

    /// Parses head `number` (0 is A, 1 is B).
    ///
    /// The magic and the version come first, so that foreign and newer files are told from damaged ones; then the check hash.
    ///
    /// # Errors
    ///
    /// [`FormatError`] with the first thing that is wrong.
    pub fn decode(bytes: &[u8], number: u8) -> Result<Self, FormatError> {
        let error = |fault| FormatError { part: Part::Head(number), fault };
        // A short file that begins otherwise was never a snapshot.
        if bytes.iter().zip(MAGIC).any(|(found, expected)| found != expected) {
            return Err(error(Fault::Magic));
        }
        let fixed: &[u8; HEADER_LEN] = bytes.first_chunk().ok_or(error(Fault::Truncated))?;
        let Some((body, check)) = bytes.get(..HEAD_LEN).and_then(|head| head.split_last_chunk::<CHECK_LEN>()) else {
            return Err(error(Fault::Truncated));
        };
        if kdf::sha256(&[body]) != *check {
            // A file that was never a snapshot is not a damaged one.
            return Err(match Header::decode(fixed) {
                Err(FormatError { fault: Fault::Magic, .. }) => error(Fault::Magic),
                _ => error(Fault::Check),
            });
        }
        let header = Header::decode(fixed)?;
        let envelope = Envelope::decode(body.get(HEADER_LEN..).unwrap_or_default(), header.suite)?;
        Ok(Self { header, envelope })
    }
}

const CHECK_LEN: usize = 32;
const _: () = assert!(HEADER_LEN + ENVELOPE_LEN + CHECK_LEN == HEAD_LEN);
