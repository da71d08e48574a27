//! Encrypted PKCS#8.

use super::*;

#[test]
fn every_supported_encryption_opens() {
    for file in [
        "imports/pbes1-3des.der",
        "imports/pbes2-scrypt.der",
        "imports/pbes2-sha1-aes128.der",
        "imports/pbes2-sha256-aes256.der",
        "imports/pbes2-sha384-aes192.der",
        "imports/pbes2-sha512-aes256.der",
        "keys/test-rsa2048.pkcs8-encrypted-pbes1.pem",
        "keys/test-rsa2048.pkcs8-encrypted-scrypt.pem",
        "keys/test-rsa2048.pkcs8-encrypted.pem",
    ] {
        let key = unlock(&load(file), PASSPHRASE).unwrap_or_else(|error| panic!("{file}: {error:?}"));
        assert_eq!(thumbprint(&key), expected(2048), "{file}");
    }
}

#[test]
fn unsupported_encryption_is_named() {
    let error = unlock(&load("imports/pbes2-3des.der"), PASSPHRASE).expect_err("3DES");
    assert_eq!(format!("{error:?}"), r#"Encryption("PBES2 with 3DES")"#);
}

#[test]
fn good_passphrase_shows_why_the_key_itself_is_refused() {
    for (file, reason) in [
        ("imports/pbes2-ec.der", r#"Algorithm("EC")"#),
        ("imports/pbes2-e3.der", "Exponent"),
        ("imports/pbes2-rsa1024.der", "Size(1024)"),
        ("imports/pbes2-three-primes.der", "OtherPrimes"),
    ] {
        let error = unlock(&load(file), PASSPHRASE).expect_err("refused");
        assert_eq!(format!("{error:?}"), reason, "{file}");
    }
}

#[test]
fn wrong_passphrase_and_damage_look_alike() {
    for file in ["imports/pbes2-sha256-aes256.der", "imports/pbes2-scrypt.der", "imports/pbes1-3des.der"] {
        let good = load(file);
        for number in 0..300 {
            let error = unlock(&good, &format!("wrong {number}")).expect_err("wrong");
            assert_eq!(format!("{error:?}"), "Undecryptable(Der)", "{file} {number}");
        }
    }
}

#[test]
fn every_damaged_byte_of_a_ciphertext_looks_like_a_wrong_passphrase() {
    let good = load("imports/pbes2-sha512-aes256.der").expose().to_vec();
    // The ciphertext is the last element, of four bytes of header, the key's 1216 bytes and the padding; the IV stands before it.
    let (ciphertext, iv) = (good.len() - 1232..good.len(), good.len() - 1252..good.len() - 1236);
    assert_eq!(good[iv.start - 2..iv.start], [4, 16]);
    for at in iv.chain(ciphertext) {
        for bit in 0..8 {
            let mut damaged = good.clone();
            damaged[at] ^= 1 << bit;
            let error = unlock(&SecretBytes::taken_from(damaged), PASSPHRASE).expect_err("damaged");
            assert_eq!(format!("{error:?}"), "Undecryptable(Der)", "byte {at} bit {bit}");
        }
    }
}

#[test]
fn passphrase_is_asked_for_once_and_only_when_there_is_one() {
    let mut asked = 0;
    let mut ask = || {
        asked += 1;
        Ok(SecretBytes::copied_from(PASSPHRASE.as_bytes()))
    };
    Importer::new().passphrase(&mut ask).read(&load("imports/pkcs8.der")).expect("a key");
    assert_eq!(asked, 0);
    let mut ask = || {
        asked += 1;
        Ok(SecretBytes::copied_from(PASSPHRASE.as_bytes()))
    };
    let importer = Importer::new().passphrase(&mut ask).discard_certificates();
    importer.read(&load("imports/modern-certificate.pfx")).expect("a key");
    assert_eq!(asked, 1);
}

#[test]
fn missing_passphrase_is_said() {
    for file in ["imports/pbes2-sha256-aes256.der", "imports/modern.pfx", "keys/test-rsa2048.pkcs8-encrypted.pem"] {
        assert_eq!(refusal(&load(file)), "PassphraseNeeded", "{file}");
    }
    let mut ask = || Err("no terminal".into());
    let error = Importer::new().passphrase(&mut ask).read(&load("imports/modern.pfx")).expect_err("no passphrase");
    assert_eq!(error.source().map(ToString::to_string), Some("no terminal".to_owned()));
}

#[test]
fn costly_files_are_refused_at_once() {
    for file in [
        "cost-pbkdf2.der",
        "cost-scrypt-blocks.der",
        "cost-scrypt-memory.der",
        "cost-scrypt-time.der",
        "cost-scrypt-overflow.der",
        "cost-mac.pfx",
    ] {
        let error = unlock(&load(&format!("imports/{file}")), PASSPHRASE).expect_err("costly");
        assert!(matches!(error, ImportError::Cost), "{file}: {error:?}");
    }
}
