//! The thread that owns the TURN machine and its UDP sockets. No lock and no async runtime on the way of a UDP packet.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::{Range, RangeInclusive};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{io, thread};

use lanyard_turn_core::{
    Admission, Command, FiveTuple, Forward, ForwardToClient, ForwardToPeer, PortRequest, RelayId,
    RelaySocketUnavailable, Server, Transport, first_frame,
};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use tracing::{debug, info, warn};

use super::control::{Control, Ended, Inlet, StreamId};
use super::datagrams::{Inbox, SLOTS};
use super::host::HostAddresses;
use super::outgoing::{Outgoing, SocketNumber};
use super::pace::Pace;
use super::snapshot::Snapshot;
use super::sockets::{self, Listener, RelaySocket};
use super::stream_queue::StreamQueue;

/// Sockets reported ready at once.
const EVENTS: usize = 256;
/// Datagrams read from one relay socket before the next gets its turn.
const PER_RELAY_SOCKET: usize = 32;
/// Full inboxes read from one listener before the relay sockets get their turn.
const LISTENER_ROUNDS: usize = 4;
/// Controls handled before packets get their turn again.
const CONTROLS_AT_ONCE: usize = 256;
/// How often the wall clock and the addresses of this host are looked at.
const HOUSEKEEPING: Duration = Duration::from_secs(10);

/// The token of the bell. Listeners have their numbers, relay sockets follow.
const BELL: u64 = u64::MAX;
/// The number of the first relay socket.
const FIRST_RELAY: SocketNumber = 1024;

/// A client that came over TCP or TLS.
#[derive(Debug)]
struct Stream {
    id: StreamId,
    queue: Arc<StreamQueue>,
}

/// All the sockets, and what is on its way out of them.
struct Net {
    epoll: Epoll,
    listeners: Vec<Listener>,
    relays: Vec<Option<RelaySocket>>,
    free: Vec<usize>,
    /// To be closed once what is on its way out of them is sent; then their numbers are free.
    closing: Vec<usize>,
    number_of: HashMap<RelayId, SocketNumber, foldhash::fast::RandomState>,
    streams: HashMap<FiveTuple, Stream, foldhash::fast::RandomState>,
    ports: RangeInclusive<u16>,
    outgoing: Outgoing,
    stream_overflow: u64,
}

/// The thread's state.
pub(super) struct Worker {
    server: Server,
    net: Net,
    inbox: Inbox,
    /// Which slots of the inbox came by which relay socket.
    owners: Vec<(Range<usize>, RelayId)>,
    inlet: Inlet,
    host: HostAddresses,
    pace: Pace,
    received: u64,
    receive_calls: u64,
    overflow: Vec<u32>,
    wakes: u64,
}

