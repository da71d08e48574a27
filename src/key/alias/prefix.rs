//! Abbreviated aliases, and what they select among many.

use std::fmt;

use crate::key::{AliasKind, KeyAlias};

/// The beginning of an alias, as a person writes it: `spki:`, `x5t:` or `cka:` and 6 characters or more.
///
/// Hexadecimal digits may have colons between the bytes. Hashes are read in base64 and base64url as well; what could be either is looked for as
/// both. A `cka:` of fewer digits, and every `url:`, is the whole alias.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AliasPrefix {
    kind: AliasKind,
    text: String,
    readings: Vec<BitPrefix>,
    whole: bool,
}

impl AliasPrefix {
    /// Parses `SCHEME:PREFIX`; `None` for a text that begins with no alias's scheme.
    pub(crate) fn parse(text: &str) -> Option<Result<Self, AliasError>> {
        let (scheme, rest) = text.split_once(':')?;
        let kind = AliasKind::ALL.into_iter().find(|kind| kind.scheme() == scheme)?;
        Some(Self::of(kind, rest))
    }

    /// Parses the beginning of an alias of a known kind.
    ///
    /// # Errors
    ///
    /// [`AliasError`].
    pub fn of(kind: AliasKind, text: &str) -> Result<Self, AliasError> {
        let made = |readings, whole| Self { kind, text: text.to_owned(), readings, whole };
        if kind == AliasKind::Url {
            let url: super::KeyUrl = text.parse()?;
            return Ok(made(vec![BitPrefix::of(url.as_str().as_bytes())], true));
        }
        let wrong = AliasError::Text(kind);
        let (hex, base64) = match kind {
            AliasKind::CkaId => (hex_reading(text, super::MOST_ID), None),
            AliasKind::Certificate => (hex_reading(text, 20), BitPrefix::from_base64(text, 20)),
            _ => (hex_reading(text, 32), BitPrefix::from_base64(text, 32)),
        };
        let short = text.chars().filter(|&character| character != ':').count() < FEWEST;
        if short {
            // A token's ids may be as short as one byte.
            let id = hex.filter(|id| kind == AliasKind::CkaId && id.bits % 8 == 0 && id.bits > 0).ok_or(wrong)?;
            return Ok(made(vec![id], true));
        }
        let readings: Vec<BitPrefix> = hex.into_iter().chain(base64).collect();
        if readings.is_empty() { Err(wrong) } else { Ok(made(readings, false)) }
    }

    /// Returns which kind of alias this begins.
    pub fn kind(&self) -> AliasKind {
        self.kind
    }

    /// Whether `alias` begins like this.
    pub fn matches(&self, alias: &KeyAlias) -> bool {
        let fits = |reading: &BitPrefix| {
            if self.whole { reading.bytes == alias.as_bytes() } else { reading.matches(alias.as_bytes()) }
        };
        self.kind == alias.kind() && self.readings.iter().any(fits)
    }

    /// Returns the ranges in which everything that begins like this lies, from the first value to before the second.
    #[cfg_attr(not(feature = "store"), expect(dead_code, reason = "only databases look up by ranges"))]
    pub(crate) fn ranges(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let whole = |reading: &BitPrefix| (reading.bytes.clone(), [reading.bytes.as_slice(), &[0]].concat());
        self.readings.iter().map(|reading| if self.whole { whole(reading) } else { reading.range() }).collect()
    }

    /// Takes it for a whole alias. Where hexadecimal and base64 both give one, the digits count.
    pub(super) fn into_whole(self) -> Result<KeyAlias, AliasError> {
        let whole = |reading: &BitPrefix| {
            (reading.bits == reading.bytes.len() * 8).then(|| KeyAlias::from_bytes(self.kind, &reading.bytes)).flatten()
        };
        self.readings.iter().find_map(whole).ok_or(AliasError::Abbreviated(self.kind))
    }
}

impl fmt::Display for AliasPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.scheme(), self.text)
    }
}

/// The first bits of a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BitPrefix {
    /// Zero behind the last bit that counts.
    bytes: Vec<u8>,
    bits: usize,
}

