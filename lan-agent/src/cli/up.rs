//! `lanyard up`: everything at once, until it is stopped.

use std::sync::Arc;
use std::time::Duration;

use lanyard_protocol::signaling::{ListedDevice, ListingSource, Platform};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Settings;
use super::args::Up;
use super::run::{OwnServer, Run, boot_id, open_folder, page_address, start_mdns};
use super::settings::Relay;
use crate::agent::code::{self, ShownCode};
use crate::agent::event::Event;
use crate::agent::home::Home;
use crate::agent::reunion::Reunion;
use crate::agent::rotation::{self, Door, ShownLink};
use crate::agent::sessions::Sessions;
use crate::agent::sharing::Sharing;
use crate::agent::{Own, nearby};
use crate::control::{ControlListener, ListenError, Status};
use crate::discovery::mdns::Mdns;
use crate::discovery::registry::NearbyAgent;
use crate::exit::{Exit, Stop};
use crate::paths;
use crate::session::Met;
use crate::share::{Registry, routes};
use crate::signaling_client::{ServerUrl, SignalingClient};
use crate::terminal::Console;

/// Listed as long as the agent runs; the server takes no end for its own agent.
const LISTED_SECONDS: u32 = 600;

/// How long a relay may take before the QR code leads to this device itself.
const RELAY_PATIENCE: Duration = Duration::from_secs(4);

/// Calls of our pages to other agents that are passed on at once.
const BRIDGES: usize = 16;

/// People who are asked about pictures at once.
const PICTURE_PROMPTS: usize = 3;

/// Runs the agent.
pub(super) async fn run(
    args: Up,
    settings: Settings,
    console: &Console,
    stop: CancellationToken,
) -> Result<Exit, Stop> {
    let path = args.dir.or_else(|| settings.dir.clone()).or_else(paths::default_receive_folder);
    let path = path.ok_or_else(|| Stop::new(Exit::Usage, "name a receive folder: lanyard up DIR"))?;
    let folder = open_folder(&path)?;
    let own = settings.own(console)?;
    let control = listen(console)?;
    let boot_id = boot_id();
    let shares = Registry::default();
    let mut home = Home::start_with(settings.port, Vec::new(), routes(shares.clone()))
        .await
        .map_err(|error| Stop::new(Exit::Unreachable, error.to_string()))?;
    let mut mdns = start_mdns(&settings, &boot_id, console);
    if let Some(mdns) = &mut mdns
        && let Err(error) = mdns.announce(&own.name, &boot_id, home.port, &settings.interfaces())
    {
        console.complain(&format!("{error}. Links and QR codes work."));
    }
    let (base, addresses) = page_address(&settings, home.port, console);
    let doors = addresses.iter().map(|address| ServerUrl::of_agent(*address, home.port).to_string());
    let doors = doors.take(lanyard_protocol::limits::DOORS).collect();
    let server = OwnServer { doors, links: Some(shares.clone()) };
    let run = Run::start(&settings, console, Some(folder.clone()), mdns.as_ref().map(Mdns::names), server);
    run.context.tell(Event::Started {
        name: own.name.clone(),
        port: home.port,
        addresses,
        receive_folder: Some(folder.path().display().to_string()),
        accept: run.context.accept.to_string(),
    });
    let agents = mdns.as_ref().map_or_else(no_agents, Mdns::nearby);
    if let Some(file) = paths::history_file()
        && let Err(error) = crate::agent::history::shorten(&file)
    {
        debug!(%error, "cannot shorten the history");
    }
    let (shown, shown_code) = (ShownLink::new(None), ShownCode::new(None));

    let mut tasks = JoinSet::new();
    tasks.spawn(tell_agents(agents.clone(), run.context.events.clone()));
    tasks.spawn(list_for_pages(home.client.clone(), run.sessions.clone(), run.nearby.clone()));
    let status = Status {
        name: own.name.clone(),
        port: home.port,
        link: None,
        code: None,
        receive_folder: Some(folder.path().to_owned()),
    };
    if let Some(control) = control {
        let desk = crate::agent::desk::Desk {
            sessions: run.sessions.clone(),
            agents: agents.clone(),
            own: own.clone(),
            link: shown.subscribe(),
            code: shown_code.subscribe(),
            ledger: run.ledger.clone(),
            board: run.board.clone(),
            sharing: Sharing { registry: shares, base: base.clone(), folder: Some(folder.clone()) },
            status,
        };
        tasks.spawn(desk.serve(control));
    }
    if let Some(book) = run.context.book.clone() {
        let reunion = Reunion {
            own: own.clone(),
            book,
            sessions: run.sessions.clone(),
            home: home.client.clone(),
            relay: settings.relay.as_ref().map(|relay| relay.url.clone()),
            agents: agents.clone(),
        };
        tasks.spawn(reunion.run());
    }
    let relay_door = match &settings.relay {
        Some(relay) => Some(open_relay_door(relay, console).await),
        None => None,
    };
    let door = Door { base, relay: false, qr: relay_door.as_ref().is_none_or(|(_, relay)| !relay.qr) };
    let doors = relay_door.into_iter().map(|(client, door)| (client, door, ShownLink::new(None), ShownCode::new(None)));
    for (client, door, link, code) in doors.chain([(home.client.clone(), door, shown, shown_code)]) {
        let server = door.relay.then(|| door.base.clone());
        tasks.spawn(show_codes(client.clone(), server.clone(), own.clone(), run.sessions.clone(), code));
        tasks.spawn(show_links(client, server, door, own.clone(), run.sessions.clone(), link));
    }
    // Listing this device is what the nearby list of its pages begins with.
    let _ = home.client.announce(own.name.clone(), Platform::Computer, LISTED_SECONDS).await;
    let relay = serve_calls(&mut home, agents, &own, &run.sessions, &stop).await;
    debug!(?relay, "stopping");

    run.context.tell(Event::Stopping);
    tasks.shutdown().await;
    if let Some(mdns) = mdns {
        mdns.shutdown().await;
    }
    run.finish().await;
    home.relay.shutdown().await;
    Ok(Exit::Done)
}

