//! Who may exchange packets with whom: the one place where [`PeerPolicy`] is decided.

use std::net::{IpAddr, SocketAddr};

use super::Server;
use crate::address_scope::{AddressScope, embedded_ipv4};
use crate::command::RelayId;
use crate::credential::Principal;
use crate::ledger::Neighbour;
use crate::peer_policy::{Denial, PeerPolicy, Reach};
use crate::room::{MemberId, RoomId, RoomMember};
use crate::slab::Key;

/// Where a packet for an allowed peer goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    /// Out of the relay socket, to this address: the peer's, or where a neighbour's socket is bound.
    Out(SocketAddr),
    /// To the client behind this relay socket of ours.
    Local(RelayId),
}

/// Who counts as "us" for an account under [`PeerPolicy::Room`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Circle {
    Room(RoomId, MemberId),
    /// A static user alone.
    User,
    /// Credentials that nobody has put into a room (yet).
    Nobody,
}

impl Server {
    /// Whether the account's allocations may have a permission for this address, as it is spelled on the wire.
    pub(super) fn may_permit(&self, account: Key, peer: IpAddr) -> Result<Reach, Denial> {
        let account = self.accounts.get(account).ok_or(Denial::OutsideRoom)?.principal();
        let policy = self.policy_of(account);
        if self.is_relay_address(peer) {
            return Ok(Reach::ExactPorts);
        }
        if policy == PeerPolicy::Any {
            return Ok(Reach::Host);
        }
        let scope = AddressScope::of(peer);
        if scope == AddressScope::Forbidden {
            return Err(Denial::SpecialAddress);
        }
        if self.is_own_address(peer) {
            let is_published = self.room_mates_of(account).any(|mate| publishes_address(mate, peer));
            return if is_published { Ok(Reach::ExactPorts) } else { Err(Denial::OwnAddress) };
        }
        match policy {
            PeerPolicy::Any => Ok(Reach::Host),
            PeerPolicy::Public if scope == AddressScope::Public => Ok(Reach::Host),
            PeerPolicy::Public => Err(Denial::SpecialAddress),
            PeerPolicy::Room => {
                if self.is_seen_at(account, peer) {
                    Ok(Reach::Host)
                } else if self.room_mates_of(account).any(|mate| publishes_address(mate, peer)) {
                    Ok(Reach::ExactPorts)
                } else if scope == AddressScope::Special {
                    Err(Denial::SpecialAddress)
                } else {
                    Err(Denial::OutsideRoom)
                }
            }
        }
    }

    /// Whether packets may pass between the account's allocations and this very port, and which way.
    pub(super) fn may_exchange(&self, account: Key, peer: SocketAddr, reach: Reach) -> Result<Route, Denial> {
        if reach == Reach::Host {
            return Ok(Route::Out(peer));
        }
        let ours = self.accounts.get(account).ok_or(Denial::OutsideRoom)?.principal();
        if let Some(relay) = self.relay_named.get(&peer) {
            let other = self
                .relays
                .get(relay.0)
                .and_then(|socket| self.allocations.get(socket.allocation?))
                .and_then(|allocation| self.accounts.get(allocation.account))
                .ok_or(Denial::OwnAddress)?;
            return self.join(ours, other.principal(), Route::Local(*relay));
        }
        let with_neighbour = |other: &Neighbour| self.join(ours, &other.holder.principal, Route::Out(other.bound));
        if let Some(verdict) = self.ledger.neighbour(peer, with_neighbour) {
            return verdict;
        }
        let is_published = || self.room_mates_of(ours).any(|mate| mate.transport_addresses.contains(&peer));
        let may = self.policy_of(ours) == PeerPolicy::Any || is_published();
        if may { Ok(Route::Out(peer)) } else { Err(Denial::OwnAddress) }
    }

    /// Lets two clients of this relay talk if they may. Where either is bound to its room, both must be of it.
    fn join(&self, a: &Principal, b: &Principal, route: Route) -> Result<Route, Denial> {
        let is_bound = || [a, b].into_iter().any(|principal| self.policy_of(principal) == PeerPolicy::Room);
        let same_room = || match (self.circle_of(a), self.circle_of(b)) {
            (Circle::Room(a, _), Circle::Room(b, _)) => a == b,
            (Circle::Room(..) | Circle::User | Circle::Nobody, _) => false,
        };
        if a == b || same_room() || !is_bound() { Ok(route) } else { Err(Denial::OutsideRoom) }
    }

    fn policy_of(&self, principal: &Principal) -> PeerPolicy {
        let own = match principal {
            Principal::User(name) => self.credentials.user(name).and_then(|user| user.peer_policy),
            Principal::Tag(_) => None,
        };
        own.unwrap_or(self.config.peer_policy)
    }

    fn circle_of(&self, principal: &Principal) -> Circle {
        match principal {
            Principal::User(_) => Circle::User,
            Principal::Tag(tag) => {
                self.rooms.member(tag).map_or(Circle::Nobody, |member| Circle::Room(member.room, member.member))
            }
        }
    }

    /// What is known of the other members of the account's room.
    fn room_mates_of(&self, principal: &Principal) -> impl Iterator<Item = &RoomMember> {
        let (room, own) = match self.circle_of(principal) {
            Circle::Room(room, member) => (Some(room), Some(member)),
            Circle::User | Circle::Nobody => (None, None),
        };
        let members = room.into_iter().flat_map(|room| self.rooms.members_of(room));
        members.map(|(_, mate)| mate).filter(move |mate| Some(mate.member) != own)
    }

    /// Whether another of the circle was seen at this address: by the shell, or as the source of an allocation.
    fn is_seen_at(&self, principal: &Principal, peer: IpAddr) -> bool {
        match self.circle_of(principal) {
            Circle::Nobody => false,
            Circle::User => self.ledger.allocates_from(principal, peer),
            Circle::Room(room, own) => self.rooms.members_of(room).any(|(tag, mate)| {
                let allocates_from = || self.ledger.allocates_from(&Principal::Tag(tag.into()), peer);
                mate.member != own && (mate.observed.contains(&peer) || allocates_from())
            }),
        }
    }

    /// Whether relay sockets are, or were, at this address: only relayed addresses may be reached there.
    fn is_relay_address(&self, peer: IpAddr) -> bool {
        self.relay_ips.contains(&peer)
    }

    /// Whether packets for this address would end at this host, whatever way it is spelled.
    fn is_own_address(&self, peer: IpAddr) -> bool {
        let is_own = |ip: IpAddr| self.config.own_addresses.contains(&ip) || self.relay_ips.contains(&ip);
        let embedded = match peer {
            IpAddr::V4(_) => [None, None],
            IpAddr::V6(v6) => embedded_ipv4(v6),
        };
        is_own(peer) || embedded.into_iter().flatten().any(|inner| is_own(inner.into()))
    }
}

fn publishes_address(mate: &RoomMember, peer: IpAddr) -> bool {
    mate.transport_addresses.iter().any(|address| address.ip() == peer)
}
