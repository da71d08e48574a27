//! The one grammar for naming keys (cli.md).

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::key::{AliasError, AliasPrefix, KeyName, NameError, TextError, ThumbprintPrefix, VaultName, VersionNumber};

/// Names a key: `NAME[@N]`, `VAULT/NAME[@N]`, `jkt:PREFIX`, `spki:PREFIX`, `x5t:PREFIX`, `cka:PREFIX`, `url:URL`, `file:PATH.pem`.
///
/// Without `@N` it means the newest version when sealing. Schemes of other vaults (`https:`, `pkcs11:`) are recognised and
/// refused by name where this build has no provider for them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyRef {
    /// A key version by the beginning of an alias.
    Alias(AliasPrefix),
    /// A PEM file.
    File(PathBuf),
    /// A key by name, in one vault or in whichever has it.
    Named {
        /// The vault, where one is named.
        vault: Option<VaultName>,
        /// The key.
        name: KeyName,
        /// The version, where one is named.
        version: Option<VersionNumber>,
    },
    /// A key version by the beginning of its thumbprint.
    Thumbprint(ThumbprintPrefix),
}

impl FromStr for KeyRef {
    type Err = KeyRefError;

    fn from_str(text: &str) -> Result<Self, KeyRefError> {
        if let Some(path) = text.strip_prefix("file:") {
            return if path.is_empty() { Err(KeyRefError::Empty) } else { Ok(Self::File(PathBuf::from(path))) };
        }
        if let Some(prefix) = text.strip_prefix("jkt:") {
            return prefix.parse().map(Self::Thumbprint).map_err(KeyRefError::Thumbprint);
        }
        if let Some(prefix) = AliasPrefix::parse(text) {
            return prefix.map(Self::Alias).map_err(KeyRefError::Alias);
        }
        if let Some((scheme, _)) = text.split_once(':') {
            return Err(KeyRefError::Scheme(scheme.to_owned()));
        }
        let (vault, rest) = match text.split_once('/') {
            Some((vault, rest)) => (Some(vault.parse().map_err(KeyRefError::Name)?), rest),
            None => (None, text),
        };
        let (name, version) = match rest.split_once('@') {
            Some((name, number)) => (name, Some(number.parse().map_err(|_| KeyRefError::Version(number.to_owned()))?)),
            None => (rest, None),
        };
        Ok(Self::Named { vault, name: name.parse().map_err(KeyRefError::Name)?, version })
    }
}

impl fmt::Display for KeyRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alias(prefix) => prefix.fmt(f),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Named { vault, name, version } => {
                if let Some(vault) = vault {
                    write!(f, "{vault}/")?;
                }
                write!(f, "{name}")?;
                match version {
                    Some(version) => write!(f, "@{version}"),
                    None => Ok(()),
                }
            }
            Self::Thumbprint(prefix) => write!(f, "jkt:{}", prefix.as_str()),
        }
    }
}

/// Why a text names no key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyRefError {
    /// No beginning of an alias.
    Alias(AliasError),
    /// Nothing after the scheme.
    Empty,
    /// The vault or key name breaks the rules of names.
    Name(NameError),
    /// A kind of vault that this build does not have.
    Scheme(String),
    /// No beginning of a thumbprint.
    Thumbprint(TextError),
    /// No version number.
    Version(String),
}

impl fmt::Display for KeyRefError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Alias(error) => error.fmt(f),
            Self::Empty => f.write_str("a path must follow 'file:'"),
            Self::Name(error) => error.fmt(f),
            Self::Scheme(scheme) => write!(
                f,
                "this build has no vault for '{}:' keys; use NAME[@N], VAULT/NAME[@N], jkt:PREFIX, an alias (spki:, x5t:, cka:, url:) or file:PATH.pem",
                crate::io::Escaped(scheme)
            ),
            Self::Thumbprint(error) => error.fmt(f),
            Self::Version(text) => {
                write!(f, "'{}' is no version number (1, 2, 3, ...)", crate::io::Escaped(text))
            }
        }
    }
}

impl std::error::Error for KeyRefError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::AliasKind;

    #[test]
    fn the_grammar_reads_what_it_prints() {
        for text in [
            "backup",
            "backup@3",
            "prod/backup",
            "prod/backup@12",
            "jkt:abc_-123",
            "spki:AB:cd:ef",
            "x5t:m01vnup0",
            "cka:01",
            "file:/etc/keys/a b.pem",
        ] {
            assert_eq!(text.parse::<KeyRef>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn nonsense_is_refused_with_its_reason() {
        for (text, error) in [
            ("", KeyRefError::Name(NameError::Length { limit: 127 })),
            ("file:", KeyRefError::Empty),
            ("backup@0", KeyRefError::Version("0".to_owned())),
            ("backup@-1", KeyRefError::Version("-1".to_owned())),
            ("backup@4294967296", KeyRefError::Version("4294967296".to_owned())),
            ("../etc/passwd", KeyRefError::Name(NameError::Character('.'))),
            ("a/b/c", KeyRefError::Name(NameError::Character('/'))),
            ("jkt:abc", KeyRefError::Thumbprint(TextError)),
            ("x5t:abc", KeyRefError::Alias(AliasError::Text(AliasKind::Certificate))),
            ("url:https://x.vault.azure.net/keys/a", KeyRefError::Alias(AliasError::Url)),
            ("https://x.vault.azure.net/keys/a/b", KeyRefError::Scheme("https".to_owned())),
        ] {
            assert_eq!(text.parse::<KeyRef>(), Err(error), "{text}");
        }
    }
}
