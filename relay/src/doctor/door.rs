//! Where page and signaling may be reached, and what is seen there.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::turn_client::Duplex;
use super::{Finding, HostName};
use crate::config::Config;
use crate::outbound::{self, Examiner, Shown};

/// Time for a connection with its handshake, and for an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// An address of page and signaling.
#[derive(Debug, Clone)]
pub(super) struct Door {
    pub(super) tls: bool,
    /// What a browser would have in its address bar, with port.
    pub(super) authority: String,
    /// The name that the certificate must have; an IPv6 address without brackets.
    pub(super) host: String,
    pub(super) address: SocketAddr,
}

/// Why a door stays shut.
#[derive(Debug)]
pub(super) enum ShutError {
    Tcp(io::Error),
    Tls(io::Error),
}

impl Door {
    pub(super) fn url(&self) -> String {
        format!("{}://{}/", if self.tls { "https" } else { "http" }, self.authority)
    }

    /// Connects, with TLS where the door has it.
    pub(super) async fn open(&self, roots: &RootCertStore) -> Result<(Box<dyn Duplex>, Option<Shown>), ShutError> {
        let stream = tcp(self.address).await.map_err(ShutError::Tcp)?;
        if !self.tls {
            return Ok((Box::new(stream), None));
        }
        tls(stream, &self.host, roots).await.map_err(ShutError::Tls)
    }

    /// Asks for the page.
    pub(super) async fn check_page(&self, roots: &RootCertStore) -> Result<Finding, ShutError> {
        let (stream, _) = self.open(roots).await?;
        let request = Request::get("/").header(header::HOST, &self.authority).body(Body::empty());
        let request = request.map_err(|error| ShutError::Tcp(io::Error::other(error)))?;
        let url = self.url();
        let answer = match timeout(PATIENCE, outbound::ask(stream, request)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => {
                return Ok(Finding::failed(
                    "page",
                    format!("{url} does not speak HTTP ({error})."),
                    "Give doctor the address of the page, or stop what else uses this port.",
                ));
            }
            Err(_) => {
                return Ok(Finding::failed(
                    "page",
                    format!("{url} does not answer."),
                    "Look at the log of what listens there; a proxy in front must reach the relay.",
                ));
            }
        };
        let is_ours = answer.headers().get(header::CONTENT_SECURITY_POLICY).is_some();
        Ok(match answer.status() {
            StatusCode::OK if is_ours => Finding::ok("page", format!("{url} serves the page.")),
            StatusCode::OK => Finding::failed(
                "page",
                format!("{url} serves something else than Lanyard."),
                "Give doctor the address of the relay, or let the proxy pass headers on as they are.",
            ),
            StatusCode::MISDIRECTED_REQUEST => Finding::failed(
                "page",
                format!("The relay does not know that it is called {}.", self.host),
                format!("Add \"{}\" to http.hosts.", self.host),
            ),
            StatusCode::SERVICE_UNAVAILABLE => Finding::failed(
                "page",
                "This build of the relay has no page in it.",
                "Build it with `cargo xtask dist`, which puts the page in.",
            ),
            status => Finding::failed(
                "page",
                format!("{url} answers with {status}."),
                "If a proxy stands in front, let it pass / and everything below it to the relay.",
            ),
        })
    }
}

/// The doors of a relay of this configuration, on this machine.
pub(super) fn of_config(config: &Config) -> Vec<Door> {
    let name = config.hosts().into_iter().next();
    let name = name.as_ref();
    let door = |tls: bool| {
        move |listen: &SocketAddr| {
            let address = from_here(*listen);
            let host = name.filter(|_| tls).cloned().unwrap_or_else(|| address.ip().to_string());
            Door { tls, authority: authority(&host, address.port()), host, address }
        }
    };
    let https = if config.tls.is_on() { config.tls.listen.as_slice() } else { &[] };
    https.iter().map(door(true)).chain(config.http.listen.iter().map(door(false))).collect()
}

/// The doors that a person may mean with this name, the likeliest first.
pub(super) fn of_host(name: &HostName, addresses: &[IpAddr]) -> Vec<Door> {
    let ports: Vec<(bool, u16)> = match (name.tls, name.port) {
        (Some(tls), Some(port)) => vec![(tls, port)],
        (Some(true), None) => vec![(true, 443)],
        (Some(false), None) => vec![(false, 80)],
        (None, Some(port)) => vec![(true, port), (false, port)],
        (None, None) => vec![(true, 443), (true, 8443), (false, 80), (false, 8080)],
    };
    let mut doors = Vec::new();
    for (tls, port) in ports {
        for ip in addresses {
            let default = if tls { 443 } else { 80 };
            let authority = if port == default { bracketed(&name.host) } else { authority(&name.host, port) };
            doors.push(Door { tls, authority, host: name.host.clone(), address: SocketAddr::new(*ip, port) });
        }
    }
    doors
}

/// Where a listener is reached from its own machine.
pub(super) fn from_here(listen: SocketAddr) -> SocketAddr {
    let is_any = listen.ip().is_unspecified();
    let ip = if is_any { Ipv4Addr::LOCALHOST.into() } else { listen.ip() };
    SocketAddr::new(ip, listen.port())
}

pub(super) fn authority(host: &str, port: u16) -> String {
    format!("{}:{port}", bracketed(host))
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// A TCP connection, or a timeout.
pub(super) async fn tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = timeout(PATIENCE, TcpStream::connect(address)).await??;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// TLS over it, whatever the certificate.
pub(super) async fn tls(
    stream: TcpStream,
    host: &str,
    roots: &RootCertStore,
) -> io::Result<(Box<dyn Duplex>, Option<Shown>)> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let (examiner, config) = Examiner::new(roots).map_err(io::Error::other)?;
    let stream = timeout(PATIENCE, TlsConnector::from(Arc::new(config)).connect(name, stream)).await??;
    Ok((Box::new(stream), examiner.shown()))
}
