//! Counters in the Prometheus text format. None of them names a user, an address or a mailbox.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::StatusCode;

use crate::out_queue::Close;
use crate::switchboard::Snapshot;
use crate::turn;

/// What the sockets count. Relaxed: figures may be a moment apart from each other.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    connections: AtomicU64,
    connections_total: AtomicU64,
    connections_refused: AtomicU64,
    tls_failed: AtomicU64,
    responses: [AtomicU64; 5],
    /// Shared with the tasks that serve them.
    sockets: Arc<AtomicU64>,
    sockets_refused: AtomicU64,
    sockets_dead: AtomicU64,
    closes: [AtomicU64; 4],
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    lanes_total: AtomicU64,
    lanes_refused: AtomicU64,
    lane_closes: [AtomicU64; LANE_CLOSE_CODES.len()],
    lane_messages: AtomicU64,
    lane_bytes: AtomicU64,
}

/// Close codes that are counted.
const CLOSE_CODES: [u16; 4] = [1002, 1008, 1009, 1013];

/// Close codes of lanes that are counted.
const LANE_CLOSE_CODES: [u16; 8] = [1001, 1002, 1008, 1009, 1013, 4001, 4002, 4003];

fn add(counter: &AtomicU64, amount: usize) {
    counter.fetch_add(amount as u64, Ordering::Relaxed);
}

impl Metrics {
    pub(crate) fn connection_opened(&self) {
        add(&self.connections, 1);
        add(&self.connections_total, 1);
    }

