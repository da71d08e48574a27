//! SoftHSM behind a shim that fails on demand: no wrong answer is accepted, no PIN is given twice, nobody waits for ever.

use std::num::NonZeroUsize;
use std::process::{Command, ExitCode, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use sobre::key::KeyVersion;
use sobre::provider::pkcs11::{PinRefusal, Pkcs11Vault, TokenError};
use sobre::provider::{Disposition, KeyAdmin, KeyProvider, ProviderError, ProviderErrorKind, WrappedKey};
use sobre::secret::SecretBytes;

use crate::tests;
use crate::tokens::*;

tests! {
    rejected_or_locked_pin_is_given_once,
    fifty_processes_give_a_rejected_pin_once,
    pin_is_kept_from_a_token_that_is_low_or_locked,
    lost_session_is_reopened_once,
    device_that_stays_away_is_an_outage,
    sessions_are_capped,
    interrupted_generation_is_not_repeated,
    overlong_lengths_are_a_lie,
    overlong_answers_are_never_secrets,
    hanging_module_costs_the_deadline_only,
    unknown_answers_lead_to_no_other_vault,
}

/// Before anything has logged in.
fn rejected_or_locked_pin_is_given_once() {
    for fault in ["pin-incorrect", "pin-locked"] {
        let vault = opened();
        faulty(&format!("C_Login {fault} 100"));
        for _ in 0..5 {
            let error = unwrap(&vault).expect_err("no PIN");
            assert_eq!(error.kind, ProviderErrorKind::Locked, "{error:?}");
            assert_eq!(error.kind.disposition(), Disposition::Stop);
        }
        assert_eq!(calls("C_Login"), 1, "{fault}");
    }
    // Eight threads at once, and the token sees one PIN.
    let vault = opened();
    faulty("C_Login pin-incorrect 100");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(unwrap(&vault).expect_err("no PIN").kind, ProviderErrorKind::Locked));
        }
    });
    assert_eq!(calls("C_Login"), 1);
}

fn fifty_processes_give_a_rejected_pin_once() {
    faulty("");
    let program = std::env::current_exe().expect("this program");
    let start = |number: usize| {
        // A file each: the shim counts its faults down in it. And SoftHSM itself never sees the PIN: it would note that in the token's
        // own file, which its other processes then read half written.
        let faults = folder().join(format!("faults-{number}"));
        std::fs::write(&faults, "C_Login pin-incorrect 100").expect("writes");
        let mut command = Command::new(&program);
        command.env(crate::KIND, "attempt").env("SOBRE_SHIM_FAULTS", faults);
        command.stdout(Stdio::piped()).spawn().expect("starts")
    };
    let children: Vec<_> = (0..50).map(start).collect();
    for child in children {
        let output = child.wait_with_output().expect("ends");
        assert!(output.status.success(), "{output:?}");
    }
    println!("50 processes, one rejected PIN: given to the token {} time", calls("C_Login"));
    assert_eq!(calls("C_Login"), 1);
}

/// One process that has an old PIN.
pub(crate) fn attempt() -> ExitCode {
    let mut settings = settings(shim().to_str().expect("plain"), "main", &Pin::of("an old PIN"));
    settings.pin_stamp = Some(folder().join("stamp"));
    let vault = Pkcs11Vault::open(settings, &cx()).expect("the token");
    match vault.unwrap_key(&made(), &cx()) {
        Err(error) if error.kind == ProviderErrorKind::Locked => ExitCode::SUCCESS,
        other => {
            println!("{other:?}");
            ExitCode::FAILURE
        }
    }
}

fn pin_is_kept_from_a_token_that_is_low_or_locked() {
    for (fault, why) in
        [("count-low", PinRefusal::CountLow), ("final-try", PinRefusal::FinalTry), ("locked", PinRefusal::TokenLocked)]
    {
        let vault = opened();
        faulty(&format!("C_GetTokenInfo {fault} 100"));
        let error = unwrap(&vault).expect_err("no PIN");
        assert_eq!(error.kind, ProviderErrorKind::Locked);
        assert!(matches!(cause(&error), TokenError::Pin(refusal) if *refusal == why), "{error:?}");
        assert_eq!(calls("C_Login"), 0, "{fault}");
    }
}

fn lost_session_is_reopened_once() {
    let vault = with_sessions(1);
    unwrap(&vault).expect("unwraps");
    for function in ["C_FindObjectsInit", "C_GetAttributeValue", "C_DecryptInit", "C_Decrypt.length", "C_Decrypt"] {
        for fault in ["device-removed", "session-handle-invalid", "token-not-present", "user-not-logged-in"] {
            faulty(&format!("{function} {fault} 1"));
            assert!(unwrap(&vault).expect("reopened").ct_eq(secret().expose()), "{function} {fault}");
            assert_eq!(calls("C_OpenSession"), 1, "{function} {fault}");
        }
    }
}

fn device_that_stays_away_is_an_outage() {
    let vault = with_sessions(1);
    unwrap(&vault).expect("unwraps");
    for function in ["C_FindObjectsInit", "C_DecryptInit", "C_Decrypt"] {
        faulty(&format!("{function} device-removed 100"));
        let error = unwrap(&vault).expect_err("away");
        assert_eq!(error.kind, ProviderErrorKind::Unavailable, "{function}: {error:?}");
        assert_eq!(error.kind.disposition(), Disposition::TryNext);
        assert!(calls("C_OpenSession") <= 2, "{function}");
    }
    faulty("C_FindObjectsInit device-removed 1\nC_OpenSession device-removed 100");
    assert_eq!(unwrap(&vault).expect_err("away").kind, ProviderErrorKind::Unavailable);
    faulty("");
    unwrap(&vault).expect("back again");
}

