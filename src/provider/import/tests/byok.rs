//! `.byok` files.

use serde_json::{Value, json};

use super::*;
use crate::key::{KeyRef, VaultName};
use crate::provider::{PemFiles, ProviderError, ProviderErrorKind, WrappedKey};

#[test]
fn file_of_another_implementation_opens() {
    let key = open(&load("imports/python.byok"), "rsa3072.pkcs8").expect("a key");
    assert_eq!((key.format, thumbprint(&key), key.name), (Format::Byok, expected(2048), None));
}

#[test]
fn written_byok_is_the_one_that_another_implementation_has_opened() {
    let file = path("imports/sobre.byok");
    if std::env::var_os("SOBRE_BLESS").is_some() {
        let kid = "https://example.vault.azure.net/keys/transfer/0123456789abcdef0123456789abcdef";
        fs::write(&file, write("rsa2048.pkcs8", "rsa3072.spki", kid)).expect("written");
    }
    let key = open(&load("imports/sobre.byok"), "rsa3072.pkcs8").expect("a key");
    assert_eq!(thumbprint(&key), expected(2048));
    let ours: Value = serde_json::from_slice(&fs::read(file).expect("it is there")).expect("JSON");
    let now: Value = serde_json::from_slice(&write("rsa2048.pkcs8", "rsa3072.spki", "")).expect("JSON");
    let names = |file: &Value| file.as_object().map(|members| members.keys().cloned().collect::<Vec<_>>());
    assert_eq!(names(&ours), names(&now));
    assert_eq!(
        ours["ciphertext"].as_str().map(str::len),
        now["ciphertext"].as_str().map(str::len),
        "made again with SOBRE_BLESS=1, it has to pass vectors/imports/make.py --check"
    );
}

#[test]
fn every_size_is_written_for_every_size() {
    for key in [2048, 3072, 4096] {
        for target in [2048, 3072, 4096] {
            let file = write(&format!("rsa{key}.pkcs8"), &format!("rsa{target}.spki"), "a\"b\\c\u{1f511}");
            let read = open(&SecretBytes::taken_from(file), &format!("rsa{target}.pkcs8")).expect("a key");
            assert_eq!(thumbprint(&read), expected(key));
        }
    }
}

#[test]
fn two_files_of_one_key_share_nothing() {
    let [one, other] = [(); 2].map(|()| package(&write("rsa2048.pkcs8", "rsa3072.spki", "kid")));
    assert_ne!(one[..384], other[..384]);
    assert!(one[384..].chunks(8).zip(other[384..].chunks(8)).all(|(one, other)| one != other));
}

#[test]
fn first_part_is_an_aes_key_under_oaep_with_sha_1_by_another_implementation() {
    use rsa::pkcs8::DecodePrivateKey;
    let package = package(&write("rsa2048.pkcs8", "rsa3072.spki", "kid"));
    let private = rsa::RsaPrivateKey::from_pkcs8_der(&key_der("rsa3072.pkcs8")).expect("a key");
    let aes = private.decrypt(rsa::Oaep::<sha1::Sha1>::new(), &package[..384]).expect("OAEP with SHA-1");
    assert_eq!(aes.len(), 32);
    assert_eq!((package.len() - 384) % 8, 0);
}

#[test]
fn without_a_target_the_file_says_whose_it_is() {
    let reason = refusal(&load("imports/python.byok"));
    assert!(reason.starts_with("TargetNeeded { kid: \"https://example.vault.azure.net/keys/transfer/"), "{reason}");
}

#[test]
fn wrong_target_and_damage_look_alike() {
    let good = package(load("imports/python.byok").expose());
    let wrong_target = write("rsa2048.pkcs8", "rsa2048.spki", "kid");
    let mut files = vec![with_package(&package(&wrong_target))];
    let mut same_size = package(&wrong_target);
    same_size.splice(..0, [0; 128]);
    files.push(with_package(&same_size));
    for at in [0, 200, 383, 384, 700, good.len() - 1] {
        let mut damaged = good.clone();
        damaged[at] ^= 1;
        files.push(with_package(&damaged));
    }
    for len in [384, 385, 392, 400, good.len() - 8, good.len() - 1] {
        files.push(with_package(&good[..len]));
    }
    files.push(with_package(&[good.as_slice(), &[0; 8]].concat()));
    for file in files {
        let error = open(&file, "rsa3072.pkcs8").expect_err("damaged");
        assert_eq!(format!("{error:?}"), "Undecryptable(Byok)");
    }
}

