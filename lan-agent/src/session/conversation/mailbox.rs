//! What comes through the mailbox, from the server or sealed from the other side, and what is said there.

use std::time::Instant;

use lanyard_pairing::{OpenError, Trust};
use lanyard_protocol::peer::PeerMessage;
use lanyard_protocol::signaling::{Body, PresenceState};
use tokio::sync::mpsc;
use tracing::debug;

use super::{CLOSE_TIMEOUT, Conversation, Next};
use crate::agent::event::Event;
use crate::signaling_client::{MailboxEvent, MailboxSender};
use crate::terminal::display;

impl Conversation {
    pub(super) async fn handle_mailbox(&mut self, event: Option<MailboxEvent>) -> Next {
        match event {
            // A side is there under one number at a time: another one is the server's, or that of an earlier visit.
            Some(MailboxEvent::Message { from, body }) if from != self.met.peer => {
                if !self.was_bound {
                    return self.refuse_body(&body);
                }
                debug!(from, "ignored a message of a side that is not there");
            }
            Some(MailboxEvent::Message { body, .. }) => match self.met.session.open(body.as_bytes()) {
                Ok(plain) => match PeerMessage::decode(&plain) {
                    Ok(message) => return self.handle_peer_message(message).await,
                    Err(error) => debug!(%error, "a sealed message was not one of this version"),
                },
                // Until a link is bound, whoever carries the bodies could be in between, and the other side may have
                // refused our last message. Afterwards a repetition harms nothing (LK-1).
                Err(error) if self.was_bound && (is_handshake(&body) || error == OpenError::Replayed) => {
                    debug!(%error, "ignored a late message");
                }
                Err(_) => return self.refuse_body(&body),
            },
            Some(MailboxEvent::Presence { state: PresenceState::Left, .. }) => {
                self.set_away(true);
                if !self.was_bound {
                    self.warn_if_never_bound("left");
                    return Next::End;
                }
                // A page that is closed says nothing; with a link open it may only have lost the server.
                if self.link.is_none() {
                    self.lost_at.get_or_insert(Instant::now());
                }
            }
            Some(MailboxEvent::Presence { member, state: PresenceState::Back | PresenceState::Joined }) => {
                self.met.peer = member;
                self.set_away(false);
                self.paths.handle_reachable(Instant::now());
            }
            Some(MailboxEvent::Presence { state: PresenceState::Away, .. }) => self.set_away(true),
            Some(MailboxEvent::Returned { others }) => {
                if self.tamperings == 0 {
                    self.paths.set_has_lane(self.met.mailbox.lane_door().is_some());
                }
                self.set_away(others.is_empty());
                if let Some(other) = others.first() {
                    self.met.peer = *other;
                    self.paths.handle_reachable(Instant::now());
                }
            }
            Some(MailboxEvent::NotCarried) => {}
            Some(MailboxEvent::Crowded) => {
                let message =
                    format!("A third device tried to join, so the connection to {} was closed.", self.who.name);
                self.context.tell(Event::Warning { message });
                return Next::End;
            }
            // A link that is there may live on without the server.
            Some(MailboxEvent::Gone) if self.was_bound => debug!("the mailbox is gone"),
            Some(MailboxEvent::Gone) => {
                self.warn_if_never_bound("could not be reached any more");
                return Next::End;
            }
            None => {
                self.mailbox_open = false;
            }
        }
        Next::GoOn
    }

