//! Links that real programs use: curl, wget and aria2c download, resume and upload (docs/protocol/http.md).

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails the test")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use support::{Device, Running};

/// Content that differs in every place.
fn content(len: usize) -> Vec<u8> {
    (0..len as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// `lanyard share` by itself, and its link.
fn share(device: &Device, arguments: &[&str]) -> (Running, String) {
    let mut all = vec!["share", "--json"];
    all.extend(arguments);
    let mut running = device.start(&all);
    let line = running.line_with("\"link\"");
    let event: serde_json::Value = serde_json::from_str(&line).unwrap();
    let link = event["link"].as_str().unwrap().to_owned();
    (running, link)
}

fn run(folder: &Path, program: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder).env("HOME", folder).stdin(Stdio::null());
    command.output().unwrap_or_else(|error| panic!("{program}: {error}; install it"))
}

fn curl(folder: &Path, arguments: &[&str]) -> Output {
    let mut all = vec!["-sS", "--noproxy", "*"];
    all.extend(arguments);
    run(folder, "curl", &all)
}

/// What curl gets, as `STATUS BODY`, with header lines first if `-i` is among the arguments.
fn answer(arguments: &[&str]) -> String {
    let mut all = vec!["-w", "\n%{http_code}"];
    all.extend(arguments);
    let output = curl(Path::new("/"), &all);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn header<'a>(answer: &'a str, name: &str) -> &'a str {
    let is_it = |line: &&str| line.to_ascii_lowercase().starts_with(&format!("{name}:"));
    answer.lines().find(is_it).and_then(|line| line.split_once(": ")).map_or("", |(_, value)| value.trim())
}

#[test]
fn curl_wget_and_aria2_download_and_carry_on_where_they_were_cut_off() {
    let (attic, desk) = (Device::new(), Device::new());
    let whole = content(30_000_000);
    std::fs::write(attic.path("holiday 1.bin"), &whole).unwrap();
    let (_sharing, link) = share(&attic, &["holiday 1.bin"]);
    let tools: [(&str, Vec<&str>); 3] = [
        ("curl", vec!["-sS", "-f", "-C", "-", "-o", "curl.bin"]),
        ("wget", vec!["-q", "-c", "--no-proxy", "-O", "wget.bin"]),
        ("aria2c", vec!["-q", "-c", "-x4", "-s4", "-k1M", "--allow-overwrite=false", "-o", "aria2c.bin"]),
    ];
    for (program, arguments) in tools {
        let arrived = desk.path(&format!("{program}.bin"));
        // Slow enough to be killed half-way.
        let slow: &[&str] = match program {
            "aria2c" => &["--max-overall-download-limit=4M"],
            _ => &["--limit-rate", "4m"],
        };
        let mut command = Command::new(program);
        command.args(&arguments).args(slow).arg(&link).current_dir(desk.home.path());
        let mut child = command.stdout(Stdio::null()).spawn().unwrap_or_else(|error| panic!("{program}: {error}"));
        let deadline = Instant::now() + support::PATIENCE;
        while std::fs::metadata(&arrived).map_or(0, |found| std::os::unix::fs::MetadataExt::blocks(&found)) < 4096 {
            assert!(Instant::now() < deadline, "{program} does not begin");
            std::thread::sleep(Duration::from_millis(10));
        }
        if program == "aria2c" {
            // It notes what it has when it is asked to stop.
            let stopped = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
            assert!(stopped.success());
        } else {
            child.kill().unwrap();
        }
        child.wait().unwrap();
        assert!(std::fs::read(&arrived).unwrap() != whole, "{program} was cut off");

        let mut all = arguments.clone();
        all.push(&link);
        let output = run(desk.home.path(), program, &all);
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(std::fs::read(&arrived).unwrap() == whole, "{program}");
    }
}

