//! Which files give which key, what is wrong with the others, and that no damage gives another key.

mod byok;
mod encrypted;
mod inconsistent;
mod jwk;
mod mutations;
mod pfx;

use std::fs;

use super::*;
use crate::key::Thumbprint;
use crate::testing::{key_der, path};

#[test]
fn every_plain_form_of_one_key_gives_that_key() {
    for (file, format) in [
        ("imports/pkcs8.der", Format::Der),
        ("imports/pkcs1.der", Format::Der),
        ("keys/test-rsa2048.pkcs8.pem", Format::Pem),
        ("keys/test-rsa2048.pkcs1.pem", Format::Pem),
        ("imports/clear.pfx", Format::Pfx),
        ("imports/nested.pfx", Format::Pfx),
        ("imports/rsa2048.jwk", Format::Jwk),
    ] {
        let key = Importer::new().read(&load(file)).unwrap_or_else(|error| panic!("{file}: {error:?}"));
        assert_eq!((key.format, thumbprint(&key)), (format, expected(2048)), "{file}");
    }
}

#[test]
fn keys_of_3072_and_4096_bits_are_taken() {
    for bits in [3072, 4096] {
        for file in [format!("keys/test-rsa{bits}.pkcs8.pem"), format!("imports/rsa{bits}.jwk")] {
            let key = Importer::new().read(&load(&file)).unwrap_or_else(|error| panic!("{file}: {error:?}"));
            assert_eq!(thumbprint(&key), expected(bits), "{file}");
        }
    }
}

