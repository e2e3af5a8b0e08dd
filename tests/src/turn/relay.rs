//! `lanyard-relay` on loopback, with a user, and with a certificate of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tempfile::TempDir;

use super::client::TurnClient;
use crate::program::{Program, built};

const PATIENCE: Duration = Duration::from_secs(30);
/// The user that it knows by default.
pub const USER: &str = "alice";
/// The user's password.
pub const PASSWORD: &str = "a password for tests";

/// A running relay.
pub struct Relay {
    /// The program.
    pub program: Program,
    /// Where it takes TURN over UDP and TCP.
    pub udp: SocketAddr,
    /// Where it takes https, and TURN over TLS.
    pub https: SocketAddr,
    /// Where it takes http, and TURN over TCP.
    pub http: SocketAddr,
    dir: TempDir,
    reloads: usize,
}

/// What the relay is told; the rest is what the tests need.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    /// `peer_policy`.
    pub policy: &'a str,
    /// The line of `users`, and whatever else is to stand in `[turn]`.
    pub users: &'a str,
}

impl Default for Rules<'_> {
    fn default() -> Self {
        Self { policy: "any", users: "users = [{ name = \"alice\", password = \"a password for tests\" }]" }
    }
}

impl Relay {
    /// Starts it.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start(rules: Rules<'_>) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        write_certificate(dir.path())?;
        write_config(dir.path(), rules)?;
        let mut command = Command::new(built("lanyard-relay"));
        command.arg("--config").arg(dir.path().join("relay.toml"));
        let program = Program::start("lanyard-relay", command)?;
        let port = |what: &str, before: &'static str, after: &'static str| {
            program.wait_for(what, PATIENCE, |line| {
                let port = line.split_once(before)?.1.split_once(after)?.0;
                port.parse().ok().map(|port| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port))
            })
        };
        let https = port("its https address", "https://127.0.0.1:", "/")?;
        let http = port("its http address", "http://127.0.0.1:", "/")?;
        let udp = port("its STUN address", "stun:127.0.0.1:", "\"")?;
        Ok(Self { program, udp, https, http, dir, reloads: 0 })
    }

    /// A client over UDP.
    ///
    /// # Errors
    /// No socket.
    pub fn client(&self) -> Result<TurnClient> {
        TurnClient::udp(Ipv4Addr::LOCALHOST.into(), self.udp, USER, PASSWORD)
    }

    /// Its certificate, in PEM.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn certificate(&self) -> Result<String> {
        Ok(std::fs::read_to_string(self.dir.path().join("certificate.pem"))?)
    }

    /// Makes another certificate for the next reload.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn change_certificate(&self) -> Result<()> {
        write_certificate(self.dir.path())
    }

    /// Sends SIGHUP with these rules, and waits until they are in force.
    ///
    /// # Errors
    /// It does not say so.
    pub fn reload(&mut self, rules: Rules<'_>) -> Result<()> {
        write_config(self.dir.path(), rules)?;
        self.program.signal("HUP")?;
        self.reloads += 1;
        let deadline = Instant::now() + PATIENCE;
        while self.program.printed().matches("took over certificate and TURN rules").count() < self.reloads {
            if Instant::now() > deadline {
                bail!("it did not reload: {}", self.program.printed());
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Sees to it that a good client is served: it allocates, and is relayed to the peer and back.
    ///
    /// # Errors
    /// It is not served.
    pub fn serve_one(&self, peer: SocketAddr) -> Result<()> {
        let mut client = self.client()?;
        client.allocate()?;
        if client.bind(0x4001, peer)? != 0 {
            bail!("ChannelBind refused");
        }
        client.send_on(0x4001, b"ping")?;
        if client.receive_on(0x4001)? != b"ping" || client.release()? != 0 {
            bail!("another answer than what was sent");
        }
        Ok(())
    }
}

fn write_config(dir: &Path, rules: Rules<'_>) -> Result<()> {
    let Rules { policy, users } = rules;
    let text = format!(
        r#"
        drain_seconds = 1
        [http]
        listen = ["127.0.0.1:0"]
        [tls]
        listen = ["127.0.0.1:0"]
        certificate = "{dir}/certificate.pem"
        key = "{dir}/key.pem"
        [stun]
        listen = "127.0.0.1:0"
        [turn]
        tls_listen = []
        peer_policy = "{policy}"
        relay_addresses = ["127.0.0.1", "::1"]
        allocations_per_user = 200
        allocations_per_source = 400
        {users}
        "#,
        dir = dir.display()
    );
    std::fs::write(dir.join("relay.toml"), text).context("could not write the configuration")
}

fn write_certificate(dir: &Path) -> Result<()> {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    std::fs::write(dir.join("certificate.pem"), cert.pem())?;
    std::fs::write(dir.join("key.pem"), signing_key.serialize_pem())?;
    Ok(())
}

/// A peer that sends everything back, at its port and, as `turnutils_uclient` wants it, at the next one.
pub struct Echo {
    /// The first of the two.
    pub address: SocketAddr,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Echo {
    /// Starts it.
    ///
    /// # Errors
    /// There are no two ports next to each other.
    pub fn start(ip: IpAddr) -> Result<Self> {
        let sockets = (0..100).find_map(|_| {
            let first = UdpSocket::bind(SocketAddr::new(ip, 0)).ok()?;
            let port = first.local_addr().ok()?.port().checked_add(1)?;
            Some([first, UdpSocket::bind(SocketAddr::new(ip, port)).ok()?])
        });
        let sockets = sockets.context("no two ports next to each other")?;
        let (address, stop) = (sockets[0].local_addr()?, Arc::new(AtomicBool::new(false)));
        let threads = sockets.map(|socket| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || {
                let _ = socket.set_read_timeout(Some(Duration::from_millis(50)));
                let mut buffer = [0; 2048];
                while !stop.load(Ordering::Relaxed) {
                    if let Ok((len, from)) = socket.recv_from(&mut buffer) {
                        let _ = socket.send_to(&buffer[..len], from);
                    }
                }
            })
        });
        Ok(Self { address, stop, threads: threads.into() })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
