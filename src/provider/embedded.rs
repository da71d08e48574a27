//! Embedded vault.
