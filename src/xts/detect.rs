//! Proof that this CPU has the instructions of a kernel.

/// Proves that this CPU has AES-NI and SSE2.
#[derive(Clone, Copy, Debug)]
pub(super) struct HaveAesNi(());

impl HaveAesNi {
    /// Asks the CPU.
    pub(super) fn detect() -> Option<Self> {
        let detected = std::is_x86_feature_detected!("aes") && std::is_x86_feature_detected!("sse2");
        (detected && !masked("aes")).then_some(Self(()))
    }
}

/// Proves that this CPU has AVX, PCLMULQDQ and SSSE3, and [`HaveAesNi`].
#[derive(Clone, Copy, Debug)]
pub(super) struct HaveAesNiClmul(HaveAesNi);

impl HaveAesNiClmul {
    /// Asks the CPU.
    pub(super) fn detect() -> Option<Self> {
        let detected = std::is_x86_feature_detected!("avx")
            && std::is_x86_feature_detected!("pclmulqdq")
            && std::is_x86_feature_detected!("ssse3");
        if detected && !masked("pclmulqdq") { HaveAesNi::detect().map(Self) } else { None }
    }

    /// The part of the proof that AES-NI code asks for.
    pub(super) fn aes_ni(self) -> HaveAesNi {
        self.0
    }
}

/// Proves that this CPU has VAES and AVX2, and [`HaveAesNi`].
#[derive(Clone, Copy, Debug)]
pub(super) struct HaveVaesAvx2(HaveAesNi);

impl HaveVaesAvx2 {
    /// Asks the CPU.
    pub(super) fn detect() -> Option<Self> {
        let detected = std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("vaes");
        if detected && !masked("avx2") && !masked("vaes") { HaveAesNi::detect().map(Self) } else { None }
    }

    /// The part of the proof that AES-NI code asks for.
    pub(super) fn aes_ni(self) -> HaveAesNi {
        self.0
    }
}

/// Proves that this CPU has VAES, VPCLMULQDQ and AVX-512 (F, BW, VL), and [`HaveAesNi`].
#[derive(Clone, Copy, Debug)]
pub(super) struct HaveVaesAvx512(HaveAesNi);

impl HaveVaesAvx512 {
    /// Asks the CPU.
    pub(super) fn detect() -> Option<Self> {
        let detected = std::is_x86_feature_detected!("avx512f")
            && std::is_x86_feature_detected!("avx512bw")
            && std::is_x86_feature_detected!("avx512vl")
            && std::is_x86_feature_detected!("vaes")
            && std::is_x86_feature_detected!("vpclmulqdq");
        if detected && !masked("avx512f") && !masked("vaes") { HaveAesNi::detect().map(Self) } else { None }
    }

    /// The part of the proof that AES-NI code asks for.
    pub(super) fn aes_ni(self) -> HaveAesNi {
        self.0
    }
}

/// Whether a test asked to act as if this CPU lacked `feature`: `SOBRE_CPU_DISABLE_vaes=1`.
#[cfg(feature = "__cpu_mask")]
fn masked(feature: &str) -> bool {
    std::env::var_os(format!("SOBRE_CPU_DISABLE_{feature}")).is_some_and(|value| value == "1")
}

#[cfg(not(feature = "__cpu_mask"))]
fn masked(_: &str) -> bool {
    false
}
