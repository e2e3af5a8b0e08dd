//! The machine: sockets come, speak and go. What they say about mailboxes, codes and calls is in the files beside.

mod calling;
mod codes;
mod mailboxes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use lanyard_protocol::signaling::{ClientMessage, ErrorCode, ServerMessage, Side};
use lanyard_protocol::{DeviceId, MailboxId, PROTOCOL_VERSION, TooOld, check_version};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;

use crate::connection::Connection;
use crate::deadlines::Deadlines;
use crate::mailbox::{Mailbox, SideKey};
use crate::nameplate::{Ended, Nameplates, Plate};
use crate::nearby::{Call, CallId, Listing};
use crate::source::{Memory, Sources};
use crate::{CloseReason, ConnectionId, Limits, Origin, Output, SourceKey, Welcome};

/// The mailbox machine. See the crate's documentation for how to drive it.
#[derive(Debug)]
pub struct Server {
    limits: Limits,
    rng: ChaCha20Rng,
    connections: BTreeMap<ConnectionId, Connection>,
    devices: BTreeMap<DeviceId, Reach>,
    mailboxes: BTreeMap<MailboxId, Mailbox>,
    nameplates: Nameplates,
    sources: Sources,
    listing: Listing,
    /// Sockets that have not got the newest list yet.
    outdated: BTreeSet<ConnectionId>,
    listing_changed: bool,
    calls: BTreeMap<CallId, Call>,
    next_call: u64,
    stored_bytes: usize,
    stored_messages: usize,
    deadlines: Deadlines<Timer>,
    outputs: VecDeque<Output>,
    counters: Counters,
}

/// How a device is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Reach {
    Socket(ConnectionId),
    Fronted(String),
}

/// What can become due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// A socket has done nothing useful yet.
    JoinBy(ConnectionId),
    /// A socket's members need fresh credentials.
    Renew(ConnectionId),
    /// A device's listing ends.
    Unlist(DeviceId),
    /// Nobody came to a mailbox.
    Unjoined(MailboxId),
    /// A side did not come back.
    Slot(SideKey),
    /// A ring was not answered.
    Ring(MailboxId),
    /// A nameplate is too old.
    PlateExpires(Plate),
    /// A nameplate may be used again.
    PlateRested(Plate),
    /// A source's doings are worn off.
    Source(SourceKey),
    /// The shell did not answer a call.
    Call(CallId),
    /// Lists are to be sent.
    Nearby,
}

/// Why a socket is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AdmitError {
    /// [`Limits::sockets_per_source`].
    #[error("too many connections from one address")]
    SourceFull,
    /// [`Limits::sockets`].
    #[error("the server holds as many connections as it may")]
    ServerFull,
}

/// What a socket's reader saw that is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// Not JSON, an unknown type, or a binary message.
    Malformed,
    /// [`crate::Pace::Flood`].
    Flooding,
}

/// What the machine holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Occupancy {
    /// Sockets.
    pub sockets: usize,
    /// Mailboxes.
    pub mailboxes: usize,
    /// Nameplates that can be claimed.
    pub nameplates: usize,
    /// Nameplates that are not handed out yet again.
    pub nameplates_resting: usize,
    /// Devices on the nearby list.
    pub listed: usize,
    /// Bodies that wait for a side.
    pub stored_messages: usize,
    /// Bytes of these.
    pub stored_bytes: usize,
    /// Sources that hold something or did something lately.
    pub sources: usize,
    /// Calls the shell has not answered.
    pub calls: usize,
    /// Timers that are set.
    pub deadlines: usize,
}

/// What happened since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Sockets taken.
    pub sockets_total: u64,
    /// Bodies handed to the other side, at once or later.
    pub bodies_total: u64,
    /// Bytes of these.
    pub body_bytes_total: u64,
    /// Mailboxes made.
    pub mailboxes_total: u64,
    /// Mailboxes closed because a third side came.
    pub crowded_total: u64,
    /// Nameplates claimed that did not exist.
    pub claims_failed_total: u64,
    /// Devices rung.
    pub rings_total: u64,
    /// Requests answered with an `error`.
    pub errors_total: u64,
}

/// A request that is not carried out; becomes an `error` message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rejection(ErrorCode, &'static str);

