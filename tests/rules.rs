//! The rules of the domain, and the test behind each: a rule without a test fails, unless it says what it waits for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What stands behind a rule.
enum Behind {
    /// Tests by name, anywhere in the source or in `tests/`.
    Tests(&'static [&'static str]),
    /// A part of the project that is still to come.
    Later(&'static str),
}

use Behind::{Later, Tests};

const RULES: &[(u8, Behind)] = &[
    (1, Tests(&["sealing_makes_a_vault_and_a_key_and_says_so"])),
    (2, Later("machines")),
    (3, Later("machines")),
    (4, Tests(&["nist_cavp_vectors_agree_on_every_backend", "golden_containers_open_and_verify"])),
    (5, Tests(&["a_set_keeps_its_type"])),
    (6, Tests(&["a_customers_disk_never_goes_to_a_platform_key", "a_customers_set_never_goes_to_the_platform"])),
    (7, Later("machines")),
    (8, Later("machines")),
    (9, Later("machines")),
    (
        10,
        Tests(&[
            "key_with_a_certificate_is_refused_unless_it_is_discarded",
            "other_files_are_refused_with_their_reason",
        ]),
    ),
    (11, Later("machines")),
    (12, Later("machines")),
    (13, Later("machines")),
    (14, Later("machines")),
    (15, Later("machines")),
    (16, Tests(&["no_role_has_the_rights_of_another_but_to_look"])),
    (17, Tests(&["a_right_that_is_missing_is_named_with_its_key", "a_role_is_shown_with_the_rights_that_it_has_not"])),
    (18, Tests(&["a_preflight_names_every_key_and_says_whether_it_is_there"])),
    (19, Later("machines")),
    (20, Later("machines")),
    (21, Tests(&["a_set_belongs_to_one_location"])),
    (22, Later("images")),
    (23, Later("images")),
    (24, Later("images")),
    (25, Later("images")),
    (26, Later("images")),
    (27, Later("images")),
    (28, Tests(&["every_plain_form_of_one_key_gives_that_key", "a_key_is_made_found_and_used"])),
    (29, Tests(&["a_double_snapshot_is_lost_with_either_of_its_keys", "either_key_of_a_double_set_rotates_alone"])),
    (30, Tests(&["the_key_that_was_active_is_linked"])),
    (31, Tests(&["linked_keys_never_wrap_and_what_they_sealed_moves"])),
    (32, Later("databases")),
    (
        33,
        Tests(&["a_rewrap_changes_the_key_and_nothing_below_the_heads", "the_outer_layer_may_go_back_to_the_platform"]),
    ),
    (
        34,
        Tests(&[
            "roles_have_their_rights_and_no_others",
            "a_role_does_what_it_may_and_nothing_else",
            "a_role_is_shown_with_the_rights_that_it_has_not",
        ]),
    ),
    (35, Later("vaults")),
    (
        36,
        Tests(&[
            "customer_vaults_are_protected_from_the_start_for_90_days",
            "purge_protection_is_switched_on_and_never_off",
        ]),
    ),
    (37, Later("vaults")),
    (
        38,
        Tests(&["only_the_three_sizes_are_made", "sizes_and_exponents_have_bounds", "keys_of_other_kinds_are_refused"]),
    ),
    (39, Tests(&["expired_and_future_keys_unwrap_but_do_not_wrap", "an_expired_key_may_not_be_added"])),
    (
        40,
        Tests(&[
            "imported_key_unwraps_what_its_file_s_public_half_wrapped",
            "every_other_file_is_refused_with_its_reason",
            "every_format_comes_in_and_opens_what_the_same_key_has_sealed",
        ]),
    ),
    (41, Later("databases")),
    (
        42,
        Tests(&[
            "a_locked_key_is_not_deleted",
            "a_refusal_is_recorded_with_its_kind",
            "a_refusal_before_a_vault_is_asked_is_recorded_too",
            "everything_that_happens_to_a_set_is_recorded",
        ]),
    ),
    (43, Tests(&["the_warning_lasts_until_a_backup_is_newer_than_every_key"])),
    (44, Tests(&["a_set_seals_and_rotates_and_everything_opens"])),
    (45, Tests(&["all_missing_keys_of_a_restore_are_named_once_with_the_span_of_time"])),
    (46, Tests(&["all_missing_keys_of_a_restore_are_named_once_with_the_span_of_time"])),
    (47, Tests(&["what_has_no_other_usable_wrapper_is_lost_and_the_rest_says_through_what_it_stays"])),
    (48, Tests(&["all_missing_keys_of_a_restore_are_named_once_with_the_span_of_time"])),
    (49, Later("databases")),
    (50, Later("vaults")),
    (51, Later("databases")),
    (52, Later("vaults")),
    (53, Later("databases")),
    (54, Later("vaults")),
    (55, Tests(&["only_an_outage_leads_to_another_vault"])),
    (56, Tests(&["a_key_is_cloned_by_backup_and_restore"])),
    (57, Later("vaults")),
    (58, Later("vaults")),
    (59, Later("vaults")),
    (60, Later("vaults")),
    (61, Later("vaults")),
    (62, Tests(&["the_version_that_is_not_named_is_the_newest_and_old_ones_still_unwrap"])),
    (63, Tests(&["expired_and_future_keys_unwrap_but_do_not_wrap", "disabled_and_deleted_keys_never_wrap"])),
    (64, Tests(&["a_killed_rotation_goes_on_and_every_snapshot_opens_at_every_moment"])),
    (65, Tests(&["what_is_due_is_rotated_and_nothing_else"])),
    (66, Tests(&["what_is_moved_to_a_set_belongs_to_it_and_else_keeps_its_own"])),
    (67, Later("machines")),
    (68, Later("machines")),
    (
        69,
        Tests(&[
            "written_byok_is_the_one_that_another_implementation_has_opened",
            "wrong_target_and_damage_look_alike",
            "a_key_goes_from_home_to_home_as_byok",
        ]),
    ),
    (
        70,
        Tests(&[
            "copies_of_keys_that_are_not_ours_or_not_whole_are_told_apart",
            "other_material_under_the_same_name_is_refused",
        ]),
    ),
    (71, Tests(&["a_deleted_key_does_nothing_but_be_listed_recovered_and_purged"])),
    (72, Later("vaults")),
    (73, Tests(&["periods_are_those_of_iso_8601", "less_than_a_week_and_more_than_a_century_are_refused"])),
    (74, Later("databases")),
    (75, Later("databases")),
    (
        76,
        Tests(&[
            "a_line_has_the_names_that_azure_uses",
            "a_seal_an_open_and_a_rewrap_name_the_snapshot",
            "a_key_that_expires_soon_is_on_record_when_it_seals",
        ]),
    ),
    (77, Tests(&["sha1_vectors_agree", "sha256_vectors_agree"])),
    (78, Tests(&["a_purge_is_on_record_before_it_is_done", "a_stolen_key_is_replaced_by_one_in_another_vault"])),
];

