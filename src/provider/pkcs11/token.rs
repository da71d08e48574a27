//! One token, for all sessions with it.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use cryptoki::context::Pkcs11;
use cryptoki::session::{Session, SessionState};
use cryptoki::slot::Slot;

use crate::provider::ProviderErrorKind;
use crate::provider::pkcs11::error::{Fault, TokenError};
use crate::provider::pkcs11::initialize;
use crate::provider::pkcs11::pin::Login;
use crate::provider::pkcs11::settings::TokenSettings;

#[derive(Debug)]
pub(super) struct Token {
    pub(super) settings: TokenSettings,
    login: Mutex<Login>,
}

impl Token {
    pub(super) fn new(settings: TokenSettings) -> Self {
        Self { settings, login: Mutex::default() }
    }

    pub(super) fn module(&self) -> Result<Pkcs11, Fault> {
        initialize::module(&self.settings.module, self.settings.init_args.as_deref())
    }

    /// Finds the slot that the token is in now.
    pub(super) fn slot(&self, module: &Pkcs11) -> Result<Slot, Fault> {
        let mut fitting = Vec::new();
        for slot in module.get_slots_with_token()? {
            // A token that is pulled meanwhile is not the one that is looked for.
            let Ok(token) = module.get_token_info(slot) else { continue };
            if token.token_initialized() && self.settings.token.fits(slot, &token) {
                fitting.push(slot);
            }
        }
        let wanted = || self.settings.token.to_string();
        match fitting.as_slice() {
            [slot] => Ok(*slot),
            [] => Err(Fault::of(ProviderErrorKind::NotFound, TokenError::NoToken { wanted: wanted() })),
            several => Err(Fault::of(
                ProviderErrorKind::Unsupported,
                TokenError::SeveralTokens { wanted: wanted(), tokens: several.len() },
            )),
        }
    }

    /// Logs in, one session at a time.
    pub(super) fn log_in(&self, session: &Session, until: Option<Instant>) -> Result<(), Fault> {
        let info = session.get_session_info()?;
        match info.session_state() {
            SessionState::RoUser | SessionState::RwUser => return Ok(()),
            SessionState::RoPublic | SessionState::RwPublic | SessionState::RwSecurityOfficer => {}
        }
        let module = self.module()?;
        let mut login = self.login.lock().unwrap_or_else(PoisonError::into_inner);
        let token = module.get_token_info(info.slot_id())?;
        login.ensure(session, &token, &self.settings, until)
    }
}
