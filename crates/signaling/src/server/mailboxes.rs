//! Joining, sending, leaving, and what happens to a mailbox whose sides go.

use std::time::Instant;

use lanyard_protocol::signaling::{Body, ErrorCode, PresenceState, ServerMessage};
use lanyard_protocol::{MailboxId, MemberNumber, SlotToken};

use super::{Rejection, Server, Timer};
use crate::mailbox::{Mailbox, Route, SideKey, Stored};
use crate::nameplate::Ended;
use crate::{ConnectionId, Joined, Output, SourceKey};

/// Stored bodies handed to a socket before it must report that they are written.
const BATCH_MESSAGES: usize = 16;
/// Bytes after which a batch ends.
const BATCH_BYTES: usize = 64 * 1024;

const NOT_JOINED: Rejection =
    Rejection(ErrorCode::NotJoined, "This device is not connected to that one here. Connect them again.");
const SLOT_GONE: Rejection =
    Rejection(ErrorCode::SlotGone, "The place kept for this device is gone. Both devices meet again from the start.");
const SERVER_FULL: Rejection =
    Rejection(ErrorCode::Full, "This server holds as many connections as it may. Try again in a few minutes.");
const TOO_MANY_MAILBOXES: Rejection =
    Rejection(ErrorCode::Full, "Too many connections are open from here. Close some, then try again.");
const QUEUE_FULL: Rejection =
    Rejection(ErrorCode::QueueFull, "The other device is away and no more can wait for it. Try again when it is back.");

impl Server {
    pub(super) fn join(
        &mut self,
        now: Instant,
        id: ConnectionId,
        mailbox_id: MailboxId,
        slot: Option<SlotToken>,
    ) -> Result<(), Rejection> {
        let Some(connection) = self.connections.get(&id) else { return Ok(()) };
        if let Some(member) = connection.memberships.get(&mailbox_id) {
            // Asked twice: the same answer again.
            self.say_joined(id, SideKey { mailbox: mailbox_id, member: *member });
            return Ok(());
        }
        let held = connection.memberships.len();
        if !connection.is_trusted() && held >= self.limits.mailboxes_per_socket {
            return Err(TOO_MANY_MAILBOXES);
        }
        match (self.mailboxes.get_mut(&mailbox_id), slot) {
            (Some(mailbox), Some(slot)) => {
                let member = mailbox.members.iter().find(|member| member.slot == slot).ok_or(SLOT_GONE)?.number;
                self.take_slot_again(id, SideKey { mailbox: mailbox_id, member });
            }
            (None, Some(_)) => return Err(SLOT_GONE),
            (Some(mailbox), None) if mailbox.is_full() => {
                self.crowd(now, id, mailbox_id);
                return Ok(());
            }
            (Some(_), None) => self.add_side(id, mailbox_id)?,
            (None, None) => {
                self.make_mailbox(now, self.source_of(id), mailbox_id)?;
                self.add_side(id, mailbox_id)?;
            }
        }
        if let Some(interval) = self.limits.credentials_renewed {
            self.deadlines.set_if_none(Timer::Renew(id), now + interval);
        }
        self.answer_ring(id, mailbox_id);
        self.deliver_backlog(now, id);
        Ok(())
    }

    pub(super) fn send(
        &mut self,
        now: Instant,
        id: ConnectionId,
        mailbox_id: MailboxId,
        to: MemberNumber,
        body: Body,
    ) -> Result<(), Rejection> {
        let connection = self.connections.get(&id).ok_or(NOT_JOINED)?;
        let from = *connection.memberships.get(&mailbox_id).ok_or(NOT_JOINED)?;
        let source = connection.source;
        let mailbox = self.mailboxes.get_mut(&mailbox_id).ok_or(NOT_JOINED)?;
        match mailbox.route(from, to) {
            Route::Now(connection) => {
                self.counters.bodies_total += 1;
                self.counters.body_bytes_total += body.as_bytes().len() as u64;
                self.say(connection, ServerMessage::Message { mailbox: mailbox_id, from, body });
            }
            Route::Later => {
                let size = body.as_bytes().len();
                let source_has_room = source.is_none_or(|key| {
                    self.sources.entry(key).stored_bytes + size <= self.limits.stored_bytes_per_source
                });
                let has_room = mailbox.inbox(to).has_room(&body, &self.limits)
                    && self.stored_bytes + size <= self.limits.stored_bytes_total;
                if !(has_room && source_has_room) {
                    return Err(QUEUE_FULL);
                }
                mailbox.inbox(to).push(Stored { from, body, charged: source });
                self.stored_messages += 1;
                self.stored_bytes += size;
                if let Some(key) = source {
                    self.sources.entry(key).stored_bytes += size;
                    self.settle(now, key);
                }
            }
            Route::Nowhere => return Err(NOT_JOINED),
        }
        Ok(())
    }

