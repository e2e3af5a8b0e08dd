//! Remembering the other device: both people opt in, then both devices store (LK-9).

use lanyard_pairing::Trust;
use lanyard_protocol::peer::PeerMessage;
use tokio::sync::oneshot;

use super::Conversation;
use crate::agent::event::Event;
use crate::agent::question::{Answer, Question};
use crate::devices::Remembered;
use crate::terminal::display;

/// What a device must be able to do to be remembered: to keep a secret.
const ABILITY: &str = "remember";

/// How far the agreement is in this session.
#[derive(Default)]
pub(super) struct Remembering {
    /// This device's person wants it.
    own: bool,
    /// The other one's person wants it.
    theirs: bool,
    asked: bool,
    /// Where the other device's own server is.
    doors: Vec<String>,
    /// Who is told when both have agreed.
    waiting: Vec<oneshot::Sender<Result<(), String>>>,
}

impl Conversation {
    /// A session begins: what was agreed earlier is said again where the two met in another way.
    pub(super) fn begin_remembering(&mut self) {
        let waiting = std::mem::take(&mut self.remembering.waiting);
        self.remembering = Remembering { waiting, ..Remembering::default() };
        let key = self.met.session.peer_key();
        let is_known = self.context.book.as_ref().is_some_and(|book| book.with_key(&key).is_some());
        let has_waiting = !self.remembering.waiting.is_empty();
        if has_waiting || (is_known && self.met.session.trust() != Trust::Remembered) {
            self.opt_in();
        }
    }

    /// This device's person wants the other one remembered.
    pub(super) fn want_remembered(&mut self, reply: Option<oneshot::Sender<Result<(), String>>>) {
        let answer = |reply: Option<oneshot::Sender<_>>, result| {
            if let Some(reply) = reply {
                // Whoever asked may have gone.
                let _ = reply.send(result);
            }
        };
        if self.context.book.is_none() {
            return answer(reply, Err("this device has no place to keep secrets".to_owned()));
        }
        if !self.met.session.peer_profile().can(ABILITY) {
            let message = format!(
                "{} cannot keep secrets: a page that is not encrypted (http://) never can. Open its secure page there",
                display(&self.who.name)
            );
            return answer(reply, Err(message));
        }
        if self.met.session.trust() == Trust::Remembered {
            return answer(reply, Ok(()));
        }
        self.remembering.waiting.extend(reply);
        self.opt_in();
    }

    /// Whether both devices could.
    pub(super) fn may_be_remembered(&self) -> bool {
        self.context.book.is_some() && self.met.session.peer_profile().can(ABILITY)
    }

    fn opt_in(&mut self) {
        if !self.remembering.own {
            self.remembering.own = true;
            let doors = self.context.doors.clone();
            self.say(&PeerMessage::Remember { wanted: true, doors });
        }
        self.remember_when_agreed();
    }

    pub(super) fn handle_remember(&mut self, wanted: bool, doors: Vec<String>) {
        let Some(book) = self.context.book.clone() else { return };
        let key = self.met.session.peer_key();
        if !wanted {
            self.remembering.theirs = false;
            if matches!(book.forget(&key), Ok(true)) {
                let message =
                    format!("{} has forgotten this device, so it is not remembered here any more.", self.who.name);
                self.context.tell(Event::Warning { message });
            }
            return;
        }
        if !self.met.session.peer_profile().can(ABILITY) || self.met.session.trust() == Trust::Remembered {
            return;
        }
        self.remembering.theirs = true;
        self.remembering.doors = doors;
        self.remember_when_agreed();
        if !self.remembering.own && !std::mem::replace(&mut self.remembering.asked, true) {
            let (asker, who) = (self.context.asker.clone(), self.who.clone());
            self.remember_answers.spawn(async move { asker.ask(Question::Remember { who }).await });
        }
    }

    pub(super) fn handle_remember_answer(&mut self, answer: Answer) {
        if answer == Answer::Yes {
            self.opt_in();
        }
    }

    fn remember_when_agreed(&mut self) {
        let (true, true, Some(book)) = (self.remembering.own, self.remembering.theirs, &self.context.book) else {
            return;
        };
        let bond = self.met.session.remember();
        let profile = self.met.session.peer_profile();
        let mut device = Remembered {
            name: profile.name().to_owned(),
            bond,
            policy: None,
            native: profile.can("native"),
            servers: Vec::new(),
        };
        for server in self.remembering.doors.iter().rev().chain(&self.met.server) {
            device.add_server(server.clone());
        }
        let kept = book.keep(device).map_err(|error| error.to_string());
        match &kept {
            Ok(()) => self.context.tell(Event::Remembered { who: self.who.clone() }),
            Err(message) => self.context.tell(Event::Warning { message: format!("{message}.") }),
        }
        for reply in self.remembering.waiting.drain(..) {
            let _ = reply.send(kept.clone());
        }
    }

    /// The person forgot the other device.
    pub(super) fn tell_forgotten(&mut self) {
        self.remembering.own = false;
        self.say(&PeerMessage::Remember { wanted: false, doors: Vec::new() });
    }
}
