//! Who is listed, and who is reached through the shell.

use std::collections::BTreeMap;

use lanyard_protocol::signaling::{ListedDevice, ListingSource, Platform};
use lanyard_protocol::{DeviceId, limits};

use crate::{ConnectionId, SourceKey};

/// A device elsewhere that the shell can reach: another agent it sees by mDNS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fronted {
    /// How the shell knows it; comes back in [`crate::Output::Call`]. The same key keeps the same device id.
    pub key: String,
    /// Shown to others: hostile text, cut to [`limits::DEVICE_NAME_BYTES`].
    pub name: String,
    /// What to draw.
    pub platform: Platform,
}

/// A call of a fronted device that waits for the shell's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub(crate) u64);

#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) caller: ConnectionId,
    pub(crate) device: DeviceId,
    pub(crate) source: Option<SourceKey>,
}

/// The devices shown to every socket, best known first.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    own: BTreeMap<DeviceId, Entry>,
    fronted: BTreeMap<String, (DeviceId, Entry)>,
    visible: BTreeMap<DeviceId, Entry>,
}

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    name: String,
    platform: Platform,
}

impl Listing {
    /// Lists a socket's device. Says `false` when the list is full.
    pub(crate) fn announce(&mut self, device: DeviceId, trusted: bool, name: String, platform: Platform) -> bool {
        let fits = self.is_listed(device) || self.len() < limits::NEARBY_DEVICES;
        if fits {
            let list = if trusted { &mut self.own } else { &mut self.visible };
            list.insert(device, Entry { name, platform });
        }
        fits
    }

    pub(crate) fn is_listed(&self, device: DeviceId) -> bool {
        self.own.contains_key(&device) || self.visible.contains_key(&device)
    }

    /// Takes a socket's device off; says whether it was on.
    pub(crate) fn withdraw(&mut self, device: DeviceId) -> bool {
        self.own.remove(&device).is_some() | self.visible.remove(&device).is_some()
    }

    /// Replaces the fronted devices. Gives back the ids that are gone; `draw` makes ids for new ones.
    pub(crate) fn set_fronted(
        &mut self,
        devices: Vec<Fronted>,
        mut draw: impl FnMut(&str) -> DeviceId,
    ) -> FrontedChange {
        let mut before = std::mem::take(&mut self.fronted);
        let mut changed = false;
        for Fronted { key, name, platform } in devices {
            if self.fronted.len() >= limits::NEARBY_DEVICES / 2 || self.fronted.contains_key(&key) {
                continue;
            }
            let entry = Entry { name: cut(name), platform };
            let device = match before.remove(&key) {
                Some((device, old)) => {
                    changed |= old != entry;
                    device
                }
                None => {
                    changed = true;
                    draw(&key)
                }
            };
            self.fronted.insert(key, (device, entry));
        }
        let gone: Vec<_> = before.into_values().map(|(device, _)| device).collect();
        FrontedChange { changed: changed || !gone.is_empty(), gone }
    }

    /// Everyone but the receiver, at most [`limits::NEARBY_DEVICES`].
    pub(crate) fn seen_by(&self, receiver: Option<DeviceId>) -> Vec<ListedDevice> {
        let own = self.own.iter().map(|(device, entry)| (*device, entry, ListingSource::ThisAgent));
        let fronted = self.fronted.values().map(|(device, entry)| (*device, entry, ListingSource::Mdns));
        let visible = self.visible.iter().map(|(device, entry)| (*device, entry, ListingSource::Visible));
        own.chain(fronted)
            .chain(visible)
            .filter(|(device, ..)| Some(*device) != receiver)
            .take(limits::NEARBY_DEVICES)
            .map(|(device, Entry { name, platform }, source)| ListedDevice {
                device,
                name: name.clone(),
                platform: *platform,
                source,
            })
            .collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.own.len() + self.fronted.len() + self.visible.len()
    }
}

/// What [`Listing::set_fronted`] did.
#[derive(Debug)]
pub(crate) struct FrontedChange {
    pub(crate) changed: bool,
    pub(crate) gone: Vec<DeviceId>,
}

/// Whether a name may be listed.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=limits::DEVICE_NAME_BYTES).contains(&name.len()) && !name.chars().all(char::is_whitespace)
}

fn cut(mut name: String) -> String {
    let mut end = name.len().min(limits::DEVICE_NAME_BYTES);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    name.truncate(end);
    name
}