    pub(super) fn leave(&mut self, now: Instant, id: ConnectionId, mailbox: MailboxId) -> Result<(), Rejection> {
        let connection = self.connections.get_mut(&id).ok_or(NOT_JOINED)?;
        let member = connection.memberships.remove(&mailbox).ok_or(NOT_JOINED)?;
        connection.backlog.remove(&mailbox);
        self.remove_side(now, SideKey { mailbox, member });
        Ok(())
    }

    /// Makes an empty mailbox, charged to a source. It lives [`crate::Limits::unjoined`] until somebody comes.
    pub(super) fn make_mailbox(
        &mut self,
        now: Instant,
        made_by: Option<SourceKey>,
        id: MailboxId,
    ) -> Result<(), Rejection> {
        if self.mailboxes.len() >= self.limits.mailboxes {
            return Err(SERVER_FULL);
        }
        if let Some(key) = made_by {
            let source = self.sources.entry(key);
            if source.mailboxes >= self.limits.mailboxes_per_source {
                return Err(TOO_MANY_MAILBOXES);
            }
            source.mailboxes += 1;
        }
        self.mailboxes.insert(id, Mailbox::new(made_by));
        self.counters.mailboxes_total += 1;
        self.deadlines.set(Timer::Unjoined(id), now + self.limits.unjoined);
        Ok(())
    }

    /// Forgets a mailbox. Its sides must be gone from their sockets already.
    pub(super) fn remove_mailbox(&mut self, now: Instant, id: MailboxId) {
        self.end_ring(id);
        let Some(mut mailbox) = self.mailboxes.remove(&id) else { return };
        self.deadlines.clear(Timer::Unjoined(id));
        for stored in mailbox.take_all_stored() {
            self.uncharge(now, &stored);
        }
        for member in mailbox.members {
            self.deadlines.clear(Timer::Slot(SideKey { mailbox: id, member: member.number }));
            self.outputs.push_back(Output::MemberGone { mailbox: id, member: member.number });
        }
        if let Some(plate) = mailbox.nameplate {
            self.retire(now, plate, Ended::Used);
        }
        if let Some(key) = mailbox.made_by {
            self.sources.entry(key).mailboxes -= 1;
            self.settle(now, key);
        }
    }

    /// A side's socket dropped: its slot is kept for a while.
    pub(super) fn set_away(&mut self, now: Instant, side: SideKey) {
        let Some(mailbox) = self.mailboxes.get_mut(&side.mailbox) else { return };
        let Some(member) = mailbox.member(side.member) else { return };
        member.connection = None;
        self.deadlines.set(Timer::Slot(side), now + self.limits.slot_kept);
        self.tell_others(side, PresenceState::Away);
    }

    /// A side left, or did not come back.
    pub(super) fn remove_side(&mut self, now: Instant, side: SideKey) {
        self.deadlines.clear(Timer::Slot(side));
        let Some(mailbox) = self.mailboxes.get_mut(&side.mailbox) else { return };
        let Some(mut member) = mailbox.remove(side.member) else { return };
        let is_empty = mailbox.members.is_empty();
        for stored in member.inbox.take_all() {
            self.uncharge(now, &stored);
        }
        self.outputs.push_back(Output::MemberGone { mailbox: side.mailbox, member: side.member });
        if is_empty {
            self.remove_mailbox(now, side.mailbox);
        } else {
            self.tell_others(side, PresenceState::Left);
        }
    }

    /// Hands a socket the next batch of what waits for it, and asks to be told when that is written.
    pub(super) fn deliver_backlog(&mut self, now: Instant, id: ConnectionId) {
        let (mut messages, mut bytes) = (0, 0);
        loop {
            let Some(connection) = self.connections.get_mut(&id) else { return };
            if connection.drain_asked {
                return;
            }
            let Some(mailbox_id) = connection.backlog.first().copied() else { return };
            if messages >= BATCH_MESSAGES || bytes >= BATCH_BYTES {
                connection.drain_asked = true;
                self.outputs.push_back(Output::ReportDrained { connection: id });
                return;
            }
            let inbox = connection
                .memberships
                .get(&mailbox_id)
                .copied()
                .and_then(|number| self.mailboxes.get_mut(&mailbox_id)?.member(number))
                .map(|member| &mut member.inbox);
            match inbox.and_then(|inbox| inbox.pop()) {
                Some(stored) => {
                    messages += 1;
                    bytes += stored.size_bytes();
                    self.uncharge(now, &stored);
                    self.counters.bodies_total += 1;
                    self.counters.body_bytes_total += stored.size_bytes() as u64;
                    let Stored { from, body, .. } = stored;
                    self.say(id, ServerMessage::Message { mailbox: mailbox_id, from, body });
                }
                None => {
                    if let Some(connection) = self.connections.get_mut(&id) {
                        connection.backlog.remove(&mailbox_id);
                    }
                }
            }
        }
    }

