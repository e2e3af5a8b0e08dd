//! Changes while packets flow: what is still allowed goes on without a gap, what is not is cut at once.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use super::authenticate::Sender;
use super::{MAX_RETIRED_ADDRESSES, Server};
use crate::account::Account;
use crate::byte_bucket::Rate;
use crate::config::{Limits, RelayAddress};
use crate::credential::{Principal, SharedSecret, StaticUser};
use crate::five_tuple::FiveTuple;
use crate::peer_policy::PeerPolicy;
use crate::relay_socket::names;
use crate::room::{RoomId, RoomMember};
use crate::slab::Key;
use crate::stun::{AttributeKind, Class, ErrorCode, Message};

/// Whether new allocations are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Yes.
    Open,
    /// No: 300 and where to go instead, or 508. Existing ones go on until they end.
    Draining {
        /// Where to go, if anywhere.
        alternate: Option<AlternateServer>,
    },
}

/// Another server that clients are sent to (RFC 8489 §10).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlternateServer {
    /// Its address. Clients of the other family get a 508 instead.
    pub address: SocketAddr,
    /// The name in its certificate, for clients that come over TLS.
    pub domain: Option<String>,
}

impl Server {
    /// Sets the rule for peers.
    pub fn set_peer_policy(&mut self, policy: PeerPolicy) {
        self.config.peer_policy = policy;
        self.recheck_all();
    }

    /// Sets the secrets. Allocations made with one that is gone end.
    pub fn set_secrets(&mut self, secrets: Vec<SharedSecret>) {
        self.credentials.set_secrets(secrets);
        self.recheck_all();
    }

    /// Sets the static users. Allocations of one that is gone, or whose password changed, end.
    pub fn set_users(&mut self, users: Vec<StaticUser>) {
        self.credentials.set_users(users);
        self.recheck_all();
    }

    /// Sets the limits. They hold for what is asked for from now on; nothing that exists is cut.
    pub fn set_limits(&mut self, limits: Limits) {
        self.config.limits = limits;
        self.rate = limits.bandwidth.map(Rate::new);
    }

    /// Sets where new relay sockets are bound and what this host's own addresses are. Allocations at addresses that
    /// are gone get a 437 with their next request, so that their clients start anew (RFC 8656 §5).
    pub fn set_addresses(&mut self, relay_addresses: Vec<RelayAddress>, own_addresses: Vec<IpAddr>) {
        let mut relay_ips: Vec<IpAddr> = relay_addresses.iter().copied().flat_map(names).collect();
        let retired = self.relay_ips.iter().filter(|ip| !relay_ips.contains(ip)).take(MAX_RETIRED_ADDRESSES);
        let retired: Vec<IpAddr> = retired.copied().collect();
        relay_ips.extend(retired);
        self.relay_ips = relay_ips;
        self.config.relay_addresses = relay_addresses;
        self.config.own_addresses = own_addresses;
        self.recheck_all();
    }

    /// Opens the server to new allocations, or drains it.
    pub fn set_admission(&mut self, admission: Admission) {
        self.admission = admission;
    }

    /// Says who bears the credentials with this tag. Do so before the credentials are handed out.
    pub fn set_member(&mut self, tag: &str, member: RoomMember) {
        for room in self.rooms.set(tag.as_bytes(), member).into_iter().flatten() {
            self.recheck_room(room);
        }
        // It may have moved out of reach of what it had.
        self.recheck_principal(&Principal::Tag(tag.as_bytes().into()));
    }

    /// Says that the bearer of this tag has left its room. Its allocations end, and others lose sight of it.
    pub fn remove_member(&mut self, tag: &str) {
        let Some(room) = self.rooms.remove(tag.as_bytes()) else { return };
        let principal = Principal::Tag(tag.as_bytes().into());
        let account = self.accounts.find(&principal);
        let keys: Vec<Key> = account.map(|account| account.allocations.clone()).unwrap_or_default();
        for key in keys {
            self.metrics.cut_by_reload += 1;
            self.remove_allocation(key);
        }
        self.recheck_room(room);
    }

    /// When the relay socket's allocation runs out, for the shell's own housekeeping and for tests.
    pub fn allocation_expires_at(&self, tuple: &FiveTuple) -> Option<Instant> {
        let key = self.allocation_of.get(tuple)?;
        self.allocations.get(*key).map(|allocation| allocation.expires_at)
    }

    /// Sends the client to another server (RFC 8489 §10).
    pub(super) fn redirect(
        &mut self,
        tuple: FiveTuple,
        request: &Message<'_>,
        sender: &Sender,
        alternate: &AlternateServer,
    ) {
        let code = ErrorCode::TRY_ALTERNATE;
        self.metrics.count_refusal(code);
        self.answer(tuple, request, sender, Class::Error, |writer| {
            writer.error_code(code, code.reason());
            writer.address(AttributeKind::ALTERNATE_SERVER, alternate.address);
            if let Some(domain) = &alternate.domain {
                writer.attribute(AttributeKind::ALTERNATE_DOMAIN, domain.as_bytes());
            }
        });
    }

    fn recheck_room(&mut self, room: RoomId) {
        let tags: Vec<Principal> = self.rooms.members_of(room).map(|(tag, _)| Principal::Tag(tag.into())).collect();
        for principal in tags {
            self.recheck_principal(&principal);
        }
    }

    fn recheck_principal(&mut self, principal: &Principal) {
        let account = self.accounts.find(principal);
        let keys: Vec<Key> = account.map(|account| account.allocations.clone()).unwrap_or_default();
        for key in keys {
            self.recheck(key);
        }
    }

    fn recheck_all(&mut self) {
        let keys: Vec<Key> = self.allocations.keys().collect();
        for key in keys {
            self.recheck(key);
        }
    }

    /// Puts an allocation, its permissions and its channels to the question again.
    fn recheck(&mut self, key: Key) {
        let Some(allocation) = self.allocations.get(key) else { return };
        let (account, print) = (allocation.account, allocation.print);
        let principal = self.accounts.get(account).map(Account::principal);
        if principal.is_none_or(|principal| !self.credentials.is_in_force(principal, print)) {
            self.metrics.cut_by_reload += 1;
            self.remove_allocation(key);
            return;
        }
        let verdicts: Vec<_> = allocation.peers().map(|ip| (ip, self.may_permit(account, ip).ok())).collect();
        let verdict = |peer: IpAddr| verdicts.iter().find(|(ip, _)| *ip == peer).and_then(|(_, reach)| *reach);
        if let Some(allocation) = self.allocations.get_mut(key) {
            let cut = allocation.retain_peers(|ip, _| verdict(ip));
            self.metrics.cut_by_reload += cut as u64;
        }
    }
}
