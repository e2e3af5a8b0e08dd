//! The program: flags, environment, file, signals and exit codes.

mod support;

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use lanyard_relay::Config;
use support::{Client, get, status};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lanyard-relay"));
    command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn check(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    program().arg("--check-config").args(arguments).envs(environment.iter().copied()).output().expect("it runs")
}

/// A running program; killed when the test ends.
struct Running {
    child: Child,
    stderr: BufReader<std::process::ChildStderr>,
    address: SocketAddr,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let free = ["--listen", "127.0.0.1:0", "--stun-listen", "127.0.0.1:0"];
        let mut child = program().args(free).args(arguments).spawn().expect("it starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
        let mut line = String::new();
        let address = loop {
            line.clear();
            assert!(stderr.read_line(&mut line).expect("readable") > 0, "it ended before it was up");
            if let Some(url) = line.trim().strip_prefix("Page        http://") {
                break url.trim_end_matches('/').parse().expect("an address");
            }
        };
        Self { child, stderr, address }
    }

    fn signal(&self, signal: &str) {
        let done = Command::new("kill").args([signal, &self.child.id().to_string()]).status().expect("kill runs");
        assert!(done.success());
    }

    /// Waits for the end; gives the exit code and what was still written.
    fn end(mut self) -> (Option<i32>, String) {
        let mut rest = String::new();
        self.stderr.read_to_string(&mut rest).expect("readable");
        (self.child.wait().expect("it ends").code(), rest)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_example_in_deploy_shows_every_key_with_its_default() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/relay.toml");
    assert_eq!(Config::from_file(&path).unwrap(), Config::default());
    Config::default().check().unwrap();
    // Keys without a default stand in comments; with those taken in, the file has every key there is.
    let example = std::fs::read_to_string(&path).unwrap();
    let shown = |line: &str| line.trim_start_matches(['#', ' ']).split_once(" = ").map(|(key, _)| key.to_owned());
    let shown: Vec<_> = example.lines().filter_map(shown).collect();
    let source = [include_str!("../src/config.rs"), include_str!("../src/turn/config.rs")].concat();
    let structs = source.split("#[serde(default, deny_unknown_fields)]\npub struct ").skip(1);
    let mut count = 0;
    for fields in structs.filter_map(|text| text.split("\n}").next()) {
        for field in fields.lines().filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(": ")) {
            let is_table = ["Config,", "Config "].iter().any(|ending| field.1.ends_with(ending));
            assert!(is_table || shown.iter().any(|key| key == field.0), "{} is not shown", field.0);
            count += 1;
        }
    }
    assert!(count > 50, "the structs are found: {count}");
}

#[test]
fn every_line_of_the_example_that_is_a_comment_loads_too() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/relay.toml");
    let example = std::fs::read_to_string(&path).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relay.toml");
    let is_key = |line: &str| {
        let key = line.strip_prefix("# ").and_then(|line| line.split_once(" = ")).map(|(key, _)| key);
        key.is_some_and(|key| key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'))
    };
    let mut count = 0;
    for (number, line) in example.lines().enumerate().filter(|(_, line)| is_key(line)) {
        let replaced = line.strip_prefix("# ").unwrap();
        let key = replaced.split(' ').next().unwrap();
        // What has a default stands below; a key may be there once.
        let lines = example.lines().enumerate().map(|(at, text)| {
            let is_default = at > number && at < number + 4 && text.starts_with(&format!("{key} = "));
            if at == number {
                replaced
            } else if is_default {
                ""
            } else {
                text
            }
        });
        std::fs::write(&file, lines.collect::<Vec<_>>().join("\n")).unwrap();
        Config::from_file(&file).unwrap_or_else(|error| panic!("{replaced}: {error}"));
        count += 1;
    }
    assert!(count > 5, "{count}");
}

