//! Pages in real browsers: `tests/browser/specs/bench.spec.ts` moves the files and prints a line for each way.

use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use super::place::Place;
use super::usage::Outcome;
use crate::needs;
use crate::step::Step;

const WAYS: [&str; 3] = ["page to agent", "agent to page", "page to page"];

/// Every way that a page takes part in.
pub(crate) fn measure(programs: &Path, place: Place, source: &Path) -> Result<Vec<(&'static str, Option<Outcome>)>> {
    needs::npm_packages("tests/browser")?;
    let output =
        Step::new("pages", "npx", &["--no-install", "playwright", "test", "specs/bench.spec.ts", "--grep", "@bench"])
            .within("tests/browser")
            .env("LANYARD_BIN_DIR", &programs.display().to_string())
            .env("LANYARD_BENCH_SOURCE", &source.display().to_string())
            .env("LANYARD_BENCH_PLACE", if place == Place::Loopback { "loopback" } else { "bridge" })
            .run_and_read();
    // What some ways found is worth showing though another failed.
    let output = output.unwrap_or_default();
    let lines = output.lines().filter_map(|line| line.split_once("bench: ").map(|(_, json)| json));
    let found: Vec<Value> = lines.filter_map(|json| serde_json::from_str(json).ok()).collect();
    let row = |way: &str| {
        let value = found.iter().find(|value| value["way"] == way)?;
        let number = |key: &str| value[key].as_f64();
        let resident_bytes = number("resident_bytes")?.max(0.0) as u64;
        Some(Outcome { seconds: number("seconds")?, cpu_seconds: number("cpu_seconds")?, resident_bytes })
    };
    Ok(WAYS.into_iter().map(|way| (way, row(way))).collect())
}
