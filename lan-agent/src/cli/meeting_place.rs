//! Where a command that shows a link and a code waits: at a relay, or at a server of its own.

use super::Settings;
use super::run::{Run, page_address};
use crate::agent::Own;
use crate::agent::code::{self, ShownCode};
use crate::agent::home::Home;
use crate::agent::rotation::{self, Door, ShownLink};
use crate::exit::{Exit, Stop};
use crate::session::Met;
use crate::share::{Registry, routes};
use crate::signaling_client::SignalingClient;
use crate::terminal::Console;

/// A server that others are sent to.
pub(super) struct MeetingPlace {
    client: SignalingClient,
    door: Door,
    home: Option<OwnHome>,
}

/// A server of our own.
struct OwnHome {
    home: Home,
    links: Registry,
}

impl MeetingPlace {
    /// The relay that was named; else a server of our own.
    ///
    /// # Errors
    /// No port could be taken.
    pub(super) async fn open(settings: &Settings, console: &Console) -> Result<Self, Stop> {
        if let Some(relay) = &settings.relay {
            let (client, _rings) = SignalingClient::connect(vec![relay.url.clone()], None);
            client.device().await.map_err(|error| {
                Stop::new(Exit::Unreachable, format!("the relay {} cannot be reached: {error}", relay.base))
            })?;
            let door = Door { base: relay.base.clone(), relay: true, qr: true };
            return Ok(Self { client, door, home: None });
        }
        let links = Registry::default();
        let home = Home::start_with(settings.port, Vec::new(), routes(links.clone()))
            .await
            .map_err(|error| Stop::new(Exit::Unreachable, error.to_string()))?;
        let (base, _) = page_address(settings, home.port, console);
        let door = Door { base, relay: false, qr: true };
        Ok(Self { client: home.client.clone(), door, home: Some(OwnHome { home, links }) })
    }

    /// Where links can be made for pages of our own server.
    pub(super) fn links(&self) -> Option<Registry> {
        self.home.as_ref().map(|own| own.links.clone())
    }

    /// Shows a link and a code and waits for the first device that opens the one or types the other.
    ///
    /// # Errors
    /// No link can be made for this address.
    pub(super) async fn next_visitor(&self, own: &Own, run: &Run) -> Result<Met, Stop> {
        let asker = &run.context.asker;
        let (link, code) = (ShownLink::new(None), ShownCode::new(None));
        tokio::select! {
            met = rotation::next_opener(&self.client, &self.door, own, &run.context, asker, &link) => {
                met.map_err(|error| Stop::new(Exit::Failure, error.to_string()))
            }
            met = code::next_typer(&self.client, self.door.relay, own, &run.context, asker, &code) => Ok(met),
        }
    }

    /// Ends the server, if it is ours.
    pub(super) async fn close(self) {
        if let Some(OwnHome { home, .. }) = self.home {
            home.relay.shutdown().await;
        }
    }
}