#[test]
fn an_unusable_configuration_is_told_in_a_sentence_and_exit_code_2() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relay.toml");
    let path = file.to_str().unwrap();
    for (text, said) in [
        ("[http]\nlisten = [\"[::]:8080\"]\nlisten_address = 1\n", "listen_address"),
        ("[htttp]\n", "htttp"),
        ("drain_seconds = -1\n", "drain_seconds"),
        ("[http]\nhosts = [\"https://relay.example\"]\n", "without scheme"),
        ("[http]\norigins = [\"relay.example\"]\n", "is not an origin"),
        ("[http]\nlisten = []\n", "nothing to listen on"),
        ("[http]\nport_tries = 0\n", "http.port_tries"),
        ("[http]\ntrusted_proxies = [\"proxy\"]\n", "trusted_proxies"),
        ("[tls]\ncertificate = \"cert.pem\"\n", "go together"),
        ("[signaling]\nsockets = 0\n", "signaling.sockets"),
        ("[signaling]\nping_seconds = 50\n", "dead_seconds"),
        ("metrics = \"some\"\n", "metrics"),
        ("this is not toml", "relay.toml"),
    ] {
        std::fs::write(&file, text).unwrap();
        let output = check(&["--config", path], &[]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}: {stderr}");
        assert!(stderr.contains(said), "{text}: {stderr}");
    }
    let output = check(&["--config", "/nowhere/relay.toml"], &[]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn flags_override_the_environment_and_that_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("relay.toml");
    std::fs::write(&file, "[http]\nhosts = [\"not a host\"]\n").unwrap();
    let path = file.to_str().unwrap();
    let from_file = [("LANYARD_RELAY_CONFIG", path)];
    assert_eq!(check(&[], &from_file).status.code(), Some(2), "the file is read");
    let environment = [("LANYARD_RELAY_CONFIG", path), ("LANYARD_RELAY_HOST", "relay.example")];
    assert_eq!(check(&[], &environment).status.code(), Some(0), "the environment replaces the file's value");
    assert_eq!(check(&["--host", "not a host"], &environment).status.code(), Some(2), "a flag replaces both");
}

#[test]
fn a_taken_port_ends_with_exit_code_3_and_says_which() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = program().args(["--listen", &address, "--stun-listen", "127.0.0.1:0"]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    assert!(stderr.contains(&address), "{stderr}");
}

#[cfg(unix)]
#[tokio::test]
async fn sigterm_and_ctrl_c_end_it_well_and_sockets_are_told() {
    for signal in ["-TERM", "-INT"] {
        let running = Running::start(&[]);
        assert_eq!(status(&get(running.address, "/healthz", "").await), 200);
        let mut client = Client::connect(running.address).await;
        running.signal(signal);
        assert_eq!(client.end().await, Some(1001), "{signal}");
        drop(client);
        let (code, rest) = tokio::task::spawn_blocking(|| running.end()).await.unwrap();
        assert_eq!(code, Some(0), "{signal}: {rest}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn logs_at_info_hold_no_address_and_can_be_json() {
    let running = Running::start(&["--log-format", "json"]);
    let at = running.address;
    let mut client = Client::connect(at).await;
    client.join(lanyard_protocol::MailboxId([9; 16]), None).await;
    get(at, "/nothing?secret=S3CR3T", "").await;
    drop(client);
    running.signal("-TERM");
    let (_, rest) = tokio::task::spawn_blocking(|| running.end()).await.unwrap();
    let lines: Vec<_> = rest.lines().filter(|line| line.starts_with('{')).collect();
    assert!(!lines.is_empty(), "{rest}");
    for line in lines {
        serde_json::from_str::<serde_json::Value>(line).expect("a JSON object a line");
        assert!(!line.contains("127.0.0.1") && !line.contains("S3CR3T"), "{line}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn sighup_is_survived() {
    let running = Running::start(&[]);
    running.signal("-HUP");
    assert_eq!(status(&get(running.address, "/healthz", "").await), 200);
    running.signal("-TERM");
    let (code, _) = tokio::task::spawn_blocking(|| running.end()).await.unwrap();
    assert_eq!(code, Some(0));
}
