//! PINs, and when the token is not to see one.

use std::fmt;
use std::time::Instant;

use cryptoki::error::{Error, RvError};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::TokenInfo;
use cryptoki::types::RawAuthPin;

use crate::key::VaultName;
use crate::provider::ProviderErrorKind;
use crate::provider::pkcs11::error::{Fault, PinRefusal, TokenError, pin_refusal};
use crate::provider::pkcs11::settings::TokenSettings;
use crate::provider::pkcs11::stamp::Stamp;
use crate::secret::SecretBytes;

/// Knows the PIN of a token, or asks somebody.
pub trait PinSource: fmt::Debug + Send + Sync {
    /// Returns the PIN for the token with this label.
    ///
    /// # Errors
    ///
    /// Why there is none.
    fn pin(&self, vault: &VaultName, token: &str) -> Result<SecretBytes, Box<dyn std::error::Error + Send + Sync>>;
}

/// A PIN that is known already.
#[derive(Debug)]
pub struct FixedPin(SecretBytes);

impl FixedPin {
    /// Takes the PIN.
    pub fn new(pin: SecretBytes) -> Self {
        Self(pin)
    }
}

impl PinSource for FixedPin {
    fn pin(&self, _: &VaultName, _: &str) -> Result<SecretBytes, Box<dyn std::error::Error + Send + Sync>> {
        Ok(SecretBytes::copied_from(self.0.expose()))
    }
}

/// No PIN: for what needs none, and for tokens with a PIN pad of their own.
#[derive(Clone, Copy, Debug)]
pub struct NoPin;

impl PinSource for NoPin {
    fn pin(&self, _: &VaultName, _: &str) -> Result<SecretBytes, Box<dyn std::error::Error + Send + Sync>> {
        Err(Box::new(PinRefusal::NotGiven))
    }
}

/// What is known of PINs in this process. Who holds it is alone with the token's login.
#[derive(Debug, Default)]
pub(super) struct Login {
    accepted: Option<SecretBytes>,
    rejected: Option<SecretBytes>,
}

impl Login {
    /// Logs the session in, and with it all sessions of this process on the same token.
    pub(super) fn ensure(
        &mut self,
        session: &Session,
        token: &TokenInfo,
        settings: &TokenSettings,
        until: Option<Instant>,
    ) -> Result<(), Fault> {
        if !token.login_required() {
            return Ok(());
        }
        // Another thread may have been faster.
        match session.get_session_info()?.session_state() {
            SessionState::RoUser | SessionState::RwUser => return Ok(()),
            SessionState::RoPublic | SessionState::RwPublic | SessionState::RwSecurityOfficer => {}
        }
        // Before anybody is asked: what the token itself says about its tries.
        refused_by_flags(token, settings.pin_when_low)?;
        if token.protected_authentication_path() {
            return match session.login(UserType::User, None) {
                Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
                done => Ok(done?),
            };
        }
        let pin = match self.accepted.take() {
            Some(pin) => pin,
            None => settings
                .pin
                .pin(&settings.name, token.label())
                .map_err(|error| Fault::of(ProviderErrorKind::Locked, TokenError::NoPin(error)))?,
        };
        if self.rejected.as_ref().is_some_and(|rejected| rejected.ct_eq(pin.expose())) {
            return Err(refusal(PinRefusal::RejectedBefore));
        }
        let stamp = settings.pin_stamp.as_ref().map(|path| Stamp::lock(path, token, until)).transpose()?;
        if stamp.as_ref().is_some_and(|stamp| stamp.names(&pin)) {
            self.rejected = Some(pin);
            return Err(refusal(PinRefusal::RejectedBefore));
        }
        // The vector is wiped when it is dropped.
        let given = RawAuthPin::new(Box::new(pin.expose().to_vec()));
        match session.login_with_raw(UserType::User, &given) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {
                if let Some(stamp) = stamp {
                    stamp.clear()?;
                }
                (self.accepted, self.rejected) = (Some(pin), None);
                Ok(())
            }
            Err(error) => {
                let fault = pin_refusal(&error).map_or_else(|| Fault::from(error), refusal);
                if fault.kind == ProviderErrorKind::Locked {
                    let stamped = stamp.map_or(Ok(()), |stamp| stamp.write(&pin));
                    self.rejected = Some(pin);
                    stamped?;
                } else {
                    self.accepted = Some(pin);
                }
                Err(fault)
            }
        }
    }
}

fn refused_by_flags(token: &TokenInfo, when_low: bool) -> Result<(), Fault> {
    if token.user_pin_locked() {
        return Err(refusal(PinRefusal::TokenLocked));
    }
    if token.user_pin_final_try() {
        return Err(refusal(PinRefusal::FinalTry));
    }
    if token.user_pin_count_low() && !when_low {
        return Err(refusal(PinRefusal::CountLow));
    }
    Ok(())
}

fn refusal(why: PinRefusal) -> Fault {
    Fault::of(ProviderErrorKind::Locked, TokenError::Pin(why))
}
