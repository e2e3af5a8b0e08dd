//! `cargo xtask fuzz`: the targets of `tests/fuzz` under libFuzzer, on the compiler that builds everything else.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::needs::{self, Need, need};
use crate::step::{Step, say};

/// libFuzzer itself is C++.
const NEEDED: &[Need] = &[need("g++", "g++")];

/// What `cargo fuzz` passes on a nightly compiler, less the address sanitizer: there is no unsafe code in the cores.
const INSTRUMENTED: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

const SECONDS: &str = "60";

/// Where inputs are kept, and the crate with the targets.
const CORPUS: &str = "tests/fuzz/corpus";

/// What was asked for.
struct Asked {
    targets: Vec<String>,
    seconds: String,
    keep: bool,
}

/// Runs one target or all of them, each for a minute unless told otherwise. With `--keep`, what was found to reach
/// something new is minimised and replaces the corpus in the repository.
///
/// # Errors
/// It does not build, or a target failed: the input that did it is named.
pub(crate) fn run(args: &[String]) -> Result<()> {
    let asked = read(args)?;
    needs::programs(&[NEEDED])?;
    let target_dir = crate::target_dir().join("fuzz");
    let triple = host()?;
    Step::new("build the fuzz targets", "cargo", &["build", "--release"])
        .args(&["--manifest-path", "tests/fuzz/libfuzzer/Cargo.toml", "--target", &triple])
        .env("RUSTFLAGS", INSTRUMENTED)
        .env("CARGO_TARGET_DIR", &target_dir.display().to_string())
        .run()?;
    let program = target_dir.join(&triple).join("release/lanyard-libfuzzer").display().to_string();
    for target in &asked.targets {
        let kept = crate::root().join(CORPUS).join(target);
        let found = target_dir.join("corpus").join(target);
        let crashes = target_dir.join("crashes").join(target);
        for folder in [&kept, &found, &crashes] {
            std::fs::create_dir_all(folder).with_context(|| format!("could not make {}", folder.display()))?;
        }
        let limits = [
            format!("-max_total_time={}", asked.seconds),
            format!("-artifact_prefix={}/", crashes.display()),
            "-max_len=8192".to_owned(),
            "-timeout=10".to_owned(),
            "-rss_limit_mb=1024".to_owned(),
            "-print_final_stats=1".to_owned(),
            "-verbosity=0".to_owned(),
        ];
        let folders = [found.display().to_string(), kept.display().to_string()];
        Step::new(&format!("fuzz {target}"), &program, &[])
            .args(&limits)
            .args(&folders)
            .env("LANYARD_FUZZ_TARGET", target)
            .run()
            .with_context(|| format!("the input is in {}; keep it in {}", crashes.display(), kept.display()))?;
        if asked.keep {
            keep(&program, target, &found, &kept)?;
        }
    }
    say(&format!("{} targets ran {} s each and hold", asked.targets.len(), asked.seconds));
    Ok(())
}

/// Puts the smallest set of inputs that reaches as much as all of them into the repository.
fn keep(program: &str, target: &str, found: &std::path::Path, kept: &std::path::Path) -> Result<()> {
    let merged = found.with_extension("merged");
    let _ = std::fs::remove_dir_all(&merged);
    std::fs::create_dir_all(&merged)?;
    let folders = [&merged, &kept.to_owned(), &found.to_owned()].map(|folder: &PathBuf| folder.display().to_string());
    Step::new(&format!("minimise {target}"), program, &["-merge=1", "-max_len=2048", "-verbosity=0"])
        .args(&folders)
        .env("LANYARD_FUZZ_TARGET", target)
        .run()?;
    std::fs::remove_dir_all(kept)?;
    std::fs::create_dir_all(kept)?;
    for file in std::fs::read_dir(&merged)? {
        let file = file?;
        std::fs::copy(file.path(), kept.join(file.file_name()))?;
    }
    Ok(())
}

fn read(args: &[String]) -> Result<Asked> {
    let mut asked = Asked { targets: Vec::new(), seconds: SECONDS.to_owned(), keep: false };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seconds" => {
                let seconds = args.next().context("--seconds takes a number")?;
                seconds.parse::<u32>().context("--seconds takes a number")?;
                asked.seconds.clone_from(seconds);
            }
            "--keep" => asked.keep = true,
            target => asked.targets.push(target.to_owned()),
        }
    }
    let known = targets()?;
    if let Some(unknown) = asked.targets.iter().find(|target| !known.contains(target)) {
        bail!("no target is called {unknown}. There are: {}", known.join(", "));
    }
    if asked.targets.is_empty() {
        asked.targets = known;
    }
    Ok(asked)
}

/// Each target has a folder.
fn targets() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for folder in std::fs::read_dir(crate::root().join(CORPUS)).context("the corpora are missing")? {
        names.push(folder?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// With a target named, instrumentation stays out of build scripts.
fn host() -> Result<String> {
    let version = Step::new("ask for the host", "rustc", &["-vV"]).read_quietly()?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc names no host")?.to_owned())
}