    async fn handle_peer_message(&mut self, message: PeerMessage) -> Next {
        match message {
            PeerMessage::Signal { attempt, signal } => self.handle_signal(attempt, signal).await,
            PeerMessage::Reconnect { slow: true, own_server, .. } => {
                self.paths.handle_asked_for_faster(Instant::now(), own_server);
            }
            PeerMessage::Reconnect { lane, .. } => self.paths.handle_asked(Instant::now(), lane),
            PeerMessage::Here { device } if self.met.server.is_none() => {
                self.signs.device.send_replace(Some(device));
                self.tell_nearby();
            }
            // An id at another server, which nobody of this one can ring.
            PeerMessage::Here { .. } => {}
            // This device shows no list of its own.
            PeerMessage::Nearby { .. } => {}
            PeerMessage::Remember { wanted, doors } => self.handle_remember(wanted, doors),
            PeerMessage::HttpWanted { transfer } => self.tell_links(transfer),
            // This device takes files over its own link only.
            PeerMessage::Door { .. } | PeerMessage::HttpLinks { .. } => {}
            PeerMessage::Bye => {
                self.warn_if_never_bound("stopped");
                if self.link.is_none() {
                    return Next::End;
                }
                self.close_commands();
                self.leaves_at.get_or_insert(Instant::now() + CLOSE_TIMEOUT);
            }
        }
        Next::GoOn
    }

    /// Whether the other side is at the server.
    fn set_away(&mut self, away: bool) {
        self.peer_away = away;
        self.signs.away.send_replace(away);
    }

    /// Says that the meeting came to nothing, if it did.
    pub(super) fn warn_if_never_bound(&self, what_happened: &str) {
        if !self.was_bound {
            let name = display(&self.who.name);
            let message = format!("{name} {what_happened} before a connection was made: {}.", self.what_to_do());
            self.context.tell(Event::Warning { message });
        }
    }

    fn what_to_do(&self) -> &'static str {
        match self.met.session.trust() {
            Trust::Remembered => "it is waited for",
            Trust::Scanned | Trust::Code | Trust::Compared => "meet again",
        }
    }

    /// A body that is not a fresh one of the device that was met ends the session (LK-1).
    fn refuse_body(&self, body: &Body) -> Next {
        let name = display(&self.who.name);
        let message = if is_handshake(body) {
            format!("{name} did not take part to the end, and nothing was accepted: {}.", self.what_to_do())
        } else {
            format!("A message from {name} was changed, repeated or held back on its way: {}.", self.what_to_do())
        };
        self.context.tell(Event::Warning { message });
        Next::End
    }

    /// Whether what is said now reaches the other side now.
    pub(super) fn can_signal(&self) -> bool {
        !self.peer_away && self.met.mailbox.sender().is_online()
    }

    /// Seals and queues; dropped when the server is out of reach for long.
    pub(super) fn say(&mut self, message: &PeerMessage) {
        let is_fleeting = matches!(message, PeerMessage::Signal { .. } | PeerMessage::Reconnect { .. });
        if is_fleeting && !self.can_signal() {
            // It would arrive late, with addresses that are no longer true; a later attempt makes up for it.
            return;
        }
        let Ok(plain) = serde_json::to_vec(message) else { return };
        let Some(body) = Body::new(self.met.session.seal(&plain)) else {
            debug!("a message is too long for the mailbox");
            return;
        };
        if self.unsent.try_send((self.met.mailbox.sender(), self.met.peer, body)).is_err() {
            debug!("the server is out of reach; dropped a message");
        }
    }

    /// The list for a page that came by the link (LK-8), without itself.
    pub(super) fn tell_nearby(&mut self) {
        let Some(own) = *self.signs.device.borrow() else { return };
        let all = self.nearby.borrow_and_update().clone();
        let devices = all.iter().filter(|listed| listed.device != own).cloned().collect();
        self.say(&PeerMessage::Nearby { devices });
    }
}

/// Whether a body has the first byte of handshake messages (PA-10).
fn is_handshake(body: &Body) -> bool {
    body.as_bytes().first() == Some(&1)
}

/// Carries sealed messages to the server at its pace.
pub(super) async fn send_sealed(mut queue: mpsc::Receiver<(MailboxSender, u8, Body)>) {
    while let Some((sender, to, body)) = queue.recv().await {
        if sender.send(to, body).await.is_err() {
            debug!("the signaling client has ended");
        }
    }
}
