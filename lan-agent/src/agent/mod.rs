//! A running agent: what happens in it, what it asks, and the loop that joins its parts.

pub mod event;
pub mod question;
