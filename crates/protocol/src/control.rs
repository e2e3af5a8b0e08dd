//! Device ↔ device on the open link's control channel: offers, answers, acknowledgements, text.
//!
//! JSON text, one message at most [`limits::CONTROL_MESSAGE_BYTES`]. Rules are numbered `TR-n` in
//! `docs/protocol/transfer.md`. "Sender" and "receiver" mean of files; both sides of a link may be both at once.
//! Bytes of files travel beside these, in [`crate::frame`]s; the two channels have no order between them.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::{DecodeError, IdError, limits};

/// The largest integer that every implementation can represent: 2⁵³ − 1. Sizes and offsets stay at or below it.
pub const MAX_INTEGER: u64 = (1 << 53) - 1;

/// Entries of one manifest, files and folders together.
pub const MANIFEST_ENTRIES: u32 = 100_000;

/// One transfer, drawn at random by its sender. Stable over links and restarts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, TS)]
#[serde(try_from = "String", into = "String")]
#[ts(type = "string")]
pub struct TransferId(pub [u8; 16]);

impl TryFrom<String> for TransferId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl std::str::FromStr for TransferId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok();
        bytes.and_then(|bytes| bytes.try_into().ok()).map(Self).ok_or(IdError::Malformed { expected: 16 })
    }
}

impl From<TransferId> for String {
    fn from(id: TransferId) -> String {
        id.to_string()
    }
}

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64URL_NOPAD.encode(&self.0))
    }
}

impl fmt::Debug for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransferId({:.6}…)", BASE64URL_NOPAD.encode(&self.0))
    }
}

/// Position of an entry in the offer's manifest, from 0. Folders count too.
pub type FileIndex = u32;

/// BLAKE3 of a piece's bytes, or a file's root.
pub type Hash = [u8; 32];

/// What one device says to the other on the control channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(tag = "type", rename_all = "snake_case")]
#[ts(export)]
pub enum ControlMessage {
    /// Are you there? Answered at once by `pong` with the same number.
    Ping {
        /// Chosen by the asker.
        nonce: u32,
    },
    /// Answer to `ping`.
    Pong {
        /// From the `ping`.
        nonce: u32,
    },
    /// How many bytes of frames this device will take on this link in all, counted from the link's start. First message
    /// of every link; never shrinks.
    Credit {
        /// Headers included.
        #[serde(with = "integer")]
        #[ts(type = "number")]
        limit_bytes: u64,
    },
    /// Text from person to person. Repeated on the next link until it is acknowledged.
    Text {
        /// Drawn at random: the receiver shows each once.
        #[serde(with = "integer")]
        #[ts(type = "number")]
        id: u64,
        /// 1 to [`limits::TEXT_BYTES`] bytes.
        text: String,
    },
    /// The text was shown.
    TextReceived {
        /// From `text`.
        #[serde(with = "integer")]
        #[ts(type = "number")]
        id: u64,
    },
    /// Sender: begins an offer. `entries` follow until there are as many as announced.
    Offer {
        /// Which transfer.
        transfer: TransferId,
        /// What data frames on this link call it; each number once a link and direction.
        number: u32,
        /// What to show at once.
        summary: OfferSummary,
    },
    /// Sender: part of the manifest, in order and without gaps.
    Entries {
        /// Which transfer.
        transfer: TransferId,
        /// Index of the first entry here.
        first: FileIndex,
        /// At least one.
        entries: Vec<ManifestEntry>,
    },
    /// Receiver: these entries are wanted. A `have` follows the last part.
    Accept {
        /// Which transfer.
        transfer: TransferId,
        /// Ascending, disjoint.
        wanted: Vec<Span>,
        /// No further part follows.
        last: bool,
    },
    /// Receiver: nothing of it is wanted.
    Decline {
        /// Which transfer.
        transfer: TransferId,
        /// Why.
        reason: DeclineReason,
    },
    /// Sender: on a new link, carries on a transfer that was accepted. Answered by `have`, or by `cancel`.
    Resume {
        /// Which transfer.
        transfer: TransferId,
        /// What data frames on this link call it.
        number: u32,
    },
    /// Receiver: what it holds. The sender starts after the last part and sends what is not held.
    Have {
        /// Which transfer.
        transfer: TransferId,
        /// Entries that are under their final name.
        done: Vec<Span>,
        /// Entries that have failed and are no longer wanted.
        failed: Vec<FailedFile>,
        /// Entries of which verified pieces are held.
        files: Vec<HeldFile>,
        /// No further part follows.
        last: bool,
    },
    /// Receiver: send these pieces again; their hash was wrong, or they could not be stored for now.
    Again {
        /// Which transfer.
        transfer: TransferId,
        /// Which pieces.
        pieces: Vec<PieceRef>,
    },
    /// Either side: send nothing more of it for now.
    Pause {
        /// Which transfer.
        transfer: TransferId,
        /// Why.
        reason: PauseReason,
    },
    /// The side that paused goes on.
    Unpause {
        /// Which transfer.
        transfer: TransferId,
    },
    /// Either side: these files are given up; the others go on.
    Fail {
        /// Which transfer.
        transfer: TransferId,
        /// At least one.
        files: Vec<FailedFile>,
    },
    /// Either side: the whole transfer is given up.
    Cancel {
        /// Which transfer.
        transfer: TransferId,
        /// Why.
        reason: CancelReason,
    },
    /// Receiver: these entries are verified, durable and under their final name.
    Received {
        /// Which transfer.
        transfer: TransferId,
        /// Ascending, disjoint.
        files: Vec<Span>,
    },
    /// Sender: every wanted entry is received or failed; both may forget the transfer.
    Finished {
        /// Which transfer.
        transfer: TransferId,
    },
    /// The other side broke the protocol; nothing more is said on this session.
    Error {
        /// What was broken.
        code: ViolationCode,
    },
}

