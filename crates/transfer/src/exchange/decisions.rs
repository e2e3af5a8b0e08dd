//! What people, or a policy in their place, decide.

use std::time::Instant;

use lanyard_protocol::control::{
    CancelReason, ControlMessage, DeclineReason, FileFailure, FileIndex, PauseReason, Span, TransferId,
};

use super::{Ended, Exchange, split_mix};
use crate::incoming::{Incoming, Offered, State};
use crate::journal::Kept;
use crate::manifest::Manifest;
use crate::outgoing::Outgoing;
use crate::output::{Event, Party};
use crate::receiving::Receiving;
use crate::spans;
use crate::texts::TextError;

/// Why something cannot be done with a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// There is none with this id, or it is over.
    #[error("there is no such transfer")]
    Unknown,
    /// There is one with this id already.
    #[error("this transfer exists already")]
    Exists,
    /// As many as are allowed are under way.
    #[error("too many transfers are under way")]
    TooMany,
    /// It is not in a state where that makes sense: accepted twice, say.
    #[error("the transfer is not in a state for that")]
    OutOfTurn,
    /// Entries that are not in the manifest, or none.
    #[error("the chosen entries are not those of the offer")]
    Entries,
}

impl Exchange {
    /// Offers files. The entries stay readable under their index until [`crate::Output::Forget`].
    ///
    /// # Errors
    /// The id is taken, or too many transfers are under way.
    pub fn offer(&mut self, now: Instant, transfer: TransferId, manifest: Manifest) -> Result<(), TransferError> {
        self.add_outgoing(now, Outgoing::new(transfer, manifest))
    }

    /// Carries on a transfer that was accepted before this process began; `wanted` is what was accepted. Before
    /// [`Exchange::link_up`]. Whatever the receiver holds is read again and compared.
    ///
    /// # Errors
    /// As for [`Exchange::offer`]; and `wanted` does not fit the manifest.
    pub fn restore_outgoing(
        &mut self,
        now: Instant,
        transfer: TransferId,
        manifest: Manifest,
        wanted: &[Span],
    ) -> Result<(), TransferError> {
        if !spans::are_ascending(wanted, manifest.summary().entries) {
            return Err(TransferError::Entries);
        }
        self.add_outgoing(now, Outgoing::restored(transfer, manifest, wanted))
    }

    fn add_outgoing(&mut self, _now: Instant, mut outgoing: Outgoing) -> Result<(), TransferError> {
        let transfer = outgoing.id;
        if self.outgoing.contains_key(&transfer) || self.has_ended(transfer).is_some() {
            return Err(TransferError::Exists);
        }
        if self.outgoing.len() >= self.config.transfers || self.closed {
            return Err(TransferError::TooMany);
        }
        if let Some(link) = &mut self.link {
            outgoing.handle_link_up(link.take_number(), &mut self.out);
        }
        self.outgoing.insert(transfer, outgoing);
        self.turns.push_back(transfer);
        Ok(())
    }

    /// Carries on a transfer from its journal. Before [`Exchange::link_up`], or before its `resume` is handed in. Part of what it vouches for is read back
    /// first ([`crate::Output::Read`]).
    ///
    /// # Errors
    /// There is one with this id already.
    pub fn restore_incoming(&mut self, now: Instant, kept: Kept) -> Result<(), TransferError> {
        let transfer = kept.transfer();
        if self.incoming.contains_key(&transfer) {
            return Err(TransferError::Exists);
        }
        let mut random = || split_mix(&mut self.random);
        let receiving = Receiving::restored(now, kept, &mut random);
        let state = State::Receiving(Box::new(receiving));
        self.incoming.insert(transfer, Incoming { state, relisting: None, known_on_link: false });
        self.settle(now, Ok(()));
        Ok(())
    }

    /// Lets go of a transfer that is being received, so that another exchange with the same device can carry it on from
    /// its journal. What is on disk stays. `false` when it is not being received here.
    pub fn release_incoming(&mut self, now: Instant, transfer: TransferId) -> bool {
        let Some(State::Receiving(_)) = self.incoming.get(&transfer).map(|incoming| &incoming.state) else {
            return false;
        };
        self.incoming.remove(&transfer);
        // Should the other side still be there, it has lost it.
        let reason = CancelReason::UnknownTransfer;
        if self.link.is_some() {
            self.out.say(ControlMessage::Cancel { transfer, reason });
        }
        self.remember_end(transfer, Ended::CancelledHere(reason));
        self.settle(now, Ok(()));
        true
    }

    /// Takes an offer, or part of it. From here on bytes may be written.
    ///
    /// # Errors
    /// The offer is gone, not whole or answered; or `wanted` is empty or does not fit it.
    pub fn accept(&mut self, now: Instant, transfer: TransferId, wanted: &[Span]) -> Result<(), TransferError> {
        let incoming = self.incoming.get_mut(&transfer).ok_or(TransferError::Unknown)?;
        let State::Offered(Offered { manifest }) = &incoming.state else { return Err(TransferError::OutOfTurn) };
        if wanted.is_empty() || !spans::are_ascending(wanted, manifest.summary().entries) {
            return Err(TransferError::Entries);
        }
        let relisting = incoming.relisting.take();
        let known_on_link = incoming.known_on_link;
        if let Some(Incoming { state: State::Offered(offered), .. }) = self.incoming.remove(&transfer) {
            let mut receiving = offered.accept(now, transfer, wanted, &mut self.out);
            if known_on_link {
                receiving.answer_accept(&mut self.out);
            }
            let state = State::Receiving(Box::new(receiving));
            self.incoming.insert(transfer, Incoming { state, relisting, known_on_link });
        }
        self.settle(now, Ok(()));
        Ok(())
    }

