//! Everything that two devices move between them, over whatever link there is.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use lanyard_protocol::control::{
    CancelReason, ControlMessage, DeclineReason, FileFailure, FileIndex, PauseReason, Span, TransferId, ViolationCode,
};
use lanyard_protocol::frame::{Body, Frame, Frames, HEADER_BYTES, PIECE_BYTES};

use crate::config::Config;
use crate::credit::{Allowance, Grant};
use crate::hash::piece_hash;
use crate::incoming::{Incoming, Listed, Listing, Offered, State};
use crate::journal::Kept;
use crate::lane::Lane;
use crate::liveness::Liveness;
use crate::manifest::Manifest;
use crate::outbox::Outbox;
use crate::outgoing::Outgoing;
use crate::output::{Event, Output, Party, ReadError, WriteError};
use crate::progress::{Meter, Progress};
use crate::receiving::{Place, Receiving};
use crate::spans;
use crate::texts::{TextError, Texts};

/// Transfers whose end is remembered, so that late messages about them are told from wrong ones.
const ENDED_REMEMBERED: usize = 256;

/// Received transfers that are complete and wait for the sender's `finished`.
const COMPLETE_KEPT: usize = 64;

/// Offers of the other side on one link.
const OFFERS_ON_LINK: usize = 65_536;

/// Messages that wait because the other side does not read; more of them, and it is flooding this side.
const MESSAGES_WAITING: usize = 4096;

/// Messages of the data channel until the other side's speed is known, and bounds after.
const FIRST_MESSAGE_BYTES: usize = 64 * 1024;
const LEAST_MESSAGE_BYTES: usize = 4 * 1024;
const MOST_MESSAGE_BYTES: usize = PIECE_BYTES as usize;

/// One message is to take no longer than this on its way, so that a slow link is not taken for a dead one.
const MESSAGE_TIME: Duration = Duration::from_millis(250);

/// Why something cannot be done with a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// There is none with this id, or it is over.
    #[error("there is no such transfer")]
    Unknown,
    /// There is one with this id already.
    #[error("this transfer exists already")]
    Exists,
    /// As many as are allowed are under way.
    #[error("too many transfers are under way")]
    TooMany,
    /// It is not in a state where that makes sense: accepted twice, say.
    #[error("the transfer is not in a state for that")]
    OutOfTurn,
    /// Entries that are not in the manifest, or none.
    #[error("the chosen entries are not those of the offer")]
    Entries,
}

/// Everything that two devices move between them: many transfers both ways, texts, and the watch over the link.
///
/// Lives as long as the session, over any number of links, one after the other. See the crate's documentation for how
/// to drive it.
#[derive(Debug)]
pub struct Exchange {
    config: Config,
    random: u64,
    out: Outbox,
    link: Option<Link>,
    closed: bool,
    outgoing: BTreeMap<TransferId, Outgoing>,
    /// Who sends next; each gets a piece in turn.
    turns: VecDeque<TransferId>,
    incoming: BTreeMap<TransferId, Incoming>,
    grant: Grant,
    /// Bytes of writes that are not answered.
    writes: HashMap<(TransferId, FileIndex, u64), u64>,
    ended: VecDeque<(TransferId, Ended)>,
    texts: Texts,
}

/// What lives as long as one link.
#[derive(Debug)]
struct Link {
    max_message_bytes: usize,
    liveness: Liveness,
    allowance: Allowance,
    speed: Meter,
    lane: Option<Lane>,
    next_number: u32,
    /// Transfers that the other side numbered, and the highest number it used.
    numbers: HashMap<u32, TransferId>,
    highest_number: Option<u32>,
    open_piece: Option<OpenPiece>,
    offered: BTreeSet<TransferId>,
}

/// The piece that is being collected.
#[derive(Debug)]
struct OpenPiece {
    transfer: TransferId,
    file: FileIndex,
    piece: u64,
    bytes: Vec<u8>,
}

/// How a transfer ended here.
#[derive(Debug, Clone, Copy)]
enum Ended {
    Finished,
    Declined(DeclineReason),
    Cancelled(CancelReason),
    /// Given up while there was no link: to be told on the next one.
    CancelledUntold(CancelReason),
}

impl Exchange {
    /// An exchange without a link. `seed` feeds only the choice of pieces that are read back after a restart.
    #[must_use]
    pub fn new(config: Config, seed: u64) -> Self {
        let config = config.clamped();
        let grant = Grant::new(config.window_bytes);
        Self {
            config,
            random: seed,
            out: Outbox::default(),
            link: None,
            closed: false,
            outgoing: BTreeMap::new(),
            turns: VecDeque::new(),
            incoming: BTreeMap::new(),
            grant,
            writes: HashMap::new(),
            ended: VecDeque::new(),
            texts: Texts::default(),
        }
    }

    // --- the link ---

    /// An authenticated link is open. `max_message_bytes` is what one message of its data channel may hold.
    pub fn link_up(&mut self, now: Instant, max_message_bytes: usize) {
        if self.closed {
            return;
        }
        if self.link.is_some() {
            self.link_lost(now);
        }
        self.out.link_is_up = true;
        self.grant.restart();
        let mut link = Link::new(now, max_message_bytes, &self.config);
        for outgoing in self.outgoing.values_mut() {
            outgoing.handle_link_up(link.take_number(), &mut self.out);
        }
        for incoming in self.incoming.values_mut() {
            incoming.known_on_link = false;
            if let State::Receiving(receiving) = &mut incoming.state {
                receiving.handle_link_up();
            }
        }
        for (transfer, ended) in &mut self.ended {
            if let Ended::CancelledUntold(reason) = *ended {
                self.out.say(ControlMessage::Cancel { transfer: *transfer, reason });
                *ended = Ended::Cancelled(reason);
            }
        }
        for text in self.texts.repeated() {
            self.out.say(text);
        }
        self.link = Some(link);
    }