impl Worker {
    pub(super) fn new(
        server: Server,
        listeners: Vec<Listener>,
        ports: RangeInclusive<u16>,
        inlet: Inlet,
        host: HostAddresses,
        pace: Pace,
    ) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(inlet.bell.event(), EpollEvent::new(EpollFlags::EPOLLIN, BELL))?;
        for (number, listener) in listeners.iter().enumerate() {
            epoll.add(&listener.socket, EpollEvent::new(EpollFlags::EPOLLIN, number as u64))?;
        }
        let overflow = vec![0; listeners.len()];
        let net = Net {
            epoll,
            listeners,
            relays: Vec::new(),
            free: Vec::new(),
            closing: Vec::new(),
            number_of: HashMap::default(),
            streams: HashMap::default(),
            ports,
            outgoing: Outgoing::new(),
            stream_overflow: 0,
        };
        Ok(Self {
            server,
            net,
            inbox: Inbox::new(),
            owners: Vec::new(),
            inlet,
            host,
            pace,
            received: 0,
            receive_calls: 0,
            overflow,
            wakes: 0,
        })
    }

    /// Serves until the bell says stop.
    pub(super) fn run(mut self) {
        let mut events = [EpollEvent::empty(); EVENTS];
        let mut housekeeping = Instant::now();
        while !self.inlet.bell.is_stopped() {
            let now = Instant::now();
            if now >= housekeeping {
                self.keep_house(now);
                housekeeping = now + HOUSEKEEPING;
            }
            let wake = self.server.poll_timeout().map_or(housekeeping, |due| due.min(housekeeping));
            let wait = wake.saturating_duration_since(now).as_millis().saturating_add(1);
            let wait = EpollTimeout::from(u16::try_from(wait).unwrap_or(u16::MAX));
            let ready = match self.net.epoll.wait(&mut events, wait) {
                Ok(ready) => ready,
                Err(nix::errno::Errno::EINTR) => continue,
                Err(error) => {
                    warn!(%error, "cannot wait for packets");
                    thread::sleep(Duration::from_millis(100));
                    continue;
                }
            };
            self.wakes += 1;
            let before = self.received;
            let now = Instant::now();
            self.serve(now, &events[..ready]);
            if self.server.poll_timeout().is_some_and(|due| due <= now) {
                self.server.handle_timeout(now);
                self.carry_out(now);
                self.flush();
            }
            if let Some(pause) = self.pace.after_wake(now, self.received - before) {
                thread::sleep(pause);
            }
        }
    }

    fn serve(&mut self, now: Instant, events: &[EpollEvent]) {
        // First, so that the machine knows of a member before its first packet.
        if events.iter().any(|event| event.data() == BELL) {
            self.listen_to_controls(now);
        }
        let relay_numbers = events.iter().map(EpollEvent::data).filter(|token| *token != BELL);
        let mut filled = 0;
        for number in relay_numbers.filter(|number| *number >= u64::from(FIRST_RELAY)) {
            if filled == SLOTS {
                self.pass_on_from_peers(now);
                filled = 0;
            }
            filled = self.read_relay(number as SocketNumber, filled);
        }
        self.pass_on_from_peers(now);
        for number in events.iter().map(EpollEvent::data).filter(|number| *number < u64::from(FIRST_RELAY)) {
            self.read_listener(now, number as usize);
        }
    }

    /// Reads what waits at a relay socket into the free slots.
    fn read_relay(&mut self, number: SocketNumber, filled: usize) -> usize {
        let Some(relay) = self.net.relay(number) else { return filled };
        self.receive_calls += 1;
        match self.inbox.receive(relay.socket.as_fd(), filled, PER_RELAY_SOCKET) {
            Ok(0) => filled,
            Ok(read) => {
                self.owners.push((filled..filled + read, relay.relay));
                filled + read
            }
            Err(error) => {
                log_receive_error(&error);
                filled
            }
        }
    }

    fn pass_on_from_peers(&mut self, now: Instant) {
        let Self { server, net, inbox, owners, received: total, .. } = self;
        for (slots, relay) in owners.drain(..) {
            for received in slots.filter_map(|slot| inbox.get(slot)) {
                for datagram in received.segments() {
                    *total += 1;
                    if let Some(forward) = server.handle_peer_datagram(now, relay, received.from, datagram) {
                        net.send_to_client(inbox, &forward);
                    }
                }
            }
        }
        self.flush();
    }

    fn read_listener(&mut self, now: Instant, number: usize) {
        for _ in 0..LISTENER_ROUNDS {
            let Some(listener) = self.net.listeners.get(number) else { return };
            let mut filled = 0;
            loop {
                self.receive_calls += 1;
                match self.inbox.receive(listener.socket.as_fd(), filled, SLOTS) {
                    Ok(read) => {
                        filled += read;
                        if filled == SLOTS || read < SLOTS / 2 {
                            break;
                        }
                    }
                    Err(error) => {
                        log_receive_error(&error);
                        break;
                    }
                }
            }
            self.pass_on_from_clients(now, number, filled);
            if filled < SLOTS {
                return;
            }
        }
    }

    fn pass_on_from_clients(&mut self, now: Instant, number: usize, filled: usize) {
        let Some(local) = self.net.listeners.get(number).map(|listener| listener.local) else { return };
        for slot in 0..filled {
            let Some(received) = self.inbox.get(slot) else { continue };
            if let Some((dropped, counted)) = received.dropped.zip(self.overflow.get_mut(number)) {
                *counted = dropped;
            }
            let server = SocketAddr::new(received.to.unwrap_or(local.ip()), local.port());
            let tuple = FiveTuple { transport: Transport::Udp, client: received.from, server };
            for datagram in received.segments() {
                self.received += 1;
                match self.server.handle_client_datagram(now, tuple, datagram) {
                    Some(forward) => self.net.forward(&self.inbox, &forward),
                    None => carry_out(&mut self.server, &mut self.net, now),
                }
            }
        }
        self.flush();
    }

    fn listen_to_controls(&mut self, now: Instant) {
        self.inlet.bell.answer();
        for _ in 0..CONTROLS_AT_ONCE {
            let Ok(control) = self.inlet.controls.try_recv() else { break };
            self.handle_control(now, control);
            self.carry_out(now);
        }
        while let Ok(ended) = self.inlet.ended.try_recv() {
            match ended {
                Ended::Member(tag) => self.server.remove_member(&tag),
                Ended::Stream(id, tuple) => {
                    if self.net.streams.get(&tuple).is_some_and(|stream| stream.id == id) {
                        self.net.streams.remove(&tuple);
                        self.server.handle_client_disconnected(tuple);
                    }
                }
            }
            self.carry_out(now);
        }
        self.flush();
        if !self.inlet.controls.is_empty() {
            self.inlet.bell.ring();
        }
    }

    fn handle_control(&mut self, now: Instant, control: Control) {
        match control {
            Control::SetMember { tag, member } => self.server.set_member(&tag, member),
            Control::StreamOpened { stream, tuple, queue } => {
                // The same ports again: the client's system thinks the old connection is gone.
                if let Some(old) = self.net.streams.insert(tuple, Stream { id: stream, queue }) {
                    old.queue.close();
                    self.server.handle_client_disconnected(tuple);
                }
            }
            Control::StreamMessages { tuple, messages } => self.read_stream(now, tuple, &messages),
            Control::Reload(rules) => {
                self.server.set_limits(rules.limits);
                self.server.set_users(rules.users);
                self.server.set_secrets(rules.secrets);
                self.server.set_peer_policy(rules.peer_policy);
            }
            Control::Drain => self.server.set_admission(Admission::Draining { alternate: None }),
            Control::Snapshot(reply) => {
                // Who asked may have gone.
                let _ = reply.send(self.snapshot());
            }
        }
    }

    fn read_stream(&mut self, now: Instant, tuple: FiveTuple, mut messages: &[u8]) {
        if !self.net.streams.contains_key(&tuple) {
            return;
        }
        while let Ok(Some(frame)) = first_frame(messages) {
            messages = &messages[frame.message.len()..];
            self.received += 1;
            match self.server.handle_client_datagram(now, tuple, frame.message) {
                Some(forward) => self.net.forward(&self.inbox, &forward),
                None => self.carry_out(now),
            }
        }
    }

    fn keep_house(&mut self, now: Instant) {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since_1970) => self.server.set_wall_clock(now, since_1970),
            Err(_) => warn!("the clock says it is before 1970: no credential can be checked"),
        }
        if let Some((relay_addresses, own_addresses)) = self.host.changed() {
            info!("the addresses of this host changed");
            self.server.set_addresses(relay_addresses, own_addresses);
            self.carry_out(now);
        }
    }

    fn carry_out(&mut self, now: Instant) {
        carry_out(&mut self.server, &mut self.net, now);
    }

    fn flush(&mut self) {
        let Net { outgoing, listeners, relays, .. } = &mut self.net;
        outgoing.flush(&self.inbox, |number| {
            let relay = || relays.get(number.checked_sub(FIRST_RELAY)? as usize)?.as_ref();
            listeners
                .get(number as usize)
                .map(|listener| listener.socket.as_fd())
                .or_else(|| relay().map(|relay| relay.socket.as_fd()))
        });
        self.net.close_for_good();
    }

    fn snapshot(&self) -> Snapshot {
        let buffers = self.net.listeners.iter().map(|listener| listener.buffer_bytes as u64);
        Snapshot {
            server: self.server.metrics(),
            sent: self.net.outgoing.counters,
            received: self.received,
            receive_calls: self.receive_calls,
            listener_overflow: self.overflow.iter().copied().map(u64::from).sum(),
            wakes: self.wakes,
            streams: self.net.streams.len() as u64,
            stream_overflow: self.net.stream_overflow,
            listener_buffer_bytes: buffers.min().unwrap_or(0),
        }
    }
}

