//! Opens what another device shows: its link, or its code, whose server has to be found first.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use lanyard_pairing::{Code, Link, Pairing};
use lanyard_protocol::signaling::ErrorCode;
use lanyard_protocol::{MailboxId, Nameplate};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::Settings;
use super::run::Run;
use super::secret::Shown;
use crate::agent::Own;
use crate::control::{ControlClient, Reply, Request};
use crate::discovery::mdns::Mdns;
use crate::exit::{Exit, Stop};
use crate::paths;
use crate::session::{MeetError, Met, meet};
use crate::signaling_client::{ServerUrl, SignalingClient, SignalingError};

/// How long the device that shows something may take to answer.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// How long servers are looked for that may know a code.
const FIND_TIMEOUT: Duration = Duration::from_secs(5);

/// After one server knew the number, how long others are waited for: two codes may have the same one.
const OTHERS: Duration = Duration::from_millis(500);

/// Servers asked for one code.
const SERVERS: usize = 32;

/// Meets the device that shows a code or link.
///
/// # Errors
/// Its server cannot be reached, or the code or link is wrong, used up or too old.
pub(super) async fn open(
    shown: &Shown,
    own: &Own,
    run: &Run,
    settings: &Settings,
    mdns: Option<&Mdns>,
) -> Result<Met, Stop> {
    let patience = settings.timeout.unwrap_or(OPEN_TIMEOUT);
    let (met, server) = match shown {
        Shown::Link(link) => {
            let mailbox = at_link(link).await?;
            let pairing = Pairing::open_link(&own.identity, link, own.profile(), &mut rand::rng());
            (meet(mailbox, pairing, &run.context.asker, "", Some(patience)).await, link.base().to_owned())
        }
        Shown::Code(code) => {
            let (mailbox, server) = at_code(code, settings, mdns, patience.min(FIND_TIMEOUT)).await?;
            let pairing = Pairing::type_code(&own.identity, code, own.profile(), &mut rand::rng());
            (meet(mailbox, pairing, &run.context.asker, "", Some(patience)).await, server)
        }
    };
    let met = met.map(|met| met.at(server));
    met.map_err(|error| {
        let exit = match error {
            // Who showed it left: it was used by somebody else, or is too old.
            MeetError::Pairing(_) | MeetError::Crowded | MeetError::Gone => Exit::WrongSecret,
            MeetError::TimedOut => Exit::NotFound,
            MeetError::Signaling(_) => Exit::Unreachable,
        };
        Stop::new(exit, error.to_string())
    })
}

async fn at_link(link: &Link) -> Result<crate::signaling_client::Mailbox, Stop> {
    let url = ServerUrl::of_page(link.base()).map_err(|error| Stop::new(Exit::WrongSecret, error.to_string()))?;
    let (client, _rings) = SignalingClient::connect(vec![url], None);
    join(&client, MailboxId(link.secret().mailbox().0), "link").await
}

/// Joins where the shower waits.
async fn join(
    client: &SignalingClient,
    mailbox: MailboxId,
    what: &str,
) -> Result<crate::signaling_client::Mailbox, Stop> {
    let joined = client.join(mailbox).await.map_err(|error| {
        let exit = match error {
            SignalingError::Crowded | SignalingError::Refused { .. } => Exit::WrongSecret,
            SignalingError::Ended | SignalingError::NoAnswer => Exit::Unreachable,
        };
        Stop::new(exit, format!("the device that shows the {what} cannot be reached: {error}"))
    })?;
    if joined.others().is_empty() {
        let message = format!("nobody waits at this {what} any more: it was used, or is too old. Ask for a new one.");
        return Err(Stop::new(Exit::WrongSecret, message));
    }
    Ok(joined)
}

