//! The devices this agent talks with now.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lanyard_protocol::peer::PeerMessage;
use lanyard_protocol::signaling::{Body, ListedDevice, ListingSource, Platform};
use tokio::sync::mpsc::error::SendError;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use tracing::debug;

use super::event::{Event, Who};
use crate::exit::{Exit, Stop};
use crate::session::{self, Command, Context, Handle, Met};

/// Devices at once. One more is turned away until another leaves.
const MAX_SESSIONS: usize = 64;

/// How long a conversation may take to say goodbye.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a device that was met is not let in.
#[derive(Debug, thiserror::Error)]
pub enum AdmitError {
    /// Too many are connected.
    #[error("too many devices are connected; one was turned away")]
    Full,
    /// It calls itself like a remembered device and has another key.
    #[error("{}", crate::terminal::key_changed(name))]
    KeyChanged {
        /// What it calls itself: hostile text.
        name: String,
    },
}

impl From<AdmitError> for Event {
    fn from(error: AdmitError) -> Self {
        match error {
            AdmitError::Full => {
                Self::Warning { message: "Too many devices are connected; one was turned away.".to_owned() }
            }
            AdmitError::KeyChanged { name } => Self::KeyChanged { name },
        }
    }
}

impl From<AdmitError> for Stop {
    fn from(error: AdmitError) -> Self {
        let exit = match error {
            AdmitError::Full => Exit::Failure,
            AdmitError::KeyChanged { .. } => Exit::WrongSecret,
        };
        Self::new(exit, error.to_string())
    }
}

/// How long a conversation may take to end before the next one with the same device begins.
const ENDING: Duration = Duration::from_secs(15);

/// All conversations.
#[derive(Clone)]
pub struct Sessions {
    context: Arc<Context>,
    handles: Arc<Mutex<Vec<Handle>>>,
    changed: Arc<watch::Sender<u64>>,
}

impl Sessions {
    /// None yet.
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, handles: Arc::default(), changed: Arc::new(watch::Sender::new(0)) }
    }

    /// What all conversations share.
    #[must_use]
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// Takes in a device that was met: a new conversation, or the one with that device that waits for it.
    ///
    /// # Errors
    /// See [`AdmitError`]; the device is told goodbye.
    pub async fn admit(&self, mut met: Met) -> Result<Handle, AdmitError> {
        let key = met.session.peer_key();
        if let Some(name) = self.pretends(&met) {
            say_goodbye(&mut met).await;
            return Err(AdmitError::KeyChanged { name });
        }
        // Without a human it is the same device for certain, and it would not come if its old session were any good.
        let came_by_itself = met.session.trust() == lanyard_pairing::Trust::Remembered;
        // A program that was killed says no goodbye: its server notices first.
        let is_waiting = |handle: &Handle| !*handle.linked.borrow() || *handle.away.borrow();
        let mut same = self.all();
        same.retain(|handle| handle.key == key);
        if let Some(handle) = same.iter().find(|handle| came_by_itself || is_waiting(handle)) {
            met = match adopt(handle, met).await? {
                None => return Ok(handle.clone()),
                Some(met) => met,
            };
        }
        // Unfinished files are the next conversation's only when the last one has let go of them.
        for handle in same.iter_mut().filter(|handle| handle.commands.is_closed()) {
            let _ = timeout(ENDING, handle.over.wait_for(|over| *over)).await;
        }
        if self.all().len() >= MAX_SESSIONS {
            say_goodbye(&mut met).await;
            return Err(AdmitError::Full);
        }
        let handle = session::start(met, self.context.clone());
        self.lock().push(handle.clone());
        self.touch();
        let (sessions, mut watched) = (self.clone(), handle.clone());
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    over = watched.over.changed() => if over.is_err() || *watched.over.borrow() { break },
                    Ok(()) = watched.device.changed() => sessions.touch(),
                    Ok(()) = watched.linked.changed() => sessions.touch(),
                }
            }
            sessions.lock().retain(|handle| !*handle.over.borrow());
            sessions.touch();
        });
        Ok(handle)
    }

    /// The name of a remembered device that another key uses now.
    fn pretends(&self, met: &Met) -> Option<String> {
        let name = met.session.peer_profile().name();
        let same_name = self.context.book.as_ref()?.named(name);
        let is_other = !same_name.is_empty() && same_name.iter().all(|device| device.key() != met.session.peer_key());
        is_other.then(|| name.to_owned())
    }

    /// Everyone now.
    #[must_use]
    pub fn all(&self) -> Vec<Handle> {
        self.lock().iter().filter(|handle| !*handle.over.borrow()).cloned().collect()
    }

    /// Those that can be sent to.
    #[must_use]
    pub fn connected(&self) -> Vec<Who> {
        self.all().into_iter().filter(|handle| *handle.linked.borrow()).map(|handle| handle.who).collect()
    }

    /// The devices among them that may be rung by each other: pages that came by the link and said so.
    #[must_use]
    pub fn linked_pages(&self) -> Vec<ListedDevice> {
        let listed = |handle: Handle| {
            let device = (*handle.device.borrow())?;
            Some(ListedDevice {
                device,
                name: handle.who.name,
                platform: Platform::Other,
                source: ListingSource::Linked,
            })
        };
        self.all().into_iter().filter_map(listed).collect()
    }

    /// Ticks when anything about the devices changes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Says goodbye to everyone and waits until it is said.
    pub async fn stop(&self) {
        self.context.downloads.cancel_all();
        let handles = self.all();
        for handle in &handles {
            let _ = handle.commands.send(Command::Stop).await;
        }
        for mut handle in handles {
            let over = handle.over.wait_for(|over| *over);
            if tokio::time::timeout(GOODBYE_TIMEOUT, over).await.is_err() {
                debug!("a conversation did not end in time");
            }
        }
    }

    fn touch(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Handle>> {
        // A list of handles is whole after every step, whoever panicked while holding it.
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has a conversation carry on with its device. Gives back what that device was met by when the conversation is ending.
async fn adopt(handle: &Handle, met: Met) -> Result<Option<Met>, AdmitError> {
    let (reply, answer) = oneshot::channel();
    match handle.commands.send(Command::Adopt { met: Box::new(met), reply }).await {
        Ok(()) => match answer.await {
            Ok(Ok(())) => Ok(None),
            Ok(Err(met)) => Ok(Some(*met)),
            Err(_) => Err(AdmitError::Full),
        },
        Err(SendError(Command::Adopt { met, .. })) => Ok(Some(*met)),
        Err(_) => Err(AdmitError::Full),
    }
}

/// A device that is not let in hears so, and does not wait.
async fn say_goodbye(met: &mut Met) {
    let Ok(plain) = serde_json::to_vec(&PeerMessage::Bye) else { return };
    if let Some(body) = Body::new(met.session.seal(&plain)) {
        // Without the server it hears nothing and gives up by itself.
        let _ = met.mailbox.sender().send(met.peer, body).await;
    }
}
