//! Serves the commands that reach the running agent by its control socket.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tracing::debug;
use zeroize::Zeroizing;

use super::board::Board;
use super::event::{Event, TransferNumber};
use super::ledger::Ledger;
use super::question::{Answer, Asked, Asker};
use super::sessions::Sessions;
use super::sharing::{ShareRequest, Sharing, next_event};
use super::{Own, nearby};
use crate::control::{
    ControlConnection, ControlListener, Devices, Replies, Reply, Request, Requests, Status, Target, Transfers, Waiting,
};
use crate::discovery::registry::NearbyAgent;
use crate::exit::{Exit, Stop};
use crate::session::{Command, Handle};
use crate::share::ShareEvent;
use crate::source;

/// Commands served at once. One more waits to be accepted.
const CONNECTIONS: usize = 32;

/// What the running agent needs to serve commands.
#[derive(Clone)]
pub struct Desk {
    /// Who it talks with.
    pub sessions: Sessions,
    /// Whom it sees.
    pub agents: watch::Receiver<Arc<[NearbyAgent]>>,
    /// Who it is.
    pub own: Own,
    /// The link that is shown now.
    pub link: watch::Receiver<Option<Zeroizing<String>>>,
    /// The code that is shown now.
    pub code: watch::Receiver<Option<Zeroizing<String>>>,
    /// What is under way.
    pub ledger: Ledger,
    /// What waits for an answer.
    pub board: Board,
    /// Its links for programs that are no Lanyard.
    pub sharing: Sharing,
    /// What it says of itself; link and code are filled in.
    pub status: Status,
}

impl Desk {
    /// Serves commands until it is dropped.
    pub async fn serve(self, listener: ControlListener) {
        let mut serving = JoinSet::new();
        loop {
            tokio::select! {
                connection = listener.accept(), if serving.len() < CONNECTIONS => match connection {
                    Ok(connection) => drop(serving.spawn(self.clone().serve_one(connection))),
                    Err(error) => {
                        debug!(%error, "the control socket broke");
                        return;
                    }
                },
                Some(_) = serving.join_next() => {}
            }
        }
    }

    async fn serve_one(mut self, connection: ControlConnection) {
        let ControlConnection { mut requests, mut replies } = connection;
        let served = match requests.next().await {
            Ok(Some(Request::Status)) => {
                let link = self.link.borrow().as_ref().map(|link| link.as_str().to_owned());
                let code = self.code.borrow().as_ref().map(|code| code.as_str().to_owned());
                replies.send(&Reply::Status(Status { link, code, ..self.status.clone() })).await
            }
            Ok(Some(Request::Devices { watch })) => self.tell_devices(&mut replies, watch).await,
            Ok(Some(Request::Send { to, paths, text })) => {
                let (line_sender, lines) = mpsc::channel(16);
                // Reading a line cannot be interrupted half-way, so it is done by a task of its own.
                let reading = tokio::spawn(async move {
                    while let Ok(Some(request)) = requests.next().await {
                        if line_sender.send(request).await.is_err() {
                            return;
                        }
                    }
                });
                let served = self.send(&mut replies, lines, to, paths, text).await;
                reading.abort();
                served
            }
            Ok(Some(Request::Transfers)) => {
                let waiting = self.board.open().into_iter().map(|(ask, question)| Waiting { ask, question }).collect();
                replies.send(&Reply::Transfers(Transfers { running: self.ledger.running(), waiting })).await
            }
            Ok(Some(Request::Cancel { transfer })) => replies.send(&Reply::done(self.cancel(transfer).await)).await,
            Ok(Some(Request::Decide { ask, answer })) => {
                let done = match self.board.answer(ask, answer) {
                    true => Ok("Answered.".to_owned()),
                    false => Err(Stop::new(Exit::NotFound, "this question waits no more; see `lanyard list`")),
                };
                replies.send(&Reply::done(done)).await
            }
            Ok(Some(Request::Trust { name, policy })) => {
                let done = super::trust::trust(&self.sessions, &name, policy.as_deref()).await;
                replies.send(&Reply::done(done)).await
            }
            Ok(Some(Request::Forget { name })) => {
                let done = super::trust::forget(&self.sessions, &name).await;
                replies.send(&Reply::done(done)).await
            }
            Ok(Some(Request::Share(request))) => self.share(&mut replies, requests, request).await,
            Ok(Some(Request::Answer { .. })) | Ok(None) => Ok(()),
            Err(error) => {
                let message = Some(format!("the running agent does not understand this command: {error}"));
                replies.send(&Reply::Done { exit: Exit::Incompatible.number(), message }).await
            }
        };
        if let Err(error) = served {
            debug!(%error, "a command went away");
        }
    }

