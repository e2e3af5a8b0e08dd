//! Which worker serves which client.
//!
//! By the client's address alone, so that all that is counted for a source, what it may get back unproved above all, is
//! counted at one place. The kernel does the sum for datagrams (a classic BPF program on the `SO_REUSEPORT` group), we
//! do it for streams; both must come to the same.

use std::io;
use std::net::IpAddr;

#[cfg(target_os = "linux")]
use libc::sock_filter;
#[cfg(target_os = "linux")]
use nix::sys::socket::{setsockopt, sockopt};
use socket2::Socket;

/// How clients are spread over the workers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Steering {
    workers: u32,
    /// Odd, and secret: which addresses meet at one worker is another question at each start.
    multiplier: u32,
}

impl Steering {
    pub(super) fn new(workers: u32, multiplier: u32) -> Self {
        Self { workers: workers.max(1), multiplier: multiplier | 1 }
    }

    pub(super) fn workers(self) -> u32 {
        self.workers
    }

    /// The worker that serves this IPv4 address, or the /64 that this IPv6 address is of.
    pub(super) fn worker_of(self, client: IpAddr) -> usize {
        let sum = match client.to_canonical() {
            IpAddr::V4(v4) => v4.to_bits(),
            IpAddr::V6(v6) => {
                let [high, low] = [v6.to_bits() >> 96, v6.to_bits() >> 64].map(|word| word as u32);
                high.wrapping_mul(self.multiplier) ^ low
            }
        };
        // Twice, with a fold between: one product alone has its low bits from the low bits of the address.
        let product = sum.wrapping_mul(self.multiplier);
        let product = (product ^ product >> 16).wrapping_mul(self.multiplier);
        (product >> 16) as usize % self.workers as usize
    }

    /// Has the kernel steer what comes for a group of sockets at one port. To be called for its first one, before that
    /// is bound.
    #[cfg(target_os = "linux")]
    pub(super) fn attach(self, first: &Socket, is_ipv4: bool) -> io::Result<()> {
        let mut program = self.program(is_ipv4);
        let len = u16::try_from(program.len()).map_err(io::Error::other)?;
        let program = libc::sock_fprog { len, filter: program.as_mut_ptr() };
        setsockopt(first, sockopt::AttachReusePortCbpf, &program)?;
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn attach(self, _first: &Socket, _is_ipv4: bool) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// [`Self::worker_of`] for the source of the packet at hand.
    #[cfg(target_os = "linux")]
    fn program(self, is_ipv4: bool) -> Vec<sock_filter> {
        /// Reads from the start of the IP header on, where the program would else see the payload only.
        const HEADER: u32 = libc::SKF_NET_OFF as u32;
        let step = |code: u32, k: u32| sock_filter { code: code as u16, jt: 0, jf: 0, k };
        let load = |offset: u32| step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, HEADER.wrapping_add(offset));
        let multiply = step(libc::BPF_ALU | libc::BPF_MUL | libc::BPF_K, self.multiplier);
        let keep = step(libc::BPF_MISC | libc::BPF_TAX, 0);
        let mix = step(libc::BPF_ALU | libc::BPF_XOR | libc::BPF_X, 0);
        let halve = step(libc::BPF_ALU | libc::BPF_RSH | libc::BPF_K, 16);
        // RFC 791 §3.1, RFC 8200 §3: where the source address is.
        let sum = if is_ipv4 { vec![load(12)] } else { vec![load(8), multiply, keep, load(12), mix] };
        let choose = step(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, self.workers);
        let fold = [multiply, keep, halve, mix, multiply, halve, choose, step(libc::BPF_RET | libc::BPF_A, 0)];
        sum.into_iter().chain(fold).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_source_meet_at_one_worker_and_sources_spread() {
        let steering = Steering::new(4, 0x9e37_79b9);
        let of = |text: &str| steering.worker_of(text.parse().unwrap());
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        for n in 1..200_u32 {
            let multiplier = n.wrapping_mul(0x9e37_79b9);
            let steering = Steering::new(4, multiplier);
            // Hosts of one network, networks, and addresses that end in the same 18 bits.
            for step in [1, 256, 1 << 18] {
                let mut counts = [0; 4];
                for n in 0..4_000_u32 {
                    counts[steering.worker_of(IpAddr::V4(n.wrapping_mul(step).wrapping_add(0x0a00_0001).into()))] += 1;
                }
                assert!(counts.iter().all(|count| (300..2000).contains(count)), "{multiplier:#x} {step} {counts:?}");
            }
        }
    }
}
