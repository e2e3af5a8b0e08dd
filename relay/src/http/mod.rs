//! HTTP: the page, the checks in front of it, and what is answered besides.

mod authority;
mod guard;
mod headers;
mod page;
mod routes;

pub(crate) use authority::{Authority, Host, Scheme};
pub(crate) use guard::{Caller, Guard, WireInfo};
pub use page::Page;
pub use routes::ClientIp;
pub(crate) use routes::{AppState, ExtraRoutes, router};
