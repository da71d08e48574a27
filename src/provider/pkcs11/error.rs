//! What modules and tokens answer, and what that means.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use cryptoki::context::Function;
use cryptoki::error::{Error as CryptokiError, RvError};

use crate::io::{Escaped, escaped_path};
use crate::oaep::RsaKeyError;
use crate::provider::ProviderErrorKind;

/// Why a token does not do what was asked: the cause behind a [`ProviderErrorKind`].
#[derive(Debug)]
#[non_exhaustive]
pub enum TokenError {
    /// The key asks for the PIN before every use, which only a person at the token can answer.
    AsksEachTime,
    /// A time that is not midnight in UTC: PKCS#11 knows whole days only.
    DateNotMidnight,
    /// A module is in use in this process already, with other arguments.
    InitArgs(PathBuf),
    /// The token's own key is none that may be used here.
    Key(RsaKeyError),
    /// An attribute of a key is longer or shorter than it can be, or is not there.
    Length {
        /// Which one.
        attribute: &'static str,
    },
    /// The module's answer.
    Module(ModuleError),
    /// The PIN could not be had.
    NoPin(Box<dyn Error + Send + Sync>),
    /// The public half is there, the private one is not.
    NoPrivateHalf,
    /// The token destroys at once, so nothing is deleted here.
    NoSoftDelete,
    /// No token fits.
    NoToken {
        /// What was looked for.
        wanted: String,
    },
    /// The module made a key that could leave the token.
    NotSensitive,
    /// A length that the module claimed was no length of memory.
    Panicked,
    /// The PIN was not given to the token, or the token did not take it.
    Pin(PinRefusal),
    /// Several tokens fit.
    SeveralTokens {
        /// What was looked for.
        wanted: String,
        /// How many fit.
        tokens: usize,
    },
    /// The file that remembers a rejected PIN.
    Stamp {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// No thread could be started.
    Thread(io::Error),
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AsksEachTime => f.write_str("the key asks for the PIN before every use (CKA_ALWAYS_AUTHENTICATE)"),
            Self::DateNotMidnight => f.write_str("a token's dates are whole days: give midnight in UTC"),
            Self::InitArgs(module) => {
                write!(f, "{} is in use in this process with other arguments", escaped_path(module))
            }
            Self::Key(_) => f.write_str("the token's key is refused"),
            Self::Length { attribute } => write!(f, "the token's {attribute} has a length that it can't have"),
            Self::Module(_) => f.write_str("the PKCS#11 module refuses"),
            Self::NoPin(_) => f.write_str("there is no PIN"),
            Self::NoPrivateHalf => f.write_str("the token has the public half only"),
            Self::NoSoftDelete => {
                f.write_str("a token destroys keys at once and for ever; do that with the token's own tools")
            }
            Self::NoToken { wanted } => write!(f, "no token with {wanted}"),
            Self::NotSensitive => f.write_str("the key that the token made could leave it, and was destroyed again"),
            Self::Panicked => f.write_str("the PKCS#11 module claimed a length that no memory has"),
            Self::Pin(refusal) => refusal.fmt(f),
            Self::SeveralTokens { wanted, tokens } => {
                write!(f, "{tokens} tokens with {wanted}: name the serial number too")
            }
            Self::Stamp { path, .. } => write!(f, "can't use the PIN's stamp file {}", escaped_path(path)),
            Self::Thread(_) => f.write_str("can't start a thread"),
        }
    }
}

impl Error for TokenError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Key(error) => Some(error),
            Self::Module(error) => Some(error),
            Self::NoPin(error) => Some(&**error),
            Self::Stamp { source, .. } => Some(source),
            Self::Thread(error) => Some(error),
            Self::AsksEachTime
            | Self::DateNotMidnight
            | Self::InitArgs(_)
            | Self::Length { .. }
            | Self::NoPrivateHalf
            | Self::NoSoftDelete
            | Self::NoToken { .. }
            | Self::NotSensitive
            | Self::Panicked
            | Self::Pin(_)
            | Self::SeveralTokens { .. } => None,
        }
    }
}

