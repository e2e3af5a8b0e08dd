//! Strangers who send a great deal: mutilated messages, requests under false addresses, connections that say nothing.
//!
//! A tenth of it runs by default; `cargo xtask floods` runs it whole.

#![expect(clippy::unwrap_used, reason = "a failed step fails the test")]
#![expect(clippy::print_stdout, reason = "the figures are the point of a whole run")]

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use lanyard_tests::turn::client::{TurnClient, channel_data};
use lanyard_tests::turn::process::resident_kib;
use lanyard_tests::turn::relay::{Echo, PASSWORD, Relay, Rules, USER};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};

/// IPv4 and UDP headers.
const HEADER_BYTES: usize = 28;

/// How many of all.
fn share_of(all: usize) -> usize {
    if std::env::var_os("LANYARD_FLOODS_WHOLE").is_some() { all } else { all / 10 }
}

/// Numbers that look random (xorshift64), from a seed that is printed.
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        println!("seed {seed:#x}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 11).unwrap() % limit
    }
}

/// A Binding request (RFC 8489 §5).
fn binding(transaction: u64) -> [u8; 20] {
    let mut message = [0; 20];
    message[..8].copy_from_slice(&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42]);
    message[12..].copy_from_slice(&transaction.to_be_bytes());
    message
}

/// An Allocate request without credentials (RFC 8656 §7.1).
fn allocate(transaction: u64) -> [u8; 28] {
    let mut message = [0; 28];
    message[..20].copy_from_slice(&binding(transaction));
    message[1] = 3;
    message[3] = 8;
    message[20..].copy_from_slice(&[0, 0x19, 0, 4, 17, 0, 0, 0]);
    message
}

/// Asks for a Binding until it is answered, and returns how long the answered one took.
fn answered(server: SocketAddr) -> Duration {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut buffer = [0; 200];
    for attempt in 0..20 {
        let request = binding(attempt);
        socket.send(&request).unwrap();
        let sent = Instant::now();
        while let Ok(len) = socket.recv(&mut buffer) {
            if len >= 20 && buffer[..2] == [1, 1] && buffer[8..20] == request[8..] {
                return sent.elapsed();
            }
        }
    }
    panic!("no Binding response in ten seconds");
}

#[test]
fn mutilated_messages_do_no_harm() {
    let relay = Relay::start(Rules::default()).unwrap();
    let echo = Echo::start(Ipv4Addr::LOCALHOST.into()).unwrap();
    let mut client = relay.client().unwrap();
    client.allocate().unwrap();
    let mut random = Random::new(0x9e37_79b9_7f4a_7c15);
    let rounds = share_of(1_000_000);
    let mut resident = None;
    for round in 0..rounds {
        let mut message = match round % 4 {
            0 => client.unauthenticated_allocate(),
            1 => client.allocate_request(),
            2 => client.bind_request(0x4000, echo.address),
            _ => channel_data(0x4000, &[0x55; 40]),
        };
        for _ in 0..1 + random.below(4) {
            let at = random.below(message.len());
            message[at] = random.next().to_be_bytes()[0];
        }
        message.truncate(message.len() - random.below(8));
        // An error from before: a port unreachable that some mutilated address caused.
        let _ = client.send(&message);
        if round % 10_000 == 9_999 {
            answered(relay.udp);
            resident.get_or_insert(resident_kib(relay.program.pid()).unwrap());
        }
    }
    relay.serve_one(echo.address).unwrap();
    let grown = resident_kib(relay.program.pid()).unwrap().saturating_sub(resident.unwrap());
    println!("{rounds} mutilated messages: {grown} KiB more resident memory");
    assert!(grown <= 1024, "{grown} KiB more after {rounds} messages");
}

/// Sends UDP packets under any IPv4 source address.
struct Forger {
    socket: Socket,
    server: SocketAddrV4,
}

impl Forger {
    fn new(server: SocketAddr) -> Self {
        let SocketAddr::V4(server) = server else { panic!("the relay listens at 127.0.0.1") };
        // Protocol 255: the IPv4 header is ours (raw(7)).
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255))).unwrap();
        Self { socket, server }
    }

    fn send(&self, source: Ipv4Addr, port: u16, payload: &[u8]) {
        let length = u16::try_from(HEADER_BYTES + payload.len()).unwrap().to_be_bytes();
        let mut packet = vec![0x45, 0, length[0], length[1], 0, 0, 0, 0, 64, 17, 0, 0];
        packet.extend(source.octets());
        packet.extend(self.server.ip().octets());
        packet.extend(port.to_be_bytes());
        packet.extend(self.server.port().to_be_bytes());
        packet.extend(u16::try_from(8 + payload.len()).unwrap().to_be_bytes());
        // No checksum, as IPv4 allows (RFC 768).
        packet.extend([0, 0]);
        packet.extend(payload);
        self.socket.send_to(&packet, &SocketAddr::V4(self.server).into()).unwrap();
    }
}

