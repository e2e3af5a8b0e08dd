//! Files on their way out.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::OwnedSemaphorePermit;
use tracing::debug;

use super::conditions::{Verdict, judge};
use super::disposition::attachment;
use super::event::ShareEvent;
use super::range::{self, Asked, Part};
use super::registry::{Kind, Link, Registry, Shared};
use super::routes::{plain, try_later};
use super::version::{OpenVersion, Version};

/// Bytes read and handed to the connection at once.
const CHUNK_BYTES: u64 = 256 << 10;

/// How often who made the link is told how far a file is.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// What one request asks for.
pub(super) struct Asking {
    pub(super) registry: Registry,
    pub(super) link: Arc<Link>,
    /// Path within the link.
    pub(super) path: String,
    /// Who asks.
    pub(super) from: String,
    pub(super) method: Method,
    pub(super) headers: HeaderMap,
}

/// Answers a GET or HEAD of a file.
pub(super) async fn answer(asking: Asking) -> Response<Body> {
    let Ok(place) = asking.registry.places.downloads.clone().try_acquire_owned() else { return try_later() };
    let (open, changed) = match open(&asking).await {
        Ok(opened) => opened,
        Err(error) => {
            debug!(%error, "a shared file cannot be read");
            let message = "The file cannot be read any more.".to_owned();
            asking.link.tell(ShareEvent::Failed { name: asking.path.clone(), message });
            return plain(StatusCode::NOT_FOUND, "This file cannot be read any more.\n");
        }
    };
    let version = open.version.clone();
    let ranges = match judge(&asking.headers, &version, changed) {
        Verdict::Answer { ranges } => ranges,
        Verdict::NotModified => {
            return described(Response::new(Body::empty()), StatusCode::NOT_MODIFIED, &version, None);
        }
        Verdict::Changed => {
            return plain(StatusCode::CONFLICT, "The file changed; delete what you have and begin anew.\n");
        }
        Verdict::PreconditionFailed => return plain(StatusCode::PRECONDITION_FAILED, "The file is another one now.\n"),
    };
    let range = asking.headers.get(header::RANGE).filter(|_| ranges && asking.method == Method::GET);
    let size = version.size();
    let name = asking.path.rsplit('/').next().unwrap_or_default().to_owned();
    let whole = Part { first: 0, end: size };
    match range::read(range.and_then(|value| value.to_str().ok()), size) {
        Asked::Unsatisfiable => {
            let mut response = plain(StatusCode::RANGE_NOT_SATISFIABLE, "The file has no such part.\n");
            set(&mut response, header::CONTENT_RANGE, &format!("bytes */{size}"));
            set(&mut response, header::ETAG, &version.etag());
            response
        }
        Asked::Whole => {
            let body = vec![Segment::File(whole)];
            let response = send(asking, open, body, size, place);
            described(response, StatusCode::OK, &version, Some(&name))
        }
        Asked::Parts(parts) => match parts.as_slice() {
            [only] => {
                let (first, last) = (only.first, only.end - 1);
                let response = send(asking, open, vec![Segment::File(*only)], only.len(), place);
                let mut response = described(response, StatusCode::PARTIAL_CONTENT, &version, Some(&name));
                set(&mut response, header::CONTENT_RANGE, &format!("bytes {first}-{last}/{size}"));
                response
            }
            many => {
                let boundary = data_encoding::HEXLOWER.encode(&rand::random::<[u8; 16]>());
                let body = multipart(many, size, &boundary);
                let len = body.iter().map(Segment::len).sum();
                let response = send(asking, open, body, len, place);
                let mut response = described(response, StatusCode::PARTIAL_CONTENT, &version, Some(&name));
                set(&mut response, header::CONTENT_TYPE, &format!("multipart/byteranges; boundary={boundary}"));
                response
            }
        },
    }
}

/// Opens the file in its present version, hashing it if need be; and whether that is another one than who asks means.
async fn open(asking: &Asking) -> io::Result<(OpenVersion, bool)> {
    let shared = file_of(&asking.link, &asking.path).ok_or(io::ErrorKind::NotFound)?;
    let mut known = shared.version.lock().await;
    // Closed only when the process ends.
    let _place = asking.registry.places.hashes.acquire().await.map_err(io::Error::other)?;
    let (path, last) = (shared.path.clone(), known.last.clone());
    let opening = tokio::task::spawn_blocking(move || OpenVersion::open(&path, last));
    let open = opening.await.map_err(io::Error::other)??;
    let version = open.version.clone();
    let first = known.first.get_or_insert_with(|| version.clone()).clone();
    if known.last.replace(version.clone()).is_some_and(|last| last.etag() != version.etag()) {
        let sent = std::mem::take(&mut *shared.sent.lock().unwrap_or_else(PoisonError::into_inner));
        if let Kind::Download(download) = &asking.link.kind {
            download.forget_taken(sent.bytes());
        }
        asking.link.tell(ShareEvent::Changed { name: asking.path.clone() });
    }
    let begun = shared.begun.lock().unwrap_or_else(PoisonError::into_inner);
    let changed = begun.has_another(&asking.from, &version.etag(), &first.etag());
    drop(begun);
    Ok((open, changed))
}

fn file_of<'a>(link: &'a Link, path: &str) -> Option<&'a Shared> {
    match &link.kind {
        Kind::Download(download) => download.entries.get(path)?.as_ref(),
        Kind::Upload(_) => None,
    }
}

