//! `cargo xtask bench connect`: from the start of the programs to an open, bound channel with a page, step by step.
//!
//! Programs are those that people use, the browser is a real Chromium that has seen nothing of the page before, and both
//! are on hosts of their own on one bridge. The tap that a link needs is given the moment there is something to tap. A
//! browser is running already when the programs start: how long that takes is its own business.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::figures::Figures;
use crate::needs::{self, Need, need};
use crate::step::{Step, say};
use crate::{target_dir, web};

const NEEDED: &[Need] = &[need("ip", "iproute2"), need("chromium", "chromium"), need("openssl", "openssl")];

/// An odd number, so that a median is a run.
const RUNS: &str = "7";

/// Longer than this from cold and it is not at once.
const PROMISED_MS: f64 = 1000.0;

/// The step that everything is for.
const LAST: &str = "bound";

/// Runs it and prints medians. `--runs N`: of so many runs of each way.
pub(super) fn run(args: &[String]) -> Result<()> {
    let runs = match args {
        [] => RUNS,
        [flag, runs] if flag == "--runs" && runs.parse::<u32>().is_ok_and(|runs| runs > 0) => runs,
        other => bail!("bench connect takes --runs N, not {other:?}"),
    };
    needs::namespaces()?;
    needs::programs(&[NEEDED])?;
    web::build_if_stale()?;
    needs::npm_packages("tests/browser")?;
    Step::new("build the programs", "cargo", &["build", "--release", "--locked", "--bins"])
        .args(&["--package", "lanyard", "--package", "lanyard-relay", "--package", "lanyard-tests"])
        .run()?;
    let playwright = ["--no-install", "playwright", "test", "specs/connect.spec.ts", "--grep", "@bench"];
    let output = Step::new("cold starts", "npx", &playwright)
        .within("tests/browser")
        .env("LANYARD_BIN_DIR", &target_dir().join("release").display().to_string())
        .env("LANYARD_BENCH_RUNS", runs)
        .run_and_read()?;
    let found = Found::read(&output)?;
    found.print();
    found.judge()
}

/// What one way took.
struct Way {
    name: String,
    steps: Vec<String>,
    runs: usize,
}

/// All runs of all ways.
struct Found {
    ways: Vec<Way>,
    /// By number of the way; a figure is when a step came, in milliseconds since the first program was started.
    figures: Figures,
}

impl Found {
    fn read(output: &str) -> Result<Self> {
        let mut found = Self { ways: Vec::new(), figures: Figures::default() };
        for (_, json) in output.lines().filter_map(|line| line.split_once("bench: ")) {
            found.add(&serde_json::from_str(json).context("a line of the benchmark is no JSON")?)?;
        }
        if found.ways.is_empty() {
            bail!("no run was measured");
        }
        Ok(found)
    }

    fn add(&mut self, run: &Value) -> Result<()> {
        let name = run["way"].as_str().context("a run without a name")?;
        let steps = run["steps"].as_array().context("a run without steps")?;
        let number = self.ways.iter().position(|way| way.name == name).unwrap_or_else(|| {
            self.ways.push(Way { name: name.to_owned(), steps: Vec::new(), runs: 0 });
            self.ways.len() - 1
        });
        let way = &mut self.ways[number];
        way.runs += 1;
        for step in steps {
            let (Some(step), Some(at)) = (step[0].as_str(), step[1].as_f64()) else { bail!("a step without a time") };
            if !way.steps.iter().any(|known| known == step) {
                way.steps.push(step.to_owned());
            }
            self.figures.add(number, step, at, None);
        }
        Ok(())
    }

    fn print(&self) {
        for (number, way) in self.ways.iter().enumerate() {
            say(&format!("\n{}: medians of {} runs, in ms since the first program was started", way.name, way.runs));
            say(&format!("{:<24}{:>8}{:>8}{:>8}{:>8}", "step", "at", "took", "lowest", "highest"));
            let summaries = way.steps.iter().filter_map(|step| Some((step, self.figures.summary(number, step)?)));
            let mut steps: Vec<_> = summaries.collect();
            steps.sort_by(|(_, one), (_, other)| one.median.total_cmp(&other.median));
            let mut before = 0.0;
            for (step, summary) in steps {
                let (at, low, high) = (summary.median, summary.low, summary.high);
                say(&format!("{step:<24}{at:>8.0}{:>8.0}{low:>8.0}{high:>8.0}", at - before));
                before = at;
            }
        }
        say("");
    }

    /// # Errors
    /// A way took longer than was promised.
    fn judge(&self) -> Result<()> {
        for (number, way) in self.ways.iter().enumerate() {
            let bound = self.figures.summary(number, LAST).context("no run came to its end")?.median;
            if bound > PROMISED_MS {
                bail!("{}: {bound:.0} ms to a bound channel, more than {PROMISED_MS:.0}", way.name);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = r#"
        bench: {"way":"agent","steps":[["up",20],["bound",700]]}
        bench: {"way":"agent","steps":[["up",40],["bound",900]]}
        bench: {"way":"relay","steps":[["up",10],["bound",1200]]}
    "#;

    #[test]
    fn medians_are_of_each_way_and_the_slow_one_is_named() {
        let found = Found::read(OUTPUT).expect("three runs");
        assert_eq!(found.ways.iter().map(|way| way.runs).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(found.ways[0].steps, ["up", "bound"]);
        assert_eq!(found.figures.summary(0, "bound").map(|summary| summary.median), Some(800.0));
        let error = found.judge().expect_err("the relay took too long");
        assert!(error.to_string().starts_with("relay: 1200 ms"), "{error}");
    }

    #[test]
    fn nothing_measured_is_no_result() {
        assert!(Found::read("1 passed").is_err());
    }
}
