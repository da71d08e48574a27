//! The command as a user and as a hostile world meet it: every test runs the real binary in a folder of its own.

#[path = "cli/aliases.rs"]
mod aliases;
#[path = "cli/audit.rs"]
mod audit;
#[path = "cli/bad_input.rs"]
mod bad_input;
#[path = "cli/bad_keys.rs"]
mod bad_keys;
#[path = "cli/bench.rs"]
mod bench;
#[path = "cli/catalog.rs"]
mod catalog;
#[path = "cli/epochs.rs"]
mod epochs;
#[path = "cli/exit_codes.rs"]
mod exit_codes;
#[path = "cli/first_use.rs"]
mod first_use;
#[path = "cli/imports.rs"]
mod imports;
#[path = "cli/interrupted.rs"]
mod interrupted;
#[path = "cli/json.rs"]
mod json;
#[path = "cli/keys.rs"]
mod keys;
#[path = "cli/people.rs"]
mod people;
#[path = "cli/preflight.rs"]
mod preflight;
#[path = "cli/recorded.rs"]
mod recorded;
#[path = "cli/recovery.rs"]
mod recovery;
#[path = "cli/rewrap.rs"]
mod rewrap;
#[path = "cli/sets.rs"]
mod sets;
#[path = "cli/transcripts.rs"]
mod transcripts;
#[path = "cli/vault_check.rs"]
mod vault_check;
#[path = "cli/world.rs"]
mod world;
