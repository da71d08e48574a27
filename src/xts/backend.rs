//! The names of the implementations, and which of them run here.

use std::fmt;
use std::str::FromStr;

#[cfg(target_arch = "x86_64")]
use super::detect::{HaveAesNi, HaveVaesAvx2, HaveVaesAvx512};

/// An implementation of AES-256-XTS. All of them give the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Backend {
    /// AES-NI, 128-bit registers.
    AesNi,
    /// Safe Rust over the `aes` crate; runs everywhere, in constant time.
    Portable,
    /// VAES on 256-bit registers.
    VaesAvx2,
    /// VAES on 512-bit registers.
    VaesAvx512,
}

impl Backend {
    /// Returns the backends that this CPU and this build can run, best first. The last one is [`Portable`](Self::Portable).
    pub fn available() -> Vec<Self> {
        Self::BEST_FIRST.into_iter().filter(|backend| backend.is_available()).collect()
    }

    /// Returns the name that [`FromStr`] takes back.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AesNi => "aes-ni",
            Self::Portable => "portable",
            Self::VaesAvx2 => "vaes-avx2",
            Self::VaesAvx512 => "vaes-avx512",
        }
    }

    const BEST_FIRST: [Self; 4] = [Self::VaesAvx512, Self::VaesAvx2, Self::AesNi, Self::Portable];

    fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::AesNi => HaveAesNi::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::VaesAvx2 => HaveVaesAvx2::detect().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::VaesAvx512 => HaveVaesAvx512::detect().is_some(),
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Backend {
    type Err = UnknownBackend;

    fn from_str(name: &str) -> Result<Self, UnknownBackend> {
        Self::BEST_FIRST.into_iter().find(|backend| backend.name() == name).ok_or(UnknownBackend)
    }
}

/// No backend has this name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownBackend;

impl fmt::Display for UnknownBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown XTS backend")
    }
}

impl std::error::Error for UnknownBackend {}
