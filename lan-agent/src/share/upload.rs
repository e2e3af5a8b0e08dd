//! One file on its way into the receive folder.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, BodyDataStream};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use bytes::Bytes;
use futures_util::StreamExt;
use lanyard_protocol::control::{FileIndex, TransferId};
use lanyard_transfer::{Placement, SafePath, WriteError};
use tracing::debug;

use super::event::ShareEvent;
use super::registry::{Kind, Link, Registry};
use super::routes::{plain, try_later};
use crate::inbox::{PartStore, ReceiveFolder};
use crate::terminal::bytes as amount;

/// How long a body may be silent.
const SILENCE: Duration = Duration::from_secs(10);

/// Bytes collected before they are written.
const WRITE_BYTES: usize = 1 << 20;

/// How often who made the link is told how far it is.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// The only file of its transfer.
const FILE: FileIndex = 0;

const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");

/// A place to upload one file to.
pub(super) struct Upload {
    folder: Arc<ReceiveFolder>,
    state: Mutex<State>,
}

/// How far it is.
enum State {
    /// Nothing under way; what is kept of earlier tries.
    Free(Option<Held>),
    /// A request is at it.
    Busy,
    /// The file is in its place.
    Done,
}

/// Part of a file.
struct Held {
    name: String,
    transfer: TransferId,
    store: Box<PartStore>,
    bytes: u64,
}

impl Upload {
    pub(super) fn new(folder: Arc<ReceiveFolder>) -> Self {
        Self { folder, state: Mutex::new(State::Free(None)) }
    }

    fn begin(&self, name: &str, first: u64) -> Result<Held, Refusal> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match std::mem::replace(&mut *state, State::Busy) {
            State::Busy => Err(Refusal::Busy),
            State::Done => {
                *state = State::Done;
                Err(Refusal::UsedUp)
            }
            State::Free(held) => {
                let mut held = match held {
                    Some(held) if held.name == name => held,
                    other => {
                        // Another file than before: what was kept of that one is of no use.
                        if let Some(mut other) = other {
                            other.store.forget(other.transfer);
                        }
                        let store = Box::new(PartStore::new(self.folder.clone(), rand::random()));
                        Held { name: name.to_owned(), transfer: TransferId(rand::random()), store, bytes: 0 }
                    }
                };
                if first == 0 {
                    held.bytes = 0;
                }
                if first != held.bytes {
                    let bytes = held.bytes;
                    *state = State::Free(Some(held));
                    return Err(Refusal::Offset { bytes });
                }
                Ok(held)
            }
        }
    }

    fn keep(&self, held: Held) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::Free(Some(held));
    }

    fn finish(&self) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::Done;
    }

    fn offset(&self, name: &str) -> u64 {
        match &*self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Free(Some(held)) if held.name == name => held.bytes,
            State::Free(_) | State::Busy | State::Done => 0,
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let State::Free(Some(held)) = state {
            held.store.forget(held.transfer);
        }
    }
}

/// Why a body is not taken.
enum Refusal {
    Busy,
    UsedUp,
    Offset { bytes: u64 },
}

impl Refusal {
    fn response(&self) -> Response<Body> {
        match self {
            Self::Busy => plain(StatusCode::CONFLICT, "This file is being uploaded already.\n"),
            Self::UsedUp => plain(StatusCode::NOT_FOUND, "There is nothing here. Links end: ask for a new one.\n"),
            Self::Offset { bytes } => {
                let line = format!("{bytes} bytes are here; carry on from there.\n");
                with_offset(plain(StatusCode::CONFLICT, &line), *bytes)
            }
        }
    }
}

/// Answers HEAD: how much of a file is here.
pub(super) fn tell_offset(link: &Link, name: &str) -> Response<Body> {
    let Kind::Upload(upload) = &link.kind else { return plain(StatusCode::NOT_FOUND, "") };
    with_offset(plain(StatusCode::OK, ""), upload.offset(name))
}

/// Answers PUT. In a task of its own: when the connection goes away, what came is still kept.
pub(super) async fn take(
    registry: Registry,
    link: Arc<Link>,
    name: String,
    from: String,
    request: Request,
) -> Response<Body> {
    let taking = tokio::spawn(take_whole(registry, link, name, from, request));
    taking.await.unwrap_or_else(|_| plain(StatusCode::INTERNAL_SERVER_ERROR, "The file could not be stored.\n"))
}

