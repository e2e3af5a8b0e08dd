//! `check`, `test` and `browser`.

use anyhow::{Result, bail};

use crate::counts::Counts;
use crate::needs;
use crate::step::{Step, say};
use crate::{bindings, cores, licences, web};

/// Browser tests that take minutes, and those that `cargo xtask bench` runs: they prove nothing by themselves.
const LONG: &str = "@large|@bench";

/// Everything that can be said without running the programs.
///
/// # Errors
/// The first check that failed.
pub(crate) fn check() -> Result<()> {
    static_checks()?;
    unit_tests_of_the_page().map(|_| ())
}

/// Installs what is missing, then runs every check and every test.
///
/// # Errors
/// The first step that failed.
pub(crate) fn everything() -> Result<()> {
    needs::namespaces()?;
    needs::programs(&[needs::NETWORK, needs::BROWSER])?;
    needs::python_packages()?;
    static_checks()?;
    let mut counts = unit_tests_of_the_page()?;
    build_tests()?;
    let rust =
        Step::new("Rust tests", "cargo", &["test", "--locked", "--workspace", "--no-fail-fast"]).run_and_read()?;
    counts += Counts::read(&rust);
    counts += interop()?;
    counts += run_browser(&[], &[], "debug", &["--grep-invert", LONG])?;
    say(&format!("tests: {counts}"));
    Ok(())
}

/// Builds programs and tests at once. By themselves the programs would be built without what only tests ask of the crates
/// that both use, and then all of those once more.
///
/// # Errors
/// Something does not compile.
pub(crate) fn build_tests() -> Result<()> {
    Step::new("build programs and tests", "cargo", &["test", "--locked", "--workspace", "--no-run"]).run()
}

/// The tests with real browsers in namespaces.
///
/// # Errors
/// A test failed, or something it needs is missing.
pub(crate) fn browser(args: &[String]) -> Result<Counts> {
    browser_with(args, &[])
}

/// The same with more variables in the environment.
///
/// # Errors
/// A test failed, or something it needs is missing.
pub(crate) fn browser_with(args: &[String], env: &[(&str, &str)]) -> Result<Counts> {
    needs::namespaces()?;
    needs::programs(&[needs::BROWSER])?;
    needs::node()?;
    web::build_if_stale()?;
    // Transfers of gigabytes take minutes: `cargo xtask browser --large` runs those, and only those, with the programs that
    // people use.
    let (large, args): (Vec<_>, Vec<_>) = args.iter().cloned().partition(|arg| arg == "--large");
    let (profile, programs, which) = if large.is_empty() {
        ("dev", "debug", ["--grep-invert", LONG])
    } else {
        ("release", "release", ["--grep", "@large"])
    };
    Step::new("build the programs", "cargo", &["build", "--locked", "--workspace", "--profile", profile]).run()?;
    run_browser(&args, env, programs, &which)
}

/// With programs that are there.
fn run_browser(args: &[String], env: &[(&str, &str)], programs: &str, which: &[&str]) -> Result<Counts> {
    needs::npm_packages("tests/browser")?;
    let target = crate::target_dir().display().to_string();
    let mut step = Step::new("browser tests", "npx", &["--no-install", "playwright", "test"])
        .args(which)
        .args(args)
        .within("tests/browser")
        .env("LANYARD_BIN_DIR", &format!("{target}/{programs}"));
    for (key, value) in env {
        step = step.env(key, value);
    }
    let output = step.run_and_read()?;
    let counts = Counts::read(&output);
    if counts.passed == 0 {
        bail!("no browser test ran");
    }
    Ok(counts)
}

/// Everything that strangers may flood a relay with, ten times as much as `test` sends.
///
/// # Errors
/// It did harm.
pub(crate) fn floods() -> Result<()> {
    build_tests()?;
    let test = ["test", "--locked", "--workspace", "--test", "turn_floods", "--", "--nocapture"];
    Step::new("floods", "cargo", &test).env("LANYARD_FLOODS_WHOLE", "1").run()
}

fn static_checks() -> Result<()> {
    needs::node()?;
    Step::new("formatting", "cargo", &["fmt", "--all", "--check"]).run()?;
    licences::check()?;
    cores::check()?;
    web::build_if_stale()?;
    Step::new("lints", "cargo", &["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"])
        .run()?;
    Step::new("documentation", "cargo", &["doc", "--locked", "--workspace", "--no-deps", "--quiet"])
        .env("RUSTDOCFLAGS", "-D warnings")
        .run()?;
    bindings::check()?;
    Step::new("lints of the page", "npm", &["run", "--silent", "lint"]).within("web").run()?;
    Step::new("types of the page", "npm", &["run", "--silent", "check"]).within("web").run()?;
    needs::npm_packages("tests/browser")?;
    Step::new("types of the browser tests", "npm", &["run", "--silent", "check"]).within("tests/browser").run()
}

/// The page's machines against the Rust ones, live.
fn interop() -> Result<Counts> {
    let examples = crate::target_dir().join("debug/examples");
    let example = |name: &str| examples.join(name).display().to_string();
    let output = Step::new("Rust and TypeScript against each other", "npm", &["run", "--silent", "test:interop"])
        .within("web")
        .env("LANYARD_PAIRING_STDIO", &example("pairing_stdio"))
        .env("LANYARD_TRANSFER_STDIO", &example("transfer_stdio"))
        .run_and_read()?;
    let counts = Counts::read(&output);
    if counts.passed == 0 {
        bail!("no live test of both languages ran");
    }
    Ok(counts)
}

fn unit_tests_of_the_page() -> Result<Counts> {
    let output = Step::new("unit tests of the page", "npm", &["test", "--silent"]).within("web").run_and_read()?;
    let counts = Counts::read(&output);
    if counts.passed == 0 {
        bail!("no unit test of the page ran");
    }
    Ok(counts)
}
