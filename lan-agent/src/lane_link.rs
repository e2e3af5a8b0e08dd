//! A link over a WebSocket at the signaling server (LK-31 to LK-38): the same channels as a
//! [`PeerLink`](crate::peer_link::PeerLink), each frame sealed with the session's lane keys.
//!
//! Nothing that the server does to a frame goes unnoticed: a frame is taken in its turn and unchanged, or the lane ends
//! with a reason.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use lanyard_pairing::{LaneError, LaneFrame, LaneKeys, LaneOpener, LaneSealer};
use lanyard_protocol::lane::LaneHello;
use lanyard_protocol::limits;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{self, Message, protocol::WebSocketConfig};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::signaling_client::LaneDoor;

/// Bytes of one data message at most.
pub const MAX_MESSAGE_BYTES: usize = limits::LANE_PAYLOAD_BYTES;

/// How long the server may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// A side that sent nothing for so long says that it is alive (LK-38).
const ALIVE_EVERY: Duration = Duration::from_secs(1);
/// How long the close handshake may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Messages handed over and not yet sealed: one of each kind on its way.
const OUT_QUEUE: usize = 1;
/// Events that wait to be read. Then the socket is not read either, which slows the other side.
const EVENTS: usize = 8;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// The sending half. Dropping it closes the lane.
pub struct LaneLink {
    control: mpsc::Sender<ControlOut>,
    data: mpsc::Sender<Bytes>,
    unwritten: Arc<AtomicUsize>,
    closing: CancellationToken,
    ended: CancellationToken,
}

/// Something happened on a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaneEvent {
    /// The server took us; the other side may come later.
    Open,
    /// What has to come before anything else (LK-37).
    Bind(Bytes),
    /// A JSON text of the control channel.
    Control(String),
    /// A binary message of the data channel.
    Data(Bytes),
    /// The other side is alive.
    Alive,
    /// The end; no event follows.
    Closed(LaneClose),
}

/// Why a lane ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LaneClose {
    /// Closed here.
    #[error("closed by this device")]
    Local,
    /// The server cannot be reached, or carries no lane now.
    #[error("the server cannot be reached")]
    Unreachable,
    /// The server ended it.
    #[error("the server ended the lane: {0}")]
    Ended(String),
    /// The server changed what it carried, or the other device is not what it says.
    #[error("the server changed what it carried ({0})")]
    Tampered(LaneError),
}

/// Why a message was not sent: the lane has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lane is closed")]
pub struct LaneClosed;

enum ControlOut {
    Bind([u8; 32]),
    Text(String),
}

/// The receiving half. Dropping it closes the lane.
pub struct LaneEvents {
    events: mpsc::Receiver<LaneEvent>,
    /// Apart from the others, so that a slow reader misses it not.
    why: Arc<OnceLock<LaneClose>>,
    told: bool,
    closing: CancellationToken,
}

impl LaneLink {
    /// Begins to connect. `keys` are of the session, `attempt` is a number that this session has not used for a lane.
    ///
    /// Must be called on a Tokio runtime, which then runs the lane's task.
    #[must_use]
    pub fn open(door: LaneDoor, attempt: u32, keys: &LaneKeys) -> (Self, LaneEvents) {
        let (control, control_queue) = mpsc::channel(OUT_QUEUE);
        let (data, data_queue) = mpsc::channel(OUT_QUEUE);
        let (event_sender, events) = mpsc::channel(EVENTS);
        let (closing, ended) = (CancellationToken::new(), CancellationToken::new());
        let unwritten = Arc::new(AtomicUsize::new(0));
        let (sealer, opener) = keys.lane(attempt);
        let why = Arc::new(OnceLock::new());
        let lane = Lane {
            why: Arc::clone(&why),
            sealer,
            opener,
            control: control_queue,
            data: data_queue,
            events: event_sender,
            unwritten: Arc::clone(&unwritten),
            closing: closing.clone(),
        };
        let done = ended.clone().drop_guard();
        tokio::spawn(async move {
            lane.run(door, attempt).await;
            drop(done);
        });
        (
            Self { control, data, unwritten, closing: closing.clone(), ended },
            LaneEvents { events, why, told: false, closing },
        )
    }

