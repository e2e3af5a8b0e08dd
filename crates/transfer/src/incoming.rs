//! One transfer as its receiver sees it, up to the moment it is accepted.
//!
//! [`Listing`] and [`Offered`] have no way to write: nothing that comes in can make them. Only [`Offered::accept`], which
//! a person or a policy calls, makes the [`Receiving`] that can (SAFETY D9).

use std::time::Instant;

use lanyard_protocol::control::{
    FileIndex, MANIFEST_ENTRIES, MAX_INTEGER, ManifestEntry, OfferSummary, Span, TransferId, ViolationCode,
};

use crate::manifest::{MANIFEST_BYTES, Manifest, ManifestError};
use crate::outbox::Outbox;
use crate::receiving::Receiving;

/// A manifest that is still coming.
#[derive(Debug)]
pub(crate) struct Listing {
    summary: OfferSummary,
    entries: Vec<ManifestEntry>,
    bytes: usize,
}

/// What became of an `entries` message.
#[derive(Debug)]
pub(crate) enum Listed {
    Partly,
    Whole(Manifest),
    /// The manifest is not one this device takes.
    Refused(ManifestError),
}

impl Listing {
    pub(crate) fn new(summary: OfferSummary) -> Result<Self, ViolationCode> {
        let fits = (1..=MANIFEST_ENTRIES).contains(&summary.entries)
            && summary.files <= summary.entries
            && summary.total_bytes <= MAX_INTEGER;
        if !fits {
            return Err(ViolationCode::BadValue);
        }
        Ok(Self { summary, entries: Vec::new(), bytes: 0 })
    }

    pub(crate) fn handle_entries(
        &mut self,
        first: FileIndex,
        entries: Vec<ManifestEntry>,
    ) -> Result<Listed, ViolationCode> {
        let expected = self.entries.len();
        if first as usize != expected || entries.is_empty() {
            return Err(ViolationCode::BadValue);
        }
        self.bytes += entries.iter().map(|entry| entry.path().len() + 64).sum::<usize>();
        self.entries.extend(entries);
        if self.entries.len() > self.summary.entries as usize {
            return Err(ViolationCode::BadValue);
        }
        if self.bytes > MANIFEST_BYTES {
            return Ok(Listed::Refused(ManifestError::TooMany));
        }
        if self.entries.len() < self.summary.entries as usize {
            return Ok(Listed::Partly);
        }
        match Manifest::new(std::mem::take(&mut self.entries)) {
            Ok(manifest) if *manifest.summary() == self.summary => Ok(Listed::Whole(manifest)),
            Ok(_) => Err(ViolationCode::BadValue),
            Err(error) => Ok(Listed::Refused(error)),
        }
    }
}

/// A whole offer that waits for an answer.
#[derive(Debug)]
pub(crate) struct Offered {
    pub(crate) manifest: Manifest,
}

impl Offered {
    pub(crate) fn accept(self, now: Instant, id: TransferId, wanted: &[Span], out: &mut Outbox) -> Receiving {
        Receiving::new(now, id, self.manifest, wanted, out)
    }
}

/// An offer at whatever point it is.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) state: State,
    /// The sender tells its offer once more on a new link, because it had no answer on the last one.
    pub(crate) relisting: Option<Listing>,
    /// The whole offer came, or was resumed, on this link: an answer may be given.
    pub(crate) known_on_link: bool,
}

#[derive(Debug)]
pub(crate) enum State {
    Listing(Listing),
    Offered(Offered),
    Receiving(Box<Receiving>),
}
