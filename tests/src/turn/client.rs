//! A TURN client of few words (RFC 8656), over UDP or a TCP stream. Blocking, and without a will of its own: retries,
//! refreshes and policies are for the tests to leave out.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use lanyard_turn_core::stun::{
    AttributeKind, Class, ErrorCode, Integrity, IntegrityKey, Message, MessageWriter, Method, PasswordAlgorithm,
    TransactionId, decode_xor_address,
};
use lanyard_turn_core::{ChannelData, ChannelNumber, StreamFramer};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use socket2::{Domain, Socket, Type};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long to wait for an answer to one sending over UDP.
const RESEND: Duration = Duration::from_millis(500);

/// How the server is reached.
pub enum Link {
    /// Datagrams; the socket is connected.
    Udp(UdpSocket),
    /// A stream, plain.
    Tcp(TcpStream, StreamFramer),
    /// A stream inside TLS.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>, StreamFramer),
}

/// An answer to a request.
#[derive(Debug, Clone)]
pub struct Answer(Vec<u8>);

impl Answer {
    fn message(&self) -> Result<Message<'_>> {
        Message::decode(&self.0).context("an answer that is no STUN")
    }

    /// 0 for success, else the error code.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn code(&self) -> Result<u16> {
        let message = self.message()?;
        if message.class() == Class::Success {
            return Ok(0);
        }
        let value = message.attribute(AttributeKind::ERROR_CODE).context("an error without a code")?;
        Ok(ErrorCode::decode(value).context("a malformed error code")?.0)
    }

    fn value(&self, kind: AttributeKind) -> Result<Vec<u8>> {
        Ok(self.message()?.attribute(kind).with_context(|| format!("no {kind:?} in the answer"))?.to_vec())
    }

    fn address(&self, kind: AttributeKind) -> Result<SocketAddr> {
        let id = self.message()?.transaction_id();
        decode_xor_address(&self.value(kind)?, id).context("a malformed address")
    }
}

fn connect(own: IpAddr, server: SocketAddr) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(own, 0).into())?;
    socket.connect(&server.into())?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket.into())
}

/// A client with credentials.
pub struct TurnClient {
    link: Link,
    username: String,
    password: String,
    realm: Vec<u8>,
    nonce: Vec<u8>,
    next_id: u64,
}

impl TurnClient {
    /// Over UDP, from `own`.
    ///
    /// # Errors
    /// No socket.
    pub fn udp(own: IpAddr, server: SocketAddr, username: &str, password: &str) -> Result<Self> {
        let socket = UdpSocket::bind(SocketAddr::new(own, 0))?;
        socket.connect(server)?;
        Ok(Self::over(Link::Udp(socket), username, password))
    }

    /// Over TCP, from `own`.
    ///
    /// # Errors
    /// No connection.
    pub fn tcp(own: IpAddr, server: SocketAddr, username: &str, password: &str) -> Result<Self> {
        let stream = connect(own, server)?;
        Ok(Self::over(Link::Tcp(stream, StreamFramer::new()), username, password))
    }

    /// Over TLS, from `own`, to a server with this certificate (PEM) for its address.
    ///
    /// # Errors
    /// No connection, or another certificate.
    pub fn tls(own: IpAddr, server: SocketAddr, certificate: &str, username: &str, password: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(certificate.as_bytes()) {
            roots.add(certificate?)?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        // No ALPN: TURN clients send none.
        let config = config.with_root_certificates(roots).with_no_client_auth();
        let connection = ClientConnection::new(Arc::new(config), ServerName::from(server.ip()))?;
        let stream = connect(own, server)?;
        let mut stream = StreamOwned::new(connection, stream);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self::over(Link::Tls(Box::new(stream), StreamFramer::new()), username, password))
    }

    fn over(link: Link, username: &str, password: &str) -> Self {
        let (username, password) = (username.to_owned(), password.to_owned());
        Self { link, username, password, realm: Vec::new(), nonce: Vec::new(), next_id: first_id() }
    }

    /// The client's socket.
    ///
    /// # Errors
    /// It is a stream.
    pub fn socket(&self) -> Result<&UdpSocket> {
        match &self.link {
            Link::Udp(socket) => Ok(socket),
            Link::Tcp(..) | Link::Tls(..) => bail!("a stream has no UDP socket"),
        }
    }

