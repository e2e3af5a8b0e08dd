//! `lanyard trust` and `lanyard forget`: by the running agent, which is connected; without one, in the book.

use tokio_util::sync::CancellationToken;

use super::args::{Forget, Trust};
use super::run::open_book;
use crate::agent::trust::{forgotten, only, set_policy};
use crate::config::AcceptPolicy;
use crate::control::{ControlClient, ControlError, Reply, Request};
use crate::exit::{Exit, Stop};
use crate::paths;
use crate::terminal::{Console, display};

/// Remembers a connected device, or sets the policy of a remembered one.
pub(super) async fn trust(args: Trust, console: &Console, stop: CancellationToken) -> Result<Exit, Stop> {
    let request = Request::Trust { name: args.name.clone(), policy: args.policy.map(AcceptPolicy::word) };
    if let Some(exit) = by_agent(&request, console, &stop).await? {
        return Ok(exit);
    }
    let book = open_book(console).ok_or_else(no_book)?;
    console.say(&set_policy(&book, &args.name, args.policy)?);
    Ok(Exit::Done)
}

/// Forgets a remembered device.
pub(super) async fn forget(args: &Forget, console: &Console, stop: CancellationToken) -> Result<Exit, Stop> {
    if let Some(exit) = by_agent(&Request::Forget { name: args.name.clone() }, console, &stop).await? {
        return Ok(exit);
    }
    let book = open_book(console).ok_or_else(no_book)?;
    let device = only(&book, &args.name)?;
    book.forget(&device.key()).map_err(|error| Stop::new(Exit::NoSpace, error.to_string()))?;
    console.say(&forgotten(&device));
    Ok(Exit::Done)
}

/// Lets the running agent do it; `None` when none runs.
async fn by_agent(request: &Request, console: &Console, stop: &CancellationToken) -> Result<Option<Exit>, Stop> {
    let unreachable = |error: ControlError| Stop::new(Exit::Unreachable, error.to_string());
    let Some(socket) = paths::control_socket() else { return Ok(None) };
    let Some(mut agent) = ControlClient::connect(&socket).await.map_err(unreachable)? else { return Ok(None) };
    agent.send(request).await.map_err(unreachable)?;
    loop {
        let reply = tokio::select! {
            reply = agent.next() => reply.map_err(unreachable)?,
            () = stop.cancelled() => return Ok(Some(Exit::Interrupted)),
        };
        match reply {
            Some(Reply::Done { exit, message }) => {
                let exit = Exit::from_number(exit);
                match (exit, message) {
                    (Exit::Done, Some(message)) => console.say(&display(&message)),
                    (_, Some(message)) => console.complain(&format!("lanyard: {}", display(&message))),
                    (_, None) => {}
                }
                return Ok(Some(exit));
            }
            Some(_) => {}
            None => return Err(Stop::new(Exit::Unreachable, "the running agent has stopped")),
        }
    }
}

fn no_book() -> Stop {
    Stop::new(Exit::NoSpace, "this device has no place to keep secrets, so nobody can be remembered")
}
