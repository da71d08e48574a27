//! sobre

pub mod clock;
pub mod random;
pub mod secret;
pub mod xts;
