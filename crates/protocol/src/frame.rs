//! Device ↔ device on the open link's data channel: pieces of files in binary frames.
