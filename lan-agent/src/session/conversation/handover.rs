//! Taking a transfer over from another conversation with the same device, and letting go of one (TR-56).

use std::time::Instant;

use lanyard_protocol::control::TransferId;
use lanyard_transfer::journal::Kept;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::info;

use super::super::handover::{Released, resumed, take_over};
use super::Conversation;

/// A `resume` that waits until it is clear who has its transfer. Nothing more is read from the link meanwhile.
pub(super) struct TakingOver {
    transfer: TransferId,
    message: String,
    /// The link that it came by.
    attempt: u32,
    work: JoinHandle<Option<(Released, Kept)>>,
}

/// A transfer that was let go, once the disk has done all that was asked of it.
pub(super) struct Releasing {
    pub(super) transfer: TransferId,
    pub(super) released: Released,
    pub(super) reply: oneshot::Sender<Released>,
}

/// Waits for the end of a take-over; never ends without one.
pub(super) async fn taken(taking: &mut Option<TakingOver>) -> Option<(Released, Kept)> {
    match taking {
        Some(taking) => (&mut taking.work).await.ok().flatten(),
        None => std::future::pending().await,
    }
}

impl Conversation {
    /// A message of the control channel of the link that carries.
    pub(super) fn handle_control(&mut self, now: Instant, attempt: u32, message: String) {
        let unknown = resumed(&message).filter(|resumed| !self.exchange.incoming().any(|known| known == *resumed));
        if let Some(transfer) = unknown
            && let Some(restorer) = self.disk.restorer()
        {
            let others = self.context.conversations.others(&self.met.session.peer_key(), &self.own_commands);
            if !others.is_empty() {
                let work = tokio::spawn(take_over(transfer, others, restorer));
                self.taking_over = Some(TakingOver { transfer, message, attempt, work });
                return;
            }
        }
        self.exchange.handle_control(now, &message);
    }

    /// Nobody had it, or it is ours now: then the other side is answered from it.
    pub(super) fn handle_taken(&mut self, taken: Option<(Released, Kept)>) {
        let now = Instant::now();
        let Some(TakingOver { transfer, message, attempt, .. }) = self.taking_over.take() else { return };
        if let Some((Released(known), kept)) = taken
            && self.exchange.restore_incoming(now, kept).is_ok()
        {
            info!(?transfer, "an unfinished transfer was taken over");
            if let Some(known) = known {
                self.transfers.insert(transfer, known);
            }
            self.share_memory(now);
        }
        // On a link that came since, it is said again.
        if self.link.as_ref().is_some_and(|link| link.attempt == attempt) {
            self.exchange.handle_control(now, &message);
        }
    }

    /// Lets go of a transfer that its sender carries on elsewhere. Without an answer it is not here.
    pub(super) fn release(&mut self, transfer: TransferId, reply: oneshot::Sender<Released>) {
        if self.exchange.release_incoming(Instant::now(), transfer) {
            let released = Released(self.transfers.remove(&transfer));
            self.releasing.push_back(Releasing { transfer, released, reply });
            self.is_superseded = true;
        }
    }

    /// Has the disk let go of transfers, after all that it was asked to do for them.
    pub(super) fn hand_over(&mut self) {
        while self.disk.is_ready()
            && let Some(Releasing { transfer, released, reply }) = self.releasing.pop_front()
        {
            // Whoever asked may have stopped waiting.
            self.disk.release(transfer, move || drop(reply.send(released)));
        }
    }

    /// Whether the device is gone and goes on in another conversation.
    pub(super) fn is_left_behind(&self) -> bool {
        let is_out_of_reach = self.peer_away || !*self.signs.linked.borrow();
        self.is_superseded && is_out_of_reach && self.releasing.is_empty() && self.exchange.is_idle()
    }
}