impl Server {
    /// An empty server. `seed` is 32 bytes nobody can guess: device ids, slots, mailboxes and nameplates come from it.
    #[must_use]
    pub fn new(limits: Limits, seed: [u8; 32]) -> Self {
        Self {
            limits,
            rng: ChaCha20Rng::from_seed(seed),
            connections: BTreeMap::new(),
            devices: BTreeMap::new(),
            mailboxes: BTreeMap::new(),
            nameplates: Nameplates::default(),
            sources: Sources::default(),
            listing: Listing::default(),
            outdated: BTreeSet::new(),
            listing_changed: false,
            calls: BTreeMap::new(),
            next_call: 0,
            stored_bytes: 0,
            stored_messages: 0,
            deadlines: Deadlines::new(),
            outputs: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// A socket is open and asks to be served.
    ///
    /// # Errors
    /// A limit of sockets is reached; the shell answers and closes, the machine knows nothing of it.
    pub fn handle_connected(&mut self, now: Instant, id: ConnectionId, origin: Origin) -> Result<(), AdmitError> {
        debug_assert!(!self.connections.contains_key(&id), "the shell never gives a number twice");
        if self.connections.len() >= self.limits.sockets {
            return Err(AdmitError::ServerFull);
        }
        let connection = Connection::new(origin);
        if let Some(key) = connection.source {
            let source = self.sources.entry(key);
            if source.sockets >= self.limits.sockets_per_source {
                return Err(AdmitError::SourceFull);
            }
            source.sockets += 1;
            self.deadlines.set(Timer::JoinBy(id), now + self.limits.join_within);
        }
        self.connections.insert(id, connection);
        self.counters.sockets_total += 1;
        Ok(())
    }

    /// A socket said something. Ignored when the machine has closed it already.
    pub fn handle_message(&mut self, now: Instant, id: ConnectionId, message: ClientMessage) {
        let Some(connection) = self.connections.get(&id) else { return };
        let greeted = connection.device.is_some();
        let result = match message {
            ClientMessage::Hello { protocol_version } if !greeted => {
                self.hello(now, id, protocol_version);
                return;
            }
            _ if !greeted => return self.handle_violation(now, id, Violation::Malformed),
            ClientMessage::Hello { .. } => return self.handle_violation(now, id, Violation::Malformed),
            ClientMessage::Join { mailbox, slot } => {
                self.join(now, id, mailbox, slot).map_err(|why| (why, Some(mailbox)))
            }
            ClientMessage::Send { mailbox, to, body } => {
                self.send(now, id, mailbox, to, body).map_err(|why| (why, Some(mailbox)))
            }
            ClientMessage::Leave { mailbox } => self.leave(now, id, mailbox).map_err(|why| (why, Some(mailbox))),
            ClientMessage::Allocate => self.allocate(now, id).map_err(|why| (why, None)),
            ClientMessage::Claim { nameplate, stamp } => {
                self.claim(now, id, &nameplate, stamp).map_err(|why| (why, None))
            }
            ClientMessage::Release { nameplate } => self.release(now, id, &nameplate).map_err(|why| (why, None)),
            ClientMessage::Announce { name, platform, seconds } => {
                self.announce(now, id, name, platform, seconds).map_err(|why| (why, None))
            }
            ClientMessage::Dial { device } => self.dial(now, id, device).map_err(|why| (why, None)),
        };
        match result {
            Ok(()) => self.deadlines.clear(Timer::JoinBy(id)),
            Err((Rejection(ErrorCode::Malformed, _), _)) => self.handle_violation(now, id, Violation::Malformed),
            Err((rejection, mailbox)) => self.reject(id, rejection, mailbox),
        }
    }

    /// A socket sent something that is no message, or does not stop. It is told why and closed.
    pub fn handle_violation(&mut self, now: Instant, id: ConnectionId, violation: Violation) {
        if !self.connections.contains_key(&id) {
            return;
        }
        let (rejection, reason) = match violation {
            Violation::Malformed => (
                Rejection(
                    ErrorCode::Malformed,
                    "This is not a message this server knows here. Reload or update Lanyard.",
                ),
                CloseReason::Malformed,
            ),
            Violation::Flooding => (
                Rejection(ErrorCode::RateLimited, "Too many messages for too long. Wait a minute, then connect again."),
                CloseReason::Flooding,
            ),
        };
        self.reject(id, rejection, None);
        self.close(now, id, reason);
    }

    /// A socket is gone. Its sides are kept for [`Limits::slot_kept`].
    pub fn handle_disconnected(&mut self, now: Instant, id: ConnectionId) {
        self.forget(now, id);
    }

    /// Everything sent to this socket before [`Output::ReportDrained`] is written.
    pub fn handle_drained(&mut self, now: Instant, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.drain_asked = false;
            self.deliver_backlog(now, id);
        }
    }

    /// Time has passed. Call it when [`Server::poll_timeout`] is due; earlier does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.deadlines.pop_due(now) {
            match timer {
                Timer::JoinBy(id) => self.close(now, id, CloseReason::JoinTimeout),
                Timer::Renew(id) => self.renew_credentials(now, id),
                Timer::Unlist(device) => self.unlist(now, device),
                Timer::Unjoined(mailbox) => self.remove_mailbox(now, mailbox),
                Timer::Slot(side) => self.remove_side(now, side),
                Timer::Ring(mailbox) => self.end_ring(mailbox),
                Timer::PlateExpires(plate) => self.retire(now, plate, Ended::Expired),
                Timer::PlateRested(plate) => self.nameplates.forget(plate),
                Timer::Source(key) => self.settle(now, key),
                Timer::Call(call) => self.answer_call(now, call, None),
                Timer::Nearby => {
                    self.send_lists(now);
                    // Its next round is due later; leave the loop so that the shell gets to write this one.
                    return;
                }
            }
        }
    }

    /// The next thing for the shell to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`Server::handle_timeout`] next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// What is held now.
    #[must_use]
    pub fn occupancy(&self) -> Occupancy {
        Occupancy {
            sockets: self.connections.len(),
            mailboxes: self.mailboxes.len(),
            nameplates: self.nameplates.active(),
            nameplates_resting: self.nameplates.resting(),
            listed: self.listing.len(),
            stored_messages: self.stored_messages,
            stored_bytes: self.stored_bytes,
            sources: self.sources.len(),
            calls: self.calls.len(),
            deadlines: self.deadlines.len(),
        }
    }

    /// What happened since the start.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn hello(&mut self, now: Instant, id: ConnectionId, version: u32) {
        if let Err(too_old) = check_version(version) {
            let too_old = match too_old {
                TooOld::Them => Side::Client,
                TooOld::Us => Side::Server,
            };
            self.say(id, ServerMessage::Refused { protocol_version: PROTOCOL_VERSION, too_old });
            self.close(now, id, CloseReason::Refused);
            return;
        }
        let device = DeviceId(self.draw_id());
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.device = Some(device);
        self.devices.insert(device, Reach::Socket(id));
        self.outputs.push_back(Output::Welcome(Welcome { to: id, device, limits: self.limits.announced() }));
        if self.limits.nearby {
            // Watching the list is what this socket is for.
            self.deadlines.clear(Timer::JoinBy(id));
            let devices = self.listing.seen_by(Some(device));
            if !devices.is_empty() {
                self.say(id, ServerMessage::Nearby { devices });
            }
        }
    }

    fn close(&mut self, now: Instant, id: ConnectionId, reason: CloseReason) {
        if self.forget(now, id) {
            self.outputs.push_back(Output::Close { connection: id, reason });
        }
    }

    /// Takes a socket out of everything; says whether it was there.
    fn forget(&mut self, now: Instant, id: ConnectionId) -> bool {
        let Some(connection) = self.connections.remove(&id) else { return false };
        self.deadlines.clear(Timer::JoinBy(id));
        self.deadlines.clear(Timer::Renew(id));
        self.outdated.remove(&id);
        for (mailbox, member) in connection.memberships {
            self.set_away(now, SideKey { mailbox, member });
        }
        if let Some(device) = connection.device {
            self.devices.remove(&device);
            self.withdraw(now, device, connection.source);
            for mailbox in connection.rings.into_keys() {
                self.deadlines.clear(Timer::Ring(mailbox));
                if let Some(mailbox) = self.mailboxes.get_mut(&mailbox) {
                    mailbox.rung = None;
                }
            }
        }
        if connection.calls > 0 {
            let orphaned: Vec<_> =
                self.calls.iter().filter(|(_, call)| call.caller == id).map(|(call, _)| *call).collect();
            for call in orphaned {
                self.calls.remove(&call);
                self.deadlines.clear(Timer::Call(call));
            }
        }
        if let Some(key) = connection.source {
            self.sources.entry(key).sockets -= 1;
            self.settle(now, key);
        }
        true
    }

    fn say(&mut self, to: ConnectionId, message: ServerMessage) {
        self.outputs.push_back(Output::Send { to, message });
    }

    fn reject(&mut self, to: ConnectionId, Rejection(code, message): Rejection, mailbox: Option<MailboxId>) {
        self.counters.errors_total += 1;
        self.say(to, ServerMessage::Error { code, message: message.to_owned(), mailbox });
    }

    /// Forgets a source that no longer matters, or remembers when it will not.
    fn settle(&mut self, now: Instant, key: SourceKey) {
        match self.sources.settle(key, now) {
            Memory::KeptUntil(at) => self.deadlines.set(Timer::Source(key), at),
            Memory::Forgotten | Memory::KeptWhileUsed => self.deadlines.clear(Timer::Source(key)),
        }
    }

    fn source_of(&self, id: ConnectionId) -> Option<SourceKey> {
        self.connections.get(&id).and_then(|connection| connection.source)
    }

    fn draw_id(&mut self) -> [u8; 16] {
        let mut id = [0; 16];
        self.rng.fill_bytes(&mut id);
        id
    }
}
