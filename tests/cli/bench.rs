//! `sobre bench`: every figure is there, and the command needs no home.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::world::World;

#[test]
fn everything_is_measured_within_a_minute() {
    let world = World::fresh();
    let start = Instant::now();
    let report = json(&world, &["bench", "--json"]);
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    let backends = report["backends"].as_array().expect("a list");
    let kernels = report["xts"]["kernels"].as_array().expect("a list");
    assert_eq!(kernels.len(), 4 * backends.len(), "both sector sizes and directions of every backend");
    for kernel in kernels {
        assert!(positive(&kernel["gb_per_second"]) && positive(&kernel["fraction_of_roofline"]), "{kernel}");
    }
    assert_eq!(report["suites"].as_array().map(Vec::len), Some(6));
    assert_eq!(report["rsa"].as_array().map(Vec::len), Some(3));
    assert!(positive(&report["memory"]["memcpy_gb_per_second"]));
    assert!(["cipher", "copies"].contains(&report["limit"]["resource"].as_str().expect("a resource")));
    assert!(!world.home().exists(), "measuring sets nothing up");
}

#[test]
fn one_topic_leaves_the_others_out() {
    let world = World::fresh();
    let report = json(&world, &["bench", "--only", "integrity", "--json"]);
    assert_eq!(report["integrity"].as_array().map(Vec::len), Some(5));
    for other in ["xts", "suites", "memory", "rsa", "limit"] {
        assert!(report[other].is_null(), "{other}");
    }
}

fn json(world: &World, words: &[&str]) -> Value {
    let output = world.command(words).output().expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

fn positive(value: &Value) -> bool {
    value.as_f64().is_some_and(|number| number > 0.0)
}
