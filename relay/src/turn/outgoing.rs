//! Packets on their way out, gathered until one wake-up's work is done: fewer calls, and trains where packets for one
//! destination are equally long.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use mio::net::UdpSocket;
use tracing::debug;

use super::config::DataPlane;
use super::datagrams::{Inbox, MAX_SEGMENT_BYTES, MAX_SEGMENTS, MAX_TRAIN_BYTES, Sender, ToSend};

/// Zero bytes after a payload (RFC 8489 §14: values are padded to four bytes).
const PADDING: [u8; 3] = [0; 3];

/// Names a socket to the one who flushes: small numbers.
pub(super) type SocketNumber = u32;

/// One packet: what was made here, then what lies in the inbox, then padding.
#[derive(Debug, Clone)]
struct Packet {
    /// Packets of one socket, and among them those for one destination, get next to each other when sorted by this.
    order: u64,
    socket: SocketNumber,
    /// `None` on a connected socket.
    to: Option<SocketAddr>,
    from: Option<IpAddr>,
    head: Range<usize>,
    body: Range<usize>,
    padding: u8,
}

impl Packet {
    fn len(&self) -> usize {
        self.head.len() + self.body.len() + usize::from(self.padding)
    }
}

/// What became of packets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, derive_more::Add)]
pub(crate) struct SendCounters {
    /// Datagrams handed to the kernel.
    pub(crate) datagrams: u64,
    /// Of these, in trains.
    pub(crate) in_trains: u64,
    /// Calls that took them.
    pub(crate) calls: u64,
    /// Datagrams dropped because a socket was full, as a router would.
    pub(crate) dropped: u64,
    /// Datagrams the system refused: too big, or no route.
    pub(crate) failed: u64,
}

/// Packets that wait. The bodies lie in the inbox, so it must be flushed before that is filled again.
pub(super) struct Outgoing {
    packets: Vec<Packet>,
    heads: Vec<u8>,
    messages: Vec<ToSend>,
    sender: Sender,
    pub(super) counters: SendCounters,
}

impl Outgoing {
    pub(super) fn new(data_plane: DataPlane) -> Self {
        Self {
            packets: Vec::new(),
            heads: Vec::new(),
            messages: Vec::new(),
            sender: Sender::new(data_plane),
            counters: SendCounters::default(),
        }
    }

    /// Adds a packet of `head`, which is copied, then what the inbox holds at `body`, then `padding` zeros (0 to 3).
    pub(super) fn push(
        &mut self,
        socket: SocketNumber,
        (to, from): (Option<SocketAddr>, Option<IpAddr>),
        head: &[u8],
        body: Range<usize>,
        padding: u8,
    ) {
        let low = |to: SocketAddr| match to.ip() {
            IpAddr::V4(ip) => ip.to_bits() as u16,
            IpAddr::V6(ip) => ip.to_bits() as u16,
        };
        let destination = to.map_or(0, |to| u64::from(to.port()) << 16 | u64::from(low(to)));
        let order = u64::from(socket) << 32 | destination;
        let start = self.heads.len();
        self.heads.extend_from_slice(head);
        self.packets.push(Packet { order, socket, to, from, head: start..self.heads.len(), body, padding });
    }

    /// Sends everything, packets for one destination in order. `socket` finds a socket by number; packets of one that
    /// is gone are dropped.
    pub(super) fn flush<'s>(&mut self, inbox: &Inbox, socket: impl Fn(SocketNumber) -> Option<&'s UdpSocket>) {
        let Self { packets, heads, messages, sender, counters } = self;
        // Stable: what goes to one destination stays in order.
        packets.sort_by_key(|packet| packet.order);
        let mut slices = Vec::with_capacity(packets.len() * 2);
        for run in packets.chunk_by(|a, b| a.socket == b.socket) {
            let Some(socket) = run.first().and_then(|first| socket(first.socket)) else {
                counters.dropped += run.len() as u64;
                continue;
            };
            let mut rest = run;
            let mut trains = sender.takes_trains();
            while !rest.is_empty() {
                slices.clear();
                messages.clear();
                for packet in rest {
                    let start = slices.len();
                    let parts = [
                        &heads[packet.head.clone()],
                        inbox.slice(packet.body.clone()),
                        &PADDING[..usize::from(packet.padding)],
                    ];
                    slices.extend(parts.into_iter().filter(|part| !part.is_empty()).map(IoSlice::new));
                    if !(trains && messages.last_mut().is_some_and(|last| last.couple(packet, slices.len()))) {
                        messages.push(ToSend::of(packet, start..slices.len()));
                    }
                }
                let gone = send_in_order(socket, sender, messages, &slices, counters);
                rest = rest.get(gone..).unwrap_or_default();
                // What is left starts with a train that was refused, for instance where a link's MTU is small.
                trains = false;
            }
        }
        packets.clear();
        heads.clear();
    }
}

impl ToSend {
    fn of(packet: &Packet, slices: Range<usize>) -> Self {
        Self {
            to: packet.to,
            from: packet.from,
            slices,
            segment_bytes: None,
            datagrams: 1,
            bytes: packet.len(),
            is_closed: false,
        }
    }

