//! What the workers have done, at one moment.

use derive_more::Add;
use lanyard_turn_core::{Metrics, Traffic, Transport};

use super::outgoing::SendCounters;
use crate::metrics::{Exposition, Figure, label, plain};

/// Figures of one worker, or of all together.
#[derive(Debug, Clone, Copy, Default, Add)]
pub(crate) struct Snapshot {
    /// Of the machine.
    pub(crate) server: Metrics,
    /// Of what was sent over UDP.
    pub(crate) sent: SendCounters,
    /// Datagrams read.
    pub(crate) received: u64,
    /// Calls that read them.
    pub(crate) receive_calls: u64,
    /// Datagrams that the listeners dropped because they were not read in time.
    pub(crate) listener_overflow: u64,
    /// Datagrams that relay sockets dropped because they were not read in time.
    pub(crate) relay_overflow: u64,
    /// ICMP errors that packets to peers caused.
    pub(crate) icmp_errors: u64,
    /// Times a worker woke up.
    pub(crate) wakes: u64,
    /// Streams of clients over TCP and TLS.
    pub(crate) streams: u64,
    /// Messages for streams that were dropped because the client did not read.
    pub(crate) stream_overflow: u64,
    /// Bytes of receive buffer that the system granted to the listeners.
    pub(crate) listener_buffer_bytes: u64,
}

impl Snapshot {
    /// Writes all of it. No figure names a user.
    pub(crate) fn render(&self, page: &mut Exposition) {
        let Self { server, sent, .. } = self;
        page.counter("stun_packets_total", "Datagrams and messages read.", &[plain(self.received)]);
        page.counter("stun_answers_total", "Binding requests answered.", &[plain(server.binding_answered)]);
        page.gauge("turn_allocations", "Allocations.", &[plain(server.allocations)]);
        page.counter("turn_allocations_total", "Allocations made.", &[plain(server.allocations_created)]);
        page.gauge("turn_streams", "Clients over TCP and TLS.", &[plain(self.streams)]);
        page.counter(
            "turn_relayed_packets_total",
            "Payloads relayed.",
            &by_way(server, |traffic| (traffic.to_peer_packets, traffic.to_client_packets)),
        );
        page.counter(
            "turn_relayed_bytes_total",
            "Bytes of these.",
            &by_way(server, |traffic| (traffic.to_peer_bytes, traffic.to_client_bytes)),
        );
        page.counter(
            "turn_local_packets_total",
            "Of these, straight to another client.",
            &[plain(server.local_packets)],
        );
        let refusals = [
            ("challenge", server.challenges),
            ("wrong_credentials", server.wrong_credentials),
            ("stale_nonce", server.stale_nonces),
            ("forbidden", server.forbidden),
            ("quota", server.quota_reached),
            ("capacity", server.insufficient_capacity),
            ("other", server.other_refusals),
        ];
        page.counter(
            "turn_refusals_total",
            "Requests answered with an error.",
            &refusals.map(|(why, count)| (label("why", why), count)),
        );
        let denials = [
            ("special_address", server.denied_special_address),
            ("own_address", server.denied_own_address),
            ("outside_room", server.denied_outside_room),
        ];
        page.counter(
            "turn_denied_peers_total",
            "Peers refused and packets dropped because of the policy.",
            &denials.map(|(why, count)| (label("why", why), count)),
        );
        page.counter("turn_withheld_total", "Requests left unanswered.", &[plain(server.answers_withheld)]);
        page.counter("turn_cut_total", "Ended because rules or rooms changed.", &[plain(server.cut_by_reload)]);
        let dropped = [
            ("malformed", server.malformed),
            ("no_permission_from_client", server.dropped_from_client),
            ("no_permission_from_peer", server.dropped_from_peer),
            ("over_limit", server.dropped_over_limit),
            ("listener_full", self.listener_overflow),
            ("relay_full", self.relay_overflow),
            ("socket_full", sent.dropped),
            ("stream_full", self.stream_overflow),
            ("refused_by_system", sent.failed),
        ];
        page.counter("turn_dropped_total", "Packets dropped.", &dropped.map(|(why, count)| (label("why", why), count)));
        page.counter("turn_icmp_errors_total", "ICMP errors that peers' side sent.", &[plain(self.icmp_errors)]);
        page.counter("turn_wakes_total", "Times a worker woke up.", &[plain(self.wakes)]);
        page.counter("turn_receive_calls_total", "System calls that read.", &[plain(self.receive_calls)]);
        page.counter("turn_send_calls_total", "System calls that sent.", &[plain(sent.calls)]);
        page.counter("turn_sent_datagrams_total", "Datagrams sent.", &[plain(sent.datagrams)]);
        page.counter("turn_sent_in_trains_total", "Of these, in trains.", &[plain(sent.in_trains)]);
        page.gauge("turn_listener_buffer_bytes", "Receive buffer granted.", &[plain(self.listener_buffer_bytes)]);
    }
}

/// Figures by direction, and by the transport of the client.
fn by_way(server: &Metrics, read: fn(Traffic) -> (u64, u64)) -> Vec<Figure> {
    let transports = [("udp", Transport::Udp), ("tcp", Transport::Tcp), ("tls", Transport::Tls)];
    let figures = transports.into_iter().flat_map(|(name, transport)| {
        let (to_peer, to_client) = read(server.traffic(transport));
        let labels = |direction: &str| format!("{{direction=\"{direction}\",transport=\"{name}\"}}");
        [(labels("to_peer"), to_peer), (labels("to_client"), to_client)]
    });
    figures.collect()
}
