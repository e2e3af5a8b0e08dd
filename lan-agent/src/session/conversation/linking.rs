//! Links: opened when the decision says so, bound, fed, replaced.

use std::time::Instant;

use lanyard_pairing::Role;
use lanyard_protocol::peer::{PeerMessage, Signal};
use lanyard_transfer::{Pace, PathAction, PathKind, Paths};
use tracing::{debug, info, warn};

use super::super::link::{ActiveLink, Closed, LinkEvent, Outgoing, Phase};
use super::{Conversation, Next, PROGRESS_EVERY};
use crate::agent::event::Event;
use crate::peer_link;
use crate::terminal::display;

/// How often a server may change what it carries before it is not trusted with a lane any more.
const TAMPERINGS: u32 = 3;

impl Conversation {
    pub(super) fn is_offerer(&self) -> bool {
        self.met.session.role() == Role::Responder
    }

    /// A decision about paths for the device as it was met now.
    pub(super) fn new_paths(met: &super::Met) -> Paths {
        met.mailbox.sender().stay();
        let leads = met.session.role() == Role::Responder;
        let mut paths = Paths::new(Instant::now(), leads, met.mailbox.lane_door().is_some());
        paths.set_own_server(runs_the_server(met));
        paths
    }

    /// Carries out what was decided.
    pub(super) async fn follow_paths(&mut self) {
        let busy = self.transfers.values().any(|known| known.accepted) || !self.texts.is_empty();
        self.paths.set_hurried(Instant::now(), busy);
        while let Some(action) = self.paths.poll_action() {
            match action {
                PathAction::Begin { attempt, path } => self.begin_attempt(attempt, path).await,
                PathAction::RestartIce => {
                    // Unless the other side answers it, a restart ends a path that may only have been slow.
                    if let Some(link) = self.link.as_ref().filter(|_| self.can_signal()) {
                        link.restart_ice().await;
                    }
                }
                PathAction::Ask { lane } => {
                    self.say(&PeerMessage::Reconnect { lane, slow: false, own_server: false });
                }
                PathAction::AskForFaster => {
                    let own_server = runs_the_server(&self.met);
                    self.say(&PeerMessage::Reconnect { lane: false, slow: true, own_server });
                }
                PathAction::CheckSignaling => self.met.mailbox.sender().check(),
                PathAction::Close { attempt } => self.close_attempt(attempt),
                PathAction::Waiting => {
                    // Should the device come anew meanwhile, it takes this conversation over.
                    self.signs.linked.send_replace(false);
                    self.lost_at.get_or_insert(Instant::now());
                    self.context.tell(Event::Waiting { who: self.who.clone() });
                }
                PathAction::Interrupted => self.context.tell(Event::Interrupted { who: self.who.clone() }),
                PathAction::Well => {
                    self.lost_at = None;
                    self.signs.linked.send_replace(true);
                    self.tell_route();
                }
            }
        }
    }

    pub(super) async fn begin_attempt(&mut self, attempt: u32, path: PathKind) {
        let now = Instant::now();
        match path {
            PathKind::Direct => {
                let role = if self.is_offerer() { peer_link::Role::Offerer } else { peer_link::Role::Answerer };
                let to_browser = !self.met.session.peer_profile().can("native");
                let ice_servers = self.met.mailbox.ice_servers();
                match ActiveLink::open(attempt, role, ice_servers, to_browser, &self.context).await {
                    Ok(link) => self.attempts.push(link),
                    Err(error) => {
                        warn!(%error, "could not open a connection");
                        self.paths.handle_closed(now, attempt, path, true);
                    }
                }
            }
            PathKind::Lane => match self.met.mailbox.lane_door() {
                Some(door) => {
                    let signal = Signal::Lane { own_server: door.own_server };
                    self.say(&PeerMessage::Signal { attempt, signal });
                    self.attempts.push(ActiveLink::open_lane(attempt, door, &self.met.session));
                }
                None => self.paths.handle_closed(now, attempt, path, true),
            },
        }
    }

    fn close_attempt(&mut self, attempt: u32) {
        if let Some(at) = self.attempts.iter().position(|link| link.attempt == attempt) {
            self.attempts.remove(at).close();
        }
    }

    /// Takes back everything: the device was met anew.
    pub(super) fn drop_links(&mut self) {
        for link in self.attempts.drain(..) {
            link.close();
        }
        if let Some(link) = self.link.take() {
            self.lose(link);
        }
    }

    fn lose(&mut self, link: ActiveLink) {
        self.exchange.link_lost(Instant::now());
        self.lost_at = Some(Instant::now());
        self.signs.linked.send_replace(false);
        link.close();
    }

    fn any_link(&mut self, attempt: u32) -> Option<&mut ActiveLink> {
        self.link.iter_mut().chain(&mut self.attempts).find(|link| link.attempt == attempt)
    }

    /// A signal of the other side (LK-2).
    pub(super) async fn handle_signal(&mut self, attempt: u32, signal: Signal) {
        let path = if matches!(signal, Signal::Lane { .. }) { PathKind::Lane } else { PathKind::Direct };
        if self.paths.handle_attempt(Instant::now(), attempt, path) {
            // What this one replaces goes first.
            self.follow_paths().await;
            self.begin_attempt(attempt, path).await;
        }
        let Some(link) = self.any_link(attempt).filter(|link| link.path() == path) else { return };
        let before = link.route;
        let is_reachable = link.handle_signal(signal).await;
        let changed = link.route != before;
        if !is_reachable {
            self.paths.handle_peer_unreachable(Instant::now());
        }
        if changed && self.link.as_ref().is_some_and(|link| link.attempt == attempt) {
            self.tell_route();
        }
    }

