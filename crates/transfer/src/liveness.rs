//! Whether the other side is there, by our own clock (TR-70): a channel's own state says it late or never.

use std::time::{Duration, Instant};

use lanyard_protocol::control::ControlMessage;

use crate::output::Event;

#[derive(Debug)]
pub(crate) struct Liveness {
    ping_after: Duration,
    silent_after: Duration,
    heard: Instant,
    pinged: Option<Instant>,
    is_silent: bool,
    nonce: u32,
}

impl Liveness {
    pub(crate) fn new(now: Instant, ping_after: Duration, silent_after: Duration) -> Self {
        Self { ping_after, silent_after, heard: now, pinged: None, is_silent: false, nonce: 0 }
    }

    /// Anything at all came.
    pub(crate) fn handle_heard(&mut self, now: Instant) -> Option<Event> {
        self.heard = now;
        self.pinged = None;
        std::mem::take(&mut self.is_silent).then_some(Event::Heard)
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) -> (Option<ControlMessage>, Option<Event>) {
        let mut ping = None;
        if self.ping_due() <= now {
            self.pinged = Some(now);
            self.nonce = self.nonce.wrapping_add(1);
            ping = Some(ControlMessage::Ping { nonce: self.nonce });
        }
        let falls_silent = !self.is_silent && self.heard + self.silent_after <= now;
        self.is_silent |= falls_silent;
        (ping, falls_silent.then_some(Event::Silent))
    }

    pub(crate) fn poll_timeout(&self) -> Instant {
        let silent = (!self.is_silent).then(|| self.heard + self.silent_after);
        silent.map_or(self.ping_due(), |silent| silent.min(self.ping_due()))
    }

    fn ping_due(&self) -> Instant {
        self.pinged.unwrap_or(self.heard) + self.ping_after
    }
}
