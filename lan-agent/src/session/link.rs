//! A link as a conversation sees it: opened for one attempt, bound to the pairing, fed through short queues.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use lanyard_protocol::peer::Signal;
use lanyard_protocol::signaling::IceServer;
use tokio::sync::mpsc;
use tracing::debug;

use super::Context;
use crate::peer_link::{self, LinkConfig, LinkEvents, OpenError, Pacing, PeerLink, Role};

/// Control messages handed over and not yet taken by the link.
const CONTROL_QUEUE: usize = 16;

/// Data messages handed over and not yet taken by the link: one on its way, one ready.
const DATA_QUEUE: usize = 2;

/// How far a link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Looking for a path.
    Opening,
    /// Open; our bind is sent, the other one has not come.
    Binding,
    /// The other end is the device that was met.
    Bound,
}

/// What goes onto the control channel.
pub(super) enum Outgoing {
    Bind([u8; 32]),
    Text(String),
}

/// One attempt's link.
pub(super) struct ActiveLink {
    pub(super) attempt: u32,
    pub(super) phase: Phase,
    pub(super) events: LinkEvents,
    pub(super) control: mpsc::Sender<Outgoing>,
    pub(super) data: mpsc::Sender<Bytes>,
    link: Arc<PeerLink>,
    /// Messages handed over that the link has not taken yet.
    unsent: Arc<AtomicUsize>,
}

impl ActiveLink {
    pub(super) async fn open(
        attempt: u32,
        role: Role,
        ice_servers: Vec<IceServer>,
        to_browser: bool,
        context: &Context,
    ) -> Result<Self, OpenError> {
        let mut config = LinkConfig::new(role);
        config.ice_servers = ice_servers.into_iter().map(known_to_link).collect();
        config.pacing = if to_browser { Pacing::BROWSER } else { Pacing::NATIVE };
        if !context.addresses.is_empty() {
            config.interfaces = peer_link::Interfaces::Only(context.addresses.clone());
        }
        config.resolve_name = context.names.clone().map(|names| -> peer_link::ResolveName {
            Arc::new(move |name: String| {
                let names = names.clone();
                Box::pin(async move { names.resolve(&name).await })
            })
        });
        let (link, events) = PeerLink::open(config).await?;
        let link = Arc::new(link);
        let (control, control_queue) = mpsc::channel(CONTROL_QUEUE);
        let (data, data_queue) = mpsc::channel(DATA_QUEUE);
        let unsent = Arc::new(AtomicUsize::new(0));
        tokio::spawn(send_control(link.clone(), control_queue, unsent.clone()));
        tokio::spawn(send_data(link.clone(), data_queue, unsent.clone()));
        Ok(Self { attempt, phase: Phase::Opening, events, control, data, link, unsent })
    }

    pub(super) async fn handle_signal(&self, signal: Signal) {
        if let Err(error) = self.link.handle_signal(signal).await {
            debug!(%error, "a signal was not usable");
        }
    }

    /// SHA-256 of both certificates as they were really used: ours, theirs.
    pub(super) async fn certificates(&self) -> Option<([u8; 32], [u8; 32])> {
        let theirs = self.link.remote_certificate_sha256().await?;
        Some((self.link.local_certificate_sha256(), theirs))
    }

    pub(super) fn max_message_size(&self) -> usize {
        self.link.max_message_size()
    }

    /// Looks for a better or new path; only the offerer can.
    pub(super) async fn restart_ice(&self) {
        if let Err(error) = self.link.restart_ice().await {
            debug!(%error, "did not look for a new path");
        }
    }

    /// Hands a message to a queue that has room for it.
    pub(super) fn hand_over<T>(&self, permit: mpsc::Permit<'_, T>, message: T) {
        self.unsent.fetch_add(1, Ordering::AcqRel);
        permit.send(message);
    }

    /// Whether everything that was handed over has reached the other side.
    pub(super) async fn is_flushed(&self) -> bool {
        self.unsent.load(Ordering::Acquire) == 0 && self.link.buffered_amount().await == 0
    }

    /// Ends it without waiting.
    pub(super) fn close(self) {
        tokio::spawn(self.finish());
    }

    /// Ends it; what was handed over may be lost.
    pub(super) async fn finish(self) {
        self.link.close().await;
    }
}

async fn send_control(link: Arc<PeerLink>, mut queue: mpsc::Receiver<Outgoing>, unsent: Arc<AtomicUsize>) {
    while let Some(message) = queue.recv().await {
        let sent = match message {
            Outgoing::Bind(bind) => link.send_bind(&bind).await,
            Outgoing::Text(text) => link.send_control(&text).await,
        };
        if let Err(error) = sent {
            debug!(%error, "a control message was not sent");
            return;
        }
        unsent.fetch_sub(1, Ordering::AcqRel);
    }
}

async fn send_data(link: Arc<PeerLink>, mut queue: mpsc::Receiver<Bytes>, unsent: Arc<AtomicUsize>) {
    while let Some(frame) = queue.recv().await {
        if let Err(error) = link.send_data(frame).await {
            debug!(%error, "a data message was not sent");
            return;
        }
        unsent.fetch_sub(1, Ordering::AcqRel);
    }
}

fn known_to_link(server: IceServer) -> peer_link::IceServer {
    peer_link::IceServer {
        urls: server.urls,
        username: server.username.unwrap_or_default(),
        credential: server.credential.unwrap_or_default(),
    }
}
