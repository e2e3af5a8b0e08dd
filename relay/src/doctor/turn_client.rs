//! A TURN client of few words (RFC 8656) for probes: one allocation, one channel.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use lanyard_turn_core::stun::{
    AttributeKind, Class, ErrorCode, Integrity, IntegrityKey, Message, MessageWriter, Method, PasswordAlgorithm,
    TransactionId, decode_xor_address,
};
use lanyard_turn_core::{ChannelData, ChannelNumber, StreamFramer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

/// How long the answer to a request may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// How often a request is sent again over UDP, where it may get lost (RFC 8489 §6.2.1).
const RESEND: Duration = Duration::from_millis(500);
/// The channel of a probe.
const CHANNEL: u16 = 0x4000;

/// A stream, whatever protects it.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// How the server is reached.
pub(super) enum Wire {
    /// The socket is connected.
    Datagrams(UdpSocket),
    /// TCP, plain or with TLS.
    Stream(Box<dyn Duplex>, StreamFramer),
}

/// What is shown at the door.
#[derive(Clone)]
pub(super) struct Credential {
    pub(super) username: String,
    pub(super) password: String,
}

/// What the probe was about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Challenge,
    Allocate,
    Permission,
    Channel,
}

/// Why a probe got no further.
#[derive(Debug)]
pub(super) enum ProbeError {
    /// No connection, or it broke.
    Io(io::Error),
    /// Nothing came back.
    Silent(Step),
    /// The server said no.
    Refused(Step, u16),
    /// What came back is no TURN.
    Garbled,
    /// Payloads do not arrive.
    Lost,
}

impl From<io::Error> for ProbeError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The addresses of an allocation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allocated {
    pub(super) relayed: SocketAddr,
    pub(super) mapped: SocketAddr,
}

pub(super) struct TurnClient {
    wire: Wire,
    credential: Credential,
    realm: Vec<u8>,
    nonce: Vec<u8>,
}

impl TurnClient {
    pub(super) fn new(wire: Wire, credential: Credential) -> Self {
        Self { wire, credential, realm: Vec::new(), nonce: Vec::new() }
    }

    /// Asks without credentials, then with them (RFC 8489 §9.2.3).
    pub(super) async fn allocate(&mut self) -> Result<Allocated, ProbeError> {
        let udp = [17, 0, 0, 0];
        let request = write(Method::ALLOCATE, |writer| {
            writer.attribute(AttributeKind::REQUESTED_TRANSPORT, &udp);
        });
        let answer = self.exchange(Step::Challenge, &request).await?;
        let challenge = Message::decode(&answer).map_err(|_| ProbeError::Garbled)?;
        match code(&challenge) {
            401 => {}
            0 => return allocated(&challenge),
            code => return Err(ProbeError::Refused(Step::Challenge, code)),
        }
        let value = |kind| challenge.attribute(kind).map(<[u8]>::to_vec).ok_or(ProbeError::Garbled);
        (self.realm, self.nonce) = (value(AttributeKind::REALM)?, value(AttributeKind::NONCE)?);
        let answer = self
            .ask(Step::Allocate, Method::ALLOCATE, |writer| {
                writer.attribute(AttributeKind::REQUESTED_TRANSPORT, &udp);
            })
            .await?;
        allocated(&Message::decode(&answer).map_err(|_| ProbeError::Garbled)?)
    }

    /// CreatePermission, then ChannelBind for the same peer.
    pub(super) async fn open_channel(&mut self, peer: SocketAddr) -> Result<(), ProbeError> {
        self.ask(Step::Permission, Method::CREATE_PERMISSION, |writer| {
            writer.xor_address(AttributeKind::XOR_PEER_ADDRESS, peer);
        })
        .await?;
        let [high, low] = CHANNEL.to_be_bytes();
        self.ask(Step::Channel, Method::CHANNEL_BIND, |writer| {
            writer.attribute(AttributeKind::CHANNEL_NUMBER, &[high, low, 0, 0]);
            writer.xor_address(AttributeKind::XOR_PEER_ADDRESS, peer);
        })
        .await?;
        Ok(())
    }

