//! What happened so far: plain counters, read by the shell whenever it likes.

/// Counters since start. They only grow, except where a field says that it is a gauge.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Binding requests answered.
    pub binding_answered: u64,
    /// Client messages that were neither STUN nor ChannelData, or not well-formed.
    pub malformed: u64,
    /// Requests and answers dropped so that this server amplifies nothing.
    pub answers_withheld: u64,
}
