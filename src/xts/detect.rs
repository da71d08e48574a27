//! Proof that this CPU has the instructions of a kernel.

/// Proves that this CPU has AES-NI and SSE2.
#[derive(Clone, Copy)]
pub(super) struct HaveAesNi(());

impl HaveAesNi {
    /// Asks the CPU.
    pub(super) fn detect() -> Option<Self> {
        let detected = std::is_x86_feature_detected!("aes") && std::is_x86_feature_detected!("sse2");
        (detected && !masked("aes")).then_some(Self(()))
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
