//! What every provider must do, as one call that anybody can run against their own.
//!
//! [`run`] takes a [`Subject`]: a vault, a key in it, and what else the vault can do. It needs no test framework and never panics on what
//! the vault answers; each check states a fact as its name, and the [`Report`] says of each whether it holds. A check that needs a
//! [`Capability`] which the subject does not offer is reported as not run, never as passed.
//!
//! Run it against a vault for tests: with an administrator it makes a key named `conformance-…`, rotates it and changes its dates.
//! It deletes that key softly where it can; where it cannot, the key stays behind. It takes a second or two, most of it for RSA keys.
//!
//! ```
//! use std::sync::Arc;
//! use sobre::key::KeyRef;
//! use sobre::provider::PemFiles;
//! use sobre::provider::conformance::{Subject, run};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/keys/test-rsa2048.pkcs8.pem");
//! let mut files = PemFiles::new();
//! files.add(path.as_ref())?;
//! let report = run(&Subject::new(Arc::new(files), KeyRef::File(path.into())));
//! assert!(report.is_conformant(), "{report}");
//! # Ok(())
//! # }
//! ```

mod administration;
mod census;
mod references;
mod sharing;
mod states;
mod unwrapping;
mod world;
mod wrapping;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::io::Escaped;
use crate::key::{KeyRef, VaultName};
use crate::provider::{KeyAdmin, KeyCensus, KeyProvider, KeyRecovery};
use world::World;

/// Runs every check that the subject has the capabilities for.
pub fn run(subject: &Subject) -> Report {
    let world = World::new(subject);
    let groups = [
        references::CHECKS,
        wrapping::CHECKS,
        unwrapping::CHECKS,
        states::CHECKS,
        census::CHECKS,
        administration::CHECKS,
        // Last: it looks at every error that the others saw.
        sharing::CHECKS,
    ];
    let checks = groups.into_iter().flatten().map(|check| CheckResult { name: check.name, outcome: check.run(&world) });
    let checks = checks.collect();
    world.clean_up();
    Report { vault: subject.provider.name().clone(), checks }
}

/// A vault, and what can be asked of it.
#[derive(Clone, Debug)]
pub struct Subject {
    provider: Arc<dyn KeyProvider>,
    key: KeyRef,
    older: Option<KeyRef>,
    disabled: Option<KeyRef>,
    expired: Option<KeyRef>,
    not_yet_valid: Option<KeyRef>,
    census: Option<Arc<dyn KeyCensus>>,
    admin: Option<Arc<dyn KeyAdmin>>,
    recovery: Option<Arc<dyn KeyRecovery>>,
    changes: Vec<Change>,
}

impl Subject {
    /// Starts with a vault, and a key in it that wraps and unwraps. Where the vault has versions, `key` names none.
    pub fn new(provider: Arc<dyn KeyProvider>, key: KeyRef) -> Self {
        Self {
            provider,
            key,
            older: None,
            disabled: None,
            expired: None,
            not_yet_valid: None,
            census: None,
            admin: None,
            recovery: None,
            changes: Vec::new(),
        }
    }

    /// Names an older version of the same key.
    #[must_use]
    pub fn with_older(mut self, version: KeyRef) -> Self {
        self.older = Some(version);
        self
    }

    /// Names a key that is disabled.
    #[must_use]
    pub fn with_disabled(mut self, key: KeyRef) -> Self {
        self.disabled = Some(key);
        self
    }

    /// Names an enabled key whose time is over.
    #[must_use]
    pub fn with_expired(mut self, key: KeyRef) -> Self {
        self.expired = Some(key);
        self
    }

    /// Names an enabled key whose time has not come.
    #[must_use]
    pub fn with_not_yet_valid(mut self, key: KeyRef) -> Self {
        self.not_yet_valid = Some(key);
        self
    }

    /// Adds the right to list keys. The census must list the subject's key.
    #[must_use]
    pub fn with_census(mut self, census: Arc<dyn KeyCensus>) -> Self {
        self.census = Some(census);
        self
    }

    /// Adds an administrator, who can create and rotate keys, and make the `changes` named.
    #[must_use]
    pub fn with_admin(mut self, admin: Arc<dyn KeyAdmin>, changes: &[Change]) -> Self {
        self.admin = Some(admin);
        self.changes = changes.to_vec();
        self
    }

    /// Adds the right to recover keys, for vaults that delete softly.
    #[must_use]
    pub fn with_recovery(mut self, recovery: Arc<dyn KeyRecovery>) -> Self {
        self.recovery = Some(recovery);
        self
    }

    /// Whether the subject offers what a check needs.
    pub fn can(&self, capability: Capability) -> bool {
        let may = |change| self.admin.is_some() && self.changes.contains(&change);
        match capability {
            Capability::ActivationDate => self.not_yet_valid.is_some() || may(Change::ActivationDate),
            Capability::Administration => self.admin.is_some(),
            Capability::Census => self.census.is_some(),
            Capability::Disabling => self.disabled.is_some() || may(Change::Disable),
            Capability::ExpiryDate => self.expired.is_some() || may(Change::ExpiryDate),
            Capability::Names => matches!(self.key, KeyRef::Named { .. }),
            Capability::Recovery => self.recovery.is_some() && may(Change::Delete),
            Capability::Versions => self.older.is_some() || self.admin.is_some(),
        }
    }
}

