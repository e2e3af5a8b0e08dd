//! The loop that joins one device's mailbox, link, exchange and disk.

mod handover;
mod linking;
mod mailbox;
mod offers;
mod plain_links;
mod remembering;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use lanyard_protocol::DeviceId;
use lanyard_protocol::control::{CancelReason, TransferId};
use lanyard_protocol::peer::PeerMessage;
use lanyard_protocol::signaling::{Body, ListedDevice};
use lanyard_transfer::{Config, Exchange, Manifest, Pace, Paths, Traffic};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{debug, info};

use self::handover::{Releasing, TakingOver, taken};
use super::disk::{Answer as DiskAnswer, Disk, part_store};
use super::link::{ActiveLink, LinkEvent};
use super::sent_record::{self, SentRecord};
use super::transfers::{Known, Transfers};
use super::{Command, Context, Met};
use crate::agent::event::{Direction, Event, Outcome, TransferNumber, Who};
use crate::agent::question::Answer;
use crate::signaling_client::MailboxSender;
use crate::source::{Collected, SourceFiles};

/// Sealed messages that wait for the server. More are dropped: a later attempt makes up for them.
const UNSENT: usize = 64;

/// How often people are told how far a transfer is.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// How long a device that is out of reach is waited for when nothing is under way, and when something is.
const PATIENCE_IDLE: Duration = Duration::from_secs(60);
const PATIENCE_BUSY: Duration = Duration::from_secs(24 * 3600);

/// How long the last messages may take to arrive, and how often that is looked at.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
const FLUSH_LOOK: Duration = Duration::from_millis(5);

/// How long when nothing is sent any more: the other side keeps the journal of a transfer until it hears that it is over.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the other side may take to close the link once it was told of its breach, or has said goodbye.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the disk may take to finish when a device left.
const DISK_TIMEOUT: Duration = Duration::from_secs(10);

/// How long when the server has forgotten where the two met.
const PATIENCE_UNREACHABLE: Duration = Duration::from_secs(10);

/// What the outside can see.
pub(super) struct Signs {
    pub(super) device: watch::Sender<Option<DeviceId>>,
    pub(super) linked: watch::Sender<bool>,
    pub(super) away: watch::Sender<bool>,
}

/// Where commands come in.
pub(super) struct Queue {
    pub(super) commands: mpsc::Receiver<Command>,
    /// Tells this conversation from others.
    pub(super) own: mpsc::WeakSender<Command>,
}

/// Everything about one other device.
pub(super) struct Conversation {
    met: Met,
    who: Who,
    context: Arc<Context>,
    commands: mpsc::Receiver<Command>,
    own_commands: mpsc::WeakSender<Command>,
    signs: Signs,
    exchange: Exchange,
    /// What it takes in before it is written, in bytes.
    window: u64,
    disk: Disk,
    disk_answers: mpsc::Receiver<DiskAnswer>,
    transfers: Transfers,
    unsent: mpsc::Sender<(MailboxSender, u8, Body)>,
    /// Ends when `unsent` is closed and empty.
    sealed_sender: JoinHandle<()>,
    /// Which path to try when.
    paths: Paths,
    /// The link that carries.
    link: Option<ActiveLink>,
    /// Whether it moves what waits for it, and the bytes of data that it has taken.
    pace: Pace,
    handed_bytes: u64,
    /// Links that are not bound yet: at most one of a kind.
    attempts: Vec<ActiveLink>,
    /// How often a server changed what a lane carried.
    tamperings: u32,
    /// The other side has lost the server, so what is said would only wait there and be out of date.
    peer_away: bool,
    /// Since when the other side is out of reach.
    lost_at: Option<Instant>,
    progress_at: Option<Instant>,
    /// Whether a link of this session was ever bound.
    was_bound: bool,
    /// Decisions about offers.
    decisions: JoinSet<(TransferId, Answer)>,
    /// Whether the two are to remember each other, and answers to that question.
    remembering: remembering::Remembering,
    remember_answers: JoinSet<Answer>,
    /// Texts that wait to be acknowledged.
    texts: VecDeque<(u64, tokio::sync::oneshot::Sender<Result<(), String>>)>,
    nearby: watch::Receiver<Arc<[ListedDevice]>>,
    /// A transfer that another conversation may have.
    taking_over: Option<TakingOver>,
    /// Transfers that another conversation gets.
    releasing: VecDeque<Releasing>,
    /// The device has come anew and goes on in another conversation.
    is_superseded: bool,
    /// Transfers that the other side no longer knows.
    unknown: Vec<(Collected, Known)>,
    /// Whether more may come through the mailbox.
    mailbox_open: bool,
    /// The other side was told that it broke the protocol.
    told_breach: bool,
    /// The other side said goodbye: until then its last words may come over the link (LK-7).
    leaves_at: Option<Instant>,
    /// A full queue of the link stopped us; wait for room.
    data_blocked: bool,
    control_blocked: bool,
}