#[test]
fn ht_11_to_13_answers_carry_validators_and_heed_parts() {
    let attic = Device::new();
    std::fs::write(attic.path("naïve.txt"), "0123456789").unwrap();
    let (_sharing, link) = share(&attic, &["naïve.txt"]);
    let head = answer(&["-I", &link]);
    assert!(head.ends_with("200"), "{head}");
    let root = lanyard_transfer::file_root(10, [&lanyard_transfer::piece_hash(b"0123456789")]);
    let etag = format!("\"{}\"", data_encoding::HEXLOWER.encode(&root));
    assert_eq!(header(&head, "etag"), etag);
    assert_eq!((header(&head, "accept-ranges"), header(&head, "content-length")), ("bytes", "10"));
    assert!(header(&head, "last-modified").ends_with("GMT"));
    let disposition = header(&head, "content-disposition");
    assert_eq!(disposition, "attachment; filename=\"na_ve.txt\"; filename*=UTF-8''na%C3%AFve.txt");
    assert_eq!(header(&head, "access-control-allow-origin"), "");

    assert_eq!(answer(&[&link]), "0123456789\n200");
    assert_eq!(answer(&["-r", "3-5", &link]), "345\n206");
    assert_eq!(answer(&["-r", "-2", &link]), "89\n206");
    assert!(header(&answer(&["-i", "-r", "8-", &link]), "content-range").starts_with("bytes 8-9/10"));
    let beyond = answer(&["-i", "-r", "10-", &link]);
    assert!(beyond.ends_with("416") && header(&beyond, "content-range") == "bytes */10", "{beyond}");
    let parts = answer(&["-i", "-r", "0-1,5-6", &link]);
    assert!(parts.ends_with("206") && header(&parts, "content-type").starts_with("multipart/byteranges; boundary="));
    assert!(parts.contains("Content-Range: bytes 0-1/10\r\n\r\n01\r\n--"), "{parts}");
    assert!(parts.contains("Content-Range: bytes 5-6/10\r\n\r\n56\r\n--"), "{parts}");
    assert_eq!(answer(&["-r", "3-5", "-H", &format!("If-Range: {etag}"), &link]), "345\n206");
    assert_eq!(answer(&["-r", "3-5", "-H", "If-Range: \"other\"", &link]), "0123456789\n200");
    assert!(answer(&["-H", &format!("If-None-Match: {etag}"), &link]).ends_with("304"));
    assert!(answer(&["-X", "POST", &link]).ends_with("405"));
}

#[test]
fn ht_13_no_part_of_a_changed_file_is_sent_to_who_cannot_name_its_version() {
    let (attic, desk) = (Device::new(), Device::new());
    let old = content(3_000_000);
    std::fs::write(attic.path("a.bin"), &old).unwrap();
    let (mut sharing, link) = share(&attic, &["a.bin"]);
    let before = header(&answer(&["-I", &link]), "etag").to_owned();
    for name in ["curl.bin", "wget.bin"] {
        std::fs::write(desk.path(name), &old[..1_000_000]).unwrap();
    }
    let new: Vec<u8> = old.iter().map(|byte| !byte).collect();
    std::fs::write(attic.path("a.bin"), &new).unwrap();

    let resumed = curl(desk.home.path(), &["-f", "-C", "-", "-o", "curl.bin", &link]);
    assert_eq!(resumed.status.code(), Some(22), "curl tells of a refusal");
    let resumed = run(desk.home.path(), "wget", &["-q", "-c", "--no-proxy", "-O", "wget.bin", &link]);
    assert_eq!(resumed.status.code(), Some(8), "and so does wget");
    for name in ["curl.bin", "wget.bin"] {
        assert!(std::fs::read(desk.path(name)).unwrap() == old[..1_000_000], "{name} is not mixed");
    }
    let anew = run(desk.home.path(), "aria2c", &["-q", "-x4", "-s4", "-k1M", "-o", "aria2c.bin", &link]);
    assert!(anew.status.success(), "who begins with the present content may take it in parts");
    assert!(std::fs::read(desk.path("aria2c.bin")).unwrap() == new);
    sharing.line_with("\"changed\"");

    let after = header(&answer(&["-I", &link]), "etag").to_owned();
    assert!(!before.is_empty() && before != after);
    let part = |etag: &str| answer(&["-o", "/dev/null", "-r", "5-6", "-H", &format!("If-Range: {etag}"), &link]);
    assert!(part(&before).ends_with("200"));
    assert!(part(&after).ends_with("206"));
}

