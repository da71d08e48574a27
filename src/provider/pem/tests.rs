//! Which files give a key, what is wrong with the others, and the provider over them.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;

use tempfile::TempDir;

use super::*;
use crate::testing::path;

#[test]
fn every_test_key_gives_a_key_or_its_exact_fault() {
    let mut seen = BTreeSet::new();
    for (name, expected) in FILES {
        let result = PemKey::read(&key_path(name));
        let outcome = match &result {
            Ok(key) if key.is_private() => "private".to_owned(),
            Ok(_) => "public".to_owned(),
            Err(error) => format!("{:?}", error.fault),
        };
        assert_eq!(outcome, expected, "{name}");
        seen.insert(format!("test-{name}.pem"));
    }
    let all: BTreeSet<String> = fs::read_dir(path("keys"))
        .expect("the keys are part of the repository")
        .map(|entry| entry.expect("readable").file_name().into_string().expect("plain"))
        .filter(|name| name.ends_with(".pem"))
        .collect();
    assert_eq!(all, seen);
}

#[test]
fn every_form_of_one_key_has_one_thumbprint() {
    let forms = ["rsa2048.spki", "rsa2048.pkcs1-public", "rsa2048.pkcs8", "rsa2048.pkcs1"];
    let thumbprints: BTreeSet<_> = forms.map(|name| read(name).version.thumbprint).into_iter().collect();
    assert_eq!(thumbprints.len(), 1);
    assert_ne!(read("rsa3072.spki").version.thumbprint, read("rsa2048.spki").version.thumbprint);
}

#[test]
fn key_is_described_as_an_enabled_customer_key_without_dates() {
    let file = key_path("rsa3072.spki");
    let version = read("rsa3072.spki").version;
    assert_eq!(version.id, format!("file:{}", file.display()));
    assert_eq!(version.thumbprint, Thumbprint::of(&version.public));
    assert_eq!(version.public.bits(), 3072);
    assert_eq!((version.state, version.customer), (KeyState::Enabled, true));
    assert_eq!((version.not_before, version.not_after, version.created), (None, None, None));
}

#[test]
fn only_a_private_file_gives_its_private_half() {
    assert!(read("rsa2048.spki").into_private().is_none());
    let private = read("rsa2048.pkcs8").into_private().expect("private");
    assert_eq!(private.public().expect("a good key"), read("rsa2048.spki").version.public);
}

#[test]
fn text_around_the_block_and_other_line_ends_are_fine() {
    let folder = TempDir::new().expect("a folder");
    let pem = text("rsa2048.pkcs8");
    let variants = [
        format!("Bag Attributes\n    friendlyName: \u{e4}\n{pem}"),
        format!("\n\n{pem}\n \t\r\n"),
        pem.trim_end().to_owned(),
        pem.replace('\n', "\r\n"),
    ];
    for (number, variant) in variants.iter().enumerate() {
        let file = folder.path().join(number.to_string());
        fs::write(&file, variant).expect("written");
        let key = PemKey::read(&file).unwrap_or_else(|error| panic!("{number}: {error:?}"));
        assert!(key.is_private());
    }
}

#[test]
fn lines_of_any_one_length_are_fine() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("key.pem");
    for name in ["rsa2048.spki", "rsa2048.pkcs8", "rsa4096.pkcs8"] {
        let pem = text(name);
        let mut lines: Vec<&str> = pem.lines().collect();
        let (last, first) = (lines.pop().expect("the end"), lines.remove(0));
        let body = lines.concat();
        for width in [4, 60, 64, 65, 76, 80, body.len() - 1, body.len()] {
            let wrapped: Vec<_> = body.as_bytes().chunks(width).map(String::from_utf8_lossy).collect();
            fs::write(&file, format!("{first}\n{}\n{last}\n", wrapped.join("\n"))).expect("written");
            let key = PemKey::read(&file).unwrap_or_else(|error| panic!("{name} in lines of {width}: {error:?}"));
            assert_eq!(key.version.thumbprint, read(name).version.thumbprint);
        }
    }
}

