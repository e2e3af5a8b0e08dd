//! Meeting again without a human, at mailboxes that only the two devices can name (PA-7).

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::select_all;
use lanyard_pairing::{
    Hour, MailboxId as PairingMailbox, Pairing, PairingError, PublicKey, RememberedDevice, ResumeSecret, Role,
};
use lanyard_protocol::signaling::PresenceState;
use lanyard_protocol::{MailboxId, MemberNumber};
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::Own;
use super::question::Asker;
use crate::session::{MeetError, Met, meet_in};
use crate::signaling_client::{Mailbox, MailboxEvent, SignalingClient, SignalingError};

/// A handshake without people takes a moment. The other side may be an old session that no longer answers it.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// Mailboxes that could not be joined, because an old session still has a side of them, are tried again so often.
const RETRY: Duration = Duration::from_secs(2);

/// The longest pause after meetings that failed.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What the two share.
#[derive(Clone)]
pub enum Bond {
    /// Both people opted in.
    Remembered(RememberedDevice),
    /// A session was lost less than a day ago.
    Resumed(ResumeSecret),
}

impl Bond {
    /// The other device's key.
    #[must_use]
    pub fn key(&self) -> PublicKey {
        match self {
            Self::Remembered(device) => device.peer_key(),
            Self::Resumed(resume) => resume.peer_key(),
        }
    }

    /// The hour itself first: most meetings are there.
    fn mailboxes(&self, hour: Hour) -> [PairingMailbox; 3] {
        let [before, now, after] = match self {
            Self::Remembered(device) => device.mailboxes(hour),
            Self::Resumed(resume) => resume.mailboxes(hour),
        };
        [now, before, after]
    }

    fn pairing(&self, role: Role, mailbox: MailboxId, own: &Own) -> Pairing {
        let (mailbox, profile, rng) = (PairingMailbox(mailbox.0), own.profile(), &mut rand::rng());
        match self {
            Self::Remembered(device) => Pairing::remembered(role, mailbox, device, &own.identity, profile, rng),
            Self::Resumed(resume) => Pairing::resume(role, mailbox, resume, &own.identity, profile, rng),
        }
    }
}

/// Why there is no use in waiting for a device any longer.
#[derive(Debug, thiserror::Error)]
pub enum AgainError {
    /// It has another key than the one that was pinned.
    #[error("its key is not the one that is remembered")]
    KeyChanged,
    /// The client has ended, or its server speaks another version.
    #[error(transparent)]
    Signaling(#[from] SignalingError),
}

/// Waits at one server until the device has come.
///
/// # Errors
/// See [`AgainError`].
pub async fn meet_again(client: &SignalingClient, bond: &Bond, own: &Own, asker: &Asker) -> Result<Met, AgainError> {
    let mut failures: u32 = 0;
    loop {
        let Some((mailbox, peer)) = companion(client, bond).await? else { continue };
        // The first in the mailbox is R (PA-8).
        let role = if mailbox.member() < peer { Role::Responder } else { Role::Initiator };
        let pairing = bond.pairing(role, mailbox.id(), own);
        let meeting = meet_in(mailbox, Some(peer), pairing, asker, "", Some(HANDSHAKE_TIMEOUT));
        match timeout(HANDSHAKE_TIMEOUT, meeting).await {
            Ok(Ok(met)) => return Ok(met),
            Ok(Err(MeetError::Pairing(PairingError::KeyChanged))) => return Err(AgainError::KeyChanged),
            Ok(Err(error)) => debug!(%error, "did not meet a device again"),
            Err(_) => debug!("a device that should meet again does not answer"),
        }
        failures = failures.saturating_add(1);
        let pause = Duration::from_millis(500).saturating_mul(1 << failures.min(6)).min(LONGEST_PAUSE);
        sleep(pause.mul_f64(0.5 + rand::random::<f64>() / 2.0)).await;
    }
}

/// Waits in the mailboxes of this hour and its neighbours until somebody is in one of them; `None` when the hour or the
/// server changed.
async fn companion(client: &SignalingClient, bond: &Bond) -> Result<Option<(Mailbox, MemberNumber)>, SignalingError> {
    let clock = client.clock().await?;
    let hour = Hour::at_ms(clock.now_ms());
    let mut held: Vec<Mailbox> = Vec::with_capacity(3);
    loop {
        let wanted = bond.mailboxes(hour).map(|id| MailboxId(id.0));
        for id in wanted {
            if held.iter().any(|mailbox| mailbox.id() == id) {
                continue;
            }
            match client.join(id).await {
                Ok(mailbox) => match mailbox.others().first().copied() {
                    // The others are left with this, so that the two meet once.
                    Some(peer) => return Ok(Some((mailbox, peer))),
                    None => held.push(mailbox),
                },
                Err(SignalingError::Ended) => return Err(SignalingError::Ended),
                Err(error) => debug!(%error, "cannot wait for a device now"),
            }
        }
        let to_next_hour = Duration::from_millis(3_600_000 - clock.now_ms() % 3_600_000);
        let limit = if held.len() < wanted.len() { RETRY.min(to_next_hour) } else { to_next_hour };
        tokio::select! {
            (at, event) = next_of(&mut held) => match event {
                Some(MailboxEvent::Presence { member, state: PresenceState::Joined | PresenceState::Back }) => {
                    return Ok(Some((held.swap_remove(at), member)));
                }
                Some(MailboxEvent::Returned { others }) => {
                    if let Some(peer) = others.first() {
                        return Ok(Some((held.swap_remove(at), *peer)));
                    }
                }
                Some(MailboxEvent::Presence { .. } | MailboxEvent::Message { .. } | MailboxEvent::NotCarried) => {}
                // An old slot of the other device was in the way, or the server began anew.
                Some(MailboxEvent::Crowded | MailboxEvent::Gone) | None => {
                    drop(held.swap_remove(at));
                    sleep(RETRY.mul_f64(rand::random::<f64>())).await;
                }
            },
            () = sleep(limit) => {}
        }
        if Hour::at_ms(clock.now_ms()) != hour {
            return Ok(None);
        }
    }
}

/// The next event of any of them; never ends without one.
async fn next_of(held: &mut [Mailbox]) -> (usize, Option<MailboxEvent>) {
    if held.is_empty() {
        return std::future::pending().await;
    }
    let (event, at, _) = select_all(held.iter_mut().map(|mailbox| mailbox.next().boxed())).await;
    (at, event)
}
