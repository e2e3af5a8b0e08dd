//! Plain links for a page that cannot hold what it is offered (HT-30, HT-31).

use lanyard_protocol::control::TransferId;
use lanyard_protocol::peer::{LinkBase, PeerMessage};
use tracing::debug;

use super::super::plain_download::PlainLinks;
use super::super::sent_record;
use super::Conversation;
use crate::agent::event::Event;

impl Conversation {
    /// Whether the other side is a page that came from this device's own server.
    pub(super) fn has_door(&self) -> bool {
        self.context.links.is_some() && self.met.server.is_none() && !self.met.session.peer_profile().can("native")
    }

    /// Tells a page what it can do beside the link.
    pub(super) fn tell_door(&mut self) {
        if self.has_door() {
            self.say(&PeerMessage::Door { secure: self.context.secure_page.clone() });
        }
    }

    /// Makes links to an offer that nobody has answered yet.
    pub(super) fn tell_links(&mut self, transfer: TransferId) {
        let Some(registry) = self.context.links.clone() else { return };
        let Some(known) = self.transfers.get_mut(&transfer) else { return };
        let Some(offered) = &known.offered else { return };
        if known.links.is_none() {
            match PlainLinks::open(&registry, offered) {
                Ok(links) => known.links = Some(links),
                Err(error) => {
                    let message = format!("{} wanted to download with its browser: {error}.", self.who.name);
                    return self.context.tell(Event::Warning { message });
                }
            }
        }
        let base = known.links.as_ref().map(|links| LinkBase::try_from(links.base().to_owned()));
        match base {
            Some(Ok(base)) => self.say(&PeerMessage::HttpLinks { transfer, base }),
            Some(Err(_)) | None => debug!("there is no link to tell of"),
        }
    }

    /// A page that was told of links takes no part in the transfer any more. Whether it is one.
    pub(super) fn leave_to_browser(&mut self, transfer: TransferId) -> bool {
        let Some(links) = self.transfers.get_mut(&transfer).and_then(|known| known.links.take()) else { return false };
        let Some(known) = self.transfers.remove(&transfer) else { return false };
        if let Some(path) = &known.record {
            sent_record::remove(path);
        }
        self.context.tell(Event::Download { transfer: known.number, who: self.who.clone() });
        self.context.downloads.follow(self.context.clone(), known.number, known.total_bytes, links);
        true
    }
}