    pub(super) fn renew_credentials(&mut self, now: Instant, id: ConnectionId) {
        let Some(connection) = self.connections.get(&id) else { return };
        let Some(interval) = self.limits.credentials_renewed else { return };
        if connection.memberships.is_empty() {
            return; // The next `join` sets the timer again.
        }
        let renewals = connection.memberships.iter().map(|(mailbox, member)| Output::RenewCredentials {
            to: id,
            mailbox: *mailbox,
            member: *member,
        });
        self.outputs.extend(renewals);
        self.deadlines.set(Timer::Renew(id), now + interval);
    }

    /// A new side in a mailbox that has room.
    fn add_side(&mut self, id: ConnectionId, mailbox_id: MailboxId) -> Result<(), Rejection> {
        let slot = SlotToken(self.draw_id());
        let Some(mailbox) = self.mailboxes.get_mut(&mailbox_id) else { return Err(SERVER_FULL) };
        let member = mailbox.add(slot, id).ok_or(SERVER_FULL)?;
        self.deadlines.clear(Timer::Unjoined(mailbox_id));
        let side = SideKey { mailbox: mailbox_id, member };
        self.attach(id, side);
        self.say_joined(id, side);
        self.tell_others(side, PresenceState::Joined);
        Ok(())
    }

    /// The owner of a slot is back, perhaps before its old socket was known to be dead.
    fn take_slot_again(&mut self, id: ConnectionId, side: SideKey) {
        self.deadlines.clear(Timer::Slot(side));
        let Some(member) = self.mailboxes.get_mut(&side.mailbox).and_then(|mailbox| mailbox.member(side.member)) else {
            return;
        };
        if let Some(old) = member.connection.replace(id) {
            if let Some(old) = self.connections.get_mut(&old) {
                old.memberships.remove(&side.mailbox);
                old.backlog.remove(&side.mailbox);
            }
            self.reject(old, SLOT_GONE, Some(side.mailbox));
        }
        self.attach(id, side);
        self.say_joined(id, side);
        self.tell_others(side, PresenceState::Back);
    }

    fn attach(&mut self, id: ConnectionId, side: SideKey) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.memberships.insert(side.mailbox, side.member);
            connection.backlog.insert(side.mailbox);
        }
    }

    /// A third side: nobody can know any more who is who, so it ends for all three.
    fn crowd(&mut self, now: Instant, third: ConnectionId, mailbox_id: MailboxId) {
        self.counters.crowded_total += 1;
        let Some(mailbox) = self.mailboxes.get(&mailbox_id) else { return };
        let here: Vec<_> = mailbox.members.iter().filter_map(|member| member.connection).collect();
        for id in here {
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.memberships.remove(&mailbox_id);
                connection.backlog.remove(&mailbox_id);
            }
            self.say(id, ServerMessage::Crowded { mailbox: mailbox_id });
        }
        self.say(third, ServerMessage::Crowded { mailbox: mailbox_id });
        self.remove_mailbox(now, mailbox_id);
    }

    fn say_joined(&mut self, id: ConnectionId, side: SideKey) {
        let Some(mailbox) = self.mailboxes.get_mut(&side.mailbox) else { return };
        let others = mailbox.others(side.member);
        let Some(member) = mailbox.member(side.member) else { return };
        let joined = Joined { to: id, mailbox: side.mailbox, member: side.member, others, slot: member.slot };
        self.outputs.push_back(Output::Joined(joined));
    }

    fn tell_others(&mut self, side: SideKey, state: PresenceState) {
        let Some(mailbox) = self.mailboxes.get(&side.mailbox) else { return };
        for id in mailbox.others_here(side.member) {
            self.say(id, ServerMessage::Presence { mailbox: side.mailbox, member: side.member, state });
        }
    }

    fn uncharge(&mut self, now: Instant, stored: &Stored) {
        let size = stored.size_bytes();
        self.stored_messages -= 1;
        self.stored_bytes -= size;
        if let Some(key) = stored.charged {
            self.sources.entry(key).stored_bytes -= size;
            self.settle(now, key);
        }
    }
}
