//! Lines of a file, however long and whatever is in them.

use std::io::{self, BufRead, BufReader, Read};

use crate::audit::line::MAX_LINE;

/// Reads lines of at most [`MAX_LINE`] bytes; of longer ones only that they are too long.
#[derive(Debug)]
pub(super) struct Lines<R> {
    source: BufReader<R>,
}

/// A line.
#[derive(Debug)]
pub(super) enum Content {
    /// A line without its end.
    Complete(Vec<u8>),
    /// It goes on for more than a line may have.
    TooLong,
    /// The file ends before the line does, after so many bytes.
    Torn(u64),
}

impl<R: Read> Lines<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source: BufReader::with_capacity(65536, source) }
    }

    /// Reads the next line; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Content>> {
        let mut line = Vec::new();
        let mut len = 0_u64;
        loop {
            let buffer = match self.source.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let end = buffer.iter().position(|&byte| byte == b'\n');
            let piece = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
            len += piece.len() as u64;
            if len < MAX_LINE as u64 {
                line.extend_from_slice(piece);
            }
            let (used, at_end) = (piece.len() + usize::from(end.is_some()), buffer.is_empty());
            self.source.consume(used);
            let content = match (end, at_end) {
                (Some(_), _) if len < MAX_LINE as u64 => Content::Complete(line),
                (Some(_), _) => Content::TooLong,
                (None, true) if len == 0 => return Ok(None),
                (None, true) => Content::Torn(len),
                (None, false) => continue,
            };
            return Ok(Some(content));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_torn_and_empty_lines_are_told_apart() {
        let long = [vec![b'x'; MAX_LINE - 1], vec![b'\n'], vec![b'y'; 5 * MAX_LINE], vec![b'\n'], b"\n\ntorn".to_vec()];
        let mut lines = Lines::new(io::Cursor::new(long.concat()));
        let mut seen = Vec::new();
        while let Some(line) = lines.next().expect("reads") {
            seen.push(match line {
                Content::Complete(line) => format!("{} at {}", line.len(), seen.len()),
                Content::TooLong => "too long".to_owned(),
                Content::Torn(len) => format!("torn {len}"),
            });
        }
        assert_eq!(seen, ["16383 at 0", "too long", "0 at 2", "0 at 3", "torn 4"]);
    }
}
