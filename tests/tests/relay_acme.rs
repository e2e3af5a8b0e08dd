//! The relay gets its certificate from a real authority (Debian's `pebble`), and renews it.
#![expect(clippy::unwrap_used, reason = "a failed test is what they are for")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lanyard_tests::program::{Program, built};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

const PATIENCE: Duration = Duration::from_secs(30);
/// Seconds that certificates of this authority are valid: renewed after two thirds.
const VALIDITY: u64 = 12;
const NAME: &str = "relay.test";

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A port that is free now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Answers every question for an address with 127.0.0.1 (RFC 1035 §4.1).
fn start_names() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((len, from)) = socket.recv_from(&mut buffer) {
            let question = &buffer[12..len];
            let name = question.iter().position(|byte| *byte == 0).unwrap_or(0);
            let (question, kind) = (&question[..name + 5], &question[name + 1..name + 3]);
            let is_a = kind == [0, 1];
            let mut answer = buffer[..2].to_vec();
            answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
            answer.extend(question);
            if is_a {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
            }
            let _ = socket.send_to(&answer, from);
        }
    });
    address
}

/// The authority, the roots of its own https, and the root of what it issues.
fn start_authority(folder: &Path, https: u16) -> (Program, u16, RootCertStore) {
    let identity = rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    std::fs::write(folder.join("authority.pem"), identity.cert.pem()).unwrap();
    std::fs::write(folder.join("authority-key.pem"), identity.signing_key.serialize_pem()).unwrap();
    let (acme, management) = (free_port(), free_port());
    let config = serde_json::json!({ "pebble": {
        "listenAddress": format!("127.0.0.1:{acme}"),
        "managementListenAddress": format!("127.0.0.1:{management}"),
        "certificate": folder.join("authority.pem"),
        "privateKey": folder.join("authority-key.pem"),
        "httpPort": 1,
        "tlsPort": https,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": false,
        "certificateValidityPeriod": VALIDITY,
    }});
    std::fs::write(folder.join("pebble.json"), config.to_string()).unwrap();
    let mut command = Command::new("pebble");
    command.arg("-config").arg(folder.join("pebble.json")).args(["-dnsserver", &start_names().to_string()]);
    command.env("PEBBLE_VA_NOSLEEP", "1");
    let pebble = Program::start("pebble", command).unwrap();
    pebble.wait_for("that it listens", PATIENCE, |line| line.contains("Root CA certificate").then_some(())).unwrap();

    let mut own = RootCertStore::empty();
    own.add(identity.cert.der().clone()).unwrap();
    let root = until("the authority's root", || {
        let mut stream = connect(management, "localhost", &own).ok()?;
        write!(stream, "GET /roots/0 HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        let pem = answer.find("-----BEGIN").and_then(|at| answer.get(at..))?;
        CertificateDer::from_pem_slice(pem.as_bytes()).ok()
    });
    let mut roots = RootCertStore::empty();
    roots.add(root).unwrap();
    (pebble, acme, roots)
}

/// A verified connection.
fn connect(port: u16, name: &str, roots: &RootCertStore) -> std::io::Result<Tls> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots.clone())
        .with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    client.complete_io(&mut socket)?;
    Ok(StreamOwned::new(client, socket))
}

fn certificate_of(stream: &Tls) -> Vec<u8> {
    stream.conn.peer_certificates().unwrap()[0].to_vec()
}

/// One request on a connection that stays open; whether it was answered.
fn is_served(stream: &mut BufReader<Tls>, port: u16) -> bool {
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {NAME}:{port}\r\n\r\n");
    if stream.get_mut().write_all(request.as_bytes()).is_err() {
        return false;
    }
    let mut answer = String::new();
    while stream.read_line(&mut answer).is_ok_and(|len| len > 0) && !answer.ends_with("ok\n") {}
    answer.starts_with("HTTP/1.1 200")
}

fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn start_relay(folder: &Path, https: u16, acme: u16) -> Program {
    let state = folder.join("state");
    let text = format!(
        "[http]\nlisten = []\n[stun]\nlisten = \"127.0.0.1:0\"\n[turn]\ntls_listen = []\n\
         [tls]\nlisten = [\"127.0.0.1:{https}\"]\n[tls.acme]\ndomains = [\"{NAME}\"]\nterms_agreed = true\n\
         contact = \"you@relay.test\"\ndirectory = \"https://localhost:{acme}/dir\"\nstate = {state:?}\nroots = {:?}\n",
        folder.join("authority.pem"),
    );
    std::fs::write(folder.join("relay.toml"), text).unwrap();
    let mut command = Command::new(built("lanyard-relay"));
    command.arg("--config").arg(folder.join("relay.toml"));
    let relay = Program::start("lanyard-relay", command).unwrap();
    let url = format!("https://{NAME}:{https}/");
    relay.wait_for("its page", PATIENCE, |line| line.contains(&url).then_some(())).unwrap();
    relay
}

#[test]
fn a_certificate_is_got_renewed_without_dropping_anybody_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let https = free_port();
    let (pebble, acme, roots) = start_authority(folder.path(), https);
    let relay = start_relay(folder.path(), https, acme);
    let open = || connect(https, NAME, &roots).ok();
    let held = until("a certificate of the authority", open);
    let first = certificate_of(&held);
    assert!(connect(https, "other.test", &roots).is_err(), "it is for its domain only");

    let mut held = BufReader::new(held);
    let second = until("another certificate", || {
        assert!(is_served(&mut held, https), "the open connection goes on:\n{}", relay.printed());
        Some(certificate_of(&open()?)).filter(|certificate| *certificate != first)
    });
    assert!(is_served(&mut held, https));

    let state = folder.path().join("state");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    for file in ["account.json", "certificate.json"] {
        assert_eq!(mode(&state.join(file)), 0o600, "{file}");
    }
    drop((pebble, relay));
    let relay = start_relay(folder.path(), https, acme);
    let kept = open().unwrap_or_else(|| panic!("{}", relay.printed()));
    assert_eq!(certificate_of(&kept), second, "kept, with the authority gone");
}