    /// Sends a JSON text of at most 64 KiB on the control channel; waits while the one before is being written.
    ///
    /// # Errors
    /// The lane has ended.
    pub async fn send_control(&self, text: String) -> Result<(), LaneClosed> {
        self.hand_over(&self.control, ControlOut::Text(text)).await
    }

    /// Sends the bind.
    ///
    /// # Errors
    /// The lane has ended.
    pub async fn send_bind(&self, bind: [u8; 32]) -> Result<(), LaneClosed> {
        self.hand_over(&self.control, ControlOut::Bind(bind)).await
    }

    /// Sends a message of at most [`MAX_MESSAGE_BYTES`] on the data channel; waits as [`Self::send_control`] does.
    ///
    /// # Errors
    /// The lane has ended.
    pub async fn send_data(&self, frames: Bytes) -> Result<(), LaneClosed> {
        self.hand_over(&self.data, frames).await
    }

    /// Messages that were handed over and not yet given to the socket.
    #[must_use]
    pub fn unwritten(&self) -> usize {
        self.unwritten.load(Ordering::Acquire)
    }

    /// Ends the lane. What was written before still arrives.
    pub async fn close(&self) {
        self.closing.cancel();
        self.ended.cancelled().await;
    }

    async fn hand_over<T>(&self, queue: &mpsc::Sender<T>, message: T) -> Result<(), LaneClosed> {
        self.unwritten.fetch_add(1, Ordering::AcqRel);
        queue.send(message).await.map_err(|_| LaneClosed)
    }
}

impl Drop for LaneLink {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

impl fmt::Debug for LaneLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaneLink").field("unwritten", &self.unwritten()).finish_non_exhaustive()
    }
}

impl LaneEvents {
    /// The next event; `None` after [`LaneEvent::Closed`]. May be dropped and called again without losing an event.
    pub async fn next(&mut self) -> Option<LaneEvent> {
        match self.events.recv().await {
            Some(event) => Some(event),
            None if self.told => None,
            None => {
                self.told = true;
                Some(LaneEvent::Closed(self.why.get().cloned().unwrap_or(LaneClose::Local)))
            }
        }
    }
}

impl Drop for LaneEvents {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

/// The task's own state.
struct Lane {
    sealer: LaneSealer,
    opener: LaneOpener,
    control: mpsc::Receiver<ControlOut>,
    data: mpsc::Receiver<Bytes>,
    events: mpsc::Sender<LaneEvent>,
    unwritten: Arc<AtomicUsize>,
    closing: CancellationToken,
    why: Arc<OnceLock<LaneClose>>,
}

impl Lane {
    async fn run(mut self, door: LaneDoor, attempt: u32) {
        let closing = self.closing.clone();
        let why = tokio::select! {
            biased;
            () = closing.cancelled() => LaneClose::Local,
            socket = connect(&door, attempt) => match socket {
                Some(socket) => self.carry(socket).await,
                None => LaneClose::Unreachable,
            },
        };
        debug!(%why, "a lane ended");
        // Set once, here; the end of the queue says that it is.
        let _ = self.why.set(why);
    }