async fn take_whole(
    registry: Registry,
    link: Arc<Link>,
    name: String,
    from: String,
    request: Request,
) -> Response<Body> {
    let Kind::Upload(upload) = &link.kind else { return plain(StatusCode::NOT_FOUND, "") };
    let Ok(_place) = registry.places.uploads.clone().try_acquire_owned() else { return try_later() };
    let path = match SafePath::parse(&name) {
        Ok(path) if path.components().count() == 1 => path,
        Ok(_) | Err(_) => {
            return plain(StatusCode::BAD_REQUEST, "This name cannot be used; give the file another one.\n");
        }
    };
    let span = match Span::read(request.headers()) {
        Ok(span) => span,
        Err(line) => return plain(StatusCode::BAD_REQUEST, line),
    };
    if let Err(error) = upload.folder.check() {
        return plain(StatusCode::INSUFFICIENT_STORAGE, &format!("{error}\n"));
    }
    let available = upload.folder.available_bytes();
    if span.body.is_some_and(|body| body > available) {
        return no_room(span.body.unwrap_or(0), available);
    }
    let held = match upload.begin(&name, span.first) {
        Ok(held) => held,
        Err(refusal) => return refusal.response(),
    };
    let limit = span.body.unwrap_or(available);
    let taking =
        Taking { link: &link, name: name.clone(), from: from.clone(), span, limit, held, told: Instant::now() };
    let (held, ended) = taking.run(request.into_body().into_data_stream()).await;
    let total_bytes = held.bytes;
    match ended {
        Ended::Whole => {}
        Ended::Cut => {
            upload.keep(held);
            let line = format!("The body ended early; {total_bytes} bytes are kept.\n");
            link.tell(ShareEvent::Failed { name, message: format!("it broke off; {} are kept", amount(total_bytes)) });
            return with_offset(plain(StatusCode::BAD_REQUEST, &line), total_bytes);
        }
        Ended::Full => {
            upload.keep(held);
            let free = upload.folder.free_bytes();
            let message = format!("the disk is full ({} free); {} are kept", amount(free), amount(total_bytes));
            link.tell(ShareEvent::Failed { name, message });
            return with_offset(no_room(total_bytes, available), total_bytes);
        }
        Ended::Failed => {
            upload.keep(held);
            link.tell(ShareEvent::Failed { name, message: "it could not be stored".to_owned() });
            return plain(StatusCode::INTERNAL_SERVER_ERROR, "The file could not be stored.\n");
        }
    }
    match place(held, path).await {
        Ok(saved) => {
            upload.finish();
            link.tell(ShareEvent::Done { name: saved.clone(), from, upload: true, total_bytes });
            registry.end(&link, "the file is here");
            plain(StatusCode::CREATED, &format!("{saved}\n"))
        }
        Err((held, error)) => {
            if let Some(held) = held {
                upload.keep(held);
            }
            debug!(?error, "an upload could not be placed");
            match error {
                WriteError::NoSpace => no_room(total_bytes, upload.folder.available_bytes()),
                WriteError::Failed => plain(StatusCode::INTERNAL_SERVER_ERROR, "The file could not be stored.\n"),
            }
        }
    }
}

/// Durable, then its name, which replaces nothing.
async fn place(mut held: Held, path: SafePath) -> Result<String, (Option<Held>, WriteError)> {
    let placing = tokio::task::spawn_blocking(move || {
        let entry = Placement { file: FILE, path, is_folder: false, modified_ms: None };
        let mut placed = held.store.place(held.transfer, &[entry]);
        match placed.pop() {
            Some(Ok(saved)) => {
                held.store.forget(held.transfer);
                Ok(saved)
            }
            Some(Err(error)) => Err((Some(held), error)),
            None => Err((Some(held), WriteError::Failed)),
        }
    });
    placing.await.unwrap_or(Err((None, WriteError::Failed)))
}

fn no_room(wanted: u64, available: u64) -> Response<Body> {
    let line = format!(
        "{} do not fit: {} can be received here (1 GiB or a twentieth of the free space stays free).\n",
        amount(wanted),
        amount(available)
    );
    plain(StatusCode::INSUFFICIENT_STORAGE, &line)
}

fn with_offset(mut response: Response<Body>, bytes: u64) -> Response<Body> {
    response.headers_mut().insert(UPLOAD_OFFSET, HeaderValue::from(bytes));
    response
}

/// Which bytes of the file a body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    first: u64,
    /// Length of the body, where it is told.
    body: Option<u64>,
    /// Length of the file, where it is told.
    total: Option<u64>,
}

impl Span {
    fn read(headers: &HeaderMap) -> Result<Self, &'static str> {
        let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let Some(range) = headers.get(header::CONTENT_RANGE) else {
            return Ok(Self { first: 0, body: length, total: length });
        };
        let bad = "Content-Range is not one of a whole rest: bytes FIRST-LAST/SIZE.\n";
        let range = range.to_str().map_err(|_| bad)?;
        let (span, total) = range.strip_prefix("bytes ").and_then(|rest| rest.split_once('/')).ok_or(bad)?;
        let (first, last) = span.split_once('-').ok_or(bad)?;
        let number = |text: &str| text.parse::<u64>().map_err(|_| bad);
        let (first, last, total) = (number(first)?, number(last)?, number(total)?);
        // Only the rest of a file: parts out of order would need a list of what is here.
        if last.checked_add(1) != Some(total) || first > last {
            return Err(bad);
        }
        if length.is_some_and(|length| length != total - first) {
            return Err("Content-Length and Content-Range do not agree.\n");
        }
        Ok(Self { first, body: Some(total - first), total: Some(total) })
    }
}

