//! A server, virtual time, and what each socket was told.
#![allow(dead_code, unreachable_pub, missing_docs, reason = "each test file uses a part of this")]
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a failed test is what they are for")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lanyard_protocol::signaling::{Body, ClientMessage, ErrorCode, Platform, ServerMessage};
use lanyard_protocol::{DeviceId, MailboxId, MemberNumber, PROTOCOL_VERSION, SlotToken};
use lanyard_signaling::{AdmitError, CallId, CloseReason, ConnectionId, Limits, Origin, Output, Server};

pub struct World {
    pub server: Server,
    pub now: Instant,
    pub told: BTreeMap<ConnectionId, Vec<ServerMessage>>,
    pub closed: BTreeMap<ConnectionId, CloseReason>,
    pub drains: Vec<ConnectionId>,
    pub calls: Vec<(CallId, String)>,
    pub gone: Vec<(MailboxId, MemberNumber)>,
    pub renewed: Vec<(ConnectionId, MailboxId, MemberNumber)>,
    next: u64,
}

impl World {
    pub fn new(limits: Limits) -> Self {
        Self {
            server: Server::new(limits, [7; 32]),
            now: Instant::now(),
            told: BTreeMap::new(),
            closed: BTreeMap::new(),
            drains: Vec::new(),
            calls: Vec::new(),
            gone: Vec::new(),
            renewed: Vec::new(),
            next: 0,
        }
    }

    pub fn connect_from(&mut self, ip: &str) -> Result<ConnectionId, AdmitError> {
        self.connect_as(Origin { ip: ip.parse().unwrap(), trusted: false })
    }

    pub fn connect_as(&mut self, origin: Origin) -> Result<ConnectionId, AdmitError> {
        let id = ConnectionId(self.next);
        self.next += 1;
        self.server.handle_connected(self.now, id, origin)?;
        self.drain();
        Ok(id)
    }

    /// A socket that said hello.
    pub fn device(&mut self, ip: &str) -> ConnectionId {
        let id = self.connect_from(ip).unwrap();
        self.hello(id);
        id
    }

    pub fn agent(&mut self) -> ConnectionId {
        let id = self.connect_as(Origin { ip: "127.0.0.1".parse().unwrap(), trusted: true }).unwrap();
        self.hello(id);
        id
    }

    pub fn hello(&mut self, id: ConnectionId) {
        self.say(id, ClientMessage::Hello { protocol_version: PROTOCOL_VERSION });
    }

    pub fn say(&mut self, id: ConnectionId, message: ClientMessage) {
        self.server.handle_message(self.now, id, message);
        self.drain();
    }

    pub fn drop_socket(&mut self, id: ConnectionId) {
        self.server.handle_disconnected(self.now, id);
        self.drain();
    }

    pub fn join(&mut self, id: ConnectionId, mailbox: MailboxId) {
        self.say(id, ClientMessage::Join { mailbox, slot: None });
    }

    pub fn rejoin(&mut self, id: ConnectionId, mailbox: MailboxId, slot: SlotToken) {
        self.say(id, ClientMessage::Join { mailbox, slot: Some(slot) });
    }

    pub fn send(&mut self, id: ConnectionId, mailbox: MailboxId, to: MemberNumber, text: &[u8]) {
        self.say(id, ClientMessage::Send { mailbox, to, body: body(text) });
    }

    pub fn announce(&mut self, id: ConnectionId, name: &str, seconds: u32) {
        self.say(id, ClientMessage::Announce { name: name.to_owned(), platform: Platform::Phone, seconds });
    }

    /// Lets time pass, doing what is due at its moment.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.server.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.server.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    /// What a socket was told since the last look.
    pub fn take(&mut self, id: ConnectionId) -> Vec<ServerMessage> {
        self.told.remove(&id).unwrap_or_default()
    }

    pub fn forget_told(&mut self) {
        self.told.clear();
    }

    pub fn errors(&mut self, id: ConnectionId) -> Vec<ErrorCode> {
        let told = self.take(id);
        told.iter()
            .filter_map(|message| if let ServerMessage::Error { code, .. } = message { Some(*code) } else { None })
            .collect()
    }

    /// Bodies a socket was told, in order.
    pub fn bodies(&mut self, id: ConnectionId) -> Vec<(MemberNumber, Vec<u8>)> {
        let told = self.take(id);
        told.into_iter()
            .filter_map(|message| match message {
                ServerMessage::Message { from, body, .. } => Some((from, body.as_bytes().to_vec())),
                _ => None,
            })
            .collect()
    }

    pub fn device_id(&mut self, id: ConnectionId) -> DeviceId {
        self.told
            .get(&id)
            .into_iter()
            .flatten()
            .find_map(|message| if let ServerMessage::Welcome { device, .. } = message { Some(*device) } else { None })
            .expect("was welcomed")
    }

    /// Member number and slot from the last `joined`.
    pub fn joined(&mut self, id: ConnectionId) -> (MemberNumber, Vec<MemberNumber>, SlotToken) {
        let joined = self.told.get(&id).into_iter().flatten().rev().find_map(|message| match message {
            ServerMessage::Joined { member, others, slot, .. } => Some((*member, others.clone(), *slot)),
            _ => None,
        });
        joined.expect("has joined")
    }

    /// Answers every drain report, as a shell with a fast socket does.
    pub fn settle_drains(&mut self) {
        while let Some(id) = self.drains.pop() {
            self.server.handle_drained(self.now, id);
            self.drain();
        }
    }

    pub fn drain(&mut self) {
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Send { to, message } => self.record(to, message),
                Output::Welcome(welcome) => self.record(welcome.to, welcome.at(1_700_000_000_000)),
                Output::Joined(joined) => self.record(joined.to, joined.with_paths(vec![], None)),
                Output::RenewCredentials { to, mailbox, member } => self.renewed.push((to, mailbox, member)),
                Output::MemberGone { mailbox, member } => self.gone.push((mailbox, member)),
                Output::ReportDrained { connection } => self.drains.push(connection),
                Output::Call { call, key } => self.calls.push((call, key)),
                Output::Close { connection, reason } => {
                    self.closed.insert(connection, reason);
                }
            }
        }
    }

    fn record(&mut self, to: ConnectionId, message: ServerMessage) {
        assert!(!self.closed.contains_key(&to), "told a closed socket {message:?}");
        self.told.entry(to).or_default().push(message);
    }
}

pub fn body(bytes: &[u8]) -> Body {
    Body::new(bytes.to_vec()).expect("small enough")
}

pub fn mailbox(n: u8) -> MailboxId {
    MailboxId([n; 16])
}

pub fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}
