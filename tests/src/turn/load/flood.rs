//! Requests of strangers.

use std::io::{ErrorKind, IoSlice};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use nix::libc;
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use super::wire::{sockaddr, tune};
use super::{Service, Target};
use crate::turn::client::TurnClient;
use crate::turn::process::{cpu_seconds, resident_kib};

/// What requests without credentials cost.
#[derive(Debug, Clone, Copy)]
pub struct FloodCost {
    /// Memory that the server kept for each.
    pub kept_bytes: f64,
    /// Processor time of the server for each.
    pub cpu_microseconds: f64,
    /// Bytes sent back for each byte, headers counted.
    pub bytes_out_per_in: f64,
    /// Share that was answered.
    pub answered: f64,
}

impl Target {
    /// Sends Allocate requests without credentials, each from another address of 127/8.
    ///
    /// # Errors
    /// The system refuses to send.
    pub fn flood(&self, sources: u32, rate: u64, duration: Duration) -> Result<FloodCost> {
        let Service::Turn { username, password } = &self.service else { bail!("only TURN knows credentials") };
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        tune(&socket, false)?;
        let own = IpAddr::from(Ipv4Addr::LOCALHOST);
        let request = TurnClient::udp(own, self.server, username, password)?.unauthenticated_allocate();
        let resident = resident_kib(self.pid)?;
        let (cpu, started) = (cpu_seconds(self.pid)?, Instant::now());
        let (mut sent, mut answers, mut answer_bytes) = (0_u64, 0_u64, 0_u64);
        while started.elapsed() < duration {
            let due = (started.elapsed().as_secs_f64() * rate as f64) as u64;
            while sent < due {
                // 127.1.0.0 and up: never the server's own address.
                let source = Ipv4Addr::from_bits(0x7f01_0000 + (sent % u64::from(sources)) as u32);
                send_from(&socket, source, self.server, &request)?;
                sent += 1;
            }
            count_answers(&socket, &mut answers, &mut answer_bytes)?;
            std::thread::sleep(Duration::from_micros(500));
        }
        std::thread::sleep(Duration::from_millis(50));
        count_answers(&socket, &mut answers, &mut answer_bytes)?;
        let grown = resident_kib(self.pid)?.saturating_sub(resident);
        // IP and UDP headers count.
        let out = answer_bytes + answers * 28;
        let sent_bytes = sent * (request.len() as u64 + 28);
        Ok(FloodCost {
            kept_bytes: grown as f64 * 1024.0 / sent.max(1) as f64,
            cpu_microseconds: (cpu_seconds(self.pid)? - cpu) * 1e6 / sent.max(1) as f64,
            bytes_out_per_in: out as f64 / sent_bytes.max(1) as f64,
            answered: answers as f64 / sent.max(1) as f64,
        })
    }
}

/// Sends from any own address, out of a socket that is bound to none.
pub(super) fn send_from(socket: &UdpSocket, source: Ipv4Addr, to: SocketAddr, bytes: &[u8]) -> Result<()> {
    let info = libc::in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: libc::in_addr { s_addr: source.to_bits().to_be() },
        ipi_addr: libc::in_addr { s_addr: 0 },
    };
    let control = [ControlMessage::Ipv4PacketInfo(&info)];
    match sendmsg(socket.as_raw_fd(), &[IoSlice::new(bytes)], &control, MsgFlags::empty(), Some(&sockaddr(to)?)) {
        // Full: as lost as on any other link.
        Ok(_) | Err(nix::Error::EAGAIN) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn count_answers(socket: &UdpSocket, answers: &mut u64, bytes: &mut u64) -> Result<()> {
    let mut buffer = [0; 2048];
    loop {
        match socket.recv(&mut buffer) {
            Ok(len) => {
                *answers += 1;
                *bytes += len as u64;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}