    /// The link is gone, or given up for another one. Transfers wait for the next.
    pub fn link_lost(&mut self, now: Instant) {
        self.out.link_is_up = false;
        self.out.messages.clear();
        let Some(link) = self.link.take() else { return };
        if let Some(open) = link.open_piece {
            self.grant.release(now, open.bytes.len() as u64);
        }
        for outgoing in self.outgoing.values_mut() {
            outgoing.handle_link_lost();
        }
        for incoming in self.incoming.values_mut() {
            incoming.known_on_link = false;
            incoming.relisting = None;
            if let State::Receiving(receiving) = &mut incoming.state {
                receiving.handle_link_lost();
            }
        }
        // An offer that was not whole is told again from its start.
        self.incoming.retain(|_, incoming| !matches!(incoming.state, State::Listing(_)));
    }

    /// A message of the control channel.
    pub fn handle_control(&mut self, now: Instant, text: &str) {
        if !self.hear(now) {
            return;
        }
        let result = match ControlMessage::decode(text) {
            Ok(message) => self.handle_message(now, message),
            Err(_) => Err(ViolationCode::MalformedMessage),
        };
        self.settle(now, result);
    }

    /// A message of the data channel.
    pub fn handle_data(&mut self, now: Instant, message: &[u8]) {
        if !self.hear(now) {
            return;
        }
        let result = self.handle_frames(now, message);
        self.settle(now, result);
    }