/// What an offer holds, before its entries have come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct OfferSummary {
    /// Files and folders together; 1 to [`MANIFEST_ENTRIES`].
    pub entries: u32,
    /// Files alone.
    pub files: u32,
    /// Sum of their sizes.
    #[serde(with = "integer")]
    #[ts(type = "number")]
    pub total_bytes: u64,
}

/// A file or folder of an offer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[ts(export)]
pub enum ManifestEntry {
    /// A regular file.
    File {
        /// Relative, components separated by `/`: hostile text.
        path: String,
        /// Length at the time of the offer.
        #[serde(with = "integer")]
        #[ts(type = "number")]
        size_bytes: u64,
        /// Last change, milliseconds since 1970; absent when not known.
        #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_integer")]
        #[ts(optional, type = "number")]
        modified_ms: Option<u64>,
    },
    /// A folder. Needed for empty ones only; a file's folders are made with it.
    Folder {
        /// Relative, components separated by `/`: hostile text.
        path: String,
    },
}

impl ManifestEntry {
    /// The path as the sender wrote it.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::File { path, .. } | Self::Folder { path } => path,
        }
    }

    /// Length of a file, 0 for a folder.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        match self {
            Self::File { size_bytes, .. } => *size_bytes,
            Self::Folder { .. } => 0,
        }
    }
}

/// `count` entries from `first` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct Span {
    /// The first entry.
    pub first: FileIndex,
    /// How many; at least 1.
    pub count: u32,
}

/// Verified pieces of one file that the receiver holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct HeldFile {
    /// Which entry.
    pub file: FileIndex,
    /// Which version of it: 0, or from the last `restate` frame.
    pub version: u32,
    /// Ascending, disjoint. A file may come in several parts.
    pub runs: Vec<PieceRun>,
}

/// Pieces that follow each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct PieceRun {
    /// Number of the first piece, from 0.
    #[serde(with = "integer")]
    #[ts(type = "number")]
    pub first: u64,
    /// A hash for each piece.
    pub hashes: Hashes,
}

/// Hashes one after the other; on the wire one base64url text without padding.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
#[serde(try_from = "String", into = "String")]
#[ts(export, type = "string")]
pub struct Hashes(pub Vec<Hash>);

impl TryFrom<String> for Hashes {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        let malformed = IdError::Malformed { expected: 32 };
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| malformed.clone())?;
        let (hashes, rest) = bytes.as_chunks::<32>();
        if rest.is_empty() { Ok(Self(hashes.to_vec())) } else { Err(malformed) }
    }
}

impl From<Hashes> for String {
    fn from(hashes: Hashes) -> String {
        BASE64URL_NOPAD.encode(hashes.0.as_flattened())
    }
}

/// One piece of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct PieceRef {
    /// Which entry.
    pub file: FileIndex,
    /// Number of the piece, from 0.
    #[serde(with = "integer")]
    #[ts(type = "number")]
    pub piece: u64,
}

/// A file that will not arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct FailedFile {
    /// Which entry.
    pub file: FileIndex,
    /// Why.
    pub reason: FileFailure,
}

macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
        #[serde(rename_all = "snake_case")]
        #[ts(export)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
            /// A word of a later version.
            #[serde(other)]
            Other,
        }

        impl $name {
            /// Every word this version knows.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)* Self::Other];
        }
    };
}

