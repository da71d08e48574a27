//! One thread's session with a token.

use std::sync::Arc;
use std::time::Instant;

use cryptoki::session::Session;

use crate::provider::ProviderErrorKind;
use crate::provider::pkcs11::error::Fault;
use crate::provider::pkcs11::token::Token;

/// What a job needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Private objects and operations.
    Private,
    /// Public objects: no PIN.
    Public,
    /// To write, once: a job that was begun is never begun again.
    Write,
}

#[derive(Debug)]
pub(super) struct Connection {
    token: Arc<Token>,
    session: Option<Session>,
    /// Whether the token was there before: only then is it an outage when it is not.
    seen: bool,
}

impl Connection {
    pub(super) fn new(token: Arc<Token>) -> Self {
        Self { token, session: None, seen: false }
    }

    /// Runs `job`; a second time, on a new session, when the first one is lost.
    pub(super) fn run<T>(
        &mut self,
        access: Access,
        until: Option<Instant>,
        job: &impl Fn(&Session, &Token) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        match self.attempt(access, until, job) {
            (Err(fault), begun) if fault.lost => {
                self.session = None;
                if begun && access == Access::Write {
                    return Err(fault);
                }
                let (result, _) = self.attempt(access, until, job);
                if result.as_ref().is_err_and(|fault| fault.lost) {
                    self.session = None;
                }
                result
            }
            (result, _) => result,
        }
    }

    /// The bool says whether the job itself was begun.
    fn attempt<T>(
        &mut self,
        access: Access,
        until: Option<Instant>,
        job: &impl Fn(&Session, &Token) -> Result<T, Fault>,
    ) -> (Result<T, Fault>, bool) {
        let token = Arc::clone(&self.token);
        if access == Access::Write {
            let ready = token.module().and_then(|module| {
                let session = module.open_rw_session(token.slot(&module)?)?;
                token.log_in(&session, until)?;
                Ok(session)
            });
            return match ready {
                // Whoever asked has gone: nothing is changed behind their back.
                Ok(_) if until.is_some_and(|until| Instant::now() >= until) => {
                    (Err(Fault::plain(ProviderErrorKind::Timeout)), false)
                }
                Ok(session) => (job(&session, &token), true),
                Err(fault) => (Err(self.absent(fault)), false),
            };
        }
        let ready = self.session().and_then(|session| {
            if access == Access::Private {
                token.log_in(session, until)?;
            }
            Ok(())
        });
        if let Err(fault) = ready {
            return (Err(self.absent(fault)), false);
        }
        self.seen = true;
        match &self.session {
            Some(session) => (job(session, &token), true),
            None => (Err(Fault::plain(ProviderErrorKind::Unavailable)), false),
        }
    }

    fn session(&mut self) -> Result<&Session, Fault> {
        let session = match self.session.take() {
            Some(session) => session,
            None => {
                let module = self.token.module()?;
                module.open_ro_session(self.token.slot(&module)?)?
            }
        };
        Ok(self.session.insert(session))
    }

    /// A token that was there and is not any more was pulled: that is an outage, not a wrong name.
    fn absent(&self, fault: Fault) -> Fault {
        if self.seen && fault.kind == ProviderErrorKind::NotFound {
            return Fault { kind: ProviderErrorKind::Unavailable, ..fault };
        }
        fault
    }
}
