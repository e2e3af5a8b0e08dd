//! The nearby list, and ringing who is on it.

use std::time::{Duration, Instant};

use lanyard_protocol::signaling::{ErrorCode, Platform, ServerMessage};
use lanyard_protocol::{DeviceId, MailboxId};

use super::{Reach, Rejection, Server, Timer};
use crate::nearby::{Call, CallId, Fronted, is_name};
use crate::{ConnectionId, Output, SourceKey};

/// Changes of the list within this time go out as one.
const LIST_PAUSE: Duration = Duration::from_millis(250);
/// Pause between two rounds of one list.
const ROUND_PAUSE: Duration = Duration::from_millis(20);
/// Sockets that get the list in one round, so that a long list for many sockets is never in memory at once.
const ROUND_SOCKETS: usize = 128;
/// Calls of fronted devices that one socket may have open.
const CALLS_PER_SOCKET: usize = 3;
/// Calls of fronted devices in all.
const CALLS: usize = 256;

const NO_SUCH_DEVICE: Rejection =
    Rejection(ErrorCode::NoSuchDevice, "That device is not here, or takes no calls now. Try again in a minute.");
const TOO_MANY_DIALS: Rejection =
    Rejection(ErrorCode::RateLimited, "Too many devices were called from this network. Wait a minute.");
const LIST_FULL: Rejection =
    Rejection(ErrorCode::Full, "The list of nearby devices is full. Show this device's code instead.");
const NO_LIST: Rejection =
    Rejection(ErrorCode::Full, "This server keeps no list of devices. Show this device's code instead.");
const BAD_NAME: Rejection = Rejection(ErrorCode::Malformed, "A listed device needs a name of 1 to 64 bytes.");

impl Server {
    /// Replaces the devices that the shell fronts: agents it sees by mDNS. At most 128 are kept.
    pub fn set_fronted(&mut self, now: Instant, devices: Vec<Fronted>) {
        let (rng, ids) = (&mut self.rng, &mut self.devices);
        let change = self.listing.set_fronted(devices, |key| {
            let mut id = [0; 16];
            rand::Rng::fill_bytes(rng, &mut id);
            ids.insert(DeviceId(id), Reach::Fronted(key.to_owned()));
            DeviceId(id)
        });
        for device in &change.gone {
            self.devices.remove(device);
        }
        let lost: Vec<_> =
            self.calls.iter().filter(|(_, call)| change.gone.contains(&call.device)).map(|(id, _)| *id).collect();
        for call in lost {
            self.answer_call(now, call, None);
        }
        if change.changed {
            self.list_changed(now);
        }
    }

    /// The shell rang a fronted device and both meet at `mailbox`, or it could not (`None`).
    ///
    /// The mailbox is chosen by the server on the other side of the bridge, because both ends of a handshake must know
    /// it by one id. A late answer is ignored.
    pub fn answer_call(&mut self, now: Instant, id: CallId, mailbox: Option<MailboxId>) {
        let Some(call) = self.calls.remove(&id) else { return };
        self.deadlines.clear(Timer::Call(id));
        if let Some(caller) = self.connections.get_mut(&call.caller) {
            caller.calls -= 1;
        }
        let answer = match mailbox {
            Some(mailbox) if !self.mailboxes.contains_key(&mailbox) => {
                self.make_call_mailbox(now, call.source, mailbox).map(|()| mailbox)
            }
            Some(_) | None => Err(NO_SUCH_DEVICE),
        };
        match answer {
            Ok(mailbox) => self.say(call.caller, ServerMessage::Dialed { device: call.device, mailbox }),
            Err(rejection) => self.reject(call.caller, rejection, None),
        }
    }

    pub(super) fn announce(
        &mut self,
        now: Instant,
        id: ConnectionId,
        name: String,
        platform: Platform,
        seconds: u32,
    ) -> Result<(), Rejection> {
        let Some(connection) = self.connections.get(&id) else { return Ok(()) };
        let Some(device) = connection.device else { return Ok(()) };
        let source = connection.source;
        if seconds == 0 {
            if self.withdraw(now, device, source) {
                self.list_changed(now);
            }
            return Ok(());
        }
        if !self.limits.nearby {
            return Err(NO_LIST);
        }
        if !is_name(&name) {
            return Err(BAD_NAME);
        }
        let is_new = !self.listing.is_listed(device);
        if let Some(key) = source {
            let listed = self.sources.entry(key).listed;
            if is_new && listed >= self.limits.listed_per_source {
                return Err(LIST_FULL);
            }
        }
        if !self.listing.announce(device, source.is_none(), name, platform) {
            return Err(LIST_FULL);
        }
        if let Some(key) = source {
            if is_new {
                self.sources.entry(key).listed += 1;
            }
            let lasts = Duration::from_secs(seconds.into()).min(self.limits.listed);
            self.deadlines.set(Timer::Unlist(device), now + lasts);
        }
        self.list_changed(now);
        Ok(())
    }

    pub(super) fn dial(&mut self, now: Instant, id: ConnectionId, device: DeviceId) -> Result<(), Rejection> {
        let source = self.source_of(id);
        if let Some(key) = source
            && !self.sources.entry(key).dials.take(self.limits.dials, now)
        {
            return Err(TOO_MANY_DIALS);
        }
        match self.devices.get(&device).cloned() {
            Some(Reach::Socket(target)) if target != id => self.ring(now, id, source, device, target),
            Some(Reach::Fronted(key)) => self.call(now, id, source, device, key),
            Some(Reach::Socket(_)) | None => Err(NO_SUCH_DEVICE),
        }
    }

