//! RFC 7638 vectors, and the texts of thumbprints.

use super::*;
use crate::oaep::RsaKeyError;
use crate::testing::{Fields, load};

#[test]
fn rfc_7638_vectors_agree() {
    let mut refused = Vec::new();
    let mut computed = 0;
    for test in vectors() {
        match RsaPublicKey::from_spki_der(&test.bytes("spki")) {
            Ok(key) => {
                let thumbprint = Thumbprint::of(&key);
                assert_eq!(thumbprint.as_bytes(), &test.array("thumbprint"), "{}", test.text("id"));
                computed += 1;
            }
            Err(error) => refused.push((test.text("id").to_owned(), error)),
        }
    }
    assert_eq!(computed, 4);
    assert_eq!(refused, [("keys/test-rsa2048-e3.spki.pem".to_owned(), RsaKeyError::Exponent)]);
}

#[test]
fn text_is_unpadded_base64url_both_ways() {
    for test in vectors() {
        let thumbprint = Thumbprint::from_bytes(test.array("thumbprint"));
        let text = test.text("thumbprint_base64url");
        assert_eq!(thumbprint.to_string(), text);
        assert_eq!(format!("{thumbprint:?}"), format!("Thumbprint({text})"));
        assert_eq!(thumbprint.short(), text[..12]);
        assert_eq!(text.parse(), Ok(thumbprint));
    }
}

#[test]
fn other_texts_are_no_thumbprint() {
    let bad = [
        "",
        "NzbLsXh8uDCcd",
        "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9X",
        "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs=",
        "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9XsA",
        "NzbLsXh8uDCcd+6MNwXF4W/7noWXFZAfHkxZsRGC9Xs",
        // The two lowest bits of the last character are not zero.
        "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xt",
        " NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
        "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs\n",
        "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9ä",
    ];
    for text in bad {
        assert_eq!(text.parse::<Thumbprint>(), Err(TextError), "{text:?}");
    }
}

#[test]
fn every_prefix_of_six_characters_or_more_matches() {
    let thumbprint: Thumbprint = RFC.parse().expect("a thumbprint");
    for len in 6..=43 {
        let prefix: ThumbprintPrefix = RFC[..len].parse().expect("a prefix");
        assert!(prefix.matches(&thumbprint), "{len}");
        assert_eq!(prefix.as_str(), &RFC[..len]);
        assert!(!prefix.matches(&Thumbprint::from_bytes([0; 32])), "{len}");
    }
    assert!(!"NzbLsx".parse::<ThumbprintPrefix>().expect("a prefix").matches(&thumbprint), "case counts");
    assert!(!"zbLsXh8".parse::<ThumbprintPrefix>().expect("a prefix").matches(&thumbprint), "not the beginning");
}

#[test]
fn other_texts_are_no_prefix() {
    let long = format!("{RFC}A");
    for text in ["", "NzbLs", "NzbLs+", "NzbLs/", "NzbLs=", "NzbLs ", "NzbLsä", "NzbLs*", &long] {
        assert_eq!(text.parse::<ThumbprintPrefix>(), Err(TextError), "{text:?}");
    }
}

fn vectors() -> impl Iterator<Item = Fields> {
    load("jwk/rfc7638.json", 5).into_iter().flat_map(|group| group.tests)
}

/// RFC 7638 §3.1.
const RFC: &str = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
