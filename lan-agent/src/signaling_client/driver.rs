//! The socket's owner: connects, returns to slots, and hands each message to whom it concerns.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use lanyard_protocol::signaling::{
    Body, ClientMessage, ErrorCode, IceServer, ListedDevice, Platform, ServerMessage, Side,
};
use lanyard_protocol::{DeviceId, LaneTicket, MailboxId, MemberNumber, Nameplate, PROTOCOL_VERSION, SlotToken, limits};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{self, Message, protocol::WebSocketConfig};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tracing::{debug, info};

use super::backoff::Backoff;
use super::{LaneDoor, Mailbox, MailboxEvent, MailboxSender, ServerStatus, ServerUrl, SignalingError};

/// How long one address may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// The same while somebody waits for it, and how long a server may take to answer when it is asked for a sign of life.
const HASTY_TIMEOUT: Duration = Duration::from_millis(1_500);

/// How long somebody counts as waiting after they asked.
const HASTE: Duration = Duration::from_secs(5);

/// The server pings every 20 s; a socket without a sound for this long is dead.
const SILENCE: Duration = Duration::from_secs(45);

/// Events that wait in a mailbox. When its holder falls further behind, the mailbox is given up.
const MAILBOX_EVENTS: usize = 64;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

type Reply<T> = oneshot::Sender<Result<T, SignalingError>>;

/// What the handles ask for.
#[derive(Debug)]
pub(super) enum Command {
    Join { mailbox: MailboxId, reply: Reply<Mailbox> },
    Send { mailbox: MailboxId, to: MemberNumber, body: Body },
    Leave { mailbox: MailboxId },
    Stay { mailbox: MailboxId },
    Flush { reply: oneshot::Sender<()> },
    Dial { device: DeviceId, reply: Reply<MailboxId> },
    Allocate { reply: Reply<(Nameplate, MailboxId)> },
    Claim { nameplate: Nameplate, stamp: Option<u64>, reply: Reply<MailboxId> },
    Release { nameplate: Nameplate },
    Announce { name: String, platform: Platform, seconds: u32 },
}

/// Asked of the server and not answered. Errors that name no mailbox answer the first that they fit.
enum Pending {
    Dial { device: DeviceId, reply: Reply<MailboxId> },
    Allocate { reply: Reply<(Nameplate, MailboxId)> },
    Claim { nameplate: Nameplate, reply: Reply<MailboxId> },
}

impl Pending {
    fn may_fail_with(&self, code: ErrorCode) -> bool {
        match code {
            ErrorCode::NoSuchNameplate | ErrorCode::NameplateUsed | ErrorCode::NameplateExpired => {
                matches!(self, Self::Claim { .. })
            }
            ErrorCode::NoSuchDevice => matches!(self, Self::Dial { .. }),
            ErrorCode::Malformed
            | ErrorCode::RateLimited
            | ErrorCode::Full
            | ErrorCode::NotJoined
            | ErrorCode::QueueFull
            | ErrorCode::SlotGone => true,
        }
    }

    fn fail(self, error: SignalingError) {
        // Whoever asked may have stopped waiting.
        match self {
            Self::Dial { reply, .. } | Self::Claim { reply, .. } => drop(reply.send(Err(error))),
            Self::Allocate { reply } => drop(reply.send(Err(error))),
        }
    }
}

