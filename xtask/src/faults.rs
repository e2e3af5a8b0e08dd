//! `cargo xtask faults`: every row of the fault matrix over real processes, with all its rounds.

use anyhow::{Result, bail};

use crate::counts::Counts;
use crate::needs;
use crate::step::{Step, say};
use crate::test;

/// Rounds of each test that picks its moments at random. `cargo xtask test` has a tenth of them.
const ROUNDS: &str = "300";

/// Where the table is kept.
const TABLE: &str = "docs/faults.md";

/// Above the table.
const HEAD: &str = "\
# Faults that were tried

`cargo xtask faults` disturbs transfers between real processes, checks what is left, and writes this file. The numbers of the faults are those of the
tests' names. Every test prints the seed of its random moments; `LANYARD_FAULT_SEED=…` repeats a run. A tenth of the rounds runs in `cargo xtask test`.

\"Sent again\" counts bytes of data messages beyond the size of the files, headers included; 24 MiB (window and journal batch) is the limit, and the test
fails above it.

| fault | what was done | what was found | time |
|---|---|---|---|
";

/// Runs them and writes the table; with `--quick` only what the tests run, and no table.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let quick = match args {
        [] => false,
        [only] if only == "--quick" => true,
        _ => bail!("cargo xtask faults takes --quick or nothing"),
    };
    needs::namespaces()?;
    needs::programs(&[needs::NETWORK])?;
    test::build_tests()?;
    let mut faults = Step::new("faults", "cargo", &["test", "--locked", "--workspace", "--no-fail-fast"]).args(&[
        "--test",
        "faults_*",
        "--",
        "--nocapture",
    ]);
    if !quick {
        faults = faults.env("LANYARD_FAULT_ROUNDS", ROUNDS);
    }
    let output = faults.run_and_read()?;
    let counts = Counts::read(&output);
    if counts.passed == 0 {
        bail!("no fault was tried");
    }
    let mut rows: Vec<&str> =
        output.lines().filter_map(|line| line.split_once("fault | ").map(|(_, row)| row)).collect();
    rows.sort_by_key(|row| number(row));
    if !quick {
        let table: String = rows.iter().map(|row| format!("| {row}\n")).collect();
        std::fs::write(crate::root().join(TABLE), format!("{HEAD}{table}"))?;
        say(&format!("The table is in {TABLE}."));
    }
    say(&format!("faults: {} rows, {counts}", rows.len()));
    Ok(())
}

/// Of a row such as `F12 | …`.
fn number(row: &str) -> u32 {
    let digits = row.trim_start_matches('F').split(' ').next().unwrap_or_default();
    digits.parse().unwrap_or(u32::MAX)
}
