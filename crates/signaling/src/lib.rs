//! The mailbox machine: who is in which mailbox, and what is waiting for them.
