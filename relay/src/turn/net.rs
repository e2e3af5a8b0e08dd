//! All the sockets of a worker, and what is on its way out of them.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Instant;

use lanyard_turn_core::{
    Command, FiveTuple, Forward, ForwardToClient, ForwardToPeer, PortRequest, RelayId, RelaySocketUnavailable, Server,
};
use tracing::{debug, warn};

use super::config::DataPlane;
use super::control::StreamId;
use super::datagrams::Inbox;
use super::icmp::{self, IcmpError};
use super::outgoing::{Outgoing, SocketNumber};
use super::poller::Poller;
use super::sockets::{self, Listener, RelaySocket};
use super::stream_queue::StreamQueue;

/// The number of the first relay socket. Listeners have those before.
pub(super) const FIRST_RELAY: SocketNumber = 1024;
/// Packets in a row to one peer after which a socket is connected to it.
const STEADY: u32 = 64;

/// A client that came over TCP or TLS.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) queue: Arc<StreamQueue>,
}

/// The sockets.
pub(super) struct Net {
    poller: Poller,
    pub(super) listeners: Vec<Listener>,
    relays: Vec<Option<RelaySocket>>,
    free: Vec<usize>,
    /// To be closed once what is on its way out of them is sent; then their numbers are free.
    closing: Vec<usize>,
    /// Sockets that have sent so much to one peer that being connected pays.
    steady: Vec<RelayId>,
    number_of: HashMap<RelayId, SocketNumber, foldhash::fast::RandomState>,
    pub(super) streams: HashMap<FiveTuple, Stream, foldhash::fast::RandomState>,
    ports: RangeInclusive<u16>,
    data_plane: DataPlane,
    pub(super) outgoing: Outgoing,
    pub(super) stream_overflow: u64,
    /// Datagrams that relay sockets dropped because they were not read in time, those that are closed included.
    pub(super) relay_overflow: u64,
}

/// Does what the machine asks for.
pub(super) fn carry_out(server: &mut Server, net: &mut Net, now: Instant) {
    while let Some(command) = server.poll_command() {
        match command {
            Command::SendToClient { tuple, message } => net.reply(tuple, message),
            Command::OpenRelaySocket { relay, bind, port } => {
                let opened = net.open_relay(relay, bind, port);
                server.relay_socket_opened(now, relay, opened);
            }
            Command::CloseRelaySocket { relay } => net.close_relay(relay),
        }
    }
}

impl Net {
    /// The listeners are watched under their places, which must be fewer than [`FIRST_RELAY`].
    pub(super) fn new(
        data_plane: DataPlane,
        poller: Poller,
        mut listeners: Vec<Listener>,
        ports: RangeInclusive<u16>,
    ) -> io::Result<Self> {
        for (number, listener) in listeners.iter_mut().enumerate() {
            poller.watch(&mut listener.socket, number as u64)?;
        }
        Ok(Self {
            poller,
            listeners,
            relays: Vec::new(),
            free: Vec::new(),
            closing: Vec::new(),
            steady: Vec::new(),
            number_of: HashMap::default(),
            streams: HashMap::default(),
            ports,
            outgoing: Outgoing::new(data_plane),
            data_plane,
            stream_overflow: 0,
            relay_overflow: 0,
        })
    }

    pub(super) fn poller(&mut self) -> &mut Poller {
        &mut self.poller
    }

    /// How many relay sockets are open.
    pub(super) fn open_relays(&self) -> usize {
        self.number_of.len()
    }

    pub(super) fn relay(&self, number: SocketNumber) -> Option<&RelaySocket> {
        self.relays.get(number.checked_sub(FIRST_RELAY)? as usize)?.as_ref()
    }

    fn relay_mut(&mut self, number: SocketNumber) -> Option<&mut RelaySocket> {
        self.relays.get_mut(number.checked_sub(FIRST_RELAY)? as usize)?.as_mut()
    }

