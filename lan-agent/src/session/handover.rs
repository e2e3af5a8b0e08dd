//! A transfer that changes from one conversation to another with the same device (TR-56): that device's program was
//! killed, and has come again before anybody here could notice.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lanyard_pairing::PublicKey;
use lanyard_protocol::control::{ControlMessage, TransferId};
use lanyard_transfer::journal::Kept;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::Command;
use super::disk::Restorer;
use super::transfers::Known;

/// How long all conversations with a device may take to say whether they have a transfer. The other side waits meanwhile.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes of a message that asks to carry on; far more than it has.
const RESUME_BYTES: usize = 1024;

/// What was let go: its files are closed and unlocked.
pub struct Released(pub(super) Option<Known>);

/// Everybody who talks with some device now.
#[derive(Default)]
pub struct Conversations(Mutex<Vec<(PublicKey, mpsc::WeakSender<Command>)>>);

impl Conversations {
    pub(super) fn enter(&self, key: PublicKey, commands: &mpsc::Sender<Command>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(_, commands)| commands.strong_count() > 0);
        all.push((key, commands.downgrade()));
    }

    /// Those with this device but for `own`, the latest first.
    pub(super) fn others(&self, key: &PublicKey, own: &mpsc::WeakSender<Command>) -> Vec<mpsc::Sender<Command>> {
        let own = own.upgrade();
        let is_own = |other: &mpsc::Sender<Command>| own.as_ref().is_some_and(|own| own.same_channel(other));
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = all.iter().rev().filter(|(other, _)| other == key);
        same.filter_map(|(_, commands)| commands.upgrade()).filter(|other| !is_own(other)).collect()
    }
}

/// The transfer that a control message asks to carry on, if it does.
pub(super) fn resumed(text: &str) -> Option<TransferId> {
    if text.len() > RESUME_BYTES {
        return None;
    }
    if let Ok(ControlMessage::Resume { transfer, .. }) = ControlMessage::decode(text) { Some(transfer) } else { None }
}

/// Takes a transfer from whichever of `others` has it; `None` when none of them does.
pub(super) async fn take_over(
    transfer: TransferId,
    others: Vec<mpsc::Sender<Command>>,
    restorer: Restorer,
) -> Option<(Released, Kept)> {
    let taking = async {
        for other in others {
            let (reply, released) = oneshot::channel();
            if other.send(Command::Release { transfer, reply }).await.is_ok()
                && let Ok(released) = released.await
            {
                return Some((released, restorer.restore(transfer).await?));
            }
        }
        None
    };
    timeout(TIMEOUT, taking).await.ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_other_conversations_with_the_same_device_that_live_are_found() {
        let all = Conversations::default();
        let (one, two) = (PublicKey([1; 32]), PublicKey([2; 32]));
        let (own, _own_queue) = mpsc::channel(1);
        let (same, _same_queue) = mpsc::channel(1);
        let (gone, _) = mpsc::channel(1);
        let (stranger, _stranger_queue) = mpsc::channel(1);
        for (key, commands) in [(one, &own), (one, &same), (one, &gone), (two, &stranger)] {
            all.enter(key, commands);
        }
        drop(gone);
        let found = all.others(&one, &own.downgrade());
        assert!(found.len() == 1 && found[0].same_channel(&same));
    }

    #[test]
    fn a_wish_to_carry_on_is_told_from_other_messages() {
        let transfer = TransferId([7; 16]);
        assert_eq!(resumed(&ControlMessage::Resume { transfer, number: 3 }.encode()), Some(transfer));
        assert_eq!(resumed(&ControlMessage::Finished { transfer }.encode()), None);
        assert_eq!(resumed("{"), None);
    }
}
