//! Loading and initialising modules, each once in a process.
#![allow(unsafe_code, reason = "C_Initialize takes the module's own arguments as a pointer")]

use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};

use crate::provider::ProviderErrorKind;
use crate::provider::pkcs11::error::{Fault, TokenError};

/// Returns the module at `path`, initialised. It stays so until the process ends: another user of it could not be told.
pub(super) fn module(path: &Path, arguments: Option<&str>) -> Result<Pkcs11, Fault> {
    let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    // A path that can't be resolved is the loader's to refuse, or to search for.
    let key = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if let Some((known, module)) = modules.get(&key) {
        if known.as_deref() != arguments {
            return Err(Fault::of(ProviderErrorKind::Unsupported, TokenError::InitArgs(key)));
        }
        return Ok(module.clone());
    }
    let module = Pkcs11::new(path)?;
    let text = arguments.map(CString::new).transpose().map_err(Error::NulError)?;
    let plain = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
    let args = match &text {
        None => plain,
        // SAFETY: points to a string that ends with a zero and lives until C_Initialize has returned; modules that take
        // such arguments read them as a string and copy what they keep.
        Some(text) => unsafe {
            CInitializeArgs::new_with_reserved(CInitializeFlags::OS_LOCKING_OK, NonNull::from(text.as_c_str()).cast())
        },
    };
    match module.initialize(args) {
        // Somebody else in this process did it.
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(error) => return Err(error.into()),
    }
    modules.insert(key, (arguments.map(str::to_owned), module.clone()));
    Ok(module)
}

static MODULES: Mutex<BTreeMap<PathBuf, (Option<String>, Pkcs11)>> = Mutex::new(BTreeMap::new());