    /// Appends a packet whose slices follow and end at `end`, if both may be one train: for one destination, and all as
    /// long as the first, save that the last may be shorter.
    fn couple(&mut self, packet: &Packet, end: usize) -> bool {
        let len = packet.len();
        let segment = self.segment_bytes.map_or(self.bytes, usize::from);
        let fits = !self.is_closed
            && self.to == packet.to
            && self.from == packet.from
            && (1..=segment).contains(&len)
            && segment <= MAX_SEGMENT_BYTES
            && self.datagrams < MAX_SEGMENTS
            && self.bytes + len <= MAX_TRAIN_BYTES;
        if fits {
            self.segment_bytes = u16::try_from(segment).ok();
            self.slices.end = end;
            self.datagrams += 1;
            self.bytes += len;
            self.is_closed = len < segment;
        }
        fits
    }
}

/// Sends until all are gone or a train is refused. Returns how many packets are done with.
fn send_in_order(
    socket: &UdpSocket,
    sender: &mut Sender,
    messages: &[ToSend],
    slices: &[IoSlice<'_>],
    counters: &mut SendCounters,
) -> usize {
    let mut rest = messages;
    let mut gone = 0;
    let mut retried = false;
    while let Some(first) = rest.first() {
        counters.calls += 1;
        let error = match sender.send(socket, rest, slices) {
            Ok(sent) => {
                let (done, left) = rest.split_at(sent.clamp(1, rest.len()));
                for message in done {
                    counters.datagrams += message.datagrams as u64;
                    counters.in_trains += if message.datagrams > 1 { message.datagrams as u64 } else { 0 };
                    gone += message.datagrams;
                }
                rest = left;
                retried = false;
                continue;
            }
            Err(error) => error,
        };
        let kind = error.kind();
        if kind == io::ErrorKind::Interrupted {
            continue;
        }
        if kind == io::ErrorKind::WouldBlock {
            let left: usize = rest.iter().map(|message| message.datagrams).sum();
            counters.dropped += left as u64;
            return gone + left;
        }
        if !retried {
            // Perhaps the ICMP error of an earlier packet, reported now: then this one was not tried.
            retried = true;
            continue;
        }
        if first.datagrams > 1 {
            debug!(%error, "a train was refused");
            return gone;
        }
        debug!(%error, "a datagram was refused");
        counters.failed += 1;
        gone += first.datagrams;
        rest = rest.get(1..).unwrap_or_default();
    }
    gone
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    const BOTH: [DataPlane; 2] = [DataPlane::Auto, DataPlane::Portable];

    fn received(socket: &UdpSocket, count: usize) -> Vec<Vec<u8>> {
        let mut buffer = [0; 2048];
        (0..count)
            .map(|_| {
                let deadline = Instant::now() + Duration::from_secs(5);
                loop {
                    match socket.recv(&mut buffer) {
                        Ok(len) => return buffer[..len].to_vec(),
                        Err(error) => assert!(Instant::now() < deadline, "{error}"),
                    }
                }
            })
            .collect()
    }

    fn sockets<const N: usize>() -> [UdpSocket; N] {
        ["127.0.0.1:0"; N].map(|address| UdpSocket::bind(address.parse().unwrap()).unwrap())
    }

    #[test]
    fn packets_for_one_destination_keep_their_order_and_borders() {
        for data_plane in BOTH {
            let [from, a, b] = sockets();
            let mut outgoing = Outgoing::new(data_plane);
            let inbox = Inbox::new(data_plane);
            // Lengths that start trains, end them, and cannot be in any.
            let lengths = [4, 4, 4, 2, 4, 8, 8, 1500, 1500, 0, 4];
            for (n, len) in lengths.into_iter().enumerate() {
                for to in [&a, &b] {
                    outgoing.push(0, (to.local_addr().ok(), None), &vec![n as u8; len], 0..0, 0);
                }
            }
            outgoing.flush(&inbox, |_| Some(&from));
            for socket in [&a, &b] {
                let expected: Vec<_> = lengths.iter().enumerate().map(|(n, len)| vec![n as u8; *len]).collect();
                assert_eq!(received(socket, lengths.len()), expected);
            }
            assert_eq!(outgoing.counters.datagrams, 2 * lengths.len() as u64);
            assert_eq!(outgoing.counters.in_trains >= 12, data_plane.is_batched(), "{:?}", outgoing.counters);
            assert_eq!((outgoing.counters.failed, outgoing.counters.dropped), (0, 0));
        }
    }

    #[test]
    fn datagram_that_cannot_be_sent_holds_up_no_other() {
        for data_plane in BOTH {
            let [from, to] = sockets();
            let address = to.local_addr().ok();
            let mut outgoing = Outgoing::new(data_plane);
            outgoing.push(0, (address, None), b"first", 0..0, 0);
            outgoing.push(0, (address, None), &vec![0; 65_530], 0..0, 0);
            outgoing.push(0, (address, None), b"last", 0..0, 3);
            outgoing.push(7, (address, None), b"from a socket that is gone", 0..0, 0);
            outgoing.flush(&Inbox::new(data_plane), |number| (number == 0).then_some(&from));
            assert_eq!(received(&to, 2), [b"first".to_vec(), b"last\0\0\0".to_vec()]);
            let SendCounters { datagrams, failed, dropped, .. } = outgoing.counters;
            assert_eq!((datagrams, failed, dropped), (2, 1, 1));
        }
    }
}