/// Why the token did not see a PIN, or did not take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PinRefusal {
    /// The token says that a wrong PIN was given lately.
    CountLow,
    /// The PIN's time is over.
    Expired,
    /// The token says that one more wrong PIN locks it.
    FinalTry,
    /// None was given.
    NotGiven,
    /// The token has no PIN yet.
    NotSet,
    /// The token rejected it now.
    Rejected,
    /// The token rejected this very PIN before.
    RejectedBefore,
    /// The token is locked.
    TokenLocked,
}

impl fmt::Display for PinRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CountLow => {
                "the token says that a wrong PIN was given lately: log in once with its own tool, or allow it to be tried"
            }
            Self::Expired => "the PIN has expired: set a new one with the token's own tool",
            Self::FinalTry => "the token says that one more wrong PIN locks it: log in once with its own tool",
            Self::NotGiven => "the token asks for a PIN, and none was given",
            Self::NotSet => "the token has no PIN yet: its security officer sets one",
            Self::Rejected => "the token rejects the PIN, which is not tried again until it changes",
            Self::RejectedBefore => "the token rejected this PIN before, and it is not tried again until it changes",
            Self::TokenLocked => "the token is locked after too many wrong PINs: its security officer sets a new one",
        })
    }
}

impl Error for PinRefusal {}

/// What a module answered, by PKCS#11's own names.
#[derive(Debug)]
pub struct ModuleError(CryptokiError);

impl fmt::Display for ModuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            CryptokiError::Pkcs11(answer, function) => write!(f, "C_{function:?} answered {answer:?}"),
            // The loader's own words, which name the file.
            CryptokiError::LibraryLoading(error) => write!(f, "it can't be loaded: {}", Escaped(&error.to_string())),
            CryptokiError::MissingSymbol(name) => write!(f, "it is no PKCS#11 module: it has no {name}"),
            CryptokiError::NullFunctionPointer => f.write_str("it lacks a function"),
            CryptokiError::InvalidValue
            | CryptokiError::NotSupported
            | CryptokiError::NulError(_)
            | CryptokiError::ParseInt(_)
            | CryptokiError::PinNotSet
            | CryptokiError::TryFromInt(_)
            | CryptokiError::TryFromSlice(_)
            | CryptokiError::Utf8(_) => f.write_str("it gave a value that is none"),
        }
    }
}

impl Error for ModuleError {}

/// What went wrong in a call, before a vault's and a key's name are put to it.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) kind: ProviderErrorKind,
    pub(super) cause: Option<Box<dyn Error + Send + Sync>>,
    /// Whether a new session may do what this one could not.
    pub(super) lost: bool,
}

impl Fault {
    pub(super) fn of(kind: ProviderErrorKind, cause: impl Error + Send + Sync + 'static) -> Self {
        Self { kind, cause: Some(Box::new(cause)), lost: false }
    }

    pub(super) fn plain(kind: ProviderErrorKind) -> Self {
        Self { kind, cause: None, lost: false }
    }

    pub(super) fn lying(attribute: &'static str) -> Self {
        Self::of(ProviderErrorKind::Lying, TokenError::Length { attribute })
    }
}

impl From<CryptokiError> for Fault {
    fn from(error: CryptokiError) -> Self {
        let (kind, lost) = match &error {
            CryptokiError::Pkcs11(answer, _) => meaning(answer),
            CryptokiError::LibraryLoading(_)
            | CryptokiError::MissingSymbol(_)
            | CryptokiError::NotSupported
            | CryptokiError::NullFunctionPointer => (ProviderErrorKind::Unsupported, false),
            CryptokiError::PinNotSet => (ProviderErrorKind::Locked, false),
            CryptokiError::InvalidValue
            | CryptokiError::NulError(_)
            | CryptokiError::ParseInt(_)
            | CryptokiError::TryFromInt(_)
            | CryptokiError::TryFromSlice(_)
            | CryptokiError::Utf8(_) => (ProviderErrorKind::Lying, false),
        };
        Self { kind, cause: Some(Box::new(TokenError::Module(ModuleError(error)))), lost }
    }
}