/// Asks every server that may know the code: the relay, this device's own agent, and the agents on this network.
async fn at_code(
    code: &Code,
    settings: &Settings,
    mdns: Option<&Mdns>,
    patience: Duration,
) -> Result<(crate::signaling_client::Mailbox, String), Stop> {
    // `Code` has checked the digits.
    let nameplate = Nameplate::try_from(code.nameplate().to_owned())
        .map_err(|error| Stop::new(Exit::WrongSecret, error.to_string()))?;
    let mut asking = JoinSet::new();
    let mut asked: Vec<Vec<ServerUrl>> = Vec::new();
    let mut ask = |asking: &mut JoinSet<_>, urls: Vec<ServerUrl>| {
        if !urls.is_empty() && asked.len() < SERVERS && !asked.contains(&urls) {
            asked.push(urls.clone());
            asking.spawn(claim(urls, nameplate.clone()));
        }
    };
    if let Some(relay) = &settings.relay {
        ask(&mut asking, vec![relay.url.clone()]);
    }
    if let Some(own) = own_agent().await {
        ask(&mut asking, vec![own]);
    }
    let mut agents = mdns.map(Mdns::nearby);
    let mut deadline = Instant::now() + patience;
    let (mut found, mut refused) = (Vec::<Claimed>::new(), Vec::new());
    loop {
        if let Some(agents) = &mut agents {
            for agent in agents.borrow_and_update().iter() {
                let urls = agent.addresses.iter().map(|address| ServerUrl::of_agent(*address, agent.port));
                ask(&mut asking, urls.collect());
            }
        }
        tokio::select! {
            Some(answer) = asking.join_next() => match answer {
                Ok(Ok(place)) => {
                    // One server under two addresses names the same mailbox.
                    if !found.iter().any(|(_, mailbox, _)| *mailbox == place.1) {
                        found.push(place);
                    }
                    deadline = deadline.min(Instant::now() + OTHERS);
                }
                Ok(Err(error)) => refused.push(error),
                Err(_) => {}
            },
            () = changed(&mut agents) => {}
            () = sleep_until(deadline) => break,
        }
        // The relay was named, so nobody else is meant; it is the whole answer.
        if settings.relay.is_some() && asking.is_empty() && !(found.is_empty() && refused.is_empty()) {
            break;
        }
    }
    match (found.pop(), found.is_empty()) {
        (Some((client, mailbox, server)), true) => Ok((join(&client, mailbox, "code").await?, server)),
        (Some(_), false) => Err(Stop::new(
            Exit::WrongSecret,
            "two devices here show a code with this number. It was not tried; scan the QR code or open the link instead",
        )),
        (None, _) => Err(no_code(refused)),
    }
}

/// What is said when no server knows the code: the clearest of the answers.
fn no_code(refused: Vec<SignalingError>) -> Stop {
    let rank = |error: &SignalingError| match error {
        SignalingError::Refused { code: ErrorCode::NameplateUsed | ErrorCode::NameplateExpired, .. } => 3,
        SignalingError::Refused { code: ErrorCode::RateLimited, .. } => 2,
        SignalingError::Refused { .. } | SignalingError::Crowded => 1,
        SignalingError::Ended | SignalingError::NoAnswer => 0,
    };
    match refused.into_iter().max_by_key(rank) {
        Some(SignalingError::Refused { message, .. }) => Stop::new(Exit::WrongSecret, message),
        Some(error @ SignalingError::Crowded) => Stop::new(Exit::WrongSecret, error.to_string()),
        Some(SignalingError::Ended | SignalingError::NoAnswer) | None => Stop::new(
            Exit::Unreachable,
            "no device on this network answers for this code. Is the other device on the same network? Else name the \
             relay it uses with --relay, or open its link",
        ),
    }
}

/// A server that knows the code, where it leads there, and the server's address.
type Claimed = (SignalingClient, MailboxId, String);

async fn claim(urls: Vec<ServerUrl>, nameplate: Nameplate) -> Result<Claimed, SignalingError> {
    let server = urls.first().map(ToString::to_string).unwrap_or_default();
    let (client, _rings) = SignalingClient::connect(urls, None);
    let mailbox = client.claim(nameplate).await?;
    Ok((client, mailbox, server))
}

/// The server of this person's running agent.
async fn own_agent() -> Option<ServerUrl> {
    let socket = paths::control_socket()?;
    let mut agent = ControlClient::connect(&socket).await.ok()??;
    agent.send(&Request::Status).await.ok()?;
    match timeout(Duration::from_secs(1), agent.next()).await {
        Ok(Ok(Some(Reply::Status(status)))) => Some(ServerUrl::of_agent(IpAddr::V4(Ipv4Addr::LOCALHOST), status.port)),
        Ok(_) | Err(_) => None,
    }
}

async fn changed<T>(watched: &mut Option<tokio::sync::watch::Receiver<T>>) {
    if let Some(receiver) = watched
        && receiver.changed().await.is_ok()
    {
        return;
    }
    std::future::pending().await
}
