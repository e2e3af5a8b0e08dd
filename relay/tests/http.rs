//! The web surface: what is served, to whom, and how it is fenced.

mod support;

use std::time::{Duration, Instant};

use lanyard_relay::Relay;
use lanyard_relay::config::MetricsAccess;
use support::{Client, address, body, config, figure, get, header, page, raw, start, status, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn the_page_and_its_files_are_served_with_type_and_caching() {
    let relay = start(config()).await;
    let at = address(&relay);
    for (path, mime, cache) in [
        ("/", "text/html; charset=utf-8", "no-cache"),
        ("/nearby", "text/html; charset=utf-8", "no-cache"),
        ("/room/4821", "text/html; charset=utf-8", "no-cache"),
        ("/settings/devices", "text/html; charset=utf-8", "no-cache"),
        ("/assets/app-1a2b3c4d.js", "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"),
        ("/sw.js", "text/javascript; charset=utf-8", "no-cache"),
        ("/manifest.webmanifest", "application/manifest+json", "no-cache"),
    ] {
        let answer = get(at, path, "").await;
        assert_eq!(status(&answer), 200, "{path}");
        assert_eq!(header(&answer, "content-type"), Some(mime), "{path}");
        assert_eq!(header(&answer, "cache-control"), Some(cache), "{path}");
        let etag = header(&answer, "etag").unwrap();
        let again = get(at, path, &format!("If-None-Match: \"x\", {etag}\r\n")).await;
        assert_eq!((status(&again), body(&again)), (304, ""), "{path}");
    }
}

#[tokio::test]
async fn head_is_answered_like_get_without_a_body_and_other_methods_are_refused() {
    let relay = start(config()).await;
    let at = address(&relay);
    let head = raw(at, &format!("HEAD / HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n")).await;
    assert_eq!((status(&head), body(&head)), (200, ""));
    assert_eq!(header(&head, "content-length"), Some("37"));
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"] {
        let answer =
            raw(at, &format!("{method} / HTTP/1.1\r\nHost: {at}\r\nX-Lanyard: 1\r\nConnection: close\r\n\r\n")).await;
        assert_eq!(status(&answer), 405, "{method}");
        assert_eq!(header(&answer, "access-control-allow-origin"), None, "{method}");
    }
}

#[tokio::test]
async fn every_answer_is_fenced_and_none_opens_the_server_to_other_origins() {
    let relay = start(config()).await;
    let at = address(&relay);
    let foreign = raw(at, "GET / HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n").await;
    let mut answers = vec![foreign];
    for path in ["/", "/assets/app-1a2b3c4d.js", "/no/such/thing", "/healthz", "/metrics", "/v1/ws"] {
        answers.push(get(at, path, "Origin: http://evil.example\r\n").await);
    }
    for answer in &answers {
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(header(answer, name), Some(value), "{name} in {answer}");
        }
        let policy = header(answer, "content-security-policy").unwrap();
        for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"] {
            assert!(policy.contains(part), "{part} in {policy}");
        }
        assert!(policy.contains("require-trusted-types-for 'script'"));
        assert!(!policy.contains("unsafe-inline") && !policy.contains("'unsafe-eval'") && !policy.contains('*'));
        assert!(header(answer, "permissions-policy").unwrap().contains("local-network=(self)"));
        assert!(!answer.to_ascii_lowercase().contains("access-control-"), "no CORS: {answer}");
    }
    let policy = header(&answers[1], "content-security-policy").unwrap();
    assert!(policy.contains(&format!("connect-src 'self' blob: ws://{at} wss://{at};")), "{policy}");
}

