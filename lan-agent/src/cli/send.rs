//! `lanyard send`: to a device by name, by its link or code, or to whoever opens ours.

use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use lanyard_protocol::limits::TEXT_BYTES;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Settings;
use super::args::Send;
use super::meeting_place::MeetingPlace;
use super::open::open;
use super::run::{OwnServer, Run, boot_id, open_book, start_mdns, wait_for_end};
use super::secret::{self, Shown};
use crate::agent::again::{AgainError, Bond, meet_again};
use crate::agent::event::Event;
use crate::agent::question::{Answer, Question};
use crate::agent::{Own, desk, reunion, trust};
use crate::control::{ControlClient, ControlError, Reply, Request, Target};
use crate::devices::Remembered;
use crate::discovery::mdns::Mdns;
use crate::discovery::registry::NearbyAgent;
use crate::exit::{Exit, Stop};
use crate::paths;
use crate::session::{Command, Handle, Met};
use crate::signaling_client::ServerUrl;
use crate::source::{self, Collected};
use crate::terminal::{Console, Reporter, answer, bytes, display};

/// How long a named device is looked for unless told otherwise.
const FIND_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a device may take to hear that all is over.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);

/// What is sent.
#[derive(Clone)]
enum Content {
    Files { paths: Vec<PathBuf>, collected: Collected },
    Text(String),
}

/// Sends, and returns once it is checked at the other end.
pub(super) async fn run(
    args: Send,
    settings: Settings,
    console: &Console,
    stop: CancellationToken,
) -> Result<Exit, Stop> {
    let content = content(&args, console).await?;
    let shown = match args.to.as_deref() {
        Some("-") => Some(secret::shown(Some("-"), None, console).await?),
        Some(to) if secret::looks_like_link(to) || secret::looks_like_code(to) => {
            Some(secret::shown(Some(to), None, console).await?)
        }
        Some(name) => return to_name(name, content, &settings, console, &stop).await,
        None if secret::is_given(args.code_file.as_deref()) => {
            Some(secret::shown(None, args.code_file.as_deref(), console).await?)
        }
        None => None,
    };
    match shown {
        Some(shown) => to_shown(&shown, content, &settings, console, &stop).await,
        None => to_whoever_comes(content, &settings, console, &stop).await,
    }
}

/// What a person who stops it is told, when this process did the sending.
const KEPT: &str = "stopped. What arrived is kept there for seven days; send the same again to carry on.";

/// The same, when the running agent did: it cancels for good, because nobody is left to say otherwise.
const CANCELLED: &str = "stopped on both devices; files that were not finished are not kept.";

/// What is done when a person stops it: goodbyes are still said.
async fn unless_stopped(
    stop: &CancellationToken,
    message: &str,
    sending: impl Future<Output = Result<Exit, Stop>>,
) -> Result<Exit, Stop> {
    tokio::select! {
        result = sending => result,
        () = stop.cancelled() => Err(Stop::new(Exit::Interrupted, message)),
    }
}

/// Reads what is to be sent before anybody is bothered.
async fn content(args: &Send, console: &Console) -> Result<Content, Stop> {
    if let Some(text) = &args.text {
        return checked_text(text.clone());
    }
    if args.paths == [PathBuf::from("-")] {
        let mut text = String::new();
        let read = std::io::stdin().take(TEXT_BYTES as u64 + 1).read_to_string(&mut text);
        read.map_err(|error| Stop::new(Exit::Usage, format!("stdin is no text: {error}; send it as a file")))?;
        return checked_text(text);
    }
    let paths: Result<Vec<PathBuf>, _> = args.paths.iter().map(std::path::absolute).collect();
    let paths = paths.map_err(|error| Stop::new(Exit::Usage, error.to_string()))?;
    let walked = paths.clone();
    let walking = tokio::task::spawn_blocking(move || source::collect(&walked, source::MAX_ENTRIES));
    let collected = walking.await.map_err(|_| Stop::new(Exit::Failure, "the files could not be listed"))?;
    let collected = collected.map_err(|error| Stop::new(Exit::NoSpace, error.to_string()))?;
    for skipped in &collected.skipped {
        console.complain(&format!(
            "Left out: {} {}.",
            display(&skipped.path.to_string_lossy()),
            display(&skipped.reason)
        ));
    }
    Ok(Content::Files { paths, collected })
}