/// Whether to go on.
#[derive(PartialEq, Eq)]
enum Next {
    GoOn,
    End,
}

impl Conversation {
    pub(super) fn new(met: Met, who: Who, context: Arc<Context>, queue: Queue, signs: Signs) -> Self {
        let now = Instant::now();
        let window = context.memory.window(false);
        let config = Config { window_bytes: window, ..Config::default() };
        let mut exchange = Exchange::new(config, rand::random());
        let mut store = part_store(context.folder.as_ref(), met.session.peer_key().0);
        let mut transfers = Transfers::new();
        for kept in store.as_mut().map(crate::inbox::PartStore::kept).unwrap_or_default() {
            let transfer = kept.transfer();
            let mut known = Known::new(context.next_number(), Direction::Receiving, kept.manifest());
            known.accepted = true;
            known.place = context.memory.enter();
            if exchange.restore_incoming(now, kept).is_ok() {
                info!(?transfer, "an unfinished transfer can carry on");
                transfers.insert(transfer, known);
            }
        }
        let (unsent, sealed_queue) = mpsc::channel(UNSENT);
        let sealed_sender = tokio::spawn(mailbox::send_sealed(sealed_queue));
        let nearby = context.nearby.clone();
        let (disk, disk_answers) = Disk::start(store);
        Self {
            paths: Self::new_paths(&met),
            met,
            who,
            disk,
            disk_answers,
            context,
            commands: queue.commands,
            own_commands: queue.own,
            signs,
            exchange,
            window,
            transfers,
            unsent,
            sealed_sender,
            link: None,
            pace: Pace::default(),
            handed_bytes: 0,
            attempts: Vec::new(),
            tamperings: 0,
            peer_away: false,
            lost_at: Some(now),
            progress_at: None,
            was_bound: false,
            decisions: JoinSet::new(),
            remembering: remembering::Remembering::default(),
            remember_answers: JoinSet::new(),
            texts: VecDeque::new(),
            nearby,
            taking_over: None,
            releasing: VecDeque::new(),
            is_superseded: false,
            unknown: Vec::new(),
            mailbox_open: true,
            told_breach: false,
            leaves_at: None,
            data_blocked: false,
            control_blocked: false,
        }
    }

    pub(super) async fn run(mut self) {
        self.context.tell(Event::Met { who: self.who.clone() });
        self.nearby.mark_changed();
        self.begin_remembering();
        self.tell_door();
        while self.turn().await == Next::GoOn {}
        self.end().await;
    }

