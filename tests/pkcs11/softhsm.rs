//! SoftHSM 2.6.1: OAEP with SHA-1 only.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use cryptoki::context::Pkcs11;
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use sobre::key::{KeyAlias, KeyState, KeyVersion, SpkiHash};
use sobre::oaep::WrapAlgorithm;
use sobre::provider::conformance::{Capability, Change, Subject, run};
use sobre::provider::pkcs11::{PinRefusal, Pkcs11Vault, TokenError, TokenSelector};
use sobre::provider::{AmbiguousKey, KeyAdmin, KeyCensus, KeyProvider, ProviderError, ProviderErrorKind};

use crate::tests;
use crate::tokens::*;

tests! {
    softhsm_conforms,
    generated_keys_never_leave_the_token,
    tokens_are_found_by_what_is_asked_for,
    keys_that_a_team_made_are_found_and_rotated,
    keys_with_the_same_label_are_refused_by_name,
    signature_keys_are_no_keks,
    token_that_does_not_decrypt_unwraps,
    threads_never_make_the_same_version,
    nothing_is_deleted,
    looking_and_wrapping_ask_for_no_pin,
    rejected_pin_is_not_given_twice,
    rejected_pin_is_remembered_by_other_processes,
    thirty_two_threads_share_four_sessions,
}

fn softhsm_conforms() {
    let vault = Arc::new(softhsm("main"));
    main_key(&vault);
    let subject = Subject::new(vault.clone(), by("main"))
        .with_census(vault.clone())
        .with_admin(vault.clone(), &[Change::ActivationDate, Change::Disable, Change::ExpiryDate]);
    let report = run(&subject);
    assert!(report.is_conformant(), "{report}");
    assert!(report.not_run().all(|(_, needs)| needs == Capability::Recovery), "{report}");
    let wrapped = round_trip(&vault, &vault.version(&by("main"), &cx()).expect("found"));
    assert_eq!(wrapped.algorithm, WrapAlgorithm::RsaOaep);
    assert_eq!(wrapped.id, "hsm/main@1");
}

fn generated_keys_never_leave_the_token() {
    let vault = softhsm("main");
    let made = vault.create(&name("inside"), 3072, &cx()).expect("creates");
    assert_eq!(made.public.bits(), 3072);
    let session = session("main");
    let id = Attribute::Id(made.thumbprint.as_bytes().to_vec());
    let found = session.find_objects(&[Attribute::Class(ObjectClass::PRIVATE_KEY), id.clone()]).expect("searches");
    let [private] = found[..] else { panic!("{found:?}") };
    let wanted = [
        AttributeType::Sensitive,
        AttributeType::Extractable,
        AttributeType::AlwaysSensitive,
        AttributeType::NeverExtractable,
        AttributeType::Private,
        AttributeType::Local,
        AttributeType::Sign,
    ];
    let attributes = session.get_attributes(private, &wanted).expect("reads");
    let expected = [
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::AlwaysSensitive(true),
        Attribute::NeverExtractable(true),
        Attribute::Private(true),
        Attribute::Local(true),
        Attribute::Sign(false),
    ];
    assert_eq!(attributes, expected);
    let public = session.find_objects(&[Attribute::Class(ObjectClass::PUBLIC_KEY), id]).expect("searches");
    assert_eq!(public.len(), 1);
}

fn tokens_are_found_by_what_is_asked_for() {
    let open = |module: &str, selector: TokenSelector| {
        let mut settings = settings(module, "", &Pin::of(PIN));
        settings.token = selector;
        Pkcs11Vault::open(settings, &cx())
    };
    let error = open(SOFTHSM, TokenSelector::labelled("none\n")).expect_err("no such token");
    assert_eq!((error.kind, error.to_string().as_str()), (ProviderErrorKind::NotFound, "vault 'hsm' is not there"));
    assert!(matches!(cause(&error), TokenError::NoToken { .. }));
    assert!(!cause(&error).to_string().contains('\n'));
    let error = open(SOFTHSM, TokenSelector::labelled("twin")).expect_err("two tokens");
    assert_eq!(error.kind, ProviderErrorKind::Unsupported);
    assert!(matches!(cause(&error), TokenError::SeveralTokens { tokens: 2, .. }));
    let manufacturer = Some("SoftHSM project".to_owned());
    assert!(open(SOFTHSM, TokenSelector { manufacturer, ..TokenSelector::labelled("main") }).is_ok());
    for bad in ["/nowhere/module.so", "/etc/passwd", "/lib/x86_64-linux-gnu/libm.so.6"] {
        let error = open(bad, TokenSelector::labelled("main")).expect_err(bad);
        assert_eq!(error.kind, ProviderErrorKind::Unsupported, "{bad}: {error}");
        assert!(matches!(cause(&error), TokenError::Module(_)), "{error:?}");
    }
    let mut other = settings(SOFTHSM, "main", &Pin::of(PIN));
    other.init_args = Some("other".to_owned());
    let error = Pkcs11Vault::open(other, &cx()).expect_err("initialised in another way");
    assert!(matches!(cause(&error), TokenError::InitArgs(_)));
}

