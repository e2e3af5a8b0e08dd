//! Who is connected to the middle, and what becomes of each message that the real server sends them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lanyard_protocol::MailboxId;
use lanyard_protocol::signaling::{Body, ServerMessage};
use tokio::sync::mpsc::UnboundedSender;

use super::attacker::Attacker;
use super::tampering::{Action, Tampering};

/// Bodies kept of one direction.
const KEPT: usize = 16;

/// What is known of one mailbox.
pub struct Meeting {
    tampering: Tampering,
    /// A meeting to take bodies from, where the tampering needs one.
    partner: Option<MailboxId>,
    /// Bodies of an earlier meeting, by receiver.
    earlier: [Vec<Vec<u8>>; 2],
    attacker: Option<Attacker>,
    applied: bool,
    /// How each side is reached.
    sides: Sides,
    /// What was sent to each side, as its sender meant it.
    meant: [Vec<Vec<u8>>; 2],
    /// A body that waits for the next one.
    held: Option<ServerMessage>,
}

type Sides = [Option<UnboundedSender<ServerMessage>>; 2];

/// All meetings that somebody prepared. Others are carried as they are.
#[derive(Clone, Default)]
pub struct Hub {
    meetings: Arc<Mutex<HashMap<MailboxId, Meeting>>>,
    /// Who joined a mailbox before it was prepared: a page that shows its link waits there.
    early: Arc<Mutex<HashMap<MailboxId, Sides>>>,
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, HashMap<MailboxId, Meeting>> {
        self.meetings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn early(&self) -> MutexGuard<'_, HashMap<MailboxId, Sides>> {
        self.early.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what will be done in a mailbox. `earlier` are bodies for a replay, by receiver.
    pub fn prepare(
        &self,
        mailbox: MailboxId,
        tampering: Tampering,
        partner: Option<MailboxId>,
        earlier: [Vec<Vec<u8>>; 2],
        attacker: Option<Attacker>,
    ) {
        let meeting = Meeting {
            tampering,
            partner,
            earlier,
            attacker,
            applied: false,
            sides: self.early().remove(&mailbox).unwrap_or_default(),
            meant: [Vec::new(), Vec::new()],
            held: None,
        };
        self.lock().insert(mailbox, meeting);
    }

    /// Forgets a mailbox: whether the tampering changed something, and what was said, by receiver.
    #[must_use]
    pub fn finish(&self, mailbox: MailboxId) -> (bool, [Vec<Vec<u8>>; 2]) {
        let meeting = self.lock().remove(&mailbox);
        meeting.map_or((false, [Vec::new(), Vec::new()]), |meeting| (meeting.applied, meeting.meant))
    }

    /// What the real server says to a client, who is reached by `client`: sends what it gets to see instead.
    pub fn to_client(&self, message: ServerMessage, client: &UnboundedSender<ServerMessage>) {
        let mut meetings = self.lock();
        let (ServerMessage::Joined { mailbox: id, .. } | ServerMessage::Message { mailbox: id, .. }) = message else {
            let _ = client.send(message);
            return;
        };
        let Some(meeting) = meetings.get_mut(&id) else {
            if let ServerMessage::Joined { member, .. } = &message
                && let Some(side) = self.early().entry(id).or_default().get_mut(usize::from(*member))
            {
                *side = Some(client.clone());
            }
            let _ = client.send(message);
            return;
        };
        let say = |message| drop(client.send(message));
        if let ServerMessage::Joined { member, .. } = &message {
            if let Some(side) = meeting.sides.get_mut(usize::from(*member)) {
                *side = Some(client.clone());
            }
            say(message);
        } else if let ServerMessage::Message { mailbox, from, body } = message {
            let to = usize::from(from == 0);
            let kept = meeting.meant.get_mut(to).filter(|kept| kept.len() < KEPT);
            let nth = kept.map_or(usize::MAX, |kept| {
                kept.push(body.as_bytes().to_vec());
                kept.len() - 1
            });
            if meeting.attacker.is_some() {
                meeting.attack(mailbox, to, &body);
                return;
            }
            let is_it = to == usize::from(meeting.tampering.to) && nth == meeting.tampering.nth && !meeting.applied;
            if let Some(held) = meeting.held.take() {
                say(ServerMessage::Message { mailbox, from, body });
                say(held);
                meeting.applied = true;
            } else if !is_it {
                say(ServerMessage::Message { mailbox, from, body });
            } else if meeting.tampering.action == Action::SwapMembers {
                let partner = meeting.partner;
                cross(&mut meetings, mailbox, partner, from, body);
            } else {
                meeting.tamper(mailbox, from, body, client);
            }
        }
    }
}

impl Meeting {
    fn tamper(&mut self, mailbox: MailboxId, from: u8, body: Body, client: &UnboundedSender<ServerMessage>) {
        let to = usize::from(from == 0);
        let original = body.as_bytes().to_vec();
        // What goes to a socket that is gone by now reaches nobody.
        let carry = |from, bytes: Vec<u8>| {
            Body::new(bytes).is_some_and(|body| client.send(ServerMessage::Message { mailbox, from, body }).is_ok())
        };
        let changed = match &self.tampering.action {
            Action::FlipBits(bits) => flipped(&original, bits),
            Action::Truncate(thousandths) => original[..original.len() * thousandths / 1000].to_vec(),
            Action::Extend(more) => [&original[..], more].concat(),
            Action::Replay => {
                let nth = self.tampering.nth;
                let earlier = self.earlier.get(to).and_then(|bodies| bodies.get(nth));
                earlier.cloned().unwrap_or_else(|| original.clone())
            }
            Action::Reflect => self.meant[1 - to].last().cloned().unwrap_or_else(|| original.clone()),
            Action::Forge(content) => {
                let head = original.get(..3).unwrap_or_default();
                [head, content].concat()
            }
            Action::Downgrade(version, method) => {
                let mut changed = original.clone();
                for (byte, new) in changed.iter_mut().zip([version, method]) {
                    *byte = *new;
                }
                changed
            }
            Action::Repeat => {
                self.applied = carry(from, original.clone()) && carry(from, original);
                return;
            }
            Action::Reorder => {
                self.held = Some(ServerMessage::Message { mailbox, from, body });
                return;
            }
            Action::WrongSender(number) => {
                self.applied = carry(*number, original);
                return;
            }
            Action::Crowded(told) => {
                for (side, told) in self.sides.iter().zip(*told) {
                    if let (Some(side), true) = (side, told) {
                        let _ = side.send(ServerMessage::Crowded { mailbox });
                    }
                }
                self.applied = true;
                return;
            }
            Action::Honest | Action::SwapMembers | Action::SwapFingerprints => original.clone(),
        };
        let is_changed = changed != original;
        self.applied = carry(from, changed) && is_changed;
    }

