//! Names of keys and vaults.

use std::fmt;
use std::str::FromStr;

/// Name of a key: 1 to 127 characters `0-9 a-z A-Z -`, as Key Vault has them (R61). Compared without regard to case there, so two names
/// that differ in case only can't stand in one vault.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyName(String);

impl KeyName {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        checked(text, MAX_KEY_NAME).map(Self)
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Name of a configured vault: 1 to 24 characters `0-9 a-z A-Z -`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VaultName(String);

impl VaultName {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for VaultName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        checked(text, MAX_VAULT_NAME).map(Self)
    }
}

impl fmt::Display for VaultName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// A character other than `0-9 a-z A-Z -`.
    Character(char),
    /// No characters, or more than the limit.
    Length {
        /// The most characters that such a name may have.
        limit: usize,
    },
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Character(character) => {
                write!(f, "a name has letters, digits and '-' only, not '{}'", character.escape_debug())
            }
            Self::Length { limit } => write!(f, "a name has 1 to {limit} characters"),
        }
    }
}

impl std::error::Error for NameError {}

fn checked(text: &str, limit: usize) -> Result<String, NameError> {
    if let Some(character) = text.chars().find(|&character| !(character.is_ascii_alphanumeric() || character == '-')) {
        return Err(NameError::Character(character));
    }
    if text.is_empty() || text.len() > limit {
        return Err(NameError::Length { limit });
    }
    Ok(text.to_owned())
}

const MAX_KEY_NAME: usize = 127;
const MAX_VAULT_NAME: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        assert!("backup-2".parse::<KeyName>().is_ok());
        assert!("a".repeat(127).parse::<KeyName>().is_ok());
        assert_eq!("a".repeat(128).parse::<KeyName>(), Err(NameError::Length { limit: 127 }));
        assert_eq!("".parse::<VaultName>(), Err(NameError::Length { limit: 24 }));
        for (text, bad) in [("../x", '.'), ("a\nb", '\n'), ("ä", 'ä'), ("a/b", '/'), ("a b", ' '), ("a@1", '@')] {
            assert_eq!(text.parse::<KeyName>(), Err(NameError::Character(bad)));
        }
    }
}
