//! One line of the log: a JSON object whose last member is the MAC of what stands before it.

use crate::audit::Record;
use crate::kdf;
use crate::secret::SecretBytes;

/// A line in its parts, not checked.
#[derive(Clone, Debug)]
pub(super) struct Line<'a> {
    body: &'a [u8],
    pub(super) mac: [u8; 32],
    pub(super) seq: u64,
}

impl<'a> Line<'a> {
    /// Takes a line, without its end, apart. There is one way to write a line: what could be written otherwise is `None`.
    pub(super) fn split(line: &'a [u8]) -> Option<Self> {
        let (body, end) = line.split_at_checked(line.len().checked_sub(END_LEN)?)?;
        let digits = end.strip_prefix(MAC_MEMBER)?.strip_suffix(CLOSING)?;
        let rest = body.strip_prefix(SEQ_MEMBER)?;
        let len = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = std::str::from_utf8(rest.get(..len)?).ok()?;
        let seq = number.parse().ok().filter(|seq: &u64| *seq > 0 && seq.to_string() == number)?;
        Some(Self { body, mac: unhex(digits)?, seq })
    }

    /// Whether the line follows the one with the MAC `previous`.
    pub(super) fn follows(&self, key: &SecretBytes, previous: &[u8; 32]) -> bool {
        kdf::hmac_matches(key, &[previous, self.body], &self.mac)
    }
}

/// Reads what a line says, whoever wrote it.
pub(super) fn parse(line: &[u8]) -> Option<Record> {
    serde_json::from_slice(line).ok()
}

/// Writes a line with its end, and returns its MAC.
pub(super) fn write(record: &Record, key: &SecretBytes, previous: &[u8; 32], out: &mut Vec<u8>) -> [u8; 32] {
    let text = serde_json::to_string(record).unwrap_or_default();
    let body = text.strip_suffix('}').unwrap_or_default().as_bytes();
    let mac = kdf::hmac(key, &[previous, body]);
    out.extend_from_slice(body);
    out.extend_from_slice(MAC_MEMBER);
    out.extend_from_slice(hex(&mac).as_bytes());
    out.extend_from_slice(CLOSING);
    out.push(b'\n');
    mac
}

/// Writes lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads 32 bytes from 64 lower-case hexadecimal digits.
pub(super) fn unhex(digits: &[u8]) -> Option<[u8; 32]> {
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let bytes: Option<Vec<u8>> = pairs.iter().map(|&[high, low]| Some(nibble(high)? << 4 | nibble(low)?)).collect();
    bytes?.try_into().ok()
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// Most bytes of a line, its end included: several times what the longest texts of an event take.
pub(super) const MAX_LINE: usize = 16384;
const SEQ_MEMBER: &[u8] = br#"{"seq":"#;
const MAC_MEMBER: &[u8] = br#","mac":""#;
const CLOSING: &[u8] = br#""}"#;
const END_LEN: usize = MAC_MEMBER.len() + 64 + CLOSING.len();