#[test]
fn ht_14_an_answer_is_cut_off_when_the_file_changes_under_it() {
    let attic = Device::new();
    let old = content(40_000_000);
    std::fs::write(attic.path("a.bin"), &old).unwrap();
    let (mut sharing, link) = share(&attic, &["a.bin"]);
    let rest = link.strip_prefix("http://").unwrap();
    let (host, path) = rest.split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    write!(stream, "GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        reader.read_line(&mut line).unwrap();
    }
    let mut got = vec![0; 100_000];
    reader.read_exact(&mut got).unwrap();
    // What is in the sockets still comes; far less than the rest.
    std::fs::write(attic.path("a.bin"), vec![0; 40_000_000]).unwrap();
    let _ = reader.read_to_end(&mut got);
    assert!(got.len() < old.len(), "the answer was cut off");
    assert!(got[..] == old[..got.len()], "and held one version");
    sharing.line_with("\"failed\"");
}

#[test]
fn a_folder_is_listed_and_wget_walks_it() {
    let (attic, desk) = (Device::new(), Device::new());
    let trip = attic.folder("trip");
    std::fs::create_dir_all(trip.join("day 1/zoë")).unwrap();
    std::fs::write(trip.join("day 1/zoë/日本 #1?.txt"), "hello").unwrap();
    std::fs::write(trip.join("a&b <i>.txt"), "x").unwrap();
    let (_sharing, link) = share(&attic, &["trip"]);
    assert!(link.ends_with('/'), "{link}");
    let list = answer(&[&link]);
    assert!(list.contains("href=\"./trip/\""), "{list}");
    assert!(answer(&["-L", &format!("{link}trip")]).contains("a&amp;b &lt;i&gt;.txt"), "without the slash as well");
    let output = run(
        desk.home.path(),
        "wget",
        &[
            "-q",
            "-r",
            "-np",
            "-nH",
            "--cut-dirs=2",
            "--no-proxy",
            "--restrict-file-names=nocontrol",
            "-R",
            "index.html*",
            "-P",
            "got",
            &link,
        ],
    );
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |path: &str| std::fs::read_to_string(desk.path(path)).unwrap();
    assert_eq!(read("got/trip/day 1/zoë/日本 #1?.txt"), "hello");
    assert_eq!(read("got/trip/a&b <i>.txt"), "x");
    for outside in ["../", "%2e%2e/", "trip/..%2f..%2fnote", "/etc/passwd", "trip//", "trip/%00"] {
        let found = answer(&["--path-as-is", &format!("{link}{outside}")]);
        assert!(found.ends_with("404"), "{outside}: {found}");
    }
}

#[test]
fn ht_1_a_link_ends_with_its_use_its_time_or_its_command() {
    let attic = Device::new();
    std::fs::write(attic.path("note.txt"), "hello").unwrap();
    let (mut once, link) = share(&attic, &["--once", "note.txt"]);
    assert!(answer(&["-r", "0-1", &link]).ends_with("206"));
    assert_eq!(answer(&["-r", "2-", &link]), "llo\n206");
    once.exits_with(0);
    let (mut late, _) = share(&attic, &["--expires", "1s", "note.txt"]);
    late.exits_with(3);

    let (_up, _) = attic.up(&[]);
    let (mut sharing, link) = share(&attic, &["note.txt"]);
    assert_eq!(answer(&[&link]), "hello\n200", "through the running agent");
    let page = link.split("/s/").next().unwrap().to_owned();
    assert!(answer(&[&format!("{page}/s/AAAAAAAAAAAAAAAAAAAAAA/note.txt")]).ends_with("404"));
    assert!(answer(&["-H", "Host: evil.example", &link]).ends_with("421"));
    sharing.signal("INT");
    sharing.exits_with(0);
    let deadline = Instant::now() + support::PATIENCE;
    while !answer(&[&link]).ends_with("404") {
        assert!(Instant::now() < deadline, "the link outlives its command");
    }
}

