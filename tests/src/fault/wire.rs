//! A cable with weather in it: between a host and the bridge every frame passes through this process, which holds it
//! back, lets it overtake, doubles it or spoils it, by numbers of a printed seed.
//!
//! ```text
//! host: eth0 (TAP) ──► Wire ──► portN (TAP) on the router's bridge, and back
//! ```
//!
//! The kernel cuts what it would offload before it hands a frame to a TAP device, so that what is disturbed is what a
//! cable carries: frames of at most 1514 bytes with checksums of their own.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::libc;

use super::Chance;
use crate::lan::{Host, Lan, ip};

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// Longer than a frame with its header.
const FRAME_BYTES: usize = 2048;

/// Frames that are held back each way. More are lost, as in a switch.
const HELD: usize = 16_384;

/// Where the header of a frame ends.
const ETHERNET_BYTES: usize = 14;

/// What happens to frames, each way.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    /// Each frame takes so long.
    pub delay: Duration,
    /// More or less by so much, without overtaking.
    pub jitter: Duration,
    /// In a hundred: those that overtake what is held back. Without a delay the others are held back for a while.
    pub reorder_percent: u64,
    /// In a hundred: those that come twice.
    pub duplicate_percent: u64,
    /// In a hundred: those with a flipped bit.
    pub corrupt_percent: u64,
}

/// How long frames are held back that others overtake.
const OVERTAKEN_BY: Duration = Duration::from_millis(5);

/// Carries frames until the lab is gone.
#[derive(Debug)]
pub struct Wire;

impl Wire {
    /// Takes the place of a host's cable. Nothing may run on the host yet.
    ///
    /// # Errors
    /// There is no `/dev/net/tun`, or `ip` failed.
    pub fn put(lan: &Lan, host: &Host, weather: Weather, chance: &mut Chance) -> Result<Self> {
        host.ip("link del eth0")?;
        let at_host = tap(host.namespace(), "eth0")?;
        let at_bridge = tap(lan.router(), &host.port())?;
        host.configure()?;
        lan.connect(host)?;
        for (from, to) in [(&at_host, &at_bridge), (&at_bridge, &at_host)] {
            carry(from.try_clone()?, to.try_clone()?, Sky { weather, chance: Chance::of(chance.number()), last: None });
        }
        Ok(Self)
    }
}

/// What each frame is told.
struct Sky {
    weather: Weather,
    chance: Chance,
    /// When the last frame that does not overtake arrives.
    last: Option<Instant>,
}

impl Sky {
    fn happens(&mut self, percent: u64) -> bool {
        self.chance.below(100) < percent
    }

    /// When a frame that came now arrives.
    fn arrival(&mut self, now: Instant) -> Instant {
        let Weather { delay, jitter, reorder_percent, .. } = self.weather;
        let overtakes = self.happens(reorder_percent);
        if overtakes {
            return now;
        }
        let held = if reorder_percent > 0 { delay.max(OVERTAKEN_BY) } else { delay };
        let varied = (held + self.chance.time(jitter * 2)).saturating_sub(jitter);
        let arrival = (now + varied).max(self.last.unwrap_or(now));
        self.last = Some(arrival);
        arrival
    }

    fn spoil(&mut self, frame: &mut [u8]) {
        if frame.len() > ETHERNET_BYTES {
            let at = ETHERNET_BYTES + self.chance.below((frame.len() - ETHERNET_BYTES) as u64) as usize;
            frame[at] ^= 1 << self.chance.below(8);
        }
    }
}

/// Two threads that end with the device: one reads and decides, one waits and writes.
fn carry(mut from: File, mut to: File, mut sky: Sky) {
    let (sender, receiver) = mpsc::sync_channel::<(Instant, Vec<u8>)>(HELD);
    std::thread::spawn(move || {
        let mut buffer = [0; FRAME_BYTES];
        while let Ok(len) = from.read(&mut buffer) {
            let mut frame = buffer[..len].to_vec();
            if sky.happens(sky.weather.corrupt_percent) {
                sky.spoil(&mut frame);
            }
            let copies = if sky.happens(sky.weather.duplicate_percent) { 2 } else { 1 };
            for _ in 0..copies {
                let arrival = sky.arrival(Instant::now());
                if let Err(mpsc::TrySendError::Disconnected(_)) = sender.try_send((arrival, frame.clone())) {
                    return;
                }
            }
        }
    });
    std::thread::spawn(move || {
        // Frames that arrive together keep their order.
        let mut held: BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>> = BinaryHeap::new();
        let mut count = 0;
        loop {
            let next = held.peek().map(|Reverse((arrival, _, _))| *arrival);
            let wait = next.map_or(Duration::MAX, |next| next.saturating_duration_since(Instant::now()));
            if wait.is_zero()
                && let Some(Reverse((_, _, frame))) = held.pop()
            {
                // What nobody takes is lost.
                let _ = to.write(&frame);
                continue;
            }
            match receiver.recv_timeout(wait) {
                Ok((arrival, frame)) => {
                    count += 1;
                    held.push(Reverse((arrival, count, frame)));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    });
}

/// A TAP device that becomes `name` in a namespace; it is made here first, and its file stays with it.
fn tap(namespace: &str, name: &str) -> Result<File> {
    let first_name =
        format!("lyt{}x{}", std::process::id() % 1_000_000, COUNTER.fetch_add(1, Ordering::Relaxed) % 1_000);
    let file = OpenOptions::new().read(true).write(true).open("/dev/net/tun").context("no /dev/net/tun")?;
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: (libc::IFF_TAP | libc::IFF_NO_PI) as libc::c_short },
    };
    for (to, byte) in request.ifr_name.iter_mut().zip(first_name.bytes()) {
        *to = byte as libc::c_char;
    }
    #[expect(unsafe_code, reason = "no wrapper makes a TAP device")]
    // SAFETY: the file is one of `/dev/net/tun`, and the request is whole and outlives the call, which keeps none of it.
    let made = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw const request) };
    if made != 0 {
        return Err(io::Error::last_os_error()).context("could not make a TAP device");
    }
    ip(&["link", "set", &first_name, "netns", namespace, "name", name])?;
    Ok(file)
}