    /// Time has passed: call it when [`Exchange::poll_timeout`] says so. Calling it earlier does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some(link) = &mut self.link
            && link.liveness.poll_timeout() <= now
        {
            let (ping, event) = link.liveness.handle_timeout(now);
            ping.into_iter().for_each(|ping| self.out.say(ping));
            event.into_iter().for_each(|event| self.out.tell(event));
        }
        self.settle(now, Ok(()));
    }

    /// Counts as a sign of life; `false` when nothing is taken any more.
    fn hear(&mut self, now: Instant) -> bool {
        let Some(link) = &mut self.link else { return false };
        let event = link.liveness.handle_heard(now);
        event.into_iter().for_each(|event| self.out.tell(event));
        !self.closed
    }

    // --- what there is to do ---

    /// The next thing the world must do. Drain it after every other call.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.outputs.pop_front()
    }

    /// The next message for the control channel. Drain it while that channel's own buffer is short.
    pub fn poll_control(&mut self, now: Instant) -> Option<String> {
        if !self.out.link_is_up {
            return None;
        }
        if !self.closed
            && let Some(credit) = self.grant.poll(now)
        {
            return Some(credit.encode());
        }
        if let Some(message) = self.out.messages.pop_front() {
            return Some(message.encode());
        }
        if self.closed {
            return None;
        }
        let incoming = self.incoming.values_mut().find_map(Incoming::poll_message);
        let message = incoming.or_else(|| self.outgoing.values_mut().find_map(Outgoing::poll_message))?;
        // The last word about a transfer may end it.
        self.settle(now, Ok(()));
        Some(message.encode())
    }

    /// The next message for the data channel. Ask only while that channel has room: this is the back-pressure.
    pub fn poll_data(&mut self, now: Instant) -> Option<Vec<u8>> {
        let link = self.link.as_mut().filter(|_| !self.closed)?;
        let limit = link.message_bytes(now).min(usize::try_from(link.allowance.left()).unwrap_or(usize::MAX));
        let mut message = Vec::new();
        let mut pieces = Vec::new();
        loop {
            let lane = match &mut link.lane {
                Some(lane) => lane,
                none => match next_lane(&mut self.outgoing, &mut self.turns, &mut self.out) {
                    Some(lane) => none.insert(lane),
                    None => break,
                },
            };
            if message.is_empty() {
                message.reserve_exact(limit.min(FIRST_MESSAGE_BYTES));
            }
            let room = limit - message.len();
            if !lane.fill(&mut message, room) {
                break;
            }
            pieces.extend(lane.piece_bytes().map(|len| (lane.transfer, len)));
            link.lane = None;
        }
        if message.is_empty() {
            return None;
        }
        link.allowance.send(message.len() as u64, pieces);
        for outgoing in self.outgoing.values_mut() {
            outgoing.pull(&self.config, &mut self.out);
        }
        Some(message)
    }

    /// When to call [`Exchange::handle_timeout`] next; `None` when only other calls can change anything.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.closed {
            return None;
        }
        let link = self.link.as_ref().map(|link| link.liveness.poll_timeout());
        let credit = self.link.as_ref().and_then(|_| self.grant.poll_timeout());
        let disk = self.incoming.values().filter_map(|incoming| match &incoming.state {
            State::Receiving(receiving) => receiving.poll_timeout(&self.config),
            State::Listing(_) | State::Offered(_) => None,
        });
        disk.chain(link).chain(credit).min()
    }

    // --- what people decide ---

    /// Offers files. The entries stay readable under their index until [`Output::Forget`].
    ///
    /// # Errors
    /// The id is taken, or too many transfers are under way.
    pub fn offer(&mut self, now: Instant, transfer: TransferId, manifest: Manifest) -> Result<(), TransferError> {
        self.add_outgoing(now, Outgoing::new(transfer, manifest))
    }

    /// Carries on a transfer that was accepted before this process began; `wanted` is what was accepted. Before
    /// [`Exchange::link_up`]. Whatever the receiver holds is read again and compared.
    ///
    /// # Errors
    /// As for [`Exchange::offer`]; and `wanted` does not fit the manifest.
    pub fn restore_outgoing(
        &mut self,
        now: Instant,
        transfer: TransferId,
        manifest: Manifest,
        wanted: &[Span],
    ) -> Result<(), TransferError> {
        if !spans::are_ascending(wanted, manifest.summary().entries) {
            return Err(TransferError::Entries);
        }
        self.add_outgoing(now, Outgoing::restored(transfer, manifest, wanted))
    }

    fn add_outgoing(&mut self, _now: Instant, mut outgoing: Outgoing) -> Result<(), TransferError> {
        let transfer = outgoing.id;
        if self.outgoing.contains_key(&transfer) || self.has_ended(transfer).is_some() {
            return Err(TransferError::Exists);
        }
        if self.outgoing.len() >= self.config.transfers || self.closed {
            return Err(TransferError::TooMany);
        }
        if let Some(link) = &mut self.link {
            outgoing.handle_link_up(link.take_number(), &mut self.out);
        }
        self.outgoing.insert(transfer, outgoing);
        self.turns.push_back(transfer);
        Ok(())
    }

    /// Carries on a transfer from its journal. Before [`Exchange::link_up`]. Part of what it vouches for is read back
    /// first ([`Output::Read`]).
    ///
    /// # Errors
    /// There is one with this id already.
    pub fn restore_incoming(&mut self, now: Instant, kept: Kept) -> Result<(), TransferError> {
        let transfer = kept.transfer();
        if self.incoming.contains_key(&transfer) {
            return Err(TransferError::Exists);
        }
        let mut random = || split_mix(&mut self.random);
        let receiving = Receiving::restored(now, kept, &mut random);
        let state = State::Receiving(Box::new(receiving));
        self.incoming.insert(transfer, Incoming { state, relisting: None, known_on_link: false });
        self.settle(now, Ok(()));
        Ok(())
    }

    /// Takes an offer, or part of it. From here on bytes may be written.
    ///
    /// # Errors
    /// The offer is gone, not whole or answered; or `wanted` is empty or does not fit it.
    pub fn accept(&mut self, now: Instant, transfer: TransferId, wanted: &[Span]) -> Result<(), TransferError> {
        let incoming = self.incoming.get_mut(&transfer).ok_or(TransferError::Unknown)?;
        let State::Offered(Offered { manifest }) = &incoming.state else { return Err(TransferError::OutOfTurn) };
        if wanted.is_empty() || !spans::are_ascending(wanted, manifest.summary().entries) {
            return Err(TransferError::Entries);
        }
        let relisting = incoming.relisting.take();
        let known_on_link = incoming.known_on_link;
        if let Some(Incoming { state: State::Offered(offered), .. }) = self.incoming.remove(&transfer) {
            let mut receiving = offered.accept(now, transfer, wanted, &mut self.out);
            if known_on_link {
                receiving.answer_accept(&mut self.out);
            }
            let state = State::Receiving(Box::new(receiving));
            self.incoming.insert(transfer, Incoming { state, relisting, known_on_link });
        }
        self.settle(now, Ok(()));
        Ok(())
    }

    /// Refuses an offer.
    ///
    /// # Errors
    /// It is gone or answered.
    pub fn decline(&mut self, transfer: TransferId, reason: DeclineReason) -> Result<(), TransferError> {
        let incoming = self.incoming.get(&transfer).ok_or(TransferError::Unknown)?;
        if matches!(incoming.state, State::Receiving(_)) {
            return Err(TransferError::OutOfTurn);
        }
        if incoming.known_on_link {
            self.out.say(ControlMessage::Decline { transfer, reason });
        }
        self.end_incoming(transfer, Ended::Declined(reason));
        Ok(())
    }

    /// Stops a transfer for now, from either side.
    ///
    /// # Errors
    /// There is no such transfer.
    pub fn pause(&mut self, transfer: TransferId) -> Result<(), TransferError> {
        let reason = PauseReason::ByPerson;
        if let Some(outgoing) = self.outgoing.get_mut(&transfer) {
            if outgoing.paused_by_us.replace(reason).is_none() {
                self.out.say(ControlMessage::Pause { transfer, reason });
                self.out.tell(Event::Paused { transfer, reason, by: Party::Us });
            }
            return Ok(());
        }
        let Some(receiving) = self.receiving_mut(transfer) else { return Err(TransferError::Unknown) };
        receiving.0.pause(reason, receiving.1);
        Ok(())
    }

    /// Goes on after [`Exchange::pause`], or after a pause for want of space.
    ///
    /// # Errors
    /// There is no such transfer, or this side has not paused it.
    pub fn unpause(&mut self, now: Instant, transfer: TransferId) -> Result<(), TransferError> {
        let by_them = if let Some(outgoing) = self.outgoing.get_mut(&transfer) {
            outgoing.paused_by_us.take().ok_or(TransferError::OutOfTurn)?;
            outgoing.paused_by_them
        } else {
            let (receiving, _) = self.receiving_mut(transfer).ok_or(TransferError::Unknown)?;
            receiving.paused_by_us.ok_or(TransferError::OutOfTurn)?;
            receiving.unpause();
            receiving.paused_by_them
        };
        self.out.say(ControlMessage::Unpause { transfer });
        if by_them.is_none() {
            self.out.tell(Event::Unpaused { transfer });
        }
        self.settle(now, Ok(()));
        Ok(())
    }

    /// Gives up a whole transfer, from either side. Part files go; what was placed stays.
    ///
    /// # Errors
    /// There is no such transfer.
    pub fn cancel(&mut self, transfer: TransferId, reason: CancelReason) -> Result<(), TransferError> {
        let incoming_is_over = match self.incoming.get(&transfer).map(|incoming| &incoming.state) {
            Some(State::Receiving(receiving)) => receiving.is_complete(),
            Some(State::Listing(_) | State::Offered(_)) | None => false,
        };
        let is_known = self.outgoing.contains_key(&transfer) || self.incoming.contains_key(&transfer);
        if !is_known || incoming_is_over {
            return Err(TransferError::Unknown);
        }
        let ended = if self.link.is_some() {
            self.out.say(ControlMessage::Cancel { transfer, reason });
            Ended::Cancelled(reason)
        } else {
            Ended::CancelledUntold(reason)
        };
        self.out.tell(Event::Cancelled { transfer, reason, by: Party::Us });
        self.end_transfer(transfer, ended);
        Ok(())
    }

    /// Gives up one file, from either side; the others go on.
    ///
    /// # Errors
    /// There is no such transfer, it is not accepted yet, or the file is settled.
    pub fn cancel_file(&mut self, now: Instant, transfer: TransferId, file: FileIndex) -> Result<(), TransferError> {
        let reason = FileFailure::Cancelled;
        let given_up = if let Some(outgoing) = self.outgoing.get_mut(&transfer) {
            outgoing.give_up(file, reason, &mut self.out)
        } else {
            let (receiving, out) = self.receiving_mut(transfer).ok_or(TransferError::Unknown)?;
            receiving.give_up(file, reason, out)
        };
        self.settle(now, Ok(()));
        if given_up { Ok(()) } else { Err(TransferError::OutOfTurn) }
    }

    /// Sends a text; `id` is drawn at random by the caller, 0 to 2⁵³ − 1. Acknowledged by [`Event::TextDelivered`].
    ///
    /// # Errors
    /// It is empty or too long, or too many are waiting.
    pub fn send_text(&mut self, id: u64, text: String) -> Result<(), TextError> {
        let message = self.texts.send(id, text, self.config.texts)?;
        self.out.say(message);
        Ok(())
    }

    /// Changes how much this side takes in before it is written, as when many sessions share one memory. What was
    /// promised on this link stays promised.
    pub fn set_window(&mut self, now: Instant, window_bytes: u64) {
        self.config.window_bytes = window_bytes;
        self.config = self.config.clone().clamped();
        self.grant.resize(now, self.config.window_bytes);
    }

    // --- what the disk says ---

    /// Answer to [`Output::Read`].
    pub fn handle_read(
        &mut self,
        now: Instant,
        transfer: TransferId,
        file: FileIndex,
        offset: u64,
        result: Result<Vec<u8>, ReadError>,
    ) {
        if let Some(outgoing) = self.outgoing.get_mut(&transfer) {
            outgoing.handle_read(file, offset, result, &mut self.out);
        } else if let Some((receiving, out)) = self.receiving_mut(transfer) {
            receiving.handle_read_back(file, offset, result.ok().as_deref(), out);
        }
        self.settle(now, Ok(()));
    }

    /// Answer to [`Output::Write`]: the bytes have left this process.
    pub fn handle_written(&mut self, now: Instant, transfer: TransferId, file: FileIndex, offset: u64) {
        self.release_write(now, transfer, file, offset);
        if let Some((receiving, out)) = self.receiving_mut(transfer) {
            receiving.handle_written(now, file, offset, out);
        }
        self.settle(now, Ok(()));
    }

    /// Answer to [`Output::Write`]: they could not be written.
    pub fn handle_write_failed(
        &mut self,
        now: Instant,
        transfer: TransferId,
        file: FileIndex,
        offset: u64,
        error: WriteError,
    ) {
        self.release_write(now, transfer, file, offset);
        if let Some((receiving, out)) = self.receiving_mut(transfer) {
            receiving.handle_write_failed(file, offset, error, out);
        }
        self.settle(now, Ok(()));
    }

    /// Answer to [`Output::Sync`].
    pub fn handle_synced(&mut self, now: Instant, transfer: TransferId) {
        if let Some((receiving, out)) = self.receiving_mut(transfer) {
            receiving.handle_synced(out);
        }
        self.settle(now, Ok(()));
    }

    /// Answer to [`Output::Place`], once for each of its entries.
    pub fn handle_placed(
        &mut self,
        now: Instant,
        transfer: TransferId,
        file: FileIndex,
        result: Result<(), WriteError>,
    ) {
        if let Some((receiving, out)) = self.receiving_mut(transfer) {
            receiving.handle_placed(now, file, result, out);
        }
        self.settle(now, Ok(()));
    }

    fn release_write(&mut self, now: Instant, transfer: TransferId, file: FileIndex, offset: u64) {
        if let Some(bytes) = self.writes.remove(&(transfer, file, offset)) {
            self.grant.release(now, bytes);
        }
    }

    // --- what can be seen ---

    /// Whether the session was closed for a breach of the protocol.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether anything is waiting for the other side: a transfer under way, or a text.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let receives = self.incoming.values().any(|incoming| match &incoming.state {
            State::Receiving(receiving) => !receiving.is_complete(),
            State::Listing(_) | State::Offered(_) => true,
        });
        !receives && self.outgoing.is_empty() && self.texts.repeated().next().is_none()
    }

    /// What is being sent.
    pub fn outgoing(&self) -> impl Iterator<Item = TransferId> {
        self.outgoing.keys().copied()
    }

    /// What is offered to this side or being received.
    pub fn incoming(&self) -> impl Iterator<Item = TransferId> {
        self.incoming.keys().copied()
    }

    /// What a transfer consists of; `None` while it is still being told.
    #[must_use]
    pub fn manifest(&self, transfer: TransferId) -> Option<&Manifest> {
        if let Some(outgoing) = self.outgoing.get(&transfer) {
            return Some(outgoing.manifest());
        }
        match &self.incoming.get(&transfer)?.state {
            State::Listing(_) => None,
            State::Offered(offered) => Some(&offered.manifest),
            State::Receiving(receiving) => Some(receiving.manifest()),
        }
    }

    /// Which entries of an outgoing transfer were accepted: to be kept for [`Exchange::restore_outgoing`].
    #[must_use]
    pub fn accepted(&self, transfer: TransferId) -> Option<Vec<Span>> {
        let outgoing = self.outgoing.get(&transfer).filter(|outgoing| outgoing.is_accepted())?;
        Some(outgoing.wanted())
    }

    /// How far an accepted transfer is.
    #[must_use]
    pub fn progress(&self, now: Instant, transfer: TransferId) -> Option<Progress> {
        if let Some(outgoing) = self.outgoing.get(&transfer) {
            return outgoing.is_accepted().then(|| outgoing.progress(now));
        }
        match &self.incoming.get(&transfer)?.state {
            State::Receiving(receiving) => Some(receiving.progress(now)),
            State::Listing(_) | State::Offered(_) => None,
        }
    }

    // --- messages ---

    fn handle_message(&mut self, now: Instant, message: ControlMessage) -> Result<(), ViolationCode> {
        match message {
            ControlMessage::Ping { nonce } => {
                // Only the last one is answered: a flood of questions must not become one of answers.
                self.out.messages.retain(|message| !matches!(message, ControlMessage::Pong { .. }));
                self.out.say(ControlMessage::Pong { nonce });
            }
            ControlMessage::Pong { .. } | ControlMessage::Unknown => {}
            ControlMessage::Credit { limit_bytes } => return self.handle_credit(now, limit_bytes),
            ControlMessage::Text { id, text } => return self.handle_text(id, text),
            ControlMessage::TextReceived { id } => {
                if self.texts.handle_received(id) {
                    self.out.tell(Event::TextDelivered { id });
                }
            }
            ControlMessage::Error { code } => self.close(code, Party::Us),
            ControlMessage::Offer { transfer, number, summary } => {
                return self.handle_offer(transfer, number, Listing::new(summary)?);
            }
            ControlMessage::Entries { transfer, first, entries } => {
                let Some(incoming) = self.incoming.get_mut(&transfer) else { return self.ended_or_unknown(transfer) };
                let listed = incoming.listing_mut()?.handle_entries(first, entries)?;
                return self.handle_listed(transfer, listed);
            }
            ControlMessage::Resume { transfer, number } => return self.handle_resume(transfer, number),
            ControlMessage::Finished { transfer } => return self.handle_finished(transfer),
            ControlMessage::Cancel { transfer, reason } => self.handle_cancel(transfer, reason),
            ControlMessage::Fail { transfer, files } => {
                if let Some(outgoing) = self.outgoing.get_mut(&transfer) {
                    let mut files = files.into_iter();
                    return files
                        .try_for_each(|failed| outgoing.handle_fail(failed.file, failed.reason, &mut self.out));
                }
                let Some((receiving, out)) = self.receiving_mut(transfer) else {
                    return self.ended_or_unknown(transfer);
                };
                return files.into_iter().try_for_each(|failed| receiving.handle_fail(failed.file, failed.reason, out));
            }
            ControlMessage::Pause { transfer, reason } => return self.handle_pause(transfer, Some(reason)),
            ControlMessage::Unpause { transfer } => return self.handle_pause(transfer, None),
            ControlMessage::Accept { transfer, wanted, last } => {
                return self.for_outgoing(transfer, |outgoing, out| outgoing.handle_accept(wanted, last, out));
            }
            ControlMessage::Decline { transfer, reason } => return self.handle_decline(transfer, reason),
            ControlMessage::Have { transfer, done, failed, files, last } => {
                return self
                    .for_outgoing(transfer, |outgoing, out| outgoing.handle_have(&done, failed, files, last, out));
            }
            ControlMessage::Again { transfer, pieces } => {
                return self.for_outgoing(transfer, |outgoing, _| outgoing.handle_again(pieces));
            }
            ControlMessage::Received { transfer, files } => {
                return self.for_outgoing(transfer, |outgoing, out| outgoing.handle_received(&files, out));
            }
        }
        Ok(())
    }

    fn handle_credit(&mut self, now: Instant, limit_bytes: u64) -> Result<(), ViolationCode> {
        let Some(link) = &mut self.link else { return Ok(()) };
        if !link.allowance.handle_credit(limit_bytes) {
            return Err(ViolationCode::BadValue);
        }
        while let Some((transfer, bytes)) = link.allowance.poll_taken() {
            link.speed.add(now, bytes);
            if let Some(outgoing) = self.outgoing.get_mut(&transfer) {
                outgoing.handle_taken(now, bytes);
            }
        }
        Ok(())
    }

    fn handle_text(&mut self, id: u64, text: String) -> Result<(), ViolationCode> {
        if text.is_empty() || text.len() > lanyard_protocol::limits::TEXT_BYTES {
            return Err(ViolationCode::BadValue);
        }
        self.out.say(ControlMessage::TextReceived { id });
        if self.texts.is_new(id) {
            self.out.tell(Event::Text { id, text });
        }
        Ok(())
    }

    fn handle_offer(&mut self, transfer: TransferId, number: u32, listing: Listing) -> Result<(), ViolationCode> {
        self.take_number(transfer, number)?;
        if self.outgoing.contains_key(&transfer) {
            return Err(ViolationCode::DuplicateOffer);
        }
        if let Some(incoming) = self.incoming.get_mut(&transfer) {
            incoming.relisting = Some(listing);
            return Ok(());
        }
        match self.has_ended(transfer) {
            Some(Ended::Declined(reason)) => self.out.say(ControlMessage::Decline { transfer, reason }),
            Some(Ended::Cancelled(reason) | Ended::CancelledUntold(reason)) => {
                self.out.say(ControlMessage::Cancel { transfer, reason });
            }
            Some(Ended::Finished) => return Err(ViolationCode::DuplicateOffer),
            None if !self.has_room_for_incoming() => {
                let reason = DeclineReason::Busy;
                self.out.say(ControlMessage::Decline { transfer, reason });
                self.remember_end(transfer, Ended::Declined(reason));
            }
            None => {
                let state = State::Listing(listing);
                self.incoming.insert(transfer, Incoming { state, relisting: None, known_on_link: false });
            }
        }
        Ok(())
    }

    /// Notes what the other side calls a transfer on this link. Numbers rise, and a transfer has one on each link.
    fn take_number(&mut self, transfer: TransferId, number: u32) -> Result<(), ViolationCode> {
        let Some(link) = &mut self.link else { return Ok(()) };
        if link.offered.len() >= OFFERS_ON_LINK {
            return Err(ViolationCode::TooMany);
        }
        if link.highest_number.is_some_and(|highest| number <= highest) || !link.offered.insert(transfer) {
            return Err(ViolationCode::DuplicateOffer);
        }
        link.highest_number = Some(number);
        link.numbers.insert(number, transfer);
        Ok(())
    }

    fn has_room_for_incoming(&mut self) -> bool {
        let is_complete = |incoming: &Incoming| match &incoming.state {
            State::Receiving(receiving) => receiving.is_complete(),
            State::Listing(_) | State::Offered(_) => false,
        };
        let complete: Vec<_> =
            self.incoming.iter().filter(|(_, incoming)| is_complete(incoming)).map(|(id, _)| *id).collect();
        if let Some(oldest) = complete.first().filter(|_| complete.len() >= COMPLETE_KEPT) {
            self.end_incoming(*oldest, Ended::Finished);
        }
        self.incoming.len() - complete.len() < self.config.transfers
    }

    fn handle_listed(&mut self, transfer: TransferId, listed: Listed) -> Result<(), ViolationCode> {
        let Some(incoming) = self.incoming.get_mut(&transfer) else { return Ok(()) };
        let manifest = match listed {
            Listed::Partly => return Ok(()),
            Listed::Whole(manifest) => manifest,
            Listed::Refused(error) => {
                self.out.tell(Event::Refused { transfer, error });
                let reason = DeclineReason::BadManifest;
                self.out.say(ControlMessage::Decline { transfer, reason });
                self.end_incoming(transfer, Ended::Declined(reason));
                return Ok(());
            }
        };
        incoming.relisting = None;
        incoming.known_on_link = true;
        match &mut incoming.state {
            State::Listing(_) => {
                incoming.state = State::Offered(Offered { manifest });
                self.out.tell(Event::Offered { transfer });
            }
            State::Offered(offered) if offered.manifest == manifest => {}
            State::Receiving(receiving) if *receiving.manifest() == manifest => receiving.answer_accept(&mut self.out),
            State::Offered(_) | State::Receiving(_) => return Err(ViolationCode::DuplicateOffer),
        }
        Ok(())
    }

    fn handle_resume(&mut self, transfer: TransferId, number: u32) -> Result<(), ViolationCode> {
        self.take_number(transfer, number)?;
        if let Some(incoming) = self.incoming.get_mut(&transfer) {
            let State::Receiving(receiving) = &mut incoming.state else { return Err(ViolationCode::OutOfTurn) };
            incoming.known_on_link = true;
            receiving.answer_have(&mut self.out);
            return Ok(());
        }
        let reason = match self.has_ended(transfer) {
            Some(Ended::Cancelled(reason) | Ended::CancelledUntold(reason)) => reason,
            Some(Ended::Finished | Ended::Declined(_)) | None => CancelReason::UnknownTransfer,
        };
        self.out.say(ControlMessage::Cancel { transfer, reason });
        Ok(())
    }

    fn handle_finished(&mut self, transfer: TransferId) -> Result<(), ViolationCode> {
        match self.incoming.get(&transfer).map(|incoming| &incoming.state) {
            Some(State::Receiving(receiving)) if receiving.is_complete() => {
                self.end_incoming(transfer, Ended::Finished);
                Ok(())
            }
            Some(_) => Err(ViolationCode::OutOfTurn),
            None => self.ended_or_unknown(transfer),
        }
    }

    /// Tells of transfers that this side does not know are no breach: it may have forgotten.
    fn handle_cancel(&mut self, transfer: TransferId, reason: CancelReason) {
        let is_complete = match self.incoming.get(&transfer).map(|incoming| &incoming.state) {
            Some(State::Receiving(receiving)) => receiving.is_complete(),
            Some(State::Listing(_) | State::Offered(_)) | None => false,
        };
        let is_known = self.outgoing.contains_key(&transfer) || self.incoming.contains_key(&transfer);
        if is_complete {
            self.end_incoming(transfer, Ended::Finished);
        } else if is_known {
            self.out.tell(Event::Cancelled { transfer, reason, by: Party::Them });
            self.end_transfer(transfer, Ended::Cancelled(reason));
        }
    }

    fn handle_pause(&mut self, transfer: TransferId, reason: Option<PauseReason>) -> Result<(), ViolationCode> {
        let (flag, by_us) = if let Some(outgoing) = self.outgoing.get_mut(&transfer) {
            (&mut outgoing.paused_by_them, outgoing.paused_by_us)
        } else {
            match self.incoming.get_mut(&transfer).map(|incoming| &mut incoming.state) {
                Some(State::Receiving(receiving)) => (&mut receiving.paused_by_them, receiving.paused_by_us),
                // An offer may be paused before it is accepted; its sender holds back by itself.
                Some(State::Listing(_) | State::Offered(_)) => return Ok(()),
                None => return self.ended_or_unknown(transfer),
            }
        };
        let before = std::mem::replace(flag, reason);
        match reason {
            Some(reason) if before.is_none() => {
                self.out.tell(Event::Paused { transfer, reason, by: Party::Them });
            }
            None if before.is_some() && by_us.is_none() => self.out.tell(Event::Unpaused { transfer }),
            Some(_) | None => {}
        }
        Ok(())
    }

    fn handle_decline(&mut self, transfer: TransferId, reason: DeclineReason) -> Result<(), ViolationCode> {
        let Some(outgoing) = self.outgoing.get(&transfer) else { return self.ended_or_unknown(transfer) };
        if !outgoing.may_be_declined() {
            return Err(ViolationCode::OutOfTurn);
        }
        self.out.tell(Event::Declined { transfer, reason });
        self.end_transfer(transfer, Ended::Declined(reason));
        Ok(())
    }

    fn for_outgoing(
        &mut self,
        transfer: TransferId,
        handle: impl FnOnce(&mut Outgoing, &mut Outbox) -> Result<(), ViolationCode>,
    ) -> Result<(), ViolationCode> {
        match self.outgoing.get_mut(&transfer) {
            Some(outgoing) => handle(outgoing, &mut self.out),
            None => self.ended_or_unknown(transfer),
        }
    }

    /// Late messages about a transfer that is over are no breach.
    fn ended_or_unknown(&self, transfer: TransferId) -> Result<(), ViolationCode> {
        self.has_ended(transfer).map(|_| ()).ok_or(ViolationCode::UnknownTransfer)
    }

    // --- data ---

    fn handle_frames(&mut self, now: Instant, message: &[u8]) -> Result<(), ViolationCode> {
        if !self.grant.receive(now, message.len() as u64) {
            return Err(ViolationCode::OverCredit);
        }
        for frame in Frames::new(message) {
            let frame = frame.map_err(|_| ViolationCode::MalformedFrame)?;
            self.handle_frame(now, frame)?;
        }
        Ok(())
    }

    fn handle_frame(&mut self, now: Instant, frame: Frame<'_>) -> Result<(), ViolationCode> {
        let Some(link) = &mut self.link else { return Ok(()) };
        let Some(&transfer) = link.numbers.get(&frame.number) else { return Err(ViolationCode::UnknownTransfer) };
        let receiving = match self.incoming.get_mut(&transfer).map(|incoming| &mut incoming.state) {
            Some(State::Receiving(receiving)) => receiving,
            Some(State::Listing(_) | State::Offered(_)) => return Err(ViolationCode::DataBeforeAccept),
            // It was given up here; the sender does not know yet.
            None => return Ok(()),
        };
        let (file, offset) = (frame.file, frame.offset);
        let out = &mut self.out;
        match frame.body {
            Body::Chunk(bytes) => link.collect(receiving, transfer, file, offset, bytes, &mut self.grant, out),
            Body::PieceEnd { hash } => {
                if offset % PIECE_BYTES != 0 {
                    return Err(ViolationCode::BadValue);
                }
                let piece = offset / PIECE_BYTES;
                if receiving.handle_chunk(file, offset, offset, out)? == Place::Ignored {
                    return Ok(());
                }
                let is_this = |open: &mut OpenPiece| open.is(transfer, file, piece);
                let open = link.open_piece.take_if(is_this).ok_or(ViolationCode::Gap)?;
                let len = open.bytes.len() as u64;
                if len != receiving.piece_len(file, piece) {
                    return Err(ViolationCode::Gap);
                }
                if piece_hash(&open.bytes) == hash {
                    *self.writes.entry((transfer, file, offset)).or_default() += len;
                    receiving.handle_piece(file, piece, open.bytes, hash, out);
                    Ok(())
                } else {
                    self.grant.release(now, len);
                    receiving.handle_damaged(file, piece, self.config.piece_tries)
                }
            }
            Body::FileEnd { root } => receiving.handle_file_end(now, file, offset, root, out),
            Body::Restate { version, modified_ms } => {
                let growth = self.config.growth_bytes;
                receiving.handle_restate(file, offset, version, modified_ms, growth, out)
            }
        }
    }

    // --- afterwards ---

    /// What every input may have made due.
    fn settle(&mut self, now: Instant, result: Result<(), ViolationCode>) {
        let flooded = self.out.messages.len() > MESSAGES_WAITING;
        let result = if flooded { result.and(Err(ViolationCode::TooMany)) } else { result };
        if let Err(code) = result {
            self.out.messages.clear();
            self.out.say(ControlMessage::Error { code });
            self.close(code, Party::Them);
        }
        if self.closed {
            return;
        }
        for incoming in self.incoming.values_mut() {
            if let State::Receiving(receiving) = &mut incoming.state {
                receiving.pull(now, &self.config, &mut self.out);
            }
        }
        for (transfer, incoming) in &mut self.incoming {
            if let State::Receiving(receiving) = &mut incoming.state
                && receiving.take_finished()
            {
                self.out.tell(Event::Finished { transfer: *transfer });
            }
        }
        for outgoing in self.outgoing.values_mut() {
            outgoing.pull(&self.config, &mut self.out);
        }
        let finished: Vec<_> =
            self.outgoing.values().filter(|outgoing| outgoing.is_finished()).map(|outgoing| outgoing.id).collect();
        for transfer in finished {
            self.out.say(ControlMessage::Finished { transfer });
            self.out.tell(Event::Finished { transfer });
            self.end_transfer(transfer, Ended::Finished);
        }
        self.drop_stale_piece(now);
    }

    /// A piece whose file or transfer was given up is collected no further.
    fn drop_stale_piece(&mut self, now: Instant) {
        let Some(link) = &mut self.link else { return };
        let incoming = &self.incoming;
        let stale = |open: &mut OpenPiece| match incoming.get(&open.transfer).map(|incoming| &incoming.state) {
            Some(State::Receiving(receiving)) => !receiving.is_arriving(open.file),
            Some(State::Listing(_) | State::Offered(_)) | None => true,
        };
        if let Some(open) = link.open_piece.take_if(stale) {
            self.grant.release(now, open.bytes.len() as u64);
        }
    }

    fn close(&mut self, code: ViolationCode, by: Party) {
        if !std::mem::replace(&mut self.closed, true) {
            self.out.push(Output::Close { code, by });
        }
    }

    fn end_transfer(&mut self, transfer: TransferId, ended: Ended) {
        if self.outgoing.remove(&transfer).is_some() {
            self.turns.retain(|turn| *turn != transfer);
            self.out.push(Output::Forget { transfer });
            self.remember_end(transfer, ended);
        } else {
            self.end_incoming(transfer, ended);
        }
    }

    fn end_incoming(&mut self, transfer: TransferId, ended: Ended) {
        if let Some(incoming) = self.incoming.remove(&transfer) {
            // Before accept nothing was made, so there is nothing to be removed.
            if matches!(incoming.state, State::Receiving(_)) {
                self.out.push(Output::Forget { transfer });
            }
            self.remember_end(transfer, ended);
        }
    }

    fn remember_end(&mut self, transfer: TransferId, ended: Ended) {
        if self.ended.len() == ENDED_REMEMBERED {
            self.ended.pop_front();
        }
        self.ended.push_back((transfer, ended));
    }

    fn has_ended(&self, transfer: TransferId) -> Option<Ended> {
        self.ended.iter().rev().find(|(ended, _)| *ended == transfer).map(|(_, how)| *how)
    }

    fn receiving_mut(&mut self, transfer: TransferId) -> Option<(&mut Receiving, &mut Outbox)> {
        match &mut self.incoming.get_mut(&transfer)?.state {
            State::Receiving(receiving) => Some((receiving, &mut self.out)),
            State::Listing(_) | State::Offered(_) => None,
        }
    }
}

