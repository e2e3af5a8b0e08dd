//! Everything that two devices move between them, over whatever link there is.

mod decisions;
mod link;
mod messages;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Instant;

use lanyard_protocol::control::{
    CancelReason, ControlMessage, DeclineReason, FileIndex, PauseReason, Span, TransferId, ViolationCode,
};

use self::link::{Link, OpenPiece, next_lane};
use crate::config::Config;
use crate::credit::Grant;
use crate::incoming::{Incoming, State};
use crate::manifest::Manifest;
use crate::outbox::Outbox;
use crate::outgoing::Outgoing;
use crate::output::{Event, Output, Party, ReadError, ReadRequest, WriteError};
use crate::progress::Progress;
use crate::receiving::Receiving;
use crate::texts::Texts;

pub use self::decisions::TransferError;

/// Transfers whose end is remembered, so that late messages about them are told from wrong ones.
const ENDED_REMEMBERED: usize = 256;

/// Messages that wait because the other side does not read; more of them, and it is flooding this side.
const MESSAGES_WAITING: usize = 4096;

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
    traffic: Traffic,
}

/// Bytes of data messages, headers included, over all links of an [`Exchange`]. What was handed to a link counts as
/// sent, whether it arrived or not.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// Handed to links.
    pub sent_bytes: u64,
    /// Taken from links.
    pub received_bytes: u64,
}

/// How a transfer ended here.
#[derive(Debug, Clone, Copy)]
enum Ended {
    Finished,
    Declined(DeclineReason),
    Cancelled(CancelReason),
    /// Given up by this side: said again on each later link, since the last one may have taken the word along.
    CancelledHere(CancelReason),
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
            traffic: Traffic::default(),
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
        for (transfer, ended) in &self.ended {
            if let Ended::CancelledHere(reason) = *ended {
                self.out.say(ControlMessage::Cancel { transfer: *transfer, reason });
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
        self.traffic.received_bytes += message.len() as u64;
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

    /// The link itself brought a sign of life, and nothing for this engine.
    pub fn handle_alive(&mut self, now: Instant) {
        self.hear(now);
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
        let message = self.poll_message(now)?;
        // The last word about a transfer may end it.
        self.settle(now, Ok(()));
        Some(message.encode())
    }

    fn poll_message(&mut self, now: Instant) -> Option<ControlMessage> {
        if self.closed {
            return self.out.messages.pop_front();
        }
        let said = self.grant.poll(now).or_else(|| self.out.messages.pop_front());
        said.or_else(|| self.incoming.values_mut().find_map(Incoming::poll_message))
            .or_else(|| self.outgoing.values_mut().find_map(Outgoing::poll_message))
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
        self.traffic.sent_bytes += message.len() as u64;
        link.allowance.send(message.len() as u64, pieces);
        for outgoing in self.outgoing.values_mut() {
            outgoing.pull(&self.config, &mut self.out);
        }
        Some(message)
    }

    /// What was moved so far: with the sizes of the files it tells what had to be sent again.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        self.traffic
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

    // --- what the disk says ---

    /// Answer to [`Output::Read`].
    pub fn handle_read(&mut self, now: Instant, request: ReadRequest, result: Result<Vec<u8>, ReadError>) {
        let ReadRequest { transfer, file, offset, .. } = request;
        if let Some(outgoing) = self.outgoing.get_mut(&transfer) {
            outgoing.handle_read(request, result, &mut self.out);
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

    /// Answer to [`Output::Sync`]: it could not be done. What was written since the last one is asked for again, once
    /// there is room; or its files are given up.
    pub fn handle_sync_failed(&mut self, now: Instant, transfer: TransferId, error: WriteError) {
        if let Some((receiving, out)) = self.receiving_mut(transfer) {
            receiving.handle_sync_failed(error, out);
        }
        self.settle(now, Ok(()));
    }

    /// A journal could not be written for want of space. The shell keeps what it was to hold; this pauses the transfer.
    pub fn handle_no_space(&mut self, transfer: TransferId) {
        if let Some((receiving, out)) = self.receiving_mut(transfer) {
            receiving.pause(PauseReason::NoSpace, out);
        }
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

/// SplitMix64: enough to choose samples with.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