#[test]
fn every_other_file_is_refused_with_its_reason() {
    for (file, reason) in [
        ("imports/certificate.der", "NoKey"),
        ("imports/composite-prime.der", "Inconsistent"),
        ("imports/ec-sec1.der", r#"Algorithm("EC")"#),
        ("imports/public-pkcs1.der", "PublicOnly"),
        ("imports/public.der", "PublicOnly"),
        ("imports/secret-bag.pfx", r#"Unsupported("1.2.840.113549.1.12.10.1.5")"#),
        ("imports/two-keys.pfx", "SeveralKeys(2)"),
        ("keys/test-bad-base64.pem", "Malformed(Pem)"),
        ("keys/test-certificate.pem", "NoKey"),
        ("keys/test-ec-p256.pkcs8.pem", r#"Algorithm("EC")"#),
        ("keys/test-ec-p256.sec1.pem", r#"Algorithm("EC")"#),
        ("keys/test-ec-p256.spki.pem", "PublicOnly"),
        ("keys/test-ed25519.pkcs8.pem", r#"Algorithm("Ed25519")"#),
        ("keys/test-key-and-certificate.pem", "Certificate"),
        ("keys/test-rsa1024.pkcs8.pem", "Size(1024)"),
        ("keys/test-rsa2048-e3.pkcs8.pem", "Exponent"),
        ("keys/test-rsa2048-three-primes.pkcs8.pem", "OtherPrimes"),
        ("keys/test-rsa2048.pkcs1-encrypted.pem", r#"Encryption("MD5, in the headers of PKCS#1")"#),
        ("keys/test-rsa2048.pkcs1-public.pem", "PublicOnly"),
        ("keys/test-rsa2048.spki.pem", "PublicOnly"),
        ("keys/test-rsa2056.pkcs8.pem", "Size(2056)"),
        ("keys/test-rsapss2048.pkcs8.pem", r#"Algorithm("RSA-PSS")"#),
        ("keys/test-truncated-body.pem", "Malformed(Pem)"),
        ("keys/test-truncated-no-end.pem", "Malformed(Pem)"),
        ("keys/test-two-keys.pem", "SeveralKeys(2)"),
        ("keys/test-wrong-label.pem", "PublicOnly"),
    ] {
        assert_eq!(refusal(&load(file)), reason, "{file}");
    }
}

#[test]
fn files_that_are_no_key_files_are_named_for_what_they_are() {
    for (bytes, reason) in [
        (b"".as_slice(), "Empty"),
        (b" \r\n\t", "Empty"),
        (b"hello", "Unrecognized"),
        (b"0 bottles of beer", "Unrecognized"),
        (b"[]", "Unrecognized"),
        (b"{}", "Unrecognized"),
        (b"{\"a\": ", "Malformed(Jwk)"),
        (b"\x30\x80\x02\x01\x03", "IndefiniteLength"),
        (b"\x30\x82\xff\xff\x02\x01\x03", "Malformed(Der)"),
        (
            b"-----BEGIN OPENSSH PRIVATE KEY-----\n-----END OPENSSH PRIVATE KEY-----",
            r#"Unsupported("OPENSSH PRIVATE KEY")"#,
        ),
        (b"&AzureKeyVaultKeyBackupV1.microsoft.com...", "KeyVaultBackup"),
        (b"JkF6dXJlS2V5VmF1bHRLZXlCYWNrdXBWMS5taWNyb3NvZnQuY29t", "KeyVaultBackup"),
        (b"{\"value\": \"JkF6dXJlS2V5VmF1bHRLZXlCYWNrdXBWMS5taWNyb3NvZnQuY29t\"}", "KeyVaultBackup"),
        (b"SOBRE vault backup\r\n\x00\x01", "SobreBackup"),
        (b"SOBRE key backup", "SobreBackup"),
        (b"SOBRE vault key1\x00\x01", r#"Unsupported("SOBRE vault key1")"#),
    ] {
        assert_eq!(refusal(&SecretBytes::copied_from(bytes)), reason, "{}", bytes.escape_ascii());
    }
}

#[test]
fn file_may_have_64_kib_and_no_byte_more() {
    let mut bytes = load("keys/test-rsa2048.pkcs8.pem").expose().to_vec();
    bytes.resize(MAX_LEN, b'\n');
    assert!(Importer::new().read(&SecretBytes::copied_from(&bytes)).is_ok());
    bytes.push(b'\n');
    assert_eq!(refusal(&SecretBytes::copied_from(&bytes)), "TooLong(65537)");
}

#[test]
fn what_follows_the_key_is_refused() {
    for (file, junk, reason) in [
        ("imports/pkcs8.der", b"\0".as_slice(), "TrailingData(Der)"),
        ("imports/pkcs1.der", b"\n", "TrailingData(Der)"),
        ("keys/test-rsa2048.pkcs8.pem", b"junk", "TrailingData(Pem)"),
        ("keys/test-rsa2048.pkcs8.pem", b"\0", "TrailingData(Pem)"),
        ("keys/test-rsa2048.pkcs8.pem", b"-----BEGIN ", "Malformed(Pem)"),
        ("imports/clear.pfx", b"\0", "TrailingData(Pfx)"),
        ("imports/rsa2048.jwk", b"{}", "TrailingData(Jwk)"),
        ("imports/python.byok", b"x", "TrailingData(Jwk)"),
    ] {
        let bytes = [load(file).expose(), junk].concat();
        assert_eq!(refusal(&SecretBytes::copied_from(&bytes)), reason, "{file}");
    }
}

#[test]
fn junk_inside_the_der_of_a_pem_block_is_refused() {
    let der = [key_der("rsa2048.pkcs8"), vec![0]].concat();
    let pem = pem_rfc7468::encode_string("PRIVATE KEY", pem_rfc7468::LineEnding::LF, &der).expect("PEM");
    assert_eq!(refusal(&SecretBytes::taken_from(pem.into_bytes())), "TrailingData(Pem)");
}

#[test]
fn comments_before_the_block_and_other_line_ends_are_fine() {
    let pem = String::from_utf8(load("keys/test-rsa2048.pkcs8.pem").expose().to_vec()).expect("text");
    for text in [
        format!("Bag Attributes\n    friendlyName: \u{e4}\nKey Attributes: <No Attributes>\n{pem}"),
        format!("\n\n{pem}\n \t\r\n"),
        pem.trim_end().to_owned(),
        pem.replace('\n', "\r\n"),
    ] {
        let key = Importer::new().read(&SecretBytes::copied_from(text.as_bytes()));
        assert_eq!(thumbprint(&key.unwrap_or_else(|error| panic!("{error:?} for {text:?}"))), expected(2048));
    }
}

#[test]
fn public_block_beside_the_private_one_is_refused() {
    let bytes = [load("keys/test-rsa2048.spki.pem").expose(), load("keys/test-rsa2048.pkcs8.pem").expose()].concat();
    assert_eq!(refusal(&SecretBytes::copied_from(&bytes)), r#"Unsupported("PUBLIC KEY")"#);
}

#[test]
fn certificate_is_dropped_only_when_told() {
    let both = load("keys/test-key-and-certificate.pem");
    assert_eq!(refusal(&both), "Certificate");
    let key = Importer::new().discard_certificates().read(&both).expect("a key");
    assert_eq!(thumbprint(&key), expected(2048));
    assert_eq!(key.certificates, [certificate()]);
    let swapped = [load("keys/test-certificate.pem").expose(), load("keys/test-rsa3072.pkcs8.pem").expose()].concat();
    let swapped = SecretBytes::copied_from(&swapped);
    assert_eq!(refusal(&swapped), "Certificate");
    let key = Importer::new().discard_certificates().read(&swapped).expect("a key");
    assert_eq!(thumbprint(&key), expected(3072));
    assert!(key.certificates.is_empty(), "another key's certificate");
}

#[test]
fn format_that_was_asked_for_must_be_the_files() {
    for (file, format) in [("imports/pkcs8.der", Format::Der), ("imports/clear.pfx", Format::Pfx)] {
        for asked in Format::ALL {
            match Importer::new().format(asked).read(&load(file)) {
                Ok(key) => assert_eq!((asked, key.format), (format, format)),
                Err(ImportError::OtherFormat { expected, found }) => assert_eq!((expected, found), (asked, format)),
                Err(other) => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn formats_have_names_that_parse() {
    for format in Format::ALL {
        assert_eq!(format.to_string().parse(), Ok(format));
    }
    let error = "p12\u{1b}".parse::<Format>().expect_err("no such format").to_string();
    assert!(error.contains("pem, pfx") && !error.contains('\u{1b}'), "{error}");
}

#[test]
fn reasons_are_one_clause_each_and_escape_what_the_file_says() {
    let evil = || "\u{1b}[2J".to_owned();
    for error in [
        ImportError::Algorithm(evil()),
        ImportError::Duplicate(evil()),
        ImportError::Encryption(evil()),
        ImportError::Purpose { member: "use", value: evil() },
        ImportError::TargetNeeded { kid: evil() },
        ImportError::Unsupported(evil()),
        ImportError::Certificate,
        ImportError::KeyVaultBackup,
        ImportError::Undecryptable(Format::Pfx),
    ] {
        let text = error.to_string();
        assert!(!text.contains('\u{1b}') && !text.ends_with('.'), "{text}");
    }
}

#[test]
fn what_is_public_may_go_to_other_threads() {
    fn shareable<T: Send + Sync + 'static>(_: &T) {}
    let key = Importer::new().read(&load("imports/pkcs8.der")).expect("a key");
    shareable(&key);
    let error = std::thread::spawn(move || Importer::new().read(&load("imports/public.der")).map(|_| key)).join();
    let error = error.expect("no panic").expect_err("public only");
    shareable(&error);
    shareable(&ExportError::Encryption);
    assert!(matches!(error, ImportError::PublicOnly), "{error:?}");
}

#[test]
fn imported_key_unwraps_what_its_file_s_public_half_wrapped() {
    let key = Importer::new().read(&load("imports/pkcs1.der")).expect("a key").private;
    let public = crate::oaep::RsaPublicKey::from_spki_der(load("imports/public.der").expose()).expect("a public key");
    let secret = SecretBytes::copied_from(b"a secret");
    for algorithm in [crate::oaep::WrapAlgorithm::RsaOaep, crate::oaep::WrapAlgorithm::RsaOaep256] {
        let wrapped = public.encrypt(algorithm, &secret).expect("wrapped");
        assert_eq!(key.decrypt(algorithm, &wrapped).expect("unwrapped").expose(), b"a secret");
    }
}

fn load(file: &str) -> SecretBytes {
    SecretBytes::taken_from(fs::read(path(file)).unwrap_or_else(|error| panic!("{file}: {error}")))
}

fn expected(bits: usize) -> Thumbprint {
    let key = RsaPrivateKey::from_pkcs8_der(&SecretBytes::taken_from(key_der(&format!("rsa{bits}.pkcs8"))));
    Thumbprint::of(&key.expect("a good key").public().expect("a public half"))
}

/// `openssl x509 -in vectors/keys/test-certificate.pem -fingerprint -sha1`.
fn certificate() -> CertificateHash {
    CertificateHash::from_bytes([
        0x72, 0xe4, 0x76, 0x88, 0x96, 0x58, 0x27, 0x5e, 0xf5, 0x2e, 0xe9, 0x7b, 0xfe, 0xe6, 0x27, 0x7c, 0x39, 0x0f,
        0x5d, 0xf6,
    ])
}

fn thumbprint(key: &ImportedKey) -> Thumbprint {
    Thumbprint::of(&key.private.public().expect("a public half"))
}

/// Returns the reason for which `file` is refused, without a passphrase.
fn refusal(file: &SecretBytes) -> String {
    match Importer::new().read(file) {
        Ok(key) => panic!("a key: {key:?}"),
        Err(error) => format!("{error:?}"),
    }
}

/// Reads with a passphrase.
fn unlock(file: &SecretBytes, passphrase: &str) -> Result<ImportedKey, ImportError> {
    let mut ask = || Ok(SecretBytes::copied_from(passphrase.as_bytes()));
    Importer::new().passphrase(&mut ask).read(file)
}

const PASSPHRASE: &str = "sobre-test";
