//! What the handle, the stack's callbacks and the tasks of one link have in common.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;
use webrtc::data_channel::DataChannel;
use webrtc::peer_connection::PeerConnection;

use super::channel::{self, ControlIn, Label, Sink};
use super::follow_up::FollowUps;
use super::socket::MAX_MESSAGE_BYTES;
use super::{CloseReason, LinkEvent};

/// Signals, states and routes that wait for the owner. A full queue drops the newest with a warning: it takes an owner
/// that does not read at all.
const NOTICES: usize = 256;
/// Control messages that wait for the owner, at most 64 KiB each; then the peer's window closes.
const CONTROL_MESSAGES: usize = 64;
/// Data frames that wait for the owner, at most 256 KiB each; then the peer's window closes.
const DATA_FRAMES: usize = 16;

/// Relayed addresses of the peer that are remembered; further ones only cost a wrong badge.
const REMOTE_RELAYS: usize = 64;

/// The queues' ends that [`super::LinkEvents`] reads.
pub(super) struct Receivers {
    pub(super) notices: mpsc::Receiver<LinkEvent>,
    pub(super) control: mpsc::Receiver<ControlIn>,
    pub(super) data: mpsc::Receiver<Bytes>,
}

/// Queues of channels that do not exist yet.
struct Unclaimed {
    control: Option<mpsc::Sender<ControlIn>>,
    data: Option<mpsc::Sender<Bytes>>,
}

/// One bit for each channel.
#[derive(Debug, Clone, Copy, Default)]
struct Both {
    control: bool,
    data: bool,
}

impl Both {
    fn of(&mut self, label: Label) -> &mut bool {
        match label {
            Label::Control => &mut self.control,
            Label::Data => &mut self.data,
        }
    }

    fn all(self) -> bool {
        self.control && self.data
    }

    fn any(self) -> bool {
        self.control || self.data
    }
}

pub(super) struct Shared {
    connection: OnceLock<Weak<dyn PeerConnection>>,
    notices: Mutex<Option<mpsc::Sender<LinkEvent>>>,
    unclaimed: Mutex<Unclaimed>,
    control: OnceLock<Arc<dyn DataChannel>>,
    data: OnceLock<Arc<dyn DataChannel>>,
    opened: watch::Sender<Both>,
    ended: watch::Sender<Both>,
    closing: watch::Sender<Option<CloseReason>>,
    /// Cancelled when nobody wants what is still queued.
    discard: CancellationToken,
    tasks: TaskTracker,
    connect_deadline: Mutex<Option<Instant>>,
    /// ICE username fragment of the generation whose candidates are being gathered.
    local_ufrag: Mutex<String>,
    remote_relays: Mutex<Vec<SocketAddr>>,
    pub(super) follow_ups: Arc<FollowUps>,
    /// Bytes; 0 until both channels are open.
    pub(super) max_message_size: AtomicUsize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new() -> (Arc<Self>, Receivers) {
        let (notices, notices_rx) = mpsc::channel(NOTICES);
        let (control, control_rx) = mpsc::channel(CONTROL_MESSAGES);
        let (data, data_rx) = mpsc::channel(DATA_FRAMES);
        let shared = Self {
            connection: OnceLock::new(),
            notices: Mutex::new(Some(notices)),
            unclaimed: Mutex::new(Unclaimed { control: Some(control), data: Some(data) }),
            control: OnceLock::new(),
            data: OnceLock::new(),
            opened: watch::Sender::new(Both::default()),
            ended: watch::Sender::new(Both::default()),
            closing: watch::Sender::new(None),
            discard: CancellationToken::new(),
            tasks: TaskTracker::new(),
            connect_deadline: Mutex::new(None),
            local_ufrag: Mutex::new(String::new()),
            remote_relays: Mutex::new(Vec::new()),
            follow_ups: Arc::new(FollowUps::default()),
            max_message_size: AtomicUsize::new(0),
        };
        (Arc::new(shared), Receivers { notices: notices_rx, control: control_rx, data: data_rx })
    }

    pub(super) fn set_connection(&self, connection: &Arc<dyn PeerConnection>) {
        // Set once, right after the connection was built.
        let _ = self.connection.set(Arc::downgrade(connection));
    }

    /// Runs a task that [`Self::wait_tasks`] waits for and that ends when the link closes, at its own or at ours.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    pub(super) async fn wait_tasks(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Tells the owner; dropped when the link has ended.
    pub(super) fn notify(&self, notice: LinkEvent) {
        if let Some(Err(mpsc::error::TrySendError::Full(_))) =
            lock(&self.notices).as_ref().map(|queue| queue.try_send(notice))
        {
            warn!(limit = NOTICES, "nobody reads this link's events; dropped one");
        }
    }

