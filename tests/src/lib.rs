//! What the tests of whole programs stand on: networks made of namespaces, and programs run in them.
//!
//! Everything here needs root and Linux. Nothing leaves the machine: each lab is a bridge of its own without a way out.

pub mod avahi;
pub mod device;
pub mod fault;
pub mod hostile;
pub mod lan;
pub mod program;
pub mod relay;
pub mod turn;
