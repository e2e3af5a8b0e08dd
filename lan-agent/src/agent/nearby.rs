//! Devices without a link: other agents on this network, calls from them, and calls from our pages to them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use lanyard_pairing::{MailboxId as PairingMailbox, Pairing, Role};
use lanyard_protocol::signaling::{ListedDevice, ListingSource, Platform};
use lanyard_protocol::{DeviceId, MailboxId};
use lanyard_relay::{Fronted, FrontedCall};
use tokio::time::timeout;
use tracing::debug;

use super::Own;
use super::question::Asker;
use crate::discovery::registry::NearbyAgent;
use crate::session::{MeetError, Met, meet};
use crate::signaling_client::{Mailbox, MailboxEvent, ServerUrl, SignalingClient, SignalingError};

/// How long another agent may take to say who it is.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);

/// Why another agent could not be called.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// It does not answer, or does not list itself.
    #[error("{name} does not answer; check that both devices are on the same network and no firewall is in between")]
    NoAnswer {
        /// What it calls itself.
        name: String,
    },
    /// It speaks another version.
    #[error("{name} runs another version of Lanyard; update both devices")]
    Incompatible {
        /// What it calls itself.
        name: String,
    },
    /// Its server said no.
    #[error(transparent)]
    Signaling(#[from] SignalingError),
    /// The two did not meet.
    #[error(transparent)]
    Meet(#[from] MeetError),
}

/// A connection to another agent's server, and where to meet it.
struct Rung {
    client: SignalingClient,
    mailbox: MailboxId,
}

/// Calls an agent. People on both sides compare pictures.
///
/// # Errors
/// See [`CallError`].
pub async fn call(agent: &NearbyAgent, own: &Own, asker: &Asker) -> Result<Met, CallError> {
    let Rung { client, mailbox } = ring(agent).await?;
    let joined = client.join(mailbox).await?;
    let pairing = nearby_pairing(own, Role::Initiator, mailbox);
    Ok(meet(joined, pairing, asker, &agent.name, Some(ANSWER_TIMEOUT)).await?)
}

/// Takes a call: this device's person picks the pictures.
///
/// # Errors
/// The two did not meet.
pub async fn answer(client: &SignalingClient, mailbox: MailboxId, own: &Own, asker: &Asker) -> Result<Met, CallError> {
    let joined = client.join(mailbox).await?;
    let pairing = nearby_pairing(own, Role::Responder, mailbox);
    Ok(meet(joined, pairing, asker, "A device nearby", Some(ANSWER_TIMEOUT)).await?)
}

/// Rings the agent at its own server and returns where to meet.
async fn ring(agent: &NearbyAgent) -> Result<Rung, CallError> {
    let no_answer = || CallError::NoAnswer { name: agent.name.clone() };
    if lanyard_protocol::check_version(agent.protocol_version).is_err() {
        return Err(CallError::Incompatible { name: agent.name.clone() });
    }
    let urls = agent.addresses.iter().map(|address| ServerUrl::of_agent(*address, agent.port)).collect();
    let (client, _rings) = SignalingClient::connect(urls, None);
    let mut nearby = client.nearby();
    let listed = timeout(ANSWER_TIMEOUT, nearby.wait_for(|list| list.as_deref().is_some_and(|l| itself(l).is_some())));
    let device = {
        let list = listed.await.map_err(|_| no_answer())?.map_err(|_| no_answer())?;
        list.as_deref().and_then(itself).ok_or_else(no_answer)?
    };
    let mailbox = client.dial(device).await?;
    Ok(Rung { client, mailbox })
}

/// The agent among the devices listed at its own server.
fn itself(list: &[ListedDevice]) -> Option<DeviceId> {
    list.iter().find(|listed| listed.source == ListingSource::ThisAgent).map(|listed| listed.device)
}

fn nearby_pairing(own: &Own, role: Role, mailbox: MailboxId) -> Pairing {
    Pairing::nearby(role, PairingMailbox(mailbox.0), &own.identity, own.profile(), &mut rand::rng())
}

/// How agents are listed to our own pages.
#[must_use]
pub fn fronted(agents: &[NearbyAgent]) -> Vec<Fronted> {
    let front = |agent: &NearbyAgent| Fronted {
        key: agent.boot_id.clone(),
        name: agent.name.clone(),
        platform: Platform::Computer,
    };
    agents.iter().map(front).collect()
}

/// Joins one of our pages with the agent it dialled: rings that agent, and passes sealed bodies on until one side goes.
pub async fn bridge(call: FrontedCall, agents: Arc<[NearbyAgent]>, own_client: SignalingClient) {
    let by_id: HashMap<&str, &NearbyAgent> = agents.iter().map(|agent| (agent.boot_id.as_str(), agent)).collect();
    let Some(agent) = by_id.get(call.key.as_str()) else { return };
    let bridged = async {
        let Rung { client, mailbox } = ring(agent).await?;
        call.answer(mailbox).await;
        let far = client.join(mailbox).await?;
        let near = own_client.join(mailbox).await?;
        pass_on(near, far).await;
        Ok::<(), CallError>(())
    };
    if let Err(error) = bridged.await {
        debug!(%error, "could not join a page with the agent it called");
    }
}

async fn pass_on(mut near: Mailbox, mut far: Mailbox) {
    use lanyard_protocol::signaling::PresenceState;
    let mut near_peer = near.others().first().copied();
    let mut far_peer = far.others().first().copied();
    // What came before the side it is for.
    let (mut for_near, mut for_far) = (Vec::new(), Vec::new());
    loop {
        tokio::select! {
            event = near.next() => match event {
                Some(MailboxEvent::Message { from, body }) => {
                    near_peer = Some(from);
                    for_far.push(body);
                }
                Some(MailboxEvent::Presence { member, state: PresenceState::Joined | PresenceState::Back }) => {
                    near_peer = Some(member);
                }
                Some(MailboxEvent::Presence { state: PresenceState::Away, .. } | MailboxEvent::NotCarried | MailboxEvent::Returned { .. }) => {}
                Some(MailboxEvent::Presence { state: PresenceState::Left, .. } | MailboxEvent::Crowded | MailboxEvent::Gone)
                | None => return,
            },
            event = far.next() => match event {
                Some(MailboxEvent::Message { from, body }) => {
                    far_peer = Some(from);
                    for_near.push(body);
                }
                Some(MailboxEvent::Presence { member, state: PresenceState::Joined | PresenceState::Back }) => {
                    far_peer = Some(member);
                }
                Some(MailboxEvent::Presence { state: PresenceState::Away, .. } | MailboxEvent::NotCarried | MailboxEvent::Returned { .. }) => {}
                Some(MailboxEvent::Presence { state: PresenceState::Left, .. } | MailboxEvent::Crowded | MailboxEvent::Gone)
                | None => return,
            },
        }
        for (mailbox, peer, bodies) in [(&near, near_peer, &mut for_near), (&far, far_peer, &mut for_far)] {
            let Some(peer) = peer else { continue };
            for body in bodies.drain(..) {
                if mailbox.sender().send(peer, body).await.is_err() {
                    return;
                }
            }
        }
        // A handshake has a handful of messages; nobody who is absent is waited for with more.
        if for_near.len() > 16 || for_far.len() > 16 {
            return;
        }
    }
}
