//! The list of agents seen on this network: sightings are merged, bounded and expired here. Pure; time is an argument.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Agents kept at once. When full, agents already known stay and new ones are turned away.
pub const MAX_AGENTS: usize = 256;

/// New agents taken a second from one source address. More are turned away: somebody is making them up.
pub const NEW_AGENTS_PER_SECOND: u32 = 20;

/// Addresses kept for one agent: more than a machine with many interfaces has, fewer than a flood.
const MAX_ADDRESSES: usize = 16;

/// Bytes of TXT data read of one instance (DNS-SD's own advice is far below, RFC 6763 §6.2).
pub const MAX_TXT_BYTES: usize = 512;

/// Source addresses whose rate is remembered.
const MAX_SOURCES: usize = 1024;

/// One observation of one advertised agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The service instance's full name, its identity in DNS-SD.
    pub instance: String,
    /// What the agent calls itself: hostile text.
    pub name: String,
    /// Drawn anew by the agent each time it starts.
    pub boot_id: String,
    /// Protocol version it speaks.
    pub protocol_version: u32,
    /// TCP port of its page and signaling.
    pub port: u16,
    /// Where it may be reached.
    pub addresses: Vec<IpAddr>,
    /// How long the sighting holds unless it is repeated or taken back.
    pub valid_for: Duration,
}

/// An agent on this network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NearbyAgent {
    /// What the agent calls itself: hostile text.
    pub name: String,
    /// Drawn anew by the agent each time it starts; tells two agents of one name apart.
    pub boot_id: String,
    /// Protocol version it speaks.
    pub protocol_version: u32,
    /// TCP port of its page and signaling.
    pub port: u16,
    /// Where it may be reached, IPv4 first.
    pub addresses: Vec<IpAddr>,
}

/// What a sighting did to the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The list is another one now.
    Changed,
    /// Nothing new.
    Unchanged,
    /// Turned away: malformed, our own, over the rate, or the list is full.
    Refused,
}

/// Merges sightings into a bounded list.
#[derive(Debug)]
pub struct Registry {
    own_boot_id: String,
    agents: HashMap<String, Entry>,
    arrivals: HashMap<IpAddr, Arrivals>,
}

#[derive(Debug)]
struct Entry {
    instance: String,
    agent: NearbyAgent,
    expires: Instant,
}

#[derive(Debug)]
struct Arrivals {
    since: Instant,
    count: u32,
}

impl Registry {
    /// An empty list that leaves out the agent with `own_boot_id`.
    #[must_use]
    pub fn new(own_boot_id: String) -> Self {
        Self { own_boot_id, agents: HashMap::new(), arrivals: HashMap::new() }
    }

    /// Takes one sighting.
    pub fn handle_sighting(&mut self, now: Instant, sighting: Sighting) -> Change {
        let Some(source) = sighting.addresses.first().copied() else { return Change::Refused };
        if !is_boot_id(&sighting.boot_id) || sighting.boot_id == self.own_boot_id || sighting.port == 0 {
            return Change::Refused;
        }
        if sighting.name.is_empty() || sighting.name.len() > lanyard_protocol::limits::DEVICE_NAME_BYTES {
            return Change::Refused;
        }
        let known = self.agents.contains_key(&sighting.boot_id);
        if !known && (self.agents.len() >= MAX_AGENTS || !self.may_arrive(now, source)) {
            return Change::Refused;
        }

        let mut addresses = sighting.addresses;
        addresses.sort_by_key(|address| (address.is_ipv6(), *address));
        addresses.dedup();
        addresses.truncate(MAX_ADDRESSES);
        let agent = NearbyAgent {
            name: sighting.name,
            boot_id: sighting.boot_id.clone(),
            protocol_version: sighting.protocol_version,
            port: sighting.port,
            addresses,
        };
        let entry = Entry { instance: sighting.instance, agent, expires: now + sighting.valid_for };
        let before = self.agents.insert(sighting.boot_id.clone(), entry);
        match (before, self.agents.get(&sighting.boot_id)) {
            (Some(before), Some(after)) if before.agent == after.agent => Change::Unchanged,
            _ => Change::Changed,
        }
    }

    /// The instance said goodbye, or its records ran out.
    pub fn handle_goodbye(&mut self, instance: &str) -> Change {
        let before = self.agents.len();
        self.agents.retain(|_, entry| !entry.instance.eq_ignore_ascii_case(instance));
        if self.agents.len() == before { Change::Unchanged } else { Change::Changed }
    }

    /// Forgets what was not repeated in time.
    pub fn handle_timeout(&mut self, now: Instant) -> Change {
        let before = self.agents.len();
        self.agents.retain(|_, entry| entry.expires > now);
        if self.agents.len() == before { Change::Unchanged } else { Change::Changed }
    }

    /// When [`Self::handle_timeout`] has work next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.agents.values().map(|entry| entry.expires).min()
    }

    /// Everyone seen, by name.
    #[must_use]
    pub fn agents(&self) -> Vec<NearbyAgent> {
        let mut agents: Vec<_> = self.agents.values().map(|entry| entry.agent.clone()).collect();
        agents.sort_by(|a, b| (&a.name, &a.boot_id).cmp(&(&b.name, &b.boot_id)));
        agents
    }

    fn may_arrive(&mut self, now: Instant, source: IpAddr) -> bool {
        const WINDOW: Duration = Duration::from_secs(1);
        if self.arrivals.len() >= MAX_SOURCES && !self.arrivals.contains_key(&source) {
            self.arrivals.retain(|_, arrivals| now.duration_since(arrivals.since) < WINDOW);
            if self.arrivals.len() >= MAX_SOURCES {
                return false;
            }
        }
        let arrivals = self.arrivals.entry(source).or_insert(Arrivals { since: now, count: 0 });
        if now.duration_since(arrivals.since) >= WINDOW {
            *arrivals = Arrivals { since: now, count: 0 };
        }
        arrivals.count = arrivals.count.saturating_add(1);
        arrivals.count <= NEW_AGENTS_PER_SECOND
    }
}