fn checked_text(text: String) -> Result<Content, Stop> {
    if text.is_empty() || text.len() > TEXT_BYTES {
        let message = format!("a text has 1 to {TEXT_BYTES} bytes; send longer ones as a file");
        return Err(Stop::new(Exit::Usage, message));
    }
    Ok(Content::Text(text))
}

/// By the running agent, which may be connected already; without one, from here.
async fn to_name(
    name: &str,
    content: Content,
    settings: &Settings,
    console: &Console,
    stop: &CancellationToken,
) -> Result<Exit, Stop> {
    if let Some(socket) = paths::control_socket()
        && let Some(agent) = ControlClient::connect(&socket).await.map_err(unreachable_agent)?
    {
        let (paths, text) = match content {
            Content::Files { paths, .. } => (paths, None),
            Content::Text(text) => (Vec::new(), Some(text)),
        };
        let request = Request::Send { to: Target::Name(name.to_owned()), paths, text };
        return unless_stopped(stop, CANCELLED, by_agent(agent, request, settings, console)).await;
    }
    let own = settings.own(console)?;
    if let Some(book) = open_book(console)
        && !book.named(name).is_empty()
    {
        let device = trust::only(&book, name)?;
        return to_remembered(&device, content, &own, settings, console, stop).await;
    }
    let mdns = start_mdns(settings, &boot_id(), console)
        .ok_or_else(|| Stop::new(Exit::Unreachable, "devices cannot be found by name here; use a link"))?;
    console.say(&format!("Looking for {}.", display(name)));
    let agent = find(&mdns, name, settings.timeout.unwrap_or(FIND_TIMEOUT)).await;
    let result = match agent {
        Ok(agent) => {
            let run = Run::start(settings, console, None, Some(mdns.names()), OwnServer::default());
            let asker = run.context.asker.clone();
            let sending = async {
                let handle = desk::call(&run.sessions, &agent, &own, &asker).await?;
                deliver(&run, &handle, content).await
            };
            let sent = unless_stopped(stop, KEPT, sending).await;
            run.finish().await;
            sent
        }
        Err(stop) => Err(stop),
    };
    mdns.shutdown().await;
    result
}

/// To a device that is remembered: at its doors, at those seen on this network, and wherever else the two met.
async fn to_remembered(
    device: &Remembered,
    content: Content,
    own: &Own,
    settings: &Settings,
    console: &Console,
    stop: &CancellationToken,
) -> Result<Exit, Stop> {
    let mdns = start_mdns(settings, &boot_id(), console);
    let run = Run::start(settings, console, None, mdns.as_ref().map(Mdns::names), OwnServer::default());
    let sending = async {
        let relay = settings.relay.as_ref().map(|relay| &relay.url);
        let limit = settings.timeout.unwrap_or(FIND_TIMEOUT);
        let met = find_again(device, own, &run, mdns.as_ref(), relay, limit).await?;
        let handle = run.admit(met).await?;
        deliver(&run, &handle, content).await
    };
    let sent = unless_stopped(stop, KEPT, sending).await;
    run.finish().await;
    if let Some(mdns) = mdns {
        mdns.shutdown().await;
    }
    sent
}

