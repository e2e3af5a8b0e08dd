//! `lanyard-relay` on one of the lab's hosts, with a certificate that the lab's devices trust.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::lan::Host;
use crate::program::{Program, built};

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// The configuration's file.
const CONFIG: &str = "relay.toml";

/// A relay that serves page, signaling and TURN over TLS on port 443, plain http and metrics on 8080, and STUN and TURN
/// on 3478; gone when dropped.
pub struct Relay<'a> {
    host: &'a Host,
    program: Program,
    dir: tempfile::TempDir,
}

impl<'a> Relay<'a> {
    /// Starts it with its own defaults, which means the policy `room`.
    ///
    /// # Errors
    /// No certificate could be made, or the relay does not start.
    pub fn start(host: &'a Host) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let names = vec![host.ipv4(), host.ipv6()];
        let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names)?;
        std::fs::write(dir.path().join("certificate.pem"), cert.pem())?;
        std::fs::write(dir.path().join("key.pem"), signing_key.serialize_pem())?;
        let config = dir.path().join(CONFIG);
        let text = format!(
            "drain_seconds = 1\n[tls]\nlisten = [\"[::]:443\"]\ncertificate = \"{dir}/certificate.pem\"\nkey = \"{dir}/key.pem\"\n",
            dir = dir.path().display()
        );
        std::fs::write(&config, text)?;
        let program = launch(host, &config)?;
        Ok(Self { host, program, dir })
    }

    /// Ends it as a crash does.
    ///
    /// # Errors
    /// It could not be killed.
    pub fn kill(&mut self) -> Result<()> {
        self.program.signal("KILL")?;
        self.program.wait(PATIENCE).map(|_| ())
    }

    /// Starts it again, at the same addresses and with the same certificate.
    ///
    /// # Errors
    /// It does not start.
    pub fn restart(&mut self) -> Result<()> {
        self.program = launch(self.host, &self.dir.path().join(CONFIG))?;
        Ok(())
    }

    /// Its page, by its IPv4 address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}/", self.host.ipv4())
    }

    /// Its page, by an address of its host.
    #[must_use]
    pub fn url_at(&self, address: IpAddr) -> String {
        match address {
            IpAddr::V4(address) => format!("https://{address}/"),
            IpAddr::V6(address) => format!("https://[{address}]/"),
        }
    }

    /// The certificate, for `SSL_CERT_FILE` of those who shall trust it.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.dir.path().join("certificate.pem")
    }

    /// The process.
    #[must_use]
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The sum of all series of a counter in `/metrics` whose labels contain `labels`.
    ///
    /// # Errors
    /// `curl` (Debian package curl) could not read the page.
    pub fn metric(&self, name: &str, labels: &str) -> Result<f64> {
        let output = self.host.command("curl").args(["-fsS", "http://127.0.0.1:8080/metrics"]).output()?;
        anyhow::ensure!(output.status.success(), "curl: {}", String::from_utf8_lossy(&output.stderr).trim());
        let text = String::from_utf8(output.stdout).context("metrics are text")?;
        let series = text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (found, found_labels) = series.split_once('{').unwrap_or((series, ""));
            (found == name && found_labels.contains(labels)).then(|| value.parse::<f64>().ok())?
        });
        Ok(series.sum())
    }
}

fn launch(host: &Host, config: &Path) -> Result<Program> {
    let mut command = host.command(&built("lanyard-relay").display().to_string());
    command.arg("--config").arg(config);
    let program = Program::start("lanyard-relay", command)?;
    program.wait_for("its https address", PATIENCE, |line| line.contains("https://").then_some(()))?;
    Ok(program)
}
