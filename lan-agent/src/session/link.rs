//! A link as a conversation sees it: opened for one attempt, bound to the pairing, fed through short queues.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use lanyard_pairing::{NO_CERTIFICATE, Session, lane_session_id};
use lanyard_protocol::peer::Signal;
use lanyard_protocol::signaling::IceServer;
use lanyard_transfer::PathKind;
use tokio::sync::mpsc;
use tracing::debug;

use super::Context;
use crate::agent::event::Route;
use crate::lane_link::{self, LaneClose, LaneEvent, LaneEvents, LaneLink};
use crate::peer_link::{self, LinkConfig, LinkEvents, OpenError, Pacing, PeerLink, Role};
use crate::signaling_client::LaneDoor;

/// Control messages handed over and not yet taken by the link.
const CONTROL_QUEUE: usize = 16;

/// Data messages handed over and not yet taken by the link: one on its way, one ready.
const DATA_QUEUE: usize = 2;

/// How far a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Looking for a path.
    Opening,
    /// Open; our bind is sent, the other one has not come.
    Binding,
    /// The other end is the device that was met.
    Bound,
}

/// What goes onto the control channel.
pub(super) enum Outgoing {
    Bind([u8; 32]),
    Text(String),
}

/// What a link tells, whatever carries it.
pub(super) enum LinkEvent {
    /// To be brought to the other side.
    Signal(Signal),
    Open,
    Bind(Bytes),
    Control(String),
    Data(Bytes),
    /// A sign of life that carries nothing.
    Alive,
    Route(Route),
    Closed(Closed),
}

/// How a link ended.
pub(super) struct Closed {
    pub(super) reason: String,
    /// The server of a lane changed what it carried.
    pub(super) tampered: bool,
}

/// What a bind is made over.
pub(super) struct BindTerms {
    pub(super) session_id: [u8; 16],
    pub(super) own: [u8; 32],
    pub(super) theirs: [u8; 32],
}

/// One attempt's link.
pub(super) struct ActiveLink {
    pub(super) attempt: u32,
    pub(super) phase: Phase,
    pub(super) control: mpsc::Sender<Outgoing>,
    pub(super) data: mpsc::Sender<Bytes>,
    /// The way it takes, once known.
    pub(super) route: Option<Route>,
    carrier: Carrier,
    events: Events,
    /// Messages handed over that the link has not taken yet.
    unsent: Arc<AtomicUsize>,
}

enum Carrier {
    Direct(Arc<PeerLink>),
    Lane { link: Arc<LaneLink>, own_server: bool },
}

enum Events {
    /// With the addresses that this device and the other one have offered.
    Direct {
        events: LinkEvents,
        own: u32,
        theirs: u32,
    },
    Lane(LaneEvents),
}

impl ActiveLink {
    pub(super) async fn open(
        attempt: u32,
        role: Role,
        ice_servers: Vec<IceServer>,
        to_browser: bool,
        context: &Context,
    ) -> Result<Self, OpenError> {
        let mut config = LinkConfig::new(role);
        config.ice_servers = ice_servers.into_iter().map(known_to_link).collect();
        config.pacing = if to_browser { Pacing::BROWSER } else { Pacing::NATIVE };
        if !context.addresses.is_empty() {
            config.interfaces = peer_link::Interfaces::Only(context.addresses.clone());
        }
        config.resolve_name = context.names.clone().map(|names| -> peer_link::ResolveName {
            Arc::new(move |name: String| {
                let names = names.clone();
                Box::pin(async move { names.resolve(&name).await })
            })
        });
        let (link, events) = PeerLink::open(config).await?;
        let events = Events::Direct { events, own: 0, theirs: 0 };
        Ok(Self::start(attempt, Carrier::Direct(Arc::new(link)), events))
    }

    /// Over a WebSocket at the server of the mailbox.
    pub(super) fn open_lane(attempt: u32, door: LaneDoor, session: &Session) -> Self {
        let own_server = door.own_server;
        let (link, events) = LaneLink::open(door, attempt, &session.lane_keys());
        let carrier = Carrier::Lane { link: Arc::new(link), own_server };
        let mut lane = Self::start(attempt, carrier, Events::Lane(events));
        lane.route = Some(if own_server { Route::Lan } else { Route::Relayed });
        lane
    }