impl Incoming {
    /// Where `entries` go.
    fn listing_mut(&mut self) -> Result<&mut Listing, ViolationCode> {
        match (&mut self.relisting, &mut self.state) {
            (Some(listing), _) | (None, State::Listing(listing)) => Ok(listing),
            (None, State::Offered(_) | State::Receiving(_)) => Err(ViolationCode::OutOfTurn),
        }
    }

    fn poll_message(&mut self) -> Option<ControlMessage> {
        match &mut self.state {
            State::Receiving(receiving) if self.known_on_link => receiving.poll_message(),
            State::Listing(_) | State::Offered(_) | State::Receiving(_) => None,
        }
    }
}

impl Link {
    fn new(now: Instant, max_message_bytes: usize, config: &Config) -> Self {
        Self {
            max_message_bytes: max_message_bytes.clamp(LEAST_MESSAGE_BYTES + 2 * HEADER_BYTES, MOST_MESSAGE_BYTES),
            liveness: Liveness::new(now, config.ping_after, config.silent_after),
            allowance: Allowance::default(),
            speed: Meter::default(),
            lane: None,
            next_number: 1,
            numbers: HashMap::new(),
            highest_number: None,
            open_piece: None,
            offered: BTreeSet::new(),
        }
    }

    fn take_number(&mut self) -> u32 {
        self.next_number += 1;
        self.next_number - 1
    }

