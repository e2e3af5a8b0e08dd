//! What the exchange tells, what people decide, and what the disk answers.

use std::time::{Duration, Instant};

use bytes::Bytes;
use lanyard_protocol::control::{CancelReason, DeclineReason, FileIndex, PauseReason, Span, TransferId};
use lanyard_protocol::frame::PIECE_BYTES;
use lanyard_transfer::{Event as ExchangeEvent, Output, Party, WriteError};
use tracing::warn;

use super::super::disk::Answer as DiskAnswer;
use super::super::link::Outgoing;
use super::super::sent_record::{self, SentRecord};
use super::super::transfers::{Known, cancelled, declined, failure};
use super::{Conversation, Next};
use crate::agent::event::{Direction, Event, Outcome};
use crate::agent::question::{Answer, OfferedFile, Question};
use crate::fail_point::{self, Step};
use crate::inbox::ReceiveFolder;

/// How the message begins that tells the sender of files that are safe.
const ACKNOWLEDGEMENT: &str = r#"{"type":"received""#;

/// How often it is tried whether there is room again.
pub(super) const RETRY_SPACE_EVERY: Duration = Duration::from_secs(30);

/// With less room than what is missing a try is worth it from here on: files may have their space already.
const WORTH_A_TRY_BYTES: u64 = 64 << 20;

/// Room that even the last few bytes need, for the journal and the folders.
const MIN_ROOM_BYTES: u64 = 64 << 10;

/// Files shown of an offer.
const SHOWN_FILES: usize = 3;

impl Conversation {
    pub(super) fn drain_outputs(&mut self) -> Next {
        while self.disk.is_ready()
            && let Some(output) = self.exchange.poll_output()
        {
            match output {
                Output::Event(event) => self.handle_event(event),
                Output::Close { code, by } => {
                    let message = match by {
                        Party::Them => {
                            self.told_breach = true;
                            format!("{} broke the protocol ({code:?}); the connection was closed.", self.who.name)
                        }
                        Party::Us => {
                            format!("{} could not understand this device ({code:?}); update both.", self.who.name)
                        }
                    };
                    self.context.tell(Event::Warning { message });
                    return Next::End;
                }
                job @ (Output::Read(_)
                | Output::CloseSource { .. }
                | Output::Open { .. }
                | Output::Write { .. }
                | Output::Sync { .. }
                | Output::Journal { .. }
                | Output::Place { .. }
                | Output::Discard { .. }
                | Output::Forget { .. }) => self.disk.submit(job),
            }
        }
        self.hand_over();
        Next::GoOn
    }

    /// Gives the link what its queues have room for.
    pub(super) fn feed_link(&mut self) {
        let Some(link) = &self.link else {
            (self.control_blocked, self.data_blocked) = (false, false);
            return;
        };
        let now = Instant::now();
        self.control_blocked = loop {
            let Ok(permit) = link.control.try_reserve() else { break true };
            match self.exchange.poll_control(now) {
                Some(text) => {
                    let acknowledges = text.starts_with(ACKNOWLEDGEMENT);
                    if acknowledges {
                        fail_point::before(Step::Ack);
                    }
                    link.hand_over(permit, Outgoing::Text(text));
                    if acknowledges {
                        fail_point::after(Step::Ack);
                    }
                }
                None => break false,
            }
        };
        self.data_blocked = loop {
            let Ok(permit) = link.data.try_reserve() else { break true };
            match self.exchange.poll_data(now) {
                Some(frame) => {
                    self.handed_bytes += frame.len() as u64;
                    link.hand_over(permit, Bytes::from(frame));
                }
                None => break false,
            }
        };
    }

