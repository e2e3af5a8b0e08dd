//! The commands that build, run, check and measure Lanyard: `cargo xtask NAME`.
//!
//! Each prints what it runs and how long it took. A failure prints the one command that repeats it.

mod bench;
mod bindings;
mod cores;
mod counts;
mod faults;
mod fuzz;
mod hostile;
mod licences;
mod needs;
mod step;
mod test;
mod web;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use step::Step;

const HELP: &str = "\
cargo xtask up [ARGS]       build the page and the agent, then run `lanyard up ARGS`
cargo xtask test            install what is missing, then every check and every test
cargo xtask check           formatting, lints, docs, licences, bindings, types, unit tests of the page
cargo xtask bindings        write the TypeScript types of the wire messages again
cargo xtask browser [ARGS]  the tests with real browsers in network namespaces (ARGS go to Playwright)
cargo xtask browser --large the ones that move gigabytes
cargo xtask floods          what strangers may send to a relay, ten times as much as `test` does
cargo xtask hostile-relay   ten thousand meetings through a relay that tampers, 200 of them with a browser
cargo xtask fuzz [TARGET] [--seconds 60] [--keep]  the fuzz targets under libFuzzer
cargo xtask bench turn      what relaying costs, next to coturn and a bare forwarder (--runs N, --only WORD)
cargo xtask bench transfer  how fast files move, next to rsync, scp, magic-wormhole and a bare copy (--quick, --no-pages)
cargo xtask bench connect   from cold programs to a bound channel with a real browser, step by step (--runs N)
cargo xtask faults          transfers between real processes, disturbed in every way; writes docs/faults.md
cargo xtask dist            both programs in release form under target/dist
";

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let command = args.next().unwrap_or_default();
    let rest: Vec<String> = args.collect();
    match run(&command, &rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            step::say(&format!("cargo xtask {command}: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(command: &str, rest: &[String]) -> Result<()> {
    match command {
        "up" => up(rest),
        "test" => test::everything(),
        "check" => test::check(),
        "bindings" => bindings::write(),
        "browser" => test::browser(rest).map(|_| ()),
        "floods" => test::floods(),
        "hostile-relay" => hostile::run(),
        "fuzz" => fuzz::run(rest),
        "bench" => bench::run(rest),
        "faults" => faults::run(rest),
        // Run by the benchmark in its namespaces.
        "tcp-copy" => bench::tcp_copy(rest),
        "dist" => dist(),
        "" | "help" | "-h" | "--help" => {
            step::say(HELP.trim_end());
            Ok(())
        }
        other => bail!("no such command. There are:\n{HELP}\n(asked for {other:?})"),
    }
}

/// Builds what is stale and becomes the agent.
fn up(args: &[String]) -> Result<()> {
    needs::node()?;
    web::build_if_stale()?;
    Step::new("build the agent", "cargo", &["build", "--release", "--package", "lanyard"]).run()?;
    let mut agent = std::process::Command::new(target_dir().join("release/lanyard"));
    agent.arg("up").args(args);
    replace_process(agent)
}

#[cfg(unix)]
fn replace_process(mut command: std::process::Command) -> Result<()> {
    use std::os::unix::process::CommandExt as _;
    // Signals and the terminal then belong to the agent alone.
    Err(command.exec()).context("could not start the agent")
}

#[cfg(not(unix))]
fn replace_process(mut command: std::process::Command) -> Result<()> {
    let status = command.status().context("could not start the agent")?;
    if status.success() { Ok(()) } else { bail!("the agent ended with {status}") }
}

fn dist() -> Result<()> {
    needs::node()?;
    web::build_if_stale()?;
    let packages = ["--package", "lanyard", "--package", "lanyard-relay"];
    Step::new("build both programs", "cargo", &["build", "--release"]).args(&packages).run()?;
    let to = target_dir().join("dist");
    std::fs::create_dir_all(&to).context("could not make target/dist")?;
    for program in ["lanyard", "lanyard-relay"] {
        let from = target_dir().join("release").join(program);
        std::fs::copy(&from, to.join(program)).with_context(|| format!("could not copy {}", from.display()))?;
    }
    for text in ["README.md", "LICENSE-MIT", "LICENSE-APACHE", "CHANGELOG.md"] {
        std::fs::copy(root().join(text), to.join(text)).with_context(|| format!("could not copy {text}"))?;
    }
    step::say(&format!("Both programs are in {}", to.display()));
    Ok(())
}

/// The workspace's folder.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace")
}

/// Where cargo builds.
fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}