fn keys_that_a_team_made_are_found_and_rotated() {
    let vault = softhsm("team");
    import("team", "rsa3072.pkcs8", "Team-Key", "a1");
    import("team", "rsa4096.pkcs8", "a key, by its team", "a1");
    let (named, unnamed) = (known("rsa3072.pkcs8"), known("rsa4096.pkcs8"));
    let found = vault.version(&by("team-key"), &cx()).expect("found by its label");
    assert_eq!((found.thumbprint, found.id.as_str()), (named.thumbprint, "hsm/Team-Key@1"));
    round_trip(&vault, &found);
    // No name, and a CKA_ID that is another key's: found by its material.
    let found = vault.find(&unnamed.thumbprint, &cx()).expect("found by its thumbprint");
    assert_eq!(found.id, format!("jkt:{}", unnamed.thumbprint));
    round_trip(&vault, &found);
    assert_eq!(vault.keys(&cx()).expect("lists"), [name("Team-Key")]);
    // Other names of the same key: the hash of its public half, and an id that both keys have.
    let spki = KeyAlias::Spki(SpkiHash::of(&unnamed.public)).to_string();
    assert_eq!(vault.version(&by(&spki), &cx()).expect("found").thumbprint, unnamed.thumbprint);
    assert_eq!(ambiguous(&vault.version(&by("cka:a1"), &cx()).expect_err("two keys")), 2);
    assert_eq!(vault.version(&by("cka:a2"), &cx()).expect_err("none").kind, ProviderErrorKind::NotFound);
    let old = round_trip(&vault, &vault.version(&by("team-key@1"), &cx()).expect("found"));
    let new = vault.rotate(&name("TEAM-KEY"), &cx()).expect("rotates");
    assert_eq!((new.id.as_str(), new.public.bits()), ("hsm/Team-Key@2", 3072));
    assert_eq!(vault.version(&by("team-key"), &cx()).expect("found").thumbprint, new.thumbprint);
    unwraps(&vault, &old);
    let numbers: Vec<_> =
        vault.versions(&name("team-key"), &cx()).expect("lists").iter().map(|(number, _)| number.get()).collect();
    assert_eq!(numbers, [1, 2]);
}

fn keys_with_the_same_label_are_refused_by_name() {
    let vault = softhsm("twins");
    import("twins", "rsa2048.pkcs8", "same", "01");
    import("twins", "rsa3072.pkcs8", "same@1", "02");
    for reference in ["same", "same@1", "SAME"] {
        let error = vault.version(&by(reference), &cx()).expect_err("two keys");
        assert_eq!(error.kind, ProviderErrorKind::Unsupported);
        assert_eq!(ambiguous(&error), 2);
    }
    assert_eq!(ambiguous(&vault.versions(&name("same"), &cx()).expect_err("two keys")), 2);
    for key in ["rsa2048.pkcs8", "rsa3072.pkcs8"] {
        round_trip(&vault, &vault.find(&known(key).thumbprint, &cx()).expect("found by its thumbprint"));
    }
}

/// Between how many keys a reference did not decide.
fn ambiguous(error: &ProviderError) -> usize {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<AmbiguousKey>());
    cause.unwrap_or_else(|| panic!("another cause: {error:?}")).ids.len()
}

fn signature_keys_are_no_keks() {
    let vault = softhsm("main");
    generate("main", "signs", &[Attribute::Encrypt(false), Attribute::Wrap(false), Attribute::Verify(true)], &[]);
    let error = vault.version(&by("signs"), &cx()).expect_err("for signatures");
    assert_eq!(error.kind, ProviderErrorKind::NotFound);
    assert!(!vault.keys(&cx()).expect("lists").contains(&name("signs")));
}

