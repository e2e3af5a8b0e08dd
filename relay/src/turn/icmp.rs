//! ICMP errors that packets to peers caused, from the error queues of relay sockets (ip(7), IP_RECVERR).

use std::net::SocketAddr;

use lanyard_turn_core::Icmp;

#[cfg(target_os = "linux")]
pub(super) use queue::{keep_errors, next_error};

/// An ICMP error.
#[derive(Debug, Clone, Copy)]
pub(super) struct IcmpError {
    /// Where the packet was sent to.
    pub(super) peer: SocketAddr,
    pub(super) icmp: Icmp,
}

/// There is no such queue here.
#[cfg(not(target_os = "linux"))]
pub(super) fn next_error(_socket: &mio::net::UdpSocket) -> Option<IcmpError> {
    None
}

#[cfg(target_os = "linux")]
mod queue {
    use std::io::IoSliceMut;
    use std::net::SocketAddr;
    use std::os::fd::AsRawFd as _;

    use lanyard_turn_core::{Icmp, IcmpFamily};
    use mio::net::UdpSocket;
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
    use tracing::debug;

    use super::IcmpError;

    /// Where an error comes from (`SO_EE_ORIGIN_*`): not from this host itself.
    const FROM_ICMP: u8 = 2;
    const FROM_ICMP6: u8 = 3;
    /// Errors looked at before giving up on finding one of ICMP.
    const TRIES: usize = 16;

    /// Lets a socket keep ICMP errors for [`next_error`].
    pub(in crate::turn) fn keep_errors(socket: &UdpSocket, is_ipv4: bool) {
        let kept = if is_ipv4 {
            setsockopt(socket, sockopt::Ipv4RecvErr, &true)
        } else {
            setsockopt(socket, sockopt::Ipv6RecvErr, &true)
        };
        if let Err(error) = kept {
            debug!(%error, "clients will not hear of ICMP errors");
        }
    }

    /// Takes the next one off the queue; `None` when there is none.
    pub(in crate::turn) fn next_error(socket: &UdpSocket) -> Option<IcmpError> {
        let mut control = nix::cmsg_space!(nix::libc::sock_extended_err, nix::libc::sockaddr_in6);
        for _ in 0..TRIES {
            // What was sent is of no interest.
            let mut payload = [0; 1];
            let mut slices = [IoSliceMut::new(&mut payload)];
            let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
            let received =
                recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags).ok()?;
            let peer = received.address.as_ref().and_then(address_of);
            let error = received.cmsgs().ok()?.find_map(|message| {
                let (ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _)) = message
                else {
                    return None;
                };
                Some(error)
            });
            let family = error.and_then(|error| match error.ee_origin {
                FROM_ICMP => Some(IcmpFamily::V4),
                FROM_ICMP6 => Some(IcmpFamily::V6),
                _ => None,
            });
            if let Some(((peer, error), family)) = peer.zip(error).zip(family) {
                let icmp = Icmp { family, kind: error.ee_type, code: error.ee_code, mtu: error.ee_info };
                return Some(IcmpError { peer, icmp });
            }
        }
        None
    }

    fn address_of(address: &SockaddrStorage) -> Option<SocketAddr> {
        let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::new(v4.ip().into(), v4.port()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddr::new(v6.ip().into(), v6.port())))
    }

    #[cfg(test)]
    mod tests {
        use std::time::{Duration, Instant};

        use super::*;

        #[test]
        fn error_names_the_peer_that_was_not_there() {
            for ip in ["127.0.0.1", "::1"] {
                let Ok(socket) = std::net::UdpSocket::bind((ip, 0)) else { continue };
                let socket = UdpSocket::from_std(socket);
                keep_errors(&socket, ip == "127.0.0.1");
                let gone = std::net::UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap();
                assert!(next_error(&socket).is_none());
                socket.send_to(b"anybody there?", gone).unwrap();
                let deadline = Instant::now() + Duration::from_secs(5);
                let error = loop {
                    if let Some(error) = next_error(&socket) {
                        break error;
                    }
                    assert!(Instant::now() < deadline);
                };
                let (family, kind, code) = if gone.is_ipv4() { (IcmpFamily::V4, 3, 3) } else { (IcmpFamily::V6, 1, 4) };
                assert_eq!((error.peer, error.icmp.family), (gone, family));
                assert_eq!((error.icmp.kind, error.icmp.code), (kind, code));
            }
        }
    }
}
