//! What happens to a link, for whoever made it.

use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

/// Something that happened to a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "share", rename_all = "snake_case")]
pub enum ShareEvent {
    /// Bytes move.
    Progress {
        /// The file's path within the link, or the name of an upload: the latter is hostile text.
        name: String,
        /// The other end's address.
        from: String,
        /// An upload.
        upload: bool,
        /// Bytes of the file that moved, whoever took them.
        done_bytes: u64,
        /// The file's size, where it is known.
        total_bytes: Option<u64>,
    },
    /// A file moved whole.
    Done {
        /// As for [`ShareEvent::Progress`]; for an upload the name it got.
        name: String,
        /// The other end's address.
        from: String,
        /// An upload.
        upload: bool,
        /// The file's size.
        total_bytes: u64,
    },
    /// A file changed; who had part of the old one begins anew.
    Changed {
        /// The file's path within the link.
        name: String,
    },
    /// Something could not be done.
    Failed {
        /// As for [`ShareEvent::Progress`].
        name: String,
        /// In words.
        message: String,
    },
    /// The link is over: used up, or too old.
    Ended {
        /// In words.
        message: String,
    },
}

/// Where the events of one link go in; a slow reader misses some.
pub type ShareEvents = broadcast::Sender<ShareEvent>;
