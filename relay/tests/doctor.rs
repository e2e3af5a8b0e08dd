//! `lanyard-relay doctor`, run against relays that are well and relays that are not.
#![expect(clippy::unwrap_used, reason = "a failed test is what they are for")]

mod support;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;

use lanyard_relay::config::{PeerPolicy, Secret, TurnUser};
use lanyard_relay::{Config, RelayHandle};
use serde_json::Value;
use support::{config, start};

/// An authority, and a certificate of it for 127.0.0.1 and `localhost`.
fn write_identity(folder: &Path, until_year: i32) -> PathBuf {
    let key = || rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = rcgen::CertifiedIssuer::self_signed(authority, key()).unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(until_year, 1, 1);
    let own = key();
    let certificate = params.signed_by(&own, &authority).unwrap();
    std::fs::write(folder.join("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), own.serialize_pem()).unwrap();
    let roots = folder.join("roots.pem");
    std::fs::write(&roots, authority.pem()).unwrap();
    roots
}

fn with_tls(folder: &Path) -> Config {
    let mut config = config();
    config.tls.certificate = Some(folder.join("cert.pem"));
    config.tls.key = Some(folder.join("key.pem"));
    config
}

async fn doctor(arguments: &[&str], secret: Option<&str>) -> (i32, Value, Output) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_lanyard-relay"));
    command.env_clear().arg("doctor").arg("--json").args(arguments).kill_on_drop(true);
    if let Some(secret) = secret {
        command.env("LANYARD_RELAY_TURN_SECRET", secret);
    }
    let output = command.output().await.unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code().unwrap_or(-1), report, output)
}

/// The findings of checks whose name starts like this: verdict and text.
fn findings(report: &Value, check: &str) -> Vec<(String, String)> {
    let findings = report["findings"].as_array().unwrap_or_else(|| panic!("no findings in {report}"));
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let those = findings.iter().filter(|finding| text(finding, "check").starts_with(check));
    those
        .map(|finding| (text(finding, "verdict"), format!("{} {}", text(finding, "detail"), text(finding, "fix"))))
        .collect()
}

fn one(report: &Value, check: &str) -> (String, String) {
    let found = findings(report, check);
    assert_eq!(found.len(), 1, "{check} in {report:#}");
    found[0].clone()
}

fn https(relay: &RelayHandle) -> String {
    format!("https://{}/", relay.https_addresses()[0])
}

#[tokio::test]
async fn a_well_relay_echoes_over_each_transport_under_the_policy_room() {
    let folder = tempfile::tempdir().unwrap();
    let roots = write_identity(folder.path(), 2999);
    let config = with_tls(folder.path());
    assert_eq!(config.turn.peer_policy, PeerPolicy::Room);
    let relay = start(config).await;
    let (code, report, _) = doctor(&[&https(&relay), "--roots", roots.to_str().unwrap()], None).await;
    assert_eq!(code, 0, "{report:#}");
    for check in ["page", "certificate", "WebSocket", "clock", "TURN over UDP", "TURN over TCP"] {
        assert_eq!(one(&report, check).0, "ok", "{check} in {report:#}");
    }
    let shared = format!("TURN over TLS, {}", relay.https_addresses()[0]);
    let (verdict, detail) = one(&report, &shared);
    assert_eq!(verdict, "ok", "{report:#}");
    assert!(detail.contains("A packet came back in"), "{detail}");
}

#[tokio::test]
async fn the_relay_of_a_configuration_is_examined_without_naming_it() {
    let folder = tempfile::tempdir().unwrap();
    let roots = write_identity(folder.path(), 2999);
    let mut config = with_tls(folder.path());
    config.turn.secrets = vec![Secret::new("north-of-the-river")];
    let relay = start(config).await;
    let file = |secret: &str| {
        let path = folder.path().join("relay.toml");
        let (http, https) = (relay.http_addresses()[0], relay.https_addresses()[0]);
        let (stun, turns) = (relay.stun_address().unwrap(), relay.turn_tls_addresses()[0]);
        let text = format!(
            "[http]\nlisten = [\"{http}\"]\n[tls]\nlisten = [\"{https}\"]\ncertificate = {0:?}\nkey = {1:?}\n\
             [stun]\nlisten = \"{stun}\"\n[turn]\ntls_listen = [\"{turns}\"]\nsecrets = [\"{secret}\"]\n",
            folder.path().join("cert.pem"),
            folder.path().join("key.pem"),
        );
        std::fs::write(&path, text).unwrap();
        path
    };
    let path = file("north-of-the-river");
    let arguments = ["--config", path.to_str().unwrap(), "--roots", roots.to_str().unwrap()];
    let (code, report, _) = doctor(&arguments, None).await;
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(findings(&report, "page").len(), 2, "http and https in {report:#}");
    assert_eq!(findings(&report, "TURN over TLS").len(), 2, "the shared port and that of TURN in {report:#}");
    assert!(findings(&report, "TURN over").iter().all(|(verdict, _)| verdict == "ok"), "{report:#}");
    assert_eq!(one(&report, "turn.secrets").0, "ok");

    file("south-of-the-river");
    let (code, report, _) = doctor(&arguments, None).await;
    assert_eq!(code, 1, "{report:#}");
    let (verdict, text) = one(&report, "turn.secrets");
    assert_eq!(verdict, "failed");
    assert!(text.contains("reload"), "{text}");
}

