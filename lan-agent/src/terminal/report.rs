//! Events as a person or a program reads them.

use std::net::IpAddr;

use tokio::sync::broadcast;

use super::progress::{Bars, Progress};
use super::question::describe;
use super::{Console, bytes, display};
use crate::agent::event::{Direction, Event, Outcome};

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputFormat {
    /// Sentences; bars on a terminal.
    Human,
    /// One JSON object a line on stdout.
    Json,
}

/// Prints events.
pub struct Reporter {
    console: Console,
    format: OutputFormat,
    bars: Bars,
}

impl Reporter {
    /// Prints to `console`.
    #[must_use]
    pub fn new(console: Console, format: OutputFormat) -> Self {
        Self { bars: Bars::new(console.clone()), console, format }
    }

    /// Prints until the agent ends.
    pub async fn run(mut self, mut events: broadcast::Receiver<Event>) {
        loop {
            match events.recv().await {
                Ok(event) => self.print(&event),
                // Only progress comes that thick, and the next one says it all.
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    /// Prints one event.
    pub fn print(&mut self, event: &Event) {
        match self.format {
            OutputFormat::Json => {
                // Every event is plain data; it serialises.
                if let Ok(line) = serde_json::to_string(event) {
                    self.console.result(&line);
                }
            }
            OutputFormat::Human => self.print_human(event),
        }
    }

    fn print_human(&mut self, event: &Event) {
        let console = self.console.clone();
        match event {
            Event::Started { name, port, addresses, receive_folder, accept } => {
                console.say(&format!("{} is up.", display(name)));
                if let Some(folder) = receive_folder {
                    console.say(&format!("Receives into {} ({accept}).", display(folder)));
                }
                let doors: Vec<String> = addresses.iter().map(|address| door(*address, *port)).collect();
                console.say(&format!("Reached at {}", doors.join("  ")));
            }
            Event::Link { link, relay, qr } => {
                if *qr {
                    console.show_qr(link);
                }
                console.say(if *relay { "From any network:" } else { "On this network:" });
                console.result(link);
            }
            Event::Code { code, relay } => {
                console.say(if *relay {
                    "Or type this code at the relay's page (one use):"
                } else {
                    "Or type this code there (one use):"
                });
                console.result(code);
            }
            Event::Nearby { agents } => {
                let names: Vec<String> = agents.iter().map(|agent| display(&agent.name)).collect();
                console.say(&match names.as_slice() {
                    [] => "No other agent on this network.".to_owned(),
                    names => format!("Agents on this network: {}", names.join(", ")),
                });
            }
            Event::Met { who } => console.say(&format!("{} is connecting.", describe(who))),
            Event::Remembered { who } => {
                console.say(&format!("{} is remembered: the two meet again by themselves.", describe(who)));
            }
            Event::KeyChanged { name } => console.alarm(&key_changed(name)),
            Event::Connected { who, route } => {
                console.say(&format!("{} is connected: {}.", describe(who), route.badge()))
            }
            Event::Waiting { who } => {
                console.say(&format!("{} is silent; what arrived is kept. Waiting for it.", describe(who)))
            }
            Event::Interrupted { who } => {
                console.say(&format!("Interrupted: {} is out of reach. It carries on when it is back.", describe(who)));
            }
            Event::Left { who } => console.say(&format!("{} has left.", describe(who))),
            Event::Offered { transfer, direction, who, label, total_bytes, .. } => {
                let label = display(label);
                let direction_words = match direction {
                    Direction::Sending => "Offered to",
                    Direction::Receiving => "Offered by",
                };
                let amount = bytes(*total_bytes);
                console.say(&format!("{direction_words} {}: {label} ({amount}).", describe(who)));
                self.bars.handle_offered(*transfer, *direction, label, *total_bytes);
            }
            Event::Accepted { .. } => {}
            Event::Download { who, .. } => console.say(&format!(
                "{} has too little room for it, so its browser downloads it from here over plain http: anybody on this \
                 network could read it.",
                describe(who)
            )),
            Event::Progress { transfer, done_bytes, total_bytes, bytes_per_second, left_seconds, route } => {
                let progress = Progress {
                    done_bytes: *done_bytes,
                    total_bytes: *total_bytes,
                    bytes_per_second: *bytes_per_second,
                    left: left_seconds.map(std::time::Duration::from_secs),
                    route: *route,
                };
                self.bars.handle_progress(*transfer, progress);
            }
            Event::File { transfer, name } => {
                // Sent files are only counted; received ones have a place worth naming.
                if self.bars.label(*transfer).is_some_and(|(direction, ..)| direction == Direction::Receiving) {
                    console.result(&display(name));
                }
            }
            Event::FileFailed { name, message, .. } => {
                console.complain(&format!("{}: {}", display(name), display(message)));
            }
            Event::Finished { transfer, outcome } => {
                let (direction, label, total) = match self.bars.label(*transfer) {
                    Some((direction, label, total)) => (Some(direction), label.to_owned(), total),
                    None => (None, format!("transfer {transfer}"), 0),
                };
                self.bars.handle_finished(*transfer);
                let line = finished(direction, &label, total, outcome);
                if matches!(outcome, Outcome::Done) { console.say(&line) } else { console.complain(&line) }
            }
            Event::Text { who, text } => {
                console.say(&format!("Text from {}:", describe(who)));
                for line in text.lines() {
                    console.result(&display(line));
                }
            }
            Event::TextDelivered { who } => console.say(&format!("Text delivered to {}.", describe(who))),
            Event::Warning { message } => console.complain(&display(message)),
            Event::Stopping => console.say("Stopping. Unfinished files are kept for seven days."),
        }
    }
}

fn door(address: IpAddr, port: u16) -> String {
    match address {
        IpAddr::V4(v4) => format!("http://{v4}:{port}/"),
        IpAddr::V6(v6) => format!("http://[{v6}]:{port}/"),
    }
}

/// The stop page in one paragraph (UX §4).
#[must_use]
pub fn key_changed(name: &str) -> String {
    let name = display(name);
    format!(
        "STOP. A device that calls itself {name} has another key than the {name} you remember. It may have been set up \
         anew, or somebody pretends to be it. Nothing was accepted from it. If you know why the key changed: \
         lanyard forget {name:?}, then pair again. If not, leave it."
    )
}

/// What happened, what is kept, what next.
fn finished(direction: Option<Direction>, label: &str, total_bytes: u64, outcome: &Outcome) -> String {
    let receiving = direction == Some(Direction::Receiving);
    match outcome {
        Outcome::Done if receiving => format!("Received {label} ({}), checked.", bytes(total_bytes)),
        Outcome::Done => format!("Sent {label} ({}), checked by the other device.", bytes(total_bytes)),
        Outcome::Taken => {
            format!("{label} ({}) was downloaded by the browser there, which checks nothing.", bytes(total_bytes))
        }
        Outcome::Partly { failed } => {
            format!("{label}: {failed} of its files did not arrive, the others did. Send those again.")
        }
        Outcome::Declined { reason } if reason.is_empty() => format!("{label} was declined. Nothing was moved."),
        Outcome::Declined { reason } => format!("{label} was declined: {}. Nothing was moved.", display(reason)),
        Outcome::NoAnswer => {
            format!("Nobody answered about {label}. Nothing was moved; offer it again when somebody is there.")
        }
        Outcome::Cancelled { here: true } => format!("Cancelled {label}. Unfinished files were removed."),
        Outcome::Cancelled { here: false } => {
            format!("The other device cancelled {label}. Unfinished files were removed.")
        }
        Outcome::Damaged => format!("{label} arrived damaged and was kept out of the folder. Send it again."),
        Outcome::NoSpace { message } => format!("{label}: {}", display(message)),
        Outcome::Interrupted { kept_bytes } => {
            format!(
                "{label} is interrupted. {} kept; it carries on when the two devices meet again.",
                bytes(*kept_bytes)
            )
        }
        Outcome::Failed { message } => format!("{label} did not finish: {}", display(message)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ending_says_what_happened_and_names_the_transfer() {
        let endings = [
            Outcome::Done,
            Outcome::Taken,
            Outcome::Partly { failed: 2 },
            Outcome::Declined { reason: String::new() },
            Outcome::NoAnswer,
            Outcome::Cancelled { here: true },
            Outcome::Cancelled { here: false },
            Outcome::Damaged,
            Outcome::Interrupted { kept_bytes: 5 },
            Outcome::Failed { message: "x".to_owned() },
        ];
        for outcome in endings {
            let line = finished(Some(Direction::Receiving), "holiday.zip", 1000, &outcome);
            assert!(line.contains("holiday.zip"), "{line}");
            assert!(!line.to_lowercase().contains("error") && !line.contains("peer"), "{line}");
        }
    }

    #[test]
    fn reasons_from_the_other_device_are_escaped() {
        let outcome = Outcome::Declined { reason: "\x1b[2Jno\u{202e}".to_owned() };
        let line = finished(Some(Direction::Sending), "a", 1, &outcome);
        assert!(!line.contains('\x1b') && !line.contains('\u{202e}'), "{line}");
    }
}
