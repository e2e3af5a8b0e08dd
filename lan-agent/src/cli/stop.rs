//! Ctrl-C and SIGTERM: once to end well, twice to end now.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::Exit;

/// Cancelled at the first signal. At the second the process ends at once.
#[must_use]
pub(super) fn on_signals() -> CancellationToken {
    let token = CancellationToken::new();
    let first = token.clone();
    tokio::spawn(async move {
        let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            // Without handlers the signals end the process as they always do.
            return;
        };
        for _ in 0..2 {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if first.is_cancelled() {
                std::process::exit(Exit::Interrupted.number().into());
            }
            first.cancel();
        }
    });
    token
}