reasons! {
    /// Why an offer was not accepted.
    DeclineReason {
        /// A person, or the device's policy, said no.
        Declined,
        /// Nobody answered in time.
        NoAnswer,
        /// Too many transfers already.
        Busy,
        /// It would not fit.
        NoSpace,
        /// A name, a size or their number is beyond what this device takes.
        BadManifest,
    }
}
reasons! {
    /// Why a transfer was given up.
    CancelReason {
        /// A person pressed cancel.
        ByPerson,
        /// The receiver knows nothing of the transfer that was to be resumed.
        UnknownTransfer,
        /// It waited too long for its other side.
        Expired,
        /// Reading or storing failed as a whole.
        Failed,
    }
}
reasons! {
    /// Why a file was given up.
    FileFailure {
        /// A person gave it up.
        Cancelled,
        /// Its content changed while it was being sent.
        Changed,
        /// The sender cannot read it, or it is gone.
        Unreadable,
        /// The receiver cannot store it.
        CannotWrite,
        /// Its root did not match what arrived.
        Damaged,
    }
}
reasons! {
    /// Why a transfer stands still.
    PauseReason {
        /// A person pressed pause.
        ByPerson,
        /// The receiver's disk or quota is full; what arrived is kept.
        NoSpace,
    }
}
reasons! {
    /// How the protocol was broken. Each closes the session.
    ViolationCode {
        /// A control message that is not JSON of this protocol, or is too long.
        MalformedMessage,
        /// A data frame that cannot be read.
        MalformedFrame,
        /// A well-formed message with a value that makes no sense where it stands.
        BadValue,
        /// A transfer, or its number, that was never offered.
        UnknownTransfer,
        /// An entry that is not in the manifest, or was not accepted.
        UnknownFile,
        /// A second offer under one id, or a number used twice.
        DuplicateOffer,
        /// A message that does not fit the transfer's state.
        OutOfTurn,
        /// Data for a transfer that was not accepted.
        DataBeforeAccept,
        /// Bytes at or past the file's size.
        OffsetOutOfRange,
        /// Bytes that differ from those already taken for the same place.
        Overlap,
        /// Bytes that do not follow those already taken for the piece.
        Gap,
        /// More bytes than credit was given for.
        OverCredit,
        /// A piece did not match its hash again and again.
        PieceCorrupt,
        /// More texts, transfers or answers than this side allows.
        TooMany,
    }
}

impl ControlMessage {
    /// Reads one message of the control channel.
    ///
    /// # Errors
    /// Too long, not JSON, or not a message of this version.
    pub fn decode(text: &str) -> Result<Self, DecodeError> {
        if text.len() > limits::CONTROL_MESSAGE_BYTES {
            return Err(DecodeError::TooLong { len: text.len(), limit: limits::CONTROL_MESSAGE_BYTES });
        }
        Ok(serde_json::from_str(text)?)
    }

    /// The message as it goes over the control channel.
    ///
    /// # Panics
    /// Never: every message has a JSON form.
    #[must_use]
    pub fn encode(&self) -> String {
        serde_json::to_string(self).expect("strings, integers and lists always have a JSON form")
    }
}

/// Integers of 0 to [`MAX_INTEGER`].
mod integer {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::MAX_INTEGER;

    pub(super) fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(*value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let value = u64::deserialize(deserializer)?;
        if value <= MAX_INTEGER { Ok(value) } else { Err(D::Error::custom("integer beyond 2^53 - 1")) }
    }
}

/// The same for fields that may be absent.
mod optional_integer {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::MAX_INTEGER;

    pub(super) fn serialize<S: Serializer>(value: &Option<u64>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.serialize_u64(*value),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
        let value = Option::<u64>::deserialize(deserializer)?;
        let fits = value.is_none_or(|value| value <= MAX_INTEGER);
        if fits { Ok(value) } else { Err(D::Error::custom("integer beyond 2^53 - 1")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_reasons_are_read_as_other() {
        let id = TransferId([1; 16]);
        let text = format!(r#"{{"type":"cancel","transfer":"{id}","reason":"moon"}}"#);
        let message = ControlMessage::decode(&text).unwrap();
        assert_eq!(message, ControlMessage::Cancel { transfer: id, reason: CancelReason::Other });
    }

    #[test]
    fn integers_past_two_to_the_53_are_refused() {
        assert!(ControlMessage::decode(r#"{"type":"credit","limit_bytes":9007199254740991}"#).is_ok());
        assert!(ControlMessage::decode(r#"{"type":"credit","limit_bytes":9007199254740992}"#).is_err());
        assert!(ControlMessage::decode(r#"{"type":"credit","limit_bytes":-1}"#).is_err());
    }

    #[test]
    fn messages_over_the_limit_are_not_parsed() {
        let text = " ".repeat(limits::CONTROL_MESSAGE_BYTES + 1);
        assert!(matches!(ControlMessage::decode(&text), Err(DecodeError::TooLong { .. })));
    }
}