    /// The server's own handshakes with both sides.
    fn attack(&mut self, mailbox: MailboxId, to: usize, body: &Body) {
        let Some(attacker) = self.attacker.as_mut() else { return };
        self.applied = true;
        for (member, bytes) in attacker.take(1 - to, body.as_bytes()) {
            let from = u8::from(member == 0);
            if let (Some(Some(side)), Some(body)) = (self.sides.get(member), Body::new(bytes)) {
                let _ = side.send(ServerMessage::Message { mailbox, from, body });
            }
        }
    }
}

/// Two meetings in the same step swap their bodies; the first to come waits for the other.
fn cross(
    meetings: &mut HashMap<MailboxId, Meeting>,
    mailbox: MailboxId,
    partner: Option<MailboxId>,
    from: u8,
    body: Body,
) {
    let to = usize::from(from == 0);
    let other = partner.and_then(|partner| meetings.get_mut(&partner)).and_then(|other| other.held.take());
    let Some(ServerMessage::Message { mailbox: partner, body: theirs, .. }) = other else {
        if let Some(meeting) = meetings.get_mut(&mailbox) {
            meeting.held = Some(ServerMessage::Message { mailbox, from, body });
        }
        return;
    };
    for (mailbox, body) in [(mailbox, theirs), (partner, body)] {
        if let Some(meeting) = meetings.get_mut(&mailbox) {
            meeting.applied = true;
            if let Some(Some(side)) = meeting.sides.get(to) {
                let _ = side.send(ServerMessage::Message { mailbox, from, body });
            }
        }
    }
}

fn flipped(original: &[u8], bits: &[usize]) -> Vec<u8> {
    let mut changed = original.to_vec();
    for bit in bits {
        if let Some(byte) = changed.get_mut(bit / 8 % original.len().max(1)) {
            *byte ^= 1 << (bit % 8);
        }
    }
    changed
}
