//! What the shell must do, and what it answers.

use lanyard_protocol::control::{
    CancelReason, DeclineReason, FileFailure, FileIndex, PauseReason, TransferId, ViolationCode,
};

use crate::journal::Record;
use crate::manifest::ManifestError;
use crate::name::SafePath;

/// Something the world must do. Those of one transfer are carried out in the order they come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Read a file that is being sent, or (for a transfer being received, after a restart) a part file. Answered by
    /// [`crate::Exchange::handle_read`].
    Read(ReadRequest),
    /// Nothing more is read of this file for now; its handle may be closed.
    CloseSource {
        /// Which transfer.
        transfer: TransferId,
        /// Which entry.
        file: FileIndex,
    },
    /// Make or open the part file and reserve `size_bytes`. Not answered when it works; when it does not,
    /// [`crate::Exchange::handle_write_failed`].
    Open {
        /// Which transfer.
        transfer: TransferId,
        /// Which entry.
        file: FileIndex,
        /// Where it will be placed; the part file is named by transfer and entry, never by this.
        path: SafePath,
        /// How long it will be.
        size_bytes: u64,
    },
    /// Write verified bytes into the part file. Answered by [`crate::Exchange::handle_written`] or
    /// [`crate::Exchange::handle_write_failed`].
    Write {
        /// Which transfer.
        transfer: TransferId,
        /// Which entry.
        file: FileIndex,
        /// Where the first byte goes.
        offset: u64,
        /// A whole piece.
        bytes: Vec<u8>,
    },
    /// Make what was written to these part files durable. Answered by [`crate::Exchange::handle_synced`].
    Sync {
        /// Which transfer.
        transfer: TransferId,
        /// Which entries.
        files: Vec<FileIndex>,
    },
    /// Append to the transfer's journal; with `sync`, make it durable before doing anything that comes after.
    Journal {
        /// Which transfer.
        transfer: TransferId,
        /// In this order.
        records: Vec<Record>,
        /// Whether the order on disk matters.
        sync: bool,
    },
    /// Make the part files durable and place them under their final names, replacing nothing; make folders; make all
    /// that durable. Answered by [`crate::Exchange::handle_placed`] for each entry.
    Place {
        /// Which transfer.
        transfer: TransferId,
        /// What goes where.
        entries: Vec<Placement>,
    },
    /// Remove the part files of these entries.
    Discard {
        /// Which transfer.
        transfer: TransferId,
        /// Which entries.
        files: Vec<FileIndex>,
    },
    /// Remove the journal, or the note of what was offered, and whatever part files are left.
    Forget {
        /// Which transfer.
        transfer: TransferId,
    },
    /// Tell the person or program in front.
    Event(Event),
    /// Close the link; the session is over. Nothing comes after this.
    Close {
        /// What was broken.
        code: ViolationCode,
        /// Who broke it.
        by: Party,
    },
}

/// What to read. Handed back with the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadRequest {
    /// Which transfer.
    pub transfer: TransferId,
    /// Which entry.
    pub file: FileIndex,
    /// Which content of the file: 0 is the one that was offered. After a [`ReadError::Changed`] requests may come for
    /// the next one, which has the size and time that the error told.
    pub version: u32,
    /// First byte.
    pub offset: u64,
    /// 0 to 1 MiB. 0 asks only whether the file is still there and unchanged.
    pub len: u64,
}

/// One entry to be put under its final name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Which entry.
    pub file: FileIndex,
    /// Where.
    pub path: SafePath,
    /// A folder to be made, not a part file to be moved.
    pub is_folder: bool,
    /// Last change to set, milliseconds since 1970.
    pub modified_ms: Option<u64>,
}

/// Something worth showing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A whole offer has come: see [`crate::Exchange::manifest`]. Answer with accept or decline.
    Offered {
        /// Which transfer.
        transfer: TransferId,
    },
    /// An offer was declined at once, because of what it holds.
    Refused {
        /// Which transfer.
        transfer: TransferId,
        /// What is wrong with it.
        error: ManifestError,
    },
    /// The other side took the offer.
    Accepted {
        /// Which transfer.
        transfer: TransferId,
    },
    /// The other side did not.
    Declined {
        /// Which transfer.
        transfer: TransferId,
        /// Why.
        reason: DeclineReason,
    },
    /// The transfer stands still.
    Paused {
        /// Which transfer.
        transfer: TransferId,
        /// Why.
        reason: PauseReason,
        /// Who paused it.
        by: Party,
    },
    /// Nobody pauses the transfer any more.
    Unpaused {
        /// Which transfer.
        transfer: TransferId,
    },
    /// A file is another one than was offered; what arrives is its present content.
    Restated {
        /// Which transfer.
        transfer: TransferId,
        /// Which entry.
        file: FileIndex,
        /// Its size now.
        size_bytes: u64,
    },
    /// A file is whole and under its final name at the receiver.
    FileDone {
        /// Which transfer.
        transfer: TransferId,
        /// Which entry.
        file: FileIndex,
    },
    /// A file will not arrive; the others go on.
    FileFailed {
        /// Which transfer.
        transfer: TransferId,
        /// Which entry.
        file: FileIndex,
        /// Why.
        reason: FileFailure,
    },
    /// Every wanted entry is done or failed.
    Finished {
        /// Which transfer.
        transfer: TransferId,
    },
    /// The transfer was given up.
    Cancelled {
        /// Which transfer.
        transfer: TransferId,
        /// Why.
        reason: CancelReason,
        /// Who gave it up.
        by: Party,
    },
    /// A text has come; shown once.
    Text {
        /// Its id.
        id: u64,
        /// Hostile text.
        text: String,
    },
    /// The other side has a text of ours.
    TextDelivered {
        /// Its id.
        id: u64,
    },
    /// Nothing was heard for [`crate::Config::silent_after`] on a link that should be up.
    Silent,
    /// Something was heard again.
    Heard,
}

/// One of the two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Party {
    /// This device.
    Us,
    /// The other one.
    Them,
}

/// Why a file could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Size, last change or identity are not those of the version that was asked for.
    ///
    /// Checked after the bytes were read, so that bytes of a changing file are never taken for the file.
    #[error("the file changed: {size_bytes} bytes now")]
    Changed {
        /// Its size now.
        size_bytes: u64,
        /// Its last change now, milliseconds since 1970.
        modified_ms: Option<u64>,
    },
    /// Gone, forbidden, or an error of the disk.
    #[error("the file cannot be read")]
    Unreadable,
}

/// Why a part file could not be written or placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The disk or quota is full: the transfer pauses and keeps what it has.
    #[error("no space is left")]
    NoSpace,
    /// This file cannot be stored; the others go on.
    #[error("the file cannot be written")]
    Failed,
}
