//! How many allocations come from one place.

use std::net::IpAddr;

use crate::config::Limits;
use crate::keyed_map::KeyedMap;
use crate::reply_budget::source_prefix;

/// Allocations by source: an IPv4 address or IPv6 /64, and around it an IPv4 /24 or IPv6 /48.
///
/// Bounded by the number of allocations.
#[derive(Debug)]
pub(crate) struct SourceQuotas {
    total: u32,
    sources: KeyedMap<u128, u32>,
    networks: KeyedMap<u128, u32>,
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QuotaReached {
    Credential,
    Source,
    Total,
}

impl SourceQuotas {
    pub(crate) fn new(seed: u64) -> Self {
        Self { total: 0, sources: KeyedMap::new(seed), networks: KeyedMap::new(seed) }
    }

    /// Counts one more, unless that is one too many.
    pub(crate) fn take(&mut self, source: IpAddr, limits: &Limits) -> Result<(), QuotaReached> {
        if self.total >= limits.allocations {
            return Err(QuotaReached::Total);
        }
        let held = |counts: &KeyedMap<u128, u32>, prefix| counts.get(&prefix).copied().unwrap_or(0);
        if held(&self.sources, source_prefix(source)) >= limits.allocations_per_source
            || held(&self.networks, network_prefix(source)) >= limits.allocations_per_network
        {
            return Err(QuotaReached::Source);
        }
        self.total += 1;
        *self.sources.entry(source_prefix(source)).or_default() += 1;
        *self.networks.entry(network_prefix(source)).or_default() += 1;
        Ok(())
    }

    /// Takes one back that was counted.
    pub(crate) fn give_back(&mut self, source: IpAddr) {
        self.total = self.total.saturating_sub(1);
        self.sources.decrement(&source_prefix(source));
        self.networks.decrement(&network_prefix(source));
    }
}

fn network_prefix(source: IpAddr) -> u128 {
    match source.to_canonical() {
        IpAddr::V4(v4) => u128::from(v4.to_bits() >> 8 << 8) | 1 << 63,
        IpAddr::V6(v6) => v6.to_bits() >> 80 << 80,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_and_networks_have_quotas_of_their_own() {
        let limits =
            Limits { allocations: 100, allocations_per_source: 2, allocations_per_network: 3, ..Limits::default() };
        let mut quotas = SourceQuotas::new(1);
        let mut take = |text: &str| quotas.take(text.parse().unwrap(), &limits);
        assert_eq!(take("192.0.2.1"), Ok(()));
        assert_eq!(take("192.0.2.1"), Ok(()));
        assert_eq!(take("::ffff:192.0.2.1"), Err(QuotaReached::Source));
        assert_eq!(take("192.0.2.2"), Ok(()));
        assert_eq!(take("192.0.2.3"), Err(QuotaReached::Source));
        assert_eq!(take("192.0.3.3"), Ok(()));
        assert_eq!(take("2001:db8::1"), Ok(()));
        assert_eq!(take("2001:db8::2"), Ok(()));
        assert_eq!(take("2001:db8::3"), Err(QuotaReached::Source));
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_and_leaves_nothing() {
        let limits = Limits { allocations: 1, ..Limits::default() };
        let mut quotas = SourceQuotas::new(1);
        let source = "192.0.2.1".parse().unwrap();
        for _ in 0..3 {
            assert_eq!(quotas.take(source, &limits), Ok(()));
            assert_eq!(quotas.take(source, &limits), Err(QuotaReached::Total));
            quotas.give_back(source);
        }
        assert!(quotas.sources.is_empty() && quotas.networks.is_empty());
    }
}
