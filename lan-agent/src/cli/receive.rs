//! `lanyard receive`: opens the code or link that another device shows, and takes what it offers.

use std::time::Duration;

use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;

use super::args::Receive;
use super::open::open;
use super::run::{OwnServer, Run, boot_id, open_folder, start_mdns};
use super::{Settings, secret};
use crate::agent::event::{Direction, Event};
use crate::discovery::mdns::Mdns;
use crate::exit::{Exit, Stop};
use crate::session::Handle;
use crate::terminal::Console;

/// How long the other device may take to offer something.
const OFFER_TIMEOUT: Duration = Duration::from_secs(600);

/// After the last transfer, how long another one is waited for: a sender may offer several.
const MORE: Duration = Duration::from_millis(300);

/// Receives, and returns once everything offered is there and checked.
pub(super) async fn run(
    args: Receive,
    settings: Settings,
    console: &Console,
    stop: CancellationToken,
) -> Result<Exit, Stop> {
    let path = args.output.or_else(|| settings.dir.clone()).unwrap_or_else(|| ".".into());
    let folder = open_folder(&path)?;
    let own = settings.own(console)?;
    let shown = tokio::select! {
        shown = secret::shown(args.code.as_deref(), args.code_file.as_deref(), console) => shown?,
        () = stop.cancelled() => return Ok(Exit::Interrupted),
    };
    let mdns = start_mdns(&settings, &boot_id(), console);
    let run = Run::start(&settings, console, Some(folder), mdns.as_ref().map(Mdns::names), OwnServer::default());
    let mut events = run.context.events.subscribe();
    let receiving = async {
        let met = open(&shown, &own, &run, &settings, mdns.as_ref()).await?;
        let handle = run.admit(met).await?;
        wait(&mut events, &handle, settings.timeout.unwrap_or(OFFER_TIMEOUT)).await
    };
    let result = tokio::select! {
        result = receiving => result,
        () = stop.cancelled() => {
            console.complain("Stopped. What arrived is kept for seven days; receive again to carry on.");
            Ok(Exit::Interrupted)
        }
    };
    run.finish().await;
    if let Some(mdns) = mdns {
        mdns.shutdown().await;
    }
    result
}

/// Waits until something was received and nothing more is under way.
async fn wait(events: &mut broadcast::Receiver<Event>, handle: &Handle, limit: Duration) -> Result<Exit, Stop> {
    let mut open = 0_u32;
    let mut worst = None;
    let mut over = handle.over.clone();
    loop {
        let patience = if open > 0 {
            Duration::MAX
        } else if worst.is_some() {
            MORE
        } else {
            limit
        };
        let event = tokio::select! {
            event = events.recv() => match event {
                Ok(event) => event,
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return Ok(worst.unwrap_or(Exit::Failure)),
            },
            // What happened last is in the queue still.
            _ = over.wait_for(|over| *over), if events.is_empty() => {
                return worst.ok_or_else(|| Stop::new(Exit::NotFound, "the other device left without sending anything"));
            }
            () = tokio::time::sleep(patience.min(Duration::from_secs(1 << 30))) => {
                return worst.ok_or_else(|| Stop::new(Exit::NotFound, "the other device offered nothing in time"));
            }
        };
        match event {
            Event::Offered { direction: Direction::Receiving, .. } => open += 1,
            Event::Finished { outcome, .. } => {
                open = open.saturating_sub(1);
                let exit = Exit::from(&outcome);
                worst = Some(worst.filter(|worst| *worst != Exit::Done).unwrap_or(exit));
            }
            Event::Text { .. } => worst = worst.or(Some(Exit::Done)),
            Event::Offered { .. }
            | Event::Started { .. }
            | Event::Link { .. }
            | Event::Code { .. }
            | Event::Nearby { .. }
            | Event::Met { .. }
            | Event::Remembered { .. }
            | Event::KeyChanged { .. }
            | Event::Connected { .. }
            | Event::Waiting { .. }
            | Event::Interrupted { .. }
            | Event::Left { .. }
            | Event::Accepted { .. }
            | Event::Download { .. }
            | Event::Progress { .. }
            | Event::File { .. }
            | Event::FileFailed { .. }
            | Event::TextDelivered { .. }
            | Event::Warning { .. }
            | Event::Stopping => {}
        }
    }
}
