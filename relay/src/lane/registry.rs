//! Who may open a lane, who is there, and who belongs to whom.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lanyard_protocol::lane::LaneHello;
use lanyard_protocol::{LaneTicket, MailboxId, MemberNumber};
use lanyard_signaling::SourceKey;
use tokio::sync::{oneshot, watch};

use super::LaneConfig;
use super::bucket::{Bucket, Day};
use super::pipe::{PipeIn, PipeOut, pipe};
use crate::out_queue::Close;

/// Bytes a second in a megabit a second.
const MEGABIT: u64 = 125_000;

/// A side of a mailbox.
type Side = (MailboxId, MemberNumber);

/// All lanes of one relay. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Lanes {
    config: Arc<LaneConfig>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    stopping: bool,
    next_seat: u64,
    tickets: HashMap<LaneTicket, Side>,
    /// One for each side of a mailbox that is in use, so bounded by those.
    sides: HashMap<Side, LaneTicket>,
    /// Open sockets that named their side; at most one a side.
    seats: HashMap<Side, Seated>,
    /// What each device owes; kept while its side lives, so that a new socket does not begin with a clean slate.
    devices: HashMap<Side, Bucket>,
    sources: HashMap<SourceKey, Source>,
    sockets: usize,
    total: Bucket,
    day: Day,
}

#[derive(Debug)]
struct Seated {
    id: u64,
    stream: u64,
    trusted: bool,
    end: watch::Sender<Option<Close>>,
    /// Taken when the other side came.
    waiting: Option<oneshot::Sender<Joined>>,
}

#[derive(Debug, Default)]
struct Source {
    sockets: usize,
    bucket: Bucket,
}

/// Both directions, as one side has them.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) to_other: PipeIn,
    pub(super) from_other: PipeOut,
    /// One of the two is the agent that runs this server: no rate applies.
    pub(super) is_own: bool,
}

/// A socket that was let in. Dropping it is its end.
#[derive(Debug)]
pub(super) struct Guest {
    lanes: Lanes,
    source: Option<SourceKey>,
}

/// A socket that showed a ticket. Dropping it is its end.
#[derive(Debug)]
pub(super) struct Seat {
    id: u64,
    side: Side,
    /// Becomes a reason when the socket must end.
    pub(super) end: watch::Receiver<Option<Close>>,
    /// Comes true when the other side is there.
    pub(super) joined: oneshot::Receiver<Joined>,
    guest: Guest,
}

/// Whether more may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Toll {
    /// Not before then.
    WaitUntil(Instant),
    /// Not today.
    UsedUp,
}

/// Why a socket is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum LaneRefusal {
    #[error("this server carries no lanes")]
    Disabled,
    #[error("too many lanes from one address")]
    SourceFull,
    #[error("the server carries as many lanes as it may")]
    ServerFull,
}

impl Lanes {
    pub(crate) fn new(config: LaneConfig) -> Self {
        let state = State {
            stopping: false,
            next_seat: 0,
            tickets: HashMap::new(),
            sides: HashMap::new(),
            seats: HashMap::new(),
            devices: HashMap::new(),
            sources: HashMap::new(),
            sockets: 0,
            total: Bucket::default(),
            day: Day::new(Instant::now()),
        };
        Self { config: Arc::new(config), state: Arc::new(Mutex::new(state)) }
    }

    /// The ticket of a side, the same one as long as it lives. `None` where no lanes are carried.
    pub(crate) fn ticket(&self, mailbox: MailboxId, member: MemberNumber) -> Option<LaneTicket> {
        if !self.config.enabled {
            return None;
        }
        let mut state = self.lock();
        let State { tickets, sides, .. } = &mut *state;
        let side = (mailbox, member);
        let ticket = *sides.entry(side).or_insert_with(|| LaneTicket(rand::random()));
        tickets.insert(ticket, side);
        Some(ticket)
    }

    /// A side was given up: its ticket is worth nothing, and its lane ends.
    pub(crate) fn member_gone(&self, mailbox: MailboxId, member: MemberNumber) {
        let mut state = self.lock();
        let side = (mailbox, member);
        if let Some(ticket) = state.sides.remove(&side) {
            state.tickets.remove(&ticket);
        }
        state.devices.remove(&side);
        if let Some(seated) = state.seats.get(&side) {
            seated.end.send_replace(Some(Close::MAILBOX_GONE));
        }
    }

