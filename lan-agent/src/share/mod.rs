//! Links for programs that are no Lanyard: files to download, and one place to upload to (docs/protocol/http.md).
//!
//! ```text
//! lanyard share ─► registry (tokens, ends) ◄─ routes ◄─ curl, wget, aria2c, a page
//!                                              │
//!                              download ◄──────┴──────► upload
//!                   range · conditions · version          receive folder
//! ```

mod address;
mod conditions;
mod disposition;
mod download;
mod event;
mod listing;
mod range;
mod registry;
mod routes;
mod span_set;
mod token;
mod upload;
mod version;

pub use event::{ShareEvent, ShareEvents};
pub use registry::{Registry, ShareOptions, SharedLink, TooManyLinks};
pub use routes::routes;
