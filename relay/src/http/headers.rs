//! What every answer says about how a browser must treat it.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{Authority, Caller, Host, Scheme};

/// Names of the Trusted Types policies that the page may make: Svelte's own for its templates, ours for workers.
const TRUSTED_TYPES: &str = "svelte-trusted-html lanyard";

/// Features a page may use; everything else that browsers gate by policy is off.
const PERMISSIONS: &str = "camera=(self), clipboard-read=(self), clipboard-write=(self), fullscreen=(self), \
     local-network=(self), local-network-access=(self), loopback-network=(self), screen-wake-lock=(self), \
     accelerometer=(), display-capture=(), geolocation=(), gyroscope=(), hid=(), \
     microphone=(), midi=(), payment=(), serial=(), usb=()";

/// Sets them; `caller` is `None` for who was refused. There is no CORS header, ever: other origins have no business here.
pub(crate) fn secure(headers: &mut HeaderMap, caller: Option<&Caller>) {
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), PERMISSIONS),
        (HeaderName::from_static("origin-agent-cluster"), "?1"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !caller.is_some_and(is_plain) {
        headers.insert(HeaderName::from_static("cross-origin-opener-policy"), HeaderValue::from_static("same-origin"));
    }
    if let Ok(policy) = HeaderValue::try_from(content_security_policy(caller.map(|caller| &caller.authority))) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// Whether the page has a plain origin, on which browsers ignore the opener policy and complain of it on their console.
fn is_plain(caller: &Caller) -> bool {
    let is_local = match &caller.authority.host {
        Host::Ip(ip) => ip.is_loopback(),
        Host::Name(name) => name == "localhost" || name.ends_with(".localhost"),
    };
    caller.scheme == Some(Scheme::Http) && !is_local
}

/// `'self'` does not cover WebSockets in every browser (Safari before 15.4), so they are named.
fn content_security_policy(authority: Option<&Authority>) -> String {
    let sockets = authority.map(|own| format!(" ws://{own} wss://{own}")).unwrap_or_default();
    format!(
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data: blob:; \
         media-src 'self' blob:; font-src 'self'; connect-src 'self' blob:{sockets}; worker-src 'self'; \
         manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-src 'self'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types {TRUSTED_TYPES}"
    )
}
