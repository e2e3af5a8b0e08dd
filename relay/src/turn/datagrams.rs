//! Datagrams as they come in and go out, many at a time where the system can.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
#[cfg(target_os = "linux")]
use std::os::fd::AsFd as _;

use mio::net::UdpSocket;

#[cfg(target_os = "linux")]
use super::batch::{BatchReader, BatchSender};
use super::config::DataPlane;

/// Datagrams, or trains, that are read before any is sent on.
pub(super) const SLOTS: usize = 128;
/// The largest datagram, and the largest train.
pub(super) const SLOT_BYTES: usize = 65_536;
/// From slot to slot. No multiple of the page size: the starts of all slots would share a few cache lines.
pub(super) const STRIDE: usize = SLOT_BYTES + 2112;
/// Segments of a train (`UDP_MAX_SEGMENTS` of older kernels).
pub(super) const MAX_SEGMENTS: usize = 64;
/// Bytes of a train's payload: what fits into one IPv4 packet, with room for options.
pub(super) const MAX_TRAIN_BYTES: usize = 65_000;
/// Bytes of a segment: with more than this, a train might need fragments, which segments cannot be.
pub(super) const MAX_SEGMENT_BYTES: usize = 1_452;

/// A datagram, or a train of equally long ones (the last may be shorter), as it was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Received<'a> {
    pub(super) from: SocketAddr,
    /// The own address it was sent to; `None` unless the socket is set to tell.
    pub(super) to: Option<IpAddr>,
    pub(super) bytes: &'a [u8],
    /// Bytes of each datagram of a train.
    segment_bytes: usize,
    /// Datagrams that the socket has dropped so far because nobody read them in time.
    pub(super) dropped: Option<u32>,
}

impl<'a> Received<'a> {
    /// The datagrams one by one.
    pub(super) fn segments(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        // A datagram may be empty, and is one nevertheless.
        let empty = self.bytes.is_empty().then_some(self.bytes);
        self.bytes.chunks(self.segment_bytes.max(1)).chain(empty)
    }
}

/// What was read into a slot.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Arrival {
    /// `None` when the address is of no family that is known.
    pub(super) from: Option<SocketAddr>,
    pub(super) to: Option<IpAddr>,
    pub(super) bytes: usize,
    pub(super) segment_bytes: Option<usize>,
    pub(super) dropped: Option<u32>,
}

/// How datagrams are read.
enum Reader {
    /// Many in one call.
    #[cfg(target_os = "linux")]
    Batch(BatchReader),
    /// One in a call, which every system can.
    OneByOne,
}

/// Buffers for what is read.
pub(super) struct Inbox {
    bytes: Vec<u8>,
    arrivals: Vec<Arrival>,
    reader: Reader,
}

impl Inbox {
    pub(super) fn new(data_plane: DataPlane) -> Self {
        let reader = match data_plane {
            #[cfg(target_os = "linux")]
            DataPlane::Auto => Reader::Batch(BatchReader::new()),
            #[cfg(not(target_os = "linux"))]
            DataPlane::Auto => Reader::OneByOne,
            DataPlane::Portable => Reader::OneByOne,
        };
        Self { bytes: vec![0; SLOTS * STRIDE], arrivals: vec![Arrival::default(); SLOTS], reader }
    }

    /// Reads into the slots from `first` on, at most `most` of them, without waiting. Returns how many were filled:
    /// fewer than could have been when there is no more.
    pub(super) fn receive(&mut self, socket: &UdpSocket, first: usize, most: usize) -> io::Result<usize> {
        let last = SLOTS.min(first + most);
        if first >= last {
            return Ok(0);
        }
        let bytes = &mut self.bytes[first * STRIDE..last * STRIDE];
        let arrivals = &mut self.arrivals[first..last];
        match &mut self.reader {
            #[cfg(target_os = "linux")]
            Reader::Batch(reader) => reader.receive(socket.as_fd(), bytes, arrivals),
            Reader::OneByOne => receive_one_by_one(socket, bytes, arrivals),
        }
    }

