//! `lanyard pair`: meets a device by code or link, and remembers it when its person agrees.

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::args::Pair;
use super::meeting_place::MeetingPlace;
use super::open::open;
use super::run::{OwnServer, Run, boot_id, start_mdns};
use super::{Settings, secret};
use crate::agent::trust;
use crate::discovery::mdns::Mdns;
use crate::exit::{Exit, Stop};
use crate::session::Handle;
use crate::terminal::{Console, display};

/// Meets, asks, remembers.
pub(super) async fn run(
    args: Pair,
    settings: Settings,
    console: &Console,
    stop: CancellationToken,
) -> Result<Exit, Stop> {
    let own = settings.own(console)?;
    let shows = args.code.is_none() && !secret::is_given(args.code_file.as_deref());
    let shown = if shows {
        None
    } else {
        let typed = secret::shown(args.code.as_deref(), args.code_file.as_deref(), console);
        tokio::select! {
            shown = typed => Some(shown?),
            () = stop.cancelled() => return Ok(Exit::Interrupted),
        }
    };
    let mdns = start_mdns(&settings, &boot_id(), console);
    let place = if shown.is_none() { Some(MeetingPlace::open(&settings, console).await?) } else { None };
    let run = Run::start(&settings, console, None, mdns.as_ref().map(Mdns::names), OwnServer::default());
    let pairing = async {
        let met = match (&shown, &place) {
            (Some(shown), _) => open(shown, &own, &run, &settings, mdns.as_ref()).await?,
            (None, Some(place)) => match settings.timeout {
                Some(limit) => timeout(limit, place.next_visitor(&own, &run))
                    .await
                    .map_err(|_| Stop::new(Exit::NotFound, "nobody came in time"))??,
                None => place.next_visitor(&own, &run).await?,
            },
            (None, None) => return Err(Stop::new(Exit::Failure, "there is no place to meet")),
        };
        remember(&run.admit(met).await?, console).await
    };
    let result = tokio::select! {
        result = pairing => result,
        () = stop.cancelled() => Ok(Exit::Interrupted),
    };
    run.finish().await;
    if let Some(place) = place {
        place.close().await;
    }
    if let Some(mdns) = mdns {
        mdns.shutdown().await;
    }
    result
}

async fn remember(handle: &Handle, console: &Console) -> Result<Exit, Stop> {
    console.say(&format!("Asking {} to remember this device.", display(&handle.who.name)));
    trust::remember(handle).await.map(|()| Exit::Done)
}
