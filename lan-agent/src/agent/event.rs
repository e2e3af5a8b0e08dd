//! What happens in a running agent, for whoever watches: the terminal, `--json`, `lanyard devices --watch`.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::discovery::registry::NearbyAgent;

/// Counts the transfers of one run of the agent, from 1.
pub type TransferNumber = u64;

/// How sure this device is of who is on the other end. There is no weaker level that moves files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// Opened the link or scanned the QR code.
    Scanned,
    /// Typed the code.
    Code,
    /// People compared pictures.
    Compared,
    /// Paired earlier.
    Remembered,
}

/// The device on the other end of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// Chosen by its owner: hostile text.
    pub name: String,
    /// How it was met.
    pub trust: Trust,
}

/// How the bytes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// Within one network.
    Lan,
    /// Direct across networks.
    Internet,
    /// Through a relay, still end-to-end encrypted.
    Relayed,
}

impl Route {
    /// The badge's words.
    #[must_use]
    pub fn badge(self) -> &'static str {
        match self {
            Self::Lan => "Direct · LAN",
            Self::Internet => "Direct · Internet",
            Self::Relayed => "Relayed",
        }
    }
}

/// Which way a transfer goes, seen from this device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// To the other device.
    Sending,
    /// From the other device.
    Receiving,
}

/// How a transfer ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// Every file arrived and was checked.
    Done,
    /// Some files arrived and were checked, `failed` did not.
    Partly {
        /// How many are missing.
        failed: u64,
    },
    /// The receiving person or policy said no.
    Declined {
        /// What was said.
        reason: String,
    },
    /// Nobody answered in time.
    NoAnswer,
    /// Somebody stopped it; nothing is kept.
    Cancelled {
        /// Whether it was stopped here.
        here: bool,
    },
    /// A whole-file check did not match; the file was not put into the folder.
    Damaged,
    /// Not enough room, or the folder cannot be written.
    NoSpace {
        /// In words.
        message: String,
    },
    /// A browser downloaded every file over plain HTTP; nobody checked what arrived there.
    Taken,
    /// The other device went away; what arrived is kept for when it returns.
    Interrupted {
        /// Bytes kept at the receiver.
        kept_bytes: u64,
    },
    /// Anything else.
    Failed {
        /// In words.
        message: String,
    },
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The agent is up.
    Started {
        /// What this device is called.
        name: String,
        /// TCP port of page and signaling.
        port: u16,
        /// Addresses it is reached at, the likeliest first.
        addresses: Vec<IpAddr>,
        /// Where received files go, if this run receives.
        receive_folder: Option<String>,
        /// What happens to an offer: `ask`, `accept`, `accept-under=SIZE`.
        accept: String,
    },
    /// A link to open on the other device. It replaces the one before.
    Link {
        /// Address of the page, with its secret behind `#`.
        link: String,
        /// It leads through the relay, from any network.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        relay: bool,
        /// The QR code leads there too.
        qr: bool,
    },
    /// A code to type on the other device. It replaces the one before.
    Code {
        /// A number and two words.
        code: String,
        /// It is typed at the relay, from any network.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        relay: bool,
    },
    /// The list of agents on this network changed.
    Nearby {
        /// All of them.
        agents: Vec<NearbyAgent>,
    },
    /// A device came and proved who it is.
    Met {
        /// Who.
        #[serde(flatten)]
        who: Who,
    },
    /// Both people agreed: the two devices meet again by themselves.
    Remembered {
        /// Who.
        #[serde(flatten)]
        who: Who,
    },
    /// Somebody calls itself like a remembered device but has another key. It was turned away.
    KeyChanged {
        /// What it calls itself: hostile text.
        name: String,
    },
    /// A link to a device is open, or took another way.
    Connected {
        /// Who.
        #[serde(flatten)]
        who: Who,
        /// How.
        route: Route,
    },
    /// Nothing is heard of a device, or its link broke; other ways to it are tried. What arrived is kept.
    Waiting {
        /// Who.
        #[serde(flatten)]
        who: Who,
    },
    /// That has lasted for 30 seconds. It carries on by itself when the device is back.
    Interrupted {
        /// Who.
        #[serde(flatten)]
        who: Who,
    },
    /// A device went away.
    Left {
        /// Who.
        #[serde(flatten)]
        who: Who,
    },
    /// Files are offered, either way.
    Offered {
        /// Which transfer.
        transfer: TransferNumber,
        /// Which way.
        direction: Direction,
        /// With whom.
        #[serde(flatten)]
        who: Who,
        /// The only file's name, or how many files.
        label: String,
        /// How many files.
        files: u64,
        /// All together.
        total_bytes: u64,
    },
    /// The offer was accepted; bytes flow.
    Accepted {
        /// Which transfer.
        transfer: TransferNumber,
    },
    /// A page cannot hold the offer, and its person lets the browser download it from here over plain HTTP.
    Download {
        /// Which transfer.
        transfer: TransferNumber,
        /// Who.
        #[serde(flatten)]
        who: Who,
    },
    /// How far a transfer is.
    Progress {
        /// Which transfer.
        transfer: TransferNumber,
        /// Safe at the receiver.
        done_bytes: u64,
        /// All together.
        total_bytes: u64,
        /// Mean of the last two seconds.
        bytes_per_second: u64,
        /// Time left at that speed; from five seconds on.
        left_seconds: Option<u64>,
        /// How, if a link is open.
        route: Option<Route>,
    },
    /// One file is whole and checked.
    File {
        /// Which transfer.
        transfer: TransferNumber,
        /// The name it got in the receive folder, or has here.
        name: String,
    },
    /// One file could not be moved; the others go on.
    FileFailed {
        /// Which transfer.
        transfer: TransferNumber,
        /// Which file.
        name: String,
        /// Why, in words.
        message: String,
    },
    /// A transfer ended.
    Finished {
        /// Which transfer.
        transfer: TransferNumber,
        /// How.
        #[serde(flatten)]
        outcome: Outcome,
    },
    /// A text message came.
    Text {
        /// From whom.
        #[serde(flatten)]
        who: Who,
        /// Hostile text.
        text: String,
    },
    /// A text message was delivered.
    TextDelivered {
        /// To whom.
        #[serde(flatten)]
        who: Who,
    },
    /// Works, but a person should know.
    Warning {
        /// In words.
        message: String,
    },
    /// The agent was told to stop; devices are told goodbye.
    Stopping,
}

impl Event {
    /// The transfer it is about, if one.
    #[must_use]
    pub fn transfer(&self) -> Option<TransferNumber> {
        match self {
            Self::Offered { transfer, .. }
            | Self::Accepted { transfer }
            | Self::Download { transfer, .. }
            | Self::Progress { transfer, .. }
            | Self::File { transfer, .. }
            | Self::FileFailed { transfer, .. }
            | Self::Finished { transfer, .. } => Some(*transfer),
            Self::Started { .. }
            | Self::Link { .. }
            | Self::Code { .. }
            | Self::Nearby { .. }
            | Self::Met { .. }
            | Self::Remembered { .. }
            | Self::KeyChanged { .. }
            | Self::Connected { .. }
            | Self::Waiting { .. }
            | Self::Interrupted { .. }
            | Self::Left { .. }
            | Self::Text { .. }
            | Self::TextDelivered { .. }
            | Self::Warning { .. }
            | Self::Stopping => None,
        }
    }
}