    pub(crate) fn connection_closed(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn connection_refused(&self) {
        add(&self.connections_refused, 1);
    }

    pub(crate) fn tls_failed(&self) {
        add(&self.tls_failed, 1);
    }

    pub(crate) fn count_response(&self, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        add(&self.responses[class], 1);
    }

    /// A WebSocket is served until the returned value is dropped.
    pub(crate) fn socket_opened(&self) -> OpenSocket {
        add(&self.sockets, 1);
        OpenSocket(Arc::clone(&self.sockets))
    }

    /// WebSockets whose task has not ended, the closing ones too.
    pub(crate) fn open_sockets(&self) -> u64 {
        self.sockets.load(Ordering::Relaxed)
    }

    pub(crate) fn socket_refused(&self) {
        add(&self.sockets_refused, 1);
    }

    pub(crate) fn socket_dead(&self) {
        add(&self.sockets_dead, 1);
    }

    pub(crate) fn count_close(&self, close: Close) {
        if let Some(at) = CLOSE_CODES.iter().position(|code| *code == close.code) {
            add(&self.closes[at], 1);
        }
    }

    pub(crate) fn signaling_received(&self, bytes: usize) {
        add(&self.received_bytes, bytes);
    }

    pub(crate) fn signaling_sent(&self, bytes: usize) {
        add(&self.sent_bytes, bytes);
    }

    pub(crate) fn lane_opened(&self) {
        add(&self.lanes_total, 1);
    }

    pub(crate) fn lane_refused(&self) {
        add(&self.lanes_refused, 1);
    }

    pub(crate) fn count_lane_close(&self, close: Close) {
        if let Some(at) = LANE_CLOSE_CODES.iter().position(|code| *code == close.code) {
            add(&self.lane_closes[at], 1);
        }
    }

    pub(crate) fn lane_forwarded(&self, bytes: usize) {
        add(&self.lane_messages, 1);
        add(&self.lane_bytes, bytes);
    }

    /// All figures; `certificate_until` is the end of the certificate in seconds since 1970.
    pub(crate) fn render(
        &self,
        signaling: &Snapshot,
        lane_sockets: usize,
        turn: &turn::Snapshot,
        certificate_until: Option<i64>,
    ) -> String {
        let Snapshot { occupancy, counters } = signaling;
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut page = Exposition::default();
        page.gauge(
            "build_info",
            "Always 1; the version is a label.",
            &[(label("version", env!("CARGO_PKG_VERSION")), 1)],
        );
        page.gauge("http_connections", "Open TCP connections.", &[plain(read(&self.connections))]);
        page.counter("http_connections_total", "TCP connections taken.", &[plain(read(&self.connections_total))]);
        page.counter(
            "http_connections_refused_total",
            "TCP connections closed at once because of a limit.",
            &[plain(read(&self.connections_refused))],
        );
        page.counter("tls_handshakes_failed_total", "TLS handshakes not finished.", &[plain(read(&self.tls_failed))]);
        if let Some(until) = certificate_until.and_then(|until| u64::try_from(until).ok()) {
            page.gauge("tls_certificate_expiry_seconds", "End of the certificate, since 1970.", &[plain(until)]);
        }
        let responses: Vec<_> = self
            .responses
            .iter()
            .enumerate()
            .map(|(class, count)| (label("status", &format!("{}xx", class + 1)), read(count)))
            .collect();
        page.counter("http_responses_total", "Answers by class of status.", &responses);
        page.gauge("signaling_sockets", "WebSockets.", &[plain(occupancy.sockets as u64)]);
        page.counter("signaling_sockets_total", "WebSockets taken.", &[plain(counters.sockets_total)]);
        page.counter(
            "signaling_sockets_refused_total",
            "WebSockets refused because of a limit.",
            &[plain(read(&self.sockets_refused))],
        );
        page.counter(
            "signaling_sockets_dead_total",
            "WebSockets given up because nothing was heard.",
            &[plain(read(&self.sockets_dead))],
        );
        let closes: Vec<_> = CLOSE_CODES
            .iter()
            .zip(&self.closes)
            .map(|(code, count)| (label("code", &code.to_string()), read(count)))
            .collect();
        page.counter("signaling_sockets_closed_total", "WebSockets closed by the relay, by close code.", &closes);
        page.counter("signaling_received_bytes_total", "Bytes of messages read.", &[plain(read(&self.received_bytes))]);
        page.counter("signaling_sent_bytes_total", "Bytes of messages queued.", &[plain(read(&self.sent_bytes))]);
        page.gauge("signaling_mailboxes", "Mailboxes.", &[plain(occupancy.mailboxes as u64)]);
        page.counter("signaling_mailboxes_total", "Mailboxes made.", &[plain(counters.mailboxes_total)]);
        page.counter("signaling_crowded_total", "Mailboxes closed by a third side.", &[plain(counters.crowded_total)]);
        page.gauge("signaling_nameplates", "Nameplates that can be claimed.", &[plain(occupancy.nameplates as u64)]);
        page.counter(
            "signaling_claims_failed_total",
            "Nameplates claimed that did not exist.",
            &[plain(counters.claims_failed_total)],
        );
        page.gauge("signaling_listed_devices", "Devices on the nearby list.", &[plain(occupancy.listed as u64)]);
        page.counter("signaling_rings_total", "Devices rung.", &[plain(counters.rings_total)]);
        page.gauge("signaling_stored_bytes", "Bytes that wait for a side.", &[plain(occupancy.stored_bytes as u64)]);
        page.counter("signaling_bodies_total", "Sealed bodies carried.", &[plain(counters.bodies_total)]);
        page.counter("signaling_body_bytes_total", "Bytes of these.", &[plain(counters.body_bytes_total)]);
        page.counter("signaling_errors_total", "Requests answered with an error.", &[plain(counters.errors_total)]);
        page.gauge("lane_sockets", "WebSockets of lanes; two make one.", &[plain(lane_sockets as u64)]);
        page.counter("lane_sockets_total", "WebSockets of lanes taken.", &[plain(read(&self.lanes_total))]);
        page.counter(
            "lane_sockets_refused_total",
            "WebSockets of lanes refused because of a limit.",
            &[plain(read(&self.lanes_refused))],
        );
        let closes: Vec<_> = LANE_CLOSE_CODES
            .iter()
            .zip(&self.lane_closes)
            .map(|(code, count)| (label("code", &code.to_string()), read(count)))
            .collect();
        page.counter("lane_sockets_closed_total", "WebSockets of lanes closed by the relay, by close code.", &closes);
        page.counter("lane_messages_total", "Sealed messages carried.", &[plain(read(&self.lane_messages))]);
        page.counter("lane_bytes_total", "Bytes of these.", &[plain(read(&self.lane_bytes))]);
        turn.render(&mut page);
        page.text
    }
}

/// A WebSocket that is being served.
#[derive(Debug)]
pub(crate) struct OpenSocket(Arc<AtomicU64>);

impl Drop for OpenSocket {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A page of figures.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    text: String,
}

/// One figure: its labels in braces, or nothing, and its value.
pub(crate) type Figure = (String, u64);

impl Exposition {
    pub(crate) fn gauge(&mut self, name: &str, help: &str, figures: &[Figure]) {
        self.family("gauge", name, help, figures);
    }

    pub(crate) fn counter(&mut self, name: &str, help: &str, figures: &[Figure]) {
        self.family("counter", name, help, figures);
    }

    fn family(&mut self, kind: &str, name: &str, help: &str, figures: &[Figure]) {
        // Writing to a string cannot fail.
        let _ = write!(self.text, "# HELP lanyard_{name} {help}\n# TYPE lanyard_{name} {kind}\n");
        for (labels, value) in figures {
            let _ = writeln!(self.text, "lanyard_{name}{labels} {value}");
        }
    }
}

pub(crate) fn plain(value: u64) -> Figure {
    (String::new(), value)
}

pub(crate) fn label(name: &str, value: &str) -> String {
    format!("{{{name}=\"{value}\"}}")
}
