//! What a receiver keeps on disk so that a transfer survives it (TR-60 to TR-64).
//!
//! A journal is a run of records, only ever appended to. Each is
//!
//! ```text
//! offset  0              4              8
//!         +--------------+--------------+---------------
//!         | body length  | CRC-32 of    | body: one JSON
//!         | u32, bytes   | the body     | value
//!         +--------------+--------------+---------------
//! ```
//!
//! with big-endian integers. Reading stops at the first record that is cut off or does not match its checksum: what
//! follows was being written when the process died. Encoding and reading are pure; the shell owns the file.

use std::collections::BTreeMap;

use lanyard_protocol::control::{FileFailure, FileIndex, Hash, Hashes, ManifestEntry, Span, TransferId};
use serde::{Deserialize, Serialize};

use crate::manifest::{Manifest, ManifestError};
use crate::spans;

/// Bytes of one record's body; every record that this crate makes stays below.
const RECORD_BYTES: usize = 4 * 1024 * 1024;

/// One line of a transfer's journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// First of every journal.
    Accepted {
        /// Layout of what follows: 1.
        version: u32,
        /// Which transfer.
        transfer: TransferId,
        /// How many entries the manifest has.
        entries: u32,
        /// Entries that were accepted.
        wanted: Vec<Span>,
    },
    /// Part of the manifest, in order.
    Entries {
        /// As offered.
        entries: Vec<ManifestEntry>,
    },
    /// Pieces that follow each other are durable in the part file.
    Pieces {
        /// Which entry.
        file: FileIndex,
        /// Of which version.
        version: u32,
        /// Number of the first piece.
        first: u64,
        /// Of each piece.
        hashes: Hashes,
    },
    /// A piece is about to be overwritten and must not be trusted any more.
    Dropped {
        /// Which entry.
        file: FileIndex,
        /// Which piece.
        piece: u64,
    },
    /// The sender's file is another one now.
    Restated {
        /// Which entry.
        file: FileIndex,
        /// Its version.
        version: u32,
        /// Its size now.
        size_bytes: u64,
        /// Its last change now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        modified_ms: Option<u64>,
    },
    /// The root matched; the part file is about to be placed. If it is gone after a restart, it was.
    Placing {
        /// Which entry.
        file: FileIndex,
    },
    /// The entry is under its final name, for good.
    Placed {
        /// Which entry.
        file: FileIndex,
    },
    /// The entry is given up.
    Failed {
        /// Which entry.
        file: FileIndex,
        /// Why.
        reason: FileFailure,
    },
}

impl Record {
    /// Appends the record as it goes to disk.
    ///
    /// # Panics
    /// Never: every record has a JSON form, far below 4 GiB.
    pub fn encode(&self, journal: &mut Vec<u8>) {
        let body = serde_json::to_vec(self).expect("strings, integers and lists always have a JSON form");
        journal.extend_from_slice(&(body.len() as u32).to_be_bytes());
        journal.extend_from_slice(&crc32fast::hash(&body).to_be_bytes());
        journal.extend_from_slice(&body);
    }
}

/// Why a journal cannot be carried on.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Its head is missing or damaged: nothing in it can be used.
    #[error("the journal's head cannot be read")]
    NoHead,
    /// Written by a later version.
    #[error("the journal is of version {0}")]
    Version(u32),
    /// The manifest in it is not whole or was never one that may be accepted.
    #[error("the manifest in the journal cannot be used")]
    Manifest(#[from] ManifestError),
}

/// What a journal says about a transfer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub(crate) transfer: TransferId,
    pub(crate) wanted: Vec<Span>,
    pub(crate) manifest: Manifest,
    pub(crate) files: BTreeMap<FileIndex, KeptFile>,
    /// Durable pieces, in the order they became so.
    pub(crate) written: Vec<(FileIndex, u64)>,
    intact_bytes: usize,
}

/// What a journal says about one file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct KeptFile {
    pub(crate) version: u32,
    pub(crate) restated: Option<(u64, Option<u64>)>,
    pub(crate) pieces: BTreeMap<u64, (u32, Hash)>,
    pub(crate) fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Fate {
    #[default]
    Partial,
    Placing,
    Placed,
    Failed(FileFailure),
}

