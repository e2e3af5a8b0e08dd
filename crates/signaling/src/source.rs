//! Where connections come from, as far as limits care.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use crate::Limits;
use crate::rate::Meter;

/// One IPv4 address, or the /64 of an IPv6 address: what one household or host has at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceKey(IpAddr);

impl SourceKey {
    /// The source an address belongs to. An IPv4-mapped IPv6 address is the IPv4 address.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(v4) => Self(IpAddr::V4(v4)),
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                Self(IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0)))
            }
        }
    }
}

/// What one source holds and did lately.
#[derive(Debug, Default)]
pub(crate) struct Source {
    pub(crate) sockets: usize,
    pub(crate) mailboxes: usize,
    pub(crate) listed: usize,
    pub(crate) stored_bytes: usize,
    pub(crate) allocations: Meter,
    pub(crate) claims: Claims,
    pub(crate) dials: Meter,
}

impl Source {
    fn holds_nothing(&self) -> bool {
        self.sockets == 0 && self.mailboxes == 0 && self.listed == 0 && self.stored_bytes == 0
    }

    fn idle_at(&self) -> Option<Instant> {
        [self.allocations.idle_at(), self.dials.idle_at(), self.claims.idle_at()].into_iter().flatten().max()
    }
}

/// The tries of nameplates in the last hour. Guessing is what this slows down, so it is counted exactly; the list is
/// never longer than [`Limits::claims_per_hour`].
#[derive(Debug, Default)]
pub(crate) struct Claims {
    at: VecDeque<Instant>,
}

impl Claims {
    /// Counts a try, unless it is one too many.
    pub(crate) fn take(&mut self, limits: &Limits, now: Instant) -> bool {
        while self.at.front().is_some_and(|at| now.duration_since(*at) >= HOUR) {
            self.at.pop_front();
        }
        let last_minute = self.at.iter().rev().take_while(|at| now.duration_since(**at) < MINUTE).count();
        let fits = last_minute < limits.claims_per_minute && self.at.len() < limits.claims_per_hour;
        if fits {
            self.at.push_back(now);
        }
        fits
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at.is_empty()
    }

    fn idle_at(&self) -> Option<Instant> {
        self.at.back().map(|at| *at + HOUR)
    }
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// How long a source that holds nothing must be remembered, because of what it did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    Forgotten,
    KeptWhileUsed,
    KeptUntil(Instant),
}

/// All sources that hold something or did something lately.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    by_key: BTreeMap<SourceKey, Source>,
}

impl Sources {
    /// The record of a source, a fresh one where there is none. Pair it with [`Sources::settle`].
    pub(crate) fn entry(&mut self, key: SourceKey) -> &mut Source {
        self.by_key.entry(key).or_default()
    }

    /// Forgets the source if nothing of it matters any more.
    pub(crate) fn settle(&mut self, key: SourceKey, now: Instant) -> Memory {
        let Some(source) = self.by_key.get(&key) else { return Memory::Forgotten };
        if !source.holds_nothing() {
            return Memory::KeptWhileUsed;
        }
        match source.idle_at().filter(|at| *at > now) {
            Some(at) => Memory::KeptUntil(at),
            None => {
                self.by_key.remove(&key);
                Memory::Forgotten
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_addresses_of_one_64_are_one_source_and_mapped_ipv4_is_ipv4() {
        let of = |text: &str| SourceKey::of(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::9"));
        assert_ne!(of("2001:db8:1:2::1"), of("2001:db8:1:3::1"));
        assert_eq!(of("::ffff:192.0.2.7"), of("192.0.2.7"));
        assert_ne!(of("192.0.2.7"), of("192.0.2.8"));
    }
}
