//! Which crates may be in the build: their licences, and a short list of those that may not.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use spdx::{Expression, LicenseReq};

use crate::step::{Step, say};

/// Licences that this project's own "MIT OR Apache-2.0" can carry.
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates that must not come in, and why.
const BANNED: &[(&str, &str)] = &[
    ("bincode", "unmaintained (RUSTSEC-2025-0141)"),
    ("rustls-pemfile", "unmaintained (RUSTSEC-2025-0134)"),
    ("eff-wordlist", "AGPL"),
    ("openssl", "one TLS stack is enough: rustls"),
    ("native-tls", "one TLS stack is enough: rustls"),
    ("zip", "no archives on the wire: manifests instead"),
    ("tar", "no archives on the wire: manifests instead"),
];

/// Checks every crate of the lock file.
///
/// # Errors
/// A licence is not allowed or not stated, or a crate is banned.
pub(crate) fn check() -> Result<()> {
    let text = Step::new("list crates", "cargo", &["metadata", "--format-version", "1", "--locked"]).read_quietly()?;
    let metadata: Value = serde_json::from_str(&text).context("cargo metadata is not JSON")?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let complaints: Vec<String> = packages.iter().filter_map(|package| complaint(package).err()).collect();
    if !complaints.is_empty() {
        bail!("{}", complaints.join("\n"));
    }
    say(&format!("── licences: {} crates are fine", packages.len()));
    Ok(())
}

fn complaint(package: &Value) -> Result<(), String> {
    let name = package["name"].as_str().unwrap_or("?");
    if let Some((_, why)) = BANNED.iter().find(|(banned, _)| *banned == name) {
        return Err(format!("{name} is banned: {why}"));
    }
    let stated = package["license"].as_str().unwrap_or_default().replace('/', " OR ");
    let expression =
        Expression::parse(&stated).map_err(|_| format!("{name} states no licence that can be read: {stated:?}"))?;
    if expression.evaluate(is_allowed) {
        Ok(())
    } else {
        Err(format!("{name} is under {stated}, which is not allowed"))
    }
}

fn is_allowed(wanted: &LicenseReq) -> bool {
    wanted.license.id().is_some_and(|id| ALLOWED.contains(&id.name))
}
