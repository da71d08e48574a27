//! When a key version may wrap.

use super::*;
use crate::testing::key_der;

#[test]
fn enabled_key_without_dates_wraps_at_any_time() {
    for now in [0, 1, FROM, u64::MAX] {
        assert_eq!(version(KeyState::Enabled, None, None).may_wrap(UnixTime(now)), Ok(()));
    }
}

#[test]
fn activation_is_the_first_second_that_wraps() {
    let version = version(KeyState::Enabled, Some(FROM), None);
    let early = Err(WrapRefusal::NotYetValid(UnixTime(FROM)));
    for (now, expected) in [(0, early), (FROM - 1, early), (FROM, Ok(())), (FROM + 1, Ok(())), (u64::MAX, Ok(()))] {
        assert_eq!(version.may_wrap(UnixTime(now)), expected, "{now}");
    }
}

#[test]
fn expiry_is_the_first_second_that_does_not_wrap() {
    let version = version(KeyState::Enabled, None, Some(UNTIL));
    let late = Err(WrapRefusal::Expired(UnixTime(UNTIL)));
    for (now, expected) in [(0, Ok(())), (UNTIL - 1, Ok(())), (UNTIL, late), (UNTIL + 1, late), (u64::MAX, late)] {
        assert_eq!(version.may_wrap(UnixTime(now)), expected, "{now}");
    }
}

#[test]
fn both_dates_bound_the_time() {
    let version = version(KeyState::Enabled, Some(FROM), Some(UNTIL));
    let (early, late) = (WrapRefusal::NotYetValid(UnixTime(FROM)), WrapRefusal::Expired(UnixTime(UNTIL)));
    let cases = [(FROM - 1, Err(early)), (FROM, Ok(())), (UNTIL - 1, Ok(())), (UNTIL, Err(late))];
    for (now, expected) in cases {
        assert_eq!(version.may_wrap(UnixTime(now)), expected, "{now}");
    }
}

#[test]
fn dates_in_the_wrong_order_leave_no_time_to_wrap() {
    for (from, until) in [(UNTIL, FROM), (FROM, FROM)] {
        let version = version(KeyState::Enabled, Some(from), Some(until));
        for now in [0, FROM - 1, FROM, FROM + 1, UNTIL, UNTIL + 1, u64::MAX] {
            assert!(version.may_wrap(UnixTime(now)).is_err(), "{from} to {until}, at {now}");
        }
    }
}

#[test]
fn disabled_and_deleted_keys_never_wrap() {
    for (state, refusal) in [(KeyState::Deleted, WrapRefusal::Deleted), (KeyState::Disabled, WrapRefusal::Disabled)] {
        for (from, until) in [(None, None), (Some(FROM), None), (None, Some(UNTIL)), (Some(FROM), Some(UNTIL))] {
            for now in [0, FROM, UNTIL - 1, UNTIL, u64::MAX] {
                assert_eq!(version(state, from, until).may_wrap(UnixTime(now)), Err(refusal), "{state:?} at {now}");
            }
        }
    }
}

#[test]
fn refusals_name_the_date() {
    let early = version(KeyState::Enabled, Some(FROM), None).may_wrap(UnixTime(0)).expect_err("too early");
    assert_eq!(early.to_string(), "it is not valid before 2001-09-09T01:46:40Z");
    let late = version(KeyState::Enabled, None, Some(UNTIL)).may_wrap(UnixTime(UNTIL)).expect_err("too late");
    assert_eq!(late.to_string(), "it expired on 2033-05-18T03:33:20Z");
}

#[test]
fn version_numbers_count_from_one() {
    assert_eq!(VersionNumber::new(0), None);
    assert_eq!(VersionNumber::new(1), Some(VersionNumber::FIRST));
    assert_eq!(VersionNumber::FIRST.next(), VersionNumber::new(2));
    assert_eq!(VersionNumber::new(u32::MAX).expect("not 0").next(), None);
    assert_eq!("17".parse(), Ok(VersionNumber::new(17).expect("not 0")));
    for text in ["", "0", "-1", "4294967296", "1.0", " 1", "x"] {
        assert!(text.parse::<VersionNumber>().is_err(), "{text:?}");
    }
}

fn version(state: KeyState, from: Option<u64>, until: Option<u64>) -> KeyVersion {
    let public = RsaPublicKey::from_spki_der(&key_der("rsa2048.spki")).expect("a good key");
    KeyVersion {
        id: "vault/key@1".to_owned(),
        thumbprint: Thumbprint::of(&public),
        state,
        not_before: from.map(UnixTime),
        not_after: until.map(UnixTime),
        created: None,
        customer: true,
        public,
    }
}

const FROM: u64 = 1_000_000_000;
const UNTIL: u64 = 2_000_000_000;