    /// Notes how many datagrams a relay socket has dropped so far.
    pub(super) fn note_overflow(&mut self, number: SocketNumber, dropped: u32) {
        let Some(socket) = self.relay_mut(number) else { return };
        let more = dropped.wrapping_sub(std::mem::replace(&mut socket.dropped, dropped));
        self.relay_overflow += u64::from(more);
    }

    /// The next ICMP error that a packet of this relay socket caused.
    pub(super) fn next_icmp(&self, number: SocketNumber) -> Option<(RelayId, IcmpError)> {
        let socket = self.relay(number)?;
        icmp::next_error(&socket.socket).map(|error| (socket.relay, error))
    }

    pub(super) fn forward(&mut self, inbox: &Inbox, forward: &Forward<'_>) {
        match forward {
            Forward::ToPeer(forward) => self.send_to_peer(inbox, forward),
            Forward::ToClient(forward) => self.send_to_client(inbox, forward),
        }
    }

    fn send_to_peer(&mut self, inbox: &Inbox, forward: &ForwardToPeer<'_>) {
        let ForwardToPeer { relay, peer, payload, dont_fragment } = *forward;
        let Some(number) = self.number_of.get(&relay).copied() else { return };
        // Where errors are kept and trains taken, ports can be shared as well.
        let connects = self.data_plane.is_batched();
        let Some(socket) = self.relay_mut(number) else { return };
        socket.tune();
        if dont_fragment {
            if let Err(error) = sockets::send_unfragmented(&socket.socket, peer, payload) {
                debug!(%error, "a datagram that must not be cut was refused");
                self.outgoing.counters.failed += 1;
            }
            return;
        }
        let (number, to) = match socket.twin {
            Some(twin) if twin.peer == peer => (twin.number, None),
            _ => (number, Some(peer)),
        };
        if connects && to.is_some() && socket.is_steady(peer) {
            self.steady.push(relay);
        }
        match inbox.position(payload) {
            Some(body) => self.outgoing.push(number, (to, None), &[], body, 0),
            // It came by a stream, whose buffer will be gone.
            None => self.outgoing.push(number, (to, None), payload, 0..0, 0),
        }
    }

    pub(super) fn send_to_client(&mut self, inbox: &Inbox, forward: &ForwardToClient<'_>) {
        let tuple = forward.tuple;
        if tuple.transport.is_stream() {
            return self.send_to_stream(tuple, &forward.slices());
        }
        let Some((number, from)) = self.listener_for(tuple) else { return };
        let (head, path) = (forward.header.as_bytes(), (Some(tuple.client), from));
        match inbox.position(forward.payload) {
            Some(body) => self.outgoing.push(number, path, head, body, forward.padding),
            None => {
                let whole = forward.slices().concat();
                self.outgoing.push(number, path, &whole, 0..0, 0);
            }
        }
    }

    fn reply(&mut self, tuple: FiveTuple, message: &[u8]) {
        if tuple.transport.is_stream() {
            return self.send_to_stream(tuple, &[message]);
        }
        if let Some((number, from)) = self.listener_for(tuple) {
            self.outgoing.push(number, (Some(tuple.client), from), message, 0..0, 0);
        }
    }

    fn send_to_stream(&mut self, tuple: FiveTuple, parts: &[&[u8]]) {
        if let Some(stream) = self.streams.get(&tuple)
            && !stream.queue.push(parts)
        {
            self.stream_overflow += 1;
        }
    }

    /// The listener that a client came by, and the address to answer from where that is not the listener's only one.
    fn listener_for(&self, tuple: FiveTuple) -> Option<(SocketNumber, Option<IpAddr>)> {
        let number = self.listeners.iter().position(|listener| listener.serves(tuple.server))?;
        let from = self.listeners.get(number)?.is_wildcard().then_some(tuple.server.ip());
        Some((number as SocketNumber, from))
    }