    pub(super) fn handle_event(&mut self, event: ExchangeEvent) {
        match event {
            ExchangeEvent::Offered { transfer } => self.handle_offer(transfer),
            ExchangeEvent::Refused { error, .. } => {
                let message = format!("An offer by {} was declined: {error}.", self.who.name);
                self.context.tell(Event::Warning { message });
            }
            ExchangeEvent::Accepted { transfer } => {
                let wanted = self.exchange.accepted(transfer).unwrap_or_default();
                if let Some(known) = self.transfers.get_mut(&transfer) {
                    known.accepted = true;
                    (known.offered, known.links) = (None, None);
                    if let Some(path) = &known.record {
                        sent_record::keep(path, &SentRecord { transfer, wanted });
                    }
                    self.context.tell(Event::Accepted { transfer: known.number });
                }
            }
            ExchangeEvent::Declined { transfer, reason } => {
                if !(reason == DeclineReason::Other && self.leave_to_browser(transfer)) {
                    self.finish(transfer, declined(reason));
                }
            }
            ExchangeEvent::Paused { transfer, reason, by } => self.handle_paused(transfer, reason, by),
            ExchangeEvent::Unpaused { transfer } => {
                if let Some(known) = self.transfers.get_mut(&transfer) {
                    (known.retry_at, known.no_space) = (None, None);
                }
            }
            ExchangeEvent::Restated { transfer, file, .. } => {
                if let Some(known) = self.transfers.get(&transfer) {
                    let message = format!("{} changed; its present content is sent.", known.name(file));
                    self.context.tell(Event::Warning { message });
                }
            }
            ExchangeEvent::FileDone { transfer, file } => {
                if let Some(known) = self.transfers.get_mut(&transfer) {
                    if let Some(event) = known.announcement(&self.who) {
                        self.context.tell(event);
                    }
                    self.context.tell(Event::File { transfer: known.number, name: known.name(file) });
                }
            }
            ExchangeEvent::FileFailed { transfer, file, reason } => {
                if let Some(known) = self.transfers.get_mut(&transfer) {
                    known.handle_failed(reason);
                    let (number, name) = (known.number, known.name(file));
                    let message = failure(reason).to_owned();
                    self.context.tell(Event::FileFailed { transfer: number, name, message });
                }
            }
            ExchangeEvent::Finished { transfer } => {
                if let Some(outcome) = self.transfers.get(&transfer).map(Known::outcome) {
                    self.finish(transfer, outcome);
                }
            }
            ExchangeEvent::Cancelled { transfer, reason: CancelReason::UnknownTransfer, .. }
                if self.transfers.get(&transfer).is_some_and(|known| known.again.is_some()) =>
            {
                if let Some(mut known) = self.transfers.remove(&transfer)
                    && let Some(collected) = known.again.take()
                {
                    known.accepted = false;
                    self.unknown.push((collected, known));
                }
            }
            ExchangeEvent::Cancelled { transfer, reason, by } => {
                let no_space = self.transfers.get(&transfer).and_then(|known| known.no_space.clone());
                let outcome = match no_space {
                    Some(message) => Outcome::NoSpace { message },
                    None => cancelled(reason, by),
                };
                self.finish(transfer, outcome);
            }
            ExchangeEvent::Text { text, .. } => self.context.tell(Event::Text { who: self.who.clone(), text }),
            ExchangeEvent::TextDelivered { id } => {
                self.context.tell(Event::TextDelivered { who: self.who.clone() });
                if let Some(at) = self.texts.iter().position(|(waiting, _)| *waiting == id)
                    && let Some((_, reply)) = self.texts.remove(at)
                {
                    let _ = reply.send(Ok(()));
                }
            }
            ExchangeEvent::Silent => self.paths.handle_silent(Instant::now()),
            ExchangeEvent::Heard => self.paths.handle_heard(),
        }
    }

    /// Takes in as much as this conversation may, now.
    pub(super) fn share_memory(&mut self, now: Instant) {
        let is_receiving = self.transfers.values().any(|known| known.place.is_some());
        let window = self.context.memory.window(is_receiving);
        if window != self.window {
            self.window = window;
            self.exchange.set_window(now, window);
        }
    }

    pub(super) fn handle_paused(&mut self, transfer: TransferId, reason: PauseReason, by: Party) {
        let now = Instant::now();
        let progress = self.exchange.progress(now, transfer);
        let missing = progress.map_or(0, |progress| progress.total_bytes - progress.verified_bytes);
        let Some(known) = self.transfers.get_mut(&transfer) else { return };
        let message = match (reason, by) {
            (PauseReason::NoSpace, Party::Us) => {
                known.retry_at = Some(now + RETRY_SPACE_EVERY);
                no_space(self.context.folder.as_deref(), missing)
            }
            (PauseReason::NoSpace, Party::Them) => {
                "the other device's disk is full; what arrived is kept, and it goes on when there is room".to_owned()
            }
            (PauseReason::ByPerson | PauseReason::Other, _) => "paused by the other device".to_owned(),
        };
        // Each try that fails pauses again; people are told once.
        if reason == PauseReason::NoSpace {
            known.no_space = Some(message.clone());
            if known.told_no_space.replace(message.clone()).as_ref() == Some(&message) {
                return;
            }
        }
        self.context.tell(Event::Warning { message: format!("{}: {message}.", self.who.name) });
    }