    /// What was read into a slot; `None` when its address is of no family that is known.
    pub(super) fn get(&self, slot: usize) -> Option<Received<'_>> {
        let Arrival { from, to, bytes, segment_bytes, dropped } = self.arrivals[slot];
        let bytes = &self.bytes[slot * STRIDE..][..bytes];
        Some(Received { from: from?, to, bytes, segment_bytes: segment_bytes.unwrap_or(bytes.len()), dropped })
    }

    /// Where in this inbox a slice of it lies, to be found again by [`Inbox::slice`].
    pub(super) fn position(&self, part: &[u8]) -> Option<Range<usize>> {
        let start = part.as_ptr().addr().checked_sub(self.bytes.as_ptr().addr())?;
        let end = start.checked_add(part.len())?;
        (end <= self.bytes.len()).then_some(start..end)
    }

    pub(super) fn slice(&self, range: Range<usize>) -> &[u8] {
        &self.bytes[range]
    }
}

fn receive_one_by_one(socket: &UdpSocket, bytes: &mut [u8], arrivals: &mut [Arrival]) -> io::Result<usize> {
    for (filled, (slot, arrival)) in bytes.chunks_exact_mut(STRIDE).zip(arrivals).enumerate() {
        match socket.recv_from(&mut slot[..SLOT_BYTES]) {
            Ok((bytes, from)) => *arrival = Arrival { from: Some(from), bytes, ..Arrival::default() },
            Err(error) if filled == 0 => return Err(error),
            // An error other than that there is no more will be met again.
            Err(_) => return Ok(filled),
        }
    }
    Ok(bytes.len() / STRIDE)
}

/// A datagram, or a train, to be sent.
#[derive(Debug, Clone)]
pub(super) struct ToSend {
    /// `None` on a connected socket.
    pub(super) to: Option<SocketAddr>,
    /// The own address to send from, where the socket is bound to none.
    pub(super) from: Option<IpAddr>,
    /// Its parts, among all slices given with the batch.
    pub(super) slices: Range<usize>,
    /// Bytes of each datagram of a train.
    pub(super) segment_bytes: Option<u16>,
    /// How many datagrams; more than one is a train.
    pub(super) datagrams: usize,
    /// Bytes in all.
    pub(super) bytes: usize,
    /// Whether nothing more can be appended, because the last segment is shorter.
    pub(super) is_closed: bool,
}

/// How datagrams are sent.
enum Writer {
    /// Many in one call.
    #[cfg(target_os = "linux")]
    Batch(BatchSender),
    /// One in a call, after its parts were put together here.
    OneByOne(Vec<u8>),
}

/// Hands datagrams to the system.
pub(super) struct Sender {
    writer: Writer,
}

impl Sender {
    pub(super) fn new(data_plane: DataPlane) -> Self {
        let writer = match data_plane {
            #[cfg(target_os = "linux")]
            DataPlane::Auto => Writer::Batch(BatchSender::new()),
            #[cfg(not(target_os = "linux"))]
            DataPlane::Auto => Writer::OneByOne(Vec::new()),
            DataPlane::Portable => Writer::OneByOne(Vec::new()),
        };
        Self { writer }
    }

    /// Whether it takes trains.
    pub(super) fn takes_trains(&self) -> bool {
        !matches!(self.writer, Writer::OneByOne(_))
    }

    /// Hands messages to the system in order, as many as it takes at once, without waiting. Returns how many went; an
    /// error is about the first.
    pub(super) fn send(
        &mut self,
        socket: &UdpSocket,
        messages: &[ToSend],
        slices: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        match &mut self.writer {
            #[cfg(target_os = "linux")]
            Writer::Batch(sender) => sender.send(socket.as_fd(), messages, slices),
            Writer::OneByOne(buffer) => {
                let Some(message) = messages.first() else { return Ok(0) };
                debug_assert!(message.segment_bytes.is_none(), "no trains");
                buffer.clear();
                slices[message.slices.clone()].iter().for_each(|slice| buffer.extend_from_slice(slice));
                match message.to {
                    Some(to) => socket.send_to(buffer, to),
                    None => socket.send(buffer),
                }
                .map(|_| 1)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    const BOTH: [DataPlane; 2] = [DataPlane::Auto, DataPlane::Portable];

    fn slices<'a>(parts: &[&'a [u8]]) -> Vec<IoSlice<'a>> {
        parts.iter().map(|part| IoSlice::new(part)).collect()
    }

