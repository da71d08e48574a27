//! What opening a token takes.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use cryptoki::slot::{Slot, TokenInfo};

use crate::io::Escaped;
use crate::key::VaultName;
use crate::oaep::WrapAlgorithm;
use crate::provider::pkcs11::{NoPin, PinSource};

/// What opening a token takes.
#[derive(Clone, Debug)]
pub struct TokenSettings {
    /// The name under which the vault is configured.
    pub name: VaultName,
    /// The PKCS#11 module: a shared library.
    pub module: PathBuf,
    /// What the module is told when it is initialised, for those that need it. NSS: `configdir='sql:DIR' certPrefix='' keyPrefix=''
    /// secmod='secmod.db'`. One process can initialise a module in one way only.
    pub init_args: Option<String>,
    /// Which of the module's tokens.
    pub token: TokenSelector,
    /// Who is asked for the PIN, when it is first needed. What was accepted is kept in locked memory, for sessions that must be reopened.
    pub pin: Arc<dyn PinSource>,
    /// A small file that remembers a rejected PIN for all processes that name it, so that many jobs with an old PIN do not lock the token. It
    /// holds a salt and 16 bits of a hash: too few to find the PIN by. Of 65,536 other PINs one is refused wrongly; without the file it is not.
    pub pin_stamp: Option<PathBuf>,
    /// Gives the PIN to a token that says that tries are running low. Never to one with a single try left, or none.
    pub pin_when_low: bool,
    /// How many sessions are open at once, each on a thread of its own.
    pub sessions: NonZeroUsize,
    /// By which hash to wrap; `None` asks the token. Set it for tokens that can't be asked because they encrypt nothing themselves.
    pub algorithm: Option<WrapAlgorithm>,
    /// Whether the keys are a customer's, as against the platform's (R6).
    pub customer: bool,
}

impl TokenSettings {
    /// Starts with a customer's token that needs no PIN, no arguments and has up to 8 sessions.
    pub fn new(name: VaultName, module: impl Into<PathBuf>, token: TokenSelector) -> Self {
        Self {
            name,
            module: module.into(),
            init_args: None,
            token,
            pin: Arc::new(NoPin),
            pin_stamp: None,
            pin_when_low: false,
            sessions: SESSIONS,
            algorithm: None,
            customer: true,
        }
    }
}

/// Which token is meant: the one that fits everything that is given. Nothing given fits any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenSelector {
    /// The token's label.
    pub label: Option<String>,
    /// Who made it.
    pub manufacturer: Option<String>,
    /// What model it is.
    pub model: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
    /// The slot that it is in. Slot numbers change; a label or a serial number is better.
    pub slot: Option<u64>,
}

impl TokenSelector {
    /// Selects by label.
    pub fn labelled(label: impl Into<String>) -> Self {
        Self { label: Some(label.into()), ..Self::default() }
    }

    pub(super) fn fits(&self, slot: Slot, token: &TokenInfo) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        is(&self.label, token.label())
            && is(&self.manufacturer, token.manufacturer_id())
            && is(&self.model, token.model())
            && is(&self.serial, token.serial_number())
            && self.slot.is_none_or(|wanted| wanted == slot.id())
    }
}

impl fmt::Display for TokenSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts = [
            ("label", &self.label),
            ("manufacturer", &self.manufacturer),
            ("model", &self.model),
            ("serial", &self.serial),
        ];
        let mut between = "";
        for (what, text) in texts {
            if let Some(text) = text {
                write!(f, "{between}{what} '{}'", Escaped(text))?;
                between = ", ";
            }
        }
        if let Some(slot) = self.slot {
            write!(f, "{between}slot {slot}")?;
            between = ", ";
        }
        if between.is_empty() { f.write_str("any label") } else { Ok(()) }
    }
}

const SESSIONS: NonZeroUsize = NonZeroUsize::new(8).expect("not zero");
