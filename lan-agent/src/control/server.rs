//! The running agent's end of the socket.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};

use tokio::io::BufReader;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tracing::warn;

use super::message::{Reply, Request, read_line, write_line};

/// A listening control socket; removed when dropped.
#[derive(Debug)]
pub struct ControlListener {
    listener: UnixListener,
    path: PathBuf,
}

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// An agent of this user runs already.
    #[error("lanyard is already running for this user; stop it first, or use `lanyard send --to`")]
    AlreadyRunning,
    /// What the system says.
    #[error("cannot listen on {}: {source}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What happened.
        #[source]
        source: io::Error,
    },
}

impl ControlListener {
    /// Listens at `path`, for this user only. A socket left by a process that is gone is replaced.
    ///
    /// # Errors
    /// Another agent listens there, or the socket cannot be made.
    pub fn bind(path: &Path) -> Result<Self, ListenError> {
        let fail = |source| ListenError::Io { path: path.to_owned(), source };
        if let Some(directory) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(fail)?;
        }
        match StdUnixStream::connect(path) {
            Ok(_) => return Err(ListenError::AlreadyRunning),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(_) => fs::remove_file(path).map_err(fail)?,
        }
        let listener = UnixListener::bind(path).map_err(fail)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(fail)?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// The next command of this user. Others are turned away.
    ///
    /// # Errors
    /// The socket is broken.
    pub async fn accept(&self) -> io::Result<ControlConnection> {
        loop {
            let (stream, _) = self.listener.accept().await?;
            let ours = rustix::process::geteuid().as_raw();
            match stream.peer_cred() {
                Ok(credentials) if credentials.uid() == ours => return Ok(ControlConnection::new(stream)),
                Ok(_) | Err(_) => warn!("turned away another user at the control socket"),
            }
        }
    }
}

impl Drop for ControlListener {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// One command that is connected.
#[derive(Debug)]
pub struct ControlConnection {
    /// What it says.
    pub requests: Requests,
    /// What it is told.
    pub replies: Replies,
}

/// Reads requests.
#[derive(Debug)]
pub struct Requests(BufReader<OwnedReadHalf>);

/// Writes replies.
#[derive(Debug)]
pub struct Replies(OwnedWriteHalf);

impl ControlConnection {
    fn new(stream: UnixStream) -> Self {
        let (reader, writer) = stream.into_split();
        Self { requests: Requests(BufReader::new(reader)), replies: Replies(writer) }
    }
}

impl Requests {
    /// The next request; `None` when the command is gone. Not to be dropped before it is ready.
    ///
    /// # Errors
    /// Not a request of this version, or the socket is broken.
    pub async fn next(&mut self) -> io::Result<Option<Request>> {
        read_line(&mut self.0).await
    }
}

impl Replies {
    /// Tells the command.
    ///
    /// # Errors
    /// It is gone.
    pub async fn send(&mut self, reply: &Reply) -> io::Result<()> {
        write_line(&mut self.0, reply).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ControlClient, Status};
    use super::*;

    #[tokio::test]
    async fn the_socket_is_for_its_owner_only_and_goes_with_the_agent() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lanyard/control.sock");
        let listener = ControlListener::bind(&path).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        assert!(matches!(ControlListener::bind(&path), Err(ListenError::AlreadyRunning)));
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_socket_left_behind_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        ControlListener::bind(&path).unwrap();
    }

    #[tokio::test]
    async fn a_request_is_answered() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("control.sock");
        let listener = ControlListener::bind(&path).unwrap();
        let status = Status { name: "Attic".to_owned(), port: 7, link: None, code: None, receive_folder: None };
        let reply = Reply::Status(status);
        let expected = reply.clone();
        let serving = tokio::spawn(async move {
            let mut connection = listener.accept().await.unwrap();
            assert_eq!(connection.requests.next().await.unwrap(), Some(Request::Status));
            connection.replies.send(&reply).await.unwrap();
        });
        let mut client = ControlClient::connect(&path).await.unwrap().unwrap();
        client.send(&Request::Status).await.unwrap();
        assert_eq!(client.next().await.unwrap(), Some(expected));
        serving.await.unwrap();
    }
}