/// Where the server is, and what it wants to see.
pub(super) struct Server {
    pub(super) urls: Vec<ServerUrl>,
    pub(super) header: Option<(&'static str, String)>,
}

pub(super) struct Driver {
    server: Server,
    commands: mpsc::Receiver<Command>,
    /// Handed to mailboxes. Weak, so that this task does not keep itself alive.
    own_commands: mpsc::WeakSender<Command>,
    status: watch::Sender<ServerStatus>,
    nearby: watch::Sender<Option<Vec<ListedDevice>>>,
    rings: mpsc::Sender<MailboxId>,
    mailboxes: HashMap<MailboxId, Held>,
    pending: VecDeque<Pending>,
    /// This socket's id, which stamps are made for.
    device: Option<DeviceId>,
    announcement: Option<(String, Platform, u32)>,
    /// Somebody wants to know whether the server hears us.
    check: Arc<Notify>,
    checked_at: Option<Instant>,
    /// The address that answered last.
    connected: Option<ServerUrl>,
}

/// A mailbox that is joined, or about to be.
struct Held {
    slot: Option<SlotToken>,
    joining: Option<oneshot::Sender<Result<Mailbox, SignalingError>>>,
    ice_servers: watch::Sender<Vec<IceServer>>,
    lane: watch::Sender<Option<LaneDoor>>,
    /// Whether to come back even when the slot was not kept.
    stays: bool,
    events: mpsc::Sender<MailboxEvent>,
    /// Until the joiner takes it.
    receiver: Option<mpsc::Receiver<MailboxEvent>>,
}

/// Why a connected socket is not used any longer.
enum Ended {
    /// Connect again.
    Lost,
    /// Nobody holds the client any more.
    NoHandles,
    /// The versions do not fit.
    Incompatible { we_are_too_old: bool },
}

impl Driver {
    pub(super) fn new(
        server: Server,
        commands: mpsc::Receiver<Command>,
        own_commands: mpsc::WeakSender<Command>,
        status: watch::Sender<ServerStatus>,
        nearby: watch::Sender<Option<Vec<ListedDevice>>>,
        rings: mpsc::Sender<MailboxId>,
    ) -> Self {
        Self {
            server,
            commands,
            own_commands,
            status,
            nearby,
            rings,
            mailboxes: HashMap::new(),
            pending: VecDeque::new(),
            device: None,
            announcement: None,
            check: Arc::new(Notify::new()),
            checked_at: None,
            connected: None,
        }
    }

    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            if self.commands.is_closed() {
                return;
            }
            let check = Arc::clone(&self.check);
            tokio::select! {
                () = tokio::time::sleep(backoff.next(rand::random())) => {}
                () = check.notified() => self.checked_at = Some(Instant::now()),
            }
            let Some(socket) = self.connect().await else {
                self.status.send_replace(ServerStatus::Offline);
                continue;
            };
            match self.serve(socket, &mut backoff).await {
                Ended::Lost => {
                    info!("lost the signaling server; connecting again");
                    self.status.send_replace(ServerStatus::Connecting);
                    for request in self.pending.drain(..) {
                        request.fail(SignalingError::NoAnswer);
                    }
                }
                Ended::NoHandles => return,
                Ended::Incompatible { we_are_too_old } => {
                    self.status.send_replace(ServerStatus::Incompatible { we_are_too_old });
                    return;
                }
            }
        }
    }

    async fn connect(&mut self) -> Option<Socket> {
        // `wss://` needs a provider of ciphers for the process; a second call does nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = WebSocketConfig::default()
            .read_buffer_size(16 * 1024)
            .write_buffer_size(0)
            .max_message_size(Some(limits::SIGNALING_MESSAGE_BYTES))
            .max_frame_size(Some(limits::SIGNALING_MESSAGE_BYTES));
        let limit = match self.checked_at {
            Some(at) if at.elapsed() < HASTE => HASTY_TIMEOUT,
            Some(_) | None => CONNECT_TIMEOUT,
        };
        for url in &self.server.urls {
            let Some(request) = self.request(url) else { continue };
            let connecting = tokio_tungstenite::connect_async_with_config(request, Some(config), true);
            match timeout(limit, connecting).await {
                Ok(Ok((socket, _))) => {
                    self.connected = Some(url.clone());
                    return Some(socket);
                }
                Ok(Err(error)) => debug!(%url, %error, "cannot reach the signaling server"),
                Err(_) => debug!(%url, "the signaling server does not answer"),
            }
        }
        None
    }

    fn request(&self, url: &ServerUrl) -> Option<Request> {
        let mut request = url.websocket().into_client_request().ok()?;
        if let Some((name, value)) = &self.server.header {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).ok()?);
        }
        Some(request)
    }

    /// Greets the server and serves until the socket ends.
    async fn serve(&mut self, mut socket: Socket, backoff: &mut Backoff) -> Ended {
        if say(&mut socket, &ClientMessage::Hello { protocol_version: PROTOCOL_VERSION }).await.is_err() {
            return Ended::Lost;
        }
        let mut welcomed = false;
        let check = Arc::clone(&self.check);
        // A server that somebody asked after must make a sound by then.
        let mut answer_by: Option<Instant> = None;
        loop {
            tokio::select! {
                () = check.notified() => {
                    self.checked_at = Some(Instant::now());
                    if answer_by.is_none() {
                        answer_by = Some(Instant::now() + HASTY_TIMEOUT);
                        if socket.send(Message::Ping(Default::default())).await.is_err() {
                            return Ended::Lost;
                        }
                    }
                }
                () = sleep_until(answer_by) => return Ended::Lost,
                received = timeout(SILENCE, socket.next()) => {
                    answer_by = None;
                    let text = match received {
                        Ok(Some(Ok(Message::Text(text)))) => text,
                        Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => continue,
                        Ok(Some(Ok(Message::Binary(_) | Message::Close(_) | Message::Frame(_)) | Err(_)) | None) | Err(_) => {
                            return Ended::Lost;
                        }
                    };
                    let message = match ServerMessage::decode(&text) {
                        Ok(message) => message,
                        // A later server may say more than this version knows.
                        Err(error) => {
                            debug!(%error, "did not understand the signaling server");
                            continue;
                        }
                    };
                    if let ServerMessage::Refused { too_old, .. } = &message {
                        return Ended::Incompatible { we_are_too_old: *too_old == Side::Client };
                    }
                    if let ServerMessage::Welcome { device, time_ms, .. } = &message {
                        welcomed = true;
                        backoff.reset();
                        self.device = Some(*device);
                        self.status.send_replace(ServerStatus::Online {
                            device: *device,
                            time_ms: *time_ms,
                            at: tokio::time::Instant::now(),
                        });
                        if self.return_to_slots(&mut socket).await.is_err() {
                            return Ended::Lost;
                        }
                    }
                    if let Some(answer) = self.handle_message(message)
                        && say(&mut socket, &answer).await.is_err()
                    {
                        return Ended::Lost;
                    }
                }
                command = self.commands.recv(), if welcomed => {
                    let Some(command) = command else {
                        let _ = socket.close(None).await;
                        return Ended::NoHandles;
                    };
                    if let Some(message) = self.handle_command(command)
                        && say(&mut socket, &message).await.is_err()
                    {
                        return Ended::Lost;
                    }
                }
            }
        }
    }

    async fn return_to_slots(&mut self, socket: &mut Socket) -> Result<(), tungstenite::Error> {
        for (mailbox, held) in &self.mailboxes {
            say(socket, &ClientMessage::Join { mailbox: *mailbox, slot: held.slot }).await?;
        }
        if let Some((name, platform, seconds)) = self.announcement.clone() {
            say(socket, &ClientMessage::Announce { name, platform, seconds }).await?;
        }
        Ok(())
    }

    /// What to tell the server, if anything.
    fn handle_command(&mut self, command: Command) -> Option<ClientMessage> {
        match command {
            Command::Join { mailbox, reply } => {
                if self.mailboxes.contains_key(&mailbox) {
                    // Two holders of one side would each see half of what comes.
                    let _ = reply.send(Err(SignalingError::Crowded));
                    return None;
                }
                let (events, receiver) = mpsc::channel(MAILBOX_EVENTS);
                let (ice_servers, _) = watch::channel(Vec::new());
                let (lane, _) = watch::channel(None);
                let held = Held {
                    slot: None,
                    joining: Some(reply),
                    ice_servers,
                    lane,
                    stays: false,
                    events,
                    receiver: Some(receiver),
                };
                self.mailboxes.insert(mailbox, held);
                Some(ClientMessage::Join { mailbox, slot: None })
            }
            Command::Send { mailbox, to, body } => {
                self.mailboxes.contains_key(&mailbox).then_some(ClientMessage::Send { mailbox, to, body })
            }
            Command::Flush { reply } => {
                // What came before was handed to the system already.
                let _ = reply.send(());
                None
            }
            Command::Leave { mailbox } => self.mailboxes.remove(&mailbox).map(|_| ClientMessage::Leave { mailbox }),
            Command::Stay { mailbox } => {
                if let Some(held) = self.mailboxes.get_mut(&mailbox) {
                    held.stays = true;
                }
                None
            }
            Command::Dial { device, reply } => {
                self.pending.push_back(Pending::Dial { device, reply });
                Some(ClientMessage::Dial { device })
            }
            Command::Allocate { reply } => {
                self.pending.push_back(Pending::Allocate { reply });
                Some(ClientMessage::Allocate)
            }
            Command::Claim { nameplate, stamp, reply } => {
                self.pending.push_back(Pending::Claim { nameplate: nameplate.clone(), reply });
                Some(ClientMessage::Claim { nameplate, stamp })
            }
            Command::Release { nameplate } => Some(ClientMessage::Release { nameplate }),
            Command::Announce { name, platform, seconds } => {
                self.announcement = (seconds > 0).then(|| (name.clone(), platform, seconds));
                Some(ClientMessage::Announce { name, platform, seconds })
            }
        }
    }

    /// What to answer, if anything.
    fn handle_message(&mut self, message: ServerMessage) -> Option<ClientMessage> {
        match message {
            ServerMessage::Joined { mailbox, member, others, slot, ice_servers, lane } => {
                self.handle_joined(mailbox, slot, ice_servers, lane);
                self.settle_joined(mailbox, member, others);
            }
            ServerMessage::Presence { mailbox, member, state } => {
                self.pass_on(mailbox, MailboxEvent::Presence { member, state });
            }
            ServerMessage::Message { mailbox, from, body } => {
                self.pass_on(mailbox, MailboxEvent::Message { from, body });
            }
            ServerMessage::Crowded { mailbox } => {
                self.end(mailbox, MailboxEvent::Crowded, SignalingError::Crowded);
            }
            ServerMessage::IceServers { mailbox, ice_servers } => {
                if let Some(held) = self.mailboxes.get(&mailbox) {
                    held.ice_servers.send_replace(ice_servers);
                }
            }
            ServerMessage::Nearby { devices } => {
                let mut devices = devices;
                devices.truncate(limits::NEARBY_DEVICES);
                self.nearby.send_replace(Some(devices));
            }
            ServerMessage::Dialed { device, mailbox } => self.answer_dial(device, Ok(mailbox)),
            ServerMessage::Ring { mailbox } => {
                if self.rings.try_send(mailbox).is_err() {
                    debug!("did not take a call: too many wait, or nobody listens");
                }
            }
            ServerMessage::Error { code, message, mailbox } => return self.handle_error(code, message, mailbox),
            ServerMessage::Allocated { nameplate, mailbox } => self.answer_allocation(nameplate, mailbox),
            ServerMessage::Claimed { nameplate, mailbox } => self.answer_claim(&nameplate, mailbox),
            ServerMessage::StampWanted { nameplate, bits } => self.work_for_claim(nameplate, bits),
            // Read by `serve`; a second one changes nothing.
            ServerMessage::Welcome { .. } | ServerMessage::Refused { .. } => {}
        }
        None
    }

    fn handle_joined(
        &mut self,
        mailbox: MailboxId,
        slot: SlotToken,
        ice_servers: Vec<IceServer>,
        ticket: Option<LaneTicket>,
    ) {
        let Some(held) = self.mailboxes.get_mut(&mailbox) else { return };
        held.slot = Some(slot);
        held.ice_servers.send_replace(ice_servers);
        let header = self.server.header.clone();
        let door = ticket.zip(self.connected.as_ref()).map(|(ticket, url)| LaneDoor {
            url: url.lane(),
            // Only this process has its own server's token.
            own_server: header.is_some(),
            header,
            ticket,
        });
        held.lane.send_replace(door);
    }

    /// Gives the mailbox to its joiner, or tells its holder that it is back.
    fn settle_joined(&mut self, mailbox: MailboxId, member: MemberNumber, others: Vec<MemberNumber>) {
        let Some(held) = self.mailboxes.get_mut(&mailbox) else { return };
        let (Some(reply), Some(events)) = (held.joining.take(), held.receiver.take()) else {
            self.pass_on(mailbox, MailboxEvent::Returned { others });
            return;
        };
        let Some(commands) = self.own_commands.upgrade() else { return };
        let (status, check) = (self.status.subscribe(), Arc::clone(&self.check));
        let sender = MailboxSender { id: mailbox, commands, status, check };
        let (ice_servers, lane) = (held.ice_servers.subscribe(), held.lane.subscribe());
        // A joiner that stopped waiting drops the mailbox, and with it leaves.
        let _ = reply.send(Ok(Mailbox { sender, member, others, ice_servers, lane, events, nameplate: None }));
    }

    fn handle_error(&mut self, code: ErrorCode, message: String, mailbox: Option<MailboxId>) -> Option<ClientMessage> {
        debug!(?code, %message, "the signaling server said no");
        let held = mailbox.and_then(|mailbox| self.mailboxes.get_mut(&mailbox));
        match (code, mailbox, held) {
            (ErrorCode::QueueFull | ErrorCode::RateLimited, Some(mailbox), Some(held)) if held.joining.is_none() => {
                self.pass_on(mailbox, MailboxEvent::NotCarried);
            }
            // The two meet again where they were: who comes first is alone for a while (LK-30).
            (ErrorCode::SlotGone, Some(mailbox), Some(held)) if held.stays => {
                held.slot = None;
                return Some(ClientMessage::Join { mailbox, slot: None });
            }
            // Said to a side that has left, which may come back.
            (ErrorCode::NotJoined, Some(mailbox), Some(held)) if held.stays => {
                self.pass_on(mailbox, MailboxEvent::NotCarried);
            }
            (_, Some(mailbox), _) => {
                self.end(mailbox, MailboxEvent::Gone, SignalingError::Refused { code, message });
            }
            (_, None, _) => {
                let asked = self.pending.iter().position(|request| request.may_fail_with(code));
                if let Some(request) = asked.and_then(|at| self.pending.remove(at)) {
                    request.fail(SignalingError::Refused { code, message });
                }
            }
        }
        None
    }

    fn answer_dial(&mut self, dialed: DeviceId, answer: Result<MailboxId, SignalingError>) {
        let asked = |request: &Pending| matches!(request, Pending::Dial { device, .. } if *device == dialed);
        if let Some(Pending::Dial { reply, .. }) = self.take_pending(asked) {
            let _ = reply.send(answer);
        }
    }

    fn answer_allocation(&mut self, nameplate: Nameplate, mailbox: MailboxId) {
        if let Some(Pending::Allocate { reply }) =
            self.take_pending(|request| matches!(request, Pending::Allocate { .. }))
        {
            let _ = reply.send(Ok((nameplate, mailbox)));
        }
    }

    fn answer_claim(&mut self, claimed: &Nameplate, mailbox: MailboxId) {
        let asked = |request: &Pending| matches!(request, Pending::Claim { nameplate, .. } if nameplate == claimed);
        if let Some(Pending::Claim { reply, .. }) = self.take_pending(asked) {
            let _ = reply.send(Ok(mailbox));
        }
    }

    /// Works beside the socket, then claims again (SG-21).
    fn work_for_claim(&mut self, wanted: Nameplate, bits: u8) {
        let asked = |request: &Pending| matches!(request, Pending::Claim { nameplate, .. } if *nameplate == wanted);
        let Some(Pending::Claim { nameplate, reply }) = self.take_pending(asked) else { return };
        let (Some(device), Some(commands)) = (self.device, self.own_commands.upgrade()) else { return };
        if bits > limits::STAMP_BITS {
            let message = "The server asks for more work than a code is worth. Scan the QR code instead.".to_owned();
            let _ = reply.send(Err(SignalingError::Refused { code: ErrorCode::RateLimited, message }));
            return;
        }
        debug!(bits, "a claim costs work now");
        tokio::task::spawn_blocking(move || {
            let stamp = lanyard_signaling::find_stamp(device, &nameplate, bits);
            // Without room in the queue the asker hears nothing and gives up by itself.
            let _ = commands.blocking_send(Command::Claim { nameplate, stamp, reply });
        });
    }

    fn take_pending(&mut self, is_it: impl Fn(&Pending) -> bool) -> Option<Pending> {
        let at = self.pending.iter().position(is_it)?;
        self.pending.remove(at)
    }

    fn pass_on(&mut self, mailbox: MailboxId, event: MailboxEvent) {
        let Some(held) = self.mailboxes.get(&mailbox) else { return };
        if held.events.try_send(event).is_err() {
            debug!(?mailbox, "gave up a mailbox whose holder does not read");
            self.mailboxes.remove(&mailbox);
        }
    }

    fn end(&mut self, mailbox: MailboxId, event: MailboxEvent, error: SignalingError) {
        let Some(held) = self.mailboxes.remove(&mailbox) else { return };
        match held.joining {
            Some(reply) => {
                let _ = reply.send(Err(error));
            }
            // With a full queue its holder sees the end of the queue instead.
            None => {
                let _ = held.events.try_send(event);
            }
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn say(socket: &mut Socket, message: &ClientMessage) -> Result<(), tungstenite::Error> {
    // Every message has a JSON form: they are strings, numbers and lists.
    let text = serde_json::to_string(message).unwrap_or_default();
    socket.send(Message::text(text)).await
}