/// A piece of a body.
enum Segment {
    File(Part),
    Text(Bytes),
}

impl Segment {
    fn len(&self) -> u64 {
        match self {
            Self::File(part) => part.len(),
            Self::Text(text) => text.len() as u64,
        }
    }
}

/// The parts of a file with their headers (RFC 9110 §14.6).
fn multipart(parts: &[Part], size: u64, boundary: &str) -> Vec<Segment> {
    let mut body = Vec::new();
    for part in parts {
        let (first, last) = (part.first, part.end - 1);
        let head = format!(
            "\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {first}-{last}/{size}\r\n\r\n"
        );
        body.extend([Segment::Text(head.into()), Segment::File(*part)]);
    }
    body.push(Segment::Text(format!("\r\n--{boundary}--\r\n").into()));
    body
}

/// A response whose body is read from the file as it is taken; without one for HEAD.
fn send(
    asking: Asking,
    open: OpenVersion,
    mut segments: Vec<Segment>,
    len: u64,
    place: OwnedSemaphorePermit,
) -> Response<Body> {
    let begins = segments.iter().any(|segment| matches!(segment, Segment::File(Part { first: 0, .. })));
    let mut response = if asking.method == Method::HEAD {
        Response::new(Body::empty())
    } else {
        if let Some(shared) = file_of(&asking.link, &asking.path).filter(|_| begins) {
            let mut begun = shared.begun.lock().unwrap_or_else(PoisonError::into_inner);
            begun.note(&asking.from, open.version.etag());
        }
        segments.reverse();
        let sending = Sending { asking, open: Arc::new(open), segments, told: Instant::now(), _place: place };
        Response::new(Body::from_stream(stream::try_unfold(sending, Sending::next)))
    };
    set(&mut response, header::CONTENT_LENGTH, &len.to_string());
    response
}

/// A body under way. The next bytes are read when the connection has taken the ones before.
struct Sending {
    asking: Asking,
    open: Arc<OpenVersion>,
    /// What is left, the next one last.
    segments: Vec<Segment>,
    told: Instant,
    _place: OwnedSemaphorePermit,
}

impl Sending {
    async fn next(mut self) -> io::Result<Option<(Bytes, Self)>> {
        let part = match self.segments.pop() {
            None => return Ok(None),
            Some(Segment::Text(text)) => return Ok(Some((text, self))),
            Some(Segment::File(part)) => part,
        };
        if part.len() == 0 {
            self.note(part);
            return Ok(None);
        }
        let len = part.len().min(CHUNK_BYTES);
        let now = Part { first: part.first, end: part.first + len };
        if now.end < part.end {
            self.segments.push(Segment::File(Part { first: now.end, end: part.end }));
        }
        let open = self.open.clone();
        // `CHUNK_BYTES` fits everywhere.
        let reading = tokio::task::spawn_blocking(move || open.read(now.first, len as usize));
        let read = reading.await.map_err(io::Error::other)?;
        if read.is_err() {
            let message = "It changed while it was taken; who took it must begin anew.".to_owned();
            self.asking.link.tell(ShareEvent::Failed { name: self.asking.path.clone(), message });
        }
        let bytes = read?;
        self.note(now);
        Ok(Some((bytes, self)))
    }

    /// Counts what was handed over; the last byte of a file is worth telling.
    fn note(&mut self, part: Part) {
        let Asking { registry, link, path, from, .. } = &self.asking;
        let Some(shared) = file_of(link, path) else { return };
        let total_bytes = self.open.version.size();
        let (before, done_bytes) = {
            let mut sent = shared.sent.lock().unwrap_or_else(PoisonError::into_inner);
            let before = sent.bytes();
            sent.add(part.first, part.end);
            let now = sent.bytes();
            if let Kind::Download(download) = &link.kind {
                download.note_taken(before, now);
            }
            (before, now)
        };
        let (name, from) = (path.clone(), from.clone());
        let is_last = done_bytes >= total_bytes && (before < total_bytes || part.end >= total_bytes);
        if is_last {
            link.tell(ShareEvent::Done { name, from, upload: false, total_bytes });
            let is_used_up = matches!(&link.kind, Kind::Download(download) if link.once && download.is_used_up());
            if is_used_up {
                registry.end(link, "everything was taken once");
            }
        } else if self.told.elapsed() >= PROGRESS_EVERY {
            self.told = Instant::now();
            let total_bytes = Some(total_bytes);
            link.tell(ShareEvent::Progress { name, from, upload: false, done_bytes, total_bytes });
        }
    }
}

/// Adds what every answer about a version says; `name` where there is a body to be named.
fn described(
    mut response: Response<Body>,
    status: StatusCode,
    version: &Version,
    name: Option<&str>,
) -> Response<Body> {
    *response.status_mut() = status;
    set(&mut response, header::ETAG, &version.etag());
    set(&mut response, header::LAST_MODIFIED, &httpdate::fmt_http_date(version.modified()));
    set(&mut response, header::ACCEPT_RANGES, "bytes");
    // Kept nowhere, and asked about each time.
    set(&mut response, header::CACHE_CONTROL, "private, no-cache");
    if let Some(name) = name {
        set(&mut response, header::CONTENT_TYPE, "application/octet-stream");
        set(&mut response, header::CONTENT_DISPOSITION, &attachment(name));
    }
    response
}

fn set(response: &mut Response<Body>, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().insert(name, value);
    }
}
