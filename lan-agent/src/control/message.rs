//! What a command and the running agent say to each other: one JSON object a line.

use std::io;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::agent::event::{Event, TransferNumber, Who};
use crate::agent::ledger::Running;
use crate::agent::question::{Answer, Question};
use crate::agent::sharing::ShareRequest;
use crate::discovery::registry::NearbyAgent;
use crate::exit::{Exit, Stop};
use crate::share::ShareEvent;

/// Bytes of one line: a thousand long paths, or the whole nearby list.
const MAX_LINE_BYTES: u64 = 4 << 20;

/// What a command asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Who are you, and what is your link now? Answered by [`Reply::Status`].
    Status,
    /// Who is there? Answered by [`Reply::Devices`], with `watch` again at each change.
    Devices {
        /// Keep telling.
        #[serde(default)]
        watch: bool,
    },
    /// Remember a connected device, or set what happens to the offers of a remembered one. Answered by questions and
    /// [`Reply::Done`].
    Trust {
        /// Which.
        name: String,
        /// The policy as a person writes it; none leaves it as it is.
        #[serde(default)]
        policy: Option<String>,
    },
    /// Forget a remembered device. Answered by [`Reply::Done`].
    Forget {
        /// Which.
        name: String,
    },
    /// What is under way, and what waits for an answer? Answered by [`Reply::Transfers`].
    Transfers,
    /// End a transfer on both devices. Answered by [`Reply::Done`].
    Cancel {
        /// Which.
        transfer: TransferNumber,
    },
    /// Answers a question that waits at the agent. Answered by [`Reply::Done`].
    Decide {
        /// Which, from [`Reply::Transfers`].
        ask: u64,
        /// What the person says.
        answer: Answer,
    },
    /// Send files, folders or a text. Answered by events, questions, and [`Reply::Done`] at the end.
    Send {
        /// To whom.
        to: Target,
        /// Absolute paths.
        #[serde(default)]
        paths: Vec<PathBuf>,
        /// A text instead.
        #[serde(default)]
        text: Option<String>,
    },
    /// Make a link for programs that are no Lanyard. Answered by [`Reply::Shared`], then by what happens to it, and
    /// [`Reply::Done`] when it has ended. The link ends with this connection.
    Share(ShareRequest),
    /// Answers [`Reply::Ask`].
    Answer {
        /// Which question.
        ask: u64,
        /// What the person said.
        answer: Answer,
    },
}

/// A device to send to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// By what it calls itself; whole, ignoring case.
    Name(String),
}

/// What the agent answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "snake_case")]
pub enum Reply {
    /// To [`Request::Status`].
    Status(Status),
    /// To [`Request::Devices`].
    Devices(Devices),
    /// To [`Request::Transfers`].
    Transfers(Transfers),
    /// The transfer that was asked for has this number.
    Transfer {
        /// As in its events.
        transfer: TransferNumber,
    },
    /// The link that was asked for.
    Shared {
        /// Its whole address; it holds a secret.
        link: String,
    },
    /// Something happened to the link that was asked for.
    Share {
        /// What.
        event: ShareEvent,
    },
    /// Something happened to the transfer that was asked for.
    Event {
        /// What.
        #[serde(flatten)]
        event: Event,
    },
    /// Ask the person; send back [`Request::Answer`].
    Ask {
        /// Which question.
        ask: u64,
        /// What to ask.
        #[serde(flatten)]
        question: Question,
    },
    /// The question needs no answer any more.
    Withdraw {
        /// Which question.
        ask: u64,
    },
    /// Nothing more comes.
    Done {
        /// Exit status of the command.
        exit: u8,
        /// To be shown, if anything.
        message: Option<String>,
    },
}

impl Reply {
    /// How a request ended, with what to say about it.
    #[must_use]
    pub fn done(result: Result<String, Stop>) -> Self {
        match result {
            Ok(message) => Self::Done { exit: Exit::Done.number(), message: Some(message) },
            Err(stop) => Self::Done { exit: stop.exit.number(), message: Some(stop.message) },
        }
    }
}

/// The running agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// What this device is called.
    pub name: String,
    /// TCP port of page and signaling.
    pub port: u16,
    /// The link that is shown now; it holds a secret.
    pub link: Option<String>,
    /// The code that is shown now; a secret too.
    pub code: Option<String>,
    /// Where received files go.
    pub receive_folder: Option<PathBuf>,
}

/// Who can be sent to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Devices {
    /// Devices with an open session, such as pages that came by the link.
    pub connected: Vec<Who>,
    /// Other agents on this network.
    pub agents: Vec<NearbyAgent>,
    /// Remembered devices, connected or not.
    #[serde(default)]
    pub remembered: Vec<RememberedDevice>,
}

/// What the agent is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfers {
    /// Under way.
    pub running: Vec<Running>,
    /// Questions that nobody has answered yet.
    pub waiting: Vec<Waiting>,
}

/// A question that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Its number.
    pub ask: u64,
    /// What is asked.
    #[serde(flatten)]
    pub question: Question,
}

/// A remembered device, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RememberedDevice {
    /// What it calls itself: hostile text.
    pub name: String,
    /// Whether it is connected now.
    pub online: bool,
    /// What happens to its offers, as a person writes it; none is what holds for everyone.
    pub policy: Option<String>,
}

/// Reads one line; `None` at the end of the stream.
pub(super) async fn read_line<T: DeserializeOwned>(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    if stream.take(MAX_LINE_BYTES).read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    if line.last() != Some(&b'\n') {
        return Err(io::ErrorKind::InvalidData.into());
    }
    serde_json::from_slice(&line).map(Some).map_err(io::Error::from)
}

/// Writes one line.
pub(super) async fn write_line<T: Serialize>(stream: &mut (impl AsyncWrite + Unpin), message: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    stream.flush().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::event::{Outcome, Trust};

    #[tokio::test]
    async fn messages_come_out_as_they_went_in() {
        let who = Who { name: "Otter".to_owned(), trust: Trust::Scanned };
        let replies = [
            Reply::Devices(Devices { connected: vec![who.clone()], ..Devices::default() }),
            Reply::Event { event: Event::Finished { transfer: 3, outcome: Outcome::Partly { failed: 1 } } },
            Reply::Event { event: Event::Met { who } },
            Reply::Ask { ask: 1, question: Question::ShowPictures { name: "x".to_owned(), row: "fox".to_owned() } },
            Reply::Done { exit: 4, message: None },
        ];
        let mut bytes = Vec::new();
        for reply in &replies {
            write_line(&mut bytes, reply).await.unwrap();
        }
        let mut stream = bytes.as_slice();
        for reply in &replies {
            assert_eq!(read_line::<Reply>(&mut stream).await.unwrap().as_ref(), Some(reply));
        }
        assert_eq!(read_line::<Reply>(&mut stream).await.unwrap(), None);
    }

    #[tokio::test]
    async fn cut_off_and_unknown_lines_are_refused() {
        for bad in [
            "{\"do\":\"status\"}",
            "{\"do\":\"format_disk\"}\n",
            "{\"do\":\"send\",\"to\":{\"name\":\"a\"},\"x\":1}\n",
            "\n",
        ] {
            assert!(read_line::<Request>(&mut bad.as_bytes()).await.is_err(), "{bad}");
        }
    }
}