/// The control socket; without a place for one the agent runs all the same.
fn listen(console: &Console) -> Result<Option<ControlListener>, Stop> {
    let Some(path) = paths::control_socket() else { return Ok(None) };
    match ControlListener::bind(&path) {
        Ok(listener) => Ok(Some(listener)),
        Err(error @ ListenError::AlreadyRunning) => Err(Stop::new(Exit::Failure, error.to_string())),
        Err(error @ ListenError::Io { .. }) => {
            console.complain(&format!("{error}. Other commands will not reach this agent."));
            Ok(None)
        }
    }
}

fn no_agents() -> watch::Receiver<Arc<[NearbyAgent]>> {
    watch::channel(Arc::from([])).1
}

async fn tell_agents(mut agents: watch::Receiver<Arc<[NearbyAgent]>>, events: broadcast::Sender<Event>) {
    while agents.changed().await.is_ok() {
        let now = agents.borrow_and_update().to_vec();
        let _ = events.send(Event::Nearby { agents: now });
    }
}

/// Composes what pages that came by the link are told of: each other, and the agents that this one fronts.
async fn list_for_pages(client: SignalingClient, sessions: Sessions, list: watch::Sender<Arc<[ListedDevice]>>) {
    let (mut at_server, mut changes) = (client.nearby(), sessions.changes());
    loop {
        let fronted = at_server.borrow_and_update().clone().unwrap_or_default();
        changes.mark_unchanged();
        let fronted = fronted.into_iter().filter(|listed| listed.source == ListingSource::Mdns);
        let all: Arc<[ListedDevice]> = sessions.linked_pages().into_iter().chain(fronted).collect();
        list.send_if_modified(|old| {
            let new = **old != *all;
            if new {
                *old = all;
            }
            new
        });
        tokio::select! {
            changed = at_server.changed() => if changed.is_err() { return },
            changed = changes.changed() => if changed.is_err() { return },
        }
    }
}

