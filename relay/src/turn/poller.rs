//! Waits until sockets can be read.

use std::io;
use std::time::Duration;

use mio::net::UdpSocket;
#[cfg(target_os = "linux")]
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
#[cfg(target_os = "linux")]
use nix::sys::eventfd::{EfdFlags, EventFd};

use super::config::DataPlane;

/// Sockets reported ready at once.
pub(super) const EVENTS: usize = 256;
/// The number of the bell; sockets have smaller ones.
pub(super) const BELL: u64 = u32::MAX as u64;

/// A socket can be read, or the bell was rung.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ready {
    /// The number it is watched under, or [`BELL`].
    pub(super) number: u64,
    /// Whether an error is reported, for instance one that came by ICMP.
    pub(super) has_error: bool,
}

/// The sockets that are watched. A socket that is closed is watched no more.
pub(super) struct Poller {
    system: System,
    ready: Vec<Ready>,
}

enum System {
    /// Says again and again what can be read.
    #[cfg(target_os = "linux")]
    Epoll { epoll: Epoll, events: Vec<EpollEvent> },
    /// What every system has. It says once that something can be read, so that is remembered until it is not so.
    Portable { poll: mio::Poll, events: mio::Events, unread: Vec<u64> },
}

/// Wakes who waits.
#[derive(Debug)]
pub(super) enum Waker {
    #[cfg(target_os = "linux")]
    EventFd(EventFd),
    Portable(mio::Waker),
}

impl Poller {
    /// With what wakes it up.
    pub(super) fn new(data_plane: DataPlane) -> io::Result<(Self, Waker)> {
        #[cfg(target_os = "linux")]
        if data_plane == DataPlane::Auto {
            let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
            let bell = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
            epoll.add(&bell, EpollEvent::new(EpollFlags::EPOLLIN, BELL))?;
            let system = System::Epoll { epoll, events: vec![EpollEvent::empty(); EVENTS] };
            return Ok((Self { system, ready: Vec::with_capacity(EVENTS) }, Waker::EventFd(bell)));
        }
        let poll = mio::Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), mio::Token(BELL as usize))?;
        let system = System::Portable { poll, events: mio::Events::with_capacity(EVENTS), unread: Vec::new() };
        Ok((Self { system, ready: Vec::with_capacity(EVENTS) }, Waker::Portable(waker)))
    }

    pub(super) fn watch(&self, socket: &mut UdpSocket, number: u64) -> io::Result<()> {
        match &self.system {
            #[cfg(target_os = "linux")]
            System::Epoll { epoll, .. } => Ok(epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, number))?),
            System::Portable { poll, .. } => {
                poll.registry().register(socket, mio::Token(number as usize), mio::Interest::READABLE)
            }
        }
    }

    /// Waits for this time at most; `Ok` also when it was interrupted.
    pub(super) fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        self.ready.clear();
        match &mut self.system {
            #[cfg(target_os = "linux")]
            System::Epoll { epoll, events } => {
                let milliseconds = timeout.as_millis().saturating_add(u128::from(!timeout.is_zero()));
                let timeout = EpollTimeout::from(u16::try_from(milliseconds).unwrap_or(u16::MAX));
                let count = match epoll.wait(events, timeout) {
                    Ok(count) => count,
                    Err(nix::errno::Errno::EINTR) => 0,
                    Err(error) => return Err(error.into()),
                };
                self.ready.extend(events.iter().take(count).map(|event| Ready {
                    number: event.data(),
                    has_error: event.events().contains(EpollFlags::EPOLLERR),
                }));
            }
            System::Portable { poll, events, unread } => {
                let timeout = if unread.is_empty() { timeout } else { Duration::ZERO };
                match poll.poll(events, Some(timeout)) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    result => result?,
                }
                for number in events.iter().map(|event| event.token().0 as u64) {
                    if number == BELL {
                        self.ready.push(Ready { number, has_error: false });
                    } else if !unread.contains(&number) {
                        unread.push(number);
                    }
                }
                // Those that waited longest first.
                let turn = unread.iter().take(EVENTS).map(|number| Ready { number: *number, has_error: false });
                self.ready.extend(turn);
            }
        }
        Ok(())
    }

    /// What the last wait found.
    pub(super) fn ready(&self) -> &[Ready] {
        &self.ready
    }

    /// To be told when there is no more to read from a socket that was ready.
    pub(super) fn drained(&mut self, number: u64) {
        match &mut self.system {
            #[cfg(target_os = "linux")]
            System::Epoll { .. } => {}
            System::Portable { unread, .. } => unread.retain(|other| *other != number),
        }
    }
}

impl Waker {
    pub(super) fn wake(&self) {
        // Fails only when it was rung without end, and is awake then.
        match self {
            #[cfg(target_os = "linux")]
            Self::EventFd(bell) => drop(bell.write(1)),
            Self::Portable(waker) => drop(waker.wake()),
        }
    }

    /// For the one who was woken: to be called before it looks why.
    pub(super) fn answer(&self) {
        match self {
            // Nothing to read: rung again before this was noticed.
            #[cfg(target_os = "linux")]
            Self::EventFd(bell) => drop(bell.read()),
            Self::Portable(_) => {}
        }
    }
}
