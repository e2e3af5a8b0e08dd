//! `lanyard list`, `cancel`, `resume` and `history`: what is under way, what waits, what was.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio_util::sync::CancellationToken;

use super::Settings;
use super::args::{Cancel, History, List, Resume, Send};
use super::send;
use crate::agent::event::{Direction, Outcome};
use crate::agent::history::{self, Past};
use crate::agent::question::{Answer, Question};
use crate::control::{ControlClient, ControlError, Reply, Request, Transfers};
use crate::exit::{Exit, Stop};
use crate::paths;
use crate::terminal::{Console, OutputFormat, bytes, display, duration};

/// Lists, or answers what waits.
pub(super) async fn list(args: List, settings: &Settings, console: &Console) -> Result<Exit, Stop> {
    let answer = match (args.allow, args.decline) {
        (Some(number), _) => Some((number, Answer::Yes)),
        (_, Some(number)) => Some((number, Answer::No)),
        (None, None) => None,
    };
    if let Some((number, answer)) = answer {
        return ask_agent(&Request::Decide { ask: number, answer }, console).await;
    }
    let mut transfers = Transfers::default();
    if let Some(mut agent) = agent().await? {
        agent.send(&Request::Transfers).await.map_err(unreachable)?;
        while let Some(reply) = agent.next().await.map_err(unreachable)? {
            if let Reply::Transfers(now) = reply {
                transfers = now;
                break;
            }
        }
    }
    let past = paths::history_file().map(|file| history::read(&file)).unwrap_or_default();
    print(&transfers, &past, settings.format, console);
    Ok(Exit::Done)
}

/// Ends a running transfer on both devices.
pub(super) async fn cancel(args: &Cancel, console: &Console) -> Result<Exit, Stop> {
    ask_agent(&Request::Cancel { transfer: args.id }, console).await
}

/// Sends again what was broken off; what arrived is not sent again.
pub(super) async fn resume(
    args: Resume,
    settings: Settings,
    console: &Console,
    stop: CancellationToken,
) -> Result<Exit, Stop> {
    let past = paths::history_file().map(|file| history::read(&file)).unwrap_or_default();
    let is_it = |past: &&Past| past.can_resume() && args.id.as_ref().is_none_or(|id| *id == past.id);
    let found = past.iter().find(is_it).ok_or_else(|| {
        Stop::new(Exit::NotFound, "nothing that was broken off can be sent again; see `lanyard list`")
    })?;
    let to = Some(found.name.clone());
    let send = Send { paths: found.paths.clone(), to, text: None, code_file: None };
    send::run(send, settings, console, stop).await
}

/// Lists the last seven days, or forgets them.
pub(super) fn history(args: &History, settings: &Settings, console: &Console) -> Result<Exit, Stop> {
    let Some(file) = paths::history_file() else { return Ok(Exit::Done) };
    if args.clear {
        history::clear(&file).map_err(|error| Stop::new(Exit::NoSpace, error.to_string()))?;
        console.say("Forgotten. Unfinished files are kept on.");
        return Ok(Exit::Done);
    }
    print(&Transfers::default(), &history::read(&file), settings.format, console);
    Ok(Exit::Done)
}

