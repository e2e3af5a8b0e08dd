//! Nameplates: the public part of spoken codes.

use std::time::Instant;

use lanyard_protocol::signaling::{ErrorCode, ServerMessage};
use lanyard_protocol::{MailboxId, Nameplate};

use super::{Rejection, Server, Timer};
use crate::ConnectionId;
use crate::nameplate::{Ended, Plate};
use crate::stamp::is_stamp;

const NO_SUCH_NAMEPLATE: Rejection = Rejection(
    ErrorCode::NoSuchNameplate,
    "There is no code with this number: check the digits, or ask for a new code on the other device.",
);
const NAMEPLATE_USED: Rejection = Rejection(
    ErrorCode::NameplateUsed,
    "This code was used already, or a wrong try burnt it. Ask for a new one on the other device.",
);
const NAMEPLATE_EXPIRED: Rejection = Rejection(
    ErrorCode::NameplateExpired,
    "This code is too old: codes last ten minutes. Ask for a new one on the other device.",
);
const TOO_MANY_CLAIMS: Rejection =
    Rejection(ErrorCode::RateLimited, "Too many codes were tried from this network. Wait a minute, or scan the code.");
const TOO_MANY_ALLOCATIONS: Rejection =
    Rejection(ErrorCode::RateLimited, "Too many codes were asked for from this network. Wait a minute.");
const NO_FREE_NAMEPLATE: Rejection =
    Rejection(ErrorCode::Full, "This server has no free code now. Scan the picture or send the link.");

impl Server {
    pub(super) fn allocate(&mut self, now: Instant, id: ConnectionId) -> Result<(), Rejection> {
        let source = self.source_of(id);
        if let Some(key) = source
            && !self.sources.entry(key).allocations.take(self.limits.allocations, now)
        {
            return Err(TOO_MANY_ALLOCATIONS);
        }
        let mailbox_id = MailboxId(self.draw_id());
        self.make_mailbox(now, source, mailbox_id)?;
        let Some(plate) = self.nameplates.allocate(now, &mut self.rng, mailbox_id) else {
            self.remove_mailbox(now, mailbox_id);
            return Err(NO_FREE_NAMEPLATE);
        };
        if let Some(mailbox) = self.mailboxes.get_mut(&mailbox_id) {
            mailbox.nameplate = Some(plate);
        }
        self.deadlines.set(Timer::PlateExpires(plate), now + self.limits.unjoined);
        self.say(id, ServerMessage::Allocated { nameplate: plate.write(), mailbox: mailbox_id });
        Ok(())
    }

    pub(super) fn claim(
        &mut self,
        now: Instant,
        id: ConnectionId,
        nameplate: &Nameplate,
        stamp: Option<u64>,
    ) -> Result<(), Rejection> {
        if let Some(key) = self.source_of(id) {
            // Before the try is counted: asking what it costs is free.
            let bits = self.limits.stamp_bits;
            if self.nameplates.is_guessed(now) && !self.is_stamped(id, nameplate, stamp, bits) {
                self.say(id, ServerMessage::StampWanted { nameplate: nameplate.clone(), bits });
                return Ok(());
            }
            let crowd = self.sources.len() > self.limits.sources_remembered;
            let claims = &mut self.sources.entry(key).claims;
            let allowed = !(crowd && claims.is_empty()) && claims.take(&self.limits, now);
            if !allowed {
                return Err(TOO_MANY_CLAIMS);
            }
        }
        let plate = Plate::read(nameplate);
        let Some(mailbox) = plate.and_then(|plate| self.nameplates.mailbox(plate)) else {
            self.counters.claims_failed_total += 1;
            self.nameplates.count_failure(now, self.limits.failed_claims);
            return Err(match plate.and_then(|plate| self.nameplates.ended(plate)) {
                Some(Ended::Used) => NAMEPLATE_USED,
                Some(Ended::Expired) => NAMEPLATE_EXPIRED,
                None => NO_SUCH_NAMEPLATE,
            });
        };
        self.say(id, ServerMessage::Claimed { nameplate: nameplate.clone(), mailbox });
        Ok(())
    }

    fn is_stamped(&self, id: ConnectionId, nameplate: &Nameplate, stamp: Option<u64>, bits: u8) -> bool {
        let device = self.connections.get(&id).and_then(|connection| connection.device);
        device.zip(stamp).is_some_and(|(device, stamp)| is_stamp(device, nameplate, stamp, bits))
    }

    /// Only a member of the mailbox behind it may end a nameplate: everybody else would only have to guess four digits
    /// to spoil a code.
    pub(super) fn release(&mut self, now: Instant, id: ConnectionId, nameplate: &Nameplate) -> Result<(), Rejection> {
        let plate = Plate::read(nameplate).ok_or(NO_SUCH_NAMEPLATE)?;
        let mailbox = self.nameplates.mailbox(plate).ok_or(NO_SUCH_NAMEPLATE)?;
        let is_member =
            self.connections.get(&id).is_some_and(|connection| connection.memberships.contains_key(&mailbox));
        if !is_member {
            return Err(NO_SUCH_NAMEPLATE);
        }
        self.retire(now, plate, Ended::Used);
        Ok(())
    }

    /// Ends a nameplate; its mailbox lives on.
    pub(super) fn retire(&mut self, now: Instant, plate: Plate, why: Ended) {
        let mailbox = self.nameplates.mailbox(plate);
        self.deadlines.clear(Timer::PlateExpires(plate));
        if self.nameplates.retire(plate, why) {
            self.deadlines.set(Timer::PlateRested(plate), now + self.limits.nameplate_rest);
        }
        if let Some(mailbox) = mailbox.and_then(|id| self.mailboxes.get_mut(&id)) {
            mailbox.nameplate = None;
        }
    }
}
