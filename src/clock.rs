//! Time: every clock read goes through [`Clock`], so that every rule with a duration can be tested.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Reads the time.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Returns the wall clock, which may be wrong and may jump.
    fn now(&self) -> UnixTime;

    /// Returns a monotonic time, for deadlines and rates.
    fn monotonic(&self) -> Duration;
}

/// A point in time in whole seconds since 1970-01-01T00:00:00Z. `Display` is RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// Adds whole seconds, stopping at the end of time rather than wrapping.
    pub fn plus(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.0 / 86_400;
        let second = self.0 % 86_400;
        // A file may carry any u64; years of more than four digits are outside RFC 3339.
        if days >= DAYS_UNTIL_YEAR_10000 {
            return write!(f, "@{}", self.0);
        }
        let (year, month, day) = civil_from_days(days);
        write!(f, "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
    }
}

impl FromStr for UnixTime {
    type Err = TimeError;

    /// Reads what `Display` writes, and the shorter `YYYY-MM-DD`, midnight in UTC.
    fn from_str(text: &str) -> Result<Self, TimeError> {
        if let Some(seconds) = text.strip_prefix('@') {
            return seconds.parse().map(Self).map_err(|_| TimeError);
        }
        let (date, time) = match text.strip_suffix('Z').and_then(|text| text.split_once('T')) {
            Some((date, time)) => (date, time),
            None => (text, "00:00:00"),
        };
        let [year, month, day] = numbers(date, '-', [4, 2, 2]).ok_or(TimeError)?;
        let [hour, minute, second] = numbers(time, ':', [2, 2, 2]).ok_or(TimeError)?;
        if hour > 23 || minute > 59 || second > 59 {
            return Err(TimeError);
        }
        let days = days_from_civil(year, month, day).ok_or(TimeError)?;
        Ok(Self(days * 86_400 + hour * 3600 + minute * 60 + second))
    }
}

/// Not a point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeError;

impl fmt::Display for TimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time is YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ, from 1970 on")
    }
}

impl std::error::Error for TimeError {}

/// Reads the machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixTime {
        UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }

    fn monotonic(&self) -> Duration {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        START.get_or_init(Instant::now).elapsed()
    }
}

/// A clock that stands still until it is told to move: for tests of everything with a duration.
#[derive(Debug)]
pub struct VirtualClock {
    seconds: AtomicU64,
    moved: AtomicU64,
}

impl VirtualClock {
    /// Starts at `now`.
    pub fn at(now: UnixTime) -> Self {
        Self { seconds: AtomicU64::new(now.0), moved: AtomicU64::new(0) }
    }

    /// Moves both clocks forward.
    pub fn advance(&self, by: Duration) {
        self.seconds.fetch_add(by.as_secs(), Ordering::Relaxed);
        self.moved.fetch_add(by.as_secs(), Ordering::Relaxed);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> UnixTime {
        UnixTime(self.seconds.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.moved.load(Ordering::Relaxed))
    }
}

/// Proleptic Gregorian date of a day number counted from 1970-01-01, by eras of 400 years that start on 1 March.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

/// The day number of a date from 1970 on; `None` where the calendar has no such day.
fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    let from_march = if month > 2 { month.checked_sub(3)? } else { month + 9 };
    let shifted_year = year.checked_sub(u64::from(month <= 2))?;
    let (era, year_of_era) = (shifted_year / 400, shifted_year % 400);
    let day_of_year = (153 * from_march + 2) / 5 + day.checked_sub(1)?;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    // What is no day of its month comes back as another one.
    (civil_from_days(days) == (year, month, day)).then_some(days)
}

/// Reads three numbers of so many digits each.
fn numbers(text: &str, separator: char, digits: [usize; 3]) -> Option<[u64; 3]> {
    let mut parts = text.split(separator);
    let mut read = |len| {
        let part = parts.next()?;
        let plain = part.len() == len && part.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| part.parse().ok()).flatten()
    };
    let [first, second, third] = digits;
    let numbers = [read(first)?, read(second)?, read(third)?];
    parts.next().is_none().then_some(numbers)
}

const DAYS_UNTIL_YEAR_10000: u64 = 2_932_897;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_rfc_3339() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (2_147_483_648, "2038-01-19T03:14:08Z"),
            (4_294_967_296, "2106-02-07T06:28:16Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
            (253_402_300_800, "@253402300800"),
            (u64::MAX, "@18446744073709551615"),
        ] {
            assert_eq!(UnixTime(seconds).to_string(), text);
        }
    }

    #[test]
    fn what_is_written_reads_back_and_nothing_else_does() {
        for seconds in [0, 951_782_399, 951_782_400, 2_147_483_648, 4_294_967_296, 253_402_300_799, u64::MAX] {
            assert_eq!(UnixTime(seconds).to_string().parse(), Ok(UnixTime(seconds)));
        }
        for days in 0..60_000 {
            let time = UnixTime(days * 86_400);
            assert_eq!(time.to_string()[..10].parse(), Ok(time));
        }
        for text in [
            "",
            "2026",
            "2026-1-1",
            "2026-13-01",
            "2026-00-01",
            "2026-02-29",
            "2026-04-31",
            "2026-01-00",
            "1969-12-31",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:60:00Z",
            "2026-01-01T00:00:00",
            "2026-01-01T00:00:00+00:00",
            "@",
            "@-1",
            "0000-01-01",
            "2026-01-01-01",
            "+026-01-01",
            "2026-01-01T00:00Z",
        ] {
            assert_eq!(text.parse::<UnixTime>(), Err(TimeError), "{text}");
        }
    }

    #[test]
    fn a_virtual_clock_moves_only_when_told() {
        let clock = VirtualClock::at(UnixTime(100));
        assert_eq!(clock.now(), UnixTime(100));
        clock.advance(Duration::from_secs(5));
        assert_eq!(clock.now(), UnixTime(105));
        assert_eq!(clock.monotonic(), Duration::from_secs(5));
    }
}
