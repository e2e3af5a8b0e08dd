//! Client ↔ signaling server: JSON text messages on the WebSocket `/v1/ws`.
//!
//! The server knows mailbox ids, member numbers, sizes and times. Bodies are sealed by the two sides before they get
//! here. Rules are numbered `SG-n` in `docs/protocol.md`.

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::{DecodeError, DeviceId, LaneTicket, MailboxId, MemberNumber, Nameplate, SlotToken, limits};

/// What a client says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(tag = "type", rename_all = "snake_case")]
#[ts(export)]
pub enum ClientMessage {
    /// First message of every socket. Answered by `welcome` or `refused`.
    Hello {
        /// [`crate::PROTOCOL_VERSION`] of the client.
        protocol_version: u32,
    },
    /// Takes a side of a mailbox, or takes it again after a drop. Answered by `joined`, `crowded` or `error`.
    Join {
        /// Where to meet.
        mailbox: MailboxId,
        /// From an earlier `joined`: returns to the same side, with what waited for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        slot: Option<SlotToken>,
    },
    /// Carries a sealed body to the other side, or keeps it until that side comes.
    Send {
        /// Through which mailbox.
        mailbox: MailboxId,
        /// To which side.
        to: MemberNumber,
        /// What to carry.
        body: Body,
    },
    /// Gives up the side; the other one is told. A mailbox without members is forgotten.
    Leave {
        /// Which mailbox.
        mailbox: MailboxId,
    },
    /// Asks for a nameplate with a fresh mailbox behind it. Answered by `allocated`.
    Allocate,
    /// Asks for the mailbox behind a nameplate. Answered by `claimed`, `stamp_wanted` or `error`; counted against
    /// guessing.
    Claim {
        /// The digits of the code.
        nameplate: Nameplate,
        /// Proof of work, after `stamp_wanted`: a number below 2⁵³ found by trying (SG-21).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional, type = "number")]
        stamp: Option<u64>,
    },
    /// Gives a nameplate back, because its code is used or burnt. It is not handed out again for ten minutes.
    Release {
        /// From `allocated`.
        nameplate: Nameplate,
    },
    /// Lists this device to strangers at this server, or takes it off the list.
    Announce {
        /// Shown to others; 1 to [`limits::DEVICE_NAME_BYTES`] bytes.
        name: String,
        /// What kind of device to draw.
        platform: Platform,
        /// How long to be listed; 0 takes it off. At most 600 for a page.
        seconds: u32,
    },
    /// Rings a device. Answered by `dialed`; the device gets `ring` with the same mailbox.
    Dial {
        /// From `nearby`, or told by the device itself.
        device: DeviceId,
    },
}

/// What the server says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(tag = "type", rename_all = "snake_case")]
#[ts(export)]
pub enum ServerMessage {
    /// The versions fit.
    Welcome {
        /// [`crate::PROTOCOL_VERSION`] of the server.
        protocol_version: u32,
        /// This socket's id: who is told it may ring.
        device: DeviceId,
        /// The server's clock, milliseconds since 1970. Remembered devices take their hour from it.
        #[ts(type = "number")]
        time_ms: u64,
        /// What the server will take.
        limits: ServerLimits,
    },
    /// The versions do not fit; the socket closes.
    Refused {
        /// [`crate::PROTOCOL_VERSION`] of the server.
        protocol_version: u32,
        /// Which side must be updated.
        too_old: Side,
    },
    /// A side of the mailbox is taken.
    Joined {
        /// Which mailbox.
        mailbox: MailboxId,
        /// This side's number; the first in the mailbox is 0 and plays the shower.
        member: MemberNumber,
        /// The other members there now, or keeping their slot.
        others: Vec<MemberNumber>,
        /// Brings this side back after a drop.
        slot: SlotToken,
        /// STUN and TURN servers with credentials for this member.
        ice_servers: Vec<IceServer>,
        /// Opens `/v1/relay` for this member (LK-31); absent where the server carries no lanes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        lane: Option<LaneTicket>,
    },
    /// Somebody came to, left, lost or returned to the mailbox.
    Presence {
        /// Which mailbox.
        mailbox: MailboxId,
        /// Who.
        member: MemberNumber,
        /// What happened.
        state: PresenceState,
    },
    /// A third side tried the mailbox. It is closed for all; both real sides stop (SAFETY: "code crowded").
    Crowded {
        /// Which mailbox.
        mailbox: MailboxId,
    },
    /// A body from the other side.
    Message {
        /// Through which mailbox.
        mailbox: MailboxId,
        /// From which side.
        from: MemberNumber,
        /// What it sent.
        body: Body,
    },
    /// Fresh credentials for a mailbox that is held longer than the last ones live.
    IceServers {
        /// Which mailbox.
        mailbox: MailboxId,
        /// Replaces what `joined` said.
        ice_servers: Vec<IceServer>,
    },
    /// A nameplate for a spoken code.
    Allocated {
        /// What people read out.
        nameplate: Nameplate,
        /// Where its claimer will be sent.
        mailbox: MailboxId,
    },
    /// The mailbox behind a nameplate.
    Claimed {
        /// As asked.
        nameplate: Nameplate,
        /// Join this.
        mailbox: MailboxId,
    },
    /// Somebody guesses codes at this server, so each claim costs work now: claim again with a stamp (SG-21).
    StampWanted {
        /// As asked.
        nameplate: Nameplate,
        /// Zero bits that the stamp's hash begins with; at most [`limits::STAMP_BITS`].
        bits: u8,
    },
    /// Everyone listed at this server, each time it changes. Replaces the last list.
    Nearby {
        /// Without the receiver itself.
        devices: Vec<ListedDevice>,
    },
    /// The device was rung; meet it here.
    Dialed {
        /// As asked.
        device: DeviceId,
        /// Join this; the dialled device plays the shower whoever joins first.
        mailbox: MailboxId,
    },
    /// Somebody wants to meet.
    Ring {
        /// Join this.
        mailbox: MailboxId,
    },
    /// A message was not carried out. The socket stays open unless the code says otherwise.
    Error {
        /// For programs.
        code: ErrorCode,
        /// For people: what happened and what to do.
        message: String,
        /// The mailbox it is about, if one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        mailbox: Option<MailboxId>,
    },
}