#[tokio::test]
async fn the_opener_policy_is_sent_where_browsers_heed_it() {
    let mut config = config();
    config.http.hosts = vec!["::1".into(), "192.168.1.20".into(), "fd00::20".into()];
    let relay = start(config).await;
    let at = address(&relay);
    for (host, policy) in [
        ("localhost:53380", Some("same-origin")),
        ("[::1]:53380", Some("same-origin")),
        ("192.168.1.20:53380", None),
        ("[fd00::20]:53380", None),
    ] {
        let answer = raw(at, &format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await;
        assert_eq!(status(&answer), 200, "{host}");
        assert_eq!(header(&answer, "cross-origin-opener-policy"), policy, "{host}");
    }
}

#[tokio::test]
async fn no_spelling_of_a_path_reaches_anything_but_the_files() {
    let relay = start(config()).await;
    let at = address(&relay);
    for path in [
        "/../Cargo.toml",
        "/assets/../index.html",
        "/assets/..%2findex.html",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%5c..%5cwindows",
        "/assets/%5c..%5cindex.html",
        "//index.html",
        "//etc/passwd",
        "/./index.html",
        "/index.html/",
        "/index.html%00",
        "/INDEX.HTML",
        "/assets",
        "/assets/",
        "/c:/windows/win.ini",
        "/c:%5cwindows",
        "/%69ndex.html",
        "/file:///etc/passwd",
        "/room/..",
        "/room/%2e%2e",
        "/room/a/../../x",
        "/pad//",
        "/nearby/",
        "/.git/config",
        "/src/main.rs",
    ] {
        let answer = get(at, path, "").await;
        assert_eq!(status(&answer), 404, "{path}");
    }
}

#[tokio::test]
async fn a_build_without_a_page_says_what_to_do() {
    let relay = Relay::new(config()).with_page(lanyard_relay::Page::from_files([])).run().await.unwrap();
    let answer = get(address(&relay), "/", "").await;
    assert_eq!(status(&answer), 503);
    assert!(body(&answer).contains("cargo xtask up"), "{answer}");
    assert!(!relay.has_page());
}

#[tokio::test]
async fn only_names_that_are_ours_are_answered() {
    let mut config = config();
    config.http.hosts = vec!["attic.local".into(), "198.51.100.7".into()];
    let relay = start(config).await;
    let at = address(&relay);
    let ask = |host: String| async move {
        status(&raw(at, &format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")).await)
    };
    for ours in ["127.0.0.1", "localhost", "LOCALHOST:1", "attic.local", "Attic.Local.:53380", "198.51.100.7"] {
        assert_eq!(ask(ours.into()).await, 200, "{ours}");
    }
    for foreign in ["evil.example", "attic.local.evil.example", "192.168.1.1", "[::1]", "127.0.0.2", "xlocalhost"] {
        assert_eq!(ask(foreign.into()).await, 421, "{foreign}");
    }
    for broken in ["", "a b", "user@127.0.0.1", "127.1", "127.0.0.1:x"] {
        assert_eq!(ask(broken.into()).await, 400, "{broken:?}");
    }
    let none = raw(at, "GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    assert_eq!(status(&none), 400);
    let two = raw(at, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n").await;
    assert_eq!(status(&two), 400);
    let absolute = raw(at, "GET http://evil.example/ HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").await;
    assert_eq!(status(&absolute), 400);
    relay.set_hosts(&["attic-2.local".into()]);
    assert_eq!(ask("attic-2.local".into()).await, 200);
    assert_eq!(ask("attic.local".into()).await, 421);
}

#[tokio::test]
async fn sg_18_only_our_own_page_opens_a_websocket() {
    let mut config = config();
    config.http.origins = vec!["https://app.example".into()];
    let relay = start(config).await;
    let at = address(&relay);
    let own = format!("http://{at}");
    let ports = [format!("http://127.0.0.1:{}", at.port() ^ 1), "http://127.0.0.1".to_owned()];
    let same = ("sec-fetch-site", "same-origin");
    for headers in
        [&[][..], &[("origin", own.as_str())], &[("origin", &own), same], &[("origin", "https://app.example")]]
    {
        assert!(Client::open(at, headers).await.is_ok(), "{headers:?}");
    }
    let secure = format!("https://{at}");
    for origin in ["null", "http://evil.example", &secure, &ports[0], &ports[1], "http://localhost", "file://", ""] {
        let Err(refused) = Client::open(at, &[("origin", origin)]).await else { panic!("{origin} was let in") };
        assert!(refused.to_string().contains("403"), "{origin}: {refused}");
    }
    for site in ["cross-site", "same-site", "none"] {
        assert!(Client::open(at, &[("origin", &own), ("sec-fetch-site", site)]).await.is_err(), "{site}");
    }
    let plain = get(at, "/v1/ws", "").await;
    assert!((400..500).contains(&status(&plain)), "not a WebSocket: {plain}");
}

#[tokio::test]
async fn routes_of_the_embedding_program_stand_behind_the_same_checks() {
    let routes = axum::Router::new().route("/lane/echo", axum::routing::post(|body: String| async { body }));
    let relay = Relay::new(config()).with_page(page()).with_routes(routes).run().await.unwrap();
    let at = address(&relay);
    let post = |more: String| async move {
        let request =
            format!("POST /lane/echo HTTP/1.1\r\nHost: {at}\r\nContent-Length: 2\r\nConnection: close\r\n{more}\r\nhi");
        status(&raw(at, &request).await)
    };
    assert_eq!(post("X-Lanyard: 1\r\n".into()).await, 200);
    assert_eq!(post(format!("X-Lanyard: 1\r\nOrigin: http://{at}\r\nSec-Fetch-Site: same-origin\r\n")).await, 200);
    assert_eq!(post(String::new()).await, 403, "a form cannot send the header");
    assert_eq!(post("X-Lanyard: 1\r\nOrigin: http://evil.example\r\n".into()).await, 403);
    assert_eq!(post("X-Lanyard: 1\r\nSec-Fetch-Site: cross-site\r\n".into()).await, 403);
}

#[tokio::test]
async fn a_head_that_is_too_long_or_has_too_many_fields_is_refused() {
    let relay = start(config()).await;
    let at = address(&relay);
    let long = get(at, "/", &format!("X-Long: {}\r\n", "x".repeat(9 * 1024))).await;
    assert!(matches!(status(&long), 400..=431), "{long}");
    let many = get(at, "/", &"X-Many: 1\r\n".repeat(80)).await;
    assert_eq!(status(&many), 431);
    assert_eq!(status(&get(at, "/healthz", "").await), 200);
}

#[tokio::test]
async fn a_client_that_dawdles_over_its_head_is_cut_off_after_5_seconds() {
    let relay = start(config()).await;
    let mut stream = TcpStream::connect(address(&relay)).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: ").await.unwrap();
    let started = Instant::now();
    let mut answer = Vec::new();
    let _ =
        tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await.expect("it is cut off");
    assert!((4.5..10.0).contains(&started.elapsed().as_secs_f64()), "{:?}", started.elapsed());
}

#[tokio::test]
async fn connections_of_one_address_are_bounded() {
    let mut config = config();
    config.http.connections_per_source = 3;
    let relay = start(config).await;
    let at = address(&relay);
    let mut held = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
        held.push(stream);
    }
    let mut refused = TcpStream::connect(at).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(support::PATIENCE, refused.read_to_end(&mut answer)).await.expect("closed at once");
    assert!(read.is_err() || answer.is_empty());
    held.clear();
    until("there is room again", || async {
        let Ok(mut stream) = TcpStream::connect(at).await else { return false };
        let request = format!("GET /healthz HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
        let mut answer = String::new();
        stream.write_all(request.as_bytes()).await.is_ok()
            && stream.read_to_string(&mut answer).await.is_ok()
            && status(&answer) == 200
    })
    .await;
}

#[tokio::test]
async fn metrics_count_and_name_nobody() {
    let relay = start(config()).await;
    let at = address(&relay);
    let mut client = Client::connect(at).await;
    client.join(lanyard_protocol::MailboxId([3; 16]), None).await;
    get(at, "/nothing", "").await;
    let answer = get(at, "/metrics", "").await;
    assert!(header(&answer, "content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    let text = body(&answer);
    assert_eq!(figure(text, "lanyard_signaling_sockets"), 1);
    assert_eq!(figure(text, "lanyard_signaling_mailboxes"), 1);
    assert_eq!(figure(text, "lanyard_http_responses_total{status=\"4xx\"}"), 1);
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<u64>().is_ok(), "{line}");
        let family = name.split('{').next().unwrap();
        assert!(text.contains(&format!("# TYPE {family} ")), "{line} has a type");
    }
    assert!(!text.contains("127.0.0.1"));
}

#[tokio::test]
async fn metrics_are_for_this_machine_unless_the_operator_says_otherwise() {
    for (access, plain, forwarded) in
        [(MetricsAccess::Loopback, 200, 404), (MetricsAccess::All, 200, 200), (MetricsAccess::Off, 404, 404)]
    {
        let mut config = config();
        config.metrics = access;
        config.http.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
        let relay = start(config).await;
        assert_eq!(status(&get(address(&relay), "/metrics", "").await), plain, "{access:?}");
        let from_outside = get(address(&relay), "/metrics", "X-Forwarded-For: 203.0.113.9\r\n").await;
        assert_eq!(status(&from_outside), forwarded, "{access:?} through a proxy");
    }
}

#[tokio::test]
async fn sg_15_forged_headers_of_proxies_do_not_make_another_address() {
    let forgeries = ["x-forwarded-for", "forwarded", "x-real-ip", "cf-connecting-ip", "true-client-ip", "x-client-ip"];
    let mut config = config();
    config.signaling.sockets_per_source = 1;
    let relay = start(config.clone()).await;
    let _first = Client::open(address(&relay), &[]).await.unwrap();
    for name in forgeries {
        let forged = Client::open(address(&relay), &[(name, "203.0.113.9")]).await;
        assert!(forged.is_err(), "{name} was believed");
    }
    config.http.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let relay = start(config).await;
    let _first = Client::open(address(&relay), &[("x-forwarded-for", "203.0.113.1")]).await.unwrap();
    assert!(Client::open(address(&relay), &[("x-forwarded-for", "203.0.113.1")]).await.is_err());
    assert!(Client::open(address(&relay), &[("x-forwarded-for", "203.0.113.2")]).await.is_ok());
}

#[tokio::test]
async fn a_taken_port_is_an_error_or_the_next_one_is_used() {
    let relay = start(config()).await;
    let mut second = config();
    second.http.listen = vec![address(&relay)];
    let error = Relay::start(second.clone()).await.unwrap_err();
    assert!(error.to_string().contains("cannot listen on"), "{error}");
    second.http.port_tries = 20;
    let next = start(second).await;
    assert!(address(&next).port() > address(&relay).port());
}