impl Kept {
    /// Reads a journal as far as it is whole. The shell cuts the file to [`Kept::intact_bytes`] before it appends.
    ///
    /// # Errors
    /// When nothing can be carried on: the part files of this journal are of no use.
    pub fn read(journal: &[u8]) -> Result<Self, JournalError> {
        let mut records = Records { rest: journal };
        let Some(Record::Accepted { version, transfer, entries: announced, wanted }) = records.next() else {
            return Err(JournalError::NoHead);
        };
        if version != 1 {
            return Err(JournalError::Version(version));
        }
        let mut entries = Vec::new();
        let mut files: BTreeMap<FileIndex, KeptFile> = BTreeMap::new();
        let mut written = Vec::new();
        for record in &mut records {
            match record {
                Record::Accepted { .. } => return Err(JournalError::NoHead),
                Record::Entries { entries: more } => entries.extend(more),
                Record::Pieces { file, version, first, hashes } => {
                    let kept = files.entry(file).or_default();
                    for (piece, hash) in (first..).zip(hashes.0) {
                        kept.pieces.insert(piece, (version, hash));
                        written.push((file, piece));
                    }
                }
                Record::Dropped { file, piece } => {
                    files.entry(file).or_default().pieces.remove(&piece);
                }
                Record::Restated { file, version, size_bytes, modified_ms } => {
                    let kept = files.entry(file).or_default();
                    kept.version = version;
                    kept.restated = Some((size_bytes, modified_ms));
                }
                Record::Placing { file } => files.entry(file).or_default().fate = Fate::Placing,
                Record::Placed { file } => files.entry(file).or_default().fate = Fate::Placed,
                Record::Failed { file, reason } => files.entry(file).or_default().fate = Fate::Failed(reason),
            }
        }
        let intact_bytes = journal.len() - records.rest.len();
        let manifest = Manifest::new(entries)?;
        if manifest.summary().entries != announced || !spans::are_ascending(&wanted, announced) {
            return Err(JournalError::NoHead);
        }
        files.retain(|file, _| *file < announced);
        written.retain(|(file, _)| *file < announced);
        Ok(Self { transfer, wanted, manifest, files, written, intact_bytes })
    }

    /// Which transfer it is.
    #[must_use]
    pub fn transfer(&self) -> TransferId {
        self.transfer
    }

    /// What was offered.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// How much of the journal is whole; what follows is torn.
    #[must_use]
    pub fn intact_bytes(&self) -> usize {
        self.intact_bytes
    }

    /// Whether nothing of any entry had arrived yet, nor been settled.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        self.files.is_empty()
    }

    /// Entries of which there must be a part file, unless they were being placed: see [`Kept::part_is_missing`].
    pub fn parts(&self) -> impl Iterator<Item = FileIndex> {
        let partial = |kept: &KeptFile| matches!(kept.fate, Fate::Partial | Fate::Placing);
        self.files.iter().filter(move |(_, kept)| partial(kept)).map(|(file, _)| *file)
    }

    /// The shell found no part file, or one that is too short, for one of [`Kept::parts`]. An entry that was being
    /// placed was placed; any other one begins anew.
    pub fn part_is_missing(&mut self, file: FileIndex) {
        if let Some(kept) = self.files.get_mut(&file) {
            match kept.fate {
                Fate::Placing => kept.fate = Fate::Placed,
                Fate::Partial => kept.pieces.clear(),
                Fate::Placed | Fate::Failed(_) => {}
            }
        }
    }
}

/// Whole records from the start of a journal.
struct Records<'a> {
    rest: &'a [u8],
}

impl Iterator for Records<'_> {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        let (header, rest) = self.rest.split_first_chunk::<8>()?;
        let [l0, l1, l2, l3, c0, c1, c2, c3] = *header;
        let len = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        if len > RECORD_BYTES {
            return None;
        }
        let body = rest.get(..len)?;
        if crc32fast::hash(body) != u32::from_be_bytes([c0, c1, c2, c3]) {
            return None;
        }
        let record = serde_json::from_slice(body).ok()?;
        self.rest = &rest[len..];
        Some(record)
    }
}
