//! Credentials for members of mailboxes: minted when they join, renewed while they stay.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use lanyard_protocol::signaling::IceServer;
use lanyard_protocol::{MailboxId, MemberNumber};
use lanyard_turn_core::{MemberId, RoomId, RoomMember, SharedSecret};
use tracing::warn;

use super::control::Controller;
use crate::ice::{IceProvider, IceRequest, stun_server};

/// How long a credential opens new allocations. Signaling renews it in time.
const LIFETIME: Duration = Duration::from_secs(10 * 60);

/// The ports that are told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct TurnPorts {
    pub(crate) udp: u16,
    pub(crate) tcp: Option<u16>,
    pub(crate) tls: Option<u16>,
}

/// STUN and TURN of this relay, with credentials bound to mailbox and member.
///
/// A username is `expiry:tag`. The tag is random, so that it says nothing to others; which room and member it stands for
/// is known to the workers alone.
#[derive(Debug)]
pub(crate) struct TurnIce {
    ports: TurnPorts,
    secret: SharedSecret,
    controller: Controller,
    /// One tag for each side of a mailbox that is in use, so bounded by those.
    tags: HashMap<(MailboxId, MemberNumber), String>,
}

impl TurnIce {
    pub(super) fn new(ports: TurnPorts, secret: SharedSecret, controller: Controller) -> Self {
        Self { ports, secret, controller, tags: HashMap::new() }
    }

    fn urls(&self, host: &str) -> Vec<String> {
        let TurnPorts { udp, tcp, tls } = self.ports;
        let udp = format!("turn:{host}:{udp}?transport=udp");
        let tcp = tcp.map(|port| format!("turn:{host}:{port}?transport=tcp"));
        let tls = tls.map(|port| format!("turns:{host}:{port}?transport=tcp"));
        [Some(udp), tcp, tls].into_iter().flatten().collect()
    }
}

impl IceProvider for TurnIce {
    fn ice_servers(&mut self, request: IceRequest<'_>) -> Vec<IceServer> {
        let mut servers = vec![stun_server(request.host, self.ports.udp)];
        let tag = self.tags.entry((request.mailbox, request.member)).or_insert_with(|| {
            let random: [u8; 16] = rand::random();
            data_encoding::BASE64URL_NOPAD.encode(&random)
        });
        let member = RoomMember {
            room: RoomId(request.mailbox.0),
            member: MemberId(u32::from(request.member)),
            observed: vec![request.client],
            transport_addresses: Vec::new(),
        };
        // The workers must know the tag before anybody uses it, and the address may be another one since.
        if self.controller.set_member(tag, &member).is_err() {
            warn!("too busy to relay for one more device");
            return servers;
        }
        let Ok(since_1970) = SystemTime::now().duration_since(UNIX_EPOCH) else { return servers };
        let minted = self.secret.mint((since_1970 + LIFETIME).as_secs(), tag);
        servers.push(IceServer {
            urls: self.urls(request.host),
            username: Some(minted.username),
            credential: Some(minted.password),
        });
        servers
    }

    fn member_gone(&mut self, mailbox: MailboxId, member: MemberNumber) {
        if let Some(tag) = self.tags.remove(&(mailbox, member)) {
            self.controller.member_gone(&tag);
        }
    }
}
