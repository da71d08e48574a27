//! Rights on a vault, and roles that have some of them.

use std::fmt;
use std::str::FromStr;

/// What somebody may do in a vault. Each is asked for by name, so that a refusal can say which one is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Right {
    /// To create, import, rotate, update, lock, delete and restore keys, and to change the vault itself.
    Administer,
    /// To take backups of keys.
    Backup,
    /// To read a key's public half and its state.
    Get,
    /// To list keys and their versions.
    List,
    /// To recover deleted keys and to purge them (R36).
    Recover,
    /// To unwrap.
    Unwrap,
    /// To wrap.
    Wrap,
}

impl Right {
    /// All of them, the run-time ones first.
    pub const ALL: [Self; 7] =
        [Self::Get, Self::Wrap, Self::Unwrap, Self::List, Self::Backup, Self::Administer, Self::Recover];

    /// Returns the right's name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Administer => "administer",
            Self::Backup => "backup",
            Self::Get => "get",
            Self::List => "list",
            Self::Recover => "recover",
            Self::Unwrap => "unwrap",
            Self::Wrap => "wrap",
        }
    }
}

/// What a vault is opened for. Anything else is refused.
///
/// A role is a seat-belt, not a boundary: it keeps a program from doing what it was not meant to do. Whoever can read the vault's root
/// key holds all its keys, whatever role they name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Get, list, administer: everything but using keys, taking them out, and undoing or completing deletions.
    Administrator,
    /// Get, list, backup (R16).
    Backup,
    /// Get, list, recover.
    Recovery,
    /// Get, wrap, unwrap (R34).
    RunTime,
}

impl Role {
    /// Whether the role has a right.
    pub fn has(self, right: Right) -> bool {
        let rights: &[Right] = match self {
            Self::Administrator => &[Right::Administer, Right::Get, Right::List],
            Self::Backup => &[Right::Backup, Right::Get, Right::List],
            Self::Recovery => &[Right::Get, Right::List, Right::Recover],
            Self::RunTime => &[Right::Get, Right::Unwrap, Right::Wrap],
        };
        rights.contains(&right)
    }

    /// Refuses a right that the role has not.
    ///
    /// # Errors
    ///
    /// [`MissingRight`].
    pub fn require(self, right: Right) -> Result<(), MissingRight> {
        if self.has(right) { Ok(()) } else { Err(MissingRight { role: self, right }) }
    }

    /// Returns the role's name, as it is written on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::Backup => "backup",
            Self::Recovery => "recovery",
            Self::RunTime => "run-time",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = RoleError;

    fn from_str(text: &str) -> Result<Self, RoleError> {
        let roles = [Self::Administrator, Self::Backup, Self::Recovery, Self::RunTime];
        roles.into_iter().find(|role| role.name() == text).ok_or(RoleError)
    }
}

/// A text is no role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleError;

impl fmt::Display for RoleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a role is administrator, backup, recovery or run-time")
    }
}

impl std::error::Error for RoleError {}

/// The role in which a vault was opened has not the right to do this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingRight {
    /// The role.
    pub role: Role,
    /// What it would need.
    pub right: Right,
}

impl fmt::Display for MissingRight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the role '{}' has no right '{}'", self.role, self.right.name())
    }
}

impl std::error::Error for MissingRight {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_role_has_the_rights_of_another_but_to_look() {
        let roles = [Role::Administrator, Role::Backup, Role::Recovery, Role::RunTime];
        for right in [Right::Administer, Right::Backup, Right::Recover, Right::Unwrap, Right::Wrap] {
            assert_eq!(roles.iter().filter(|role| role.has(right)).count(), 1, "{right:?}");
        }
        assert!(roles.iter().all(|role| role.has(Right::Get)));
        assert!(!Role::RunTime.has(Right::List));
        for role in roles {
            assert_eq!(role.name().parse(), Ok(role));
        }
        assert_eq!("root".parse::<Role>(), Err(RoleError));
    }
}
