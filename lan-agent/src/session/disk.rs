//! Blocking work on files, in two threads of its own: one reads what is sent, one keeps what is received.
//!
//! Work of one transfer is done in the order it was asked for. The queues are bounded; when one is full, the
//! conversation takes nothing more out of its exchange until there is room.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use lanyard_protocol::control::{FileIndex, TransferId};
use lanyard_transfer::journal::{Kept, Record};
use lanyard_transfer::{Output, ReadError, ReadRequest, WriteError};
use tokio::sync::{mpsc, oneshot};

use crate::fail_point::{self, Step};
use crate::inbox::{PartStore, ReceiveFolder};
use crate::source::SourceFiles;

/// Jobs that wait for a thread.
const JOBS: usize = 128;

/// Answers that wait for the conversation. A full queue stops the threads; the conversation always drains it.
const ANSWERS: usize = 256;

/// What became of a job.
pub(super) enum Answer {
    /// To [`Output::Read`].
    Read { request: ReadRequest, result: Result<Vec<u8>, ReadError> },
    /// To [`Output::Write`]; to [`Output::Open`] when it failed.
    Written { transfer: TransferId, file: FileIndex, offset: u64, result: Result<(), WriteError> },
    /// To [`Output::Sync`].
    Synced { transfer: TransferId, result: Result<(), WriteError> },
    /// To [`Output::Place`]: the path each entry got beneath the receive folder.
    Placed { transfer: TransferId, results: Vec<(FileIndex, Result<String, WriteError>)> },
    /// The journal could not be written: without it nothing that arrives is safe.
    JournalFailed { transfer: TransferId, error: WriteError },
}

/// Work for the inbox thread.
enum InboxJob {
    Do(Output),
    /// Close and unlock a transfer's files, then say so.
    Release(TransferId, Box<dyn FnOnce() + Send>),
    /// Read a transfer's journal.
    Restore(TransferId, oneshot::Sender<Option<Kept>>),
}

/// Reads journals of transfers that were let go elsewhere.
pub(super) struct Restorer(mpsc::Sender<InboxJob>);

impl Restorer {
    /// What is kept of a transfer, which is locked from then on.
    pub(super) async fn restore(&self, transfer: TransferId) -> Option<Kept> {
        let (reply, kept) = oneshot::channel();
        self.0.send(InboxJob::Restore(transfer, reply)).await.ok()?;
        kept.await.ok()?
    }
}

/// Work for the source thread.
enum SourceJob {
    Add(TransferId, Box<SourceFiles>),
    Read(ReadRequest),
    Close(TransferId, FileIndex),
    Forget(TransferId),
}

/// Both threads.
pub(super) struct Disk {
    source: mpsc::Sender<SourceJob>,
    inbox: Option<mpsc::Sender<InboxJob>>,
    sending: HashSet<TransferId>,
    /// The job that found its queue full.
    stalled: Option<Output>,
}

impl Disk {
    /// Starts the threads, and returns where their answers come out; without a store nothing can be received.
    pub(super) fn start(store: Option<PartStore>) -> (Self, mpsc::Receiver<Answer>) {
        let (answer_sender, answers) = mpsc::channel(ANSWERS);
        let (source, source_jobs) = mpsc::channel(JOBS);
        let source_answers = answer_sender.clone();
        std::thread::spawn(move || serve_source(source_jobs, &source_answers));
        let inbox = store.map(|store| {
            let (inbox, inbox_jobs) = mpsc::channel(JOBS);
            std::thread::spawn(move || serve_inbox(store, inbox_jobs, &answer_sender));
            inbox
        });
        (Self { source, inbox, sending: HashSet::new(), stalled: None }, answers)
    }

    /// Makes an offer's files readable.
    pub(super) async fn add_source(&mut self, transfer: TransferId, files: SourceFiles) {
        self.sending.insert(transfer);
        // The thread lives as long as this.
        let _ = self.source.send(SourceJob::Add(transfer, Box::new(files))).await;
    }

    /// Closes and unlocks a transfer's files after everything that was submitted, then calls `done`.
    pub(super) fn release(&self, transfer: TransferId, done: impl FnOnce() + Send + 'static) {
        if let Some(inbox) = self.inbox.clone() {
            tokio::spawn(async move { inbox.send(InboxJob::Release(transfer, Box::new(done))).await.is_ok() });
        }
    }

    /// A way to read journals, if this run receives.
    pub(super) fn restorer(&self) -> Option<Restorer> {
        self.inbox.clone().map(Restorer)
    }

    /// Whether another job can be taken.
    pub(super) fn is_ready(&self) -> bool {
        self.stalled.is_none()
    }

    /// Hands a job over, or keeps it until there is room. Only when [`Self::is_ready`].
    pub(super) fn submit(&mut self, output: Output) {
        self.stalled = self.try_submit(output);
    }

    /// Waits for room for the job that found none; never ends without one.
    pub(super) async fn room(&mut self) {
        let Some(output) = &self.stalled else { return std::future::pending().await };
        let is_source = self.is_source(output);
        match (&self.inbox, is_source) {
            (_, true) => drop(self.source.reserve().await),
            (Some(inbox), false) => drop(inbox.reserve().await),
            (None, false) => {}
        }
        if let Some(output) = self.stalled.take() {
            self.submit(output);
        }
    }