fn token_that_does_not_decrypt_unwraps() {
    let vault = softhsm("main");
    generate(
        "main",
        "unwraps",
        &[Attribute::Encrypt(true), Attribute::Wrap(true)],
        &[Attribute::Decrypt(false), Attribute::Unwrap(true)],
    );
    let kek = vault.version(&by("unwraps"), &cx()).expect("found");
    let wrapped = round_trip(&vault, &kek);
    let mut changed = wrapped.clone();
    changed.ciphertext[9] ^= 1;
    let error = vault.unwrap_key(&changed, &cx()).expect_err("changed");
    assert_eq!(error.kind, ProviderErrorKind::UnwrapFailed);
    assert!(std::error::Error::source(&error).is_none());
    // One that may do neither is disabled, whatever its public half says.
    let off = [Attribute::Decrypt(false), Attribute::Unwrap(false)];
    generate("main", "neither", &[Attribute::Encrypt(true), Attribute::Wrap(true)], &off);
    let kek = vault.version(&by("neither"), &cx()).expect("found");
    assert_eq!(kek.state, KeyState::Enabled);
    let wrapped = vault.wrap_key(&kek, &secret(), &cx()).expect("wraps");
    assert_eq!(vault.unwrap_key(&wrapped, &cx()).expect_err("disabled").kind, ProviderErrorKind::Disabled);
}

fn threads_never_make_the_same_version() {
    let vault = softhsm("main");
    let both = |make: &(dyn Fn() -> Result<KeyVersion, ProviderError> + Sync)| {
        std::thread::scope(|scope| {
            let threads = [scope.spawn(make), scope.spawn(make)];
            threads.map(|thread| thread.join().expect("no panic"))
        })
    };
    let made = both(&|| vault.create(&name("raced"), 2048, &cx()));
    assert_eq!(made.iter().filter(|made| made.is_ok()).count(), 1);
    let refused = made.into_iter().find_map(Result::err).expect("one comes second");
    assert_eq!(refused.kind, ProviderErrorKind::Exists);
    let mut ids = both(&|| vault.rotate(&name("raced"), &cx())).map(|made| made.expect("rotates").id);
    ids.sort();
    assert_eq!(ids, ["hsm/raced@2", "hsm/raced@3"]);
}

fn nothing_is_deleted() {
    let vault = softhsm("main");
    main_key(&vault);
    let error = vault.delete(&name("main"), &cx()).expect_err("a token destroys at once");
    assert_eq!(error.kind, ProviderErrorKind::Unsupported);
    assert!(matches!(cause(&error), TokenError::NoSoftDelete));
    assert_eq!(vault.delete(&name("none"), &cx()).expect_err("none").kind, ProviderErrorKind::NotFound);
    assert!(vault.version(&by("main"), &cx()).is_ok());
    assert!(vault.deleted(&cx()).expect("lists").is_empty());
}

fn looking_and_wrapping_ask_for_no_pin() {
    import("pads", "rsa2048.pkcs8", "open", "01");
    let pin = Pin::of(PIN);
    let vault = Pkcs11Vault::open(settings(SOFTHSM, "pads", &pin), &cx()).expect("the token");
    let kek = vault.version(&by("open"), &cx()).expect("found");
    vault.find(&kek.thumbprint, &cx()).expect("found");
    vault.versions(&name("open"), &cx()).expect("lists");
    let wrapped = vault.wrap_key(&kek, &secret(), &cx()).expect("wraps");
    assert_eq!(pin.asked.load(Ordering::SeqCst), 0);
    unwraps(&vault, &wrapped);
    unwraps(&vault, &wrapped);
    assert_eq!(pin.asked.load(Ordering::SeqCst), 1);
    let none = Pkcs11Vault::open(
        sobre::provider::pkcs11::TokenSettings::new(
            "hsm".parse().expect("a name"),
            SOFTHSM,
            TokenSelector::labelled("team"),
        ),
        &cx(),
    );
    assert!(none.expect("no PIN to open").keys(&cx()).is_ok());
}

