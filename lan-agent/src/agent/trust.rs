//! What a person decides about devices: to remember one, what it may do, to forget it.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::sessions::Sessions;
use crate::config::AcceptPolicy;
use crate::control::RememberedDevice;
use crate::devices::{BookError, DeviceBook, Remembered};
use crate::exit::{Exit, Stop};
use crate::session::{Command, Handle};
use crate::terminal::display;

/// How long the other device's person may take to agree.
pub const AGREE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a remembered device that is not connected is waited for.
const COME_TIMEOUT: Duration = Duration::from_secs(10);

/// Remembers the connected device of that name, or sets what happens to the offers of a remembered one.
///
/// # Errors
/// No such device, or its person does not agree.
pub async fn trust(sessions: &Sessions, name: &str, policy: Option<&str>) -> Result<String, Stop> {
    let book = sessions.context().book.clone().ok_or_else(no_book)?;
    let policy = parse(policy)?;
    if book.named(name).is_empty() {
        let handle = connected(sessions, name)?;
        remember(&handle).await?;
    }
    set_policy(&book, name, policy)
}

/// Remembers a device once its person agrees too.
///
/// # Errors
/// It cannot keep secrets, its person does not agree, or it left.
pub async fn remember(handle: &Handle) -> Result<(), Stop> {
    let shown = display(&handle.who.name);
    let gone = || Stop::new(Exit::NotFound, format!("{shown} has left"));
    let (reply, agreed) = oneshot::channel();
    handle.commands.send(Command::Remember { reply }).await.map_err(|_| gone())?;
    match timeout(AGREE_TIMEOUT, agreed).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(message))) => Err(Stop::new(Exit::Failure, message)),
        Ok(Err(_)) => Err(gone()),
        Err(_) => Err(Stop::new(
            Exit::Declined,
            format!(
                "{shown} was asked and did not agree in time; nothing is remembered. Try again when somebody is there"
            ),
        )),
    }
}

/// Sets what happens to a remembered device's offers; says what holds now.
///
/// # Errors
/// It is not remembered, or the book cannot be written.
pub fn set_policy(book: &DeviceBook, name: &str, policy: Option<AcceptPolicy>) -> Result<String, Stop> {
    let device = only(book, name)?;
    if policy.is_some() {
        book.set_policy(&device.key(), policy).map_err(unwritable)?;
    }
    let shown = display(&device.name);
    Ok(match policy.or(device.policy) {
        Some(AcceptPolicy::Ask) => format!("{shown} is remembered; its files are asked about."),
        Some(AcceptPolicy::Accept) => format!("{shown} is remembered; its files are accepted without a question."),
        Some(AcceptPolicy::AcceptUnder(limit)) => format!(
            "{shown} is remembered; its files are accepted without a question under {}.",
            crate::terminal::bytes(limit)
        ),
        None => format!("{shown} is remembered."),
    })
}

/// Forgets a device, and tells it when it is connected.
///
/// # Errors
/// It is not remembered, or the book cannot be written.
pub async fn forget(sessions: &Sessions, name: &str) -> Result<String, Stop> {
    let book = sessions.context().book.clone().ok_or_else(no_book)?;
    let device = only(&book, name)?;
    book.forget(&device.key()).map_err(unwritable)?;
    for handle in sessions.all().into_iter().filter(|handle| handle.key == device.key()) {
        // One that leaves this moment hears it never, and waits in vain.
        let _ = handle.commands.send(Command::Forget).await;
    }
    Ok(forgotten(&device))
}

/// What is said of a device that was forgotten.
#[must_use]
pub fn forgotten(device: &Remembered) -> String {
    format!("{} is forgotten. To meet again, pair the two anew.", display(&device.name))
}

/// The remembered devices as they are listed.
#[must_use]
pub fn listed(sessions: &Sessions) -> Vec<RememberedDevice> {
    let Some(book) = &sessions.context().book else { return Vec::new() };
    let linked: Vec<_> =
        sessions.all().into_iter().filter(|handle| *handle.linked.borrow()).map(|handle| handle.key).collect();
    let list = |device: Remembered| RememberedDevice {
        online: linked.contains(&device.key()),
        policy: device.policy.map(AcceptPolicy::word),
        name: device.name,
    };
    book.all().into_iter().map(list).collect()
}

/// Waits until the remembered device of that name is connected; `None` when none is called so.
///
/// # Errors
/// It does not come.
pub async fn wait_for(sessions: &Sessions, name: &str) -> Result<Option<Handle>, Stop> {
    let Some(book) = &sessions.context().book else { return Ok(None) };
    if book.named(name).is_empty() {
        return Ok(None);
    }
    let device = only(book, name)?;
    let mut changes = sessions.changes();
    let coming = async {
        loop {
            changes.mark_unchanged();
            let linked = |handle: &Handle| handle.key == device.key() && *handle.linked.borrow();
            if let Some(handle) = sessions.all().into_iter().find(linked) {
                return Some(handle);
            }
            if changes.changed().await.is_err() {
                return None;
            }
        }
    };
    match timeout(COME_TIMEOUT, coming).await {
        Ok(Some(handle)) => Ok(Some(handle)),
        Ok(None) | Err(_) => Err(absent(&device)),
    }
}

/// What is said of a remembered device that does not come.
#[must_use]
pub fn absent(device: &Remembered) -> Stop {
    let message = format!(
        "{} is remembered but not here now: it is off, or cannot be reached from this network",
        display(&device.name)
    );
    Stop::new(Exit::NotFound, message)
}

/// The only remembered device of that name.
///
/// # Errors
/// None, or more than one.
pub fn only(book: &DeviceBook, name: &str) -> Result<Remembered, Stop> {
    let shown = display(name);
    let mut all = book.named(name).into_iter();
    match (all.next(), all.next()) {
        (Some(device), None) => Ok(device),
        (Some(_), Some(_)) => {
            Err(Stop::new(Exit::NotFound, format!("more than one device is called {shown}; rename one of them")))
        }
        (None, _) => {
            Err(Stop::new(Exit::NotFound, format!("no device called {shown} is remembered; see `lanyard devices`")))
        }
    }
}

/// Reads a policy as a person writes it.
///
/// # Errors
/// It is none.
pub fn parse(policy: Option<&str>) -> Result<Option<AcceptPolicy>, Stop> {
    policy
        .map(str::parse)
        .transpose()
        .map_err(|error: crate::config::PolicyError| Stop::new(Exit::Usage, error.to_string()))
}

fn connected(sessions: &Sessions, name: &str) -> Result<Handle, Stop> {
    let mut all = sessions.all().into_iter().filter(|handle| handle.who.name.to_lowercase() == name.to_lowercase());
    let shown = display(name);
    match (all.next(), all.next()) {
        (Some(handle), None) => Ok(handle),
        (Some(_), Some(_)) => {
            Err(Stop::new(Exit::NotFound, format!("more than one device is called {shown}; rename one of them")))
        }
        (None, _) => {
            let message = format!("no device called {shown} is connected; connect it first, or use `lanyard pair`");
            Err(Stop::new(Exit::NotFound, message))
        }
    }
}

fn no_book() -> Stop {
    Stop::new(Exit::NoSpace, "this device has no place to keep secrets, so nobody can be remembered")
}

fn unwritable(error: BookError) -> Stop {
    Stop::new(Exit::NoSpace, error.to_string())
}