/// Tries every place at once; the first meeting counts.
async fn find_again(
    device: &Remembered,
    own: &Own,
    run: &Run,
    mdns: Option<&Mdns>,
    relay: Option<&ServerUrl>,
    limit: Duration,
) -> Result<Met, Stop> {
    let deadline = tokio::time::Instant::now() + limit;
    let mut agents = mdns.map(Mdns::nearby);
    let mut tried: Vec<Vec<String>> = Vec::new();
    let mut meeting = tokio::task::JoinSet::new();
    loop {
        let seen = agents.as_mut().map(|agents| agents.borrow_and_update().to_vec()).unwrap_or_default();
        for place in reunion::places_of(device, &seen, relay) {
            if tried.contains(&place) {
                continue;
            }
            tried.push(place.clone());
            let Some(client) = reunion::connect(&place) else { continue };
            let (bond, own, asker) = (Bond::Remembered(device.bond.clone()), own.clone(), run.context.asker.clone());
            meeting.spawn(async move {
                let met = meet_again(&client, &bond, &own, &asker).await;
                met.map(|met| met.at(place.into_iter().next().unwrap_or_default()))
            });
        }
        let changed = async {
            if let Some(agents) = &mut agents
                && agents.changed().await.is_ok()
            {
                return;
            }
            std::future::pending().await
        };
        tokio::select! {
            Some(met) = meeting.join_next() => match met {
                Ok(Ok(met)) => return Ok(met),
                Ok(Err(AgainError::KeyChanged)) => {
                    let name = device.name.clone();
                    return Err(crate::agent::sessions::AdmitError::KeyChanged { name }.into());
                }
                Ok(Err(AgainError::Signaling(_))) | Err(_) => {}
            },
            () = changed => {}
            () = tokio::time::sleep_until(deadline) => return Err(trust::absent(device)),
        }
    }
}

/// The only agent of that name on this network.
async fn find(mdns: &Mdns, name: &str, limit: Duration) -> Result<NearbyAgent, Stop> {
    let is_it = |agent: &&NearbyAgent| agent.name.to_lowercase() == name.to_lowercase();
    let mut nearby = mdns.nearby();
    let found = tokio::time::timeout(limit, nearby.wait_for(|agents| agents.iter().any(|agent| is_it(&agent)))).await;
    let Ok(Ok(agents)) = found else {
        let shown = display(name);
        return Err(Stop::new(Exit::NotFound, format!("no device called {shown} was found; see `lanyard devices`")));
    };
    let mut all = agents.iter().filter(is_it);
    match (all.next(), all.next()) {
        (Some(only), None) => Ok(only.clone()),
        _ => Err(Stop::new(Exit::NotFound, format!("more than one device is called {name}; rename one of them"))),
    }
}

/// Lets the running agent do it: shows its events, answers its questions.
async fn by_agent(
    mut agent: ControlClient,
    request: Request,
    settings: &Settings,
    console: &Console,
) -> Result<Exit, Stop> {
    agent.send(&request).await.map_err(unreachable_agent)?;
    let mut reporter = Reporter::new(console.clone(), settings.format);
    let mut open: Option<(u64, Question)> = None;
    loop {
        let reply = tokio::select! {
            reply = agent.next() => reply.map_err(unreachable_agent)?,
            answer = answer_open(console, open.as_ref(), settings.yes) => {
                if let Some((ask, _)) = open.take() {
                    agent.send(&Request::Answer { ask, answer }).await.map_err(unreachable_agent)?;
                }
                continue;
            }
        };
        match reply {
            Some(Reply::Event { event }) => reporter.print(&event),
            Some(Reply::Ask { ask, question }) => open = Some((ask, question)),
            Some(Reply::Withdraw { ask }) => open = open.filter(|(number, _)| *number != ask),
            Some(Reply::Done { exit, message }) => {
                if let Some(message) = message {
                    console.complain(&format!("lanyard: {}", display(&message)));
                }
                return Ok(Exit::from_number(exit));
            }
            Some(
                Reply::Transfer { .. }
                | Reply::Transfers(_)
                | Reply::Status(_)
                | Reply::Devices(_)
                | Reply::Shared { .. }
                | Reply::Share { .. },
            ) => {}
            None => return Err(Stop::new(Exit::Unreachable, "the running agent has stopped")),
        }
    }
}

async fn answer_open(console: &Console, open: Option<&(u64, Question)>, yes: bool) -> Answer {
    match open {
        Some((_, question)) => answer(console, question, yes).await,
        None => std::future::pending().await,
    }
}

/// To the device that shows a code or link.
async fn to_shown(
    shown: &Shown,
    content: Content,
    settings: &Settings,
    console: &Console,
    stop: &CancellationToken,
) -> Result<Exit, Stop> {
    let own = settings.own(console)?;
    let mdns = start_mdns(settings, &boot_id(), console);
    let run = Run::start(settings, console, None, mdns.as_ref().map(Mdns::names), OwnServer::default());
    let sending = async {
        let met = open(shown, &own, &run, settings, mdns.as_ref()).await?;
        let handle = run.admit(met).await?;
        deliver(&run, &handle, content).await
    };
    let sent = unless_stopped(stop, KEPT, sending).await;
    run.finish().await;
    if let Some(mdns) = mdns {
        mdns.shutdown().await;
    }
    sent
}

