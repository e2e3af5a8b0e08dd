//! The same over TLS, with certificates that come and go.

mod support;

use std::path::Path;
use std::sync::Arc;

use hyper_util::rt::{TokioExecutor, TokioIo};
use lanyard_relay::{Config, IdentityError, Relay, StartError};
use rustls::pki_types::{CertificateDer, ServerName};
use support::{config, page, start, status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Writes a new certificate for `localhost` and gives it back.
fn write_identity(folder: &Path) -> CertificateDer<'static> {
    let identity = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    std::fs::write(folder.join("cert.pem"), identity.cert.pem()).expect("writable");
    std::fs::write(folder.join("key.pem"), identity.signing_key.serialize_pem()).expect("writable");
    identity.cert.der().clone()
}

fn config_with(folder: &Path) -> Config {
    let mut config = config();
    config.tls.certificate = Some(folder.join("cert.pem"));
    config.tls.key = Some(folder.join("key.pem"));
    config
}

async fn connect(port: u16, root: &CertificateDer<'static>) -> std::io::Result<TlsStream<TcpStream>> {
    connect_with(port, root, &[b"http/1.1"]).await
}

async fn connect_with(
    port: u16,
    root: &CertificateDer<'static>,
    protocols: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root.clone()).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    client.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    TlsConnector::from(Arc::new(client)).connect(ServerName::try_from("localhost").expect("a name"), stream).await
}

async fn get(mut stream: TlsStream<TcpStream>, port: u16, path: &str, more: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n{more}\r\n");
    stream.write_all(request.as_bytes()).await.expect("writable");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn the_page_is_served_over_https_and_its_origin_is_https() {
    let folder = tempfile::tempdir().unwrap();
    let root = write_identity(folder.path());
    let relay = start(config_with(folder.path())).await;
    let port = relay.https_addresses()[0].port();
    let stream = connect(port, &root).await.unwrap();
    assert_eq!(status(&get(stream, port, "/", "").await), 200);

    let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (scheme, expected) in [("https", 101), ("http", 403)] {
        let more = format!("{upgrade}Origin: {scheme}://localhost:{port}\r\n");
        let mut stream = connect(port, &root).await.unwrap();
        let request = format!("GET /v1/ws HTTP/1.1\r\nHost: localhost:{port}\r\n{more}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = [0; 16];
        stream.read_exact(&mut head).await.unwrap();
        assert_eq!(status(&String::from_utf8_lossy(&head)), expected, "{scheme}");
    }
}

#[tokio::test]
async fn a_new_certificate_is_used_after_a_reload_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let old = write_identity(folder.path());
    let relay = start(config_with(folder.path())).await;
    let port = relay.https_addresses()[0].port();
    let held = connect(port, &old).await.unwrap();

    let new = write_identity(folder.path());
    assert!(connect(port, &new).await.is_err(), "not before the reload");
    relay.reload_certificate().unwrap();
    connect(port, &new).await.unwrap();
    assert_eq!(status(&get(held, port, "/healthz", "").await), 200, "open connections go on");

    std::fs::write(folder.path().join("cert.pem"), "no certificate").unwrap();
    assert!(matches!(relay.reload_certificate(), Err(IdentityError::NoCertificate { .. })));
    connect(port, &new).await.unwrap();
}

#[tokio::test]
async fn a_certificate_without_its_key_is_told_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    write_identity(folder.path());
    let other = tempfile::tempdir().unwrap();
    write_identity(other.path());
    let start = |config: Config| Relay::new(config).with_page(page()).run();

    let mut mismatched = config_with(folder.path());
    mismatched.tls.key = Some(other.path().join("key.pem"));
    assert!(matches!(start(mismatched).await, Err(StartError::Identity(IdentityError::Unusable(_)))));

    let mut missing = config_with(folder.path());
    missing.tls.key = Some(folder.path().join("nowhere.pem"));
    let error = start(missing).await.unwrap_err().to_string();
    assert!(error.contains("nowhere.pem"), "{error}");

    let mut half = config_with(folder.path());
    half.tls.key = None;
    assert!(matches!(start(half).await, Err(StartError::Config(_))));
}

#[tokio::test]
async fn what_is_no_tls_harms_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let root = write_identity(folder.path());
    let relay = start(config_with(folder.path())).await;
    let address = relay.https_addresses()[0];
    for garbage in ["GET / HTTP/1.1\r\n\r\n", "\u{16}\u{3}\u{1}\u{ff}", ""] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(garbage.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(support::PATIENCE, stream.read_to_end(&mut answer)).await.expect("closed");
    }
    connect(address.port(), &root).await.unwrap();
}

#[tokio::test]
async fn http_2_shares_the_port_with_http_1_and_turn() {
    let folder = tempfile::tempdir().unwrap();
    let root = write_identity(folder.path());
    let relay = start(config_with(folder.path())).await;
    let port = relay.https_addresses()[0].port();
    let stream = connect_with(port, &root, &[b"h2", b"http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for (authority, expected) in [(format!("localhost:{port}"), 200), ("evil.example".to_owned(), 421)] {
        let request =
            axum::http::Request::get(format!("https://{authority}/")).body(axum::body::Body::empty()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status().as_u16(), expected, "{authority}");
        assert!(answer.headers().contains_key("content-security-policy"));
    }

    // A TURN client sends no ALPN.
    let mut stream = connect_with(port, &root, &[]).await.unwrap();
    let binding = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[7; 12]].concat();
    stream.write_all(&binding).await.unwrap();
    let mut answer = [0; 20];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!((&answer[..2], &answer[8..]), (&[1, 1][..], &[7; 12][..]));
}