    /// Sends a payload on the channel.
    pub(super) async fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        let header = ChannelNumber::new(CHANNEL).and_then(|number| ChannelData::header(number, payload.len()));
        let header = header.ok_or(io::ErrorKind::InvalidInput)?;
        let mut message = [&header[..], payload].concat();
        message.resize(message.len().next_multiple_of(4), 0);
        self.write(&message).await
    }

    /// The next payload, on the channel or from another port of its peer; `None` when none comes in time.
    pub(super) async fn receive(&mut self, deadline: Instant) -> io::Result<Option<Vec<u8>>> {
        while let Some(message) = self.read(deadline).await? {
            if let Ok(data) = ChannelData::decode(&message) {
                return Ok(Some(data.payload.to_vec()));
            }
            let indication = Message::decode(&message).ok().filter(|message| message.method() == Method::DATA);
            if let Some(payload) = indication.and_then(|message| message.attribute(AttributeKind::DATA)) {
                return Ok(Some(payload.to_vec()));
            }
        }
        Ok(None)
    }

    /// Gives the allocation up; the server finds out by itself when this gets lost.
    pub(super) async fn release(&mut self) {
        let request = self.signed(Method::REFRESH, |writer| {
            writer.u32(AttributeKind::LIFETIME, 0);
        });
        let _ = self.write(&request).await;
    }

    async fn ask(
        &mut self,
        step: Step,
        method: Method,
        fill: impl FnOnce(&mut MessageWriter<'_>),
    ) -> Result<Vec<u8>, ProbeError> {
        let request = self.signed(method, fill);
        let answer = self.exchange(step, &request).await?;
        let message = Message::decode(&answer).map_err(|_| ProbeError::Garbled)?;
        match code(&message) {
            0 => Ok(answer),
            code => Err(ProbeError::Refused(step, code)),
        }
    }

    fn signed(&self, method: Method, fill: impl FnOnce(&mut MessageWriter<'_>)) -> Vec<u8> {
        let Credential { username, password } = &self.credential;
        write(method, |writer| {
            fill(writer);
            writer.attribute(AttributeKind::USERNAME, username.as_bytes());
            writer.attribute(AttributeKind::REALM, &self.realm);
            writer.attribute(AttributeKind::NONCE, &self.nonce);
            let algorithm = PasswordAlgorithm::Md5;
            let key = IntegrityKey::long_term(algorithm, username.as_bytes(), &self.realm, password.as_bytes());
            writer.integrity(Integrity::Sha1, &key);
        })
    }

    /// A request and its answer.
    async fn exchange(&mut self, step: Step, request: &[u8]) -> Result<Vec<u8>, ProbeError> {
        let id = Message::decode(request).map_err(|_| ProbeError::Garbled)?.transaction_id();
        let deadline = Instant::now() + PATIENCE;
        self.write(request).await?;
        loop {
            let next_look = deadline.min(Instant::now() + RESEND);
            match self.read(next_look).await? {
                Some(bytes) => {
                    if Message::decode(&bytes).is_ok_and(|answer| answer.transaction_id() == id) {
                        return Ok(bytes);
                    }
                }
                None if Instant::now() >= deadline => return Err(ProbeError::Silent(step)),
                None => {
                    if matches!(self.wire, Wire::Datagrams(_)) {
                        self.write(request).await?;
                    }
                }
            }
        }
    }

    async fn write(&mut self, message: &[u8]) -> io::Result<()> {
        match &mut self.wire {
            Wire::Datagrams(socket) => socket.send(message).await.map(|_| ()),
            Wire::Stream(stream, _) => {
                stream.write_all(message).await?;
                stream.flush().await
            }
        }
    }

    /// The next message; `None` when none comes before the deadline.
    async fn read(&mut self, deadline: Instant) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = vec![0; 4096];
        match &mut self.wire {
            Wire::Datagrams(socket) => match timeout_at(deadline, socket.recv(&mut buffer)).await {
                Ok(len) => {
                    buffer.truncate(len?);
                    Ok(Some(buffer))
                }
                Err(_) => Ok(None),
            },
            Wire::Stream(stream, framer) => loop {
                let frame = framer.next_frame().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
                if let Some(frame) = frame {
                    return Ok(Some(frame.to_vec()));
                }
                match timeout_at(deadline, stream.read(&mut buffer)).await {
                    Ok(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(Ok(len)) => framer.extend(buffer.get(..len).unwrap_or_default()),
                    Ok(Err(error)) => return Err(error),
                    Err(_) => return Ok(None),
                }
            },
        }
    }
}

fn write(method: Method, fill: impl FnOnce(&mut MessageWriter<'_>)) -> Vec<u8> {
    let mut buffer = Vec::new();
    let mut writer = MessageWriter::new(&mut buffer, Class::Request, method, TransactionId(rand::random()));
    fill(&mut writer);
    // Only a message of more than 64 KiB has no end, and names and nonces are far from that.
    let _ = writer.finish();
    buffer
}

/// 0 for success, else the error code.
fn code(answer: &Message<'_>) -> u16 {
    if answer.class() == Class::Success {
        return 0;
    }
    answer.attribute(AttributeKind::ERROR_CODE).and_then(ErrorCode::decode).map_or(500, |code| code.0)
}

fn allocated(answer: &Message<'_>) -> Result<Allocated, ProbeError> {
    let address = |kind| {
        let value = answer.attribute(kind).ok_or(ProbeError::Garbled)?;
        decode_xor_address(value, answer.transaction_id()).ok_or(ProbeError::Garbled)
    };
    Ok(Allocated {
        relayed: address(AttributeKind::XOR_RELAYED_ADDRESS)?,
        mapped: address(AttributeKind::XOR_MAPPED_ADDRESS)?,
    })
}

/// Asks for the address a socket is seen at (RFC 8489 §3). `None` when no answer comes.
pub(crate) async fn seen_address(socket: &UdpSocket, server: SocketAddr) -> io::Result<Option<SocketAddr>> {
    let request = write(Method::BINDING, |_| {});
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = [0; 1500];
    while Instant::now() < deadline {
        socket.send_to(&request, server).await?;
        let next_look = deadline.min(Instant::now() + RESEND);
        while let Ok(received) = timeout_at(next_look, socket.recv_from(&mut buffer)).await {
            let (len, from) = received?;
            let seen = buffer.get(..len).filter(|_| from == server).and_then(|bytes| {
                let answer = Message::decode(bytes).ok()?;
                let id = answer.transaction_id();
                let is_answer = request.get(8..20) == Some(&id.0[..]) && answer.class() == Class::Success;
                let value = answer.attribute(AttributeKind::XOR_MAPPED_ADDRESS).filter(|_| is_answer)?;
                decode_xor_address(value, id)
            });
            if seen.is_some() {
                return Ok(seen);
            }
        }
    }
    Ok(None)
}