    /// Starts to read `channel` as the one with this label; false when there is one already.
    pub(super) fn attach(self: &Arc<Self>, label: Label, channel: Arc<dyn DataChannel>) -> bool {
        let sink = {
            let mut unclaimed = lock(&self.unclaimed);
            match label {
                Label::Control => unclaimed.control.take().map(Sink::Control),
                Label::Data => unclaimed.data.take().map(Sink::Data),
            }
        };
        let Some(sink) = sink else { return false };
        let cell = match label {
            Label::Control => &self.control,
            Label::Data => &self.data,
        };
        if cell.set(Arc::clone(&channel)).is_err() {
            return false;
        }
        self.spawn(channel::pump(Arc::clone(self), channel, sink));
        true
    }

    pub(super) fn channel(&self, label: Label) -> Option<&Arc<dyn DataChannel>> {
        match label {
            Label::Control => self.control.get(),
            Label::Data => self.data.get(),
        }
    }

    /// Marks one channel as open. The call that completes the pair says so to the owner before anyone else learns it,
    /// so that `Open` precedes every message.
    pub(super) async fn channel_opened(&self, label: Label) {
        if *self.opened.borrow().clone().of(label) {
            return;
        }
        let agreed = self.agreed_message_size().await;
        self.opened.send_if_modified(|opened| {
            let first = !std::mem::replace(opened.of(label), true);
            if first && opened.all() {
                self.max_message_size.store(agreed, Ordering::Release);
                self.notify(LinkEvent::Open);
            }
            first
        });
    }

    /// Bytes: what both descriptions say, and never more than our own largest.
    async fn agreed_message_size(&self) -> usize {
        let Some(connection) = self.connection.get().and_then(Weak::upgrade) else { return 0 };
        let Some(sctp) = connection.sctp().await else { return 0 };
        let agreed = sctp.max_message_size().await.unwrap_or(0);
        usize::try_from(agreed).unwrap_or(usize::MAX).min(MAX_MESSAGE_BYTES)
    }

    pub(super) fn is_open(&self) -> bool {
        self.opened.borrow().all()
    }

    /// Waits until both channels are open; false when the link closes first.
    pub(super) async fn wait_open(&self) -> bool {
        let mut opened = self.opened.subscribe();
        tokio::select! {
            biased;
            _ = self.wait_closing() => false,
            open = opened.wait_for(|opened| opened.all()) => open.is_ok(),
        }
    }

    pub(super) fn channel_ended(&self, label: Label) {
        self.ended.send_modify(|ended| *ended.of(label) = true);
    }

    pub(super) async fn wait_channel_ended(&self) {
        let _ = self.ended.subscribe().wait_for(|ended| ended.any()).await;
    }

    pub(super) async fn wait_both_channels_ended(&self) {
        let _ = self.ended.subscribe().wait_for(|ended| ended.all()).await;
    }

    /// Starts the end; the first reason counts.
    pub(super) fn begin_close(&self, reason: CloseReason) {
        if reason != CloseReason::Peer {
            self.discard();
        }
        self.closing.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(reason);
            }
            first
        });
    }

    /// Why the link closes, if it does.
    pub(super) fn closing(&self) -> Option<CloseReason> {
        *self.closing.borrow()
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing().is_some()
    }

    pub(super) async fn wait_closing(&self) {
        let _ = self.closing.subscribe().wait_for(Option::is_some).await;
    }

    /// What is still queued for the owner is not wanted any more.
    pub(super) fn discard(&self) {
        self.discard.cancel();
    }

    pub(super) async fn wait_discard(&self) {
        self.discard.cancelled().await;
    }

    /// Unless both channels are open by `deadline`, the link closes. Only the first deadline counts.
    pub(super) fn expect_open_by(&self, deadline: Instant) {
        lock(&self.connect_deadline).get_or_insert(deadline);
    }

    pub(super) fn connect_deadline(&self) -> Option<Instant> {
        *lock(&self.connect_deadline)
    }

    pub(super) fn set_local_ufrag(&self, ufrag: &str) {
        ufrag.clone_into(&mut lock(&self.local_ufrag));
    }

    pub(super) fn local_ufrag(&self) -> String {
        lock(&self.local_ufrag).clone()
    }

    pub(super) fn add_remote_relay(&self, address: SocketAddr) {
        let mut relays = lock(&self.remote_relays);
        if relays.len() < REMOTE_RELAYS && !relays.contains(&address) {
            relays.push(address);
        }
    }

    pub(super) fn remote_relays(&self) -> Vec<SocketAddr> {
        lock(&self.remote_relays).clone()
    }

    /// Lets go of every queue that no task holds, so that the events can end.
    pub(super) fn release_queues(&self) {
        lock(&self.notices).take();
        let mut unclaimed = lock(&self.unclaimed);
        unclaimed.control.take();
        unclaimed.data.take();
    }
}
