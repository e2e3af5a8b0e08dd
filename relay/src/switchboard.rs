//! The loop that owns the signaling machine: sockets report to it, and it fills their queues.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use lanyard_protocol::MailboxId;
use lanyard_protocol::signaling::{ClientMessage, ServerMessage};
use lanyard_signaling::{
    AdmitError, CallId, CloseReason, ConnectionId, Counters, Fronted, Occupancy, Origin, Output, Server, Violation,
};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, info};

use crate::ice::{IceProvider, IceRequest};
use crate::lane::Lanes;
use crate::metrics::Metrics;
use crate::out_queue::{Close, OutQueue};

/// Events that may wait for the loop; who sends more waits, and so stops reading its socket.
const EVENTS: usize = 1024;
/// Calls of fronted devices that may wait for the agent; more fail at once.
const CALLS: usize = 16;

/// A way to talk to the loop.
#[derive(Debug, Clone)]
pub(crate) struct Switchboard {
    events: mpsc::Sender<Event>,
    /// Apart from the others, because a socket's end must never wait or be lost. At most one for each socket.
    ended: mpsc::UnboundedSender<ConnectionId>,
    pages: watch::Receiver<usize>,
}

/// A socket that wants to be served.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) origin: Origin,
    /// The host for STUN and TURN URLs.
    pub(crate) ice_host: String,
}

/// A socket's place at the switchboard; dropping it is the socket's end.
#[derive(Debug)]
pub(crate) struct Seat {
    id: ConnectionId,
    pub(crate) queue: OutQueue,
    switchboard: Switchboard,
}

/// Somebody dialled a device that the embedding agent fronts.
///
/// Reach the device at its own server, dial it there, and [`answer`](FrontedCall::answer) with the mailbox that server
/// named; then join that mailbox at both servers and pass bodies on. Dropping it means that the device takes no calls.
#[derive(Debug)]
pub struct FrontedCall {
    /// From [`Fronted`].
    pub key: String,
    call: CallId,
    answer: Option<Switchboard>,
}

impl FrontedCall {
    /// Tells the caller to meet at `mailbox`.
    pub async fn answer(mut self, mailbox: MailboxId) {
        if let Some(switchboard) = self.answer.take() {
            switchboard.send(Event::Answer(self.call, Some(mailbox))).await;
        }
    }
}

impl Drop for FrontedCall {
    fn drop(&mut self) {
        if let Some(switchboard) = self.answer.take() {
            // When the loop is too busy even for this, the call runs into its own time limit.
            let _ = switchboard.events.try_send(Event::Answer(self.call, None));
        }
    }
}

/// What the loop holds and has done.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Snapshot {
    pub(crate) occupancy: Occupancy,
    pub(crate) counters: Counters,
}

#[derive(Debug)]
enum Event {
    Visit(Visitor, oneshot::Sender<Result<Seat, AdmitError>>),
    Message(ConnectionId, ClientMessage),
    Violation(ConnectionId, Violation),
    Drained(ConnectionId),
    Front(Vec<Fronted>),
    Answer(CallId, Option<MailboxId>),
    Snapshot(oneshot::Sender<Snapshot>),
    Stop,
}

impl Switchboard {
    /// Starts the loop. The second value brings calls of fronted devices.
    pub(crate) fn start(
        server: Server,
        ice: Box<dyn IceProvider>,
        lanes: Lanes,
        metrics: Arc<Metrics>,
    ) -> (Self, mpsc::Receiver<FrontedCall>) {
        let (events, event_inbox) = mpsc::channel(EVENTS);
        let (ended, ended_inbox) = mpsc::unbounded_channel();
        let (calls, call_outbox) = mpsc::channel(CALLS);
        let (pages_out, pages) = watch::channel(0);
        let switchboard = Self { events, ended, pages };
        let weak = (switchboard.events.downgrade(), switchboard.ended.downgrade());
        let desk = Desk {
            server,
            ice,
            lanes,
            metrics,
            sockets: HashMap::new(),
            next_id: 0,
            calls,
            pages: pages_out,
            stopping: false,
            pages_in: switchboard.pages.clone(),
            weak,
        };
        tokio::spawn(desk.run(event_inbox, ended_inbox));
        (switchboard, call_outbox)
    }

    /// Asks for a place. `None` when the relay is stopping.
    pub(crate) async fn visit(&self, visitor: Visitor) -> Option<Result<Seat, AdmitError>> {
        let (reply, answer) = oneshot::channel();
        self.events.send(Event::Visit(visitor, reply)).await.ok()?;
        answer.await.ok()
    }

