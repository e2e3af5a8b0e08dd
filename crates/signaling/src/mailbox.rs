//! A mailbox: two sides and what waits for them.

use std::collections::VecDeque;

use lanyard_protocol::signaling::Body;
use lanyard_protocol::{DeviceId, MailboxId, MemberNumber, SlotToken};

use crate::nameplate::Plate;
use crate::{ConnectionId, Limits, SourceKey};

/// Sides of a mailbox.
pub(crate) const SIDES: usize = 2;

#[derive(Debug)]
pub(crate) struct Mailbox {
    /// Sides that are here or keep their slot; at most [`SIDES`].
    pub(crate) members: Vec<Member>,
    /// The number of the next one to come; numbers are never reused.
    pub(crate) next_member: MemberNumber,
    /// What was sent to the next one to come.
    pub(crate) early: Inbox,
    /// Who made it, for the limit of mailboxes.
    pub(crate) made_by: Option<SourceKey>,
    /// The nameplate in front of it.
    pub(crate) nameplate: Option<Plate>,
    /// Which device was rung to it and has not come yet.
    pub(crate) rung: Option<DeviceId>,
}

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) number: MemberNumber,
    pub(crate) slot: SlotToken,
    /// `None` while it is away.
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) inbox: Inbox,
}

/// Where a body goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// Straight to the socket.
    Now(ConnectionId),
    /// Into the queue of a side that is away, or has older ones waiting.
    Later,
    /// There is no such side.
    Nowhere,
}

impl Mailbox {
    pub(crate) fn new(made_by: Option<SourceKey>) -> Self {
        Self { members: Vec::new(), next_member: 0, early: Inbox::default(), made_by, nameplate: None, rung: None }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.members.len() >= SIDES
    }

    /// Adds a side. `None` when all 255 numbers are used up.
    pub(crate) fn add(&mut self, slot: SlotToken, connection: ConnectionId) -> Option<MemberNumber> {
        let number = self.next_member;
        self.next_member = number.checked_add(1)?;
        let inbox = std::mem::take(&mut self.early);
        self.members.push(Member { number, slot, connection: Some(connection), inbox });
        Some(number)
    }

    pub(crate) fn member(&mut self, number: MemberNumber) -> Option<&mut Member> {
        self.members.iter_mut().find(|member| member.number == number)
    }

    pub(crate) fn remove(&mut self, number: MemberNumber) -> Option<Member> {
        let at = self.members.iter().position(|member| member.number == number)?;
        Some(self.members.remove(at))
    }

    pub(crate) fn others(&self, number: MemberNumber) -> Vec<MemberNumber> {
        self.members.iter().map(|member| member.number).filter(|other| *other != number).collect()
    }

    /// Sockets of the other side.
    pub(crate) fn others_here(&self, number: MemberNumber) -> Vec<ConnectionId> {
        self.members.iter().filter(|member| member.number != number).filter_map(|member| member.connection).collect()
    }

    pub(crate) fn route(&self, from: MemberNumber, to: MemberNumber) -> Route {
        if from == to {
            return Route::Nowhere;
        }
        match self.members.iter().find(|member| member.number == to) {
            Some(Member { connection: Some(connection), inbox, .. }) if inbox.is_empty() => Route::Now(*connection),
            Some(_) => Route::Later,
            None if to == self.next_member && !self.is_full() => Route::Later,
            None => Route::Nowhere,
        }
    }

    /// The queue of a side that [`Route::Later`] spoke of.
    pub(crate) fn inbox(&mut self, to: MemberNumber) -> &mut Inbox {
        match self.members.iter_mut().find(|member| member.number == to) {
            Some(member) => &mut member.inbox,
            None => &mut self.early,
        }
    }

    /// Everything that waits here, for giving back what it is charged.
    pub(crate) fn take_all_stored(&mut self) -> impl Iterator<Item = Stored> {
        let inboxes = self.members.iter_mut().map(|member| &mut member.inbox).chain([&mut self.early]);
        inboxes.flat_map(|inbox| inbox.take_all()).collect::<Vec<_>>().into_iter()
    }
}

/// A body that waits.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) from: MemberNumber,
    pub(crate) body: Body,
    /// Who sent it, for the limit of bytes.
    pub(crate) charged: Option<SourceKey>,
}

impl Stored {
    pub(crate) fn size_bytes(&self) -> usize {
        self.body.as_bytes().len()
    }
}

/// What waits for one side, in order.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    messages: VecDeque<Stored>,
    size_bytes: usize,
}

impl Inbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(crate) fn has_room(&self, body: &Body, limits: &Limits) -> bool {
        self.messages.len() < limits.stored_messages && self.size_bytes + body.as_bytes().len() <= limits.stored_bytes
    }

    pub(crate) fn push(&mut self, stored: Stored) {
        self.size_bytes += stored.size_bytes();
        self.messages.push_back(stored);
    }

    pub(crate) fn pop(&mut self) -> Option<Stored> {
        let stored = self.messages.pop_front()?;
        self.size_bytes -= stored.size_bytes();
        if self.messages.is_empty() {
            // Gives the memory of a long queue back.
            self.messages = VecDeque::new();
        }
        Some(stored)
    }

    pub(crate) fn take_all(&mut self) -> VecDeque<Stored> {
        std::mem::take(self).messages
    }
}

/// What identifies a side in a timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SideKey {
    pub(crate) mailbox: MailboxId,
    pub(crate) member: MemberNumber,
}