/// How a body ended.
enum Ended {
    Whole,
    Cut,
    Full,
    Failed,
}

/// A body that is being taken.
struct Taking<'a> {
    link: &'a Link,
    name: String,
    from: String,
    span: Span,
    /// More bytes than that are not taken.
    limit: u64,
    held: Held,
    told: Instant,
}

impl Taking<'_> {
    async fn run(mut self, mut body: BodyDataStream) -> (Held, Ended) {
        let mut pending: Vec<u8> = Vec::new();
        let mut taken: u64 = 0;
        let ended = loop {
            let next: Option<Result<Bytes, _>> = match tokio::time::timeout(SILENCE, body.next()).await {
                Ok(next) => next,
                Err(_) => break Ended::Cut,
            };
            match next {
                Some(Ok(bytes)) => {
                    taken += bytes.len() as u64;
                    if taken > self.limit {
                        break Ended::Full;
                    }
                    pending.extend_from_slice(&bytes);
                }
                Some(Err(_)) => break Ended::Cut,
                None => break Ended::Whole,
            }
            if pending.len() >= WRITE_BYTES {
                let (taking, written) = self.write(std::mem::take(&mut pending)).await;
                self = taking;
                if let Err(ended) = written {
                    return (self.held, ended);
                }
            }
        };
        // What came is kept, however it ended; an empty file has a part as well.
        let (mut taking, written) = self.write(pending).await;
        if let Err(ended) = written {
            return (taking.held, ended);
        }
        let is_short = taking.span.total.is_some_and(|total| taking.held.bytes < total);
        let ended = if matches!(ended, Ended::Whole) && is_short { Ended::Cut } else { ended };
        taking.tell();
        (taking.held, ended)
    }

    async fn write(self, bytes: Vec<u8>) -> (Self, Result<(), Ended>) {
        let Self { link, name, from, span, limit, held, told } = self;
        let written = tokio::task::spawn_blocking(move || write(held, &span, &bytes)).await;
        let (held, written) = match written {
            Ok(written) => written,
            // Only a panic gets here, and it took the part with it.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        let mut taking = Self { link, name, from, span, limit, held, told };
        if taking.told.elapsed() >= PROGRESS_EVERY {
            taking.tell();
        }
        let ended = written.map_err(|error| match error {
            WriteError::NoSpace => Ended::Full,
            WriteError::Failed => Ended::Failed,
        });
        (taking, ended)
    }

    fn tell(&mut self) {
        self.told = Instant::now();
        self.link.tell(ShareEvent::Progress {
            name: self.name.clone(),
            from: self.from.clone(),
            upload: true,
            done_bytes: self.held.bytes,
            total_bytes: self.span.total,
        });
    }
}

fn write(mut held: Held, span: &Span, bytes: &[u8]) -> (Held, Result<(), WriteError>) {
    let written = (|| {
        if held.bytes == span.first {
            // With its length if that is known, so that a full disk is noticed before the first byte.
            held.store.open(held.transfer, FILE, span.total.unwrap_or(held.bytes))?;
        }
        held.store.write(held.transfer, FILE, held.bytes, bytes)
    })();
    if written.is_ok() {
        held.bytes += bytes.len() as u64;
    }
    (held, written)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(headers: &[(HeaderName, &str)]) -> Result<Span, &'static str> {
        Span::read(&headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect())
    }

    #[test]
    fn ht_22_a_body_is_the_whole_or_the_rest_of_a_file() {
        let length = |text| (header::CONTENT_LENGTH, text);
        let range = |text| (header::CONTENT_RANGE, text);
        assert_eq!(span(&[length("5")]), Ok(Span { first: 0, body: Some(5), total: Some(5) }));
        assert_eq!(span(&[]), Ok(Span { first: 0, body: None, total: None }), "chunked");
        assert_eq!(span(&[length("3"), range("bytes 2-4/5")]), Ok(Span { first: 2, body: Some(3), total: Some(5) }));
        for bad in ["bytes 2-3/5", "bytes 4-2/5", "bytes 2-4/*", "2-4/5", "bytes x-4/5", "bytes 5-4/5"] {
            assert!(span(&[range(bad)]).is_err(), "{bad}");
        }
        assert!(span(&[length("4"), range("bytes 2-4/5")]).is_err());
    }
}