    pub(crate) async fn front(&self, devices: Vec<Fronted>) {
        self.send(Event::Front(devices)).await;
    }

    pub(crate) async fn snapshot(&self) -> Option<Snapshot> {
        let (reply, answer) = oneshot::channel();
        self.events.send(Event::Snapshot(reply)).await.ok()?;
        answer.await.ok()
    }

    /// Sockets that are not the agent's own.
    pub(crate) fn pages(&self) -> watch::Receiver<usize> {
        self.pages.clone()
    }

    /// Takes nobody any more and closes everybody.
    pub(crate) async fn stop(&self) {
        self.send(Event::Stop).await;
    }

    async fn send(&self, event: Event) {
        // The loop lives as long as there is a switchboard, so this fails only in a runtime that is shutting down.
        let _ = self.events.send(event).await;
    }
}

impl Seat {
    pub(crate) async fn message(&self, message: ClientMessage) {
        self.switchboard.send(Event::Message(self.id, message)).await;
    }

    pub(crate) async fn violation(&self, violation: Violation) {
        self.switchboard.send(Event::Violation(self.id, violation)).await;
    }

    pub(crate) async fn drained(&self) {
        self.switchboard.send(Event::Drained(self.id)).await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let _ = self.switchboard.ended.send(self.id);
    }
}

/// The loop's own state.
struct Desk {
    server: Server,
    ice: Box<dyn IceProvider>,
    lanes: Lanes,
    metrics: Arc<Metrics>,
    sockets: HashMap<ConnectionId, Socket>,
    next_id: u64,
    calls: mpsc::Sender<FrontedCall>,
    pages: watch::Sender<usize>,
    stopping: bool,
    pages_in: watch::Receiver<usize>,
    /// Weak, so that the loop ends when everybody else is gone.
    weak: (mpsc::WeakSender<Event>, mpsc::WeakUnboundedSender<ConnectionId>),
}

struct Socket {
    queue: OutQueue,
    ip: IpAddr,
    ice_host: String,
    trusted: bool,
}

impl Desk {
    async fn run(mut self, mut events: mpsc::Receiver<Event>, mut ended: mpsc::UnboundedReceiver<ConnectionId>) {
        loop {
            let due = self.server.poll_timeout();
            let timeout = async {
                match due {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(id) = ended.recv() => {
                    // What the socket said before it ended comes first: why it leaves, and that it does.
                    for _ in 0..events.len() {
                        if let Ok(event) = events.try_recv() {
                            self.handle(event);
                            self.carry_out();
                        }
                    }
                    self.end(id);
                }
                event = events.recv() => match event {
                    Some(event) => self.handle(event),
                    None => return,
                },
                () = timeout => self.server.handle_timeout(Instant::now()),
            }
            self.carry_out();
        }
    }

    fn handle(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Visit(visitor, reply) => {
                if let Some(admitted) = self.admit(now, visitor) {
                    // Nobody waits any more: the seat in the answer is dropped and ends itself.
                    let _ = reply.send(admitted);
                }
            }
            Event::Message(id, message) => self.server.handle_message(now, id, message),
            Event::Violation(id, violation) => self.server.handle_violation(now, id, violation),
            Event::Drained(id) => self.server.handle_drained(now, id),
            Event::Front(devices) => self.server.set_fronted(now, devices),
            Event::Answer(call, mailbox) => self.server.answer_call(now, call, mailbox),
            Event::Snapshot(reply) => {
                let _ = reply.send(Snapshot { occupancy: self.server.occupancy(), counters: self.server.counters() });
            }
            Event::Stop => self.stop(now),
        }
    }

    fn admit(&mut self, now: Instant, visitor: Visitor) -> Option<Result<Seat, AdmitError>> {
        if self.stopping {
            return None;
        }
        let switchboard = self.switchboard()?;
        let id = ConnectionId(self.next_id);
        self.next_id += 1;
        let Visitor { origin, ice_host } = visitor;
        if let Err(why) = self.server.handle_connected(now, id, origin) {
            return Some(Err(why));
        }
        debug!(connection = id.0, ip = %origin.ip, trusted = origin.trusted, "socket came");
        let queue = OutQueue::default();
        let socket = Socket { queue: queue.clone(), ip: origin.ip, ice_host, trusted: origin.trusted };
        self.sockets.insert(id, socket);
        self.count_pages();
        Some(Ok(Seat { id, queue, switchboard }))
    }