#[test]
fn files_without_exactly_one_block_are_refused() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("key.pem");
    let pem = text("rsa2048.pkcs8");
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let contents: [&[u8]; 10] = [
        b"",
        b"\n",
        b"not PEM",
        b"-----BEGIN ",
        b"-----BEGIN PRIVATE KEY-----",
        b"-----BEGIN PRIVATE KEY-----\n-----END PUBLIC KEY-----\n",
        b"-----BEGIN PRIVATE KEY-----\n\xff\xfe\n-----END PRIVATE KEY-----\n",
        &[0; 4096],
        pem.repeat(2).leak().as_bytes(),
        body.as_bytes(),
    ];
    for bytes in contents {
        fs::write(&file, bytes).expect("written");
        let error = PemKey::read(&file).expect_err("no key");
        assert!(matches!(error.fault, PemFault::NotOneBlock), "{error:?} for {:?}", bytes.get(..40));
        assert!(error.source().is_none());
    }
}

#[test]
fn damaged_private_file_never_gives_another_key() {
    let pem = text("rsa2048.pkcs8").into_bytes();
    let expected = read("rsa2048.pkcs8").version.thumbprint;
    let outcome = |bytes: &[u8]| parse(&SecretBytes::copied_from(bytes)).map(|(public, _)| Thumbprint::of(&public));
    for at in 0..pem.len() {
        for byte in [b'\n', b'A', b'-', pem[at] ^ 1, 0xff] {
            let mut changed = pem.clone();
            changed[at] = byte;
            assert!(outcome(&changed).map_or(true, |thumbprint| thumbprint == expected), "byte {at} is {byte}");
        }
    }
    // Only the line end behind the block may be missing.
    for len in 0..pem.len() - 1 {
        assert!(outcome(&pem[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn other_label_is_named_and_escaped() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("key.pem");
    fs::write(&file, text("rsa2048.spki").replace("PUBLIC KEY", "SSH2 PUBLIC KEY")).expect("written");
    let error = PemKey::read(&file).expect_err("another label");
    assert!(matches!(&error.fault, PemFault::Label(label) if label == "SSH2 PUBLIC KEY"), "{error:?}");
    assert!(error.to_string().contains("'SSH2 PUBLIC KEY'"), "{error}");
}

#[test]
fn files_that_cannot_be_read_say_so() {
    let folder = TempDir::new().expect("a folder");
    let kind = |path: &Path| match PemKey::read(path).expect_err("no key") {
        PemError { fault: PemFault::Io(error), path: named } if named == path => error.kind(),
        other => panic!("{other:?}"),
    };
    assert_eq!(kind(&folder.path().join("missing.pem")), io::ErrorKind::NotFound);
    assert_eq!(kind(folder.path()), io::ErrorKind::InvalidInput);
    assert_eq!(kind(Path::new("/dev/zero")), io::ErrorKind::InvalidInput);
    let error = PemKey::read(&folder.path().join("missing.pem")).expect_err("no key");
    assert!(error.source().is_some_and(|source| source.is::<io::Error>()));
}

#[test]
fn file_may_have_64_kib_and_no_byte_more() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("key.pem");
    let mut pem = text("rsa2048.spki").into_bytes();
    pem.resize(64 * 1024, b'\n');
    fs::write(&file, &pem).expect("written");
    assert!(PemKey::read(&file).is_ok());
    pem.push(b'\n');
    fs::write(&file, &pem).expect("written");
    let error = PemKey::read(&file).expect_err("too long");
    let too_large = |error: &io::Error| error.kind() == io::ErrorKind::FileTooLarge;
    assert!(matches!(&error.fault, PemFault::Io(error) if too_large(error)), "{error:?}");
}

#[test]
fn refused_key_has_its_reason_as_the_source() {
    let error = PemKey::read(&key_path("rsa1024.spki")).expect_err("too small");
    assert_eq!(error.source().expect("a reason").downcast_ref(), Some(&RsaKeyError::Size(1024)));
}

#[test]
fn private_file_unwraps_what_its_public_file_wrapped() {
    let cx = OpContext::default();
    for bits in [2048, 3072, 4096] {
        let (sealing, opening) = (files(&[&format!("rsa{bits}.spki")]), files(&[&format!("rsa{bits}.pkcs8")]));
        let kek = sealing.version(&reference(&format!("rsa{bits}.spki")), &cx).expect("added");
        let wrapped = sealing.wrap_key(&kek, &SecretBytes::copied_from(SECRET), &cx).expect("it may wrap");
        assert_eq!((wrapped.thumbprint, &wrapped.id), (kek.thumbprint, &kek.id));
        assert_eq!((wrapped.algorithm, wrapped.ciphertext.len()), (WrapAlgorithm::RsaOaep256, bits / 8));
        assert_eq!(opening.unwrap_key(&wrapped, &cx).expect("the private half").expose(), SECRET);
    }
}

#[test]
fn public_half_alone_does_not_unwrap() {
    let error = files(&["rsa2048.spki"]).unwrap_key(&wrapped(), &OpContext::default()).expect_err("public only");
    assert_eq!(error.kind, ProviderErrorKind::Unsupported);
    assert!(error.source().is_some_and(|source| source.is::<PublicOnly>()));
}

#[test]
fn private_file_added_after_the_public_one_unwraps() {
    let both = files(&["rsa2048.spki", "rsa2048.pkcs8"]);
    assert_eq!(both.unwrap_key(&wrapped(), &OpContext::default()).expect("upgraded").expose(), SECRET);
}

#[test]
fn public_file_added_after_the_private_one_takes_nothing_away() {
    let both = files(&["rsa2048.pkcs8", "rsa2048.spki", "rsa2048.pkcs1-public"]);
    assert_eq!(both.unwrap_key(&wrapped(), &OpContext::default()).expect("not downgraded").expose(), SECRET);
}

#[test]
fn every_added_file_is_found_by_its_path() {
    let cx = OpContext::default();
    for names in [["rsa2048.spki", "rsa2048.pkcs8"], ["rsa2048.pkcs8", "rsa2048.spki"]] {
        let both = files(&names);
        for name in names {
            let found = both.version(&reference(name), &cx).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(found.thumbprint, read(name).version.thumbprint);
        }
    }
}

#[test]
fn keys_are_found_by_thumbprint_and_never_by_name() {
    let cx = OpContext::default();
    let files = files(&["rsa2048.spki", "rsa3072.spki"]);
    for name in ["rsa2048.spki", "rsa3072.spki"] {
        let of = read(name).version.thumbprint;
        assert_eq!(files.find(&of, &cx).expect("added").thumbprint, of);
        let prefix: KeyRef = format!("jkt:{}", of.short()).parse().expect("a reference");
        assert_eq!(files.version(&prefix, &cx).expect("added").thumbprint, of);
    }
    for other in ["name", "file/name@1", "file:rsa2048.spki", "jkt:AAAAAAAAAAAA"] {
        let error = files.version(&other.parse().expect("a reference"), &cx).expect_err("not added");
        assert_eq!((error.kind, &*error.key), (ProviderErrorKind::NotFound, other));
    }
    let error = files.find(&Thumbprint::from_bytes([0; 32]), &cx).expect_err("not added");
    assert_eq!(error.kind, ProviderErrorKind::NotFound);
}

#[test]
fn files_that_were_not_added_are_not_read() {
    let error = PemFiles::new().version(&reference("rsa2048.pkcs8"), &OpContext::default()).expect_err("not added");
    assert_eq!(error.kind, ProviderErrorKind::NotFound);
    let error = files(&["rsa3072.pkcs8"]).unwrap_key(&wrapped(), &OpContext::default()).expect_err("another key");
    assert_eq!(error.kind, ProviderErrorKind::NotFound);
}

#[test]
fn failed_unwrapping_has_no_cause() {
    let cx = OpContext::default();
    let files = files(&["rsa2048.pkcs8"]);
    let good = wrapped();
    let mut changed = good.clone();
    changed.ciphertext[100] ^= 1;
    let other = WrappedKey { algorithm: WrapAlgorithm::RsaOaep, ..good.clone() };
    let short = WrappedKey { ciphertext: good.ciphertext[1..].to_vec(), ..good.clone() };
    for bad in [changed, other, short, WrappedKey { ciphertext: Vec::new(), ..good }] {
        let error = files.unwrap_key(&bad, &cx).expect_err("not what was wrapped");
        assert_eq!(error.kind, ProviderErrorKind::UnwrapFailed);
        assert!(error.source().is_none());
    }
}

#[test]
fn secret_too_long_for_the_key_is_unsupported() {
    let cx = OpContext::default();
    let files = files(&["rsa2048.spki"]);
    let kek = read("rsa2048.spki").version;
    assert!(files.wrap_key(&kek, &SecretBytes::zeroed(190), &cx).is_ok());
    let error = files.wrap_key(&kek, &SecretBytes::zeroed(191), &cx).expect_err("too long");
    assert_eq!(error.kind, ProviderErrorKind::Unsupported);
}

fn wrapped() -> WrappedKey {
    let kek = read("rsa2048.spki").version;
    let secret = SecretBytes::copied_from(SECRET);
    files(&["rsa2048.spki"]).wrap_key(&kek, &secret, &OpContext::default()).expect("it may wrap")
}

fn files(names: &[&str]) -> PemFiles {
    let mut files = PemFiles::new();
    for name in names {
        files.add(&key_path(name)).expect("a good key");
    }
    files
}

fn read(name: &str) -> PemKey {
    PemKey::read(&key_path(name)).expect("a good key")
}

fn reference(name: &str) -> KeyRef {
    KeyRef::File(key_path(name))
}

fn text(name: &str) -> String {
    fs::read_to_string(key_path(name)).expect("a test key")
}

fn key_path(name: &str) -> PathBuf {
    path(&format!("keys/test-{name}.pem"))
}

const SECRET: &[u8] = b"thirty-two bytes of secret stuff";

/// Every file of `vectors/keys`, and what it gives.
const FILES: [(&str, &str); 30] = [
    ("bad-base64", "NotOneBlock"),
    ("certificate", r#"Label("CERTIFICATE")"#),
    ("ec-p256.pkcs8", "Key(NotRsa)"),
    ("ec-p256.sec1", r#"Label("EC PRIVATE KEY")"#),
    ("ec-p256.spki", "Key(NotRsa)"),
    ("ed25519.pkcs8", "Key(NotRsa)"),
    ("key-and-certificate", "NotOneBlock"),
    ("rsa1024.pkcs8", "Key(Size(1024))"),
    ("rsa1024.spki", "Key(Size(1024))"),
    ("rsa2048-e3.pkcs8", "Key(Exponent)"),
    ("rsa2048-e3.spki", "Key(Exponent)"),
    ("rsa2048-three-primes.pkcs8", "Key(Malformed)"),
    ("rsa2048.pkcs1", "private"),
    ("rsa2048.pkcs1-encrypted", "Encrypted"),
    ("rsa2048.pkcs1-public", "public"),
    ("rsa2048.pkcs8", "private"),
    ("rsa2048.pkcs8-encrypted", "Encrypted"),
    ("rsa2048.pkcs8-encrypted-pbes1", "Encrypted"),
    ("rsa2048.pkcs8-encrypted-scrypt", "Encrypted"),
    ("rsa2048.spki", "public"),
    ("rsa2056.pkcs8", "private"),
    ("rsa3072.pkcs8", "private"),
    ("rsa3072.spki", "public"),
    ("rsa4096.pkcs8", "private"),
    ("rsa4096.spki", "public"),
    ("rsapss2048.pkcs8", "Key(NotRsa)"),
    ("truncated-body", "Key(Malformed)"),
    ("truncated-no-end", "NotOneBlock"),
    ("two-keys", "NotOneBlock"),
    ("wrong-label", "Key(Malformed)"),
];
