//! A command's end of the socket.

use std::io;
use std::path::Path;

use tokio::io::BufReader;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use super::message::{Reply, Request, read_line, write_line};

/// Replies read and not yet taken.
const REPLIES: usize = 64;

/// Why the running agent cannot be spoken to.
#[derive(Debug, thiserror::Error)]
#[error("cannot speak to the running agent: {0}")]
pub struct ControlError(#[from] io::Error);

/// A connection to the running agent.
#[derive(Debug)]
pub struct ControlClient {
    replies: mpsc::Receiver<io::Result<Reply>>,
    writer: OwnedWriteHalf,
}

impl ControlClient {
    /// Connects; `None` when no agent runs.
    ///
    /// # Errors
    /// One seems to run but cannot be reached.
    pub async fn connect(path: &Path) -> Result<Option<Self>, ControlError> {
        let stream = match UnixStream::connect(path).await {
            Ok(stream) => stream,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let (reader, writer) = stream.into_split();
        let (sender, replies) = mpsc::channel(REPLIES);
        tokio::spawn(read(reader, sender));
        Ok(Some(Self { replies, writer }))
    }

    /// Asks.
    ///
    /// # Errors
    /// The agent is gone.
    pub async fn send(&mut self, request: &Request) -> Result<(), ControlError> {
        Ok(write_line(&mut self.writer, request).await?)
    }

    /// The next reply; `None` when the agent is gone. May be dropped and called again without losing a reply.
    ///
    /// # Errors
    /// Not a reply of this version.
    pub async fn next(&mut self) -> Result<Option<Reply>, ControlError> {
        self.replies.recv().await.transpose().map_err(ControlError)
    }
}

async fn read(reader: OwnedReadHalf, replies: mpsc::Sender<io::Result<Reply>>) {
    let mut reader = BufReader::new(reader);
    while let Some(reply) = read_line(&mut reader).await.transpose() {
        let broken = reply.is_err();
        if replies.send(reply).await.is_err() || broken {
            return;
        }
    }
}
