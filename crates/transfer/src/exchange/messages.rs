//! What the other side says on the control channel.

use std::time::Instant;

use lanyard_protocol::control::{CancelReason, ControlMessage, DeclineReason, PauseReason, TransferId, ViolationCode};

use super::{Ended, Exchange};
use crate::incoming::{Incoming, Listed, Listing, Offered, State};
use crate::outbox::Outbox;
use crate::outgoing::Outgoing;
use crate::output::{Event, Party};

/// Offers of the other side on one link.
const OFFERS_ON_LINK: usize = 65_536;

/// Received transfers that are complete and wait for the sender's `finished`.
const COMPLETE_KEPT: usize = 64;

impl Exchange {
    pub(super) fn handle_message(&mut self, now: Instant, message: ControlMessage) -> Result<(), ViolationCode> {
        match message {
            ControlMessage::Ping { nonce } => {
                // Only the last one is answered: a flood of questions must not become one of answers.
                self.out.messages.retain(|message| !matches!(message, ControlMessage::Pong { .. }));
                self.out.say(ControlMessage::Pong { nonce });
            }
            ControlMessage::Pong { .. } => {}
            ControlMessage::Credit { limit_bytes } => return self.handle_credit(now, limit_bytes),
            ControlMessage::Text { id, text } => return self.handle_text(id, text),
            ControlMessage::TextReceived { id } => {
                if self.texts.handle_received(id) {
                    self.out.tell(Event::TextDelivered { id });
                }
            }
            ControlMessage::Error { code } => self.close(code, Party::Us),
            ControlMessage::Offer { transfer, number, summary } => {
                return self.handle_offer(transfer, number, Listing::new(summary)?);
            }
            ControlMessage::Entries { transfer, first, entries } => {
                let Some(incoming) = self.incoming.get_mut(&transfer) else { return self.ended_or_unknown(transfer) };
                let listed = incoming.listing_mut()?.handle_entries(first, entries)?;
                return self.handle_listed(transfer, listed);
            }
            ControlMessage::Resume { transfer, number } => return self.handle_resume(transfer, number),
            ControlMessage::Finished { transfer } => return self.handle_finished(transfer),
            ControlMessage::Cancel { transfer, reason } => self.handle_cancel(transfer, reason),
            ControlMessage::Fail { transfer, files } => {
                if let Some(outgoing) = self.outgoing.get_mut(&transfer) {
                    let mut files = files.into_iter();
                    return files
                        .try_for_each(|failed| outgoing.handle_fail(failed.file, failed.reason, &mut self.out));
                }
                let Some((receiving, out)) = self.receiving_mut(transfer) else {
                    return self.ended_or_unknown(transfer);
                };
                return files.into_iter().try_for_each(|failed| receiving.handle_fail(failed.file, failed.reason, out));
            }
            ControlMessage::Pause { transfer, reason } => return self.handle_pause(transfer, Some(reason)),
            ControlMessage::Unpause { transfer } => return self.handle_pause(transfer, None),
            ControlMessage::Accept { transfer, wanted, last } => {
                return self.for_outgoing(transfer, |outgoing, out| outgoing.handle_accept(wanted, last, out));
            }
            ControlMessage::Decline { transfer, reason } => return self.handle_decline(transfer, reason),
            ControlMessage::Have { transfer, done, failed, files, last } => {
                return self
                    .for_outgoing(transfer, |outgoing, out| outgoing.handle_have(&done, failed, files, last, out));
            }
            ControlMessage::Again { transfer, pieces } => {
                return self.for_outgoing(transfer, |outgoing, _| outgoing.handle_again(pieces));
            }
            ControlMessage::Received { transfer, files } => {
                return self.for_outgoing(transfer, |outgoing, out| outgoing.handle_received(&files, out));
            }
        }
        Ok(())
    }

    fn handle_credit(&mut self, now: Instant, limit_bytes: u64) -> Result<(), ViolationCode> {
        let Some(link) = &mut self.link else { return Ok(()) };
        if !link.allowance.handle_credit(limit_bytes) {
            return Err(ViolationCode::BadValue);
        }
        while let Some((transfer, bytes)) = link.allowance.poll_taken() {
            link.speed.add(now, bytes);
            if let Some(outgoing) = self.outgoing.get_mut(&transfer) {
                outgoing.handle_taken(now, bytes);
            }
        }
        Ok(())
    }

