//! Avahi on a host of the lab: somebody else's view of what we announce.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::lan::Host;
use crate::program::Program;

/// A shell on a host with its own D-Bus and avahi-daemon, in a mount namespace so that `/run` is its own.
pub struct Avahi {
    shell: Program,
    asked: u32,
}

/// One resolved service instance on one interface and protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The instance name, with avahi's decimal escapes.
    pub instance: String,
    /// IPv4 or IPv6 address.
    pub address: String,
    /// TCP port.
    pub port: u16,
    /// TXT strings as avahi prints them.
    pub txt: String,
}

const START: &str = "\
hostname avahi-lab
mount -t tmpfs tmpfs /run
mkdir -p /run/dbus /run/avahi-daemon
chown avahi:avahi /run/avahi-daemon
dbus-daemon --system --fork --nopidfile
avahi-daemon --no-drop-root --no-chroot --no-rlimits -D
exec sh";

impl Avahi {
    /// Starts the daemons.
    ///
    /// # Errors
    /// A program could not be started.
    pub fn on(host: &Host) -> Result<Self> {
        let mut command = host.command("unshare");
        command.args(["--mount", "--uts", "sh", "-c", START]);
        Ok(Self { shell: Program::start("avahi", command)?, asked: 0 })
    }

    /// `avahi-browse -rt TYPE` once: what it resolved.
    ///
    /// # Errors
    /// It did not answer.
    pub fn browse(&mut self, service_type: &str) -> Result<Vec<Resolved>> {
        self.asked += 1;
        let (begin, end) = (format!("begin-{}", self.asked), format!("end-{}", self.asked));
        self.shell.type_line(&format!("echo {begin}; avahi-browse -rtp {service_type}; echo {end}"))?;
        self.shell.wait_for(&end, Duration::from_secs(30), |line| (line == end).then_some(()))?;
        let printed = self.shell.printed();
        let answer = printed.rsplit_once(&begin).map_or("", |(_, answer)| answer);
        Ok(answer.lines().filter_map(Resolved::parse).collect())
    }

    /// Browses until the answer satisfies `wanted`.
    ///
    /// # Errors
    /// The time is over; the message holds the last answer.
    pub fn browse_until(
        &mut self,
        service_type: &str,
        within: Duration,
        wanted: impl Fn(&[Resolved]) -> bool,
    ) -> Result<Vec<Resolved>> {
        let deadline = Instant::now() + within;
        loop {
            let answer = self.browse(service_type)?;
            if wanted(&answer) {
                return Ok(answer);
            }
            if Instant::now() > deadline {
                bail!("avahi did not see what was expected within {within:?}; last: {answer:#?}");
            }
        }
    }
}

impl Resolved {
    /// `=;eth0;IPv4;Studio\032PC;_lanyard._tcp;local;host.local;192.168.77.10;53380;"v=1" …`
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.strip_prefix("=;")?.splitn(9, ';').skip(2);
        let instance = fields.next()?.to_owned();
        let (address, port) = (fields.nth(3)?.to_owned(), fields.next()?.parse().ok()?);
        Some(Self { instance, address, port, txt: fields.next().unwrap_or_default().to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolved_line_is_read() {
        let line = r#"=;eth0;IPv4;Studio\032PC;_lanyard._tcp;local;pc.local;192.168.77.10;53380;"v=1" "id=x;y""#;
        let read = Resolved::parse(line).unwrap();
        assert_eq!(read.instance, r"Studio\032PC");
        assert_eq!((read.address.as_str(), read.port), ("192.168.77.10", 53380));
        assert_eq!(read.txt, r#""v=1" "id=x;y""#);
    }
}