fn sessions_are_capped() {
    let vault = with_sessions(3);
    faulty("");
    std::thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| unwrap(&vault).expect("unwraps"));
        }
    });
    assert!(calls("C_OpenSession") <= 3, "{}", calls("C_OpenSession"));
}

fn interrupted_generation_is_not_repeated() {
    let vault = opened();
    faulty("C_GenerateKeyPair device-removed 1");
    let error = vault.rotate(&name("main"), &cx()).expect_err("cut off");
    assert_eq!(error.kind, ProviderErrorKind::Unavailable);
    assert_eq!(calls("C_GenerateKeyPair"), 1);
    // What was made is a whole version, and the next one comes after it.
    round_trip(&vault, &vault.version(&by("main@2"), &cx()).expect("made"));
    assert_eq!(vault.rotate(&name("main"), &cx()).expect("rotates").id, "hsm/main@3");
    unwrap(&vault).expect("the first still unwraps");
}

fn overlong_lengths_are_a_lie() {
    let vault = opened();
    unwrap(&vault).expect("unwraps");
    for fault in ["length-terabyte", "length-of-all-memory"] {
        faulty(&format!("C_GetAttributeValue {fault} 100"));
        let error = vault.find(&kek().thumbprint, &cx()).expect_err("a lie");
        assert_eq!(error.kind, ProviderErrorKind::Lying, "{fault}: {error:?}");
    }
    faulty("C_Decrypt.length length-of-all-memory 100");
    let error = unwrap(&vault).expect_err("a lie");
    assert_eq!(error.kind, ProviderErrorKind::Lying, "{error:?}");
    assert_eq!(error.kind.disposition(), Disposition::Stop);
    faulty("");
    unwrap(&vault).expect("the thread goes on");
}

fn overlong_answers_are_never_secrets() {
    let vault = opened();
    let mut accepted = 0;
    for fault in ["C_Decrypt length-too-long 1", "C_Decrypt length-megabytes 1", "C_Decrypt.length length-megabytes 1"]
    {
        faulty(fault);
        match unwrap(&vault) {
            Ok(secret) => accepted += usize::from(!secret.ct_eq(self::secret().expose())),
            Err(error) => assert_eq!(error.kind, ProviderErrorKind::Lying, "{fault}: {error:?}"),
        }
    }
    println!("wrong answers accepted: {accepted}");
    assert_eq!(accepted, 0);
}

fn hanging_module_costs_the_deadline_only() {
    let vault = opened();
    unwrap(&vault).expect("unwraps");
    faulty("C_Decrypt hang 1");
    let began = Instant::now();
    let error = vault.unwrap_key(wrapped(), &within(Duration::from_millis(300))).expect_err("hangs");
    assert_eq!(error.kind, ProviderErrorKind::Timeout);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    faulty("");
    // Another thread and session. SoftHSM itself goes on: it is the shim that sleeps.
    unwrap(&vault).expect("unwraps");
    assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
}

fn unknown_answers_lead_to_no_other_vault() {
    let vault = opened();
    unwrap(&vault).expect("unwraps");
    faulty("C_DecryptInit vendor-defined 1");
    let error = unwrap(&vault).expect_err("an unknown refusal");
    assert_eq!((error.kind, error.kind.disposition()), (ProviderErrorKind::Denied, Disposition::Stop));
    // Inside the private-key operation every failure looks alike.
    for fault in ["general-error", "vendor-defined"] {
        faulty(&format!("C_Decrypt {fault} 1"));
        let error = unwrap(&vault).expect_err("fails");
        assert_eq!(error.kind, ProviderErrorKind::UnwrapFailed, "{error:?}");
        assert!(std::error::Error::source(&error).is_none());
    }
}

/// A vault of its own, which has not logged in: its login is remembered by it, the token's by the process.
fn opened() -> Pkcs11Vault {
    with_sessions(4)
}

fn with_sessions(sessions: usize) -> Pkcs11Vault {
    faulty("");
    let mut settings = settings(shim().to_str().expect("plain"), "main", &Pin::of(PIN));
    settings.sessions = NonZeroUsize::new(sessions).expect("not zero");
    Pkcs11Vault::open(settings, &cx()).expect("the token")
}

fn unwrap(vault: &Pkcs11Vault) -> Result<SecretBytes, ProviderError> {
    vault.unwrap_key(wrapped(), &cx())
}

fn kek() -> KeyVersion {
    known("rsa2048.pkcs8")
}

fn wrapped() -> &'static WrappedKey {
    static WRAPPED: OnceLock<WrappedKey> = OnceLock::new();
    WRAPPED.get_or_init(|| {
        import("main", "rsa2048.pkcs8", "main", "01");
        made()
    })
}

fn made() -> WrappedKey {
    let algorithm = sobre::oaep::WrapAlgorithm::RsaOaep;
    let ciphertext = kek().public.encrypt(algorithm, &secret()).expect("encrypts");
    WrappedKey { thumbprint: kek().thumbprint, id: "hsm/main@1".to_owned(), algorithm, ciphertext }
}

/// Sets the faults to come, and forgets the calls so far.
fn faulty(faults: &str) {
    wrapped();
    std::fs::write(folder().join("faults"), faults).expect("writes");
    std::fs::write(folder().join("calls"), "").expect("writes");
}

fn calls(function: &str) -> usize {
    let calls = std::fs::read_to_string(folder().join("calls")).expect("reads");
    calls.lines().filter(|call| *call == function).count()
}
