//! JSON Web Keys.

use base64ct::Encoding;
use serde_json::{Value, json};

use super::*;

#[test]
fn kid_is_the_suggested_name() {
    let key = Importer::new().read(&load("imports/rsa2048.jwk")).expect("a key");
    assert_eq!(key.name.as_deref(), Some("kek-2048"));
    assert_eq!(read(&edited(|jwk| remove(jwk, "kid"))).expect("a key").name, None);
}

#[test]
fn purposes_that_allow_unwrapping_are_fine() {
    for (member, value) in [
        ("use", json!("enc")),
        ("alg", json!("RSA-OAEP")),
        ("alg", json!("RSA-OAEP-256")),
        ("key_ops", json!(["sign", "verify", "wrapKey", "unwrapKey", "encrypt", "decrypt"])),
        ("key_ops", json!(["decrypt"])),
        ("ext", json!(true)),
        ("nested", json!({"a": [1, {"a": null}], "b": 1.5e300, "c": -1})),
    ] {
        let result = read(&edited(|jwk| jwk[member] = value.clone()));
        assert!(result.is_ok(), "{member} {value}: {result:?}");
    }
    assert!(read(&edited(|jwk| ["use", "key_ops", "kid"].map(|name| remove(jwk, name)).into_iter().collect())).is_ok());
}

#[test]
fn changed_members_are_refused_with_their_reason() {
    for (member, value, reason) in [
        ("alg", json!("RS256"), r#"Purpose { member: "alg", value: "RS256" }"#),
        ("alg", json!("RSA1_5"), r#"Purpose { member: "alg", value: "RSA1_5" }"#),
        ("alg", json!(7), r#"Member("alg")"#),
        ("d", json!(""), r#"Member("d")"#),
        ("d", json!("AQAB="), r#"Member("d")"#),
        ("d", json!("AQ+B"), r#"Member("d")"#),
        ("d", json!(65537), r#"Member("d")"#),
        ("d", json!("AQ\tAB"), r#"Member("d")"#),
        ("e", json!("AQ"), "Exponent"),
        ("e", json!("Aw"), "Exponent"),
        ("e", json!("AQAA"), "Exponent"),
        ("e", json!("BAAAAAE"), "Exponent"),
        ("key_ops", json!([]), r#"Purpose { member: "key_ops", value: "" }"#),
        ("key_ops", json!(["sign", "verify"]), r#"Purpose { member: "key_ops", value: "sign, verify" }"#),
        ("key_ops", json!("unwrapKey"), r#"Member("key_ops")"#),
        ("key_ops", json!([1]), r#"Member("key_ops")"#),
        ("kid", json!(1), r#"Member("kid")"#),
        ("kty", json!("EC"), r#"Algorithm("EC")"#),
        ("kty", json!("RSA-HSM"), r#"Algorithm("RSA-HSM")"#),
        ("kty", json!("oct"), r#"Algorithm("oct")"#),
        ("kty", json!(null), r#"Member("kty")"#),
        ("n", json!("AQAB"), "Size(17)"),
        ("oth", json!([]), "OtherPrimes"),
        ("use", json!("sig"), r#"Purpose { member: "use", value: "sig" }"#),
        ("x5c", json!([]), "Certificate"),
        ("x5t", json!("AAAA"), "Certificate"),
        ("x5t#S256", json!("AAAA"), "Certificate"),
        ("x5u", json!("https://example.com"), "Certificate"),
    ] {
        assert_eq!(refusal(&edited(|jwk| jwk[member] = value.clone())), reason, "{member} {value}");
    }
}

#[test]
fn missing_members_are_named() {
    for name in ["n", "e", "p", "q", "dp", "dq", "qi"] {
        assert_eq!(refusal(&edited(|jwk| remove(jwk, name))), format!("Member({name:?})"));
    }
    assert_eq!(refusal(&edited(|jwk| remove(jwk, "d"))), "PublicOnly");
}

#[test]
fn exchanged_numbers_do_not_belong_together() {
    for (one, other) in [("p", "q"), ("dp", "dq"), ("d", "qi"), ("dp", "qi"), ("d", "dq")] {
        let swapped = edited(|jwk| {
            let (first, second) = (jwk[one].clone(), jwk[other].clone());
            jwk[one] = second;
            jwk[other] = first;
        });
        assert_eq!(refusal(&swapped), "Inconsistent", "{one} {other}");
    }
}

#[test]
fn members_that_stand_twice_are_refused_at_every_depth() {
    let text = String::from_utf8(load("imports/rsa2048.jwk").expose().to_vec()).expect("text");
    for (added, name) in [
        (r#""kty": "RSA","#, "kty"),
        (r#""d": "AQAB","#, "d"),
        (r#""\u0064": "AQAB","#, "d"),
        (r#""other": {"a": 1, "b": {"c": 1, "c": 2}},"#, "c"),
        (r#""other": [{"a": 1, "a": 1}],"#, "a"),
    ] {
        let twice = text.replacen('{', &format!("{{{added}"), 1);
        assert_eq!(refusal(&SecretBytes::taken_from(twice.into_bytes())), format!("Duplicate({name:?})"), "{added}");
    }
}

#[test]
fn deep_nesting_is_malformed_and_no_crash() {
    let deep = format!("{{\"kty\": {}", "[".repeat(60_000));
    assert_eq!(refusal(&SecretBytes::taken_from(deep.into_bytes())), "Malformed(Jwk)");
}

#[test]
fn a_certificate_in_x5c_is_named_and_one_that_is_only_claimed_is_not() {
    let der = base64ct::Base64::encode_string(load("imports/certificate.der").expose());
    for (members, certificates) in [
        (json!({"x5c": [der]}), vec![certificate()]),
        (json!({"x5c": ["AAAA", 7, der]}), vec![certificate()]),
        (json!({"x5c": ["AAAA"], "x5t": "cuR2iJZYJ171Lul7_uYnfDkPXfY"}), Vec::new()),
    ] {
        let file =
            edited(|jwk| jwk.as_object_mut().expect("an object").extend(members.as_object().expect("one").clone()));
        assert!(matches!(read(&file), Err(ImportError::Certificate)), "{members}");
        let key = Importer::new().discard_certificates().read(&file).expect("a key");
        assert_eq!(key.certificates, certificates, "{members}");
    }
}

#[test]
fn sets_of_keys_are_refused() {
    assert_eq!(refusal(&SecretBytes::copied_from(br#"{"keys": [{}, {}]}"#)), "SeveralKeys(2)");
    assert_eq!(refusal(&SecretBytes::copied_from(br#"{"keys": [{}]}"#)), r#"Unsupported("keys")"#);
}

fn read(file: &SecretBytes) -> Result<ImportedKey, ImportError> {
    Importer::new().read(file)
}

fn edited(edit: impl FnOnce(&mut Value)) -> SecretBytes {
    let mut jwk: Value = serde_json::from_slice(load("imports/rsa2048.jwk").expose()).expect("JSON");
    edit(&mut jwk);
    SecretBytes::taken_from(jwk.to_string().into_bytes())
}

fn remove(jwk: &mut Value, name: &str) {
    jwk.as_object_mut().expect("an object").remove(name).expect("it was there");
}
