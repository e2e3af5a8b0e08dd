//! Payloads on their way: Send, Data and ChannelData (RFC 8656 §11, §12). Nothing here allocates, copies or logs.

use std::net::SocketAddr;
use std::time::Instant;

use super::Server;
use super::peers::Route;
use crate::allocation::Allocation;
use crate::channel_data::ChannelData;
use crate::command::{Forward, ForwardHeader, ForwardToClient, ForwardToPeer, RelayId};
use crate::five_tuple::FiveTuple;
use crate::peer_policy::Reach;
use crate::slab::Key;
use crate::stun::{
    AddressFamily, AttributeKind, Class, MAGIC_COOKIE, Message, MessageWriter, Method, TransactionId,
    decode_xor_address, xor_address_bytes,
};

/// The type of a Data indication (RFC 8656 §17).
const DATA_INDICATION: [u8; 2] = [0x00, 0x17];

/// Which ICMP it was: types mean different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IcmpFamily {
    /// ICMP (RFC 792).
    V4,
    /// ICMPv6 (RFC 4443).
    V6,
}

/// An ICMP message that a packet to a peer caused (RFC 8656 §11.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Icmp {
    /// The protocol.
    pub family: IcmpFamily,
    /// Its type.
    pub kind: u8,
    /// Its code.
    pub code: u8,
    /// The next link's MTU for "too big" (ICMPv4 3/4, ICMPv6 2); taken for 0 in all others.
    pub mtu: u32,
}

impl Icmp {
    /// Whether clients are told of this: errors about reaching the peer (RFC 8656 §11.5).
    fn is_of_interest(&self) -> bool {
        match self.family {
            IcmpFamily::V4 => matches!(self.kind, 3 | 11),
            IcmpFamily::V6 => matches!(self.kind, 1..=3),
        }
    }

    /// The attribute's value (RFC 8656 §18.13): 16 reserved bits, type in 7, code in 9, then 32 bits of data.
    fn value(&self) -> [u8; 8] {
        let is_too_big = match self.family {
            IcmpFamily::V4 => (self.kind, self.code) == (3, 4),
            IcmpFamily::V6 => self.kind == 2,
        };
        let type_and_code = u16::from(self.kind & 0x7f) << 9 | u16::from(self.code);
        let [high, low] = type_and_code.to_be_bytes();
        let [m0, m1, m2, m3] = if is_too_big { self.mtu } else { 0 }.to_be_bytes();
        [0, 0, high, low, m0, m1, m2, m3]
    }
}