    fn plain(to: SocketAddr, slices: Range<usize>) -> ToSend {
        ToSend { to: Some(to), from: None, slices, segment_bytes: None, datagrams: 1, bytes: 0, is_closed: true }
    }

    fn pair(own: &str) -> (UdpSocket, UdpSocket) {
        (UdpSocket::bind(own.parse().unwrap()).unwrap(), UdpSocket::bind(own.parse().unwrap()).unwrap())
    }

    fn send(sender: &mut Sender, from: &UdpSocket, messages: &[ToSend], slices: &[IoSlice<'_>]) {
        let mut rest = messages;
        while !rest.is_empty() {
            rest = &rest[sender.send(from, rest, slices).unwrap()..];
        }
    }

    /// Waits until so many slots are filled.
    fn receive(inbox: &mut Inbox, socket: &UdpSocket, count: usize) {
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut filled = 0;
        while filled < count {
            match inbox.receive(socket, filled, SLOTS) {
                Ok(read) => filled += read,
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
        }
        assert_eq!(filled, count);
    }

    #[test]
    fn datagrams_of_several_slices_arrive_whole_and_in_order() {
        for (data_plane, own) in BOTH.into_iter().flat_map(|way| [(way, "127.0.0.1:0"), (way, "[::1]:0")]) {
            let (from, to) = pair(own);
            let address = to.local_addr().unwrap();
            let slices = slices(&[b"one ", b"and two", b"", b"three"]);
            let messages = [plain(address, 0..2), plain(address, 2..3), plain(address, 3..4)];
            send(&mut Sender::new(data_plane), &from, &messages, &slices);
            let mut inbox = Inbox::new(data_plane);
            receive(&mut inbox, &to, 3);
            let received: Vec<_> = (0..3).map(|slot| inbox.get(slot).unwrap()).collect();
            assert_eq!(received.iter().map(|one| one.bytes).collect::<Vec<_>>(), [&b"one and two"[..], b"", b"three"]);
            assert!(received.iter().all(|one| one.from == from.local_addr().unwrap() && one.segments().count() == 1));
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn trains_are_cut_into_their_datagrams_also_after_plain_ones() {
        let (from, to) = pair("127.0.0.1:0");
        super::super::sockets::accept_trains(&to);
        let address = to.local_addr().unwrap();
        let mut inbox = Inbox::new(DataPlane::Auto);
        let mut sender = Sender::new(DataPlane::Auto);
        for _ in 0..3 {
            let slices = slices(&[b"plain", b"aaaabbbbcc"]);
            let train = ToSend { segment_bytes: Some(4), ..plain(address, 1..2) };
            send(&mut sender, &from, &[plain(address, 0..1)], &slices);
            receive(&mut inbox, &to, 1);
            assert_eq!(inbox.get(0).unwrap().segments().collect::<Vec<_>>(), [b"plain"]);
            send(&mut sender, &from, &[train], &slices);
            receive(&mut inbox, &to, 1);
            assert_eq!(inbox.get(0).unwrap().segments().collect::<Vec<_>>(), [&b"aaaa"[..], b"bbbb", b"cc"]);
        }
    }

    #[test]
    fn positions_find_their_slices_again() {
        let (from, to) = pair("127.0.0.1:0");
        from.send_to(b"head and body", to.local_addr().unwrap()).unwrap();
        let mut inbox = Inbox::new(DataPlane::Auto);
        receive(&mut inbox, &to, 1);
        let body = &inbox.get(0).unwrap().bytes[9..];
        assert_eq!(inbox.slice(inbox.position(body).unwrap()), b"body");
        assert_eq!(inbox.position(b"elsewhere"), None);
    }
}