/// Parts of the project that a rule may wait for.
const TO_COME: &[&str] = &["databases", "images", "machines", "vaults"];

#[test]
fn every_rule_is_listed_once() {
    let numbers: Vec<u8> = RULES.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, (1..=78).collect::<Vec<_>>());
}

#[test]
fn every_rule_has_its_tests_or_says_what_it_waits_for() {
    let tests = names_of_tests();
    assert!(tests.len() > 500, "only {} tests were found: the search has gone blind", tests.len());
    let mut wrong = Vec::new();
    for (number, behind) in RULES {
        match behind {
            Tests(names) => {
                assert!(!names.is_empty(), "R{number} has an empty list");
                wrong.extend(
                    names.iter().filter(|name| !tests.contains(**name)).map(|name| format!("R{number}: {name}")),
                );
            }
            Later(part) => assert!(TO_COME.contains(part), "R{number} waits for {part}"),
        }
    }
    assert!(wrong.is_empty(), "rules whose tests are gone:\n{}", wrong.join("\n"));
}

/// Collects every function behind a `#[test]`, of proptest's macro too.
fn names_of_tests() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut names = BTreeSet::new();
    for folder in ["src", "tests"] {
        for file in rust_files(&root.join(folder)) {
            let text = std::fs::read_to_string(&file).expect("reads");
            let mut marked = false;
            for line in text.lines().map(str::trim) {
                if line == "#[test]" {
                    marked = true;
                } else if let Some(rest) = line.strip_prefix("fn ") {
                    if marked {
                        names.extend(rest.split('(').next().map(str::to_owned));
                    }
                    marked = false;
                }
            }
        }
    }
    names
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            files.extend(rust_files(&entry));
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            files.push(entry);
        }
    }
    files
}