#[test]
fn requests_under_false_addresses_leave_nothing_behind_and_delay_nobody_for_long() {
    const SOURCES: usize = 50_000;
    let relay = Relay::start(Rules::default()).unwrap();
    let echo = Echo::start(Ipv4Addr::LOCALHOST.into()).unwrap();
    let mut random = Random::new(0x2545_f491_4f6c_dd1d);
    let forger = Forger::new(relay.udp);
    // 127.128.0.0 and up: nobody else on this machine has these.
    let source = |number: usize| Ipv4Addr::from(0x7f80_0000 + u32::try_from(number).unwrap());
    let flood = |count: usize, random: &mut Random, delays: &mut Vec<Duration>| {
        for number in 0..count {
            let port = 1024 + u16::try_from(random.below(60_000)).unwrap();
            forger.send(source(number % SOURCES), port, &allocate(random.next()));
            if number % 1_000 == 999 {
                delays.push(answered(relay.udp));
            }
        }
    };
    let mut delays = Vec::new();
    flood(SOURCES, &mut random, &mut delays);
    relay.serve_one(echo.address).unwrap();
    let before = resident_kib(relay.program.pid()).unwrap();
    delays.clear();
    let count = share_of(1_000_000);
    flood(count, &mut random, &mut delays);
    let grown = resident_kib(relay.program.pid()).unwrap().saturating_sub(before);
    delays.sort_unstable();
    let median = delays[delays.len() / 2];
    println!(
        "{count} requests from {SOURCES} sources: {grown} KiB more resident memory, a good client waits {median:?}"
    );
    assert!(grown <= 64, "{grown} KiB more resident memory");
    relay.serve_one(echo.address).unwrap();
}

/// Bytes of the first answer, headers counted, for each byte of a request that gets it.
fn amplification(server: SocketAddr, request: &[u8]) -> f64 {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect(server).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.send(request).unwrap();
    let answer = socket.recv(&mut [0; 2_000]).unwrap();
    (answer + HEADER_BYTES) as f64 / (request.len() + HEADER_BYTES) as f64
}

#[test]
fn one_answer_is_little_more_than_its_request_and_a_flood_gets_less_back_than_it_sends() {
    let relay = Relay::start(Rules::default()).unwrap();
    for (what, request) in [("Binding", &binding(1)[..]), ("Allocate", &allocate(2)[..])] {
        let ratio = amplification(relay.udp, request);
        println!("{what}: one answer is {ratio:.2} times its request");
        assert!(ratio <= 2.2, "{what}: {ratio}");
    }
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.connect(relay.udp).unwrap();
    socket.set_nonblocking(true).unwrap();
    // Bytes sent and received in each tenth of a second.
    let mut tenths = [(0_usize, 0_usize); 20];
    let began = Instant::now();
    let mut transaction = 10;
    let mut buffer = [0; 2_000];
    loop {
        let tenth = usize::try_from(began.elapsed().as_millis() / 100).unwrap();
        let Some((sent, received)) = tenths.get_mut(tenth) else { break };
        transaction += 1;
        if let Ok(len) = socket.send(&allocate(transaction)) {
            *sent += len + HEADER_BYTES;
        }
        while let Ok(len) = socket.recv(&mut buffer) {
            *received += len + HEADER_BYTES;
        }
    }
    for second in tenths.windows(10) {
        let (sent, received) = second.iter().fold((0, 0), |sum, tenth| (sum.0 + tenth.0, sum.1 + tenth.1));
        assert!(received <= sent, "{received} bytes came back for {sent}");
    }
}

#[test]
fn connections_that_say_nothing_or_little_do_not_keep_others_out() {
    /// As many as one address may hold (SAFETY: 64).
    const OF_ONE_SOURCE: usize = 60;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    let count = share_of(10_000);
    let wanted = u64::try_from(count).unwrap() + 1_000;
    if soft < wanted {
        setrlimit(Resource::RLIMIT_NOFILE, wanted, hard.max(wanted)).unwrap();
    }
    let relay = Relay::start(Rules::default()).unwrap();
    let echo = Echo::start(Ipv4Addr::LOCALHOST.into()).unwrap();
    relay.serve_one(echo.address).unwrap();
    let before = resident_kib(relay.program.pid()).unwrap();
    let mut held: Vec<TcpStream> = Vec::new();
    for number in 0..count {
        let server = [relay.udp, relay.http, relay.https][number % 3];
        let low = u32::try_from(number / OF_ONE_SOURCE).unwrap();
        let source = SocketAddr::new(IpAddr::V4(Ipv4Addr::from(0x7f40_0000 + low)), 0);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&source.into()).unwrap();
        socket.connect(&server.into()).unwrap();
        let mut stream = TcpStream::from(socket);
        // Nothing, the beginning of a TURN message, of a TLS record, of an HTTP request.
        let request = allocate(7);
        let beginning: &[u8] = [&[][..], &request[..10], &[0x16, 3, 1, 2, 0, 1], b"GET / HT"][number / 3 % 4];
        let _ = stream.write_all(beginning);
        held.push(stream);
        if number % 1_000 == 999 {
            answered(relay.udp);
        }
    }
    answered(relay.udp);
    relay.serve_one(echo.address).unwrap();
    // Places for unfinished TLS handshakes are few, and free again within seconds.
    let certificate = relay.certificate().unwrap();
    let patience = Instant::now() + Duration::from_secs(30);
    let served = || TurnClient::tls(Ipv4Addr::LOCALHOST.into(), relay.https, &certificate, USER, PASSWORD)?.allocate();
    while let Err(error) = served() {
        assert!(Instant::now() < patience, "no TLS for a good client: {error:#}");
    }
    let grown = resident_kib(relay.program.pid()).unwrap().saturating_sub(before);
    println!("{count} slow connections: {grown} KiB more resident memory");
    assert!(grown <= 16 + u64::try_from(count).unwrap() * 24, "{grown} KiB more resident memory");
    // Those that began nothing whole are closed, the first ones by now.
    let mut first = held.swap_remove(0);
    first.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    assert_eq!(first.read(&mut [0; 10]).unwrap_or(0), 0, "a connection that says nothing stays open");
}
