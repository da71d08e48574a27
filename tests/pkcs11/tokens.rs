//! Fresh tokens in folders of their own, and what all tests need of them.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sobre::clock::SystemClock;
use sobre::key::{KeyName, KeyRef, KeyVersion, VaultName};
use sobre::provider::pkcs11::{PinSource, Pkcs11Vault, TokenError, TokenSelector, TokenSettings};
use sobre::provider::{KeyProvider, OpContext, PemKey, ProviderError, WrappedKey};
use sobre::secret::SecretBytes;

/// A folder with the tokens of one kind of module.
pub(crate) struct World {
    folder: tempfile::TempDir,
    kind: &'static str,
}

impl World {
    pub(crate) fn make(kind: &'static str) -> Self {
        let world = Self { folder: tempfile::tempdir().expect("a folder"), kind };
        match kind {
            "nss" => world.make_nss(),
            _ => world.make_softhsm(),
        }
        if kind == "faults" {
            build_shim();
        }
        world
    }

    /// What the modules, and the tests, read from the environment.
    pub(crate) fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        let at = |name: &str| self.folder.path().join(name);
        let mut all = vec![(FOLDER, self.folder.path().to_owned())];
        match self.kind {
            "nss" => all.extend(FEW_ITERATIONS.map(|variable| (variable, "1".into()))),
            _ => all.push(("SOFTHSM2_CONF", at("softhsm2.conf"))),
        }
        if self.kind == "faults" {
            all.push(("SOBRE_SHIM_MODULE", SOFTHSM.into()));
            all.push(("SOBRE_SHIM_FAULTS", at("faults")));
            all.push(("SOBRE_SHIM_CALLS", at("calls")));
        }
        all
    }

    fn make_softhsm(&self) {
        let (conf, tokens) = (self.folder.path().join("softhsm2.conf"), self.folder.path().join("tokens"));
        fs::create_dir(&tokens).expect("a folder");
        let text =
            format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", tokens.display());
        fs::write(&conf, text).expect("writes");
        let labels: &[&str] = match self.kind {
            "faults" => &["main"],
            _ => &["main", "team", "pins", "stamps", "pads", "twins", "twin", "twin"],
        };
        for label in labels {
            softhsm_util(&conf, &["--init-token", "--free", "--label", label, "--so-pin", "12345678", "--pin", PIN]);
        }
    }

    fn make_nss(&self) {
        let pin = self.folder.path().join("pin");
        fs::write(&pin, PIN).expect("writes");
        let database = format!("sql:{}", self.folder.path().display());
        done(Command::new("certutil").args(["-N", "-d", &database, "-f"]).arg(pin).envs(self.environment()));
    }
}

pub(crate) fn folder() -> PathBuf {
    std::env::var_os(FOLDER).expect("started by this program itself").into()
}

pub(crate) fn softhsm_util(conf: &Path, arguments: &[&str]) {
    done(Command::new("softhsm2-util").args(arguments).env("SOFTHSM2_CONF", conf));
}

/// Puts a key of `vectors/keys` into a token, as a HSM's own tools would.
pub(crate) fn import(token: &str, key: &str, label: &str, id: &str) {
    let file = key_path(key);
    let file = file.to_str().expect("plain");
    let conf = folder().join("softhsm2.conf");
    softhsm_util(&conf, &["--import", file, "--token", token, "--label", label, "--id", id, "--pin", PIN, "--force"]);
}

pub(crate) fn key_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("vectors/keys/test-{name}.pem"))
}

pub(crate) fn known(name: &str) -> KeyVersion {
    PemKey::read(&key_path(name)).expect("a good key").version
}

/// Counts how often it is asked.
#[derive(Debug)]
pub(crate) struct Pin {
    pub(crate) text: &'static str,
    pub(crate) asked: AtomicUsize,
}

impl Pin {
    pub(crate) fn of(text: &'static str) -> Arc<Self> {
        Arc::new(Self { text, asked: AtomicUsize::new(0) })
    }
}

impl PinSource for Pin {
    fn pin(&self, _: &VaultName, _: &str) -> Result<SecretBytes, Box<dyn std::error::Error + Send + Sync>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(SecretBytes::copied_from(self.text.as_bytes()))
    }
}

pub(crate) fn settings(module: &str, token: &str, pin: &Arc<Pin>) -> TokenSettings {
    let mut settings = TokenSettings::new("hsm".parse().expect("a name"), module, TokenSelector::labelled(token));
    settings.pin = pin.clone();
    settings.sessions = NonZeroUsize::new(4).expect("not zero");
    settings
}

pub(crate) fn softhsm(token: &str) -> Pkcs11Vault {
    Pkcs11Vault::open(settings(SOFTHSM, token, &Pin::of(PIN)), &cx()).expect("the token")
}

pub(crate) fn cx() -> OpContext {
    within(Duration::from_secs(30))
}

pub(crate) fn within(time: Duration) -> OpContext {
    OpContext::new(Arc::new(SystemClock), time)
}

pub(crate) fn name(text: &str) -> KeyName {
    text.parse().expect("a name")
}

pub(crate) fn by(text: &str) -> KeyRef {
    text.parse().expect("a reference")
}

pub(crate) fn secret() -> SecretBytes {
    SecretBytes::copied_from(&[0x5a; 96])
}

pub(crate) fn round_trip(vault: &Pkcs11Vault, kek: &KeyVersion) -> WrappedKey {
    let wrapped = vault.wrap_key(kek, &secret(), &cx()).expect("wraps");
    unwraps(vault, &wrapped);
    wrapped
}

pub(crate) fn unwraps(vault: &Pkcs11Vault, wrapped: &WrappedKey) {
    assert!(vault.unwrap_key(wrapped, &cx()).expect("unwraps").ct_eq(secret().expose()));
}

/// A refusal's typed cause.
pub(crate) fn cause(error: &ProviderError) -> &TokenError {
    let cause = std::error::Error::source(error).and_then(|cause| cause.downcast_ref());
    cause.unwrap_or_else(|| panic!("another cause: {error:?}"))
}

pub(crate) fn shim() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("pkcs11_shim/debug/libpkcs11_shim.so")
}

fn build_shim() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pkcs11_shim/Cargo.toml");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pkcs11_shim");
    done(
        Command::new(env!("CARGO"))
            .args(["build", "-q", "--offline", "--manifest-path"])
            .arg(source)
            .arg("--target-dir")
            .arg(target),
    );
}

fn done(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

pub(crate) const PIN: &str = "1234-abcd";
pub(crate) const SOFTHSM: &str = "/usr/lib/softhsm/libsofthsm2.so";
pub(crate) const NSS: &str = "/usr/lib/x86_64-linux-gnu/libsoftokn3.so";
/// Of the password hash that NSS applies to every attribute of every key: with its default the tests would take a minute.
const FEW_ITERATIONS: [&str; 2] = ["NSS_MIN_MP_PBE_ITERATION_COUNT", "NSS_MAX_MP_PBE_ITERATION_COUNT"];
const FOLDER: &str = "SOBRE_PKCS11_FOLDER";
