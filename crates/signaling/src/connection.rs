//! One socket, as the machine knows it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use lanyard_protocol::{DeviceId, MailboxId, MemberNumber};

use crate::SourceKey;

/// A socket's number; the shell never gives one twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Where a socket comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Its address: the peer's, or what a trusted proxy says.
    pub ip: IpAddr,
    /// It is the agent in this process: exempt from the limits of sources and sockets, listed as `this_agent` and
    /// without a time limit.
    pub trusted: bool,
}

#[derive(Debug)]
pub(crate) struct Connection {
    /// Whom to charge; `None` for trusted ones.
    pub(crate) source: Option<SourceKey>,
    /// Known since `hello`.
    pub(crate) device: Option<DeviceId>,
    pub(crate) memberships: BTreeMap<MailboxId, MemberNumber>,
    /// Mailboxes with messages that wait for this socket to be writable.
    pub(crate) backlog: BTreeSet<MailboxId>,
    /// [`crate::Output::ReportDrained`] is out and not answered.
    pub(crate) drain_asked: bool,
    /// Rings it has not answered, and whose they are.
    pub(crate) rings: BTreeMap<MailboxId, Option<SourceKey>>,
    /// Calls of fronted devices that are not answered yet.
    pub(crate) calls: usize,
}

impl Connection {
    pub(crate) fn new(origin: Origin) -> Self {
        Self {
            source: (!origin.trusted).then(|| SourceKey::of(origin.ip)),
            device: None,
            memberships: BTreeMap::new(),
            backlog: BTreeSet::new(),
            drain_asked: false,
            rings: BTreeMap::new(),
            calls: 0,
        }
    }

    pub(crate) fn is_trusted(&self) -> bool {
        self.source.is_none()
    }
}
