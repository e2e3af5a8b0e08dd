//! Who may talk to us, as whom, and from which page.
//!
//! A page on the internet can point its own name at this machine (DNS rebinding) or make a browser send requests here.
//! So the name in `Host` must be one of ours, and requests that do something must come from a page we served.

use std::net::{IpAddr, SocketAddr};
use std::sync::RwLock;

use axum::http::{HeaderMap, Method, Request, Version, header};
use ipnet::IpNet;

use super::{Authority, Host, Scheme};

/// What the listener knows of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WireInfo {
    /// The other end of the TCP connection.
    pub(crate) peer: SocketAddr,
    /// Our end of it: the address the browser reached us at.
    pub(crate) local: SocketAddr,
    /// It came over TLS.
    pub(crate) tls: bool,
}

/// Who sent a request, after trusted proxies are believed.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The client's address.
    pub(crate) ip: IpAddr,
    /// The TCP connection comes from this machine, and from no proxy.
    pub(crate) is_loopback: bool,
    /// What the browser has in its address bar.
    pub(crate) authority: Authority,
    /// The scheme there; `None` behind a proxy that does not say.
    pub(crate) scheme: Option<Scheme>,
    /// Our end of the connection.
    pub(crate) local: SocketAddr,
}

/// Why a request goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("This server does not go by that name. Open it by its address, or add the name to http.hosts.")]
    Misdirected,
    #[error("This request has no usable Host.")]
    NoHost,
    #[error("Only a page of this server may do that.")]
    ForeignPage,
}

/// The rules.
#[derive(Debug)]
pub(crate) struct Guard {
    hosts: RwLock<Vec<Host>>,
    origins: Vec<String>,
    trusted_proxies: Vec<IpNet>,
}

impl Guard {
    pub(crate) fn new(hosts: &[String], origins: &[String], trusted_proxies: &[IpNet]) -> Self {
        let origins = origins.iter().map(|origin| origin.to_ascii_lowercase()).collect();
        let guard = Self { hosts: RwLock::default(), origins, trusted_proxies: trusted_proxies.to_vec() };
        guard.set_hosts(hosts);
        guard
    }

    /// Replaces the names that are ours besides `localhost` and the address of the connection.
    pub(crate) fn set_hosts(&self, hosts: &[String]) {
        let hosts = hosts.iter().filter_map(|host| Host::parse(host)).collect();
        *self.hosts.write().unwrap_or_else(std::sync::PoisonError::into_inner) = hosts;
    }

    pub(crate) fn is_trusted_proxy(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        self.trusted_proxies.iter().any(|net| net.contains(&ip))
    }

    /// Every request: is the name ours, and who is it?
    pub(crate) fn identify<B>(&self, wire: WireInfo, request: &Request<B>) -> Result<Caller, Refusal> {
        let authority = authority_of(request).ok_or(Refusal::NoHost)?;
        let local = SocketAddr::new(wire.local.ip().to_canonical(), wire.local.port());
        if !self.is_ours(&authority.host, local.ip()) {
            return Err(Refusal::Misdirected);
        }
        let peer = wire.peer.ip().to_canonical();
        let is_proxy = self.is_trusted_proxy(peer);
        let forwarded = if is_proxy { self.forwarded_for(request.headers()) } else { None };
        let scheme = match (wire.tls, is_proxy) {
            (true, _) => Some(Scheme::Https),
            (false, false) => Some(Scheme::Http),
            (false, true) => forwarded_scheme(request.headers()),
        };
        let is_loopback = peer.is_loopback() && forwarded.is_none();
        Ok(Caller { ip: forwarded.unwrap_or(peer), is_loopback, authority, scheme, local })
    }

    /// Requests that do something: do they come from a page of ours, or from a program that is no browser?
    pub(crate) fn check_page(&self, caller: &Caller, headers: &HeaderMap) -> Result<(), Refusal> {
        let site_fits = headers.get_all("sec-fetch-site").iter().all(|site| site == "same-origin");
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let origin_fits = match (origins.next(), origins.next()) {
            (None, _) => true,
            (Some(origin), None) => origin.to_str().is_ok_and(|origin| self.is_own_origin(caller, origin)),
            (Some(_), Some(_)) => false,
        };
        let listed = origins_listed(headers, &self.origins);
        if origin_fits && site_fits || listed { Ok(()) } else { Err(Refusal::ForeignPage) }
    }

    /// Requests that change something need a header that no form and no image can send.
    pub(crate) fn check_change(&self, caller: &Caller, method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
        if method.is_safe() {
            return Ok(());
        }
        if headers.get("x-lanyard").is_none_or(|value| value != "1") {
            return Err(Refusal::ForeignPage);
        }
        self.check_page(caller, headers)
    }

    fn is_ours(&self, host: &Host, local: IpAddr) -> bool {
        let known = match host {
            Host::Ip(ip) => *ip == local,
            // It may resolve to loopback only, so it is ours only on a connection over loopback.
            Host::Name(name) => name == "localhost" && local.is_loopback(),
        };
        known || self.hosts.read().unwrap_or_else(std::sync::PoisonError::into_inner).contains(host)
    }

    fn is_own_origin(&self, caller: &Caller, origin: &str) -> bool {
        let (scheme, authority) = match origin.split_once("://") {
            Some(("http", authority)) => (Scheme::Http, authority),
            Some(("https", authority)) => (Scheme::Https, authority),
            _ => return false,
        };
        let Some(authority) = Authority::parse(authority) else { return false };
        caller.scheme.is_none_or(|seen| seen == scheme)
            && authority.host == caller.authority.host
            && authority.port_or_default(scheme) == caller.authority.port_or_default(scheme)
    }

