//! Text from files and vaults, made safe for a terminal.

use std::fmt;
use std::path::Path;

/// Displays text with everything escaped that a terminal could act on: control characters, direction overrides, and
/// invisible formatting characters.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            if acts_on_a_terminal(character) {
                write!(f, "{}", character.escape_unicode())?;
            } else {
                fmt::Write::write_char(f, character)?;
            }
        }
        Ok(())
    }
}

/// Returns a path as text that is safe for a terminal; bytes that are not UTF-8 become U+FFFD.
pub fn escaped_path(path: &Path) -> String {
    Escaped(&path.to_string_lossy()).to_string()
}

fn acts_on_a_terminal(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_and_overrides_lose_their_power() {
        for (text, shown) in [
            ("plain Ünïcode 目", "plain Ünïcode 目"),
            ("\x1b[31mred", "\\u{1b}[31mred"),
            ("a\nb\r\t\u{7f}\u{9b}", "a\\u{a}b\\u{d}\\u{9}\\u{7f}\\u{9b}"),
            ("\u{202e}evil", "\\u{202e}evil"),
        ] {
            assert_eq!(Escaped(text).to_string(), shown);
        }
    }
}