impl BitPrefix {
    fn of(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), bits: bytes.len() * 8 }
    }

    /// Reads base64 or base64url of a value of `len` bytes, without padding but at its end.
    pub(crate) fn from_base64(text: &str, len: usize) -> Option<Self> {
        let full = (len * 8).div_ceil(6);
        let text = match text.trim_end_matches('=') {
            bare if bare.len() == text.len() || bare.len() == full => bare,
            _ => return None,
        };
        Self::collect(text.chars().map(base64_digit), 6, len * 8)
    }

    fn from_hex(digits: impl Iterator<Item = char>, len: usize) -> Option<Self> {
        let digit = |digit: char| digit.to_digit(16).and_then(|value| u8::try_from(value).ok());
        Self::collect(digits.map(digit), 4, len * 8)
    }

    /// Puts digits of `width` bits together. Bits from `most` on must be zero, and fewer than one digit.
    fn collect(digits: impl Iterator<Item = Option<u8>>, width: usize, most: usize) -> Option<Self> {
        let (mut bytes, mut bits) = (Vec::<u8>::new(), 0);
        for digit in digits {
            let digit = digit?;
            if bits >= most {
                return None;
            }
            for place in (0..width).rev() {
                let bit = digit >> place & 1;
                if bits >= most {
                    if bit == 1 {
                        return None;
                    }
                    continue;
                }
                if bits % 8 == 0 {
                    bytes.push(0);
                }
                if let Some(last) = bytes.last_mut() {
                    *last |= bit << (7 - bits % 8);
                }
                bits += 1;
            }
        }
        Some(Self { bytes, bits })
    }

    fn matches(&self, value: &[u8]) -> bool {
        let (from, to) = self.range();
        from.as_slice() <= value && value < to.as_slice()
    }

    /// Returns the first value that begins with these bits, and the first behind the last.
    pub(crate) fn range(&self) -> (Vec<u8>, Vec<u8>) {
        let mut end = self.bytes.clone();
        let mut carry = 1_u16 << (self.bytes.len() * 8 - self.bits);
        for byte in end.iter_mut().rev() {
            let [low, high] = (u16::from(*byte) + carry).to_le_bytes();
            *byte = low;
            carry = u16::from(high);
        }
        // Behind the last of all: longer than any value.
        let end = if carry == 0 { end } else { vec![0xff; super::MOST_ID + 1] };
        (self.bytes.clone(), end)
    }
}

/// A text names no alias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AliasError {
    /// Only the beginning of an alias, where the whole is needed.
    Abbreviated(AliasKind),
    /// None of the schemes.
    Scheme,
    /// Not the beginning of such an alias.
    Text(AliasKind),
    /// No versioned URL of a key.
    Url,
}

impl fmt::Display for AliasError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Abbreviated(kind) => write!(f, "all of the {} is needed here", kind.algorithm()),
            Self::Scheme => f.write_str("an alias is spki:..., x5t:..., cka:... or url:https://..."),
            Self::Text(AliasKind::Certificate) => f.write_str(
                "behind x5t: stand 6 to 40 hexadecimal digits, or 6 to 27 characters of base64, of a certificate's SHA-1",
            ),
            Self::Text(AliasKind::CkaId) => f.write_str("behind cka: stand hexadecimal digits, two for a byte"),
            Self::Text(_) => f.write_str(
                "behind spki: stand 6 to 64 hexadecimal digits, or 6 to 43 characters of base64, of a public key's SHA-256",
            ),
            Self::Url => f.write_str("behind url: stands https://HOST/keys/NAME/VERSION, the version with its 32 digits"),
        }
    }
}

impl std::error::Error for AliasError {}

/// Reads hexadecimal digits, with colons between the bytes or without.
fn hex_reading(text: &str, len: usize) -> Option<BitPrefix> {
    if text.contains(':') {
        let mut parts = text.split(':').peekable();
        while let Some(part) = parts.next() {
            let last = parts.peek().is_none();
            if !(part.len() == 2 || last && part.len() == 1) {
                return None;
            }
        }
    }
    BitPrefix::from_hex(text.chars().filter(|&character| character != ':'), len)
}

fn base64_digit(character: char) -> Option<u8> {
    let byte = u8::try_from(character).ok()?;
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

/// Characters of an abbreviated alias.
const FEWEST: usize = 6;