    fn handle_text(&mut self, id: u64, text: String) -> Result<(), ViolationCode> {
        if text.is_empty() || text.len() > lanyard_protocol::limits::TEXT_BYTES {
            return Err(ViolationCode::BadValue);
        }
        self.out.say(ControlMessage::TextReceived { id });
        if self.texts.is_new(id) {
            self.out.tell(Event::Text { id, text });
        }
        Ok(())
    }

    fn handle_offer(&mut self, transfer: TransferId, number: u32, listing: Listing) -> Result<(), ViolationCode> {
        self.take_number(transfer, number)?;
        if self.outgoing.contains_key(&transfer) {
            return Err(ViolationCode::DuplicateOffer);
        }
        if let Some(incoming) = self.incoming.get_mut(&transfer) {
            incoming.relisting = Some(listing);
            return Ok(());
        }
        match self.has_ended(transfer) {
            Some(Ended::Declined(reason)) => self.out.say(ControlMessage::Decline { transfer, reason }),
            Some(Ended::Cancelled(reason) | Ended::CancelledHere(reason)) => {
                self.out.say(ControlMessage::Cancel { transfer, reason });
            }
            Some(Ended::Finished) => return Err(ViolationCode::DuplicateOffer),
            None if !self.has_room_for_incoming() => {
                let reason = DeclineReason::Busy;
                self.out.say(ControlMessage::Decline { transfer, reason });
                self.remember_end(transfer, Ended::Declined(reason));
            }
            None => {
                let state = State::Listing(listing);
                self.incoming.insert(transfer, Incoming { state, relisting: None, known_on_link: false });
            }
        }
        Ok(())
    }

    /// Notes what the other side calls a transfer on this link. Numbers rise, and a transfer has one on each link.
    fn take_number(&mut self, transfer: TransferId, number: u32) -> Result<(), ViolationCode> {
        let Some(link) = &mut self.link else { return Ok(()) };
        if link.offered.len() >= OFFERS_ON_LINK {
            return Err(ViolationCode::TooMany);
        }
        if link.highest_number.is_some_and(|highest| number <= highest) || !link.offered.insert(transfer) {
            return Err(ViolationCode::DuplicateOffer);
        }
        link.highest_number = Some(number);
        link.numbers.insert(number, transfer);
        Ok(())
    }

    fn has_room_for_incoming(&mut self) -> bool {
        let is_complete = |incoming: &Incoming| match &incoming.state {
            State::Receiving(receiving) => receiving.is_complete(),
            State::Listing(_) | State::Offered(_) => false,
        };
        let complete: Vec<_> =
            self.incoming.iter().filter(|(_, incoming)| is_complete(incoming)).map(|(id, _)| *id).collect();
        let unfinished = self.incoming.len() - complete.len();
        if let Some(first) = complete.first().filter(|_| complete.len() >= COMPLETE_KEPT) {
            self.end_incoming(*first, Ended::Finished);
        }
        unfinished < self.config.transfers
    }

    fn handle_listed(&mut self, transfer: TransferId, listed: Listed) -> Result<(), ViolationCode> {
        let Some(incoming) = self.incoming.get_mut(&transfer) else { return Ok(()) };
        let manifest = match listed {
            Listed::Partly => return Ok(()),
            Listed::Whole(manifest) => manifest,
            Listed::Refused(error) => {
                self.out.tell(Event::Refused { transfer, error });
                let reason = DeclineReason::BadManifest;
                self.out.say(ControlMessage::Decline { transfer, reason });
                self.end_incoming(transfer, Ended::Declined(reason));
                return Ok(());
            }
        };
        incoming.relisting = None;
        incoming.known_on_link = true;
        match &mut incoming.state {
            State::Listing(_) => {
                incoming.state = State::Offered(Offered { manifest });
                self.out.tell(Event::Offered { transfer });
            }
            State::Offered(offered) if offered.manifest == manifest => {}
            State::Receiving(receiving) if *receiving.manifest() == manifest => receiving.answer_accept(&mut self.out),
            State::Offered(_) | State::Receiving(_) => return Err(ViolationCode::DuplicateOffer),
        }
        Ok(())
    }

    fn handle_resume(&mut self, transfer: TransferId, number: u32) -> Result<(), ViolationCode> {
        self.take_number(transfer, number)?;
        if let Some(incoming) = self.incoming.get_mut(&transfer) {
            let State::Receiving(receiving) = &mut incoming.state else { return Err(ViolationCode::OutOfTurn) };
            incoming.known_on_link = true;
            receiving.answer_have(&mut self.out);
            return Ok(());
        }
        let reason = match self.has_ended(transfer) {
            Some(Ended::Cancelled(reason) | Ended::CancelledHere(reason)) => reason,
            Some(Ended::Finished | Ended::Declined(_)) | None => CancelReason::UnknownTransfer,
        };
        self.out.say(ControlMessage::Cancel { transfer, reason });
        Ok(())
    }

