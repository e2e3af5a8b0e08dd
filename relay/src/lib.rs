//! Self-hosted STUN/TURN, signaling and web app in one process.
