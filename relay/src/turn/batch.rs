//! Many datagrams in one system call: `recvmmsg` with trains (UDP GRO), `sendmmsg` with trains (UDP GSO). Linux only.
//!
//! The only unsafe code of the relay, and small for that reason. No wrapper fits: `nix` does not reset the length of the
//! control buffers between calls of `recvmmsg`, so trains are only told apart until the first plain datagram, and it
//! gives all messages of one `sendmmsg` the same control messages; `quinn-udp` has no `sendmmsg` and sets DF on all
//! packets. Addresses and control messages are read and written as plain bytes, in safe code: what is unsafe is a few
//! system calls, those on headers whose pointers are set, from live slices, right before.

use std::io::{self, IoSlice};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_int, iovec, mmsghdr};

use super::datagrams::{Arrival, SLOT_BYTES, STRIDE, ToSend};

/// Datagrams asked for in one call.
const PER_CALL: usize = 64;
/// Messages of one `sendmmsg`.
const SENDS_PER_CALL: usize = 64;

/// A socket address as the kernel writes it: `sockaddr_in` or `sockaddr_in6`.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Name([u8; 32]);

/// Control messages: destination address, segment size and drop counter of one datagram take 88 bytes.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; 128]);

const EMPTY_NAME: Name = Name([0; 32]);
const EMPTY_CONTROL: Control = Control([0; 128]);

/// Headers for what is read; kept to be used again.
pub(super) struct BatchReader {
    names: Vec<Name>,
    controls: Vec<Control>,
    iovecs: Vec<iovec>,
    headers: Vec<mmsghdr>,
}

impl BatchReader {
    pub(super) fn new() -> Self {
        Self {
            names: vec![EMPTY_NAME; PER_CALL],
            controls: vec![EMPTY_CONTROL; PER_CALL],
            iovecs: Vec::with_capacity(PER_CALL),
            headers: Vec::with_capacity(PER_CALL),
        }
    }

    /// Reads into the slots that `bytes` is made of, as many as one call takes, without waiting. Returns how many were
    /// filled, and says in `arrivals` with what.
    pub(super) fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        bytes: &mut [u8],
        arrivals: &mut [Arrival],
    ) -> io::Result<usize> {
        self.iovecs.clear();
        self.headers.clear();
        for slot in bytes.chunks_exact_mut(STRIDE).take(PER_CALL.min(arrivals.len())) {
            self.iovecs.push(iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: SLOT_BYTES });
        }
        for ((name, control), iovec) in self.names.iter_mut().zip(&mut self.controls).zip(&mut self.iovecs) {
            let mut header = empty_header();
            header.msg_hdr.msg_name = name.0.as_mut_ptr().cast();
            header.msg_hdr.msg_namelen = size_of::<Name>() as libc::socklen_t;
            header.msg_hdr.msg_iov = iovec;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = size_of::<Control>() as _;
            self.headers.push(header);
        }
        let count = self.headers.len() as libc::c_uint;
        // SAFETY: `count` headers, each with pointers into `names`, `controls`, `iovecs` and, through these, `bytes`.
        // All were made above from exclusive borrows of whole elements, none was moved or grown since, and the lengths
        // are those of the elements. The kernel writes plain bytes there and keeps no pointer.
        #[expect(unsafe_code, reason = "see the module's text")]
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        let parts = self.headers.iter().zip(self.names.iter().zip(&self.controls)).take(received);
        for (arrival, (header, (name, control))) in arrivals.iter_mut().zip(parts) {
            #[allow(clippy::unnecessary_cast, reason = "the type differs between C libraries")]
            let control_bytes = (header.msg_hdr.msg_controllen as usize).min(control.0.len());
            let facts = read_control(&control.0[..control_bytes]);
            *arrival = Arrival {
                from: decode_name(&name.0),
                to: facts.to,
                bytes: (header.msg_len as usize).min(SLOT_BYTES),
                segment_bytes: facts.segment_bytes,
                dropped: facts.dropped,
            };
        }
        Ok(received)
    }
}

/// Headers for what is sent; kept to be used again.
pub(super) struct BatchSender {
    names: Vec<Name>,
    controls: Vec<Control>,
    headers: Vec<mmsghdr>,
}

impl BatchSender {
    pub(super) fn new() -> Self {
        Self {
            names: vec![EMPTY_NAME; SENDS_PER_CALL],
            controls: vec![EMPTY_CONTROL; SENDS_PER_CALL],
            headers: Vec::with_capacity(SENDS_PER_CALL),
        }
    }

