//! The code that is shown: one use, one guess, then replaced by a new one.

use std::time::Duration;

use lanyard_pairing::{Code, Pairing, PairingError};
use tokio::sync::watch;
use tracing::debug;
use zeroize::Zeroizing;

use super::Own;
use super::event::Event;
use super::question::Asker;
use crate::session::{Context, MeetError, Met, meet};
use crate::signaling_client::{SignalingClient, SignalingError};

/// The server forgets a nameplate after ten minutes (SG-9); a little less, so that none is shown that is gone.
const CODE_LIFETIME: Duration = Duration::from_secs(590);

/// Pause after a code that could not be had, and after one that was burnt: somebody may be guessing.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// The code that is shown now.
pub type ShownCode = watch::Sender<Option<Zeroizing<String>>>;

/// Shows a code and waits for the device on which it is typed; a new code each time one is used up, burnt or too old.
///
/// `relay`: the server is not this device's own.
pub async fn next_typer(
    client: &SignalingClient,
    relay: bool,
    own: &Own,
    context: &Context,
    asker: &Asker,
    shown: &ShownCode,
) -> Met {
    loop {
        match one_code(client, relay, own, context, asker, shown).await {
            Ok(met) => return met,
            Err(MeetError::TimedOut) => debug!("replaced a code that nobody typed"),
            Err(MeetError::Signaling(error)) => {
                debug!(%error, "no code can be had now");
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            Err(error) => {
                context.tell(Event::Warning { message: burnt(&error) });
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    }
}

async fn one_code(
    client: &SignalingClient,
    relay: bool,
    own: &Own,
    context: &Context,
    asker: &Asker,
    shown: &ShownCode,
) -> Result<Met, MeetError> {
    let (nameplate, mailbox) = client.allocate().await?;
    let mut joined = client.join(mailbox).await?;
    joined.stand_behind(nameplate.clone());
    // The server draws 4 to 6 digits; anything else is no nameplate already when it is read.
    let code = Code::generate(nameplate.as_str(), &mut rand::rng()).map_err(|_| SignalingError::Ended)?;
    let pairing = Pairing::show_code(&own.identity, &code, own.profile(), &mut rand::rng());
    let text = code.to_text();
    context.tell(Event::Code { code: text.as_str().to_owned(), relay });
    shown.send_replace(Some(text));
    let met = meet(joined, pairing, asker, "", Some(CODE_LIFETIME)).await;
    shown.send_replace(None);
    met.map(|mut met| {
        met.mailbox.release_nameplate();
        met
    })
}

/// Why the code is used up, and what comes next.
fn burnt(error: &MeetError) -> String {
    match error {
        MeetError::Pairing(PairingError::WrongCode) => {
            "Somebody typed wrong words for the code. It allows one try, so it is burnt and nothing was sent; here is a \
             new one."
                .to_owned()
        }
        MeetError::Crowded => {
            "A third device tried the code at the same time, so all stopped and nothing was sent; here is a new one."
                .to_owned()
        }
        MeetError::Gone => "Who typed the code left before the end; it is used up, here is a new one.".to_owned(),
        MeetError::Pairing(_) | MeetError::TimedOut | MeetError::Signaling(_) => {
            format!("The code is used up: {error}. Here is a new one.")
        }
    }
}