    fn is_source(&self, output: &Output) -> bool {
        match output {
            Output::Read(ReadRequest { transfer, .. })
            | Output::CloseSource { transfer, .. }
            | Output::Forget { transfer } => self.sending.contains(transfer),
            Output::Open { .. }
            | Output::Write { .. }
            | Output::Sync { .. }
            | Output::Journal { .. }
            | Output::Place { .. }
            | Output::Discard { .. }
            | Output::Event(_)
            | Output::Close { .. } => false,
        }
    }

    /// The job, when its queue is full.
    fn try_submit(&mut self, output: Output) -> Option<Output> {
        if !self.is_source(&output) {
            let inbox = self.inbox.as_ref()?;
            let Ok(permit) = inbox.try_reserve() else { return Some(output).filter(|_| !inbox.is_closed()) };
            permit.send(InboxJob::Do(output));
            return None;
        }
        let Ok(permit) = self.source.try_reserve() else { return Some(output) };
        match output {
            Output::Read(request) => permit.send(SourceJob::Read(request)),
            Output::CloseSource { transfer, file } => permit.send(SourceJob::Close(transfer, file)),
            Output::Forget { transfer } => {
                permit.send(SourceJob::Forget(transfer));
                self.sending.remove(&transfer);
            }
            Output::Open { .. }
            | Output::Write { .. }
            | Output::Sync { .. }
            | Output::Journal { .. }
            | Output::Place { .. }
            | Output::Discard { .. }
            | Output::Event(_)
            | Output::Close { .. } => {}
        }
        None
    }
}

/// The part store of a device, if this run receives.
pub(super) fn part_store(folder: Option<&Arc<ReceiveFolder>>, device_key: [u8; 32]) -> Option<PartStore> {
    folder.map(|folder| PartStore::new(folder.clone(), device_key))
}

fn serve_source(mut jobs: mpsc::Receiver<SourceJob>, answers: &mpsc::Sender<Answer>) {
    let mut offers: HashMap<TransferId, Box<SourceFiles>> = HashMap::new();
    while let Some(job) = jobs.blocking_recv() {
        match job {
            SourceJob::Add(transfer, files) => drop(offers.insert(transfer, files)),
            SourceJob::Read(request) => {
                let files = offers.get_mut(&request.transfer).ok_or(ReadError::Unreadable);
                let result = files.and_then(|files| files.read(&request));
                if answers.blocking_send(Answer::Read { request, result }).is_err() {
                    return;
                }
            }
            SourceJob::Close(transfer, file) => {
                if let Some(files) = offers.get_mut(&transfer) {
                    files.close(file);
                }
            }
            SourceJob::Forget(transfer) => drop(offers.remove(&transfer)),
        }
    }
}

fn serve_inbox(mut store: PartStore, mut jobs: mpsc::Receiver<InboxJob>, answers: &mpsc::Sender<Answer>) {
    while let Some(job) = jobs.blocking_recv() {
        match job {
            InboxJob::Do(output) => {
                if let Some(answer) = work(&mut store, output)
                    && answers.blocking_send(answer).is_err()
                {
                    return;
                }
            }
            InboxJob::Release(transfer, done) => {
                store.release(transfer);
                done();
            }
            // Whoever asked may have stopped waiting; then it is for the next one.
            InboxJob::Restore(transfer, reply) => {
                if reply.send(store.kept_of(transfer)).is_err() {
                    store.release(transfer);
                }
            }
        }
    }
}

fn work(store: &mut PartStore, job: Output) -> Option<Answer> {
    match job {
        Output::Read(request) => {
            let len = usize::try_from(request.len).unwrap_or(0);
            let result = store.read(request.transfer, request.file, request.offset, len);
            Some(Answer::Read { request, result: result.map_err(|_| ReadError::Unreadable) })
        }
        Output::Open { transfer, file, size_bytes, .. } => {
            let result = store.open(transfer, file, size_bytes);
            result.is_err().then_some(Answer::Written { transfer, file, offset: 0, result })
        }
        Output::Write { transfer, file, offset, bytes } => {
            let result = store.write(transfer, file, offset, &bytes);
            Some(Answer::Written { transfer, file, offset, result })
        }
        Output::Sync { transfer, files } => {
            let result = store.sync(transfer, &files);
            Some(Answer::Synced { transfer, result })
        }
        Output::Journal { transfer, records, sync } => {
            if records.iter().any(|record| matches!(record, Record::Placing { .. })) {
                fail_point::after(Step::RootCheck);
            }
            let error = store.append_journal(transfer, &records, sync).err()?;
            Some(Answer::JournalFailed { transfer, error })
        }
        Output::Place { transfer, entries } => {
            let placed = store.place(transfer, &entries);
            let results = entries.iter().map(|entry| entry.file).zip(placed).collect();
            Some(Answer::Placed { transfer, results })
        }
        Output::Discard { transfer, files } => {
            store.discard(transfer, &files);
            None
        }
        Output::Forget { transfer } => {
            store.forget(transfer);
            None
        }
        Output::CloseSource { .. } | Output::Event(_) | Output::Close { .. } => None,
    }
}
