//! What people are told of transfers: numbers, labels and endings for the ids of the exchange.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

use lanyard_protocol::control::{CancelReason, DeclineReason, FileFailure, FileIndex, TransferId};
use lanyard_transfer::{Manifest, Party};
use tokio::task::AbortHandle;

use super::memory::Place;
use super::plain_download::PlainLinks;
use crate::agent::event::{Direction, Event, Outcome, TransferNumber, Who};
use crate::source::Collected;

/// One transfer as people see it.
pub(super) struct Known {
    pub(super) number: TransferNumber,
    /// Paths by entry, for messages about single files.
    names: Vec<String>,
    label: String,
    files: u64,
    pub(super) total_bytes: u64,
    direction: Direction,
    /// Whether people were told of it.
    pub(super) announced: bool,
    /// Where it is kept that the other side accepted it.
    pub(super) record: Option<PathBuf>,
    /// What to offer anew, should the other side know nothing of a transfer that we try to carry on.
    pub(super) again: Option<Collected>,
    /// What is offered, as long as a page may want plain links to it.
    pub(super) offered: Option<Collected>,
    /// The links that it was told of.
    pub(super) links: Option<PlainLinks>,
    /// The question about it that is open.
    pub(super) asking: Option<AbortHandle>,
    failures: Vec<FileFailure>,
    pub(super) accepted: bool,
    /// Held while it is received.
    pub(super) place: Option<Place>,
    /// The last known bytes safe at the receiver.
    pub(super) done_bytes: u64,
    /// The receiver's disk is what stopped it.
    pub(super) no_space: Option<String>,
    /// What people were told last of a disk without room.
    pub(super) told_no_space: Option<String>,
    /// When to look for room again.
    pub(super) retry_at: Option<Instant>,
}

impl Known {
    pub(super) fn new(number: TransferNumber, direction: Direction, manifest: &Manifest) -> Self {
        let names = manifest.entries().iter().map(|entry| entry.path().to_owned()).collect();
        Self {
            number,
            names,
            label: label(manifest),
            files: u64::from(manifest.summary().files),
            total_bytes: manifest.summary().total_bytes,
            direction,
            announced: false,
            record: None,
            again: None,
            offered: None,
            links: None,
            asking: None,
            failures: Vec::new(),
            accepted: false,
            place: None,
            done_bytes: 0,
            no_space: None,
            told_no_space: None,
            retry_at: None,
        }
    }

    /// What to tell people when they hear of it for the first time.
    pub(super) fn announcement(&mut self, who: &Who) -> Option<Event> {
        (!std::mem::replace(&mut self.announced, true)).then(|| Event::Offered {
            transfer: self.number,
            direction: self.direction,
            who: who.clone(),
            label: self.label.clone(),
            files: self.files,
            total_bytes: self.total_bytes,
        })
    }

    /// The path of an entry, as offered.
    pub(super) fn name(&self, file: FileIndex) -> String {
        usize::try_from(file).ok().and_then(|index| self.names.get(index)).cloned().unwrap_or_default()
    }

    /// The name it got where it was placed.
    pub(super) fn rename(&mut self, file: FileIndex, placed: String) {
        if let Some(name) = usize::try_from(file).ok().and_then(|index| self.names.get_mut(index)) {
            *name = placed;
        }
    }

    pub(super) fn handle_failed(&mut self, reason: FileFailure) {
        self.failures.push(reason);
    }

    /// How it ended, when every file is done or has failed.
    pub(super) fn outcome(&self) -> Outcome {
        let failed = self.failures.len() as u64;
        if failed == 0 {
            return Outcome::Done;
        }
        if self.failures.len() < self.names.len() {
            return Outcome::Partly { failed };
        }
        match self.failures.first() {
            Some(FileFailure::Damaged) => Outcome::Damaged,
            Some(FileFailure::CannotWrite) => {
                Outcome::NoSpace { message: "the receiving device could not store it".to_owned() }
            }
            Some(reason) => Outcome::Failed { message: failure(*reason).to_owned() },
            None => Outcome::Done,
        }
    }
}

/// What a conversation moves now.
pub(super) type Transfers = HashMap<TransferId, Known>;

/// `holiday.zip`, or `14 files`.
fn label(manifest: &Manifest) -> String {
    match manifest.entries() {
        [only] => only.path().to_owned(),
        _ => match manifest.summary().files {
            0 => "empty folders".to_owned(),
            1 => "1 file".to_owned(),
            files => format!("{files} files"),
        },
    }
}

/// Why a file did not arrive, in words.
pub(super) fn failure(reason: FileFailure) -> &'static str {
    match reason {
        FileFailure::Cancelled => "was left out",
        FileFailure::Changed => "changed while it was being sent; send it again",
        FileFailure::Unreadable => "cannot be read on the sending device any more",
        FileFailure::CannotWrite => "could not be stored",
        FileFailure::Damaged => "arrived damaged and was kept out of the folder; send it again",
        FileFailure::Other => "was given up by the other device",
    }
}

/// How a refused offer ended.
pub(super) fn declined(reason: DeclineReason) -> Outcome {
    match reason {
        DeclineReason::Declined => Outcome::Declined { reason: String::new() },
        DeclineReason::NoAnswer => Outcome::NoAnswer,
        DeclineReason::Busy => Outcome::Declined { reason: "the other device is busy, try later".to_owned() },
        DeclineReason::NoSpace => {
            Outcome::NoSpace { message: "there is not enough space on the other device; send fewer files".to_owned() }
        }
        DeclineReason::BadManifest => {
            Outcome::Declined { reason: "the other device cannot take these names or sizes".to_owned() }
        }
        DeclineReason::Other => Outcome::Declined { reason: "the other device did not say why".to_owned() },
    }
}

/// How a cancelled transfer ended.
pub(super) fn cancelled(reason: CancelReason, by: Party) -> Outcome {
    match reason {
        CancelReason::ByPerson => Outcome::Cancelled { here: by == Party::Us },
        CancelReason::UnknownTransfer => {
            Outcome::Failed { message: "the other device no longer knows it; send it again".to_owned() }
        }
        CancelReason::Expired => Outcome::Failed { message: "it waited too long; send it again".to_owned() },
        CancelReason::Failed | CancelReason::Other => {
            Outcome::Failed { message: "files could not be read or stored".to_owned() }
        }
    }
}
