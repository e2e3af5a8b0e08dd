//! The thread that owns the TURN machine and its UDP sockets. No lock and no async runtime on the way of a UDP packet.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use std::{io, thread};

use lanyard_turn_core::{Admission, AlternateServer, FiveTuple, RelayId, Server, Transport, first_frame};
use tracing::{debug, warn};

use super::config::DataPlane;
use super::control::{Control, Ended, Inlet};
use super::datagrams::{Inbox, SLOTS};
use super::host::Addresses;
use super::net::{FIRST_RELAY, Net, Stream, carry_out};
use super::outgoing::SocketNumber;
use super::pace::Pace;
use super::poller::{BELL, EVENTS, Ready};
use super::snapshot::Snapshot;

/// Datagrams read from one relay socket before the next gets its turn.
const PER_RELAY_SOCKET: usize = 32;
/// Full inboxes read from one listener before the relay sockets get their turn.
const LISTENER_ROUNDS: usize = 4;
/// Controls handled before packets get their turn again.
const CONTROLS_AT_ONCE: usize = 256;
/// How often the wall clock is looked at, and memory given back.
const HOUSEKEEPING: Duration = Duration::from_secs(10);

/// ICMP errors passed on before packets get their turn again.
const ERRORS_AT_ONCE: usize = 16;
/// Relay sockets closed since the last time from which on unused memory is given back.
const MANY_CLOSED: usize = 1_000;

/// The thread's state.
pub(super) struct Worker {
    server: Server,
    net: Net,
    inbox: Inbox,
    /// Which slots of the inbox came by which relay socket.
    owners: Vec<(Range<usize>, RelayId, SocketNumber)>,
    inlet: Inlet,
    pace: Pace,
    alternate: Option<AlternateServer>,
    received: u64,
    receive_calls: u64,
    overflow: Vec<u32>,
    wakes: u64,
    icmp_errors: u64,
    /// The most relay sockets there were since memory was last given back.
    most_relays: usize,
}

impl Worker {
    pub(super) fn new(
        server: Server,
        net: Net,
        data_plane: DataPlane,
        inlet: Inlet,
        pace: Pace,
        alternate: Option<AlternateServer>,
    ) -> Self {
        let overflow = vec![0; net.listeners.len()];
        Self {
            server,
            net,
            inbox: Inbox::new(data_plane),
            owners: Vec::new(),
            inlet,
            pace,
            alternate,
            received: 0,
            receive_calls: 0,
            overflow,
            wakes: 0,
            icmp_errors: 0,
            most_relays: 0,
        }
    }

    /// Serves until the bell says stop.
    pub(super) fn run(mut self) {
        let mut housekeeping = Instant::now();
        while !self.inlet.bell.is_stopped() {
            let now = Instant::now();
            if now >= housekeeping {
                self.keep_house(now);
                housekeeping = now + HOUSEKEEPING;
            }
            let wake = self.server.poll_timeout().map_or(housekeeping, |due| due.min(housekeeping));
            if let Err(error) = self.net.poller().wait(wake.saturating_duration_since(now)) {
                warn!(%error, "cannot wait for packets");
                thread::sleep(Duration::from_millis(100));
                continue;
            }
            self.wakes += 1;
            let before = self.received;
            self.most_relays = self.most_relays.max(self.net.open_relays());
            let now = Instant::now();
            self.serve(now);
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

    fn serve(&mut self, now: Instant) {
        let mut found = [Ready::default(); EVENTS + 1];
        let count = found.len().min(self.net.poller().ready().len());
        found[..count].copy_from_slice(&self.net.poller().ready()[..count]);
        let ready = || found[..count].iter();
        // First, so that the machine knows of a member before its first packet.
        if ready().any(|ready| ready.number == BELL) {
            self.listen_to_controls(now);
        }
        let mut filled = 0;
        for ready in ready().filter(|ready| ready.number != BELL && ready.number >= u64::from(FIRST_RELAY)) {
            let number = ready.number as SocketNumber;
            if ready.has_error {
                self.pass_on_icmp(now, number);
            }
            if filled == SLOTS {
                self.pass_on_from_peers(now);
                filled = 0;
            }
            filled = self.read_relay(number, filled);
        }
        self.pass_on_from_peers(now);
        for ready in ready().filter(|ready| ready.number < u64::from(FIRST_RELAY)) {
            self.read_listener(now, ready.number as usize);
        }
    }

    /// Tells clients what became of their packets (RFC 8656 §11.5).
    fn pass_on_icmp(&mut self, now: Instant, number: SocketNumber) {
        for _ in 0..ERRORS_AT_ONCE {
            let Some((relay, error)) = self.net.next_icmp(number) else { break };
            self.icmp_errors += 1;
            self.server.handle_peer_icmp(now, relay, error.peer, error.icmp);
            self.carry_out(now);
        }
    }

    /// Reads what waits at a relay socket into the free slots.
    fn read_relay(&mut self, number: SocketNumber, filled: usize) -> usize {
        let Some(relay) = self.net.relay(number) else {
            self.net.poller().drained(number.into());
            return filled;
        };
        self.receive_calls += 1;
        let asked = PER_RELAY_SOCKET.min(SLOTS - filled);
        let (name, received) = (relay.relay, self.inbox.receive(&relay.socket, filled, asked));
        if received.as_ref().map_or(true, |read| *read < asked) {
            self.net.poller().drained(number.into());
        }
        match received {
            Ok(0) => filled,
            Ok(read) => {
                self.owners.push((filled..filled + read, name, number));
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
        for (slots, relay, number) in owners.drain(..) {
            for received in slots.filter_map(|slot| inbox.get(slot)) {
                if let Some(dropped) = received.dropped {
                    net.note_overflow(number, dropped);
                }
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
                match self.inbox.receive(&listener.socket, filled, SLOTS) {
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
                self.net.poller().drained(number as u64);
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
                self.alternate = rules.alternate;
            }
            Control::Addresses(Addresses { relay, own }) => self.server.set_addresses(relay, own),
            Control::Drain => {
                self.server.set_admission(Admission::Draining { alternate: self.alternate.clone() });
            }
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
        let open = self.net.open_relays();
        if self.most_relays.saturating_sub(open) >= MANY_CLOSED {
            #[cfg(target_os = "linux")]
            super::batch::return_memory();
            self.most_relays = open;
        }
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since_1970) => self.server.set_wall_clock(now, since_1970),
            Err(_) => warn!("the clock says it is before 1970: no credential can be checked"),
        }
    }

    fn carry_out(&mut self, now: Instant) {
        carry_out(&mut self.server, &mut self.net, now);
    }

    fn flush(&mut self) {
        self.net.flush(&self.inbox);
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
            icmp_errors: self.icmp_errors,
            relay_overflow: self.net.relay_overflow,
            listener_buffer_bytes: buffers.min().unwrap_or(0),
        }
    }
}

fn log_receive_error(error: &io::Error) {
    // Nothing to read, or an ICMP error of an earlier packet: the socket itself is fine.
    if error.kind() != io::ErrorKind::WouldBlock {
        debug!(%error, "reading a UDP socket");
    }
}
