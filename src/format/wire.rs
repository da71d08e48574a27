//! Reading and writing of little-endian fields, every step checked.

use crate::format::{Fault, FormatError, Part};

/// Takes fields off the front of one part's bytes.
pub(super) struct Fields<'a> {
    part: Part,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(part: Part, bytes: &'a [u8]) -> Self {
        Self { part, rest: bytes }
    }

    pub(super) fn error(&self, fault: Fault) -> FormatError {
        FormatError { part: self.part, fault }
    }

    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], FormatError> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or_else(|| self.error(Fault::Truncated))?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(|| self.error(Fault::Truncated))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, FormatError> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, FormatError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, FormatError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, FormatError> {
        self.array().map(u64::from_le_bytes)
    }

    /// Takes a `u16` length of at most `limit` and that many bytes.
    pub(super) fn counted(&mut self, field: &'static str, limit: usize) -> Result<&'a [u8], FormatError> {
        let len = self.u16()?;
        if usize::from(len) > limit {
            return Err(self.error(Fault::Range { field, value: len.into() }));
        }
        self.bytes(len.into())
    }

    /// Takes a `u16` length of at most `limit` and that much UTF-8.
    pub(super) fn text(&mut self, field: &'static str, limit: usize) -> Result<&'a str, FormatError> {
        let bytes = self.counted(field, limit)?;
        std::str::from_utf8(bytes).map_err(|_| self.error(Fault::Text(field)))
    }

    pub(super) fn magic(&mut self, magic: &[u8]) -> Result<(), FormatError> {
        if self.bytes(magic.len())? == magic { Ok(()) } else { Err(self.error(Fault::Magic)) }
    }

    pub(super) fn zeros(&mut self, len: usize) -> Result<(), FormatError> {
        if self.bytes(len)?.iter().all(|&byte| byte == 0) { Ok(()) } else { Err(self.error(Fault::NotZero)) }
    }

    /// Takes what is left.
    pub(super) fn rest(self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }
}

/// Lengths that the writer's own checks keep inside their field; saturation would be found by the reader.
pub(super) fn len_u16(len: usize) -> [u8; 2] {
    u16::try_from(len).unwrap_or(u16::MAX).to_le_bytes()
}

/// As [`len_u16`].
pub(super) fn len_u32(len: usize) -> [u8; 4] {
    u32::try_from(len).unwrap_or(u32::MAX).to_le_bytes()
}
