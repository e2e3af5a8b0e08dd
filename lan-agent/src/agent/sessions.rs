//! The devices this agent talks with now.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lanyard_protocol::signaling::{ListedDevice, ListingSource, Platform};
use tokio::sync::watch;
use tracing::debug;

use super::event::Who;
use crate::session::{self, Command, Context, Handle, Met};

/// Devices at once. One more is turned away until another leaves.
const MAX_SESSIONS: usize = 64;

/// How long a conversation may take to say goodbye.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(2);

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

    /// Takes in a device that was met: a new conversation, or the one with that device that waits for it. `None` when
    /// there are too many.
    pub async fn admit(&self, met: Met) -> Option<Handle> {
        let key = met.session.peer_key();
        // A program that was killed says no goodbye: its server notices first.
        let is_waiting = |handle: &Handle| !*handle.linked.borrow() || *handle.away.borrow();
        let waiting = self.all().into_iter().find(|handle| handle.key == key && is_waiting(handle));
        if let Some(handle) = waiting {
            return handle.commands.send(Command::Adopt(Box::new(met))).await.ok().map(|()| handle);
        }
        if self.all().len() >= MAX_SESSIONS {
            return None;
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
        Some(handle)
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