    async fn carry(&mut self, socket: Socket) -> LaneClose {
        if self.events.send(LaneEvent::Open).await.is_err() {
            return LaneClose::Local;
        }
        let (mut sink, mut stream) = socket.split();
        let Self { sealer, opener, control, data, events, unwritten, closing, .. } = self;
        let why = tokio::select! {
            biased;
            () = closing.cancelled() => LaneClose::Local,
            why = write(&mut sink, sealer, control, data, unwritten) => why,
            why = read(&mut stream, opener, events) => why,
        };
        // Lets what was written arrive before the connection goes.
        let ending = async {
            if sink.send(Message::Close(None)).await.is_ok() {
                while let Some(Ok(_)) = stream.next().await {}
            }
        };
        let _ = timeout(CLOSE_TIMEOUT, ending).await;
        why
    }
}

async fn connect(door: &LaneDoor, attempt: u32) -> Option<Socket> {
    // `wss://` needs a provider of ciphers for the process; a second call does nothing.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut request = door.url.as_str().into_client_request().ok()?;
    if let Some((name, value)) = &door.header {
        request.headers_mut().insert(*name, HeaderValue::from_str(value).ok()?);
    }
    let config = WebSocketConfig::default()
        .write_buffer_size(0)
        .max_message_size(Some(limits::LANE_MESSAGE_BYTES))
        .max_frame_size(Some(limits::LANE_MESSAGE_BYTES));
    let connecting = tokio_tungstenite::connect_async_with_config(request, Some(config), true);
    let mut socket = match timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(Ok((socket, _))) => socket,
        Ok(Err(error)) => {
            debug!(%error, "cannot open a lane");
            return None;
        }
        Err(_) => return None,
    };
    let hello = LaneHello { ticket: door.ticket, stream: u64::from(attempt) };
    let sent = timeout(CONNECT_TIMEOUT, socket.send(Message::binary(hello.encode().to_vec()))).await;
    matches!(sent, Ok(Ok(()))).then_some(socket)
}

/// Seals and writes; control goes first.
async fn write(
    sink: &mut SplitSink<Socket, Message>,
    sealer: &mut LaneSealer,
    control: &mut mpsc::Receiver<ControlOut>,
    data: &mut mpsc::Receiver<Bytes>,
    unwritten: &AtomicUsize,
) -> LaneClose {
    loop {
        let (sealed, counted) = tokio::select! {
            biased;
            Some(message) = control.recv() => match message {
                ControlOut::Bind(bind) => (sealer.bind(&bind), 1),
                ControlOut::Text(text) => (sealer.control(&text), 1),
            },
            Some(frames) = data.recv() => (sealer.data(&frames), 1),
            () = tokio::time::sleep(ALIVE_EVERY) => (sealer.alive(), 0),
        };
        if let Err(error) = sink.send(Message::binary(sealed)).await {
            return LaneClose::Ended(error.to_string());
        }
        unwritten.fetch_sub(counted, Ordering::AcqRel);
    }
}

async fn read(
    stream: &mut SplitStream<Socket>,
    opener: &mut LaneOpener,
    events: &mpsc::Sender<LaneEvent>,
) -> LaneClose {
    loop {
        let sealed = match stream.next().await {
            Some(Ok(Message::Binary(sealed))) => sealed,
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
            Some(Ok(Message::Text(_))) => return LaneClose::Tampered(LaneError::UnknownKind),
            Some(Ok(Message::Close(frame))) => {
                return LaneClose::Ended(frame.map_or_else(String::new, |frame| frame.reason.to_string()));
            }
            Some(Err(tungstenite::Error::Capacity(_))) => return LaneClose::Tampered(LaneError::TooLong),
            Some(Err(error)) => return LaneClose::Ended(error.to_string()),
            None => return LaneClose::Ended(String::new()),
        };
        let event = match opener.open(&sealed) {
            Ok(LaneFrame::Bind(bind)) => LaneEvent::Bind(bind.into()),
            Ok(LaneFrame::Control(text)) => LaneEvent::Control(text),
            Ok(LaneFrame::Data(frames)) => LaneEvent::Data(frames.into()),
            Ok(LaneFrame::Alive) => LaneEvent::Alive,
            Err(error) => return LaneClose::Tampered(error),
        };
        if events.send(event).await.is_err() {
            return LaneClose::Local;
        }
    }
}
