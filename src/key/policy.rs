//! Rotation policies: what is to be done with a key, and when (R73).

use std::fmt;
use std::str::FromStr;

use crate::clock::UnixTime;
use crate::key::KeyVersion;

/// When a key is rotated, and when somebody is told. Both may be left open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RotationPolicy {
    /// When somebody is told.
    pub notify: Option<Trigger>,
    /// When the next version is made.
    pub rotate: Option<Trigger>,
}

impl RotationPolicy {
    /// Whether nothing is ever done.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns when each action falls due for the newest version of a key. A trigger whose date is not known never does.
    pub fn schedule(&self, newest: &KeyVersion) -> Vec<DueAction> {
        let at = |trigger: Trigger| match trigger {
            Trigger::AfterCreation(period) => newest.created.map(|created| period.after(created)),
            Trigger::BeforeExpiry(period) => newest.not_after.map(|expiry| period.before(expiry)),
        };
        let action = |action, trigger: Option<Trigger>| Some(DueAction { action, since: at(trigger?)? });
        let (notify, rotate) = (action(PolicyAction::Notify, self.notify), action(PolicyAction::Rotate, self.rotate));
        notify.into_iter().chain(rotate).collect()
    }

    /// Returns what is due at `now` for the newest version of a key. A clock that was set back makes nothing due.
    pub fn due(&self, newest: &KeyVersion, now: UnixTime) -> Vec<DueAction> {
        let mut due = self.schedule(newest);
        due.retain(|action| action.since <= now);
        due
    }
}

impl fmt::Display for RotationPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (action, trigger) in [(PolicyAction::Notify, self.notify), (PolicyAction::Rotate, self.rotate)] {
            if let Some(trigger) = trigger {
                write!(f, "{separator}{} {trigger}", action.name())?;
                separator = ", ";
            }
        }
        if separator.is_empty() { f.write_str("none") } else { Ok(()) }
    }
}

impl FromStr for RotationPolicy {
    type Err = PeriodError;

    /// Reads what `Display` writes, and nothing else: every policy has one text.
    fn from_str(text: &str) -> Result<Self, PeriodError> {
        let mut policy = Self::default();
        for part in text.split(", ").filter(|_| text != "none") {
            let (action, trigger) = part.split_once(' ').ok_or(PeriodError::Unreadable)?;
            match action {
                "notify" => policy.notify = Some(trigger.parse()?),
                "rotate" => policy.rotate = Some(trigger.parse()?),
                _ => return Err(PeriodError::Unreadable),
            }
        }
        if policy.to_string() == text { Ok(policy) } else { Err(PeriodError::Unreadable) }
    }
}

/// What a policy does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PolicyAction {
    /// Somebody is told.
    Notify,
    /// The next version is made.
    Rotate,
}

impl PolicyAction {
    /// Returns the action's name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Notify => "notify",
            Self::Rotate => "rotate",
        }
    }
}

/// An action with its date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueAction {
    /// What is to be done.
    pub action: PolicyAction,
    /// From when on.
    pub since: UnixTime,
}

/// From when on something is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Trigger {
    /// When the newest version is this old.
    AfterCreation(Period),
    /// This long before the newest version expires.
    BeforeExpiry(Period),
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AfterCreation(period) => write!(f, "{period} after creation"),
            Self::BeforeExpiry(period) => write!(f, "{period} before expiry"),
        }
    }
}

impl FromStr for Trigger {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Self, PeriodError> {
        match text.split_once(' ') {
            Some((period, "after creation")) => period.parse().map(Self::AfterCreation),
            Some((period, "before expiry")) => period.parse().map(Self::BeforeExpiry),
            _ => Err(PeriodError::Unreadable),
        }
    }
}

/// A stretch of the calendar, 7 days to 100 years, as ISO 8601 writes it: `P30D`, `P2W`, `P6M`, `P1Y`, `P1Y6M`.
///
/// Months and years are those of the calendar: `P1M` after 31 January is the last of February. Times of the day are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Period {
    months: u32,
    days: u32,
}

impl Period {
    /// Takes months and days together.
    ///
    /// # Errors
    ///
    /// [`TooShort`](PeriodError::TooShort) for less than 7 days, [`TooLong`](PeriodError::TooLong) for more than 100 years.
    pub fn new(months: u32, days: u32) -> Result<Self, PeriodError> {
        match (months, days) {
            (0, ..LEAST_DAYS) => Err(PeriodError::TooShort),
            (..=MOST_MONTHS, ..=MOST_DAYS) => Ok(Self { months, days }),
            _ => Err(PeriodError::TooLong),
        }
    }

    /// Returns the time that lies this long after `time`.
    pub fn after(self, time: UnixTime) -> UnixTime {
        time.plus_months(i64::from(self.months)).plus(u64::from(self.days) * DAY)
    }

    /// Returns the time that lies this long before `time`.
    pub fn before(self, time: UnixTime) -> UnixTime {
        let earlier = time.plus_months(-i64::from(self.months));
        UnixTime(earlier.0.saturating_sub(u64::from(self.days) * DAY))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("P")?;
        for (number, unit) in [(self.months / 12, 'Y'), (self.months % 12, 'M'), (self.days, 'D')] {
            if number > 0 {
                write!(f, "{number}{unit}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for Period {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Self, PeriodError> {
        let mut rest = text.strip_prefix('P').filter(|rest| !rest.is_empty()).ok_or(PeriodError::Unreadable)?;
        let (mut months, mut days) = (0_u32, 0_u32);
        // Each unit at most once, and from the longest to the shortest.
        let mut units = [('Y', 12, 0), ('M', 1, 0), ('W', 0, 7), ('D', 0, 1)].into_iter();
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, behind) = rest.split_at(digits);
            let mut behind = behind.chars();
            let unit = behind.next().ok_or(PeriodError::Unreadable)?;
            let (_, in_months, in_days) = units.find(|(name, ..)| *name == unit).ok_or(PeriodError::Unreadable)?;
            if number.is_empty() {
                return Err(PeriodError::Unreadable);
            }
            let number: u32 = number.parse().map_err(|_| PeriodError::TooLong)?;
            let add = |sum: u32, factor| number.checked_mul(factor).and_then(|product| sum.checked_add(product));
            months = add(months, in_months).ok_or(PeriodError::TooLong)?;
            days = add(days, in_days).ok_or(PeriodError::TooLong)?;
            rest = behind.as_str();
        }
        Self::new(months, days)
    }
}

/// Why a text is no period or policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PeriodError {
    /// More than 100 years.
    TooLong,
    /// Less than 7 days.
    TooShort,
    /// Not in the form of ISO 8601.
    Unreadable,
}

impl fmt::Display for PeriodError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "a period is at most 100 years long (P100Y)",
            Self::TooShort => "a period is at least 7 days long (P7D)",
            Self::Unreadable => "a period is written as in P30D, P6M or P1Y",
        })
    }
}

impl std::error::Error for PeriodError {}

const LEAST_DAYS: u32 = 7;
const MOST_MONTHS: u32 = 1200;
const MOST_DAYS: u32 = 36_525;
/// Seconds.
const DAY: u64 = 86_400;

#[cfg(test)]
mod tests;