/// Shows a link and a code of our own and sends to whoever comes, once a person agrees.
async fn to_whoever_comes(
    content: Content,
    settings: &Settings,
    console: &Console,
    stop: &CancellationToken,
) -> Result<Exit, Stop> {
    let own = settings.own(console)?;
    let mdns = start_mdns(settings, &boot_id(), console);
    let place = MeetingPlace::open(settings, console).await?;
    let server = OwnServer { doors: Vec::new(), links: place.links() };
    let run = Run::start(settings, console, None, mdns.as_ref().map(Mdns::names), server);
    let waiting = unless_stopped(stop, KEPT, wait_and_deliver(&place, &own, &run, content, settings.yes));
    let sent = match settings.timeout {
        None => waiting.await,
        Some(limit) => {
            let late = || Stop::new(Exit::NotFound, "nobody took it in time");
            tokio::time::timeout(limit, waiting).await.unwrap_or_else(|_| Err(late()))
        }
    };
    run.finish().await;
    place.close().await;
    if let Some(mdns) = mdns {
        mdns.shutdown().await;
    }
    sent
}

async fn wait_and_deliver(
    place: &MeetingPlace,
    own: &Own,
    run: &Run,
    content: Content,
    yes: bool,
) -> Result<Exit, Stop> {
    let asker = run.context.asker.clone();
    loop {
        let met = place.next_visitor(own, run).await?;
        let handle = run.admit(met).await?;
        let remembered = run.context.book.as_ref().is_some_and(|book| book.with_key(&handle.key).is_some());
        let answer = if yes || remembered {
            Answer::Yes
        } else {
            asker
                .ask(Question::Receiver { who: handle.who.clone(), what: content.describe(), may_remember: true })
                .await
        };
        if answer == Answer::YesAndRemember {
            let (reply, _) = tokio::sync::oneshot::channel();
            // An error means that the device left; delivering says so.
            let _ = handle.commands.send(crate::session::Command::Remember { reply }).await;
        }
        if matches!(answer, Answer::Yes | Answer::YesAndRemember) {
            return deliver(run, &handle, content).await;
        }
        let _ = handle.commands.send(crate::session::Command::Stop).await;
        run.context.tell(Event::Warning { message: "Nothing was sent. Here is a new link and code.".to_owned() });
    }
}

async fn deliver(run: &Run, handle: &Handle, content: Content) -> Result<Exit, Stop> {
    match content {
        Content::Text(text) => desk::send_text(handle, text).await.map(|()| Exit::Done),
        Content::Files { paths, collected } => {
            let mut events = run.context.events.subscribe();
            let skipped = !collected.skipped.is_empty();
            let number = desk::offer(handle, collected).await?;
            run.ledger.note_paths(number, paths);
            let exit = wait_for_end(&mut events, number).await;
            leave(handle).await;
            Ok(if skipped && exit == Exit::Done { Exit::Partly } else { exit })
        }
    }
}

/// Waits until the device has heard that all is over: longer than there is time for when somebody stops the program.
async fn leave(handle: &Handle) {
    let mut over = handle.over.clone();
    let left = async { handle.commands.send(Command::Stop).await.is_ok() && over.wait_for(|over| *over).await.is_ok() };
    if timeout(LEAVE_TIMEOUT, left).await.is_err() {
        debug!("the other device may not know that all is over");
    }
}

impl Content {
    fn describe(&self) -> String {
        match self {
            Self::Text(_) => "the text".to_owned(),
            Self::Files { collected, .. } => {
                let total: u64 =
                    collected.entries.iter().map(lanyard_protocol::control::ManifestEntry::size_bytes).sum();
                match collected.entries.as_slice() {
                    [only] => format!("{} ({})", only.path(), bytes(total)),
                    entries => format!("{} files ({})", entries.len(), bytes(total)),
                }
            }
        }
    }
}

fn unreachable_agent(error: ControlError) -> Stop {
    Stop::new(Exit::Unreachable, error.to_string())
}