    /// Makes a link and tells what happens to it, until it ends or the command goes away.
    async fn share(&self, replies: &mut Replies, mut requests: Requests, request: ShareRequest) -> std::io::Result<()> {
        let link = match self.sharing.open(request).await {
            Ok(link) => link,
            Err(stop) => {
                let (exit, message) = (stop.exit.number(), Some(stop.message));
                return replies.send(&Reply::Done { exit, message }).await;
            }
        };
        let mut events = link.events();
        replies.send(&Reply::Shared { link: self.sharing.address(&link) }).await?;
        let gone = async { while let Ok(Some(_)) = requests.next().await {} };
        tokio::pin!(gone);
        loop {
            let event = tokio::select! {
                event = next_event(&link, &mut events) => event,
                () = &mut gone => return Ok(()),
            };
            let is_over = matches!(event, ShareEvent::Ended { .. });
            replies.send(&Reply::Share { event }).await?;
            if is_over {
                return Ok(());
            }
        }
    }

    async fn tell_devices(&mut self, replies: &mut Replies, watch: bool) -> std::io::Result<()> {
        let mut changes = self.sessions.changes();
        let book = self.sessions.context().book.clone();
        let mut book_changes = book.map(|book| book.changes());
        loop {
            if let Some(changes) = &mut book_changes {
                changes.mark_unchanged();
            }
            let agents = self.agents.borrow_and_update().to_vec();
            changes.mark_unchanged();
            let (connected, remembered) = (self.sessions.connected(), super::trust::listed(&self.sessions));
            replies.send(&Reply::Devices(Devices { connected, agents, remembered })).await?;
            if !watch {
                return Ok(());
            }
            tokio::select! {
                changed = self.agents.changed() => if changed.is_err() { return Ok(()) },
                changed = changes.changed() => if changed.is_err() { return Ok(()) },
                () = changed(&mut book_changes) => {}
            }
        }
    }

    /// Sends, passing events and questions on to the command. When the command goes away, the transfer is cancelled.
    async fn send(
        &self,
        replies: &mut Replies,
        mut lines: mpsc::Receiver<Request>,
        to: Target,
        paths: Vec<PathBuf>,
        text: Option<String>,
    ) -> std::io::Result<()> {
        let (asker, mut questions) = Asker::channel();
        let mut events = self.sessions.context().events.subscribe();
        let Target::Name(name) = to;
        let starting = self.start(&name, paths, text, asker);
        tokio::pin!(starting);
        let mut open: HashMap<u64, oneshot::Sender<Answer>> = HashMap::new();
        let mut next_ask = 0;
        let started = loop {
            tokio::select! {
                started = &mut starting => break started,
                Some(Asked { question, reply }) = questions.recv() => {
                    next_ask += 1;
                    replies.send(&Reply::Ask { ask: next_ask, question }).await?;
                    open.insert(next_ask, reply);
                }
                line = lines.recv() => match line {
                    Some(Request::Answer { ask, answer }) => {
                        if let Some(reply) = open.remove(&ask) {
                            let _ = reply.send(answer);
                        }
                    }
                    Some(
                        Request::Status
                        | Request::Devices { .. }
                        | Request::Send { .. }
                        | Request::Trust { .. }
                        | Request::Transfers
                        | Request::Cancel { .. }
                        | Request::Decide { .. }
                        | Request::Forget { .. }
                        | Request::Share(_),
                    ) => {}
                    None => return Ok(()),
                },
            }
        };
        for ask in open.into_keys() {
            replies.send(&Reply::Withdraw { ask }).await?;
        }
        match started {
            Ok(Some((handle, transfer))) => {
                let followed = tokio::select! {
                    followed = follow(replies, &mut events, transfer) => followed,
                    () = gone(&mut lines) => Err(std::io::ErrorKind::ConnectionAborted.into()),
                };
                if followed.is_err() {
                    // An error means that the device left, and the transfer with it.
                    let _ = handle.commands.send(Command::Cancel { transfer }).await;
                    self.sessions.context().downloads.cancel(transfer);
                }
                followed
            }
            Ok(None) => replies.send(&Reply::Done { exit: Exit::Done.number(), message: None }).await,
            Err(stop) => replies.send(&Reply::Done { exit: stop.exit.number(), message: Some(stop.message) }).await,
        }
    }

    /// Ends a transfer on both devices.
    async fn cancel(&self, transfer: TransferNumber) -> Result<String, Stop> {
        if !self.ledger.running().iter().any(|running| running.transfer == transfer) {
            return Err(Stop::new(Exit::NotFound, "no transfer with this number is under way; see `lanyard list`"));
        }
        self.sessions.context().downloads.cancel(transfer);
        for handle in self.sessions.all() {
            // Only one of them knows the number; one that leaves now takes the transfer with it.
            let _ = handle.commands.send(Command::Cancel { transfer }).await;
        }
        Ok("Cancelled on both devices.".to_owned())
    }

    /// Finds the device and hands it the files (who sends them, and their number) or the text (`None` once it is
    /// delivered).
    async fn start(
        &self,
        name: &str,
        paths: Vec<PathBuf>,
        text: Option<String>,
        asker: Asker,
    ) -> Result<Option<(Handle, TransferNumber)>, Stop> {
        let handle = self.find(name, &asker).await?;
        match text {
            Some(text) => send_text(&handle, text).await.map(|()| None),
            None => {
                let transfer = send_files(&handle, paths.clone()).await?;
                self.ledger.note_paths(transfer, paths);
                Ok(Some((handle, transfer)))
            }
        }
    }