#[test]
fn ht_20_to_23_curl_uploads_once_under_the_rules_of_the_inbox() {
    let (attic, desk) = (Device::new(), Device::new());
    let whole = content(5_000_000);
    std::fs::write(desk.path(".ba\u{202e}d.bin"), &whole).unwrap();
    attic.folder("in");
    std::fs::write(attic.path("in/_.ba\u{202e}d.bin"), "mine").unwrap();
    let (mut sharing, link) = share(&attic, &["--upload", "-o", "in"]);
    let file = desk.path(".ba\u{202e}d.bin");
    let sent = answer(&["-T", file.to_str().unwrap(), &link]);
    assert!(sent.ends_with("201"), "{sent}");
    sharing.exits_with(0);
    let names: Vec<String> = attic.tree("in").into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(std::fs::read(attic.path("in/_.ba\u{202e}d.bin")).unwrap(), b"mine", "nothing is replaced");
    assert!(attic.tree("in").iter().any(|(name, found)| name.contains(" (1)") && *found == whole), "{names:?}");

    let (_up, _) = attic.up(&[]);
    let (_sharing, link) = share(&attic, &["--upload"]);
    assert_eq!(attic.tree("in").len(), 2, "nothing is made before something comes");
    for bad in ["..", "%2e%2e%2fx", "a%2fb", "%00", "x%5cy"] {
        let refused = answer(&["--path-as-is", "-X", "PUT", "-d", "x", &format!("{link}{bad}")]);
        assert!(refused.ends_with("400") || refused.ends_with("404"), "{bad}: {refused}");
    }
    assert!(
        answer(&["-X", "PUT", "-d", "x", "-H", "Origin: http://evil.example", &format!("{link}x")]).ends_with("403")
    );
    let huge = format!("{}", u64::MAX / 4);
    let refused = answer(&["-X", "PUT", "-H", &format!("Content-Length: {huge}"), "-m", "5", &format!("{link}x")]);
    assert!(refused.contains("do not fit") && refused.ends_with("507"), "{refused}");
    assert_eq!(attic.tree("in").len(), 2);
    assert!(answer(&["-T", file.to_str().unwrap(), &format!("{link}late.bin")]).ends_with("201"));
    assert!(answer(&["-T", file.to_str().unwrap(), &format!("{link}again.bin")]).ends_with("404"), "once");
    assert!(std::fs::read(attic.path("in/late.bin")).unwrap() == whole);
    assert!(!attic.path("in/.lanyard-part").exists());
}

#[test]
fn ht_22_an_upload_that_broke_off_carries_on() {
    let (attic, desk) = (Device::new(), Device::new());
    let whole = content(20_000_000);
    std::fs::write(desk.path("a.bin"), &whole).unwrap();
    attic.folder("in");
    let (mut sharing, link) = share(&attic, &["--upload", "-o", "in"]);
    let url = format!("{link}a.bin");
    let mut command = Command::new("curl");
    command.args(["-sS", "--limit-rate", "4m", "-T", "a.bin", &url]).current_dir(desk.home.path());
    let mut child = command.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    sharing.line_with("\"progress\"");
    child.kill().unwrap();
    child.wait().unwrap();
    sharing.line_with("\"failed\"");
    assert!(!attic.path("in/a.bin").exists());
    let offset = header(&answer(&["-I", &url]), "upload-offset").to_owned();
    let held: u64 = offset.parse().unwrap();
    assert!((1..20_000_000).contains(&held), "{held}");
    let wrong = answer(&["-C", "5", "-T", desk.path("a.bin").to_str().unwrap(), &url]);
    assert!(wrong.ends_with("409"), "{wrong}");
    let sent = answer(&["-C", &offset, "-T", desk.path("a.bin").to_str().unwrap(), &url]);
    assert!(sent.ends_with("201"), "{sent}");
    assert!(std::fs::read(attic.path("in/a.bin")).unwrap() == whole);
    sharing.exits_with(0);
}