    /// Does what there is to do, then waits for the next thing to happen.
    async fn turn(&mut self) -> Next {
        if self.drain_outputs() == Next::End {
            return Next::End;
        }
        if self.is_left_behind() {
            return Next::End;
        }
        self.offer_unknown_again().await;
        self.look_at_pace();
        self.follow_paths().await;
        self.feed_link();
        let deadline = self.next_deadline();
        // First, because a busy link would never let the last branch below be looked at.
        if deadline <= Instant::now() {
            return self.handle_timeout();
        }
        let control_room = self.link.as_ref().map(|link| link.control.clone());
        let data_room = self.link.as_ref().map(|link| link.data.clone());
        tokio::select! {
            biased;
            command = self.commands.recv(), if self.leaves_at.is_none() => match command {
                Some(command) => self.handle_command(command).await,
                None => Next::End,
            },
            event = self.met.mailbox.next(), if self.mailbox_open => self.handle_mailbox(event).await,
            Some(answer) = self.disk_answers.recv() => {
                self.handle_disk(answer);
                Next::GoOn
            }
            () = self.disk.room(), if !self.disk.is_ready() => Next::GoOn,
            Some(decision) = self.decisions.join_next() => {
                if let Ok((transfer, answer)) = decision {
                    self.handle_decision(transfer, answer);
                }
                Next::GoOn
            }
            Some(answer) = self.remember_answers.join_next() => {
                if let Ok(answer) = answer {
                    self.handle_remember_answer(answer);
                }
                Next::GoOn
            }
            (attempt, event) = next_event(&mut self.link, &mut self.attempts), if self.taking_over.is_none() => {
                self.handle_link(attempt, event).await
            }
            taken = taken(&mut self.taking_over) => {
                self.handle_taken(taken);
                Next::GoOn
            }
            () = room(control_room), if self.control_blocked => Next::GoOn,
            () = room(data_room), if self.data_blocked => Next::GoOn,
            Ok(()) = self.nearby.changed() => {
                self.tell_nearby();
                Next::GoOn
            }
            () = tokio::time::sleep_until(deadline.into()) => self.handle_timeout(),
        }
    }

    // --- commands ---

    async fn handle_command(&mut self, command: Command) -> Next {
        match command {
            Command::Send { collected, reply } => {
                let sent = self.offer(collected).await;
                let _ = reply.send(sent);
            }
            Command::Text { text, reply } => {
                // 53 bits, as every implementation has.
                let id = rand::random::<u64>() >> 11;
                match self.exchange.send_text(id, text) {
                    Ok(()) => self.texts.push_back((id, reply)),
                    Err(error) => drop(reply.send(Err(error.to_string()))),
                }
            }
            Command::Cancel { transfer } => {
                let found = self.transfers.iter().find(|(_, known)| known.number == transfer).map(|(id, _)| *id);
                if let Some(id) = found {
                    // An error means that it ended meanwhile.
                    let _ = self.exchange.cancel(id, CancelReason::ByPerson);
                } else {
                    self.context.downloads.cancel(transfer);
                }
            }
            Command::Remember { reply } => self.want_remembered(Some(reply)),
            Command::Forget => self.tell_forgotten(),
            Command::Release { transfer, reply } => self.release(transfer, reply),
            Command::Adopt { met, reply } => {
                self.adopt(*met);
                let _ = reply.send(Ok(()));
            }
            Command::Stop => return Next::End,
        }
        Next::GoOn
    }

    /// Offers files, or carries on where the same files to the same device were broken off.
    async fn offer(&mut self, collected: Collected) -> Result<TransferNumber, String> {
        let entries = collected.entries.clone();
        let manifest = Manifest::new(entries).map_err(|error| format!("these files cannot be offered: {error}"))?;
        let number = self.context.next_number();
        let mut known = Known::new(number, Direction::Sending, &manifest);
        let directory = self.context.sent_records.as_deref();
        known.record = directory.map(|directory| sent_record::path(directory, &self.met.session.peer_key(), &manifest));
        let broken_off = known.record.as_deref().and_then(|path| sent_record::read(path, SystemTime::now()));
        if let Some(SentRecord { transfer, wanted }) = broken_off
            && self.exchange.restore_outgoing(Instant::now(), transfer, manifest.clone(), &wanted).is_ok()
        {
            self.disk.add_source(transfer, SourceFiles::new(collected.files.clone())).await;
            known.accepted = true;
            known.again = Some(collected);
            self.know(transfer, known);
            return Ok(number);
        }
        self.offer_anew(collected, manifest, known).await
    }

    async fn offer_anew(
        &mut self,
        collected: Collected,
        manifest: Manifest,
        mut known: Known,
    ) -> Result<TransferNumber, String> {
        let (transfer, number) = (TransferId(rand::random()), known.number);
        known.offered = self.has_door().then(|| collected.clone());
        self.disk.add_source(transfer, SourceFiles::new(collected.files)).await;
        self.exchange.offer(Instant::now(), transfer, manifest).map_err(|error| error.to_string())?;
        self.know(transfer, known);
        Ok(number)
    }

