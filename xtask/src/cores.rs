//! The rule that the cores stay cores: no runtime, no sockets.

use anyhow::{Result, bail};

use crate::step::Step;

/// What only the shells may depend on.
const SHELL_CRATES: &[&str] = &["tokio", "axum", "socket2", "mio", "hyper", "webrtc", "mdns-sd"];

const CORES: &[&str] =
    &["lanyard-protocol", "lanyard-pairing", "lanyard-signaling", "lanyard-transfer", "lanyard-turn-core"];

/// Looks through each core's normal dependencies.
///
/// # Errors
/// A core depends on something that does I/O.
pub(crate) fn check() -> Result<()> {
    for core in CORES {
        let tree = ["tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--package", core];
        let listing = Step::new("list a core's dependencies", "cargo", &tree).read_quietly()?;
        let names = listing.lines().filter_map(|line| line.split(' ').next());
        if let Some(found) = names.into_iter().find(|name| SHELL_CRATES.contains(name)) {
            bail!("{core} depends on {found}; cores do no I/O (ARCHITECTURE.md)");
        }
    }
    Ok(())
}
