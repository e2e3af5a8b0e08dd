//! `cargo xtask hostile-relay`: real clients through a relay that tampers, until ten thousand meetings were tampered with.

use anyhow::Result;

use crate::needs;
use crate::step::{Step, say};
use crate::test;

/// Between two agents.
const MEETINGS: &str = "10000";
/// With a real Chromium on one side.
const PAGES: &str = "200";

/// Runs both and prints what came of them.
///
/// # Errors
/// A tampered meeting authenticated or left somebody without a reason, or an untouched one did not connect.
pub(crate) fn run() -> Result<()> {
    needs::namespaces()?;
    Step::new("build the hostile relay", "cargo", &["build", "--locked", "--workspace", "--release"]).run()?;
    let program = crate::target_dir().join("release/hostile-relay").display().to_string();
    Step::new("meetings of two agents", &program, &["agents", MEETINGS]).run()?;
    say("── the same with a page on one side");
    test::browser_with(&["hostile".to_owned()], &[("LANYARD_HOSTILE_PAGES", PAGES)])?;
    Ok(())
}