    /// Ends all lanes; none is opened any more.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        state.stopping = true;
        for seated in state.seats.values() {
            seated.end.send_replace(Some(Close::STOPPING));
        }
    }

    /// Open sockets, for the metrics.
    pub(crate) fn sockets(&self) -> usize {
        self.lock().sockets
    }

    /// Lets a socket in. `trusted`: the agent in this process, which is exempt from limits by source.
    pub(super) fn admit(&self, ip: IpAddr, trusted: bool) -> Result<Guest, LaneRefusal> {
        if !self.config.enabled {
            return Err(LaneRefusal::Disabled);
        }
        let mut state = self.lock();
        if state.stopping || state.sockets >= self.config.sockets {
            return Err(LaneRefusal::ServerFull);
        }
        let source = (!trusted).then(|| SourceKey::of(ip));
        if let Some(key) = source {
            let source = state.sources.entry(key).or_default();
            if source.sockets >= self.config.sockets_per_source {
                return Err(LaneRefusal::SourceFull);
            }
            source.sockets += 1;
        }
        state.sockets += 1;
        Ok(Guest { lanes: self.clone(), source })
    }

    /// How long one side waits for the other.
    pub(super) fn partner_time(&self) -> Duration {
        Duration::from_secs(self.config.partner_seconds)
    }

    /// Gives a socket its place; the newer one of a side takes it from an older one.
    pub(super) fn seat(&self, guest: Guest, hello: LaneHello) -> Result<Seat, Close> {
        let mut state = self.lock();
        let side = *state.tickets.get(&hello.ticket).ok_or(Close::NO_SUCH_TICKET)?;
        if state.stopping {
            return Err(Close::STOPPING);
        }
        match state.seats.get(&side) {
            Some(older) if older.stream > hello.stream => return Err(Close::REPLACED),
            Some(older) => drop(older.end.send_replace(Some(Close::REPLACED))),
            None => {}
        }
        let (end, ended) = watch::channel(None);
        let (join, joined) = oneshot::channel();
        let trusted = guest.source.is_none();
        let other = state.seats.iter_mut().find(|((mailbox, member), seated)| {
            *mailbox == side.0 && *member != side.1 && seated.stream == hello.stream
        });
        let mut waiting = Some(join);
        if let Some((_, other)) = other
            && let Some(other_join) = other.waiting.take()
        {
            let is_own = trusted || other.trusted;
            let (there_in, there_out) = pipe();
            let (here_in, here_out) = pipe();
            // Either may have gone meanwhile: then its end of the pipes is dropped, which ends the other.
            let _ = other_join.send(Joined { to_other: here_in, from_other: there_out, is_own });
            if let Some(join) = waiting.take() {
                let _ = join.send(Joined { to_other: there_in, from_other: here_out, is_own });
            }
        }
        let id = state.next_seat;
        state.next_seat += 1;
        state.seats.insert(side, Seated { id, stream: hello.stream, trusted, end, waiting });
        Ok(Seat { id, side, end: ended, joined, guest })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every step leaves the maps whole, whoever panicked while holding them.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Counts a message that was read from this socket.
    pub(super) fn toll(&self, now: Instant, bytes: usize) -> Toll {
        let config = &self.guest.lanes.config;
        let mut state = self.guest.lanes.lock();
        if !state.day.take(now, config.gigabytes_per_day.saturating_mul(1_000_000_000), bytes) {
            return Toll::UsedUp;
        }
        let device = state.devices.entry(self.side).or_default();
        let mut at = device.take(now, config.megabits_per_device * MEGABIT, bytes);
        if let Some(source) = self.guest.source.and_then(|key| state.sources.get_mut(&key)) {
            at = at.max(source.bucket.take(now, config.megabits_per_source * MEGABIT, bytes));
        }
        Toll::WaitUntil(at.max(state.total.take(now, config.megabits_total * MEGABIT, bytes)))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.guest.lanes.lock();
        if state.seats.get(&self.side).is_some_and(|seated| seated.id == self.id) {
            state.seats.remove(&self.side);
        }
        // The side may have ended before its socket did.
        if !state.sides.contains_key(&self.side) {
            state.devices.remove(&self.side);
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut state = self.lanes.lock();
        state.sockets -= 1;
        let now = Instant::now();
        if let Some(key) = self.source
            && let Some(source) = state.sources.get_mut(&key)
        {
            source.sockets -= 1;
        }
        // At most a second's worth of debt is forgiven to whoever leaves and comes back.
        state.sources.retain(|_, source| source.sockets > 0 || !source.bucket.is_paid(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAILBOX: MailboxId = MailboxId([1; 16]);

    fn guest(lanes: &Lanes) -> Guest {
        lanes.admit("192.0.2.1".parse().unwrap(), false).unwrap()
    }

    fn hello(lanes: &Lanes, member: MemberNumber, stream: u64) -> LaneHello {
        LaneHello { ticket: lanes.ticket(MAILBOX, member).unwrap(), stream }
    }

    #[test]
    fn two_sides_of_one_stream_are_joined_whoever_comes_first() {
        let lanes = Lanes::new(LaneConfig::default());
        let mut first = lanes.seat(guest(&lanes), hello(&lanes, 1, 7)).unwrap();
        assert!(first.joined.try_recv().is_err());
        let mut second = lanes.seat(guest(&lanes), hello(&lanes, 0, 7)).unwrap();
        assert!(first.joined.try_recv().is_ok() && second.joined.try_recv().is_ok());
    }

    #[test]
    fn other_streams_and_other_mailboxes_are_not_joined() {
        let lanes = Lanes::new(LaneConfig::default());
        let mut first = lanes.seat(guest(&lanes), hello(&lanes, 0, 7)).unwrap();
        let elsewhere = LaneHello { ticket: lanes.ticket(MailboxId([2; 16]), 1).unwrap(), stream: 7 };
        let _second = lanes.seat(guest(&lanes), elsewhere).unwrap();
        let _third = lanes.seat(guest(&lanes), hello(&lanes, 1, 8)).unwrap();
        assert!(first.joined.try_recv().is_err());
    }

    #[test]
    fn the_newer_socket_of_a_side_takes_the_place_and_an_older_one_does_not() {
        let lanes = Lanes::new(LaneConfig::default());
        let old = lanes.seat(guest(&lanes), hello(&lanes, 0, 7)).unwrap();
        let new = lanes.seat(guest(&lanes), hello(&lanes, 0, 8)).unwrap();
        assert_eq!(*old.end.borrow(), Some(Close::REPLACED));
        drop(old);
        assert_eq!(lanes.seat(guest(&lanes), hello(&lanes, 0, 7)).unwrap_err(), Close::REPLACED);
        assert_eq!(*new.end.borrow(), None);
    }

    #[test]
    fn a_side_that_is_given_up_ends_its_lane_and_its_ticket() {
        let lanes = Lanes::new(LaneConfig::default());
        let hello = hello(&lanes, 0, 7);
        let seat = lanes.seat(guest(&lanes), hello).unwrap();
        lanes.member_gone(MAILBOX, 0);
        assert_eq!(*seat.end.borrow(), Some(Close::MAILBOX_GONE));
        assert_eq!(lanes.seat(guest(&lanes), hello).unwrap_err(), Close::NO_SUCH_TICKET);
        drop(seat);
        let state = lanes.lock();
        assert!(state.tickets.is_empty() && state.seats.is_empty() && state.devices.is_empty());
        assert_eq!(state.sockets, 0);
    }

    #[test]
    fn sockets_are_counted_by_source_and_in_all() {
        let lanes = Lanes::new(LaneConfig { sockets: 3, sockets_per_source: 2, ..LaneConfig::default() });
        let ip = |text: &str| text.parse().unwrap();
        let kept = (lanes.admit(ip("192.0.2.1"), false).unwrap(), lanes.admit(ip("192.0.2.1"), false).unwrap());
        assert_eq!(lanes.admit(ip("192.0.2.1"), false).unwrap_err(), LaneRefusal::SourceFull);
        let own = lanes.admit(ip("127.0.0.1"), true).unwrap();
        assert_eq!(lanes.admit(ip("192.0.2.2"), false).unwrap_err(), LaneRefusal::ServerFull);
        drop((kept, own));
        assert_eq!((lanes.sockets(), lanes.lock().sources.len()), (0, 0));
    }
}
