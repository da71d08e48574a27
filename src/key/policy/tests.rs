//! Periods and policies: read, printed and applied.

use super::*;
use crate::key::{KeyState, Thumbprint};
use crate::oaep::RsaPublicKey;
use crate::testing::key_der;

#[test]
fn periods_are_those_of_iso_8601() {
    for (text, printed) in [
        ("P7D", "P7D"),
        ("P1W", "P7D"),
        ("P2W1D", "P15D"),
        ("P30D", "P30D"),
        ("P365D", "P365D"),
        ("P1M", "P1M"),
        ("P12M", "P1Y"),
        ("P18M", "P1Y6M"),
        ("P1Y6M10D", "P1Y6M10D"),
        ("P0Y1M0D", "P1M"),
        ("P100Y", "P100Y"),
    ] {
        let period: Period = text.parse().expect(text);
        assert_eq!(period.to_string(), printed);
        assert_eq!(printed.parse(), Ok(period));
    }
}

#[test]
fn less_than_a_week_and_more_than_a_century_are_refused() {
    for (text, error) in [
        ("P6D", PeriodError::TooShort),
        ("P0D", PeriodError::TooShort),
        ("P0Y", PeriodError::TooShort),
        ("P101Y", PeriodError::TooLong),
        ("P36526D", PeriodError::TooLong),
        ("P99999999999D", PeriodError::TooLong),
        ("P4294967295Y", PeriodError::TooLong),
    ] {
        assert_eq!(text.parse::<Period>(), Err(error), "{text}");
    }
    for text in
        ["", "P", "30D", "P30", "PD", "P1D1Y", "P1Y1Y", "PT720H", "P1DT1H", "P-30D", "p30d", "P 30D", "P1.5Y", "P30D "]
    {
        assert_eq!(text.parse::<Period>(), Err(PeriodError::Unreadable), "{text}");
    }
}

#[test]
fn every_policy_has_one_text() {
    let (month, week) = (Period::new(1, 0).expect("long enough"), Period::new(0, 7).expect("long enough"));
    let triggers = [None, Some(Trigger::AfterCreation(month)), Some(Trigger::BeforeExpiry(week))];
    for notify in triggers {
        for rotate in triggers {
            let policy = RotationPolicy { notify, rotate };
            assert_eq!(policy.to_string().parse(), Ok(policy));
        }
    }
    let policy = RotationPolicy { notify: triggers[2], rotate: triggers[1] };
    assert_eq!(policy.to_string(), "notify P7D before expiry, rotate P1M after creation");
    for text in [
        "",
        "rotate",
        "rotate P1M",
        "rotate P12M after creation",
        "notify P7D before expiry,",
        "none, none",
        "x P1M after creation",
    ] {
        assert!(text.parse::<RotationPolicy>().is_err(), "{text}");
    }
    let turned = "rotate P1M after creation, notify P7D before expiry";
    assert!(turned.parse::<RotationPolicy>().is_err());
}

#[test]
fn an_action_is_due_from_its_second_on() {
    let policy: RotationPolicy = "notify P30D before expiry, rotate P1Y after creation".parse().expect("a policy");
    let version = version("2024-02-29", Some("2026-01-31"));
    let at = |text: &str| policy.due(&version, time(text));
    assert_eq!(at("2025-02-27T23:59:59Z"), []);
    let rotate = DueAction { action: PolicyAction::Rotate, since: time("2025-02-28") };
    assert_eq!(at("2025-02-28"), [rotate]);
    let notify = DueAction { action: PolicyAction::Notify, since: time("2026-01-01") };
    assert_eq!(at("2026-01-01"), [notify, rotate]);
    assert_eq!(at("1970-01-01"), [], "a clock set back");
    assert_eq!(at("2106-02-08").len(), 2);
}

#[test]
fn a_trigger_without_its_date_is_never_due() {
    let policy: RotationPolicy = "notify P30D before expiry, rotate P7D before expiry".parse().expect("a policy");
    let mut version = version("2024-01-01", None);
    assert_eq!(policy.due(&version, UnixTime(u64::MAX)), []);
    version.created = None;
    let policy: RotationPolicy = "rotate P7D after creation".parse().expect("a policy");
    assert_eq!(policy.schedule(&version), []);
    assert!(RotationPolicy::default().is_empty() && !policy.is_empty());
}

fn time(text: &str) -> UnixTime {
    text.parse().expect("a time")
}

fn version(created: &str, expires: Option<&str>) -> KeyVersion {
    let public = RsaPublicKey::from_spki_der(&key_der("rsa2048.spki")).expect("a good key");
    KeyVersion {
        id: "vault/key@1".to_owned(),
        thumbprint: Thumbprint::of(&public),
        state: KeyState::Enabled,
        not_before: None,
        not_after: expires.map(time),
        created: Some(time(created)),
        customer: true,
        public,
    }
}
