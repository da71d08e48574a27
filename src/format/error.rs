//! Why bytes are no snapshot.

use std::fmt;

/// What is wrong with which part of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatError {
    /// The part.
    pub part: Part,
    /// What is wrong with it.
    pub fault: Fault,
}

impl FormatError {
    /// Whether the bytes are well-formed but ask for something that this version can't do, as against damaged or forged.
    pub fn is_unsupported(&self) -> bool {
        matches!(self.fault, Fault::Kind(_) | Fault::Unsupported { .. })
    }
}

/// A part of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// What a KEK wraps, for a layer.
    Blob(u8),
    /// The stored bytes of a chunk.
    Chunk(u64),
    /// The mutable part of a head.
    Envelope,
    /// An epoch record, or what a KEK wraps of one.
    Epoch,
    /// The last 192 bytes.
    Footer,
    /// Head A (0) or B (1), or a sidecar (0).
    Head(u8),
    /// The fixed part of a head.
    Header,
    /// The table of pages.
    Index,
    /// The labels in the header.
    Labels,
    /// A detached manifest.
    Manifest,
    /// A page, by number.
    Page(u32),
    /// A record, by chunk number.
    Record(u64),
    /// A layer's section of the envelope.
    Section(u8),
    /// The file as a whole.
    Snapshot,
}

/// What is wrong with a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The check sum does not match.
    Check,
    /// It belongs to another snapshot, layer or place.
    Foreign,
    /// Something stands twice that may stand once.
    Duplicate(&'static str),
    /// Two copies that must be the same differ.
    Differs,
    /// Equal halves of an XTS key.
    EqualHalves,
    /// It is something else of ours.
    Kind(&'static str),
    /// The number of bytes is not what it must be.
    Length {
        /// Bytes there are.
        found: u64,
        /// Bytes there must be.
        expected: u64,
    },
    /// The message authentication code does not match.
    Mac,
    /// The magic number is not there.
    Magic,
    /// Reserved bytes are not zero.
    NotZero,
    /// A value is outside its range.
    Range {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// The authentication tag does not match.
    Tag,
    /// Text that is not UTF-8, or characters that may not stand there.
    Text(&'static str),
    /// It ends too early.
    Truncated,
    /// A value that is reserved for a later version.
    Unsupported {
        /// The field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blob(layer) => write!(f, "the wrapped key of layer {layer}"),
            Self::Chunk(chunk) => write!(f, "chunk {chunk}"),
            Self::Envelope => f.write_str("the envelope"),
            Self::Epoch => f.write_str("the epoch record"),
            Self::Footer => f.write_str("the footer"),
            Self::Head(0) => f.write_str("head A"),
            Self::Head(_) => f.write_str("head B"),
            Self::Header => f.write_str("the header"),
            Self::Index => f.write_str("the index"),
            Self::Labels => f.write_str("the labels"),
            Self::Manifest => f.write_str("the manifest"),
            Self::Page(page) => write!(f, "page {page}"),
            Self::Record(chunk) => write!(f, "the record of chunk {chunk}"),
            Self::Section(layer) => write!(f, "the section of layer {layer}"),
            Self::Snapshot => f.write_str("the file"),
        }
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = self.part;
        match self.fault {
            Fault::Check => write!(f, "{part} is damaged: its check sum does not match"),
            Fault::Differs => write!(f, "{part} differs between its copies"),
            Fault::Duplicate(what) => write!(f, "{part} has the same {what} twice"),
            Fault::EqualHalves => write!(f, "{part} holds an XTS key with equal halves"),
            Fault::Foreign => write!(f, "{part} belongs to another snapshot or place"),
            Fault::Kind(kind) => write!(f, "{part} is that of {kind}, which can't serve here"),
            Fault::Length { found, expected } => write!(f, "{part} has {found} bytes where {expected} are due"),
            Fault::Mac => write!(f, "{part} is damaged or forged: its MAC does not match"),
            Fault::Magic => write!(f, "{part} does not begin as it must"),
            Fault::NotZero => write!(f, "{part} has reserved bytes that are not zero"),
            Fault::Range { field, value } => write!(f, "{part} has {field} {value}, which is out of range"),
            Fault::Tag => write!(f, "{part} is damaged or forged: its tag does not match"),
            Fault::Text(field) => write!(f, "{part} has a {field} that is no valid text"),
            Fault::Truncated => write!(f, "{part} is cut off"),
            Fault::Unsupported { field, value } => {
                write!(f, "{part} has {field} {value}, which this version of sobre does not support")
            }
        }
    }
}

impl std::error::Error for FormatError {}
