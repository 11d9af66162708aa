//! Each rule of the architecture, against the tree as it stands.

use ripstop_tidy::Workspace;

fn none(what: &str, places: Vec<String>) {
    assert!(places.is_empty(), "{what}:\n  {}", places.join("\n  "));
}

#[test]
fn crates_use_lower_floors_only() {
    none("edges that the floors forbid", Workspace::read().wrong_edges());
}

#[test]
fn packages_are_named_after_their_folder() {
    none("packages with another name than their folder", Workspace::read().wrong_names());
}

#[test]
fn rules_are_pure() {
    none("rules that depend on I/O, clocks or randomness", Workspace::read().impure_rules());
}

#[test]
fn files_fit_a_readers_patience() {
    none("files above the limit", Workspace::read().long_files());
}

#[test]
fn functions_fit_a_page() {
    none("functions above the limit", Workspace::read().long_functions());
}

#[test]
fn calls_say_what_they_mean() {
    none("functions that take booleans from others", Workspace::read().boolean_parameters());
}

#[test]
fn crates_say_what_they_are_for() {
    none("crates without documentation at the top", Workspace::read().undocumented_crates());
}

#[test]
fn metrics_that_are_called_served_are_there() {
    none("metrics that nobody serves", Workspace::read().unserved_metrics());
}
