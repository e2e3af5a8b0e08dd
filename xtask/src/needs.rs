//! What must be on the machine, and how it gets there.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::step::{Step, say};

/// A program that the tests run, or the whole path of another file, and Debian's package that has it.
pub(crate) struct Need {
    program: &'static str,
    package: &'static str,
}

pub(crate) const fn need(program: &'static str, package: &'static str) -> Need {
    Need { program, package }
}

/// For every test that crosses a network.
pub(crate) const NETWORK: &[Need] = &[
    need("ip", "iproute2"),
    need("nft", "nftables"),
    need("nginx", "nginx-light"),
    need("pebble", "pebble"),
    need("ping", "iputils-ping"),
    need("avahi-browse", "avahi-utils"),
    need("avahi-daemon", "avahi-daemon"),
    need("dbus-daemon", "dbus"),
    need("systemd-analyze", "systemd"),
    need("turnutils_uclient", "coturn"),
    need("zbarimg", "zbar-tools"),
    need("unshare", "util-linux"),
    need("script", "bsdutils"),
    need("curl", "curl"),
    need("wget", "wget"),
    need("aria2c", "aria2"),
    need("tc", "iproute2"),
    need("faketime", "faketime"),
];

/// Packages of PyPI that tests run, with the versions they were written for.
const PYTHON_PACKAGES: &[&str] = &["aioice==0.13.0"];

/// For the tests with real browsers.
pub(crate) const BROWSER: &[Need] = &[
    need("ip", "iproute2"),
    need("nft", "nftables"),
    need("chromium", "chromium"),
    need("firefox-esr", "firefox-esr"),
    need("certutil", "libnss3-tools"),
    need("openssl", "openssl"),
    need("curl", "curl"),
    need("zbarimg", "zbar-tools"),
];

/// Makes sure that the programs are there: installs their packages as root, names them otherwise.
///
/// # Errors
/// Something is missing and could not be installed.
pub(crate) fn programs(needs: &[&[Need]]) -> Result<()> {
    let missing = missing_packages(needs);
    if missing.is_empty() {
        return Ok(());
    }
    if !is_root() {
        bail!("these Debian packages are missing:\n    sudo apt-get install {}", missing.join(" "));
    }
    Step::new("refresh the package lists", "apt-get", &["update", "-qq"]).run()?;
    Step::new("install what the tests need", "apt-get", &["install", "-y", "-qq", "--no-install-recommends"])
        .args(&missing)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .run()?;
    let still = missing_packages(needs);
    if !still.is_empty() {
        bail!("still missing after installation: {}", still.join(" "));
    }
    Ok(())
}

/// Makes sure that namespaces can be made.
///
/// # Errors
/// Not root.
pub(crate) fn namespaces() -> Result<()> {
    if is_root() {
        return Ok(());
    }
    bail!("the tests make network namespaces, which takes root. Run them as root, or `cargo xtask check` without.")
}

/// Makes sure that Node.js and npm are there and new enough for Vite.
///
/// # Errors
/// Missing, or too old.
pub(crate) fn node() -> Result<()> {
    let version = Command::new("node")
        .arg("--version")
        .output()
        .context("Node.js 20.19 or newer is needed to build the page: install nodejs and npm")?;
    let text = String::from_utf8_lossy(&version.stdout);
    let mut numbers = text.trim().trim_start_matches('v').split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if (major, minor) < (20, 19) {
        bail!("Node.js 20.19 or newer is needed to build the page; this is {}", text.trim());
    }
    if !on_path("npm") {
        bail!("npm is needed to build the page: install it beside Node.js");
    }
    Ok(())
}

fn missing_packages(needs: &[&[Need]]) -> Vec<&'static str> {
    let mut missing: Vec<_> =
        needs.iter().copied().flatten().filter(|need| !on_path(need.program)).map(|need| need.package).collect();
    missing.sort_unstable();
    missing.dedup();
    missing
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps daemons and network tools where a user's PATH may not look.
    let system = ["/usr/sbin", "/sbin"].map(Into::into);
    std::env::split_paths(&path).chain(system).any(|dir: std::path::PathBuf| dir.join(program).is_file())
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").stderr(Stdio::null()).output();
    id.is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}

/// Puts the tests' Python packages into `python` in the target folder, where they disturb nobody.
///
/// # Errors
/// There is no pip, or it failed.
pub(crate) fn python_packages() -> Result<()> {
    let dir = crate::target_dir().join("python");
    let wanted = PYTHON_PACKAGES.join(" ");
    let stamp = dir.join("installed");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    programs(&[&[need("python3", "python3"), need("pip3", "python3-pip")]])?;
    Step::new("install Python packages", "python3", &["-m", "pip", "install", "--quiet", "--upgrade", "--target"])
        .args(&[&dir.display().to_string()])
        .args(PYTHON_PACKAGES)
        .run()?;
    std::fs::write(&stamp, wanted).context("could not write down what was installed")
}

/// Installs a package.json's dependencies when the lock file is newer than they are.
///
/// # Errors
/// npm failed.
pub(crate) fn npm_packages(folder: &str) -> Result<()> {
    let dir = crate::root().join(folder);
    let installed = dir.join("node_modules/.package-lock.json");
    if is_newer(&installed, &dir.join("package-lock.json")) {
        return Ok(());
    }
    say(&format!("── {folder}: dependencies are missing or older than the lock file"));
    Step::new("install packages", "npm", &["ci", "--no-audit", "--no-fund"]).within(folder).run()
}

/// Whether `file` exists and was written after `than`.
pub(crate) fn is_newer(file: &Path, than: &Path) -> bool {
    let time = |path: &Path| std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
    matches!((time(file), time(than)), (Some(file), Some(than)) if file >= than)
}