/// A boot id is 16 bytes in base64url: anything else did not come from an agent.
fn is_boot_id(text: &str) -> bool {
    text.len() == 22 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn sighting(number: u32) -> Sighting {
        let [_, _, c, d] = number.to_be_bytes();
        Sighting {
            instance: format!("Agent {number}._lanyard._tcp.local."),
            name: format!("Agent {number}"),
            boot_id: format!("boot{number:018}"),
            protocol_version: 1,
            port: 53380,
            addresses: vec![IpAddr::V4(Ipv4Addr::new(10, 0, c, d))],
            valid_for: HOUR,
        }
    }

    fn registry() -> Registry {
        Registry::new("own-boot-id-aaaaaaaaaa".to_owned())
    }

    #[test]
    fn sightings_of_one_agent_become_one_entry() {
        let mut registry = registry();
        let now = Instant::now();
        assert_eq!(registry.handle_sighting(now, sighting(1)), Change::Changed);
        assert_eq!(registry.handle_sighting(now, sighting(1)), Change::Unchanged);
        let renamed = Sighting { name: "Agent 1 (2)".to_owned(), ..sighting(1) };
        assert_eq!(registry.handle_sighting(now, renamed), Change::Changed);
        assert_eq!(registry.agents().len(), 1);
        assert_eq!(registry.agents()[0].name, "Agent 1 (2)");
    }

    #[test]
    fn our_own_announcement_is_left_out() {
        let mut registry = registry();
        let own = Sighting { boot_id: "own-boot-id-aaaaaaaaaa".to_owned(), ..sighting(1) };
        assert_eq!(registry.handle_sighting(Instant::now(), own), Change::Refused);
    }

    #[test]
    fn malformed_sightings_are_refused() {
        let mut registry = registry();
        let now = Instant::now();
        for bad in [
            Sighting { boot_id: "short".to_owned(), ..sighting(1) },
            Sighting { boot_id: "\u{202e}aaaaaaaaaaaaaaaaaaa".to_owned(), ..sighting(1) },
            Sighting { port: 0, ..sighting(1) },
            Sighting { addresses: Vec::new(), ..sighting(1) },
            Sighting { name: String::new(), ..sighting(1) },
            Sighting { name: "x".repeat(65), ..sighting(1) },
        ] {
            assert_eq!(registry.handle_sighting(now, bad), Change::Refused);
        }
        assert!(registry.agents().is_empty());
    }

    #[test]
    fn goodbye_and_expiry_take_an_agent_off_the_list() {
        let mut registry = registry();
        let now = Instant::now();
        registry.handle_sighting(now, sighting(1));
        registry.handle_sighting(now, sighting(2));
        assert_eq!(registry.handle_goodbye("agent 1._lanyard._tcp.local."), Change::Changed);
        assert_eq!(registry.agents().len(), 1);
        assert_eq!(registry.poll_timeout(), Some(now + HOUR));
        assert_eq!(registry.handle_timeout(now + HOUR), Change::Changed);
        assert!(registry.agents().is_empty());
        assert_eq!(registry.poll_timeout(), None);
    }

    #[test]
    fn ten_thousand_made_up_agents_fill_no_more_than_the_limit_and_push_nobody_out() {
        let mut registry = registry();
        let now = Instant::now();
        registry.handle_sighting(now, sighting(0));
        for number in 1..10_000 {
            registry.handle_sighting(now, sighting(number));
        }
        assert_eq!(registry.agents().len(), MAX_AGENTS);
        assert!(registry.agents().iter().any(|agent| agent.name == "Agent 0"));
        assert!(registry.arrivals.len() <= MAX_SOURCES);
    }

    #[test]
    fn one_source_brings_at_most_twenty_new_agents_a_second() {
        let mut registry = registry();
        let now = Instant::now();
        let from_one_source = |number| Sighting { addresses: sighting(0).addresses, ..sighting(number) };
        for number in 0..100 {
            registry.handle_sighting(now, from_one_source(number));
        }
        assert_eq!(registry.agents().len(), NEW_AGENTS_PER_SECOND as usize);
        let next_second = now + Duration::from_secs(1);
        assert_eq!(registry.handle_sighting(next_second, from_one_source(100)), Change::Changed);
    }

    #[test]
    fn addresses_are_bounded_and_ipv4_comes_first() {
        let mut registry = registry();
        let mut many = sighting(1);
        many.addresses = (0..100).map(|n| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, n])).collect();
        many.addresses.push(IpAddr::from([10, 0, 0, 1]));
        registry.handle_sighting(Instant::now(), many);
        let agent = &registry.agents()[0];
        assert_eq!(agent.addresses.len(), MAX_ADDRESSES);
        assert_eq!(agent.addresses[0], IpAddr::from([10, 0, 0, 1]));
    }
}