    /// The last address that a proxy of ours did not add itself.
    fn forwarded_for(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let mut client = None;
        let values: Vec<_> =
            headers.get_all("x-forwarded-for").iter().filter_map(|value| value.to_str().ok()).collect();
        for entry in values.iter().flat_map(|value| value.split(',')).rev() {
            let ip: IpAddr = entry.trim().parse().ok()?;
            client = Some(ip.to_canonical());
            if !self.is_trusted_proxy(ip) {
                break;
            }
        }
        client
    }
}

fn origins_listed(headers: &HeaderMap, listed: &[String]) -> bool {
    let mut origins = headers.get_all(header::ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (Some(origin), None) => {
            origin.to_str().is_ok_and(|origin| listed.iter().any(|own| own.eq_ignore_ascii_case(origin)))
        }
        _ => false,
    }
}

/// The one `Host`, or `:authority` of HTTP/2 (RFC 9113 §8.3.1); a request that has both must agree with itself.
fn authority_of<B>(request: &Request<B>) -> Option<Authority> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = match hosts.next() {
        Some(host) => Authority::parse(host.to_str().ok()?)?,
        None if request.version() == Version::HTTP_2 => return Authority::parse(request.uri().authority()?.as_str()),
        None => return None,
    };
    if hosts.next().is_some() {
        return None;
    }
    match request.uri().authority() {
        Some(named) if Authority::parse(named.as_str()).as_ref() != Some(&host) => None,
        Some(_) | None => Some(host),
    }
}

fn forwarded_scheme(headers: &HeaderMap) -> Option<Scheme> {
    match headers.get("x-forwarded-proto")?.to_str().ok()? {
        "http" => Some(Scheme::Http),
        "https" => Some(Scheme::Https),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard() -> Guard {
        Guard::new(&["relay.example".into()], &["https://app.example".into()], &["10.0.0.0/8".parse().unwrap()])
    }

    fn caller(guard: &Guard, peer: &str, headers: &[(&str, &str)]) -> Result<Caller, Refusal> {
        let mut request = Request::builder().uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let wire = WireInfo { peer: peer.parse().unwrap(), local: "192.0.2.1:8080".parse().unwrap(), tls: false };
        guard.identify(wire, &request.body(()).unwrap())
    }

    #[test]
    fn forwarded_headers_of_strangers_are_ignored() {
        for name in ["x-forwarded-for", "forwarded", "x-real-ip", "cf-connecting-ip", "true-client-ip", "client-ip"] {
            let seen =
                caller(&guard(), "198.51.100.7:1", &[("host", "192.0.2.1:8080"), (name, "203.0.113.9")]).unwrap();
            assert_eq!(seen.ip, "198.51.100.7".parse::<IpAddr>().unwrap(), "{name}");
        }
    }

    #[test]
    fn a_trusted_proxy_names_the_last_address_that_is_not_a_proxy() {
        let guard = guard();
        let seen = |forwarded| {
            caller(&guard, "10.0.0.1:1", &[("host", "relay.example"), ("x-forwarded-for", forwarded)])
                .unwrap()
                .ip
                .to_string()
        };
        assert_eq!(seen("203.0.113.9"), "203.0.113.9");
        assert_eq!(
            seen("1.1.1.1, 203.0.113.9, 10.0.0.2"),
            "203.0.113.9",
            "what the client wrote itself is not believed"
        );
        assert_eq!(seen("10.0.0.3, 10.0.0.2"), "10.0.0.3");
        assert_eq!(seen("garbage"), "10.0.0.1");
    }

    #[test]
    fn hosts_that_are_not_ours_are_misdirected() {
        let guard = guard();
        let seen = |host: &str| caller(&guard, "198.51.100.7:1", &[("host", host)]).map(|_| ());
        for ours in ["192.0.2.1", "192.0.2.1:8080", "relay.example", "RELAY.example.:443", "[::ffff:192.0.2.1]"] {
            assert_eq!(seen(ours), Ok(()), "{ours}");
        }
        for foreign in ["evil.example", "192.0.2.2", "127.0.0.1", "localhost", "relay.example.evil.example"] {
            assert_eq!(seen(foreign), Err(Refusal::Misdirected), "{foreign}");
        }
        for broken in ["", "a b", "user@192.0.2.1"] {
            assert_eq!(seen(broken), Err(Refusal::NoHost), "{broken:?}");
        }
    }

    #[test]
    fn only_our_own_pages_and_programs_without_a_page_may_act() {
        let guard = guard();
        let check = |headers: &[(&str, &str)]| {
            let mut all = vec![("host", "192.0.2.1:8080")];
            all.extend_from_slice(headers);
            let caller = caller(&guard, "198.51.100.7:1", &all).unwrap();
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(name.parse::<header::HeaderName>().unwrap(), value.parse().unwrap());
            }
            guard.check_page(&caller, &map)
        };
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&[("origin", "http://192.0.2.1:8080")]), Ok(()));
        assert_eq!(check(&[("origin", "http://192.0.2.1:8080"), ("sec-fetch-site", "same-origin")]), Ok(()));
        assert_eq!(check(&[("origin", "https://app.example"), ("sec-fetch-site", "cross-site")]), Ok(()));
        for foreign in
            ["null", "http://evil.example", "https://192.0.2.1:8080", "http://192.0.2.1", "http://192.0.2.1:8081"]
        {
            assert_eq!(check(&[("origin", foreign)]), Err(Refusal::ForeignPage), "{foreign}");
        }
        for site in ["cross-site", "same-site", "none"] {
            assert_eq!(check(&[("sec-fetch-site", site)]), Err(Refusal::ForeignPage), "{site}");
        }
        let twice = [("origin", "http://192.0.2.1:8080"), ("origin", "http://evil.example")];
        assert_eq!(check(&twice), Err(Refusal::ForeignPage));
    }
}