    fn start(attempt: u32, carrier: Carrier, events: Events) -> Self {
        let (control, control_queue) = mpsc::channel(CONTROL_QUEUE);
        let (data, data_queue) = mpsc::channel(DATA_QUEUE);
        let unsent = Arc::new(AtomicUsize::new(0));
        tokio::spawn(send_control(carrier.clone(), control_queue, unsent.clone()));
        tokio::spawn(send_data(carrier.clone(), data_queue, unsent.clone()));
        Self { attempt, phase: Phase::Opening, control, data, route: None, carrier, events, unsent }
    }

    pub(super) fn path(&self) -> PathKind {
        match &self.carrier {
            Carrier::Direct(_) => PathKind::Direct,
            Carrier::Lane { .. } => PathKind::Lane,
        }
    }

    /// The next event; never ends without one. May be dropped and called again without losing an event.
    pub(super) async fn next(&mut self) -> LinkEvent {
        let event = match &mut self.events {
            Events::Direct { events, own, .. } => loop {
                match events.next().await {
                    Some(peer_link::LinkEvent::State(state)) => debug!(?state, "the link's state changed"),
                    Some(event) => {
                        let event = from_direct(event);
                        if let Some(LinkEvent::Signal(signal)) = &event {
                            *own = own.saturating_add(addresses_in(signal));
                        }
                        break event;
                    }
                    None => break None,
                }
            },
            Events::Lane(events) => events.next().await.map(from_lane),
        };
        match event {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }

    /// Whether this device told its last candidate and had none: nobody can reach it by WebRTC.
    pub(super) fn offers_nothing(&self, told: &Signal) -> bool {
        matches!((&self.events, told), (Events::Direct { own: 0, .. }, Signal::EndOfCandidates))
    }

    /// Takes a signal of the other side. `false` when that was its last candidate and it had none.
    pub(super) async fn handle_signal(&mut self, signal: Signal) -> bool {
        let mut is_reachable = true;
        match (&mut self.events, &self.carrier) {
            (Events::Direct { theirs, .. }, Carrier::Direct(link)) => {
                *theirs = theirs.saturating_add(addresses_in(&signal));
                is_reachable = !(*theirs == 0 && matches!(signal, Signal::EndOfCandidates));
                if let Err(error) = link.handle_signal(signal).await {
                    debug!(%error, "a signal was not usable");
                }
            }
            (_, Carrier::Lane { own_server, .. }) => {
                if let Signal::Lane { own_server: theirs } = signal {
                    self.route = Some(if *own_server || theirs { Route::Lan } else { Route::Relayed });
                }
            }
            (Events::Lane(_), Carrier::Direct(_)) => {}
        }
        is_reachable
    }

    /// What the bind is made over: SHA-256 of both certificates as they were really used, where there are any.
    pub(super) async fn bind_terms(&self) -> Option<BindTerms> {
        match &self.carrier {
            Carrier::Direct(link) => Some(BindTerms {
                session_id: u128::from(self.attempt).to_be_bytes(),
                own: link.local_certificate_sha256(),
                theirs: link.remote_certificate_sha256().await?,
            }),
            Carrier::Lane { .. } => Some(BindTerms {
                session_id: lane_session_id(self.attempt),
                own: NO_CERTIFICATE,
                theirs: NO_CERTIFICATE,
            }),
        }
    }

    pub(super) fn max_message_size(&self) -> usize {
        match &self.carrier {
            Carrier::Direct(link) => link.max_message_size(),
            Carrier::Lane { .. } => lane_link::MAX_MESSAGE_BYTES,
        }
    }

    /// Looks for a better or new path; only the offerer can.
    pub(super) async fn restart_ice(&self) {
        if let Carrier::Direct(link) = &self.carrier
            && let Err(error) = link.restart_ice().await
        {
            debug!(%error, "did not look for a new path");
        }
    }

    /// Hands a message to a queue that has room for it.
    pub(super) fn hand_over<T>(&self, permit: mpsc::Permit<'_, T>, message: T) {
        self.unsent.fetch_add(1, Ordering::AcqRel);
        permit.send(message);
    }

    /// Whether everything that was handed over has reached the other side.
    pub(super) async fn is_flushed(&self) -> bool {
        let buffered = match &self.carrier {
            Carrier::Direct(link) => link.buffered_amount().await,
            Carrier::Lane { link, .. } => link.unwritten(),
        };
        self.unsent.load(Ordering::Acquire) == 0 && buffered == 0
    }

    /// Ends it without waiting.
    pub(super) fn close(self) {
        tokio::spawn(self.finish());
    }

    /// Ends it; what was handed over may be lost.
    pub(super) async fn finish(self) {
        match &self.carrier {
            Carrier::Direct(link) => link.close().await,
            Carrier::Lane { link, .. } => link.close().await,
        }
    }
}

impl Clone for Carrier {
    fn clone(&self) -> Self {
        match self {
            Self::Direct(link) => Self::Direct(Arc::clone(link)),
            Self::Lane { link, own_server } => Self::Lane { link: Arc::clone(link), own_server: *own_server },
        }
    }
}

impl Carrier {
    async fn send_control(&self, message: Outgoing) -> Result<(), String> {
        match (self, message) {
            (Self::Direct(link), Outgoing::Bind(bind)) => link.send_bind(&bind).await.map_err(|e| e.to_string()),
            (Self::Direct(link), Outgoing::Text(text)) => link.send_control(&text).await.map_err(|e| e.to_string()),
            (Self::Lane { link, .. }, Outgoing::Bind(bind)) => link.send_bind(bind).await.map_err(|e| e.to_string()),
            (Self::Lane { link, .. }, Outgoing::Text(text)) => link.send_control(text).await.map_err(|e| e.to_string()),
        }
    }

