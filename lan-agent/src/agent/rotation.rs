//! The link that is shown: used once, then replaced by a new one.

use std::time::Duration;

use lanyard_pairing::{Link, LinkError, LinkSecret, Pairing};
use lanyard_protocol::MailboxId;
use tokio::sync::watch;
use tracing::debug;
use zeroize::Zeroizing;

use super::Own;
use super::event::Event;
use super::question::Asker;
use crate::session::{Context, MeetError, Met, meet};
use crate::signaling_client::SignalingClient;

/// A link that nobody opens is replaced after this long (SAFETY §4).
const LINK_LIFETIME: Duration = Duration::from_secs(600);

/// Pause after a link that could not be waited for.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// A page that others are sent to.
#[derive(Debug, Clone)]
pub struct Door {
    /// Its address.
    pub base: String,
    /// It is the relay's, not this device's own.
    pub relay: bool,
    /// The QR code leads there.
    pub qr: bool,
}

/// The text of the link that is shown now.
pub type ShownLink = watch::Sender<Option<Zeroizing<String>>>;

/// Shows a link to `door` and waits for the device that opens it; a new link each time one is used up or too old.
///
/// # Errors
/// The door is no address of a page.
pub async fn next_opener(
    client: &SignalingClient,
    door: &Door,
    own: &Own,
    context: &Context,
    asker: &Asker,
    shown: &ShownLink,
) -> Result<Met, LinkError> {
    loop {
        let secret = LinkSecret::generate(&mut rand::rng());
        let mailbox = MailboxId(secret.mailbox().0);
        let pairing = Pairing::show_link(&own.identity, &secret, own.profile(), &mut rand::rng());
        let link = Link::new(&door.base, secret, own.identity.fingerprint())?.to_url();
        let joined = match client.join(mailbox).await {
            Ok(joined) => joined,
            Err(error) => {
                debug!(%error, "cannot wait at the link's mailbox");
                tokio::time::sleep(RETRY_PAUSE).await;
                continue;
            }
        };
        context.tell(Event::Link { link: link.as_str().to_owned(), relay: door.relay, qr: door.qr });
        shown.send_replace(Some(link));
        let met = meet(joined, pairing, asker, "", Some(LINK_LIFETIME)).await;
        shown.send_replace(None);
        match met {
            Ok(met) => return Ok(met),
            Err(MeetError::TimedOut) => debug!("replaced a link that nobody opened"),
            Err(error) => context.tell(Event::Warning { message: format!("{error}.") }),
        }
    }
}
