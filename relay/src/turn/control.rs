//! How the rest of the relay talks to the workers: a bounded queue each, and a bell that wakes it.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures_util::future::join_all;
use lanyard_turn_core::{AlternateServer, FiveTuple, Limits, PeerPolicy, RoomMember, SharedSecret, StaticUser};
use tokio::sync::{mpsc, oneshot};

use super::host::Addresses;
use super::poller::Waker;
use super::snapshot::Snapshot;
use super::steering::Steering;
use super::stream_queue::StreamQueue;

/// Controls that may wait. Streams that send more wait, and so stop being read; members that do not fit get no TURN.
const CONTROLS: usize = 1024;

/// What a worker is told.
#[derive(Debug)]
pub(super) enum Control {
    /// Says who bears the credentials with this tag.
    SetMember { tag: String, member: RoomMember },
    /// A client came over TCP or TLS; what is for it goes into the queue.
    StreamOpened { stream: StreamId, tuple: FiveTuple, queue: Arc<StreamQueue> },
    /// Whole messages of a stream, one after another.
    StreamMessages { tuple: FiveTuple, messages: Vec<u8> },
    /// The rules are others now.
    Reload(Box<Rules>),
    /// This host has other addresses now.
    Addresses(Addresses),
    /// Takes no new allocations.
    Drain,
    /// Tells what happened so far.
    Snapshot(oneshot::Sender<Snapshot>),
}

/// What ended. Apart from the controls, because these must never wait or be lost: at most one for each stream that was
/// opened and each member that was set.
#[derive(Debug)]
pub(super) enum Ended {
    Stream(StreamId, FiveTuple),
    Member(String),
}

/// Tells streams apart that use one five-tuple after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamId(u64);

/// What may change while running.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) secrets: Vec<SharedSecret>,
    pub(super) users: Vec<StaticUser>,
    pub(super) peer_policy: PeerPolicy,
    pub(super) limits: Limits,
    /// Where new clients are sent while draining.
    pub(super) alternate: Option<AlternateServer>,
}

/// The worker is gone, or has more to do than it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unavailable;

/// Wakes the worker.
#[derive(Debug)]
pub(super) struct Bell {
    waker: Waker,
    is_rung: AtomicBool,
    stop: AtomicBool,
    next_stream: AtomicU64,
}

impl Bell {
    pub(super) fn new(waker: Waker) -> Self {
        let (is_rung, stop) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { waker, is_rung, stop, next_stream: AtomicU64::new(0) }
    }

    pub(super) fn ring(&self) {
        if !self.is_rung.swap(true, Ordering::AcqRel) {
            self.waker.wake();
        }
    }

    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.ring();
    }

    /// For the worker: to be called before the queues are looked at.
    pub(super) fn answer(&self) {
        self.waker.answer();
        self.is_rung.store(false, Ordering::Release);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

/// The worker's ends of the queues.
#[derive(Debug)]
pub(super) struct Inlet {
    pub(super) controls: mpsc::Receiver<Control>,
    pub(super) ended: mpsc::UnboundedReceiver<Ended>,
    pub(super) bell: Arc<Bell>,
}

/// A way to talk to one worker.
#[derive(Debug, Clone)]
pub(super) struct Line {
    controls: mpsc::Sender<Control>,
    ended: mpsc::UnboundedSender<Ended>,
    bell: Arc<Bell>,
}

pub(super) fn channel(bell: Arc<Bell>) -> (Line, Inlet) {
    let (controls, control_inlet) = mpsc::channel(CONTROLS);
    let (ended, ended_inlet) = mpsc::unbounded_channel();
    let inlet = Inlet { controls: control_inlet, ended: ended_inlet, bell: Arc::clone(&bell) };
    (Line { controls, ended, bell }, inlet)
}

impl Line {
    /// Does not wait.
    fn try_tell(&self, control: Control) -> Result<(), Unavailable> {
        let told = self.controls.try_send(control).map_err(|_| Unavailable);
        self.bell.ring();
        told
    }

    /// Waits while the worker has much to do.
    pub(super) async fn tell(&self, control: Control) -> Result<(), Unavailable> {
        let told = self.controls.send(control).await.map_err(|_| Unavailable);
        self.bell.ring();
        told
    }

    pub(super) fn ended(&self, ended: Ended) {
        // Without a worker there is nothing left to end.
        let _ = self.ended.send(ended);
        self.bell.ring();
    }

    pub(super) fn next_stream(&self) -> StreamId {
        StreamId(self.bell.next_stream.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn stop(&self) {
        self.bell.stop();
    }
}

/// A way to talk to the workers.
#[derive(Debug, Clone)]
pub(crate) struct Controller {
    lines: Arc<[Line]>,
    steering: Steering,
}

impl Controller {
    /// One line to each worker that clients are steered to.
    pub(super) fn new(lines: Vec<Line>, steering: Steering) -> Self {
        Self { lines: lines.into(), steering }
    }

    /// To the worker that serves this client, over whatever transport. `None` when there is no worker at all.
    pub(super) fn line_for(&self, client: IpAddr) -> Option<&Line> {
        self.lines.get(self.steering.worker_of(client))
    }

    /// Tells every worker that is there; an error when one is not.
    async fn tell_all(&self, control: impl Fn() -> Control) -> Result<(), Unavailable> {
        let told = join_all(self.lines.iter().map(|line| line.tell(control()))).await;
        told.into_iter().collect()
    }

    /// Says who bears the credentials with this tag. Does not wait.
    pub(super) fn set_member(&self, tag: &str, member: &RoomMember) -> Result<(), Unavailable> {
        let tell = |line: &Line| line.try_tell(Control::SetMember { tag: tag.to_owned(), member: member.clone() });
        self.lines.iter().map(tell).fold(Ok(()), Result::and)
    }

    /// Says that the bearer of this tag has left.
    pub(super) fn member_gone(&self, tag: &str) {
        self.lines.iter().for_each(|line| line.ended(Ended::Member(tag.to_owned())));
    }

    /// Changes the rules. When it returns, they are in force everywhere.
    pub(super) async fn reload(&self, rules: &Rules) {
        // Without workers there is nothing to change.
        let _ = self.tell_all(|| Control::Reload(Box::new(rules.clone()))).await;
        // Each worker answers in order.
        self.snapshot().await;
    }

    /// Says which addresses this host has.
    pub(super) async fn set_addresses(&self, addresses: &Addresses) -> Result<(), Unavailable> {
        self.tell_all(|| Control::Addresses(addresses.clone())).await
    }

    /// What happened so far at all workers together; `None` when one is gone.
    pub(crate) async fn snapshot(&self) -> Option<Snapshot> {
        let of_one = |line: &Line| {
            let line = line.clone();
            async move {
                let (reply, answer) = oneshot::channel();
                line.tell(Control::Snapshot(reply)).await.ok()?;
                answer.await.ok()
            }
        };
        let all = join_all(self.lines.iter().map(of_one)).await;
        all.into_iter().try_fold(Snapshot::default(), |sum, one| Some(sum + one?))
    }

    /// Takes no new allocations from now on; those that are go on.
    pub(crate) async fn drain(&self) {
        let _ = self.tell_all(|| Control::Drain).await;
    }
}
