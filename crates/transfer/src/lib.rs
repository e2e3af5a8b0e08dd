//! Sender and receiver of files as state machines.