/// Says in words what a token answers to a PIN; `None` when the answer is about something else.
pub(super) fn pin_refusal(error: &CryptokiError) -> Option<PinRefusal> {
    let CryptokiError::Pkcs11(answer, Function::Login) = error else { return None };
    match answer {
        RvError::PinExpired => Some(PinRefusal::Expired),
        RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange => Some(PinRefusal::Rejected),
        RvError::PinLocked => Some(PinRefusal::TokenLocked),
        RvError::UserPinNotInitialized => Some(PinRefusal::NotSet),
        _ => None,
    }
}

/// Whether an error comes from the private-key operation itself, so that nothing may be told about it.
pub(super) fn is_opaque(error: &CryptokiError) -> bool {
    match error {
        CryptokiError::Pkcs11(answer, Function::Decrypt | Function::UnwrapKey) => match meaning(answer) {
            // What a token says of itself, whatever was to be decrypted.
            (ProviderErrorKind::Locked | ProviderErrorKind::Busy, _) | (_, true) => false,
            _ => !matches!(answer, RvError::HostMemory | RvError::DeviceMemory),
        },
        _ => false,
    }
}

/// Whether `C_UnwrapKey` may do what `C_Decrypt` does not.
pub(super) fn may_unwrap_instead(error: &CryptokiError) -> bool {
    matches!(
        error,
        CryptokiError::NullFunctionPointer
            | CryptokiError::Pkcs11(
                RvError::FunctionNotSupported
                    | RvError::KeyFunctionNotPermitted
                    | RvError::MechanismInvalid
                    | RvError::KeyTypeInconsistent,
                Function::DecryptInit | Function::Decrypt,
            )
    )
}

