//! The task that watches a link while it lives and takes it down when it ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;
use webrtc::peer_connection::PeerConnection;

use super::route::{SelectedPair, pair_stats};
use super::shared::Shared;
use super::turn_bridge::Bridge;
use super::{CandidateKind, CloseReason, LinkEvent};

/// How often a young link is looked at: its pair is likely to change.
const EARLY_CHECK: Duration = Duration::from_millis(200);
/// How long a link counts as young.
const EARLY: Duration = Duration::from_secs(10);
/// How often an old link is looked at.
const LATE_CHECK: Duration = Duration::from_secs(2);
/// How long the second channel may outlive the first, so that what it carried still arrives.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Runs until the link closes, then closes the connection and after it the bridges that it used.
pub(super) async fn keep(connection: Arc<dyn PeerConnection>, shared: Arc<Shared>, bridges: Vec<Bridge>) {
    let started = Instant::now();
    let mut selected = None;
    let mut first_channel_ended = None;
    loop {
        let pause = if started.elapsed() < EARLY { EARLY_CHECK } else { LATE_CHECK };
        tokio::select! {
            biased;
            () = shared.wait_closing() => break,
            () = shared.wait_both_channels_ended() => {
                shared.begin_close(CloseReason::Peer);
                continue;
            }
            () = shared.wait_channel_ended(), if first_channel_ended.is_none() => {
                first_channel_ended = Some(Instant::now());
            }
            () = tokio::time::sleep(pause) => {}
        }
        let ended = first_channel_ended.is_some_and(|since: Instant| since.elapsed() >= LAST_WORDS);
        if ended {
            shared.begin_close(CloseReason::Peer);
        } else if !shared.is_open() && shared.connect_deadline().is_some_and(|deadline| Instant::now() >= deadline) {
            shared.begin_close(CloseReason::ConnectTimeout);
        } else {
            report_route(&*connection, &shared, &mut selected).await;
        }
    }
    debug!(reason = ?shared.closing(), "link closes");
    if let Err(error) = connection.close().await {
        debug!(%error, "connection did not close cleanly");
    }
    drop(bridges);
    shared.release_queues();
}

async fn report_route(connection: &dyn PeerConnection, shared: &Shared, selected: &mut Option<SelectedPair>) {
    let Some(pair) = SelectedPair::current(connection).await else { return };
    if selected.as_ref() == Some(&pair) {
        return;
    }
    let round_trip_time = pair_stats(connection).await.round_trip_time;
    let route = pair.describe(&shared.remote_relays(), round_trip_time);
    debug!(?route, "selected candidate pair");
    // Checks through a relay may follow a direct pair, but they are not in a hurry.
    shared.follow_ups.set_relaying(route.local == CandidateKind::Relayed);
    shared.notify(LinkEvent::Route(route));
    *selected = Some(pair);
}
