//! The TypeScript types of the wire messages, generated from `crates/protocol`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::step::{Step, say};

const COMMITTED: &str = "web/src/core/protocol/generated";

/// Writes them where the page imports them from.
///
/// # Errors
/// The generator failed.
pub(crate) fn write() -> Result<()> {
    let committed = crate::root().join(COMMITTED);
    let fresh = generate()?;
    if committed.exists() {
        std::fs::remove_dir_all(&committed).context("could not clear the old bindings")?;
    }
    std::fs::create_dir_all(&committed)?;
    for (name, text) in &fresh {
        std::fs::write(committed.join(name), text).with_context(|| format!("could not write {name}"))?;
    }
    say(&format!("{} types are in {COMMITTED}", fresh.len()));
    Ok(())
}

/// Compares them with the committed ones.
///
/// # Errors
/// They differ, or the generator failed.
pub(crate) fn check() -> Result<()> {
    let fresh = generate()?;
    let committed = read(&crate::root().join(COMMITTED))?;
    let names = fresh.keys().chain(committed.keys());
    let mut stale: Vec<_> = names.filter(|name| fresh.get(*name) != committed.get(*name)).collect();
    stale.dedup();
    if let Some(first) = stale.first() {
        bail!(
            "{} of the committed bindings differ ({first}, …). To write them again:\n    cargo xtask bindings",
            stale.len()
        );
    }
    Ok(())
}

fn generate() -> Result<BTreeMap<String, String>> {
    let dir = crate::target_dir().join("bindings");
    if dir.exists() {
        std::fs::remove_dir_all(&dir).context("could not clear target/bindings")?;
    }
    let filter = ["test", "--quiet", "--package", "lanyard-protocol", "--lib", "export_bindings"];
    Step::new("generate bindings", "cargo", &filter)
        .env("TS_RS_EXPORT_DIR", &dir.display().to_string())
        .read_quietly()?;
    read(&dir)
}

fn read(dir: &Path) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("could not list {}", dir.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.insert(
            name,
            std::fs::read_to_string(&path).with_context(|| format!("could not read {}", path.display()))?,
        );
    }
    Ok(files)
}
