//! Networks that fail in every way of the fault matrix while something is sent over them: one file for each way.

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

mod addresses;
mod clock;
mod links;
mod loss;
mod stops;
mod weather;
