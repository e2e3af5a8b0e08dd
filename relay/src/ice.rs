//! Which STUN and TURN servers a member of a mailbox is told.

use std::net::IpAddr;

use lanyard_protocol::signaling::IceServer;
use lanyard_protocol::{MailboxId, MemberNumber};

/// Who asks for ICE servers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IceRequest<'a> {
    /// The mailbox that credentials are bound to.
    pub(crate) mailbox: MailboxId,
    /// The side of it.
    pub(crate) member: MemberNumber,
    /// Where the member's WebSocket comes from: other members may have it as a peer address.
    pub(crate) client: IpAddr,
    /// The host to put into URLs, IPv6 in brackets.
    pub(crate) host: &'a str,
}

/// Mints credentials; called by the switchboard for each `joined` and each renewal, so it must not block.
pub(crate) trait IceProvider: Send {
    /// The servers for this member, best first.
    fn ice_servers(&mut self, request: IceRequest<'_>) -> Vec<IceServer>;

    /// The side is given up for good: what was minted for it ends.
    fn member_gone(&mut self, mailbox: MailboxId, member: MemberNumber);
}

/// STUN at one port, without credentials.
#[derive(Debug)]
pub(crate) struct StunOnly {
    /// `None` when this relay does not listen for STUN.
    pub(crate) port: Option<u16>,
}

impl IceProvider for StunOnly {
    fn ice_servers(&mut self, request: IceRequest<'_>) -> Vec<IceServer> {
        self.port.iter().map(|port| stun_server(request.host, *port)).collect()
    }

    fn member_gone(&mut self, _mailbox: MailboxId, _member: MemberNumber) {}
}

pub(crate) fn stun_server(host: &str, port: u16) -> IceServer {
    IceServer { urls: vec![format!("stun:{host}:{port}")], username: None, credential: None }
}