    fn handle_finished(&mut self, transfer: TransferId) -> Result<(), ViolationCode> {
        match self.incoming.get(&transfer).map(|incoming| &incoming.state) {
            Some(State::Receiving(receiving)) if receiving.is_complete() => {
                self.end_incoming(transfer, Ended::Finished);
                Ok(())
            }
            Some(_) => Err(ViolationCode::OutOfTurn),
            None => self.ended_or_unknown(transfer),
        }
    }

    /// Tells of transfers that this side does not know are no breach: it may have forgotten.
    fn handle_cancel(&mut self, transfer: TransferId, reason: CancelReason) {
        let is_complete = match self.incoming.get(&transfer).map(|incoming| &incoming.state) {
            Some(State::Receiving(receiving)) => receiving.is_complete(),
            Some(State::Listing(_) | State::Offered(_)) | None => false,
        };
        let is_known = self.outgoing.contains_key(&transfer) || self.incoming.contains_key(&transfer);
        if is_complete {
            self.end_incoming(transfer, Ended::Finished);
        } else if is_known {
            self.out.tell(Event::Cancelled { transfer, reason, by: Party::Them });
            self.end_transfer(transfer, Ended::Cancelled(reason));
        }
    }

    fn handle_pause(&mut self, transfer: TransferId, reason: Option<PauseReason>) -> Result<(), ViolationCode> {
        let (flag, by_us) = if let Some(outgoing) = self.outgoing.get_mut(&transfer) {
            (&mut outgoing.paused_by_them, outgoing.paused_by_us)
        } else {
            match self.incoming.get_mut(&transfer).map(|incoming| &mut incoming.state) {
                Some(State::Receiving(receiving)) => (&mut receiving.paused_by_them, receiving.paused_by_us),
                // An offer may be paused before it is accepted; its sender holds back by itself.
                Some(State::Listing(_) | State::Offered(_)) => return Ok(()),
                None => return self.ended_or_unknown(transfer),
            }
        };
        let before = std::mem::replace(flag, reason);
        match reason {
            Some(reason) if before.is_none() => {
                self.out.tell(Event::Paused { transfer, reason, by: Party::Them });
            }
            None if before.is_some() && by_us.is_none() => self.out.tell(Event::Unpaused { transfer }),
            Some(_) | None => {}
        }
        Ok(())
    }

    fn handle_decline(&mut self, transfer: TransferId, reason: DeclineReason) -> Result<(), ViolationCode> {
        let Some(outgoing) = self.outgoing.get(&transfer) else { return self.ended_or_unknown(transfer) };
        if !outgoing.may_be_declined() {
            return Err(ViolationCode::OutOfTurn);
        }
        self.out.tell(Event::Declined { transfer, reason });
        self.end_transfer(transfer, Ended::Declined(reason));
        Ok(())
    }

    fn for_outgoing(
        &mut self,
        transfer: TransferId,
        handle: impl FnOnce(&mut Outgoing, &mut Outbox) -> Result<(), ViolationCode>,
    ) -> Result<(), ViolationCode> {
        match self.outgoing.get_mut(&transfer) {
            Some(outgoing) => handle(outgoing, &mut self.out),
            None => self.ended_or_unknown(transfer),
        }
    }

    /// Late messages about a transfer that is over are no breach.
    fn ended_or_unknown(&self, transfer: TransferId) -> Result<(), ViolationCode> {
        self.has_ended(transfer).map(|_| ()).ok_or(ViolationCode::UnknownTransfer)
    }
}

impl Incoming {
    /// Where `entries` go.
    fn listing_mut(&mut self) -> Result<&mut Listing, ViolationCode> {
        match (&mut self.relisting, &mut self.state) {
            (Some(listing), _) | (None, State::Listing(listing)) => Ok(listing),
            (None, State::Offered(_) | State::Receiving(_)) => Err(ViolationCode::OutOfTurn),
        }
    }

    pub(super) fn poll_message(&mut self) -> Option<ControlMessage> {
        match &mut self.state {
            State::Receiving(receiving) if self.known_on_link => receiving.poll_message(),
            State::Listing(_) | State::Offered(_) | State::Receiving(_) => None,
        }
    }
}