/// What an answer means, and whether the session or device was lost.
fn meaning(answer: &RvError) -> (ProviderErrorKind, bool) {
    use ProviderErrorKind as Kind;
    match answer {
        // Handles die with their session, and with the device.
        RvError::CryptokiNotInitialized
        | RvError::DeviceError
        | RvError::DeviceRemoved
        | RvError::KeyHandleInvalid
        | RvError::ObjectHandleInvalid
        | RvError::OperationActive
        | RvError::OperationNotInitialized
        | RvError::SessionClosed
        | RvError::SessionHandleInvalid
        | RvError::SlotIdInvalid
        | RvError::TokenNotPresent
        | RvError::TokenNotRecognized
        | RvError::UnwrappingKeyHandleInvalid
        | RvError::UserNotLoggedIn
        | RvError::WrappingKeyHandleInvalid => (Kind::Unavailable, true),
        RvError::Cancel
        | RvError::CantLock
        | RvError::DeviceMemory
        | RvError::ExceededMaxIterations
        | RvError::FipsSelfTestFailed
        | RvError::FunctionCanceled
        | RvError::FunctionFailed
        | RvError::GeneralError
        | RvError::HostMemory
        | RvError::LibraryLoadFailed
        | RvError::MutexBad
        | RvError::MutexNotLocked
        | RvError::NeedToCreateThreads
        | RvError::RandomNoRng => (Kind::Unavailable, false),
        RvError::FunctionNotParallel | RvError::SessionCount => (Kind::Busy, false),
        RvError::NewPinMode
        | RvError::NextOtp
        | RvError::PinExpired
        | RvError::PinIncorrect
        | RvError::PinInvalid
        | RvError::PinLenRange
        | RvError::PinLocked
        | RvError::PinTooWeak
        | RvError::UserPinNotInitialized => (Kind::Locked, false),
        // Also what is only known to its vendor: it may be a refusal, and a refusal leads to no other vault.
        RvError::ActionProhibited
        | RvError::AttributeReadOnly
        | RvError::AttributeSensitive
        | RvError::FunctionRejected
        | RvError::InformationSensitive
        | RvError::KeyFunctionNotPermitted
        | RvError::KeyNotWrappable
        | RvError::KeyUnextractable
        | RvError::SessionReadOnly
        | RvError::SessionReadOnlyExists
        | RvError::SessionReadWriteSoExists
        | RvError::TokenWriteProtected
        | RvError::UnknownErrorCode(_)
        | RvError::UserAnotherAlreadyLoggedIn
        | RvError::UserTooManyTypes
        | RvError::UserTypeInvalid
        | RvError::VendorDefined(_) => (Kind::Denied, false),
        RvError::ArgumentsBad
        | RvError::AttributeTypeInvalid
        | RvError::AttributeValueInvalid
        | RvError::CurveNotSupported
        | RvError::DomainParamsInvalid
        | RvError::FunctionNotSupported
        | RvError::KeyIndigestible
        | RvError::KeySizeRange
        | RvError::KeyTypeInconsistent
        | RvError::MechanismInvalid
        | RvError::MechanismParamInvalid
        | RvError::RandomSeedNotSupported
        | RvError::SessionParallelNotSupported
        | RvError::StateUnsaveable
        | RvError::TemplateIncomplete
        | RvError::TemplateInconsistent
        | RvError::UnwrappingKeySizeRange
        | RvError::UnwrappingKeyTypeInconsistent
        | RvError::WrappingKeySizeRange
        | RvError::WrappingKeyTypeInconsistent => (Kind::Unsupported, false),
        // No answers to what is asked here.
        RvError::BufferTooSmall
        | RvError::CryptokiAlreadyInitialized
        | RvError::DataInvalid
        | RvError::DataLenRange
        | RvError::EncryptedDataInvalid
        | RvError::EncryptedDataLenRange
        | RvError::KeyChanged
        | RvError::KeyNeeded
        | RvError::KeyNotNeeded
        | RvError::NoEvent
        | RvError::PublicKeyInvalid
        | RvError::SavedStateInvalid
        | RvError::SessionExists
        | RvError::SignatureInvalid
        | RvError::SignatureLenRange
        | RvError::UserAlreadyLoggedIn
        | RvError::WrappedKeyInvalid
        | RvError::WrappedKeyLenRange => (Kind::Lying, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Disposition;

    #[test]
    fn only_what_is_surely_an_outage_leads_to_another_vault() {
        let kind = |answer: &RvError| meaning(answer).0;
        for outage in [
            RvError::DeviceError,
            RvError::DeviceRemoved,
            RvError::FunctionFailed,
            RvError::GeneralError,
            RvError::SessionHandleInvalid,
            RvError::TokenNotPresent,
        ] {
            assert_eq!(kind(&outage).disposition(), Disposition::TryNext, "{outage:?}");
        }
        for refusal in [
            RvError::ActionProhibited,
            RvError::FunctionRejected,
            RvError::KeyFunctionNotPermitted,
            RvError::PinExpired,
            RvError::PinIncorrect,
            RvError::PinLocked,
            RvError::UnknownErrorCode(0x7fff),
            RvError::VendorDefined(0x8000_0001),
        ] {
            assert_eq!(kind(&refusal).disposition(), Disposition::Stop, "{refusal:?}");
        }
    }

    #[test]
    fn failures_inside_the_private_key_operation_are_opaque() {
        for answer in
            [RvError::EncryptedDataInvalid, RvError::GeneralError, RvError::DataLenRange, RvError::VendorDefined(1)]
        {
            assert!(is_opaque(&CryptokiError::Pkcs11(answer, Function::Decrypt)), "{answer:?}");
            assert!(is_opaque(&CryptokiError::Pkcs11(answer, Function::UnwrapKey)), "{answer:?}");
            assert!(!is_opaque(&CryptokiError::Pkcs11(answer, Function::DecryptInit)), "{answer:?}");
        }
        for answer in [RvError::DeviceRemoved, RvError::SessionHandleInvalid, RvError::PinLocked, RvError::HostMemory] {
            assert!(!is_opaque(&CryptokiError::Pkcs11(answer, Function::Decrypt)), "{answer:?}");
        }
    }
}