/// The relay's page as a door beside our own. The QR code leads to it if it answers: it is the one from which a page can
/// do the most, and it works from everywhere. If not, its link is shown as soon as it does.
async fn open_relay_door(relay: &Relay, console: &Console) -> (SignalingClient, Door) {
    let (client, _no_rings) = SignalingClient::connect(vec![relay.url.clone()], None);
    let reached = tokio::time::timeout(RELAY_PATIENCE, client.device()).await.is_ok_and(|device| device.is_ok());
    if !reached {
        console.complain(&format!(
            "The relay {} cannot be reached now. Devices on this network can come; it is tried again.",
            relay.base
        ));
    }
    (client, Door { base: relay.base.clone(), relay: true, qr: reached })
}

/// Shows a code, lets in who types it, shows the next. `server`: where that is, if not here.
async fn show_codes(client: SignalingClient, server: Option<String>, own: Own, sessions: Sessions, shown: ShownCode) {
    let context = sessions.context().clone();
    loop {
        let met = code::next_typer(&client, server.is_some(), &own, &context, &context.asker, &shown).await;
        admit(&sessions, Met { server: server.clone(), ..met }).await;
    }
}

/// Shows a link, lets in who opens it, shows the next. `server`: where that is, if not here.
async fn show_links(
    client: SignalingClient,
    server: Option<String>,
    door: Door,
    own: Own,
    sessions: Sessions,
    shown: ShownLink,
) {
    let context = sessions.context().clone();
    loop {
        match rotation::next_opener(&client, &door, &own, &context, &context.asker, &shown).await {
            Ok(met) => admit(&sessions, Met { server: server.clone(), ..met }).await,
            Err(error) => {
                context.tell(Event::Warning { message: format!("No link can be shown: {error}.") });
                return;
            }
        }
    }
}

async fn admit(sessions: &Sessions, met: Met) {
    if let Err(error) = sessions.admit(met).await {
        sessions.context().tell(error.into());
    }
}

/// Takes calls from nearby devices, and passes our pages' calls on to other agents, until the agent is stopped.
async fn serve_calls(
    home: &mut Home,
    mut agents: watch::Receiver<Arc<[NearbyAgent]>>,
    own: &Own,
    sessions: &Sessions,
    stop: &CancellationToken,
) -> Option<()> {
    let mut answering = JoinSet::new();
    let mut bridges = JoinSet::new();
    let mut agents_open = true;
    home.relay.set_fronted(nearby::fronted(&agents.borrow_and_update())).await;
    loop {
        tokio::select! {
            () = stop.cancelled() => return Some(()),
            changed = agents.changed(), if agents_open => {
                agents_open = changed.is_ok();
                let fronted = nearby::fronted(&agents.borrow_and_update());
                home.relay.set_fronted(fronted).await;
            }
            ring = home.rings.recv() => {
                let mailbox = ring?;
                if answering.len() >= PICTURE_PROMPTS {
                    debug!("turned away a call: enough people are asked already");
                    continue;
                }
                let (client, own, sessions) = (home.client.clone(), own.clone(), sessions.clone());
                answering.spawn(async move {
                    let asker = sessions.context().asker.clone();
                    match nearby::answer(&client, mailbox, &own, &asker).await {
                        Ok(met) => admit(&sessions, met).await,
                        Err(error) => sessions.context().tell(Event::Warning { message: format!("{error}.") }),
                    }
                });
            }
            call = home.relay.next_fronted_call() => {
                let call = call?;
                // A call that is dropped is told that the device takes none now.
                if bridges.len() < BRIDGES {
                    bridges.spawn(nearby::bridge(call, agents.borrow().clone(), home.client.clone()));
                }
            }
            Some(_) = answering.join_next() => {}
            Some(_) = bridges.join_next() => {}
        }
    }
}