    fn know(&mut self, transfer: TransferId, mut known: Known) {
        if let Some(event) = known.announcement(&self.who) {
            self.context.tell(event);
        }
        self.transfers.insert(transfer, known);
    }

    /// Offers anew what the other side no longer knows.
    async fn offer_unknown_again(&mut self) {
        while let Some((collected, known)) = self.unknown.pop() {
            let number = known.number;
            let Ok(manifest) = Manifest::new(collected.entries.clone()) else { continue };
            if let Err(message) = self.offer_anew(collected, manifest, known).await {
                self.context.tell(Event::Finished { transfer: number, outcome: Outcome::Failed { message } });
            }
        }
    }

    /// The device was met again: what was under way carries on over a new link.
    fn adopt(&mut self, met: Met) {
        // Who scanned a link before may come as a remembered device now.
        self.who = super::who(&met);
        self.met = met;
        self.mailbox_open = true;
        self.signs.away.send_replace(false);
        self.drop_links();
        self.paths = Self::new_paths(&self.met);
        self.tamperings = 0;
        self.peer_away = false;
        self.nearby.mark_changed();
        self.begin_remembering();
        self.tell_door();
    }

    // --- time ---

    fn next_deadline(&self) -> Instant {
        let patience = self.lost_at.map(|at| at + self.patience());
        let retry = self.transfers.values().filter_map(|known| known.retry_at).min();
        let machines = [self.exchange.poll_timeout(), self.paths.poll_timeout(), self.pace.poll_timeout()];
        let all = machines.into_iter().chain([self.progress_at, patience, retry, self.leaves_at]);
        all.flatten().min().unwrap_or_else(|| Instant::now() + Duration::from_secs(3600))
    }

    fn patience(&self) -> Duration {
        if !self.mailbox_open {
            return PATIENCE_UNREACHABLE;
        }
        if self.transfers.values().any(|known| known.accepted && known.announced) {
            PATIENCE_BUSY
        } else {
            PATIENCE_IDLE
        }
    }

    fn handle_timeout(&mut self) -> Next {
        let now = Instant::now();
        if self.leaves_at.is_some_and(|at| at <= now) {
            return Next::End;
        }
        if self.exchange.poll_timeout().is_some_and(|at| at <= now) {
            self.exchange.handle_timeout(now);
        }
        if self.progress_at.is_some_and(|at| at <= now) {
            self.tell_progress(now);
        }
        self.retry_space(now);
        // Without mailbox and link there is no way back: the same files sent again carry on.
        if self.lost_at.is_some_and(|at| at + self.patience() <= now) {
            self.warn_if_never_bound("was not reached");
            return Next::End;
        }
        self.handle_paths_timeout(now);
        Next::GoOn
    }

    fn tell_progress(&mut self, now: Instant) {
        self.share_memory(now);
        let route = self.link.as_ref().and_then(|link| link.route);
        for (transfer, known) in &mut self.transfers {
            let Some(progress) = self.exchange.progress(now, *transfer) else { continue };
            if !known.accepted {
                continue;
            }
            known.done_bytes = progress.verified_bytes;
            if progress.bytes_per_second > 0
                && let Some(event) = known.announcement(&self.who)
            {
                self.context.tell(event);
            }
            if !known.announced {
                continue;
            }
            self.context.tell(Event::Progress {
                transfer: known.number,
                done_bytes: progress.verified_bytes,
                total_bytes: progress.total_bytes,
                bytes_per_second: progress.bytes_per_second,
                left_seconds: progress.left.map(|left| left.as_secs()),
                route,
            });
        }
        self.progress_at = Some(now + PROGRESS_EVERY);
    }

    // --- the end ---

    /// Lets the last words reach the other side, such as that everything was received.
    async fn flush(&mut self) {
        let is_sending = self.exchange.outgoing().next().is_some();
        let limit = if is_sending { FLUSH_TIMEOUT } else { LAST_WORDS_TIMEOUT };
        let flushed = async {
            loop {
                self.feed_link();
                match &self.link {
                    Some(link) if self.control_blocked || !link.is_flushed().await => {
                        tokio::time::sleep(FLUSH_LOOK).await;
                    }
                    Some(_) | None => return,
                }
            }
        };
        if tokio::time::timeout(limit, flushed).await.is_err() {
            debug!("the last messages may not have arrived");
        }
    }

