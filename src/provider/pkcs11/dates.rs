//! Dates of keys: whole days in UTC.

use cryptoki::types::Date;

use crate::clock::UnixTime;
use crate::provider::ProviderErrorKind;
use crate::provider::pkcs11::error::{Fault, TokenError};

/// Returns midnight at the beginning of a day; `None` for no date.
pub(super) fn begins(date: Date) -> Result<Option<UnixTime>, Fault> {
    let digits = [&date.year[..], &date.month, &date.day].map(|digits| String::from_utf8_lossy(digits).into_owned());
    if date.is_empty() || digits.iter().all(|digits| digits.chars().all(|digit| matches!(digit, ' ' | '0'))) {
        return Ok(None);
    }
    digits.join("-").parse().map(Some).map_err(|_| Fault::lying("CKA_START_DATE or CKA_END_DATE"))
}

/// Returns midnight at the end of a day.
pub(super) fn ends(date: Date) -> Result<Option<UnixTime>, Fault> {
    Ok(begins(date)?.map(|time| time.plus(DAY)))
}

/// Returns the day that begins at `time`.
pub(super) fn first_day(time: Option<UnixTime>) -> Result<Date, Fault> {
    let Some(time) = time else { return Ok(Date::new_empty()) };
    if time.0 % DAY != 0 {
        return Err(Fault::of(ProviderErrorKind::Unsupported, TokenError::DateNotMidnight));
    }
    let text = time.to_string();
    let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or_default();
    Ok(Date::new_from_str_slice(part(0..4), part(5..7), part(8..10))?)
}

/// Returns the day that ends at `time`.
pub(super) fn last_day(time: Option<UnixTime>) -> Result<Date, Fault> {
    match time {
        // The first day of all has none before it.
        Some(UnixTime(seconds)) if seconds < DAY => {
            Err(Fault::of(ProviderErrorKind::Unsupported, TokenError::DateNotMidnight))
        }
        time => first_day(time.map(|time| UnixTime(time.0 - DAY))),
    }
}

/// Seconds of a day.
const DAY: u64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> Date {
        Date::new_from_str_slice(&text[..4], &text[4..6], &text[6..]).expect("digits")
    }

    #[test]
    fn a_day_begins_and_ends_at_midnight() {
        let (from, until) = ("2031-12-24".parse().expect("a time"), "2031-12-25".parse().expect("a time"));
        assert_eq!(begins(date("20311224")).expect("a day"), Some(from));
        assert_eq!(ends(date("20311224")).expect("a day"), Some(until));
        assert_eq!(first_day(Some(from)).expect("midnight"), date("20311224"));
        assert_eq!(last_day(Some(until)).expect("midnight"), date("20311224"));
    }

    #[test]
    fn no_date_is_none_and_junk_is_no_date() {
        for none in [Date::new_empty(), date("00000000"), date("        ")] {
            assert_eq!(begins(none).expect("none"), None);
        }
        assert!(first_day(None).expect("none").is_empty());
        for junk in ["20230229", "20241301", "abcdefgh", "2024 101"] {
            assert_eq!(ends(date(junk)).expect_err("junk").kind, ProviderErrorKind::Lying, "{junk}");
        }
    }

    #[test]
    fn other_times_than_midnight_are_refused() {
        for time in [1, DAY - 1, DAY + 1] {
            assert_eq!(first_day(Some(UnixTime(time))).expect_err("no day").kind, ProviderErrorKind::Unsupported);
        }
        assert_eq!(last_day(Some(UnixTime(0))).expect_err("no day").kind, ProviderErrorKind::Unsupported);
    }
}