#[tokio::test]
async fn what_is_wrong_is_said_with_a_fix() {
    let folder = tempfile::tempdir().unwrap();
    write_identity(folder.path(), 2999);
    let relay = start(with_tls(folder.path())).await;
    let (code, report, _) = doctor(&[&https(&relay)], None).await;
    assert_eq!(code, 1);
    let (verdict, text) = one(&report, "certificate");
    assert_eq!(verdict, "failed");
    assert!(text.contains("authority that this system does not know"), "{text}");

    let expired = tempfile::tempdir().unwrap();
    let roots = write_identity(expired.path(), 2020);
    let relay = start(with_tls(expired.path())).await;
    let (_, report, _) = doctor(&[&https(&relay), "--roots", roots.to_str().unwrap()], None).await;
    let (_, text) = one(&report, "certificate");
    assert!(text.contains("ended") && text.contains("tls.acme"), "{text}");

    let mut without = config();
    without.turn.enabled = false;
    let relay = start(without).await;
    let address = relay.http_addresses()[0];
    let (code, report, _) = doctor(&[&address.to_string()], None).await;
    assert_eq!(code, 1);
    let (verdict, text) = one(&report, "TURN");
    assert_eq!(verdict, "failed");
    assert!(text.contains("turn.enabled"), "{text}");
    assert!(findings(&report, "certificate").iter().all(|(verdict, _)| verdict == "note"), "{report:#}");
}

#[tokio::test]
async fn something_else_on_the_port_is_told_apart_from_nothing() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other: SocketAddr = listener.local_addr().unwrap();
    let router = axum::Router::new().fallback(|| async { "something else" });
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let (code, report, _) = doctor(&[&format!("http://{other}")], None).await;
    assert_eq!(code, 1);
    assert!(one(&report, "page").1.contains("something else than Lanyard"), "{report:#}");
    assert_eq!(one(&report, "WebSocket").0, "failed");
    serving.abort();
    let _ = serving.await;

    let (code, report, output) = doctor(&[&format!("http://{other}")], None).await;
    assert_eq!(code, 7, "{report:#}");
    assert!(one(&report, "page").1.contains("Nothing answers"), "{report:#}");
    assert!(output.stderr.is_empty());
    assert_eq!(doctor(&["ftp://relay.example"], None).await.0, 2);
    assert_eq!(doctor(&["127.0.0.1", "--roots", "/nowhere.pem"], None).await.0, 2);
}

#[tokio::test]
async fn any_turn_server_is_examined_with_a_secret_that_is_never_an_argument() {
    let mut config = config();
    config.turn.secrets = vec![Secret::new("north-of-the-river")];
    config.turn.peer_policy = PeerPolicy::Any;
    config.turn.users =
        vec![TurnUser { name: "meet".to_owned(), password: Secret::new("x"), peer_policy: None, allocations: None }];
    let relay = start(config).await;
    let host = relay.stun_address().unwrap().to_string();
    let arguments = [host.as_str(), "--transport", "udp,tcp"];
    let (code, report, _) = doctor(&arguments, Some("north-of-the-river")).await;
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(findings(&report, "TURN over").len(), 2);

    let (code, report, _) = doctor(&arguments, Some("south-of-the-river")).await;
    assert_eq!(code, 1);
    assert!(one(&report, "TURN over UDP").1.contains("does not accept the credentials"), "{report:#}");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "north-of-the-river\n").unwrap();
    let (code, report, _) = doctor(&[&arguments[..], &["--secret-file", file.to_str().unwrap()]].concat(), None).await;
    assert_eq!(code, 0, "{report:#}");
}