fn rejected_pin_is_not_given_twice() {
    import("pins", "rsa2048.pkcs8", "locked", "01");
    let open = |text, low| {
        let mut settings = settings(SOFTHSM, "pins", &Pin::of(text));
        settings.pin_when_low = low;
        Pkcs11Vault::open(settings, &cx()).expect("the token")
    };
    let refusal = |vault: &Pkcs11Vault| {
        let kek = vault.version(&by("locked"), &cx()).expect("found");
        let wrapped = vault.wrap_key(&kek, &secret(), &cx()).expect("wraps");
        let error = vault.unwrap_key(&wrapped, &cx()).expect_err("no PIN");
        assert_eq!(error.kind, ProviderErrorKind::Locked, "{error:?}");
        match cause(&error) {
            TokenError::Pin(why) => *why,
            other => panic!("{other:?}"),
        }
    };
    let wrong = open("wrong-pin", true);
    assert_eq!(refusal(&wrong), PinRefusal::Rejected);
    assert_eq!(refusal(&wrong), PinRefusal::RejectedBefore);
    // The token now says that tries are low.
    assert_eq!(refusal(&open(PIN, false)), PinRefusal::CountLow);
    let right = open(PIN, true);
    round_trip(&right, &right.version(&by("locked"), &cx()).expect("found"));
}

fn rejected_pin_is_remembered_by_other_processes() {
    import("stamps", "rsa2048.pkcs8", "stamped@1", "03");
    // The stamp is what another process would find.
    let stamp = folder().join("stamp");
    let open = |text| {
        let pin = Pin::of(text);
        let mut settings = settings(SOFTHSM, "stamps", &pin);
        settings.pin_stamp = Some(stamp.clone());
        settings.pin_when_low = true;
        (Pkcs11Vault::open(settings, &cx()).expect("the token"), pin)
    };
    logged_out("stamps");
    let kek = known("rsa2048.pkcs8");
    let wrapped = softhsm("stamps").wrap_key(&kek, &secret(), &cx()).expect("wraps");
    let (first, _) = open("wrong-pin");
    let error = first.unwrap_key(&wrapped, &cx()).expect_err("wrong");
    assert!(matches!(cause(&error), TokenError::Pin(PinRefusal::Rejected)), "{error:?}");
    assert_eq!(std::fs::read(&stamp).expect("a stamp").len(), 18);
    let (second, pin) = open("wrong-pin");
    let error = second.unwrap_key(&wrapped, &cx()).expect_err("not given");
    assert!(matches!(cause(&error), TokenError::Pin(PinRefusal::RejectedBefore)), "{error:?}");
    assert_eq!(pin.asked.load(Ordering::SeqCst), 1);
    let (third, _) = open(PIN);
    unwraps(&third, &wrapped);
    assert!(std::fs::read(&stamp).expect("a stamp").is_empty(), "what was accepted clears it");
}

fn thirty_two_threads_share_four_sessions() {
    let vault = softhsm("main");
    let kek = main_key(&vault);
    std::thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| round_trip(&vault, &kek));
        }
    });
}

/// The key that all tests share: generating one takes time.
fn main_key(vault: &Pkcs11Vault) -> KeyVersion {
    vault.version(&by("main"), &cx()).unwrap_or_else(|_| vault.create(&name("main"), 2048, &cx()).expect("creates"))
}

/// A session behind the provider's back.
fn session(token: &str) -> Session {
    let module = Pkcs11::new(SOFTHSM).expect("the module");
    let is = |slot: &_| module.get_token_info(*slot).is_ok_and(|info| info.label() == token);
    let slot = module.get_slots_with_token().expect("slots").into_iter().find(is).expect("the token");
    let session = module.open_rw_session(slot).expect("a session");
    // Perhaps already: all sessions of a process log in together.
    let _ = session.login(UserType::User, Some(&AuthPin::from(PIN.to_owned())));
    session
}

fn logged_out(token: &str) {
    session(token).logout().expect("logs out");
}

/// Makes a key pair as another program would.
fn generate(token: &str, label: &str, public: &[Attribute], private: &[Attribute]) {
    let label = Attribute::Label(label.as_bytes().to_vec());
    let bits = Attribute::ModulusBits(2048.into());
    let mut publics = vec![Attribute::Token(true), Attribute::Private(false), label.clone(), bits];
    publics.push(Attribute::PublicExponent(vec![1, 0, 1]));
    publics.extend_from_slice(public);
    let mut privates = vec![Attribute::Token(true), Attribute::Private(true), label];
    privates.extend_from_slice(private);
    session(token).generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &publics, &privates).expect("generates");
}