#[test]
fn package_of_something_else_than_an_rsa_key_is_refused() {
    for (name, reason) in [("ec-p256.pkcs8", r#"Algorithm("EC")"#), ("rsa1024.pkcs8", "Size(1024)")] {
        let file = with_package(&wrap(&key_der(name), &[7; 32]));
        assert_eq!(format!("{:?}", open(&file, "rsa3072.pkcs8").expect_err("refused")), reason);
    }
    let file = with_package(&wrap(&key_der("rsa2048.pkcs8"), &[7; 16]));
    assert_eq!(format!("{:?}", open(&file, "rsa3072.pkcs8").expect_err("AES-128")), "Undecryptable(Byok)");
}

#[test]
fn changed_members_are_refused_with_their_reason() {
    for (pointer, value, reason) in [
        ("/schema_version", json!("2.0.0"), r#"Unsupported("schema_version 2.0.0")"#),
        ("/schema_version", json!(1), "Malformed(Byok)"),
        ("/header", json!(null), "Malformed(Byok)"),
        ("/header/alg", json!("RSA-OAEP"), r#"Unsupported("alg RSA-OAEP")"#),
        ("/header/enc", json!("RSA_AES_KEY_WRAP_256"), r#"Unsupported("enc RSA_AES_KEY_WRAP_256")"#),
        ("/header/kid", json!(7), "Malformed(Byok)"),
        ("/ciphertext", json!("AAA="), "Malformed(Byok)"),
        ("/ciphertext", json!(""), "Malformed(Byok)"),
        ("/ciphertext", json!("AAAA"), "Malformed(Byok)"),
    ] {
        let mut file: Value = serde_json::from_slice(load("imports/python.byok").expose()).expect("JSON");
        *file.pointer_mut(pointer).expect("it is there") = value;
        let file = SecretBytes::taken_from(file.to_string().into_bytes());
        assert_eq!(format!("{:?}", open(&file, "rsa3072.pkcs8").expect_err("changed")), reason, "{pointer}");
    }
}

#[test]
fn refusal_of_the_vault_is_told_apart_from_a_bad_file() {
    let (files, cx) = (PemFiles::new(), OpContext::default());
    let version = target_version("rsa3072.spki");
    let error = Importer::new().byok_target(&Disabled(files), &version, &cx).read(&load("imports/python.byok"));
    let Err(ImportError::Target(cause)) = error else { panic!("{error:?}") };
    assert_eq!(cause.kind, ProviderErrorKind::Disabled);
}

/// A vault that refuses.
#[derive(Debug)]
struct Disabled(PemFiles);

impl KeyProvider for Disabled {
    fn name(&self) -> &VaultName {
        self.0.name()
    }

    fn version(&self, key: &KeyRef, cx: &OpContext) -> Result<KeyVersion, ProviderError> {
        self.0.version(key, cx)
    }

    fn find(&self, of: &Thumbprint, cx: &OpContext) -> Result<KeyVersion, ProviderError> {
        self.0.find(of, cx)
    }

    fn wrap_key(&self, kek: &KeyVersion, secret: &SecretBytes, cx: &OpContext) -> Result<WrappedKey, ProviderError> {
        self.0.wrap_key(kek, secret, cx)
    }

    fn unwrap_key(&self, wrapped: &WrappedKey, _: &OpContext) -> Result<SecretBytes, ProviderError> {
        Err(ProviderError::new(ProviderErrorKind::Disabled, self.name(), &wrapped.id))
    }
}

pub(super) fn open(file: &SecretBytes, target: &str) -> Result<ImportedKey, ImportError> {
    let mut files = PemFiles::new();
    let version = files.add(&path(&format!("keys/test-{target}.pem"))).expect("a good key");
    Importer::new().byok_target(&files, &version, &OpContext::default()).read(file)
}

fn target_version(name: &str) -> KeyVersion {
    PemFiles::new().add(&path(&format!("keys/test-{name}.pem"))).expect("a good key")
}

fn write(key: &str, target: &str, kid: &str) -> Vec<u8> {
    let key = RsaPrivateKey::from_pkcs8_der(&SecretBytes::taken_from(key_der(key))).expect("a good key");
    write_byok(&key, &target_version(target).public, kid).expect("written")
}

fn package(file: &[u8]) -> Vec<u8> {
    use base64ct::{Base64UrlUnpadded, Encoding};
    let file: Value = serde_json::from_slice(file).expect("JSON");
    Base64UrlUnpadded::decode_vec(file["ciphertext"].as_str().expect("text")).expect("base64url")
}

fn with_package(package: &[u8]) -> SecretBytes {
    use base64ct::{Base64UrlUnpadded, Encoding};
    let mut file: Value = serde_json::from_slice(load("imports/python.byok").expose()).expect("JSON");
    file["ciphertext"] = json!(Base64UrlUnpadded::encode_string(package));
    SecretBytes::taken_from(file.to_string().into_bytes())
}

/// Wraps `content` for the 3072-bit key.
fn wrap(content: &[u8], aes: &[u8]) -> Vec<u8> {
    use aws_lc_rs::key_wrap::{AES_128, AES_256, AesKek, KeyWrapPadded};
    let target = target_version("rsa3072.spki").public;
    let mut package =
        target.encrypt(crate::oaep::WrapAlgorithm::RsaOaep, &SecretBytes::copied_from(aes)).expect("wrapped");
    let mut out = vec![0; content.len() + 15];
    let cipher = if aes.len() == 16 { &AES_128 } else { &AES_256 };
    let wrapped = AesKek::new(cipher, aes).expect("a key").wrap_with_padding(content, &mut out).expect("wrapped");
    package.extend_from_slice(wrapped);
    package
}