    async fn send_data(&self, frame: Bytes) -> Result<(), String> {
        match self {
            Self::Direct(link) => link.send_data(frame).await.map_err(|error| error.to_string()),
            Self::Lane { link, .. } => link.send_data(frame).await.map_err(|error| error.to_string()),
        }
    }
}

fn from_direct(event: peer_link::LinkEvent) -> Option<LinkEvent> {
    Some(match event {
        peer_link::LinkEvent::Signal(signal) => LinkEvent::Signal(signal),
        peer_link::LinkEvent::Open => LinkEvent::Open,
        peer_link::LinkEvent::Bind(bind) => LinkEvent::Bind(bind),
        peer_link::LinkEvent::Control(text) => LinkEvent::Control(text),
        peer_link::LinkEvent::Data(frame) => LinkEvent::Data(frame),
        peer_link::LinkEvent::Route(info) => LinkEvent::Route(match info.route {
            peer_link::Route::DirectLan => Route::Lan,
            peer_link::Route::DirectInternet => Route::Internet,
            peer_link::Route::Relayed => Route::Relayed,
        }),
        peer_link::LinkEvent::Closed(reason) => {
            LinkEvent::Closed(Closed { reason: reason.to_string(), tampered: false })
        }
        // Taken out before.
        peer_link::LinkEvent::State(_) => return None,
    })
}

fn from_lane(event: LaneEvent) -> LinkEvent {
    match event {
        LaneEvent::Open => LinkEvent::Open,
        LaneEvent::Bind(bind) => LinkEvent::Bind(bind),
        LaneEvent::Control(text) => LinkEvent::Control(text),
        LaneEvent::Data(frames) => LinkEvent::Data(frames),
        LaneEvent::Alive => LinkEvent::Alive,
        LaneEvent::Closed(why) => {
            let tampered = matches!(why, LaneClose::Tampered(_));
            LinkEvent::Closed(Closed { reason: why.to_string(), tampered })
        }
    }
}

/// How many candidates a signal brings.
fn addresses_in(signal: &Signal) -> u32 {
    match signal {
        Signal::Offer { sdp } | Signal::Answer { sdp } => {
            u32::try_from(sdp.lines().filter(|line| line.starts_with("a=candidate:")).count()).unwrap_or(u32::MAX)
        }
        Signal::Candidate { candidate, .. } => u32::from(!candidate.is_empty()),
        Signal::EndOfCandidates | Signal::Lane { .. } => 0,
    }
}

async fn send_control(carrier: Carrier, mut queue: mpsc::Receiver<Outgoing>, unsent: Arc<AtomicUsize>) {
    while let Some(message) = queue.recv().await {
        if let Err(error) = carrier.send_control(message).await {
            debug!(%error, "a control message was not sent");
            return;
        }
        unsent.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn send_data(carrier: Carrier, mut queue: mpsc::Receiver<Bytes>, unsent: Arc<AtomicUsize>) {
    while let Some(frame) = queue.recv().await {
        if let Err(error) = carrier.send_data(frame).await {
            debug!(%error, "a data message was not sent");
            return;
        }
        unsent.fetch_sub(1, Ordering::AcqRel);
    }
}

fn known_to_link(server: IceServer) -> peer_link::IceServer {
    peer_link::IceServer {
        urls: server.urls,
        username: server.username.unwrap_or_default(),
        credential: server.credential.unwrap_or_default(),
    }
}
