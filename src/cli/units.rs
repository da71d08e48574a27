//! Sizes, ranges, times and labels as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sobre::clock::{Clock, SystemClock, TimeError, UnixTime};
use sobre::key::{Period, PeriodError};

/// A number of bytes: `4096`, `256K`, `1M`, `2G`, `1T`; units are powers of 1024, also written `KiB` and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteSize(pub(crate) u64);

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let shift = match unit.to_ascii_uppercase().trim_end_matches("IB").trim_end_matches('B') {
            "" => 0,
            "K" => 10,
            "M" => 20,
            "G" => 30,
            "T" => 40,
            _ => return Err(format!("'{unit}' is no unit; use K, M, G or T")),
        };
        let number: u64 = number.parse().map_err(|_| "a size is a number, with K, M, G or T behind it".to_owned())?;
        number.checked_mul(1 << shift).map(Self).ok_or_else(|| "the size is too large".to_owned())
    }
}

/// A stretch of a disk: `OFFSET:LENGTH`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DiskRange {
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

impl FromStr for DiskRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (offset, len) = text.split_once(':').ok_or("a range is OFFSET:LENGTH, as in 1M:512")?;
        Ok(Self { offset: offset.parse::<ByteSize>()?.0, len: len.parse::<ByteSize>()?.0 })
    }
}

/// A label: `K=V`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    pub(crate) key: String,
    pub(crate) value: String,
}

impl FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("a label is KEY=VALUE")?;
        Ok(Self { key: key.to_owned(), value: value.to_owned() })
    }
}

/// A date that is set, or taken away: a time, `none` or `never`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Date(pub(crate) Option<UnixTime>);

impl FromStr for Date {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        match text {
            "never" | "none" => Ok(Self(None)),
            time => time.parse().map(|time| Self(Some(time))),
        }
    }
}

/// A period that is set, or taken away: `P30D`, `none` or `never`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PolicyPeriod(pub(crate) Option<Period>);

impl FromStr for PolicyPeriod {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Self, PeriodError> {
        match text {
            "never" | "none" => Ok(Self(None)),
            period => period.parse().map(|period| Self(Some(period))),
        }
    }
}

/// A time: `30s`, `2m`, `500ms`, `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timeout(pub(crate) Duration);

impl FromStr for Timeout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| "a time is a number with ms, s, m or h behind it".to_owned())?;
        let millis = match unit {
            "ms" => 1,
            "s" | "" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            other => return Err(format!("'{other}' is no unit of time; use ms, s, m or h")),
        };
        let millis = number.checked_mul(millis).ok_or("the time is too long")?;
        if millis == 0 { Err("the time must not be zero".to_owned()) } else { Ok(Self(Duration::from_millis(millis))) }
    }
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.subsec_millis() {
            0 => write!(f, "{} s", self.0.as_secs()),
            _ => write!(f, "{} ms", self.0.as_millis()),
        }
    }
}

/// A point in time: `2026-01-31`, `2026-01-31T08:00:00Z`, or so long ago: `90m`, `12h`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Since(pub(crate) UnixTime);

impl FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(time) = text.parse() {
            return Ok(Self(time));
        }
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let seconds: Option<u64> = match unit {
            "s" => Some(1),
            "m" => Some(60),
            "h" => Some(3600),
            "d" => Some(86_400),
            "w" => Some(7 * 86_400),
            _ => None,
        };
        let ago = number.parse().ok().zip(seconds).and_then(|(number, unit): (u64, u64)| number.checked_mul(unit));
        let ago = ago.ok_or("a time is YYYY-MM-DD, YYYY-MM-DDTHH:MM:SSZ, or so long ago: 90m, 12h, 7d")?;
        Ok(Self(UnixTime(SystemClock.now().0.saturating_sub(ago))))
    }
}

/// Shows how many there are of something: `1 key`, `2 keys`.
pub(crate) fn count(number: usize, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

/// Shows a number of bytes for people: `4.0 MiB`.
pub(crate) fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}

/// Shows bytes as lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads 32 bytes from 64 hexadecimal digits.
pub(crate) fn parse_root(text: &str) -> Option<[u8; 32]> {
    let digits = text.trim().as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut root = [0; 32];
    for (byte, pair) in root.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, size) in
            [("0", 0), ("512", 512), ("64K", 65536), ("1m", 1 << 20), ("2GiB", 2 << 30), ("1TB", 1 << 40)]
        {
            assert_eq!(text.parse(), Ok(ByteSize(size)));
        }
        for text in ["", "K", "1X", "-1", "99999999999999999999", "999999999T", "1.5M"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_is_a_date_or_so_long_ago() {
        assert_eq!("1970-01-02".parse(), Ok(Since(UnixTime(86_400))));
        let now = SystemClock.now().0;
        for (text, ago) in [("90m", 5400), ("12h", 43_200), ("7d", 604_800), ("1w", 604_800), ("0s", 0)] {
            let Since(found) = text.parse().expect(text);
            assert!(found.0.abs_diff(now - ago) < 60, "{text}");
        }
        for text in ["", "d", "7", "7y", "-1d", "99999999999999999999d", "18446744073709551615w", "tomorrow"] {
            assert!(text.parse::<Since>().is_err(), "{text}");
        }
        assert_eq!("999999999999d".parse(), Ok(Since(UnixTime(0))));
    }

    #[test]
    fn a_root_has_64_digits() {
        assert_eq!(parse_root(&"0a".repeat(32)), Some([10; 32]));
        assert_eq!(parse_root("0a"), None);
        assert_eq!(parse_root(&"zz".repeat(32)), None);
        assert_eq!(parse_root(&"+1".repeat(32)), None);
    }
}
