//! What happens to a link, as a person or a program reads it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::{Console, OutputFormat, bytes, display};
use crate::share::ShareEvent;

/// While bytes move, a line at least this often.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Names whose last line is remembered; more of them only get more lines.
const REMEMBERED: usize = 256;

/// Prints what happens to one link.
pub struct ShareReporter {
    console: Console,
    format: OutputFormat,
    told: HashMap<(String, String), (u64, Instant)>,
}

impl ShareReporter {
    /// Prints to `console`.
    #[must_use]
    pub fn new(console: Console, format: OutputFormat) -> Self {
        Self { console, format, told: HashMap::new() }
    }

    /// The link, and how it is used.
    pub fn begin(&self, link: &str, upload: bool, names: &str) {
        match self.format {
            OutputFormat::Json => {
                self.console
                    .result(&serde_json::json!({ "share": "link", "link": link, "upload": upload }).to_string());
            }
            OutputFormat::Human => {
                self.console.show_qr(link);
                self.console.result(link);
                self.console.say(&if upload {
                    format!("Takes one file: curl -T FILE {link}")
                } else if link.ends_with('/') {
                    format!("{names}. All of it: wget -r -np -c {link}")
                } else {
                    format!("{names}. Download or resume: curl -C - -OJ {link}")
                });
                self.console.say("Whoever has this link can use it until you press Ctrl-C; on http:// anybody on the way can read along.");
            }
        }
    }

    /// Something happened.
    pub fn print(&mut self, event: &ShareEvent) {
        if self.format == OutputFormat::Json {
            // Every event is plain data; it serialises.
            if let Ok(line) = serde_json::to_string(event) {
                self.console.result(&line);
            }
            return;
        }
        match event {
            ShareEvent::Progress { name, from, done_bytes, total_bytes, .. } => {
                if self.is_due(name, from, *done_bytes, *total_bytes) {
                    let amount = match total_bytes {
                        Some(total) => {
                            let percent = u128::from(*done_bytes) * 100 / u128::from((*total).max(1));
                            format!("{percent} %  {} of {}", bytes(*done_bytes), bytes(*total))
                        }
                        None => bytes(*done_bytes),
                    };
                    self.console.say(&format!("{}  {amount}  {from}", display(name)));
                }
            }
            ShareEvent::Done { name, from, upload: false, total_bytes } => {
                self.console.say(&format!("{} was taken by {from} ({}).", display(name), bytes(*total_bytes)));
            }
            ShareEvent::Done { name, from, upload: true, total_bytes } => {
                self.console.say(&format!("Received from {from} ({}):", bytes(*total_bytes)));
                self.console.result(&display(name));
            }
            ShareEvent::Changed { name } => {
                let name = display(name);
                self.console.complain(&format!("{name} changed; its present content is served, from the start."));
            }
            ShareEvent::Failed { name, message } => {
                self.console.complain(&format!("{}: {}", display(name), display(message)));
            }
            ShareEvent::Ended { message } => self.console.say(&format!("The link has ended: {message}.")),
        }
    }

    /// A line for each tenth, or after a while.
    fn is_due(&mut self, name: &str, from: &str, done_bytes: u64, total_bytes: Option<u64>) -> bool {
        let tenth = total_bytes.map_or(0, |total| done_bytes.saturating_mul(10) / total.max(1));
        if self.told.len() >= REMEMBERED {
            self.told.clear();
        }
        let key = (name.to_owned(), from.to_owned());
        let due = self.told.get(&key).is_none_or(|(last, at)| tenth > *last || at.elapsed() >= LINE_EVERY);
        if due {
            self.told.insert(key, (tenth, Instant::now()));
        }
        due
    }
}
