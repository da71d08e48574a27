//! What a snapshot says of itself, without a key.

use crate::engine::opener::read_footer;
use crate::engine::unlock::Heads;
use crate::engine::{Error, Warning};
use crate::format::{Footer, Header, Section};
use crate::io::ReadAt;

/// What a snapshot says of itself. Nothing of it is authenticated: that takes a key.
#[derive(Clone, Debug)]
pub struct Description {
    /// The fixed header.
    pub header: Header,
    /// The sections of the envelope: who can open which layer.
    pub sections: Vec<Section>,
    /// The footer; `None` when it is missing or damaged.
    pub footer: Option<Footer>,
    /// Length of the file in bytes.
    pub file_len: u64,
    /// What was noticed about the heads.
    pub warnings: Vec<Warning>,
}

/// Reads what a snapshot says of itself.
///
/// # Errors
///
/// [`Error::Format`] when neither head is usable; [`Error::Io`].
pub fn inspect<R: ReadAt + ?Sized>(source: &R) -> Result<Description, Error> {
    let heads = Heads::read(source)?;
    let footer = match read_footer(source, &heads.header) {
        Ok((_, footer)) => Some(footer),
        Err(Error::Format(_)) => None,
        Err(error) => return Err(error),
    };
    let sections = heads.best().1.envelope.sections().cloned().collect();
    Ok(Description { header: heads.header, sections, footer, file_len: source.size()?, warnings: heads.warnings })
}
