//! The engine through its public API, with keys in PEM files.

mod common;

#[path = "engine/golden.rs"]
mod golden;