/// Does what the machine asks for.
fn carry_out(server: &mut Server, net: &mut Net, now: Instant) {
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
    fn relay(&self, number: SocketNumber) -> Option<&RelaySocket> {
        self.relays.get(number.checked_sub(FIRST_RELAY)? as usize)?.as_ref()
    }

    fn forward(&mut self, inbox: &Inbox, forward: &Forward<'_>) {
        match forward {
            Forward::ToPeer(forward) => self.send_to_peer(inbox, forward),
            Forward::ToClient(forward) => self.send_to_client(inbox, forward),
        }
    }

    fn send_to_peer(&mut self, inbox: &Inbox, forward: &ForwardToPeer<'_>) {
        let ForwardToPeer { relay, peer, payload, dont_fragment } = *forward;
        let Some(number) = self.number_of.get(&relay).copied() else { return };
        if dont_fragment {
            if let Some(socket) = self.relay(number)
                && let Err(error) = sockets::send_unfragmented(&socket.socket, peer, payload)
            {
                debug!(%error, "a datagram that must not be cut was refused");
                self.outgoing.counters.failed += 1;
            }
            return;
        }
        match inbox.position(payload) {
            Some(body) => self.outgoing.push(number, (peer, None), &[], body, 0),
            // It came by a stream, whose buffer will be gone.
            None => self.outgoing.push(number, (peer, None), payload, 0..0, 0),
        }
    }

    fn send_to_client(&mut self, inbox: &Inbox, forward: &ForwardToClient<'_>) {
        let tuple = forward.tuple;
        if tuple.transport.is_stream() {
            return self.send_to_stream(tuple, &forward.slices());
        }
        let Some((number, from)) = self.listener_for(tuple) else { return };
        let (head, path) = (forward.header.as_bytes(), (tuple.client, from));
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
            self.outgoing.push(number, (tuple.client, from), message, 0..0, 0);
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
        let (address, opened) = sockets::bind_relay(relay, bind, port, &self.ports)?;
        for socket in opened {
            let index = self.free.pop().unwrap_or(self.relays.len());
            let number = SocketNumber::try_from(index).ok().and_then(|index| index.checked_add(FIRST_RELAY));
            let number = number.ok_or(RelaySocketUnavailable)?;
            let interest = EpollEvent::new(EpollFlags::EPOLLIN, u64::from(number));
            if let Err(error) = self.epoll.add(&socket.socket, interest) {
                warn!(%error, "cannot watch a relay socket");
                self.free.push(index);
                self.close_relay(relay);
                return Err(RelaySocketUnavailable);
            }
            self.number_of.insert(socket.relay, number);
            if index == self.relays.len() {
                self.relays.push(Some(socket));
            } else if let Some(slot) = self.relays.get_mut(index) {
                *slot = Some(socket);
            }
        }
        Ok(address)
    }

    /// Its name is void at once, the socket closes with the next flush.
    fn close_relay(&mut self, relay: RelayId) {
        if let Some(number) = self.number_of.remove(&relay) {
            self.closing.push((number - FIRST_RELAY) as usize);
        }
    }

    /// Closing takes a socket out of the epoll set as well. Events of this wake-up that are still to come find nothing,
    /// or a socket opened since, for which looking is harmless.
    fn close_for_good(&mut self) {
        for index in self.closing.drain(..) {
            if let Some(slot) = self.relays.get_mut(index) {
                *slot = None;
                self.free.push(index);
            }
        }
    }
}

fn log_receive_error(error: &io::Error) {
    // Nothing to read, or an ICMP error of an earlier packet: the socket itself is fine.
    if error.kind() != io::ErrorKind::WouldBlock {
        debug!(%error, "reading a UDP socket");
    }
}
