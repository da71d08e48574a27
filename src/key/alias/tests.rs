//! Aliases in all their spellings, and what abbreviated ones select.

use super::*;
use crate::testing::key_der;

fn key() -> RsaPublicKey {
    RsaPublicKey::from_spki_der(&key_der("rsa2048.spki")).expect("a good key")
}

fn prefix(text: &str) -> AliasPrefix {
    AliasPrefix::parse(text).expect("a scheme").unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refusal(text: &str) -> AliasError {
    AliasPrefix::parse(text).expect("a scheme").expect_err(text)
}

/// `openssl pkey -pubin -in vectors/keys/test-rsa2048.spki.pem -outform der | sha256sum`, and the same in base64.
const SPKI_HEX: &str = "c874c0e47a06f4d6c36a9b93ea5a75d92e8c49924dc0bf8beacb763430350d18";
const SPKI_BASE64: &str = "yHTA5HoG9NbDapuT6lp12S6MSZJNwL+L6st2NDA1DRg=";
const X5T_HEX: &str = "9b4d6f9eea74ad6c7ddcc6d5af23fa4a94a8db6f";
const X5T_BASE64URL: &str = "m01vnup0rWx93MbVryP6SpSo228";
const URL: &str = "https://prod-weu.vault.azure.net/keys/backup/0123456789abcdef0123456789abcdef";

#[test]
fn hash_of_a_public_key_is_the_one_that_openssl_gives() {
    assert_eq!(KeyAlias::Spki(SpkiHash::of(&key())).to_string(), format!("spki:{SPKI_HEX}"));
}

#[test]
fn every_spelling_of_an_alias_is_the_same_alias() {
    let spki = KeyAlias::Spki(SpkiHash::of(&key()));
    let url_safe = SPKI_BASE64.replace('+', "-").replace('/', "_");
    for text in [SPKI_HEX, &SPKI_HEX.to_uppercase(), SPKI_BASE64, SPKI_BASE64.trim_end_matches('='), &url_safe] {
        assert_eq!(format!("spki:{text}").parse(), Ok(spki.clone()), "{text}");
        assert!(prefix(&format!("spki:{text}")).matches(&spki), "{text}");
    }
    let x5t: KeyAlias = format!("x5t:{X5T_HEX}").parse().expect("an alias");
    let pairs: Vec<String> =
        X5T_HEX.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).to_uppercase()).collect();
    for text in [pairs.join(":"), X5T_BASE64URL.to_owned(), format!("{X5T_BASE64URL}=")] {
        assert_eq!(format!("x5t:{text}").parse(), Ok(x5t.clone()), "{text}");
    }
    assert_eq!("cka:0A:0b".parse::<KeyAlias>().expect("an alias").to_string(), "cka:0a0b");
    assert_eq!(
        format!("url:{}", URL.to_uppercase().replace("HTTPS", "https")).parse::<KeyAlias>().map(|url| url.to_string()),
        Ok(format!("url:{URL}"))
    );
}

#[test]
fn an_alias_is_found_by_any_beginning_of_six_characters() {
    let spki = KeyAlias::Spki(SpkiHash::of(&key()));
    let other = KeyAlias::Spki(SpkiHash::from_bytes([0x5a; 32]));
    for text in [SPKI_HEX, SPKI_BASE64.trim_end_matches('=')] {
        for len in 6..=text.len() {
            let begun = prefix(&format!("spki:{}", &text[..len]));
            assert!(begun.matches(&spki) && !begun.matches(&other), "{len}");
            assert_eq!(begun.to_string(), format!("spki:{}", &text[..len]));
        }
    }
    for len in 6..X5T_HEX.len() {
        let x5t: KeyAlias = format!("x5t:{X5T_HEX}").parse().expect("an alias");
        assert!(prefix(&format!("x5t:{}", &X5T_HEX[..len])).matches(&x5t), "{len}");
        assert!(!prefix(&format!("spki:{}", &X5T_HEX[..len])).matches(&x5t), "another kind");
    }
}

#[test]
fn digits_that_may_be_base64_are_looked_for_as_both() {
    let hex = KeyAlias::Spki(SpkiHash::from_bytes([0xab; 32]));
    let mut bytes = [0; 32];
    // "abababab" in base64.
    bytes[..6].copy_from_slice(&[0x69, 0xb6, 0x9b, 0x69, 0xb6, 0x9b]);
    let base64 = KeyAlias::Spki(SpkiHash::from_bytes(bytes));
    let begun = prefix("spki:abababab");
    assert!(begun.matches(&hex) && begun.matches(&base64));
    assert_eq!(begun.ranges().len(), 2);
    assert!(!prefix("spki:ab:ab:ab:ab").matches(&base64), "colons stand between bytes");
}