    /// Refuses an offer.
    ///
    /// # Errors
    /// It is gone or answered.
    pub fn decline(&mut self, transfer: TransferId, reason: DeclineReason) -> Result<(), TransferError> {
        let incoming = self.incoming.get(&transfer).ok_or(TransferError::Unknown)?;
        if matches!(incoming.state, State::Receiving(_)) {
            return Err(TransferError::OutOfTurn);
        }
        if incoming.known_on_link {
            self.out.say(ControlMessage::Decline { transfer, reason });
        }
        self.end_incoming(transfer, Ended::Declined(reason));
        Ok(())
    }

    /// Stops a transfer for now, from either side.
    ///
    /// # Errors
    /// There is no such transfer.
    pub fn pause(&mut self, transfer: TransferId) -> Result<(), TransferError> {
        let reason = PauseReason::ByPerson;
        if let Some(outgoing) = self.outgoing.get_mut(&transfer) {
            if outgoing.paused_by_us.replace(reason).is_none() {
                self.out.say(ControlMessage::Pause { transfer, reason });
                self.out.tell(Event::Paused { transfer, reason, by: Party::Us });
            }
            return Ok(());
        }
        let Some(receiving) = self.receiving_mut(transfer) else { return Err(TransferError::Unknown) };
        receiving.0.pause(reason, receiving.1);
        Ok(())
    }

    /// Goes on after [`Exchange::pause`], or after a pause for want of space.
    ///
    /// # Errors
    /// There is no such transfer, or this side has not paused it.
    pub fn unpause(&mut self, now: Instant, transfer: TransferId) -> Result<(), TransferError> {
        let by_them = if let Some(outgoing) = self.outgoing.get_mut(&transfer) {
            outgoing.paused_by_us.take().ok_or(TransferError::OutOfTurn)?;
            outgoing.paused_by_them
        } else {
            let (receiving, _) = self.receiving_mut(transfer).ok_or(TransferError::Unknown)?;
            receiving.paused_by_us.ok_or(TransferError::OutOfTurn)?;
            receiving.unpause();
            receiving.paused_by_them
        };
        self.out.say(ControlMessage::Unpause { transfer });
        if by_them.is_none() {
            self.out.tell(Event::Unpaused { transfer });
        }
        self.settle(now, Ok(()));
        Ok(())
    }

    /// Gives up a whole transfer, from either side. Part files go; what was placed stays.
    ///
    /// # Errors
    /// There is no such transfer.
    pub fn cancel(&mut self, transfer: TransferId, reason: CancelReason) -> Result<(), TransferError> {
        let incoming_is_over = match self.incoming.get(&transfer).map(|incoming| &incoming.state) {
            Some(State::Receiving(receiving)) => receiving.is_complete(),
            Some(State::Listing(_) | State::Offered(_)) | None => false,
        };
        let is_known = self.outgoing.contains_key(&transfer) || self.incoming.contains_key(&transfer);
        if !is_known || incoming_is_over {
            return Err(TransferError::Unknown);
        }
        if self.link.is_some() {
            self.out.say(ControlMessage::Cancel { transfer, reason });
        }
        self.out.tell(Event::Cancelled { transfer, reason, by: Party::Us });
        self.end_transfer(transfer, Ended::CancelledHere(reason));
        Ok(())
    }

    /// Gives up one file, from either side; the others go on.
    ///
    /// # Errors
    /// There is no such transfer, it is not accepted yet, or the file is settled.
    pub fn cancel_file(&mut self, now: Instant, transfer: TransferId, file: FileIndex) -> Result<(), TransferError> {
        let reason = FileFailure::Cancelled;
        let given_up = if let Some(outgoing) = self.outgoing.get_mut(&transfer) {
            outgoing.give_up(file, reason, &mut self.out)
        } else {
            let (receiving, out) = self.receiving_mut(transfer).ok_or(TransferError::Unknown)?;
            receiving.give_up(file, reason, out)
        };
        self.settle(now, Ok(()));
        if given_up { Ok(()) } else { Err(TransferError::OutOfTurn) }
    }

    /// Sends a text; `id` is drawn at random by the caller, 0 to 2⁵³ − 1. Acknowledged by [`Event::TextDelivered`].
    ///
    /// # Errors
    /// It is empty or too long, its id is taken, or too many are waiting.
    pub fn send_text(&mut self, id: u64, text: String) -> Result<(), TextError> {
        let message = self.texts.send(id, text, self.config.texts)?;
        self.out.say(message);
        Ok(())
    }

    /// Changes how much this side takes in before it is written, as when many sessions share one memory. What was
    /// promised on this link stays promised.
    pub fn set_window(&mut self, now: Instant, window_bytes: u64) {
        self.config.window_bytes = window_bytes;
        self.config = self.config.clone().clamped();
        self.grant.resize(now, self.config.window_bytes);
    }
}