    /// A connected device of that name; a remembered one, which is waited for; or an agent of that name, which is called.
    async fn find(&self, name: &str, asker: &Asker) -> Result<Handle, Stop> {
        let is_it = |candidate: &str| candidate.to_lowercase() == name.to_lowercase();
        let connected: Vec<Handle> = self
            .sessions
            .all()
            .into_iter()
            .filter(|handle| *handle.linked.borrow() && is_it(&handle.who.name))
            .collect();
        if let [only] = connected.as_slice() {
            return Ok(only.clone());
        }
        if let Some(handle) = super::trust::wait_for(&self.sessions, name).await? {
            return Ok(handle);
        }
        let agents = self.agents.borrow().clone();
        let agents: Vec<&NearbyAgent> = agents.iter().filter(|agent| is_it(&agent.name)).collect();
        if connected.len() + agents.len() > 1 {
            return Err(Stop::new(
                Exit::NotFound,
                format!("more than one device is called {name}; rename one of them"),
            ));
        }
        let [agent] = agents.as_slice() else {
            return Err(Stop::new(Exit::NotFound, format!("no device called {name} is here; see `lanyard devices`")));
        };
        call(&self.sessions, agent, &self.own, asker).await
    }
}

/// Calls an agent and takes it in.
///
/// # Errors
/// It does not answer, or the people said no.
pub async fn call(sessions: &Sessions, agent: &NearbyAgent, own: &Own, asker: &Asker) -> Result<Handle, Stop> {
    use crate::session::MeetError;
    let met = nearby::call(agent, own, asker).await.map_err(|error| {
        let exit = match &error {
            nearby::CallError::NoAnswer { .. } => Exit::NotFound,
            nearby::CallError::Incompatible { .. } => Exit::Incompatible,
            nearby::CallError::Signaling(_) => Exit::Unreachable,
            nearby::CallError::Meet(MeetError::Pairing(_) | MeetError::Crowded) => Exit::WrongSecret,
            nearby::CallError::Meet(MeetError::TimedOut | MeetError::Gone) => Exit::NotFound,
            nearby::CallError::Meet(MeetError::Signaling(_)) => Exit::Unreachable,
        };
        Stop::new(exit, error.to_string())
    })?;
    Ok(sessions.admit(met).await?)
}

/// Offers files to a device.
///
/// # Errors
/// They cannot be read or offered, or the device is gone.
pub async fn send_files(handle: &Handle, paths: Vec<PathBuf>) -> Result<TransferNumber, Stop> {
    let collecting = tokio::task::spawn_blocking(move || source::collect(&paths, source::MAX_ENTRIES));
    let collected = collecting.await.map_err(|_| Stop::new(Exit::Failure, "the files could not be listed"))?;
    let collected = collected.map_err(|error| Stop::new(Exit::NoSpace, error.to_string()))?;
    offer(handle, collected).await
}

/// Offers what was listed.
///
/// # Errors
/// It cannot be offered, or the device is gone.
pub async fn offer(handle: &Handle, collected: source::Collected) -> Result<TransferNumber, Stop> {
    let gone = || Stop::new(Exit::NotFound, format!("{} has left", crate::terminal::display(&handle.who.name)));
    let (reply, answer) = oneshot::channel();
    handle.commands.send(Command::Send { collected, reply }).await.map_err(|_| gone())?;
    answer.await.map_err(|_| gone())?.map_err(|message| Stop::new(Exit::Failure, message))
}

/// Delivers a text to a device.
///
/// # Errors
/// It is too long, or the device left before it had it.
pub async fn send_text(handle: &Handle, text: String) -> Result<(), Stop> {
    let gone = || Stop::new(Exit::NotFound, format!("{} has left", crate::terminal::display(&handle.who.name)));
    let (reply, answer) = oneshot::channel();
    handle.commands.send(Command::Text { text, reply }).await.map_err(|_| gone())?;
    answer.await.map_err(|_| gone())?.map_err(|message| Stop::new(Exit::Failure, message))
}

async fn changed(watched: &mut Option<watch::Receiver<u64>>) {
    if let Some(receiver) = watched
        && receiver.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}

/// Waits until a command says no more.
async fn gone(lines: &mut mpsc::Receiver<Request>) {
    while lines.recv().await.is_some() {}
}

/// Tells a command about one transfer until it ends.
async fn follow(
    replies: &mut Replies,
    events: &mut broadcast::Receiver<Event>,
    number: TransferNumber,
) -> std::io::Result<()> {
    replies.send(&Reply::Transfer { transfer: number }).await?;
    loop {
        let event = match events.recv().await {
            Ok(event) => event,
            Err(broadcast::error::RecvError::Lagged(_)) => continue,
            Err(broadcast::error::RecvError::Closed) => return Ok(()),
        };
        if event.transfer() != Some(number) {
            continue;
        }
        let exit = if let Event::Finished { outcome, .. } = &event { Some(Exit::from(outcome)) } else { None };
        replies.send(&Reply::Event { event }).await?;
        if let Some(exit) = exit {
            return replies.send(&Reply::Done { exit: exit.number(), message: None }).await;
        }
    }
}