    /// Goes on with what waits for room, where there may be some.
    pub(super) fn retry_space(&mut self, now: Instant) {
        let due: Vec<TransferId> = self
            .transfers
            .iter_mut()
            .filter(|(_, known)| known.retry_at.is_some_and(|at| at <= now))
            .map(|(transfer, known)| {
                known.retry_at = Some(now + RETRY_SPACE_EVERY);
                *transfer
            })
            .collect();
        let Some(folder) = self.context.folder.clone().filter(|folder| folder.check().is_ok()) else { return };
        for transfer in due {
            let progress = self.exchange.progress(now, transfer);
            let missing = progress.map_or(0, |progress| progress.total_bytes - progress.verified_bytes);
            if folder.free_bytes() >= missing.clamp(MIN_ROOM_BYTES, WORTH_A_TRY_BYTES) {
                // An error means that it ended or goes on already.
                let _ = self.exchange.unpause(now, transfer);
            }
        }
    }

    pub(super) fn handle_offer(&mut self, transfer: TransferId) {
        let Some(manifest) = self.exchange.manifest(transfer) else { return };
        let summary = manifest.summary().clone();
        let known = Known::new(self.context.next_number(), Direction::Receiving, manifest);
        let first = manifest.entries().iter().take(SHOWN_FILES);
        let first = first.map(|entry| OfferedFile { path: entry.path().to_owned(), size_bytes: entry.size_bytes() });
        let first: Vec<_> = first.collect();
        self.know(transfer, known);

        let Some(folder) = self.context.folder.clone() else {
            return self.decline(transfer, DeclineReason::Declined, "this run only sends".to_owned());
        };
        if let Err(error) = folder.check() {
            return self.decline(transfer, DeclineReason::NoSpace, error.to_string());
        }
        let available = folder.available_bytes();
        if summary.total_bytes > available {
            let message = format!(
                "{} do not fit: {} can be received here",
                crate::terminal::bytes(summary.total_bytes),
                crate::terminal::bytes(available)
            );
            return self.decline(transfer, DeclineReason::NoSpace, message);
        }
        let key = self.met.session.peer_key();
        let remembered = self.context.book.as_ref().and_then(|book| book.with_key(&key));
        let may_remember = remembered.is_none() && self.may_be_remembered();
        let policy = remembered.and_then(|device| device.policy).unwrap_or(self.context.accept);
        if policy.accepts(summary.total_bytes) {
            return self.handle_decision(transfer, Answer::Yes);
        }
        let question = Question::Offer {
            who: self.who.clone(),
            files: u64::from(summary.files),
            total_bytes: summary.total_bytes,
            first,
            folder: folder.path().display().to_string(),
            free_bytes: folder.free_bytes(),
            may_remember,
        };
        let asker = self.context.asker.clone();
        let asking = self.decisions.spawn(async move {
            fail_point::before(Step::Prompt);
            let answer = asker.ask(question).await;
            fail_point::after(Step::Prompt);
            (transfer, answer)
        });
        if let Some(known) = self.transfers.get_mut(&transfer) {
            known.asking = Some(asking);
        }
    }

    pub(super) fn handle_decision(&mut self, transfer: TransferId, answer: Answer) {
        let Some(entries) = self.exchange.manifest(transfer).map(|manifest| manifest.summary().entries) else { return };
        if answer == Answer::YesAndRemember {
            self.want_remembered(None);
        }
        match answer {
            Answer::Yes | Answer::YesAndRemember => {
                let all = [Span { first: 0, count: entries }];
                let Some(place) = self.context.memory.enter() else {
                    return self.decline(
                        transfer,
                        DeclineReason::Busy,
                        "too much is being received already".to_owned(),
                    );
                };
                fail_point::before(Step::Accept);
                let accepted = self.exchange.accept(Instant::now(), transfer, &all);
                fail_point::after(Step::Accept);
                match accepted {
                    Ok(()) => {
                        if let Some(known) = self.transfers.get_mut(&transfer) {
                            known.accepted = true;
                            known.place = Some(place);
                            self.context.tell(Event::Accepted { transfer: known.number });
                        }
                        self.share_memory(Instant::now());
                    }
                    Err(error) => self.finish(transfer, Outcome::Failed { message: error.to_string() }),
                }
            }
            Answer::No => self.decline(transfer, DeclineReason::Declined, String::new()),
            Answer::NoAnswer | Answer::Picked(_) => {
                // Gone already when the other side took the offer back.
                if self.exchange.decline(transfer, DeclineReason::NoAnswer).is_ok() {
                    self.finish(transfer, Outcome::NoAnswer);
                }
            }
        }
    }

