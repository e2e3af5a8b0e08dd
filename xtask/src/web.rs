//! The page: built when its sources are newer than what is built.

use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context as _, Result};

use crate::needs;
use crate::step::{Step, say};

/// What the page is made from.
const SOURCES: &[&str] = &[
    "web/src",
    "web/public",
    "web/index.html",
    "web/package-lock.json",
    "web/vite.config.ts",
    "web/compress.ts",
    "web/first_load.ts",
    "web/preload.ts",
    "web/service_worker_build.ts",
    "web/svelte.config.js",
];

/// Installs what the page needs and builds it, unless nothing changed since.
///
/// # Errors
/// npm or the build failed.
pub(crate) fn build_if_stale() -> Result<()> {
    needs::npm_packages("web")?;
    let built = modified(&crate::root().join("web/dist/index.html"));
    let changed = SOURCES.iter().try_fold(SystemTime::UNIX_EPOCH, |latest, source| {
        newest(&crate::root().join(source)).map(|time| time.max(latest))
    })?;
    if built.is_some_and(|built| built >= changed) {
        say("── the page is built already");
        return Ok(());
    }
    Step::new("build the page", "npm", &["run", "--silent", "build"]).within("web").run()
}

fn newest(path: &Path) -> Result<SystemTime> {
    let mut latest = modified(path).unwrap_or(SystemTime::UNIX_EPOCH);
    if path.is_dir() {
        for entry in std::fs::read_dir(path).with_context(|| format!("could not list {}", path.display()))? {
            latest = latest.max(newest(&entry?.path())?);
        }
    }
    Ok(latest)
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|meta| meta.modified()).ok()
}
