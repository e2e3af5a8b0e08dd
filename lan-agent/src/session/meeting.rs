//! The handshake over a mailbox, with the people it needs.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use lanyard_pairing::{Output, Pairing, PairingError, PictureRow, Session};
use lanyard_protocol::MemberNumber;
use lanyard_protocol::signaling::{Body, PresenceState};
use tokio::time::Instant;
use tracing::debug;

use crate::agent::question::{Answer, Asker, Question};
use crate::signaling_client::{Mailbox, MailboxEvent, SignalingError};

/// How long a handshake may take once both sides are there, people's time with pictures included.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(90);

/// A device that was met, and where.
pub struct Met {
    /// What the handshake gave.
    pub session: Session,
    /// Where the two can talk.
    pub mailbox: Mailbox,
    /// The other side's number in it.
    pub peer: MemberNumber,
    /// Address of the page of the server where that is; `None` at this device's own.
    pub server: Option<String>,
}

impl Met {
    /// Notes where it was.
    #[must_use]
    pub fn at(self, server: impl Into<String>) -> Self {
        Self { server: Some(server.into()), ..self }
    }
}

/// Why two devices did not meet.
#[derive(Debug, thiserror::Error)]
pub enum MeetError {
    /// The handshake failed.
    #[error("{0}")]
    Pairing(#[from] PairingError),
    /// A third side came.
    #[error(
        "a third device tried to join at the same time, so all stopped and nothing was sent; make a new code or link"
    )]
    Crowded,
    /// The server forgot the mailbox, or cannot be reached.
    #[error("the other device left before the two had met; make a new code or link")]
    Gone,
    /// Nobody came, or nobody answered.
    #[error("the other device did not come in time")]
    TimedOut,
    /// The client has ended.
    #[error(transparent)]
    Signaling(#[from] SignalingError),
}

type Asking = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// A question that is open, by whom it is to be answered in the handshake.
enum Pictures {
    Pick(Asking),
    Show(Asking),
}

/// Runs a handshake to its end. The other side may take until `patience` to come; `None` waits as long as the mailbox
/// lives.
///
/// # Errors
/// See [`MeetError`]. The mailbox is left.
pub async fn meet(
    mailbox: Mailbox,
    pairing: Pairing,
    asker: &Asker,
    peer_name: &str,
    patience: Option<Duration>,
) -> Result<Met, MeetError> {
    let peer = mailbox.others().first().copied();
    meet_in(mailbox, peer, pairing, asker, peer_name, patience).await
}

/// As [`meet`], where `peer` is known to be in the mailbox.
///
/// # Errors
/// See [`MeetError`]. The mailbox is left.
pub async fn meet_in(
    mut mailbox: Mailbox,
    mut peer: Option<MemberNumber>,
    mut pairing: Pairing,
    asker: &Asker,
    peer_name: &str,
    patience: Option<Duration>,
) -> Result<Met, MeetError> {
    let mut unsent = Vec::new();
    let mut pictures: Option<Pictures> = None;
    // Whether the one who is there has said something.
    let mut has_spoken = false;
    let mut deadline = match peer {
        Some(_) => Some(Instant::now() + HANDSHAKE_TIMEOUT),
        None => patience.map(|patience| Instant::now() + patience),
    };
    loop {
        while let Some(output) = pairing.poll_output() {
            match output {
                Output::Send(message) => unsent.push(message),
                Output::ShowPictures { mine } => {
                    let question = Question::ShowPictures { name: peer_name.to_owned(), row: words(&mine) };
                    pictures = Some(Pictures::Show(ask(asker, question)));
                }
                Output::PickPictures { rows } => {
                    let rows = rows.iter().map(words).collect();
                    let question = Question::PickPictures { name: peer_name.to_owned(), rows };
                    pictures = Some(Pictures::Pick(ask(asker, question)));
                }
                Output::Established(session) => {
                    send(&mailbox, peer, &mut unsent).await?;
                    let peer = peer.ok_or(MeetError::Gone)?;
                    return Ok(Met { session: *session, mailbox, peer, server: None });
                }
                // Harmless: the very message that was taken before.
                Output::Refused(PairingError::Replayed) => debug!("ignored a repeated message"),
                Output::Refused(error) => asker.warn(format!("A device was refused: {error}.")),
                Output::Failed(error) => {
                    send(&mailbox, peer, &mut unsent).await?;
                    return Err(error.into());
                }
            }
        }
        send(&mailbox, peer, &mut unsent).await?;
        tokio::select! {
            event = mailbox.next() => match event.ok_or(MeetError::Gone)? {
                MailboxEvent::Message { from, .. } if peer.is_some_and(|peer| peer != from) => pairing.refuse_sender(),
                MailboxEvent::Message { from, body } => {
                    peer = Some(from);
                    pairing.handle_message(body.as_bytes());
                    has_spoken = true;
                }
                MailboxEvent::Presence { member, state: PresenceState::Joined } => {
                    peer = Some(member);
                    deadline = Some(Instant::now() + HANDSHAKE_TIMEOUT);
                }
                MailboxEvent::Presence { state: PresenceState::Left, .. } => {
                    peer = None;
                    unsent.clear();
                    if !pairing.restart() {
                        return Err(MeetError::Gone);
                    }
                    if std::mem::take(&mut has_spoken) {
                        asker.warn("A device went away before the two had met.".to_owned());
                    }
                    deadline = patience.map(|patience| Instant::now() + patience);
                }
                MailboxEvent::Presence { state: PresenceState::Away | PresenceState::Back, .. }
                | MailboxEvent::NotCarried
                | MailboxEvent::Returned { .. } => {}
                MailboxEvent::Crowded => return Err(MeetError::Crowded),
                MailboxEvent::Gone => return Err(MeetError::Gone),
            },
            answer = answered(&mut pictures) => match (pictures.take(), answer) {
                (Some(Pictures::Pick(_)), Answer::Picked(row)) => pairing.pick_row(usize::from(row)),
                (Some(Pictures::Show(_)), Answer::Yes) => pairing.confirm_pictures(true),
                (Some(Pictures::Show(_)), Answer::No) => pairing.confirm_pictures(false),
                _ => pairing.cancel(),
            },
            () = sleep_until(deadline) => {
                pairing.cancel();
                while let Some(output) = pairing.poll_output() {
                    if let Output::Send(message) = output {
                        unsent.push(message);
                    }
                }
                send(&mailbox, peer, &mut unsent).await?;
                return Err(MeetError::TimedOut);
            }
        }
    }
}

async fn send(mailbox: &Mailbox, peer: Option<MemberNumber>, unsent: &mut Vec<Vec<u8>>) -> Result<(), MeetError> {
    let Some(peer) = peer else { return Ok(()) };
    for message in unsent.drain(..) {
        // Handshake messages are at most 4 KiB, far below a body's limit.
        if let Some(body) = Body::new(message) {
            mailbox.sender().send(peer, body).await?;
        }
    }
    Ok(())
}

fn ask(asker: &Asker, question: Question) -> Asking {
    let asker = asker.clone();
    Box::pin(async move { asker.ask(question).await })
}

async fn answered(pictures: &mut Option<Pictures>) -> Answer {
    match pictures {
        Some(Pictures::Pick(asking) | Pictures::Show(asking)) => asking.await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// `🦊 fox  🚲 bicycle  🌵 cactus  🎲 dice`
fn words(row: &PictureRow) -> String {
    let pictures: Vec<String> = row.iter().map(|picture| format!("{} {}", picture.emoji(), picture.name())).collect();
    pictures.join("  ")
}
