//! The receive folder: the only place the agent writes what others send.
//!
//! Everything is reached from one directory handle, component by component and without following links. Until a file is
//! whole and checked it lives in `.lanyard-part/<name we made>/`; then it is renamed to its final name, which replaces
//! nothing. Nothing at all is made before an offer was accepted.

mod folder;
mod part;
mod place;
mod sweep;

pub use folder::{FolderError, ReceiveFolder};
pub use part::{PartStore, StoreError};
pub use sweep::{PARTS_KEPT, sweep};