impl Server {
    /// ChannelData from a client (RFC 8656 §12.6).
    pub(super) fn handle_channel_data<'a>(
        &mut self,
        now: Instant,
        tuple: &FiveTuple,
        datagram: &'a [u8],
    ) -> Option<Forward<'a>> {
        let Ok(ChannelData { channel, payload }) = ChannelData::decode(datagram) else {
            self.metrics.malformed += 1;
            return None;
        };
        let found = self.allocation_of.get(tuple).and_then(|key| {
            let (peer, reach) = self.allocations.get(*key)?.channel(channel, now)?;
            Some((*key, peer, reach))
        });
        let Some((key, peer, reach)) = found else {
            self.metrics.dropped_from_client += 1;
            return None;
        };
        self.forward_to_peer(now, key, peer, reach, payload, false)
    }

    /// A Send indication (RFC 8656 §11.2). Whatever is wrong with it, there is no answer.
    pub(super) fn handle_send<'a>(
        &mut self,
        now: Instant,
        tuple: &FiveTuple,
        message: &Message<'a>,
    ) -> Option<Forward<'a>> {
        let mut peer = None;
        let mut payload = None;
        let mut dont_fragment = false;
        for attribute in message.attributes() {
            match attribute.kind {
                AttributeKind::XOR_PEER_ADDRESS => {
                    peer = peer.or_else(|| decode_xor_address(attribute.value, message.transaction_id()));
                }
                AttributeKind::DATA => payload = payload.or(Some(attribute.value)),
                AttributeKind::DONT_FRAGMENT if self.config.dont_fragment => dont_fragment = true,
                kind if kind.is_comprehension_required() => {
                    self.metrics.malformed += 1;
                    return None;
                }
                _ => {}
            }
        }
        let Some((peer, payload)) = peer.zip(payload).filter(|(peer, _)| peer.port() != 0) else {
            self.metrics.malformed += 1;
            return None;
        };
        let found = self.allocation_of.get(tuple).and_then(|key| {
            let reach = self.allocations.get(*key)?.permission(peer.ip(), now)?;
            Some((*key, reach))
        });
        let Some((key, reach)) = found else {
            self.metrics.dropped_from_client += 1;
            return None;
        };
        self.forward_to_peer(now, key, peer, reach, payload, dont_fragment)
    }

    /// Takes one datagram that arrived at a relay socket. `Some` is to be sent to the client as it is.
    pub fn handle_peer_datagram<'a>(
        &mut self,
        now: Instant,
        relay: RelayId,
        peer: SocketAddr,
        payload: &'a [u8],
    ) -> Option<ForwardToClient<'a>> {
        let found = self.relays.get(relay.0).and_then(|socket| {
            let key = socket.allocation.filter(|_| AddressFamily::of(peer.ip()) == socket.family())?;
            let allocation = self.allocations.get(key)?;
            let (peer, reach) = self.permitted(now, allocation, peer)?;
            let may = reach == Reach::Host || self.may_exchange(allocation.account, peer, reach).is_ok();
            may.then_some((key, peer))
        });
        let Some((key, peer)) = found else {
            self.metrics.dropped_from_peer += 1;
            return None;
        };
        self.forward_to_client(now, key, peer, payload)
    }

    /// The permission for a peer, and the name that the client knows it by. A neighbour's packets come from where its
    /// socket is bound; the client has heard of the advertised address before any other.
    fn permitted(&self, now: Instant, allocation: &Allocation, peer: SocketAddr) -> Option<(SocketAddr, Reach)> {
        let own = allocation.permission(peer.ip(), now).map(|reach| (peer, reach));
        if own.is_some_and(|(_, reach)| reach == Reach::Host) {
            return own;
        }
        let advertised = self.ledger.neighbour(peer, |neighbour| neighbour.advertised);
        let of_name = |name: SocketAddr| Some((name, allocation.permission(name.ip(), now)?));
        advertised.and_then(of_name).or(own)
    }

    /// Tells a client of an ICMP message that one of its packets caused.
    pub fn handle_peer_icmp(&mut self, now: Instant, relay: RelayId, peer: SocketAddr, icmp: Icmp) {
        let found = self.relays.get(relay.0).and_then(|socket| {
            let allocation = self.allocations.get(socket.allocation?)?;
            Some((allocation.tuple, self.permitted(now, allocation, peer)?.0))
        });
        let Some((tuple, peer)) = found else { return };
        if !icmp.is_of_interest() {
            return;
        }
        let id = self.next_indication();
        self.outbox.reply(tuple, |buffer| {
            let mut writer = MessageWriter::new(buffer, Class::Indication, Method::DATA, id);
            writer.xor_address(AttributeKind::XOR_PEER_ADDRESS, peer);
            writer.attribute(AttributeKind::ICMP, &icmp.value());
            writer.finish().ok()
        });
    }

    fn forward_to_peer<'a>(
        &mut self,
        now: Instant,
        key: Key,
        peer: SocketAddr,
        reach: Reach,
        payload: &'a [u8],
        dont_fragment: bool,
    ) -> Option<Forward<'a>> {
        let allocation = self.allocations.get(key)?;
        let (account, transport) = (allocation.account, allocation.tuple.transport);
        let relay = allocation.relays.of(AddressFamily::of(peer.ip()))?;
        let route = match self.may_exchange(account, peer, reach) {
            Ok(route) => route,
            Err(denial) => {
                self.metrics.count_denial(denial);
                return None;
            }
        };
        if !self.charge(now, account, payload.len()) {
            return None;
        }
        self.metrics.count_to_peer(transport, payload.len());
        match route {
            Route::Out(peer) => Some(Forward::ToPeer(ForwardToPeer { relay, peer, payload, dont_fragment })),
            Route::Local(target) => self.forward_locally(now, relay, target, payload).map(Forward::ToClient),
        }
    }

    /// The short cut: from one client of this server to another, as if through both relay sockets.
    fn forward_locally<'a>(
        &mut self,
        now: Instant,
        from: RelayId,
        to: RelayId,
        payload: &'a [u8],
    ) -> Option<ForwardToClient<'a>> {
        let from = self.relays.get(from.0)?;
        let key = self.relays.get(to.0)?.allocation?;
        let receiver = self.allocations.get(key)?;
        // The receiver may know the sender by either name.
        let name = from.names().find(|name| receiver.permission(name.ip(), now).is_some());
        let Some(name) = name else {
            self.metrics.dropped_from_peer += 1;
            return None;
        };
        let forward = self.forward_to_client(now, key, name, payload)?;
        self.metrics.local_packets += 1;
        Some(forward)
    }

    /// Frames a payload for the client: ChannelData where a channel is bound, else a Data indication.
    fn forward_to_client<'a>(
        &mut self,
        now: Instant,
        key: Key,
        peer: SocketAddr,
        payload: &'a [u8],
    ) -> Option<ForwardToClient<'a>> {
        let allocation = self.allocations.get(key)?;
        let (tuple, account) = (allocation.tuple, allocation.account);
        let channel = allocation.channel_of(peer, now);
        if !self.charge(now, account, payload.len()) {
            return None;
        }
        let padding = payload.len().next_multiple_of(4) - payload.len();
        let (header, padding) = match channel {
            // Over UDP ChannelData ends with its payload; in a stream it is padded (RFC 8656 §12.5).
            Some(channel) => {
                let header = ForwardHeader::from_parts(&[&ChannelData::header(channel, payload.len())?]);
                (header, if tuple.transport.is_stream() { padding } else { 0 })
            }
            None => (self.data_header(peer, payload.len(), padding)?, padding),
        };
        self.metrics.count_to_client(tuple.transport, payload.len());
        Some(ForwardToClient { tuple, header, payload, padding: padding as u8 })
    }

    /// A Data indication up to its payload (RFC 8656 §11.3).
    fn data_header(&mut self, peer: SocketAddr, len: usize, padding: usize) -> Option<ForwardHeader> {
        let id = self.next_indication();
        let (address, address_len) = xor_address_bytes(peer, id);
        let address = address.get(..address_len)?;
        let length = u16::try_from(4 + address_len + 4 + len + padding).ok()?.to_be_bytes();
        Some(ForwardHeader::from_parts(&[
            &DATA_INDICATION,
            &length,
            &MAGIC_COOKIE.to_be_bytes(),
            &id.0,
            &AttributeKind::XOR_PEER_ADDRESS.0.to_be_bytes(),
            &(address_len as u16).to_be_bytes(),
            address,
            &AttributeKind::DATA.0.to_be_bytes(),
            &u16::try_from(len).ok()?.to_be_bytes(),
        ]))
    }

    /// Takes a payload from the account's bandwidth and the day's cap.
    fn charge(&mut self, now: Instant, account: Key, bytes: usize) -> bool {
        let daily_cap = self.config.limits.daily_egress_bytes;
        let fits = daily_cap.is_none_or(|cap| self.ledger.egress().take(now, cap, bytes))
            && self.rate.is_none_or(|rate| {
                self.accounts.get(account).is_some_and(|account| account.holder.bucket.take(now, rate, bytes))
            });
        self.metrics.dropped_over_limit += u64::from(!fits);
        fits
    }

    /// A transaction ID for an indication. Nothing answers it, so it need only differ from the last ones.
    fn next_indication(&mut self) -> TransactionId {
        self.indications_sent = self.indications_sent.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut id = [0; 12];
        for (slot, byte) in id.iter_mut().zip(self.indications_sent.to_be_bytes()) {
            *slot = byte;
        }
        TransactionId(id)
    }
}
