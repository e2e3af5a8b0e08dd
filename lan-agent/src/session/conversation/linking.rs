//! The link of the present attempt: opened, bound, fed, repaired.

use std::time::{Duration, Instant};

use lanyard_pairing::Role;
use lanyard_protocol::peer::PeerMessage;
use tracing::{debug, info, warn};

use super::super::link::{ActiveLink, Outgoing, Phase};
use super::{Conversation, Next, PROGRESS_EVERY, REPAIR_EVERY};
use crate::agent::event::{Event, Route};
use crate::peer_link::{self, CloseReason, LinkEvent};
use crate::terminal::display;

/// How many repairs of one link before a new one is opened in its place.
const REPAIRS: u32 = 2;

impl Conversation {
    pub(super) fn is_offerer(&self) -> bool {
        self.met.session.role() == Role::Responder
    }

    pub(super) async fn begin_attempt(&mut self, attempt: u32) {
        self.drop_link();
        self.attempt = attempt;
        let role = if self.is_offerer() { peer_link::Role::Offerer } else { peer_link::Role::Answerer };
        let to_browser = !self.met.session.peer_profile().can("native");
        let ice_servers = self.met.mailbox.ice_servers();
        match ActiveLink::open(attempt, role, ice_servers, to_browser, &self.context).await {
            Ok(link) => {
                self.link = Some(link);
                self.repair_at = None;
            }
            Err(error) => {
                warn!(%error, "could not open a connection");
                self.repair_at = Some(Instant::now() + REPAIR_EVERY);
            }
        }
    }

    pub(super) fn drop_link(&mut self) {
        let Some(link) = self.link.take() else { return };
        if link.phase == Phase::Bound {
            self.exchange.link_lost(Instant::now());
            self.lost_at = Some(Instant::now());
            self.signs.linked.send_replace(false);
            self.context.tell(Event::Interrupted { who: self.who.clone() });
        }
        self.route = None;
        link.close();
    }

    pub(super) async fn handle_link(&mut self, event: LinkEvent) -> Next {
        let now = Instant::now();
        let phase = self.link.as_ref().map(|link| link.phase);
        match event {
            LinkEvent::Signal(signal) => {
                let attempt = self.attempt;
                self.say(&PeerMessage::Signal { attempt, signal });
            }
            LinkEvent::Open => return self.send_bind().await,
            LinkEvent::Bind(bind) if phase == Some(Phase::Binding) => return self.handle_bind(now, &bind).await,
            LinkEvent::Control(text) if phase == Some(Phase::Bound) => self.exchange.handle_control(now, &text),
            LinkEvent::Data(frame) if phase == Some(Phase::Bound) => self.exchange.handle_data(now, &frame),
            LinkEvent::Bind(_) | LinkEvent::Control(_) | LinkEvent::Data(_) => return self.refuse_link(),
            LinkEvent::Route(info) => {
                let route = match info.route {
                    peer_link::Route::DirectLan => Route::Lan,
                    peer_link::Route::DirectInternet => Route::Internet,
                    peer_link::Route::Relayed => Route::Relayed,
                };
                let changed = self.route.replace(route) != Some(route);
                if changed && phase == Some(Phase::Bound) {
                    self.context.tell(Event::Connected { who: self.who.clone(), route });
                }
            }
            LinkEvent::State(state) => debug!(?state, "the link's state changed"),
            LinkEvent::Closed(reason) => {
                info!(%reason, "the link closed");
                self.drop_link();
                let pause = if reason == CloseReason::Peer { Duration::from_secs(1) } else { Duration::ZERO };
                self.repair_at = Some(now + pause);
            }
        }
        Next::GoOn
    }

    pub(super) async fn send_bind(&mut self) -> Next {
        let Some(link) = self.link.as_mut() else { return Next::GoOn };
        let Some((own, theirs)) = link.certificates().await else { return self.refuse_link() };
        let bind = self.met.session.bind_message(&session_id(link.attempt), &own, &theirs);
        link.phase = Phase::Binding;
        // The queue is empty: nothing else is handed over before the link is bound.
        if let Ok(permit) = link.control.try_reserve() {
            link.hand_over(permit, Outgoing::Bind(bind));
        }
        Next::GoOn
    }

    pub(super) async fn handle_bind(&mut self, now: Instant, bind: &[u8]) -> Next {
        let Some(link) = self.link.as_mut() else { return Next::GoOn };
        let Some((own, theirs)) = link.certificates().await else { return self.refuse_link() };
        if self.met.session.verify_bind(&session_id(link.attempt), &own, &theirs, bind).is_err() {
            return self.refuse_link();
        }
        link.phase = Phase::Bound;
        self.exchange.link_up(now, link.max_message_size());
        self.lost_at = None;
        self.repair_at = None;
        self.repairs = 0;
        self.progress_at = Some(now + PROGRESS_EVERY);
        self.signs.linked.send_replace(true);
        if let Some(route) = self.route {
            self.context.tell(Event::Connected { who: self.who.clone(), route });
        }
        Next::GoOn
    }

    /// The other end of the link is not provably the device that was met (LK-4).
    pub(super) fn refuse_link(&mut self) -> Next {
        let message = format!(
            "The connection to {} does not end at that device: somebody may be in between. It was closed; meet again.",
            display(&self.who.name)
        );
        self.context.tell(Event::Warning { message });
        Next::End
    }

    /// R looks for a new path, then opens a new link; I asks for it (LK-6).
    pub(super) async fn repair(&mut self, now: Instant) {
        self.repair_at = Some(now + REPAIR_EVERY);
        self.repairs = self.repairs.saturating_add(1);
        if !self.is_offerer() {
            self.say(&PeerMessage::Reconnect { lane: false });
            return;
        }
        match &self.link {
            Some(link) if link.phase == Phase::Bound && self.repairs <= REPAIRS => link.restart_ice().await,
            Some(link) if link.phase != Phase::Bound && self.repairs <= REPAIRS => {}
            Some(_) | None => {
                self.repairs = 0;
                self.begin_attempt(self.attempt.saturating_add(1)).await;
                self.repair_at = Some(now + 2 * REPAIR_EVERY);
            }
        }
    }
}

/// What ties a bind to its attempt (LK-4).
fn session_id(attempt: u32) -> [u8; 16] {
    u128::from(attempt).to_be_bytes()
}
