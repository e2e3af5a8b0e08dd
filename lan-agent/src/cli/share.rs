//! `lanyard share`: a link for curl, wget and aria2.

use tokio_util::sync::CancellationToken;

use super::Settings;
use super::args::Share;
use super::run::{open_folder, page_address};
use crate::agent::home::Home;
use crate::agent::sharing::{ShareRequest, Shared, Sharing, next_event};
use crate::control::{ControlClient, ControlError, Reply, Request};
use crate::exit::{Exit, Stop};
use crate::paths;
use crate::share::{Registry, ShareEvent, routes};
use crate::terminal::{Console, ShareReporter, display};

/// Shares until it is stopped, or the link ends by itself.
pub(super) async fn run(
    args: Share,
    settings: Settings,
    console: &Console,
    stop: CancellationToken,
) -> Result<Exit, Stop> {
    let paths: Result<Vec<_>, _> = args.paths.iter().map(std::path::absolute).collect();
    let paths = paths.map_err(|error| Stop::new(Exit::Usage, error.to_string()))?;
    let names = match paths.as_slice() {
        [only] => only.file_name().map(|name| display(&name.to_string_lossy())).unwrap_or_default(),
        several => format!("{} files and folders", several.len()),
    };
    let request = ShareRequest {
        what: if args.upload { Shared::Upload } else { Shared::Files(paths) },
        once: args.once,
        lifetime_seconds: args.expires.0.as_secs(),
    };
    let mut following = Following {
        reporter: ShareReporter::new(console.clone(), settings.format),
        upload: args.upload,
        names,
        moved: false,
    };
    // A folder of its own is not that of the running agent.
    if args.output.is_none()
        && let Some(socket) = paths::control_socket()
        && let Some(agent) = ControlClient::connect(&socket).await.map_err(unreachable_agent)?
    {
        return tokio::select! {
            ended = following.by_agent(agent, request) => ended,
            () = stop.cancelled() => Ok(Exit::Done),
        };
    }
    let folder = match (args.upload, args.output.or(settings.dir.clone()).or_else(paths::default_receive_folder)) {
        (false, _) => None,
        (true, Some(path)) => Some(open_folder(&path)?),
        (true, None) => return Err(Stop::new(Exit::Usage, "name a receive folder: lanyard share --upload -o DIR")),
    };
    let registry = Registry::default();
    let home = Home::start_with(settings.port, Vec::new(), routes(registry.clone()));
    let home = home.await.map_err(|error| Stop::new(Exit::Unreachable, error.to_string()))?;
    let (base, _) = page_address(&settings, home.port, console);
    let sharing = Sharing { registry, base, folder };
    let ended = tokio::select! {
        ended = following.here(&sharing, request) => ended,
        () = stop.cancelled() => Ok(Exit::Done),
    };
    home.relay.shutdown().await;
    ended
}

/// Watches one link.
struct Following {
    reporter: ShareReporter,
    upload: bool,
    names: String,
    /// Whether anything was taken whole.
    moved: bool,
}

impl Following {
    async fn here(&mut self, sharing: &Sharing, request: ShareRequest) -> Result<Exit, Stop> {
        let link = sharing.open(request).await?;
        let mut events = link.events();
        self.reporter.begin(&sharing.address(&link), self.upload, &self.names);
        loop {
            if let Some(exit) = self.handle(&next_event(&link, &mut events).await) {
                return Ok(exit);
            }
        }
    }

    async fn by_agent(&mut self, mut agent: ControlClient, request: ShareRequest) -> Result<Exit, Stop> {
        agent.send(&Request::Share(request)).await.map_err(unreachable_agent)?;
        loop {
            match agent.next().await.map_err(unreachable_agent)? {
                Some(Reply::Shared { link }) => self.reporter.begin(&link, self.upload, &self.names),
                Some(Reply::Share { event }) => {
                    if let Some(exit) = self.handle(&event) {
                        return Ok(exit);
                    }
                }
                Some(Reply::Done { exit, message }) => {
                    return match message {
                        Some(message) => Err(Stop::new(Exit::from_number(exit), display(&message))),
                        None => Ok(Exit::from_number(exit)),
                    };
                }
                Some(_) => {}
                None => {
                    return Err(Stop::new(Exit::Unreachable, "the running agent has stopped, and the link with it"));
                }
            }
        }
    }

    /// How to end, once the link has.
    fn handle(&mut self, event: &ShareEvent) -> Option<Exit> {
        self.reporter.print(event);
        match event {
            ShareEvent::Done { .. } => self.moved = true,
            ShareEvent::Ended { .. } => return Some(if self.moved { Exit::Done } else { Exit::NotFound }),
            ShareEvent::Progress { .. } | ShareEvent::Changed { .. } | ShareEvent::Failed { .. } => {}
        }
        None
    }
}

fn unreachable_agent(error: ControlError) -> Stop {
    Stop::new(Exit::Unreachable, error.to_string())
}