    /// Hands messages to the kernel in order, as many as one call takes, without waiting. Returns how many went; an
    /// error is about the first.
    pub(super) fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        messages: &[ToSend],
        slices: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        self.headers.clear();
        let parts = messages.iter().zip(self.names.iter_mut().zip(&mut self.controls));
        for (message, (name, control)) in parts {
            let slices = &slices[message.slices.clone()];
            let mut header = empty_header();
            if let Some(to) = message.to {
                header.msg_hdr.msg_namelen = encode_name(to, &mut name.0) as libc::socklen_t;
                header.msg_hdr.msg_name = name.0.as_mut_ptr().cast();
            }
            // An `IoSlice` is an `iovec` by its documentation; sending only reads through it.
            header.msg_hdr.msg_iov = slices.as_ptr().cast::<iovec>().cast_mut();
            header.msg_hdr.msg_iovlen = slices.len() as _;
            let control_bytes = write_control(message, &mut control.0);
            if control_bytes > 0 {
                header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
                header.msg_hdr.msg_controllen = control_bytes as _;
            }
            self.headers.push(header);
        }
        let count = self.headers.len();
        if count == 0 {
            return Ok(0);
        }
        // SAFETY: `count` headers with pointers into `names` and `controls`, which are not moved or grown since, and to
        // the borrowed `slices`; lengths are those of what was written. The kernel only reads there, and writes
        // `msg_len` into the headers.
        #[expect(unsafe_code, reason = "see the module's text")]
        let sent = unsafe {
            if count == 1 {
                let sent = libc::sendmsg(socket.as_raw_fd(), &raw const self.headers[0].msg_hdr, libc::MSG_DONTWAIT);
                if sent < 0 { -1 } else { 1 }
            } else {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    self.headers.as_mut_ptr(),
                    count as libc::c_uint,
                    libc::MSG_DONTWAIT as _,
                )
            }
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

/// Sends datagrams from many own addresses out of one socket that is bound to none. For the load generator of the
/// benchmarks alone, so that unsafe code stays in this file.
#[doc(hidden)]
pub struct ManySources {
    sender: BatchSender,
    messages: Vec<ToSend>,
}

impl Default for ManySources {
    /// With room for one call's headers.
    fn default() -> Self {
        Self { sender: BatchSender::new(), messages: Vec::new() }
    }
}

impl ManySources {
    /// Sends each datagram from the source at its place, without waiting. What finds the socket full is lost.
    ///
    /// # Errors
    /// The system refuses to send.
    pub fn send(
        &mut self,
        socket: BorrowedFd<'_>,
        to: SocketAddr,
        sources: &[IpAddr],
        datagrams: &[IoSlice<'_>],
    ) -> io::Result<()> {
        self.messages.clear();
        self.messages.extend(sources.iter().zip(datagrams).enumerate().map(|(place, (from, datagram))| ToSend {
            to: Some(to),
            from: Some(*from),
            slices: place..place + 1,
            segment_bytes: None,
            datagrams: 1,
            bytes: datagram.len(),
            is_closed: true,
        }));
        let mut rest = self.messages.as_slice();
        while !rest.is_empty() {
            match self.sender.send(socket, rest, datagrams) {
                Ok(sent) => rest = &rest[sent.clamp(1, rest.len())..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Sets IP_MTU_DISCOVER, which says whether packets may be cut; no wrapper has it.
pub(super) fn set_path_mtu_discovery(socket: &impl AsRawFd, mode: c_int) -> io::Result<()> {
    // SAFETY: the kernel reads the given number of bytes at the given place: those of `mode`.
    #[expect(unsafe_code, reason = "see the module's text")]
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            (&raw const mode).cast(),
            size_of::<c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives memory that is no longer used back to the system, where the C library does not do so by itself.
pub(super) fn return_memory() {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: takes a number of bytes to keep, and touches nothing but the library's own books of free memory.
        #[expect(unsafe_code, reason = "see the module's text")]
        let _ = unsafe { libc::malloc_trim(0) };
    }
}

fn empty_header() -> mmsghdr {
    // SAFETY: integers and raw pointers, for all of which zero is a value. Zeroed rather than written as a literal,
    // because some C libraries have private padding there.
    #[expect(unsafe_code, reason = "see the module's text")]
    unsafe {
        std::mem::zeroed()
    }
}

/// Family, port and address, in the kernel's layout.
fn decode_name(name: &[u8; 32]) -> Option<SocketAddr> {
    let part = |range: Range<usize>| &name[range];
    let port = u16::from_be_bytes([name[2], name[3]]);
    match c_int::from(u16::from_ne_bytes([name[0], name[1]])) {
        libc::AF_INET => {
            let ip: [u8; 4] = part(4..8).try_into().ok()?;
            Some(SocketAddr::new(Ipv4Addr::from(ip).into(), port))
        }
        libc::AF_INET6 => {
            let ip: [u8; 16] = part(8..24).try_into().ok()?;
            let scope: [u8; 4] = part(24..28).try_into().ok()?;
            let ip = Ipv6Addr::from(ip);
            // Only link-local addresses need their interface; elsewhere it would tell equal addresses apart.
            let scope = if ip.is_unicast_link_local() { u32::from_ne_bytes(scope) } else { 0 };
            Some(SocketAddrV6::new(ip, port, 0, scope).into())
        }
        _ => None,
    }
}

/// Returns the bytes used.
fn encode_name(address: SocketAddr, name: &mut [u8; 32]) -> usize {
    *name = [0; 32];
    name[2..4].copy_from_slice(&address.port().to_be_bytes());
    match address {
        SocketAddr::V4(v4) => {
            name[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
            name[4..8].copy_from_slice(&v4.ip().octets());
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(v6) => {
            name[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
            name[8..24].copy_from_slice(&v6.ip().octets());
            name[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
            size_of::<libc::sockaddr_in6>()
        }
    }
}

/// A control message starts with its length (of the machine's word size), level and type (cmsg(3)).
const CONTROL_HEADER_BYTES: usize = size_of::<libc::cmsghdr>();
const WORD_BYTES: usize = size_of::<usize>();

#[derive(Debug, Default)]
struct ControlFacts {
    to: Option<IpAddr>,
    segment_bytes: Option<usize>,
    dropped: Option<u32>,
}

fn read_control(mut rest: &[u8]) -> ControlFacts {
    let mut facts = ControlFacts::default();
    while let Some((header, _)) = rest.split_at_checked(CONTROL_HEADER_BYTES) {
        let word = |at: usize| header.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
        let Some(length) = header.first_chunk::<WORD_BYTES>().map(|bytes| usize::from_ne_bytes(*bytes)) else { break };
        let Some(data) = rest.get(CONTROL_HEADER_BYTES..length) else { break };
        match (word(WORD_BYTES), word(WORD_BYTES + 4)) {
            (Some(libc::IPPROTO_IP), Some(libc::IP_PKTINFO)) => {
                // struct in_pktinfo: interface, local address of the route, destination in the header.
                facts.to = data.get(8..12).and_then(|ip| <[u8; 4]>::try_from(ip).ok()).map(IpAddr::from);
            }
            (Some(libc::IPPROTO_IPV6), Some(libc::IPV6_PKTINFO)) => {
                facts.to = data.first_chunk::<16>().map(|ip| IpAddr::from(*ip));
            }
            (Some(libc::SOL_UDP), Some(libc::UDP_GRO)) => {
                let size = data.first_chunk().map(|size| i32::from_ne_bytes(*size));
                facts.segment_bytes = size.and_then(|size| usize::try_from(size).ok()).filter(|size| *size > 0);
            }
            (Some(libc::SOL_SOCKET), Some(libc::SO_RXQ_OVFL)) => {
                facts.dropped = data.first_chunk().map(|count| u32::from_ne_bytes(*count));
            }
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(WORD_BYTES)..).unwrap_or_default();
    }
    facts
}

/// Returns the bytes used.
fn write_control(message: &ToSend, control: &mut [u8; 128]) -> usize {
    let mut used = 0;
    let mut put = |level: c_int, kind: c_int, data: &[u8]| {
        let length = CONTROL_HEADER_BYTES + data.len();
        let space = &mut control[used..used + length.next_multiple_of(WORD_BYTES)];
        space.fill(0);
        space[..WORD_BYTES].copy_from_slice(&length.to_ne_bytes());
        space[WORD_BYTES..][..4].copy_from_slice(&level.to_ne_bytes());
        space[WORD_BYTES + 4..][..4].copy_from_slice(&kind.to_ne_bytes());
        space[CONTROL_HEADER_BYTES..length].copy_from_slice(data);
        used += length.next_multiple_of(WORD_BYTES);
    };
    match message.from {
        Some(IpAddr::V4(ip)) => {
            let [a, b, c, d] = ip.octets();
            put(libc::IPPROTO_IP, libc::IP_PKTINFO, &[0, 0, 0, 0, a, b, c, d, 0, 0, 0, 0]);
        }
        Some(IpAddr::V6(ip)) => {
            let mut info = [0; 20];
            info[..16].copy_from_slice(&ip.octets());
            put(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
        }
        None => {}
    }
    if let Some(size) = message.segment_bytes {
        put(libc::SOL_UDP, libc::UDP_SEGMENT, &size.to_ne_bytes());
    }
    used
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_messages_cut_short_or_of_absurd_length_are_ignored() {
        for bytes in [&[][..], &[1; 15], &[0xff; 40], &[0; 64]] {
            let facts = read_control(bytes);
            assert!(facts.to.is_none() && facts.segment_bytes.is_none() && facts.dropped.is_none());
        }
    }
}
