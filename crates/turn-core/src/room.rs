//! Who is in which room: a table the shell keeps up to date.

use std::net::{IpAddr, SocketAddr};

use crate::keyed_map::KeyedMap;

/// Names a room. Means nothing to this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoomId(pub [u8; 16]);

/// Names a member within its room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(pub u32);

/// A member of a room, found by the tag in its username.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomMember {
    /// The room.
    pub room: RoomId,
    /// The member; several tags may be the same one's.
    pub member: MemberId,
    /// Addresses the member was seen at, such as its WebSocket's. Other members may send to any port there. The
    /// addresses its allocations come from are added without saying.
    pub observed: Vec<IpAddr>,
    /// Transport addresses that other members may send to, each at exactly its port: relayed addresses on other
    /// relays, or a socket of a program on this host.
    pub transport_addresses: Vec<SocketAddr>,
}

/// The table, by tag and by room.
#[derive(Debug)]
pub(crate) struct Rooms {
    members: KeyedMap<Box<[u8]>, RoomMember>,
    rooms: KeyedMap<RoomId, Vec<Box<[u8]>>>,
}

impl Rooms {
    pub(crate) fn new(seed: u64) -> Self {
        Self { members: KeyedMap::new(seed), rooms: KeyedMap::new(seed) }
    }

    /// Sets what is known of the member with this tag; returns the rooms this changes.
    pub(crate) fn set(&mut self, tag: &[u8], mut member: RoomMember) -> [Option<RoomId>; 2] {
        for address in &mut member.observed {
            *address = address.to_canonical();
        }
        for address in &mut member.transport_addresses {
            address.set_ip(address.ip().to_canonical());
        }
        let left = self.remove(tag).filter(|room| *room != member.room);
        let joined = member.room;
        self.rooms.entry(joined).or_default().push(tag.into());
        self.members.insert(tag.into(), member);
        [Some(joined), left]
    }

    /// Forgets a tag; returns the room it was in.
    pub(crate) fn remove(&mut self, tag: &[u8]) -> Option<RoomId> {
        let member = self.members.remove(tag)?;
        if let Some(tags) = self.rooms.get_mut(&member.room) {
            tags.retain(|other| **other != *tag);
            if tags.is_empty() {
                self.rooms.remove(&member.room);
            }
        }
        Some(member.room)
    }

    pub(crate) fn member(&self, tag: &[u8]) -> Option<&RoomMember> {
        self.members.get(tag)
    }

    /// Tags and members of a room, in the order they came.
    pub(crate) fn members_of(&self, room: RoomId) -> impl Iterator<Item = (&[u8], &RoomMember)> {
        let tags = self.rooms.get(&room).map(Vec::as_slice).unwrap_or_default();
        tags.iter().filter_map(|tag| Some((&**tag, self.members.get(tag)?)))
    }

    /// How many tags a room has.
    pub(crate) fn size_of(&self, room: RoomId) -> usize {
        self.rooms.get(&room).map_or(0, Vec::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(room: u8) -> RoomMember {
        RoomMember {
            room: RoomId([room; 16]),
            member: MemberId(1),
            observed: vec!["::ffff:192.0.2.1".parse().unwrap()],
            transport_addresses: Vec::new(),
        }
    }

    #[test]
    fn member_that_moves_is_in_the_new_room_only() {
        let mut rooms = Rooms::new(1);
        assert_eq!(rooms.set(b"tag", member(1)), [Some(RoomId([1; 16])), None]);
        assert_eq!(rooms.set(b"tag", member(2)), [Some(RoomId([2; 16])), Some(RoomId([1; 16]))]);
        assert_eq!((rooms.size_of(RoomId([1; 16])), rooms.size_of(RoomId([2; 16]))), (0, 1));
        assert_eq!(rooms.remove(b"tag"), Some(RoomId([2; 16])));
        assert_eq!((rooms.remove(b"tag"), rooms.rooms.len()), (None, 0));
    }

    #[test]
    fn observed_addresses_are_kept_in_one_spelling() {
        let mut rooms = Rooms::new(1);
        rooms.set(b"tag", member(1));
        assert_eq!(rooms.member(b"tag").unwrap().observed, ["192.0.2.1".parse::<IpAddr>().unwrap()]);
    }
}
