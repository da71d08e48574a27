//! PFX files.

use super::*;

#[test]
fn modern_and_legacy_ciphers_open() {
    for file in
        ["clear-mac", "legacy", "legacy-2des", "legacy-rc2-128", "legacy-rc2-40", "modern", "modern-sha512", "no-mac"]
    {
        let key = unlock(&load(&format!("imports/{file}.pfx")), PASSPHRASE)
            .unwrap_or_else(|error| panic!("{file}: {error:?}"));
        assert_eq!((key.format, thumbprint(&key)), (Format::Pfx, expected(2048)), "{file}");
    }
}

#[test]
fn friendly_name_is_the_suggested_name() {
    let key = unlock(&load("imports/modern.pfx"), PASSPHRASE).expect("a key");
    assert_eq!(key.name.as_deref(), Some("prod kek \u{fc}"));
    assert_eq!(unlock(&load("imports/legacy.pfx"), PASSPHRASE).expect("a key").name, None);
}

#[test]
fn empty_and_unicode_passphrases_open() {
    for (file, passphrase) in
        [("empty-passphrase", ""), ("no-passphrase", ""), ("unicode-passphrase", "p\u{e4}ss \u{1f511}")]
    {
        let key = unlock(&load(&format!("imports/{file}.pfx")), passphrase)
            .unwrap_or_else(|error| panic!("{file}: {error:?}"));
        assert_eq!(thumbprint(&key), expected(2048), "{file}");
    }
    let mut ask = || Ok(SecretBytes::copied_from(b"\xff\xfe"));
    let error = Importer::new().passphrase(&mut ask).read(&load("imports/modern.pfx")).expect_err("no text");
    assert!(matches!(error, ImportError::PassphraseText), "{error:?}");
}

#[test]
fn key_with_a_certificate_is_refused_unless_it_is_discarded() {
    for file in ["imports/modern-certificate.pfx", "imports/legacy-certificate.pfx"] {
        let error = unlock(&load(file), PASSPHRASE).expect_err("a certificate");
        assert!(matches!(error, ImportError::Certificate), "{file}: {error:?}");
        let mut ask = || Ok(SecretBytes::copied_from(PASSPHRASE.as_bytes()));
        let key = Importer::new().passphrase(&mut ask).discard_certificates().read(&load(file));
        let key = key.unwrap_or_else(|error| panic!("{file}: {error:?}"));
        assert_eq!(thumbprint(&key), expected(2048), "{file}");
        assert_eq!(key.certificates, [certificate()], "{file}");
    }
    assert!(unlock(&load("imports/modern.pfx"), PASSPHRASE).expect("a key").certificates.is_empty());
}

#[test]
fn other_contents_are_refused_with_their_reason() {
    for (file, reason) in [
        ("certificate-only", "NoKey"),
        ("ec", r#"Algorithm("EC")"#),
        ("legacy-rc4", r#"Encryption("SHA-1 and RC4-128")"#),
        ("rsa1024", "Size(1024)"),
    ] {
        let error = unlock(&load(&format!("imports/{file}.pfx")), PASSPHRASE).expect_err("refused");
        assert_eq!(format!("{error:?}"), reason, "{file}");
    }
}

#[test]
fn wrong_passphrase_and_damage_look_alike() {
    for file in ["clear-mac", "legacy", "legacy-certificate", "modern", "no-mac"] {
        let good = load(&format!("imports/{file}.pfx"));
        for wrong in ["", "sobre-tes", "sobre-test ", "Sobre-test"] {
            let error = unlock(&good, wrong).expect_err("wrong");
            assert_eq!(format!("{error:?}"), "Undecryptable(Pfx)", "{file} {wrong:?}");
        }
    }
    // Inside the shrouded key, far from every header.
    for at in 400..1000 {
        for file in ["legacy", "modern", "no-mac", "clear-mac"] {
            let mut damaged = load(&format!("imports/{file}.pfx"));
            damaged.expose_mut()[at] ^= 0x10;
            let error = unlock(&damaged, PASSPHRASE).expect_err("damaged");
            assert_eq!(format!("{error:?}"), "Undecryptable(Pfx)", "{file} byte {at}");
        }
    }
}
