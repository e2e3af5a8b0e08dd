//! Waits for the devices that this one remembers, wherever they may come.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use lanyard_pairing::PublicKey;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;
use tracing::debug;

use super::Own;
use super::again::{AgainError, Bond, meet_again};
use super::event::Event;
use super::sessions::Sessions;
use crate::devices::{DeviceBook, Remembered};
use crate::discovery::registry::NearbyAgent;
use crate::session::Met;
use crate::signaling_client::{ServerUrl, SignalingClient};

/// How often it is looked whether another process changed the book.
const LOOK: Duration = Duration::from_secs(2);

/// Of two devices that see each other one calls first, so that they meet once. The other one waits so long, in case it
/// can reach what the first one cannot.
const POLITENESS: Duration = Duration::from_secs(3);

/// Servers of others at once. Further ones are not tried until a device has come or was forgotten.
const MAX_FAR_SERVERS: usize = 64;

/// A place to wait: our own server under an empty name, or addresses of another one.
type Place = Vec<String>;

/// Which device, with which secret, where.
type Wait = (Place, [u8; 32], [u8; 32]);

/// Everything it takes.
pub struct Reunion {
    /// Who this device is.
    pub own: Own,
    /// Whom it remembers.
    pub book: Arc<DeviceBook>,
    /// Who is there already.
    pub sessions: Sessions,
    /// This device's own server.
    pub home: SignalingClient,
    /// A relay where everybody may be.
    pub relay: Option<ServerUrl>,
    /// Agents on this network: a remembered one is tried by its door.
    pub agents: watch::Receiver<Arc<[NearbyAgent]>>,
}

impl Reunion {
    /// Waits until it is dropped.
    pub async fn run(mut self) {
        let mut clients: HashMap<Place, SignalingClient> = HashMap::new();
        let mut running: HashMap<Wait, AbortHandle> = HashMap::new();
        let mut waiting: JoinSet<(Wait, Place, Result<Met, AgainError>)> = JoinSet::new();
        let mut refused: HashSet<[u8; 32]> = HashSet::new();
        let (mut book, mut sessions) = (self.book.changes(), self.sessions.changes());
        loop {
            book.mark_unchanged();
            sessions.mark_unchanged();
            let wanted = self.wanted(&refused);
            running.retain(|wait, task| {
                let keep = wanted.contains_key(wait);
                if !keep {
                    task.abort();
                }
                keep
            });
            clients.retain(|place, _| wanted.keys().any(|(used, ..)| used == place));
            for (wait, device) in wanted {
                if running.contains_key(&wait) {
                    continue;
                }
                let place = wait.0.clone();
                let Some(client) = self.client(&place, &mut clients) else { continue };
                let (own, asker) = (self.own.clone(), self.sessions.context().asker.clone());
                let is_far = !place.is_empty();
                let waits_politely = is_far && self.own.identity.public_key().0 < device.key().0;
                let id = wait.clone();
                let task = waiting.spawn(async move {
                    if waits_politely {
                        sleep(POLITENESS).await;
                    }
                    let met = meet_again(&client, &Bond::Remembered(device.bond), &own, &asker).await;
                    (id, place, met)
                });
                running.insert(wait, task);
            }
            tokio::select! {
                Some(ended) = waiting.join_next() => {
                    let Ok((wait, place, met)) = ended else { continue };
                    running.remove(&wait);
                    match met {
                        Ok(met) => self.admit(met, place).await,
                        Err(AgainError::KeyChanged) => {
                            refused.insert(wait.1);
                            let name = self.book.with_key(&PublicKey(wait.1)).map(|device| device.name);
                            self.sessions.context().tell(Event::KeyChanged { name: name.unwrap_or_default() });
                        }
                        Err(AgainError::Signaling(error)) => {
                            debug!(%error, "cannot wait at a server");
                            clients.remove(&place);
                            sleep(LOOK).await;
                        }
                    }
                }
                _ = book.changed() => refused.clear(),
                Ok(()) = sessions.changed() => {}
                Ok(()) = self.agents.changed() => {}
                () = sleep(LOOK) => self.book.refresh(),
            }
        }
    }

    /// At home for each device; elsewhere for those that are not connected.
    fn wanted(&mut self, refused: &HashSet<[u8; 32]>) -> HashMap<Wait, Remembered> {
        let linked: HashSet<[u8; 32]> = self
            .sessions
            .all()
            .into_iter()
            .filter(|handle| *handle.linked.borrow())
            .map(|handle| handle.key.0)
            .collect();
        let agents = self.agents.borrow_and_update().clone();
        let mut wanted = HashMap::new();
        let mut far = HashSet::new();
        for device in self.book.all() {
            let key = device.key().0;
            if refused.contains(&key) {
                continue;
            }
            let mut places = vec![Place::new()];
            if !linked.contains(&key) {
                places.extend(places_of(&device, &agents, self.relay.as_ref()));
            }
            for place in places {
                if !place.is_empty() && !far.contains(&place) && far.len() >= MAX_FAR_SERVERS {
                    continue;
                }
                far.insert(place.clone());
                wanted.insert((place, key, *device.bond.pair_secret()), device.clone());
            }
        }
        wanted
    }

    fn client(&self, place: &Place, clients: &mut HashMap<Place, SignalingClient>) -> Option<SignalingClient> {
        if place.is_empty() {
            return Some(self.home.clone());
        }
        if let Some(client) = clients.get(place) {
            return Some(client.clone());
        }
        let client = connect(place)?;
        clients.insert(place.clone(), client.clone());
        Some(client)
    }

    async fn admit(&self, met: Met, place: Place) {
        let key = met.session.peer_key();
        if let Some(server) = place.first()
            && let Err(error) = self.book.note_server(&key, server)
        {
            debug!(%error, "cannot note where a device was met");
        }
        if let Err(error) = self.sessions.admit(met).await {
            self.sessions.context().tell(error.into());
        }
    }
}

/// Where a device may be met besides our own server: each place is one server, under one or several addresses.
#[must_use]
pub fn places_of(device: &Remembered, agents: &[NearbyAgent], relay: Option<&ServerUrl>) -> Vec<Vec<String>> {
    let mut places: Vec<Place> = Vec::new();
    let mut add = |place: Place| {
        if !place.is_empty() && !places.contains(&place) {
            places.push(place);
        }
    };
    // A name proves nothing: it says only where it is worth trying.
    for agent in agents.iter().filter(|agent| device.native && agent.name.to_lowercase() == device.name.to_lowercase())
    {
        let urls = agent.addresses.iter().map(|address| ServerUrl::of_agent(*address, agent.port).to_string());
        add(urls.collect());
    }
    for server in device.servers.iter().cloned().chain(relay.map(ToString::to_string)) {
        add(vec![server]);
    }
    places
}

/// A client of the server at a place.
#[must_use]
pub fn connect(place: &[String]) -> Option<SignalingClient> {
    let urls: Vec<ServerUrl> = place.iter().filter_map(|url| ServerUrl::of_page(url).ok()).collect();
    if urls.is_empty() {
        return None;
    }
    let (client, _rings) = SignalingClient::connect(urls, None);
    Some(client)
}