    /// How long the next message of the data channel may be.
    fn message_bytes(&self, now: Instant) -> usize {
        let per_message = match self.speed.bytes_per_second(now) {
            0 => FIRST_MESSAGE_BYTES,
            speed => (speed / 1000).saturating_mul(MESSAGE_TIME.as_millis() as u64) as usize,
        };
        per_message.max(LEAST_MESSAGE_BYTES + HEADER_BYTES).min(self.max_message_bytes)
    }

    /// Adds a chunk to the piece it belongs to.
    #[expect(clippy::too_many_arguments, reason = "the parts of one frame, and the two things it changes")]
    fn collect(
        &mut self,
        receiving: &mut Receiving,
        transfer: TransferId,
        file: FileIndex,
        offset: u64,
        bytes: &[u8],
        grant: &mut Grant,
        out: &mut Outbox,
    ) -> Result<(), ViolationCode> {
        let end = offset + bytes.len() as u64;
        if receiving.handle_chunk(file, offset, end, out)? == Place::Ignored {
            return Ok(());
        }
        let piece = offset / PIECE_BYTES;
        let within = (offset % PIECE_BYTES) as usize;
        let open = match &mut self.open_piece {
            Some(open) if open.is(transfer, file, piece) => open,
            none @ None if within == 0 => none.insert(OpenPiece { transfer, file, piece, bytes: Vec::new() }),
            Some(_) | None => return Err(ViolationCode::Gap),
        };
        let have = open.bytes.len();
        if within > have {
            return Err(ViolationCode::Gap);
        }
        let (known, new) = bytes.split_at(bytes.len().min(have - within));
        if open.bytes[within..within + known.len()] != *known {
            return Err(ViolationCode::Overlap);
        }
        open.bytes.extend_from_slice(new);
        grant.hold(new.len() as u64);
        Ok(())
    }
}

impl OpenPiece {
    fn is(&self, transfer: TransferId, file: FileIndex, piece: u64) -> bool {
        (self.transfer, self.file, self.piece) == (transfer, file, piece)
    }
}

/// Takes the next dispatch from the transfer whose turn it is.
fn next_lane(
    outgoing: &mut BTreeMap<TransferId, Outgoing>,
    turns: &mut VecDeque<TransferId>,
    out: &mut Outbox,
) -> Option<Lane> {
    for at in 0..turns.len() {
        let transfer = turns[at];
        let Some(outgoing) = outgoing.get_mut(&transfer) else { continue };
        if let Some(dispatch) = outgoing.poll_dispatch(out) {
            turns.remove(at);
            turns.push_back(transfer);
            return Some(Lane::new(transfer, outgoing.number, dispatch));
        }
    }
    None
}

/// SplitMix64: enough to choose samples with.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