fn print(now: &Transfers, past: &[Past], format: OutputFormat, console: &Console) {
    if format == OutputFormat::Json {
        let line = |kind: &str, value: serde_json::Result<serde_json::Value>| {
            if let Ok(serde_json::Value::Object(mut object)) = value {
                object.insert("event".to_owned(), kind.into());
                console.result(&serde_json::Value::Object(object).to_string());
            }
        };
        now.waiting.iter().for_each(|asked| line("waiting", serde_json::to_value(asked)));
        now.running.iter().for_each(|running| line("running", serde_json::to_value(running)));
        past.iter().for_each(|past| line("past", serde_json::to_value(past)));
        return;
    }
    if now.waiting.is_empty() && now.running.is_empty() && past.is_empty() {
        console.say("Nothing is under way, and nothing was within the last seven days.");
    }
    for asked in &now.waiting {
        console.result(&format!(
            "? {:<4}  {}; lanyard list --allow {} or --decline {}",
            asked.ask,
            question(&asked.question),
            asked.ask,
            asked.ask
        ));
    }
    for running in &now.running {
        let state = if running.accepted {
            format!("{} of {}", bytes(running.done_bytes), bytes(running.total_bytes))
        } else {
            format!("{}, not answered yet", bytes(running.total_bytes))
        };
        let what = what(running.direction, &running.label, &running.name);
        console.result(&format!("  {:<4}  {what}  {state}", running.transfer));
    }
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    for past in past {
        let ago = u64::try_from(now_ms).unwrap_or(u64::MAX).saturating_sub(past.at_ms);
        let ago = duration(Duration::from_millis(ago));
        let what = what(past.direction, &past.label, &past.name);
        let resume = if past.can_resume() { format!("; lanyard resume {}", past.id) } else { String::new() };
        console.result(&format!("  {:<4}  {what}  {}, {ago} ago{resume}", past.id, outcome(&past.outcome)));
    }
}

fn what(direction: Direction, label: &str, name: &str) -> String {
    let arrow = match direction {
        Direction::Sending => "to",
        Direction::Receiving => "from",
    };
    format!("{} {arrow} {}", display(label), display(name))
}

fn question(question: &Question) -> String {
    match question {
        Question::Offer { who, files, total_bytes, .. } => {
            let files = if *files == 1 { "1 file".to_owned() } else { format!("{files} files") };
            format!("{} wants to send {files} ({})", display(&who.name), bytes(*total_bytes))
        }
        Question::Receiver { who, what, .. } => {
            format!("{} came for {}", display(&who.name), display(what))
        }
        Question::Remember { who } => format!("{} wants to be remembered", display(&who.name)),
        Question::PickPictures { name, .. } | Question::ShowPictures { name, .. } => {
            format!("{} wants to connect; pictures are compared at the agent's own terminal", display(name))
        }
    }
}

fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done => "done, checked".to_owned(),
        Outcome::Taken => "downloaded by a browser, unchecked".to_owned(),
        Outcome::Partly { failed } => format!("{failed} files did not arrive"),
        Outcome::Declined { .. } => "declined".to_owned(),
        Outcome::NoAnswer => "no answer".to_owned(),
        Outcome::Cancelled { here: true } => "cancelled here".to_owned(),
        Outcome::Cancelled { here: false } => "cancelled there".to_owned(),
        Outcome::Damaged => "arrived damaged".to_owned(),
        Outcome::NoSpace { .. } => "no room".to_owned(),
        Outcome::Interrupted { kept_bytes } => format!("interrupted, {} kept", bytes(*kept_bytes)),
        Outcome::Failed { message } => display(message),
    }
}

/// One request that is answered by how it ended.
async fn ask_agent(request: &Request, console: &Console) -> Result<Exit, Stop> {
    let mut agent = agent().await?.ok_or_else(|| Stop::new(Exit::Unreachable, "no agent is running"))?;
    agent.send(request).await.map_err(unreachable)?;
    while let Some(reply) = agent.next().await.map_err(unreachable)? {
        if let Reply::Done { exit, message } = reply {
            if let Some(message) = message {
                console.complain(&display(&message));
            }
            return Ok(Exit::from_number(exit));
        }
    }
    Err(Stop::new(Exit::Unreachable, "the running agent has stopped"))
}

async fn agent() -> Result<Option<ControlClient>, Stop> {
    match paths::control_socket() {
        Some(socket) => ControlClient::connect(&socket).await.map_err(unreachable),
        None => Ok(None),
    }
}

fn unreachable(error: ControlError) -> Stop {
    Stop::new(Exit::Unreachable, error.to_string())
}