    fn open_relay(
        &mut self,
        relay: RelayId,
        bind: IpAddr,
        port: PortRequest,
    ) -> Result<SocketAddr, RelaySocketUnavailable> {
        let (address, opened) = sockets::bind_relay(relay, bind, port, &self.ports, self.data_plane)?;
        for socket in opened {
            match self.add_relay(socket) {
                Ok((relay, number)) => self.number_of.insert(relay, number),
                Err(error) => {
                    warn!(%error, "cannot watch a relay socket");
                    self.close_relay(relay);
                    return Err(RelaySocketUnavailable);
                }
            };
        }
        Ok(address)
    }

    fn add_relay(&mut self, mut socket: RelaySocket) -> io::Result<(RelayId, SocketNumber)> {
        let index = self.free.pop().unwrap_or(self.relays.len());
        let number = u32::try_from(index).ok().and_then(|index| index.checked_add(FIRST_RELAY));
        let number = number.ok_or(io::ErrorKind::OutOfMemory)?;
        if let Err(error) = self.poller.watch(&mut socket.socket, u64::from(number)) {
            if index < self.relays.len() {
                self.free.push(index);
            }
            return Err(error);
        }
        let relay = socket.relay;
        match self.relays.get_mut(index) {
            Some(slot) => *slot = Some(socket),
            None => self.relays.push(Some(socket)),
        }
        Ok((relay, number))
    }

    /// Its name is void at once, the socket closes with the next flush.
    fn close_relay(&mut self, relay: RelayId) {
        let Some(number) = self.number_of.remove(&relay) else { return };
        let twin = self.relay(number).and_then(|socket| socket.twin).map(|twin| twin.number);
        self.closing.extend([Some(number), twin].into_iter().flatten().map(|number| (number - FIRST_RELAY) as usize));
    }

    /// Sends everything that waits, then closes and connects what is to be.
    pub(super) fn flush(&mut self, inbox: &Inbox) {
        let Self { outgoing, listeners, relays, .. } = self;
        outgoing.flush(inbox, |number| {
            let relay = || relays.get(number.checked_sub(FIRST_RELAY)? as usize)?.as_ref();
            listeners
                .get(number as usize)
                .map(|listener| &listener.socket)
                .or_else(|| relay().map(|relay| &relay.socket))
        });
        self.close_for_good();
        for relay in std::mem::take(&mut self.steady) {
            if let Err(error) = self.connect(relay) {
                debug!(%error, "a relay socket stays unconnected");
            }
        }
    }

    /// Connects a relay socket to the peer that it sends to most. Only now, so that no packet overtakes those before.
    fn connect(&mut self, relay: RelayId) -> io::Result<()> {
        let Some(number) = self.number_of.get(&relay).copied() else { return Ok(()) };
        let Some(socket) = self.relay(number) else { return Ok(()) };
        let Some(peer) = socket.last_peer else { return Ok(()) };
        let twin = match socket.twin {
            Some(twin) => {
                let twin_socket = self.relay(twin.number).ok_or(io::ErrorKind::NotFound)?;
                twin_socket.socket.connect(peer)?;
                twin.number
            }
            None => {
                let twin = socket.open_twin(peer)?;
                self.add_relay(twin)?.1
            }
        };
        if let Some(socket) = self.relay_mut(number) {
            socket.twin = Some(sockets::Twin { number: twin, peer });
        }
        Ok(())
    }

    /// Closing takes a socket out of the set of watched ones as well. Events of this wake-up that are still to come find
    /// nothing, or a socket opened since, for which looking is harmless.
    fn close_for_good(&mut self) {
        for index in self.closing.drain(..) {
            if let Some(slot) = self.relays.get_mut(index) {
                *slot = None;
                self.free.push(index);
            }
        }
    }
}

impl RelaySocket {
    /// Counts a packet to this peer. `true` once, when there were so many in a row that being connected pays.
    fn is_steady(&mut self, peer: SocketAddr) -> bool {
        if self.last_peer != Some(peer) {
            (self.last_peer, self.in_a_row) = (Some(peer), 0);
        }
        self.in_a_row = self.in_a_row.saturating_add(1);
        self.in_a_row == STEADY
    }
}