/// What a server will take, so that a client can stay within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct ServerLimits {
    /// Bytes of one body before base64url.
    pub body_bytes: u32,
    /// Messages a second, averaged.
    pub messages_per_second: u32,
    /// Mailboxes one socket may hold.
    pub mailboxes: u32,
    /// Seconds a dropped socket's slots are kept.
    pub slot_kept_seconds: u32,
}

/// One side of the conversation with the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
#[ts(export)]
pub enum Side {
    /// The one that sent `hello`.
    Client,
    /// The one that answered.
    Server,
}

/// What happened to a member of a mailbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
#[ts(export)]
pub enum PresenceState {
    /// Came for the first time.
    Joined,
    /// Lost its socket; the slot is kept.
    Away,
    /// Came back into its slot.
    Back,
    /// Left, or did not come back in time.
    Left,
}

/// A STUN or TURN server, as `RTCIceServer` has it (RFC 9429, W3C webrtc §4.2.5).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct IceServer {
    /// `stun:`, `turn:` and `turns:` URLs (RFC 7064, 7065).
    pub urls: Vec<String>,
    /// For TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub username: Option<String>,
    /// For TURN.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub credential: Option<String>,
}

impl std::fmt::Debug for IceServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IceServer").field("urls", &self.urls).finish_non_exhaustive()
    }
}

/// What kind of device to draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
#[ts(export)]
pub enum Platform {
    /// A desktop or laptop.
    Computer,
    /// A phone.
    Phone,
    /// A tablet.
    Tablet,
    /// A NAS or another machine without a screen.
    Server,
    /// Anything else.
    Other,
}

/// A device that may be dialled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct ListedDevice {
    /// What to dial.
    pub device: DeviceId,
    /// Chosen by its owner: hostile text.
    pub name: String,
    /// What to draw.
    pub platform: Platform,
    /// How the server knows it.
    pub source: ListingSource,
}

/// How a device came onto the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
#[ts(export)]
pub enum ListingSource {
    /// The agent that serves the page.
    ThisAgent,
    /// Another agent that it sees by mDNS.
    Mdns,
    /// A device connected to the same server that chose to be visible.
    Visible,
    /// A device that came by the same agent's link or code.
    Linked,
}

/// Why a message was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
#[ts(export)]
pub enum ErrorCode {
    /// Not a message this version knows, or out of order. The socket closes.
    Malformed,
    /// Over a size or rate limit. The socket closes when it goes on.
    RateLimited,
    /// The server holds as much as it may; try later.
    Full,
    /// No such mailbox, or not a member of it.
    NotJoined,
    /// The other side's queue is full; wait for it to return.
    QueueFull,
    /// No such nameplate: most likely mistyped.
    NoSuchNameplate,
    /// The nameplate's code was used, burnt or taken back within the last ten minutes.
    NameplateUsed,
    /// The nameplate's ten minutes ended within the last ten.
    NameplateExpired,
    /// The slot is gone: its time is over or its token wrong.
    SlotGone,
    /// No such device, or it does not take calls now.
    NoSuchDevice,
}

/// Bytes the server carries without looking: base64url without padding on the wire.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(try_from = "String", into = "String")]
#[ts(type = "string")]
pub struct Body(Vec<u8>);

impl Body {
    /// Wraps sealed bytes; `None` above [`limits::BODY_BYTES`].
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() <= limits::BODY_BYTES).then_some(Self(bytes))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<String> for Body {
    type Error = BodyError;

    fn try_from(text: String) -> Result<Self, BodyError> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| BodyError::NotBase64Url)?;
        Self::new(bytes).ok_or(BodyError::TooLong)
    }
}

impl From<Body> for String {
    fn from(body: Body) -> String {
        BASE64URL_NOPAD.encode(&body.0)
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({} bytes)", self.0.len())
    }
}

/// Why a text is not a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Another alphabet, padding, or stray bits.
    #[error("a body is base64url without padding")]
    NotBase64Url,
    /// Above [`limits::BODY_BYTES`].
    #[error("a body has at most {} bytes", limits::BODY_BYTES)]
    TooLong,
}

impl ClientMessage {
    /// Reads a client's text message.
    ///
    /// # Errors
    /// Too long, not JSON, or not a message of this version.
    pub fn decode(text: &str) -> Result<Self, DecodeError> {
        decode(text)
    }
}

impl ServerMessage {
    /// Reads a server's text message.
    ///
    /// # Errors
    /// Too long, not JSON, or not a message of this version.
    pub fn decode(text: &str) -> Result<Self, DecodeError> {
        decode(text)
    }
}

fn decode<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, DecodeError> {
    if text.len() > limits::SIGNALING_MESSAGE_BYTES {
        return Err(DecodeError::TooLong { len: text.len(), limit: limits::SIGNALING_MESSAGE_BYTES });
    }
    Ok(serde_json::from_str(text)?)
}
