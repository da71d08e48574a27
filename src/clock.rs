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

    /// Adds calendar months, or takes them away: the same day and time of that month, or its last day where it has no such day. Stops
    /// at 1970. Beyond the year 9999, where there is no calendar, a month has 30 days.
    #[must_use]
    pub fn plus_months(self, months: i64) -> Self {
        let (days, second) = (self.0 / DAY, self.0 % DAY);
        if days >= DAYS_UNTIL_YEAR_10000 {
            return Self(self.0.saturating_add_signed(months.saturating_mul(30 * DAY.cast_signed())));
        }
        let (year, month, day) = civil_from_days(days);
        let target = (year * 12 + month - 1).saturating_add_signed(months);
        let (year, month) = (target / 12, target % 12 + 1);
        if year < 1970 {
            return Self(0);
        }
        let first = days_from_civil(year, month, 1);
        let last = days_from_civil(year + month / 12, month % 12 + 1, 1) - first;
        Self((first + day.min(last) - 1) * DAY + second)
    }
}

impl FromStr for UnixTime {
    type Err = TimeError;

    /// Reads `YYYY-MM-DD`, midnight in UTC, or `YYYY-MM-DDThh:mm:ssZ`; from 1970 to 9999, without leap seconds.
    fn from_str(text: &str) -> Result<Self, TimeError> {
        let (date, time) = text.split_at_checked(10).ok_or(TimeError)?;
        let time = match time {
            "" => "T00:00:00Z",
            time => time,
        };
        let number = |text: &str, range: std::ops::Range<usize>| -> Result<u64, TimeError> {
            let digits = text.get(range).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
            digits.and_then(|digits| digits.parse().ok()).ok_or(TimeError)
        };
        let separated = |text: &str, separators: &[(usize, u8)]| {
            separators.iter().all(|&(at, separator)| text.as_bytes().get(at) == Some(&separator))
        };
        if time.len() != 10
            || !separated(date, &[(4, b'-'), (7, b'-')])
            || !separated(time, &[(0, b'T'), (3, b':'), (6, b':'), (9, b'Z')])
        {
            return Err(TimeError);
        }
        let (year, month, day) = (number(date, 0..4)?, number(date, 5..7)?, number(date, 8..10)?);
        let (hour, minute, second) = (number(time, 1..3)?, number(time, 4..6)?, number(time, 7..9)?);
        if year < 1970
            || !(1..=12).contains(&month)
            || !(1..=31).contains(&day)
            || hour > 23
            || minute > 59
            || second > 59
        {
            return Err(TimeError);
        }
        let days = days_from_civil(year, month, day);
        // A day that the month does not have is a day of the next one.
        if civil_from_days(days) != (year, month, day) {
            return Err(TimeError);
        }
        Ok(Self(days * DAY + hour * 3600 + minute * 60 + second))
    }
}

/// A text is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeError;

impl fmt::Display for TimeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time is a date as in 2031-12-24, or 2031-12-24T18:00:00Z, in UTC")
    }
}

impl std::error::Error for TimeError {}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.0 / DAY;
        let second = self.0 % DAY;
        // A file may carry any u64; years of more than four digits are outside RFC 3339.
        if days >= DAYS_UNTIL_YEAR_10000 {
            return write!(f, "@{}", self.0);
        }
        let (year, month, day) = civil_from_days(days);
        write!(f, "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
    }
}

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

/// The inverse of [`civil_from_days`], for years from 1970.
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Seconds of a day.
const DAY: u64 = 86_400;
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
    fn what_is_printed_is_read_again() {
        for seconds in (0..253_402_300_800).step_by(86_399 * 97) {
            let time = UnixTime(seconds);
            assert_eq!(time.to_string().parse(), Ok(time));
        }
        assert_eq!("2024-02-29".parse(), Ok(UnixTime(1_709_164_800)));
        for text in [
            "",
            "2023-02-29",
            "2024-00-01",
            "2024-13-01",
            "2024-04-31",
            "1969-12-31",
            "2024-1-01",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:60:00Z",
            "2024-01-01T00:00:60Z",
            "2024-01-01T00:00:00",
            "2024-01-01 00:00:00Z",
            "+024-01-01",
            "2024-01-01T00:00:00+01:00",
            "10000-01-01",
            "2024-01-0\u{663}",
            "\u{663}\u{663}\u{663}\u{663}\u{663}",
        ] {
            assert_eq!(text.parse::<UnixTime>(), Err(TimeError), "{text}");
        }
    }

    #[test]
    fn months_end_on_their_last_day() {
        for (from, months, to) in [
            ("2024-01-31", 1, "2024-02-29"),
            ("2023-01-31", 1, "2023-02-28"),
            ("2024-02-29", 12, "2025-02-28"),
            ("2024-12-15", 1, "2025-01-15"),
            ("2024-01-15", -1, "2023-12-15"),
            ("2024-03-31", -13, "2023-02-28"),
            ("2038-01-19", 12 * 68, "2106-01-19"),
            ("1970-03-01", -2, "1970-01-01"),
        ] {
            let time: UnixTime = from.parse().expect("a time");
            assert_eq!(time.plus_months(months), to.parse().expect("a time"), "{from} {months}");
        }
        assert_eq!(UnixTime(0).plus_months(-1), UnixTime(0));
        assert_eq!(UnixTime(u64::MAX).plus_months(i64::MAX), UnixTime(u64::MAX));
        assert_eq!(UnixTime(5).plus_months(i64::MIN), UnixTime(0));
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