    /// Leaves it to the other side to close the link after a breach: what it has acknowledged it may not have read yet,
    /// and a link that closes takes that with it. What still comes is let go.
    async fn wait_for_close(&mut self) {
        let Some(link) = self.link.as_mut().filter(|_| self.told_breach) else { return };
        let closed = async { while !matches!(link.next().await, LinkEvent::Closed(_)) {} };
        if tokio::time::timeout(CLOSE_TIMEOUT, closed).await.is_err() {
            debug!("the other side did not close the link");
        }
    }

    /// Takes no more commands. Whoever comes from here on is somebody else's to carry on with.
    fn close_commands(&mut self) {
        self.commands.close();
        while let Ok(command) = self.commands.try_recv() {
            if let Command::Adopt { met, reply } = command {
                let _ = reply.send(Err(met));
            }
        }
    }

    /// The last word in the mailbox, and on its way before a link closes or the program ends: else it looks like a break.
    async fn say_goodbye(&mut self) {
        self.say(&PeerMessage::Bye);
        drop(std::mem::replace(&mut self.unsent, mpsc::channel(1).0));
        let mailbox = self.met.mailbox.sender();
        let said = async {
            let _ = (&mut self.sealed_sender).await;
            let _ = mailbox.flush().await;
        };
        if tokio::time::timeout(FLUSH_TIMEOUT, said).await.is_err() {
            debug!("the goodbye may not have arrived");
        }
    }

    async fn end(mut self) {
        self.close_commands();
        self.flush().await;
        self.wait_for_close().await;
        let Traffic { sent_bytes, received_bytes } = self.exchange.traffic();
        info!(sent_bytes, received_bytes, "a conversation ended");
        self.say_goodbye().await;
        for attempt in self.attempts.drain(..) {
            attempt.close();
        }
        if let Some(link) = self.link.take() {
            link.finish().await;
        }
        self.decisions.abort_all();
        let open: Vec<TransferId> = self.transfers.keys().copied().collect();
        for transfer in open {
            let Some(known) = self.transfers.get(&transfer) else { continue };
            // Complete here, though the sender did not live to say that it knows.
            let is_complete = self
                .exchange
                .progress(Instant::now(), transfer)
                .is_some_and(|progress| progress.done.saturating_add(progress.failed) >= progress.entries);
            let outcome =
                if is_complete { known.outcome() } else { Outcome::Interrupted { kept_bytes: known.done_bytes } };
            self.finish(transfer, outcome);
        }
        for (_, reply) in self.texts.drain(..) {
            let _ = reply.send(Err("the other device left before the text was delivered".to_owned()));
        }
        self.context.tell(Event::Left { who: self.who.clone() });
        self.hand_over();
        // Whoever meets the device next finds its unfinished files unlocked.
        drop(self.disk);
        let mut answers = self.disk_answers;
        let working = async { while answers.recv().await.is_some() {} };
        if tokio::time::timeout(DISK_TIMEOUT, working).await.is_err() {
            debug!("the disk did not finish in time");
        }
    }
}

/// The next event of the link that carries, or of an attempt; never ends without.
async fn next_event(link: &mut Option<ActiveLink>, attempts: &mut [ActiveLink]) -> (u32, LinkEvent) {
    let mut waiting: Vec<_> = link.iter_mut().chain(attempts).map(|link| Box::pin(next_of(link))).collect();
    if waiting.is_empty() {
        return std::future::pending().await;
    }
    let (event, _, _) = futures_util::future::select_all(waiting.drain(..)).await;
    event
}

async fn next_of(link: &mut ActiveLink) -> (u32, LinkEvent) {
    (link.attempt, link.next().await)
}

/// Waits until a queue has room.
async fn room<T>(queue: Option<mpsc::Sender<T>>) {
    match queue {
        Some(queue) => drop(queue.reserve().await),
        None => std::future::pending().await,
    }
}
