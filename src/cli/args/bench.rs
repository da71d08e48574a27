//! The words of `sobre bench`.

use clap::{Args, ValueEnum};

/// Measures this machine.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Measure only xts (kernels), integrity (hashes and MACs) or rsa (wraps and unwraps)
    #[arg(long, value_enum, value_name = "TOPIC", hide_possible_values = true)]
    pub(crate) only: Option<TopicName>,
}

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TopicName {
    /// Hashes and MACs
    Integrity,
    /// Wraps and unwraps
    Rsa,
    /// XTS kernels
    Xts,
}
