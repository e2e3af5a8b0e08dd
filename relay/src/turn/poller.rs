//! Waits until sockets can be read.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// Sockets reported ready at once.
pub(super) const EVENTS: usize = 256;

/// The sockets that are watched. A socket that is closed is watched no more.
pub(super) struct Poller {
    epoll: Epoll,
    events: Vec<EpollEvent>,
    ready: usize,
}

/// A socket can be read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ready {
    /// The number it is watched under.
    pub(super) number: u64,
    /// Whether an error is reported, for instance one that came by ICMP.
    pub(super) has_error: bool,
}

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Self { epoll, events: vec![EpollEvent::empty(); EVENTS], ready: 0 })
    }

    pub(super) fn watch(&self, socket: &impl AsFd, number: u64) -> io::Result<()> {
        Ok(self.epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, number))?)
    }

    /// Waits for this time at most; `Ok` also when it was interrupted.
    pub(super) fn wait(&mut self, timeout: Duration) -> io::Result<()> {
        let milliseconds = timeout.as_millis().saturating_add(u128::from(!timeout.is_zero()));
        let timeout = EpollTimeout::from(u16::try_from(milliseconds).unwrap_or(u16::MAX));
        self.ready = match self.epoll.wait(&mut self.events, timeout) {
            Ok(ready) => ready,
            Err(nix::errno::Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        Ok(())
    }

    /// How many were found ready by the last wait.
    pub(super) fn len(&self) -> usize {
        self.ready
    }

    pub(super) fn ready(&self, place: usize) -> Option<Ready> {
        let event = self.events.get(..self.ready)?.get(place)?;
        Some(Ready { number: event.data(), has_error: event.events().contains(EpollFlags::EPOLLERR) })
    }
}
