//! The transfers of this run: what is under way is listed, what ends is written down.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;
use tracing::debug;

use super::event::{Direction, Event, TransferNumber};
use super::history::{self, Past};

/// One transfer that is under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// As in its events; names it for `lanyard cancel`.
    pub transfer: TransferNumber,
    /// Which way.
    pub direction: Direction,
    /// The other device's name: hostile text.
    pub name: String,
    /// The only file's name, or how many files.
    pub label: String,
    /// All together.
    pub total_bytes: u64,
    /// Safe at the receiver.
    pub done_bytes: u64,
    /// Whether it was accepted.
    pub accepted: bool,
}

#[derive(Default)]
struct Known {
    running: BTreeMap<TransferNumber, Running>,
    /// What is sent. Noted by the sender, which may be faster than the events.
    paths: BTreeMap<TransferNumber, Vec<PathBuf>>,
}

/// Transfers whose paths are kept; the oldest make room.
const MAX_PATHS: usize = 256;

/// What is under way, kept current by events.
#[derive(Clone)]
pub struct Ledger {
    known: Arc<Mutex<Known>>,
    file: Option<PathBuf>,
}

impl Ledger {
    /// Nothing yet; endings go into `file`.
    #[must_use]
    pub fn new(file: Option<PathBuf>) -> Self {
        Self { known: Arc::default(), file }
    }

    /// Everything under way, the oldest first.
    #[must_use]
    pub fn running(&self) -> Vec<Running> {
        self.lock().running.values().cloned().collect()
    }

    /// What is sent by a transfer, so that it can be sent again.
    pub fn note_paths(&self, transfer: TransferNumber, paths: Vec<PathBuf>) {
        let mut known = self.lock();
        known.paths.insert(transfer, paths);
        if known.paths.len() > MAX_PATHS {
            known.paths.pop_first();
        }
    }

    /// Follows events until there are no more.
    pub async fn run(self, mut events: broadcast::Receiver<Event>) {
        loop {
            match events.recv().await {
                Ok(event) => self.handle(event),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    fn handle(&self, event: Event) {
        if let Event::Offered { transfer, direction, who, label, total_bytes, .. } = event {
            let running =
                Running { transfer, direction, name: who.name, label, total_bytes, done_bytes: 0, accepted: false };
            self.lock().running.insert(transfer, running);
        } else if let Event::Accepted { transfer } | Event::Download { transfer, .. } = event {
            if let Some(running) = self.lock().running.get_mut(&transfer) {
                running.accepted = true;
            }
        } else if let Event::Progress { transfer, done_bytes, .. } = event {
            if let Some(running) = self.lock().running.get_mut(&transfer) {
                running.done_bytes = done_bytes;
            }
        } else if let Event::Finished { transfer, outcome } = event {
            let (ended, paths) = {
                let mut known = self.lock();
                (known.running.remove(&transfer), known.paths.remove(&transfer).unwrap_or_default())
            };
            if let (Some(running), Some(file)) = (ended, &self.file) {
                let Running { direction, name, label, total_bytes, .. } = running;
                let past = Past { paths, ..Past::now(direction, name, label, total_bytes, outcome) };
                if let Err(error) = history::add(file, &past) {
                    debug!(%error, "cannot write down how a transfer ended");
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Each change is one step, so the maps are whole whoever panicked while holding them.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
