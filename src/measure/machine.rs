//! The machine that is measured.

use crate::xts::Backend;

/// What the figures depend on.
#[derive(Clone, Debug)]
pub struct Machine {
    /// The CPU's name, as the kernel has it.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// XTS backends that this CPU can run, best first.
    pub backends: Vec<Backend>,
}

impl Machine {
    /// Asks the system.
    pub(super) fn this() -> Self {
        Self {
            cpu: cpu_name(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            backends: Backend::available(),
        }
    }
}

fn cpu_name(cpuinfo: &str) -> String {
    let named = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    // Other architectures don't give one.
    named.map_or(std::env::consts::ARCH, |(_, name)| name).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_named_or_at_least_its_architecture() {
        assert_eq!(cpu_name("processor\t: 0\nmodel name\t: Fast CPU @ 2 GHz\n"), "Fast CPU @ 2 GHz");
        assert_eq!(cpu_name("processor\t: 0\n"), std::env::consts::ARCH);
    }
}
