//! The engine through its public API, with keys in PEM files.

mod common;

#[path = "engine/bounds.rs"]
mod bounds;
#[path = "engine/chunks.rs"]
mod chunks;
#[path = "engine/golden.rs"]
mod golden;
#[path = "engine/hostile.rs"]
mod hostile;
#[path = "engine/inputs.rs"]
mod inputs;
#[path = "engine/outputs.rs"]
mod outputs;
#[path = "engine/resume.rs"]
mod resume;
#[path = "engine/rewrap.rs"]
mod rewrap;