    pub(super) async fn handle_link(&mut self, attempt: u32, event: LinkEvent) -> Next {
        let now = Instant::now();
        let carries = self.link.as_ref().is_some_and(|link| link.attempt == attempt);
        let Some(link) = self.any_link(attempt) else { return Next::GoOn };
        match event {
            LinkEvent::Signal(signal) => {
                if link.offers_nothing(&signal) {
                    self.paths.handle_closed(now, attempt, PathKind::Direct, true);
                }
                self.say(&PeerMessage::Signal { attempt, signal });
            }
            LinkEvent::Open => return self.send_bind(attempt).await,
            LinkEvent::Bind(bind) if link.phase == Phase::Binding => return self.handle_bind(attempt, &bind).await,
            LinkEvent::Control(text) if carries => self.handle_control(now, attempt, text),
            LinkEvent::Data(frame) if carries => self.exchange.handle_data(now, &frame),
            LinkEvent::Bind(_) | LinkEvent::Control(_) | LinkEvent::Data(_) => return self.refuse_link(),
            LinkEvent::Alive if carries => self.exchange.handle_alive(now),
            LinkEvent::Alive => {}
            LinkEvent::Route(route) => {
                let changed = link.route.replace(route) != Some(route);
                if changed && carries {
                    self.tell_route();
                }
            }
            LinkEvent::Closed(closed) => return self.handle_link_closed(attempt, &closed),
        }
        Next::GoOn
    }

    fn handle_link_closed(&mut self, attempt: u32, closed: &Closed) -> Next {
        info!(reason = closed.reason, attempt, "a link closed");
        let path = self.any_link(attempt).map_or(PathKind::Direct, |link| link.path());
        if let Some(link) = self.link.take_if(|link| link.attempt == attempt) {
            self.lose(link);
            if self.leaves_at.is_some() {
                return Next::End;
            }
        } else {
            self.close_attempt(attempt);
        }
        if closed.tampered {
            self.tamperings += 1;
            let name = display(&self.who.name);
            let message = format!(
                "The server changed what it carried to {name} and was noticed: {}. What arrived is kept.",
                closed.reason
            );
            self.context.tell(Event::Warning { message });
            if self.tamperings >= TAMPERINGS {
                self.paths.set_has_lane(false);
            }
        }
        self.paths.handle_closed(Instant::now(), attempt, path, false);
        Next::GoOn
    }

    async fn send_bind(&mut self, attempt: u32) -> Next {
        let Some(at) = self.attempts.iter().position(|link| link.attempt == attempt) else { return Next::GoOn };
        let Some(terms) = self.attempts[at].bind_terms().await else { return self.refuse_link() };
        let bind = self.met.session.bind_message(&terms.session_id, &terms.own, &terms.theirs);
        let link = &mut self.attempts[at];
        link.phase = Phase::Binding;
        // The queue is empty: nothing else is handed over before the link is bound.
        if let Ok(permit) = link.control.try_reserve() {
            link.hand_over(permit, Outgoing::Bind(bind));
        }
        Next::GoOn
    }

    async fn handle_bind(&mut self, attempt: u32, bind: &[u8]) -> Next {
        let Some(at) = self.attempts.iter().position(|link| link.attempt == attempt) else { return Next::GoOn };
        let Some(terms) = self.attempts[at].bind_terms().await else { return self.refuse_link() };
        if self.met.session.verify_bind(&terms.session_id, &terms.own, &terms.theirs, bind).is_err() {
            return self.refuse_link();
        }
        let now = Instant::now();
        self.was_bound = true;
        if self.paths.handle_bound(now, attempt, self.attempts[at].path()) {
            let link = self.attempts.remove(at);
            self.carry_over(now, link);
        }
        Next::GoOn
    }

    /// From now on this link carries; what was under way goes on from what the receiver has.
    fn carry_over(&mut self, now: Instant, mut link: ActiveLink) {
        link.phase = Phase::Bound;
        debug!(attempt = link.attempt, path = ?link.path(), "a link carries");
        if let Some(old) = self.link.take() {
            self.exchange.link_lost(now);
            old.close();
        }
        self.exchange.link_up(now, link.max_message_size());
        (self.pace, self.handed_bytes) = (Pace::default(), 0);
        self.link = Some(link);
        self.lost_at = None;
        self.progress_at = Some(now + PROGRESS_EVERY);
        self.signs.linked.send_replace(true);
        self.tell_route();
    }

    fn tell_route(&self) {
        if let Some(route) = self.link.as_ref().and_then(|link| link.route) {
            self.context.tell(Event::Connected { who: self.who.clone(), route });
        }
    }

    /// The other end of the link is not provably the device that was met (LK-4).
    fn refuse_link(&mut self) -> Next {
        let message = format!(
            "The connection to {} does not end at that device: somebody may be in between. It was closed; meet again.",
            display(&self.who.name)
        );
        self.context.tell(Event::Warning { message });
        Next::End
    }

    /// Whether the link moves what waits for it, after it was fed (LK-46).
    pub(super) fn look_at_pace(&mut self) {
        let now = Instant::now();
        if self.pace.handle_look(now, self.handed_bytes, self.data_blocked) {
            debug!("a link is slow");
            self.paths.handle_slow(now);
        }
    }

    /// When the decision about paths wants to be asked again, in the clock of this loop.
    pub(super) fn handle_paths_timeout(&mut self, now: Instant) {
        if self.paths.poll_timeout().is_some_and(|at| at <= now) {
            self.paths.handle_timeout(now, rand::random());
        }
    }
}

/// Whether the server of the mailbox runs in this process, so that a lane over it is direct.
fn runs_the_server(met: &super::Met) -> bool {
    met.mailbox.lane_door().is_some_and(|door| door.own_server)
}
