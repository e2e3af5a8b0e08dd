//! Device ↔ device through the mailbox, sealed: everything needed to open a link, and nothing else.
//!
//! Each message is JSON, sealed by the pairing session and carried as a [`crate::signaling::Body`].

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::control::TransferId;
use crate::signaling::{ListedDevice, Platform};
use crate::{DecodeError, DeviceId, IdError, MailboxId, limits};

/// Who a device says it is; exchanged inside the handshake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct Profile {
    /// Chosen by its owner: hostile text of 1 to [`limits::DEVICE_NAME_BYTES`] bytes.
    pub name: String,
    /// What to draw.
    pub platform: Platform,
    /// What it can do beyond this version's minimum; unknown words are ignored. `native` is a program and no page;
    /// `remember` can keep secrets, so the other side may offer to remember it (LK-9).
    #[serde(default)]
    pub caps: Vec<String>,
}

/// What two devices say to each other before a link is open, and beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(tag = "type", rename_all = "snake_case")]
#[ts(export)]
pub enum PeerMessage {
    /// Part of opening or repairing a link.
    Signal {
        /// Which attempt it belongs to; counted from 1 by R, so that a late message harms nothing (LK-2).
        attempt: u32,
        /// What it says.
        signal: Signal,
    },
    /// I asks R for a new attempt, because its link is lost, silent or slow.
    Reconnect {
        /// Only a lane can work: this device has no WebRTC, or found no address of its own to offer.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        #[ts(as = "Option<bool>", optional)]
        lane: bool,
        /// The link that carries is heard and crawls: a lane beside it would do better (LK-46).
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        #[ts(as = "Option<bool>", optional)]
        slow: bool,
        /// With `slow`: the server of the mailbox runs on the device that says this.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        #[ts(as = "Option<bool>", optional)]
        own_server: bool,
    },
    /// This device's id at the server both are connected to, so that it can be listed and rung.
    Here {
        /// From `welcome`.
        device: DeviceId,
    },
    /// An agent tells a page that came by its link who else is near. Replaces the last list.
    Nearby {
        /// Without the receiver itself.
        devices: Vec<ListedDevice>,
    },
    /// Whether the person on this device wants the other one remembered (LK-9). When both want it, both store the
    /// other's key and the session's pair secret, and meet again without a human.
    Remember {
        /// `false` takes it back: this device has forgotten the other one.
        wanted: bool,
        /// Addresses of this device's own server, `http://192.168.1.5:53380/`, if it has one: where it waits. At most
        /// [`limits::DOORS`], each at most [`limits::DOOR_BYTES`].
        #[serde(default)]
        doors: Vec<String>,
    },
    /// An agent tells a page that its own server served what it can do beside the link (HT-30).
    Door {
        /// Where the same page stands over https, if it does.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        secure: Option<SecurePage>,
    },
    /// A page that cannot hold an offer asks for plain links to it, after its person agreed (HT-30).
    HttpWanted {
        /// Which offer.
        transfer: TransferId,
    },
    /// Where the files of an offer can be downloaded by a browser (HT-30).
    HttpLinks {
        /// Which offer.
        transfer: TransferId,
        /// What stands before the path of each file.
        base: LinkBase,
    },
    /// The device goes away on purpose; nothing more will come.
    Bye,
}

/// `/s/<token>/`: where a link begins at the server that served the page (HT-1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(try_from = "String", into = "String")]
#[ts(type = "string")]
pub struct LinkBase(String);

impl LinkBase {
    /// The path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for LinkBase {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        let token = text.strip_prefix("/s/").and_then(|rest| rest.strip_suffix('/'));
        // Sixteen bytes, as every identifier.
        token.ok_or(IdError::NotALink)?.parse::<MailboxId>()?;
        Ok(Self(text))
    }
}

impl From<LinkBase> for String {
    fn from(base: LinkBase) -> String {
        base.0
    }
}

/// Address of a page over https: `https://relay.example/`, at most [`limits::DOOR_BYTES`]. Hostile text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(try_from = "String", into = "String")]
#[ts(type = "string")]
pub struct SecurePage(String);

impl TryFrom<String> for SecurePage {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        let rest = text.strip_prefix("https://").and_then(|rest| rest.strip_suffix('/'));
        // No user, query or fragment: what a person reads is where it leads.
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/[]".contains(&byte);
        let fits = text.len() <= limits::DOOR_BYTES && rest.is_some_and(|rest| rest.bytes().all(is_plain));
        if fits && text.len() > "https:///".len() { Ok(Self(text)) } else { Err(IdError::NotAPage) }
    }
}

impl From<SecurePage> for String {
    fn from(page: SecurePage) -> String {
        page.0
    }
}

/// Session descriptions and candidates, as `RTCPeerConnection` takes and gives them (RFC 9429, RFC 8838), or the word
/// that an attempt goes over a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[ts(export)]
pub enum Signal {
    /// The offerer's description.
    Offer {
        /// SDP (RFC 8866).
        sdp: String,
    },
    /// The answerer's description.
    Answer {
        /// SDP (RFC 8866).
        sdp: String,
    },
    /// One candidate (RFC 8839 §5.1).
    Candidate {
        /// `candidate:…`
        candidate: String,
        /// Media section by id.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        sdp_mid: Option<String>,
        /// Media section by position.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        sdp_m_line_index: Option<u16>,
    },
    /// No more candidates of this attempt.
    EndOfCandidates,
    /// This attempt is a lane: R says it when it begins, I answers with it (LK-31).
    Lane {
        /// The server of the lane runs on the device that says this, so nobody else is on the way.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        #[ts(as = "Option<bool>", optional)]
        own_server: bool,
    },
}

impl PeerMessage {
    /// Reads an unsealed message.
    ///
    /// # Errors
    /// Too long, not JSON, or not a message of this version.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > limits::BODY_BYTES {
            return Err(DecodeError::TooLong { len: bytes.len(), limit: limits::BODY_BYTES });
        }
        let message = serde_json::from_slice(bytes)?;
        if let Self::Remember { doors, .. } = &message {
            if doors.len() > limits::DOORS {
                return Err(DecodeError::TooLong { len: doors.len(), limit: limits::DOORS });
            }
            if let Some(long) = doors.iter().find(|door| door.len() > limits::DOOR_BYTES) {
                return Err(DecodeError::TooLong { len: long.len(), limit: limits::DOOR_BYTES });
            }
        }
        Ok(message)
    }
}
