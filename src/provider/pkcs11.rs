//! Keys in PKCS#11 tokens: smart cards, network HSMs, and software that behaves like them. The private half never leaves the token.
//!
//! **What a token needs.** RSA keys of 2048 to 4096 bits, and `CKM_RSA_PKCS_OAEP` by `C_Decrypt` or, failing that, by `C_UnwrapKey`. Wrapping
//! happens here, with the public half; only unwrapping goes to the token. Some tokens know OAEP with SHA-1 only (SoftHSM 2.6.1): the
//! hash is found out once, before the first wrap, and every wrapped key records the one that it was made with.
//!
//! **How keys are identified.** By the thumbprint that is computed from each public-key object, whatever its `CKA_ID`. So the keys that an
//! HSM team made with its own tools are found. Keys that are made here get their thumbprint as `CKA_ID`.
//!
//! **Names and versions.** PKCS#11 has neither versions nor the time at which an object was made. Version `N` of the key `name` is
//! therefore the key pair with the label `name@N`: the number is in the token, where other programs see it and copies keep it. A label
//! without a number is version 1, which is what other tools' keys become; the next rotation adds `name@2`. Labels that are no name here
//! (`backup key`, `a_b`) are found by thumbprint only. PKCS#11 does not keep labels unique: where two keys claim the same version, the
//! name is refused as ambiguous, and both are still found by thumbprint; a changed label decides it. Case does not matter (R61).
//!
//! **States and dates.** A key wraps unless its public object may neither encrypt nor wrap, and unwraps unless its private one may neither
//! decrypt nor unwrap; disabling it here takes all four away. `CKA_START_DATE` and `CKA_END_DATE` say when it may wrap: whole days in UTC, the last one included. A token destroys at once
//! and for ever, so nothing is deleted here (R36); its own tools do it.
//!
//! **PINs.** Look-ups and wrapping ask for none. Three wrong PINs can lock a token, so a PIN is refused *before* the token sees it when the
//! token says that few tries are left, or when this very PIN was rejected before: in this process, or, by a [stamp
//! file](TokenSettings::pin_stamp), in any other. A module is never called twice with a PIN that it rejected.
//!
//! **Modules that hang or lie.** A module is native code in this process. Every call runs on a thread with a session of its own, of which
//! there are [so many](TokenSettings::sessions) at most; a caller waits no longer than its deadline, and a thread that never comes back is
//! left behind. A lost session or device is reopened once. Lengths that no RSA key has are refused as a lie. What can't be prevented: memory
//! that the module itself overwrites, and an abort where it claims so many bytes that there is no such memory. Modules are initialised once in
//! a process and stay loaded until it ends; do not fork.

mod admin;
mod census;
mod connection;
mod dates;
mod error;
mod initialize;
mod keys;
mod pin;
mod pool;
mod provider;
mod settings;
mod stamp;
mod token;
mod unwrap;
mod uri;

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Instant;

use cryptoki::session::Session;

pub use error::{ModuleError, PinRefusal, TokenError};
pub use pin::{FixedPin, NoPin, PinSource};
pub use settings::{TokenSelector, TokenSettings};
pub use uri::{TokenUri, UriError};

use crate::key::VaultName;
use crate::oaep::WrapAlgorithm;
use crate::provider::{OpContext, ProviderError, ProviderErrorKind};
use connection::{Access, Connection};
use error::Fault;
use pool::{Pool, PoolError};
use token::Token;

/// A token as a vault.
#[derive(Debug)]
pub struct Pkcs11Vault {
    name: VaultName,
    pool: Pool<Connection>,
    /// By which hash the token unwraps; found out once.
    algorithm: OnceLock<WrapAlgorithm>,
    /// Held while a version is numbered, so that two threads do not give the same number.
    numbering: Mutex<()>,
}

impl Pkcs11Vault {
    /// Loads the module and finds the token. Asks for no PIN.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ProviderErrorKind::NotFound) when there is no such token, [`Unsupported`](ProviderErrorKind::Unsupported) when
    /// several are meant or the module can't be loaded, [`Timeout`](ProviderErrorKind::Timeout), or as the module answers; the cause is a
    /// [`TokenError`].
    pub fn open(settings: TokenSettings, cx: &OpContext) -> Result<Self, ProviderError> {
        let (name, sessions) = (settings.name.clone(), settings.sessions);
        let algorithm = settings.algorithm.map_or_else(OnceLock::new, OnceLock::from);
        let token = Arc::new(Token::new(settings));
        let pool = Pool::new(sessions, move || Connection::new(Arc::clone(&token)));
        let vault = Self { name, pool, algorithm, numbering: Mutex::new(()) };
        vault.call("", Access::Public, cx, |_, _| Ok(()))?;
        Ok(vault)
    }

    /// Runs `job` on a thread with a session; once more on a new session when the first was lost.
    fn call<T: Send + 'static>(
        &self,
        key: &str,
        access: Access,
        cx: &OpContext,
        job: impl Fn(&Session, &Token) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, ProviderError> {
        cx.in_time(&self.name, key)?;
        let until = Instant::now().checked_add(cx.remaining());
        let done =
            self.pool.run(cx.remaining(), move |connection: &mut Connection| connection.run(access, until, &job));
        done.map_err(|error| match error {
            PoolError::Panicked => Fault::of(ProviderErrorKind::Lying, TokenError::Panicked),
            PoolError::Spawn(error) => Fault::of(ProviderErrorKind::Unavailable, TokenError::Thread(error)),
            PoolError::Timeout => Fault::plain(ProviderErrorKind::Timeout),
        })
        .and_then(|done| done)
        .map_err(|fault| self.answer(fault, key))
    }

    fn answer(&self, fault: Fault, key: &str) -> ProviderError {
        let answer = ProviderError::new(fault.kind, &self.name, key);
        match fault.cause {
            Some(cause) => answer.because(cause),
            None => answer,
        }
    }

    fn missing(&self, key: &str) -> ProviderError {
        ProviderError::new(ProviderErrorKind::NotFound, &self.name, key)
    }
}