    fn next_id(&mut self) -> TransactionId {
        self.next_id = self.next_id.wrapping_add(1);
        let mut id = [b'.'; 12];
        id[..8].copy_from_slice(&self.next_id.to_be_bytes());
        TransactionId(id)
    }

    /// A request without credentials.
    pub fn unauthenticated_allocate(&mut self) -> Vec<u8> {
        let mut buffer = Vec::new();
        let id = self.next_id();
        let mut writer = MessageWriter::new(&mut buffer, Class::Request, Method::ALLOCATE, id);
        writer.attribute(AttributeKind::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        writer.finish().expect("a short message");
        buffer
    }

    /// A request with credentials.
    pub fn request(&mut self, method: Method, fill: impl FnOnce(&mut MessageWriter<'_>)) -> Vec<u8> {
        let mut buffer = Vec::new();
        let id = self.next_id();
        let mut writer = MessageWriter::new(&mut buffer, Class::Request, method, id);
        fill(&mut writer);
        writer.attribute(AttributeKind::USERNAME, self.username.as_bytes());
        writer.attribute(AttributeKind::REALM, &self.realm);
        writer.attribute(AttributeKind::NONCE, &self.nonce);
        let (username, password) = (self.username.as_bytes(), self.password.as_bytes());
        let key = IntegrityKey::long_term(PasswordAlgorithm::Md5, username, &self.realm, password);
        writer.integrity(Integrity::Sha1, &key);
        writer.finish().expect("a short message");
        buffer
    }

    /// Takes realm and nonce from a 401 or 438.
    ///
    /// # Errors
    /// They are not there.
    pub fn take_challenge(&mut self, answer: &Answer) -> Result<()> {
        (self.realm, self.nonce) = (answer.value(AttributeKind::REALM)?, answer.value(AttributeKind::NONCE)?);
        Ok(())
    }

    /// An Allocate with credentials.
    pub fn allocate_request(&mut self) -> Vec<u8> {
        self.request(Method::ALLOCATE, |writer| {
            writer.attribute(AttributeKind::REQUESTED_TRANSPORT, &[17, 0, 0, 0]);
        })
    }

    /// A ChannelBind.
    pub fn bind_request(&mut self, number: u16, peer: SocketAddr) -> Vec<u8> {
        let [high, low] = number.to_be_bytes();
        self.request(Method::CHANNEL_BIND, |writer| {
            writer.attribute(AttributeKind::CHANNEL_NUMBER, &[high, low, 0, 0]);
            writer.xor_address(AttributeKind::XOR_PEER_ADDRESS, peer);
        })
    }

    /// Allocates; the relayed address.
    ///
    /// # Errors
    /// Refused, or no answer.
    pub fn allocate(&mut self) -> Result<SocketAddr> {
        let request = self.unauthenticated_allocate();
        let challenge = self.exchange(&request)?;
        self.take_challenge(&challenge)?;
        let request = self.allocate_request();
        relayed_of(&self.exchange(&request)?)
    }

    /// Asks for a permission; 0 or the error code.
    ///
    /// # Errors
    /// No answer.
    pub fn permit(&mut self, peer: SocketAddr) -> Result<u16> {
        let request = self.request(Method::CREATE_PERMISSION, |writer| {
            writer.xor_address(AttributeKind::XOR_PEER_ADDRESS, peer);
        });
        self.exchange(&request)?.code()
    }

    /// Binds a channel; 0 or the error code.
    ///
    /// # Errors
    /// No answer.
    pub fn bind(&mut self, number: u16, peer: SocketAddr) -> Result<u16> {
        let request = self.bind_request(number, peer);
        self.exchange(&request)?.code()
    }

    /// Gives the allocation up; 0 or the error code.
    ///
    /// # Errors
    /// No answer.
    pub fn release(&mut self) -> Result<u16> {
        let request = self.request(Method::REFRESH, |writer| {
            writer.u32(AttributeKind::LIFETIME, 0);
        });
        self.exchange(&request)?.code()
    }

    /// Sends a payload in a Send indication.
    ///
    /// # Errors
    /// The link is gone.
    pub fn send_to(&mut self, peer: SocketAddr, payload: &[u8]) -> Result<()> {
        let mut buffer = Vec::new();
        let id = self.next_id();
        let mut writer = MessageWriter::new(&mut buffer, Class::Indication, Method::SEND, id);
        writer.xor_address(AttributeKind::XOR_PEER_ADDRESS, peer);
        writer.attribute(AttributeKind::DATA, payload);
        writer.finish()?;
        self.send(&buffer)
    }

    /// Sends a payload on a channel.
    ///
    /// # Errors
    /// The link is gone.
    pub fn send_on(&mut self, number: u16, payload: &[u8]) -> Result<()> {
        self.send(&channel_data(number, payload))
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The link is gone.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.link {
            Link::Udp(socket) => socket.send(bytes).map(|_| ())?,
            Link::Tcp(stream, _) => stream.write_all(bytes)?,
            Link::Tls(stream, _) => stream.write_all(bytes)?,
        }
        Ok(())
    }

    /// The next message, or `None` when none comes in this time.
    ///
    /// # Errors
    /// The link is gone.
    pub fn receive(&mut self, within: Duration) -> Result<Option<Vec<u8>>> {
        let deadline = Instant::now() + within;
        loop {
            if let Link::Tcp(_, framer) | Link::Tls(_, framer) = &mut self.link
                && let Some(frame) = framer.next_frame()?
            {
                return Ok(Some(frame.to_vec()));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let mut buffer = [0; 16_384];
            let read = match &mut self.link {
                Link::Udp(socket) => {
                    socket.set_read_timeout(Some(left))?;
                    socket.recv(&mut buffer)
                }
                Link::Tcp(stream, _) => {
                    stream.set_read_timeout(Some(left))?;
                    stream.read(&mut buffer)
                }
                Link::Tls(stream, _) => {
                    stream.sock.set_read_timeout(Some(left))?;
                    stream.read(&mut buffer)
                }
            };
            match (read, &mut self.link) {
                (Ok(0), Link::Tcp(..) | Link::Tls(..)) => bail!("the server closed the connection"),
                (Ok(len), Link::Tcp(_, framer) | Link::Tls(_, framer)) => framer.extend(&buffer[..len]),
                (Ok(len), Link::Udp(_)) => return Ok(Some(buffer[..len].to_vec())),
                (Err(error), _) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Ok(None);
                }
                (Err(error), _) => return Err(error.into()),
            }
        }
    }

    /// Waits for the payload of the next ChannelData.
    ///
    /// # Errors
    /// Something else came, or nothing.
    pub fn receive_on(&mut self, number: u16) -> Result<Vec<u8>> {
        let message = self.receive(PATIENCE)?.context("nothing came")?;
        let data = ChannelData::decode(&message).context("no ChannelData")?;
        if Some(data.channel) != ChannelNumber::new(number) {
            bail!("ChannelData of another channel");
        }
        Ok(data.payload.to_vec())
    }

    /// A request and its answer; sent again when there is none.
    ///
    /// # Errors
    /// No answer.
    pub fn exchange(&mut self, request: &[u8]) -> Result<Answer> {
        let id = Message::decode(request)?.transaction_id();
        let deadline = Instant::now() + PATIENCE;
        self.send(request)?;
        while Instant::now() < deadline {
            match self.receive(RESEND)? {
                Some(bytes) => {
                    if Message::decode(&bytes).is_ok_and(|message| message.transaction_id() == id) {
                        return Ok(Answer(bytes));
                    }
                }
                None => {
                    if matches!(self.link, Link::Udp(_)) {
                        self.send(request)?;
                    }
                }
            }
        }
        bail!("no answer within {PATIENCE:?}")
    }
}

/// Where a client's transaction IDs start. Not twice the same: a client that gets the ports of an earlier one would
/// otherwise seem to send its Allocate again.
fn first_id() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0)
}

/// The relayed address of a successful Allocate.
///
/// # Errors
/// It was refused.
pub fn relayed_of(answer: &Answer) -> Result<SocketAddr> {
    match answer.code()? {
        0 => answer.address(AttributeKind::XOR_RELAYED_ADDRESS),
        code => bail!("Allocate refused with {code}"),
    }
}

/// Makes an answer of bytes that came.
#[must_use]
pub fn answer(bytes: Vec<u8>) -> Answer {
    Answer(bytes)
}

/// A payload on a channel, padded as streams want it and datagrams allow.
#[must_use]
pub fn channel_data(number: u16, payload: &[u8]) -> Vec<u8> {
    let number = ChannelNumber::new(number).expect("a channel number");
    let header = ChannelData::header(number, payload.len()).expect("a payload of a datagram");
    let mut bytes = [&header[..], payload].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}