/// What a check may need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Capability {
    /// A key that is not valid yet, or an administrator who can set the date.
    ActivationDate,
    /// An administrator, who creates and rotates keys.
    Administration,
    /// The right to list keys.
    Census,
    /// A disabled key, or an administrator who can disable one.
    Disabling,
    /// An expired key, or an administrator who can set the date.
    ExpiryDate,
    /// A key that is referred to by its name.
    Names,
    /// Soft deletion, and the right to undo it.
    Recovery,
    /// A key with two versions, or an administrator who can rotate.
    Versions,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ActivationDate => "a key that is not valid yet",
            Self::Administration => "an administrator",
            Self::Census => "a census",
            Self::Disabling => "a disabled key",
            Self::ExpiryDate => "an expired key",
            Self::Names => "a key with a name",
            Self::Recovery => "soft deletion and recovery",
            Self::Versions => "a key with two versions",
        })
    }
}

/// What an administrator can change about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Change {
    /// When its time to wrap begins. The suite sets midnight of days, for vaults that know days only.
    ActivationDate,
    /// Whether it is there: soft deletion.
    Delete,
    /// Whether it may be used.
    Disable,
    /// When its time to wrap ends. The suite sets midnight of days, for vaults that know days only.
    ExpiryDate,
}

/// What became of every check.
#[derive(Clone, Debug)]
pub struct Report {
    vault: VaultName,
    checks: Vec<CheckResult>,
}

impl Report {
    /// Whether no check failed. Look at [`not_run`](Self::not_run) too: what was not asked was not answered.
    pub fn is_conformant(&self) -> bool {
        self.failures().next().is_none()
    }

    /// Returns every check with its outcome, in the order in which they ran.
    pub fn checks(&self) -> &[CheckResult] {
        &self.checks
    }

    /// Returns what became of the check of this name.
    pub fn outcome(&self, check: &str) -> Option<&Outcome> {
        self.checks.iter().find(|result| result.name == check).map(|result| &result.outcome)
    }

    /// Returns the checks that failed, and what was found instead.
    pub fn failures(&self) -> impl Iterator<Item = (&'static str, &Finding)> {
        self.checks.iter().filter_map(|check| match &check.outcome {
            Outcome::Failed(finding) => Some((check.name, finding)),
            Outcome::NotRun { .. } | Outcome::Passed => None,
        })
    }

    /// Returns the checks that were not run, and what they would need.
    pub fn not_run(&self) -> impl Iterator<Item = (&'static str, Capability)> {
        self.checks.iter().filter_map(|check| match check.outcome {
            Outcome::NotRun { needs } => Some((check.name, needs)),
            Outcome::Failed(_) | Outcome::Passed => None,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let passed = self.checks.iter().filter(|check| matches!(check.outcome, Outcome::Passed)).count();
        let (failed, not_run) = (self.failures().count(), self.not_run().count());
        writeln!(f, "vault '{}': {passed} passed, {failed} failed, {not_run} not run", self.vault)?;
        for check in &self.checks {
            match &check.outcome {
                Outcome::Failed(finding) => writeln!(f, "  failed   {}: {finding}", check.name)?,
                Outcome::NotRun { needs } => writeln!(f, "  not run  {}: it needs {needs}", check.name)?,
                Outcome::Passed => writeln!(f, "  passed   {}", check.name)?,
            }
        }
        Ok(())
    }
}

/// One check and what became of it.
#[derive(Clone, Debug)]
pub struct CheckResult {
    /// The fact that was checked, in words joined by `_`.
    pub name: &'static str,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The fact does not hold.
    Failed(Finding),
    /// The subject has not what the check needs.
    NotRun {
        /// What that is.
        needs: Capability,
    },
    /// The fact holds.
    Passed,
}

/// What a check found instead of what it expected. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What should have happened.
    pub expected: String,
    /// What happened.
    pub found: String,
}

impl Finding {
    fn new(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { expected: expected.into(), found: found.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, found {}", self.expected, Escaped(&self.found))
    }
}

/// A fact, and how it is found out.
struct Check {
    name: &'static str,
    needs: &'static [Capability],
    body: fn(&World<'_>) -> Result<(), Finding>,
}

impl Check {
    fn run(&self, world: &World<'_>) -> Outcome {
        if let Some(&needs) = self.needs.iter().find(|&&capability| !world.subject.can(capability)) {
            return Outcome::NotRun { needs };
        }
        match catch_unwind(AssertUnwindSafe(|| (self.body)(world))) {
            Ok(Ok(())) => Outcome::Passed,
            Ok(Err(finding)) => Outcome::Failed(finding),
            Err(_) => Outcome::Failed(Finding::new("an answer", "a panic")),
        }
    }
}

/// Lists functions as checks under their own names, with what they need.
macro_rules! checks {
    ($($name:ident $([$($needs:ident),+])?),+ $(,)?) => {
        pub(super) const CHECKS: &[super::Check] = &[$(super::Check {
            name: stringify!($name),
            needs: &[$($(super::Capability::$needs),+)?],
            body: $name,
        }),+];
    };
}
use checks;

#[cfg(all(test, feature = "store"))]
mod tests;
