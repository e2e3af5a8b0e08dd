//! What the worker has done, at one moment.

use lanyard_turn_core::Metrics;

use super::outgoing::SendCounters;

/// Figures of the worker.
#[derive(Debug, Clone, Copy, Default)]
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
    /// Times the worker woke up.
    pub(crate) wakes: u64,
    /// Streams of clients over TCP and TLS.
    pub(crate) streams: u64,
    /// Messages for streams that were dropped because the client did not read.
    pub(crate) stream_overflow: u64,
    /// Bytes of receive buffer that the system granted to the listener.
    pub(crate) listener_buffer_bytes: u64,
}