    pub(super) fn decline(&mut self, transfer: TransferId, reason: DeclineReason, words: String) {
        if self.exchange.decline(transfer, reason).is_ok() {
            let outcome = match reason {
                DeclineReason::NoSpace => Outcome::NoSpace { message: words },
                DeclineReason::Declined
                | DeclineReason::NoAnswer
                | DeclineReason::Busy
                | DeclineReason::BadManifest
                | DeclineReason::Other => Outcome::Declined { reason: words },
            };
            self.finish(transfer, outcome);
        }
    }

    pub(super) fn finish(&mut self, transfer: TransferId, outcome: Outcome) {
        let Some(known) = self.transfers.remove(&transfer) else { return };
        if let Some(asking) = known.asking {
            asking.abort();
        }
        if let Some(path) = &known.record
            && !matches!(outcome, Outcome::Interrupted { .. })
        {
            sent_record::remove(path);
        }
        self.context.tell(Event::Finished { transfer: known.number, outcome });
    }

    pub(super) fn handle_disk(&mut self, answer: DiskAnswer) {
        let now = Instant::now();
        match answer {
            DiskAnswer::Read { request, result } => self.exchange.handle_read(now, request, result),
            DiskAnswer::Written { transfer, file, offset, result: Ok(()) } => {
                if fail_point::is_armed() && self.misses_one_piece(now, transfer) {
                    fail_point::before(Step::RootCheck);
                }
                self.exchange.handle_written(now, transfer, file, offset);
            }
            DiskAnswer::Written { transfer, file, offset, result: Err(error) } => {
                self.exchange.handle_write_failed(now, transfer, file, offset, error);
            }
            DiskAnswer::Synced { transfer, result: Ok(()) } => self.exchange.handle_synced(now, transfer),
            DiskAnswer::Synced { transfer, result: Err(error) } => {
                self.exchange.handle_sync_failed(now, transfer, error);
            }
            DiskAnswer::Placed { transfer, results } => self.handle_placed(now, transfer, results),
            DiskAnswer::JournalFailed { transfer, error: WriteError::NoSpace } => {
                self.exchange.handle_no_space(transfer);
            }
            DiskAnswer::JournalFailed { transfer, error: WriteError::Failed } => {
                self.give_up(transfer, "what arrived could not be noted down".to_owned());
            }
        }
    }

    /// Whether what is written now may be all that was missing.
    fn misses_one_piece(&self, now: Instant, transfer: TransferId) -> bool {
        let progress = self.exchange.progress(now, transfer);
        progress.is_some_and(|progress| progress.total_bytes - progress.verified_bytes <= PIECE_BYTES)
    }

    pub(super) fn handle_placed(
        &mut self,
        now: Instant,
        transfer: TransferId,
        results: Vec<(FileIndex, Result<String, WriteError>)>,
    ) {
        for (file, result) in results {
            let result = result.map(|placed| {
                if let Some(known) = self.transfers.get_mut(&transfer) {
                    known.rename(file, placed);
                }
            });
            self.exchange.handle_placed(now, transfer, file, result);
        }
    }

    /// The disk does not do what it must.
    pub(super) fn give_up(&mut self, transfer: TransferId, message: String) {
        if let Some(known) = self.transfers.get_mut(&transfer) {
            warn!("a transfer was given up because of the disk");
            known.no_space = Some(message);
            // An error means that it is over already.
            let _ = self.exchange.cancel(transfer, CancelReason::Failed);
        }
    }
}

/// Why nothing can be stored now, and what is needed.
fn no_space(folder: Option<&ReceiveFolder>, missing_bytes: u64) -> String {
    let Some(folder) = folder else { return "there is no receive folder".to_owned() };
    match folder.check() {
        Err(error) => format!("{error}; what arrived is kept"),
        Ok(()) => format!(
            "the disk is full: {} free, {} still to come; what arrived is kept, and it goes on when there is room",
            crate::terminal::bytes(folder.free_bytes()),
            crate::terminal::bytes(missing_bytes)
        ),
    }
}
