//! One other device: met in a mailbox, linked, and served until one of the two goes.
//!
//! ```text
//! mailbox ─► meeting (pairing) ─► conversation ─► link (WebRTC, bound to the pairing)
//!                                     │  ▲
//!                                     ▼  │
//!                                  exchange (lanyard-transfer) ◄─► disk (inbox, source)
//! ```
//!
//! A conversation owns everything it works on and runs as one task; others talk to it through a bounded queue.

mod conversation;
mod disk;
mod handover;
mod link;
mod meeting;
mod memory;
mod plain_download;
mod sent_record;
mod transfers;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use lanyard_pairing::PublicKey;
use lanyard_protocol::DeviceId;
use lanyard_protocol::control::TransferId;
use lanyard_protocol::peer::SecurePage;
use lanyard_protocol::signaling::ListedDevice;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

pub use handover::{Conversations, Released};
pub use meeting::{MeetError, Met, meet, meet_in};
pub use memory::Memory;
pub use plain_download::Downloads;

use crate::agent::event::{Event, TransferNumber, Trust, Who};
use crate::agent::question::Asker;
use crate::config::AcceptPolicy;
use crate::devices::DeviceBook;
use crate::discovery::mdns::LocalNames;
use crate::inbox::ReceiveFolder;
use crate::share::Registry;
use crate::source::Collected;

/// What all conversations of one agent share.
pub struct Context {
    /// Where what happens is told.
    pub events: broadcast::Sender<Event>,
    /// Who is asked.
    pub asker: Asker,
    /// Where files go; `None` when this run only sends.
    pub folder: Option<Arc<ReceiveFolder>>,
    /// What happens to offers.
    pub accept: AcceptPolicy,
    /// Looks up browsers' `.local` candidates.
    pub names: Option<LocalNames>,
    /// Addresses that links may use; all usable ones when empty.
    pub addresses: Vec<IpAddr>,
    /// Devices that those who came by the link are told of.
    pub nearby: watch::Receiver<Arc<[ListedDevice]>>,
    /// Where it is kept what others accepted, so that it can carry on after this program was broken off.
    pub sent_records: Option<PathBuf>,
    /// Whom this device remembers; `None` without a place to keep secrets.
    pub book: Option<Arc<DeviceBook>>,
    /// Addresses of this device's own server, for those who remember it.
    pub doors: Vec<String>,
    /// Links at this device's own server, for pages that cannot hold an offer; `None` without such a server.
    pub links: Option<Registry>,
    /// Where the page of that server stands over https.
    pub secure_page: Option<SecurePage>,
    /// What browsers download.
    pub downloads: Downloads,
    /// Shared by everything that is received.
    pub memory: Arc<Memory>,
    /// Everybody who talks with some device now.
    pub conversations: Conversations,
    /// Numbers for transfers.
    pub numbers: AtomicU64,
}

impl Context {
    /// Receives nothing, asks about everything, uses every address and knows nobody nearby.
    #[must_use]
    pub fn new(events: broadcast::Sender<Event>, asker: Asker) -> Self {
        Self {
            events,
            asker,
            folder: None,
            accept: AcceptPolicy::Ask,
            names: None,
            addresses: Vec::new(),
            nearby: watch::channel(Arc::from([])).1,
            sent_records: None,
            numbers: AtomicU64::new(0),
            book: None,
            doors: Vec::new(),
            links: None,
            secure_page: None,
            downloads: Downloads::default(),
            memory: Arc::default(),
            conversations: Conversations::default(),
        }
    }

    /// Tells what happened; nobody has to listen.
    pub fn tell(&self, event: Event) {
        let _ = self.events.send(event);
    }

    pub(crate) fn next_number(&self) -> TransferNumber {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// What others ask of a conversation.
pub enum Command {
    /// Offer files.
    Send {
        /// What.
        collected: Collected,
        /// What the person who asked listens for, or why not.
        reply: oneshot::Sender<Result<TransferNumber, String>>,
    },
    /// Say something.
    Text {
        /// What.
        text: String,
        /// Told when it was delivered.
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// End a transfer on both sides: who asked for it went away. Nothing unfinished is kept.
    Cancel {
        /// From the answer to `Send`.
        transfer: TransferNumber,
    },
    /// This device's person wants the other one remembered.
    Remember {
        /// Told when both agreed, or why that cannot be.
        reply: oneshot::Sender<Result<(), String>>,
    },
    /// This device's person has forgotten the other one.
    Forget,
    /// Carry on with a device that was met again.
    Adopt {
        /// By what.
        met: Box<Met>,
        /// Gets it back when the conversation is ending.
        reply: oneshot::Sender<Result<(), Box<Met>>>,
    },
    /// Let go of a transfer that is received: its sender carries on in another conversation.
    Release {
        /// Which.
        transfer: TransferId,
        /// Told when its files are free. Dropped when it is not received here.
        reply: oneshot::Sender<Released>,
    },
    /// Say goodbye, keep parts, end.
    Stop,
}

/// A conversation, from outside.
#[derive(Clone)]
pub struct Handle {
    /// What it is asked to do.
    pub commands: mpsc::Sender<Command>,
    /// Who is on the other end.
    pub who: Who,
    /// Its key.
    pub key: PublicKey,
    /// Its id at the server, once it said so.
    pub device: watch::Receiver<Option<DeviceId>>,
    /// Whether a link is open.
    pub linked: watch::Receiver<bool>,
    /// Whether the device is gone from the server where it was met. Its link may live on, or nobody told us yet.
    pub away: watch::Receiver<bool>,
    /// Set when it is over.
    pub over: watch::Receiver<bool>,
}

/// Commands that wait for a conversation. More wait at their sender.
const COMMANDS: usize = 16;

/// Starts a conversation with a device that was met.
#[must_use]
pub fn start(met: Met, context: Arc<Context>) -> Handle {
    let (commands, command_queue) = mpsc::channel(COMMANDS);
    let (device_sender, device) = watch::channel(None);
    let (linked_sender, linked) = watch::channel(false);
    let (away_sender, away) = watch::channel(false);
    let (over_sender, over) = watch::channel(false);
    let who = who(&met);
    let key = met.session.peer_key();
    context.conversations.enter(key, &commands);
    let queue = conversation::Queue { commands: command_queue, own: commands.downgrade() };
    let signs = conversation::Signs { device: device_sender, linked: linked_sender, away: away_sender };
    let conversation = conversation::Conversation::new(met, who.clone(), context, queue, signs);
    tokio::spawn(async move {
        conversation.run().await;
        over_sender.send_replace(true);
    });
    Handle { commands, who, key, device, linked, away, over }
}

fn who(met: &Met) -> Who {
    let trust = match met.session.trust() {
        lanyard_pairing::Trust::Scanned => Trust::Scanned,
        lanyard_pairing::Trust::Code => Trust::Code,
        lanyard_pairing::Trust::Compared => Trust::Compared,
        lanyard_pairing::Trust::Remembered => Trust::Remembered,
    };
    Who { name: met.session.peer_profile().name().to_owned(), trust }
}