    fn end(&mut self, id: ConnectionId) {
        self.server.handle_disconnected(Instant::now(), id);
        if self.sockets.remove(&id).is_some() {
            debug!(connection = id.0, "socket ended");
            self.count_pages();
        }
    }

    fn stop(&mut self, now: Instant) {
        self.stopping = true;
        info!(sockets = self.sockets.len(), "closing all sockets");
        for (id, socket) in self.sockets.drain() {
            socket.queue.close(Close::STOPPING);
            self.server.handle_disconnected(now, id);
        }
        self.count_pages();
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Send { to, message } => self.write(to, &message),
                Output::Welcome(welcome) => {
                    let to = welcome.to;
                    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                    self.write(to, &welcome.at(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)));
                }
                Output::Joined(joined) => {
                    let (to, mailbox, member) = (joined.to, joined.mailbox, joined.member);
                    let ice_servers = self.mint(to, mailbox, member);
                    let lane = self.lanes.ticket(mailbox, member);
                    self.write(to, &joined.with_paths(ice_servers, lane));
                }
                Output::RenewCredentials { to, mailbox, member } => {
                    let ice_servers = self.mint(to, mailbox, member);
                    self.write(to, &ServerMessage::IceServers { mailbox, ice_servers });
                }
                Output::MemberGone { mailbox, member } => {
                    self.ice.member_gone(mailbox, member);
                    self.lanes.member_gone(mailbox, member);
                }
                Output::ReportDrained { connection } => {
                    if let Some(socket) = self.sockets.get(&connection) {
                        socket.queue.push_drain_mark();
                    }
                }
                Output::Call { call, key } => self.call(call, key),
                Output::Close { connection, reason } => self.close(connection, reason),
            }
        }
    }

    fn write(&mut self, to: ConnectionId, message: &ServerMessage) {
        let Some(socket) = self.sockets.get(&to) else { return };
        let text = match serde_json::to_string(message) {
            Ok(text) => text,
            Err(error) => {
                debug_assert!(false, "server messages are always JSON: {error}");
                return;
            }
        };
        self.metrics.signaling_sent(text.len());
        if socket.queue.push(text).is_err() {
            debug!(connection = to.0, "socket is too slow");
            self.metrics.count_close(Close::SLOW);
            // Its task ends and reports that; until then nothing more is written to it.
            self.sockets.remove(&to);
            self.server.handle_disconnected(Instant::now(), to);
            self.count_pages();
        }
    }

    fn mint(
        &mut self,
        to: ConnectionId,
        mailbox: MailboxId,
        member: lanyard_protocol::MemberNumber,
    ) -> Vec<lanyard_protocol::signaling::IceServer> {
        match self.sockets.get(&to) {
            Some(socket) => {
                self.ice.ice_servers(IceRequest { mailbox, member, client: socket.ip, host: &socket.ice_host })
            }
            None => Vec::new(),
        }
    }

    fn call(&mut self, call: CallId, key: String) {
        let outgoing = FrontedCall { key, call, answer: self.switchboard() };
        if let Err(refused) = self.calls.try_send(outgoing) {
            // Nobody takes calls. Not by its `drop`, which would have to wait for this very loop.
            let mut outgoing = match refused {
                mpsc::error::TrySendError::Full(outgoing) | mpsc::error::TrySendError::Closed(outgoing) => outgoing,
            };
            outgoing.answer = None;
            self.server.answer_call(Instant::now(), call, None);
        }
    }

    fn close(&mut self, id: ConnectionId, reason: CloseReason) {
        let close = match reason {
            CloseReason::Refused => Close::REFUSED,
            CloseReason::Malformed => Close::MALFORMED,
            CloseReason::JoinTimeout => Close::IDLE,
            CloseReason::Flooding => Close::FLOODING,
        };
        self.metrics.count_close(close);
        if let Some(socket) = self.sockets.remove(&id) {
            socket.queue.close(close);
            self.count_pages();
        }
    }

    fn count_pages(&self) {
        let pages = self.sockets.values().filter(|socket| !socket.trusted).count();
        self.pages.send_if_modified(|before| std::mem::replace(before, pages) != pages);
    }

    fn switchboard(&self) -> Option<Switchboard> {
        let (events, ended) = (self.weak.0.upgrade()?, self.weak.1.upgrade()?);
        Some(Switchboard { events, ended, pages: self.pages_in.clone() })
    }
}
