//! Device ↔ device on the open link's control channel: offers, answers, progress, text.