#[test]
fn short_ids_of_tokens_are_whole_ones() {
    let id = |text: &str| text.parse::<KeyAlias>().expect("an alias");
    assert!(prefix("cka:01").matches(&id("cka:01")));
    assert!(!prefix("cka:01").matches(&id("cka:0102")));
    assert!(prefix("cka:010203").matches(&id("cka:01020304")));
    assert!(prefix("cka:0102030").matches(&id("cka:01020304")));
    assert!(!prefix("cka:0102030").matches(&id("cka:010203")));
    assert_eq!(refusal("cka:1"), AliasError::Text(AliasKind::CkaId));
    assert_eq!(refusal("cka:"), AliasError::Text(AliasKind::CkaId));
    assert!(format!("cka:{}", "0".repeat(510)).parse::<KeyAlias>().is_ok());
    assert!(AliasPrefix::of(AliasKind::CkaId, &"0".repeat(512)).is_err());
}

#[test]
fn ranges_hold_what_matches_and_nothing_else() {
    for (text, inside, outside) in [
        ("x5t:ffffff", vec![[0xff; 20]], vec![[0xfe; 20], [0; 20]]),
        ("x5t:000000", vec![[0; 20]], vec![[1; 20], [0xff; 20]]),
        ("x5t:5a5a5a5", vec![[0x5a; 20]], vec![[0x5b; 20], [0x59; 20]]),
    ] {
        let begun = prefix(text);
        let holds = |value: &[u8; 20]| {
            begun
                .ranges()
                .iter()
                .any(|(from, to)| from.as_slice() <= value.as_slice() && value.as_slice() < to.as_slice())
        };
        for value in inside {
            assert!(
                holds(&value) && begun.matches(&KeyAlias::Certificate(CertificateHash::from_bytes(value))),
                "{text}"
            );
        }
        for value in outside {
            assert!(
                !holds(&value) && !begun.matches(&KeyAlias::Certificate(CertificateHash::from_bytes(value))),
                "{text}"
            );
        }
    }
}

#[test]
fn other_texts_are_no_alias() {
    for text in ["spki:", "spki:abcde", "spki:abcde*", "spki:abc=def", "spki:ä", &format!("spki:{}0", "0".repeat(64))]
    {
        assert_eq!(refusal(text), AliasError::Text(AliasKind::Spki), "{text}");
    }
    // 43 characters whose last two bits are no part of a hash, and 44.
    assert_eq!(refusal(&format!("spki:{}R", "Q".repeat(42))), AliasError::Text(AliasKind::Spki));
    assert_eq!(refusal(&format!("spki:{}G", "G".repeat(43))), AliasError::Text(AliasKind::Spki));
    for text in ["x5t:aaa:bbb", "x5t:ab:cd:e:f0", "x5t::abcdef", &format!("x5t:{X5T_HEX}00")] {
        assert_eq!(refusal(text), AliasError::Text(AliasKind::Certificate), "{text}");
    }
    for text in [
        "url:http://a.vault.azure.net/keys/k/0123456789abcdef0123456789abcdef",
        "url:https://a.vault.azure.net/keys/k",
        "url:https://a.vault.azure.net/keys/k/",
        "url:https://a.vault.azure.net/secrets/k/0123456789abcdef0123456789abcdef",
        "url:https://a@b/keys/k/0123456789abcdef0123456789abcdef",
        "url:https:///keys/k/0123456789abcdef0123456789abcdef",
        "url:https://a/keys/k\n/0123456789abcdef0123456789abcdef",
    ] {
        assert_eq!(refusal(text), AliasError::Url, "{text:?}");
    }
    assert!(AliasPrefix::parse("jkt:abcdef").is_none());
    assert_eq!("backup".parse::<KeyAlias>(), Err(AliasError::Scheme));
    assert_eq!("spki:abcdef".parse::<KeyAlias>(), Err(AliasError::Abbreviated(AliasKind::Spki)));
    assert_eq!("x5t:abcdef0".parse::<KeyAlias>(), Err(AliasError::Abbreviated(AliasKind::Certificate)));
}

#[test]
fn what_is_stored_comes_back() {
    for text in [&format!("spki:{SPKI_HEX}"), &format!("x5t:{X5T_HEX}"), "cka:00ff", &format!("url:{URL}")] {
        let alias: KeyAlias = text.parse().expect("an alias");
        assert_eq!(KeyAlias::from_bytes(alias.kind(), alias.as_bytes()), Some(alias.clone()));
        assert_eq!(alias.to_string(), *text);
    }
    assert_eq!(KeyAlias::from_bytes(AliasKind::Spki, &[0; 31]), None);
    assert_eq!(KeyAlias::from_bytes(AliasKind::CkaId, &[]), None);
    assert_eq!(KeyAlias::from_bytes(AliasKind::Url, URL.to_uppercase().as_bytes()), None);
}
