//! What a shell may choose.

use std::time::Duration;

use lanyard_protocol::frame::PIECE_BYTES;

/// Limits and times of an [`crate::Exchange`]; the defaults suit a PC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Bytes received and not yet written that this side allows, 2 to 16 MiB. Phones: 4 MiB, desktop pages: 8 MiB.
    pub window_bytes: u64,
    /// Bytes read ahead of what was sent, at least two pieces.
    pub read_ahead_bytes: u64,
    /// Reads asked for at once.
    pub read_ahead_reads: usize,
    /// Unfinished transfers of each direction.
    pub transfers: usize,
    /// Texts sent and not yet acknowledged.
    pub texts: usize,
    /// How far the files of one transfer may grow, all together, after they were accepted.
    pub growth_bytes: u64,
    /// Bytes written before they are made durable and noted in the journal.
    pub sync_bytes: u64,
    /// How long written bytes may wait for that.
    pub sync_after: Duration,
    /// Small files that are put under their final names together.
    pub commit_files: usize,
    /// How long a finished small file may wait for company.
    pub commit_after: Duration,
    /// How often a piece may arrive damaged before the session is closed.
    pub piece_tries: u32,
    /// A `ping` is sent after this long without a word from the other side.
    pub ping_after: Duration,
    /// The other side is called silent after this long without a word.
    pub silent_after: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            window_bytes: 16 * PIECE_BYTES,
            read_ahead_bytes: 8 * PIECE_BYTES,
            read_ahead_reads: 64,
            transfers: 4,
            texts: 64,
            growth_bytes: 64 * PIECE_BYTES,
            sync_bytes: 8 * PIECE_BYTES,
            sync_after: Duration::from_secs(1),
            commit_files: 256,
            commit_after: Duration::from_secs(1),
            piece_tries: 3,
            ping_after: Duration::from_secs(1),
            silent_after: Duration::from_secs(2),
        }
    }
}

impl Config {
    /// The nearest configuration that can make progress and stays within the protocol's bounds.
    #[must_use]
    pub(crate) fn clamped(mut self) -> Self {
        self.window_bytes = self.window_bytes.clamp(2 * PIECE_BYTES, 16 * PIECE_BYTES);
        self.read_ahead_bytes = self.read_ahead_bytes.max(2 * PIECE_BYTES);
        self.read_ahead_reads = self.read_ahead_reads.max(1);
        self.commit_files = self.commit_files.max(1);
        self
    }
}