    /// The dialled device came to its mailbox.
    pub(super) fn answer_ring(&mut self, id: ConnectionId, mailbox: MailboxId) {
        if self.connections.get(&id).is_some_and(|connection| connection.rings.contains_key(&mailbox)) {
            self.end_ring(mailbox);
        }
    }

    /// A ring is answered, too old, or its mailbox is gone.
    pub(super) fn end_ring(&mut self, mailbox_id: MailboxId) {
        self.deadlines.clear(Timer::Ring(mailbox_id));
        let Some(device) = self.mailboxes.get_mut(&mailbox_id).and_then(|mailbox| mailbox.rung.take()) else { return };
        if let Some(Reach::Socket(id)) = self.devices.get(&device)
            && let Some(connection) = self.connections.get_mut(id)
        {
            connection.rings.remove(&mailbox_id);
        }
    }

    pub(super) fn unlist(&mut self, now: Instant, device: DeviceId) {
        let source = match self.devices.get(&device) {
            Some(Reach::Socket(id)) => self.source_of(*id),
            Some(Reach::Fronted(_)) | None => None,
        };
        self.withdraw(now, device, source);
    }

    /// Takes a device off the list and gives back what it was charged; says whether it was listed.
    pub(super) fn withdraw(&mut self, now: Instant, device: DeviceId, source: Option<SourceKey>) -> bool {
        self.deadlines.clear(Timer::Unlist(device));
        let was_listed = self.listing.withdraw(device);
        if was_listed {
            if let Some(key) = source {
                self.sources.entry(key).listed -= 1;
                self.settle(now, key);
            }
            self.list_changed(now);
        }
        was_listed
    }

    /// Sends the newest list to the next sockets that do not have it.
    pub(super) fn send_lists(&mut self, now: Instant) {
        if self.outdated.is_empty() && std::mem::take(&mut self.listing_changed) {
            let greeted = self.connections.iter().filter(|(_, connection)| connection.device.is_some());
            self.outdated.extend(greeted.map(|(id, _)| *id));
        }
        for _ in 0..ROUND_SOCKETS {
            let Some(id) = self.outdated.pop_first() else { break };
            let device = self.connections.get(&id).and_then(|connection| connection.device);
            let devices = self.listing.seen_by(device);
            self.say(id, ServerMessage::Nearby { devices });
        }
        if !self.outdated.is_empty() {
            self.deadlines.set(Timer::Nearby, now + ROUND_PAUSE);
        } else if self.listing_changed {
            self.deadlines.set(Timer::Nearby, now + LIST_PAUSE);
        }
    }

    fn list_changed(&mut self, now: Instant) {
        if self.limits.nearby {
            self.listing_changed = true;
            self.deadlines.set_if_none(Timer::Nearby, now + LIST_PAUSE);
        }
    }

    fn ring(
        &mut self,
        now: Instant,
        caller: ConnectionId,
        source: Option<SourceKey>,
        device: DeviceId,
        target: ConnectionId,
    ) -> Result<(), Rejection> {
        let connection = self.connections.get(&target).ok_or(NO_SUCH_DEVICE)?;
        let rings = &connection.rings;
        let same_caller = source.is_some() && rings.values().any(|from| *from == source);
        if rings.len() >= self.limits.rings_per_device || same_caller {
            return Err(NO_SUCH_DEVICE);
        }
        let mailbox_id = MailboxId(self.draw_id());
        self.make_call_mailbox(now, source, mailbox_id)?;
        if let Some(mailbox) = self.mailboxes.get_mut(&mailbox_id) {
            mailbox.rung = Some(device);
        }
        if let Some(connection) = self.connections.get_mut(&target) {
            connection.rings.insert(mailbox_id, source);
        }
        self.deadlines.set(Timer::Ring(mailbox_id), now + self.limits.ring_lasts);
        self.counters.rings_total += 1;
        self.say(caller, ServerMessage::Dialed { device, mailbox: mailbox_id });
        self.say(target, ServerMessage::Ring { mailbox: mailbox_id });
        Ok(())
    }

    fn call(
        &mut self,
        now: Instant,
        caller: ConnectionId,
        source: Option<SourceKey>,
        device: DeviceId,
        key: String,
    ) -> Result<(), Rejection> {
        if self.calls.len() >= CALLS {
            return Err(NO_SUCH_DEVICE);
        }
        let connection = self.connections.get_mut(&caller).ok_or(NO_SUCH_DEVICE)?;
        if connection.calls >= CALLS_PER_SOCKET {
            return Err(NO_SUCH_DEVICE);
        }
        connection.calls += 1;
        let id = CallId(self.next_call);
        self.next_call += 1;
        self.calls.insert(id, Call { caller, device, source });
        self.deadlines.set(Timer::Call(id), now + self.limits.call_answered_within);
        self.counters.rings_total += 1;
        self.outputs.push_back(Output::Call { call: id, key });
        Ok(())
    }

    /// The mailbox of a call: whoever does not come at once does not come.
    fn make_call_mailbox(
        &mut self,
        now: Instant,
        source: Option<SourceKey>,
        mailbox: MailboxId,
    ) -> Result<(), Rejection> {
        self.make_mailbox(now, source, mailbox)?;
        self.deadlines.set(Timer::Unjoined(mailbox), now + self.limits.ring_lasts);
        Ok(())
    }
}
