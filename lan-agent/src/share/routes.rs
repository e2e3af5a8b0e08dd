//! Where requests for links go.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::any;
use lanyard_relay::ClientIp;

use super::address::decode;
use super::download::{self, Asking};
use super::registry::{Kind, Registry};
use super::{listing, upload};

/// Seconds after which who was turned away may ask again.
const RETRY_SECONDS: &str = "5";

/// All addresses of links. They hold their secret themselves, so no other proof is asked for.
pub fn routes(registry: Registry) -> axum::Router {
    axum::Router::new()
        .route("/s/{token}", any(serve))
        .route("/s/{token}/", any(serve))
        .route("/s/{token}/{*path}", any(serve))
        .route("/u/{token}/", any(take))
        .route("/u/{token}/{name}", any(take))
        .with_state(registry)
}

/// Token, what stands before the path, and the path, decoded.
fn parse(address: &str) -> Option<(&str, &str, String)> {
    let rest = address.get("/s/".len()..)?;
    let (token, path) = rest.split_once('/').unwrap_or((rest, ""));
    let components: Option<Vec<String>> = path.split('/').map(decode).collect();
    // An encoded slash would make two components of one.
    let components = components?.into_iter().map(|part| (!part.contains('/')).then_some(part));
    let components: Option<Vec<String>> = components.collect();
    Some((token, &address[.."/s/".len() + token.len()], components?.join("/")))
}

async fn serve(State(registry): State<Registry>, request: Request) -> Response<Body> {
    let address = request.uri().path().to_owned();
    let Some((token, prefix, path)) = parse(&address) else { return nothing() };
    let Some(link) = registry.find(token) else { return nothing() };
    let Kind::Download(shared) = &link.kind else { return nothing() };
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return not_allowed("GET, HEAD");
    }
    match shared.entries.get(&path) {
        Some(Some(_)) => {
            let from = from(&request);
            let (parts, _body) = request.into_parts();
            let (method, headers) = (parts.method, parts.headers);
            download::answer(Asking { registry, link: link.clone(), path, from, method, headers }).await
        }
        Some(None) | None => match listing::html(&shared.entries, &as_folder(&path)) {
            None => nothing(),
            Some(_) if !address.ends_with('/') => moved(&listing::with_slash(&format!("{prefix}/"), &path)),
            Some(list) => ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], list).into_response(),
        },
    }
}

fn as_folder(path: &str) -> String {
    if path.is_empty() || path.ends_with('/') { path.to_owned() } else { format!("{path}/") }
}

async fn take(State(registry): State<Registry>, request: Request) -> Response<Body> {
    let address = request.uri().path().to_owned();
    let Some((token, name)) = address.get("/u/".len()..).and_then(|rest| rest.split_once('/')) else {
        return nothing();
    };
    let Some(link) = registry.find(token) else { return nothing() };
    if !matches!(link.kind, Kind::Upload(_)) {
        return nothing();
    }
    let Some(name) = decode(name).filter(|name| !name.is_empty()) else {
        return plain(StatusCode::BAD_REQUEST, "Name the file at the end of the address: curl -T FILE adds it.\n");
    };
    if request.method() == Method::HEAD {
        return upload::tell_offset(&link, &name);
    }
    if request.method() != Method::PUT {
        return not_allowed("PUT, HEAD");
    }
    let from = from(&request);
    upload::take(registry, link, name, from, request).await
}

/// Who asks, as shown to people.
fn from(request: &Request) -> String {
    request.extensions().get::<ClientIp>().map_or_else(|| "somebody".to_owned(), |ip| ip.0.to_string())
}

fn nothing() -> Response<Body> {
    plain(StatusCode::NOT_FOUND, "There is nothing here. Links end: ask for a new one.\n")
}

fn not_allowed(methods: &'static str) -> Response<Body> {
    (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, methods)]).into_response()
}

fn moved(to: &str) -> Response<Body> {
    let mut response = plain(StatusCode::PERMANENT_REDIRECT, "");
    if let Ok(to) = HeaderValue::try_from(to) {
        response.headers_mut().insert(header::LOCATION, to);
    }
    response
}

/// An answer of one line.
pub(super) fn plain(status: StatusCode, line: &str) -> Response<Body> {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], line.to_owned()).into_response()
}

/// There are too many at once.
pub(super) fn try_later() -> Response<Body> {
    let mut response = plain(StatusCode::SERVICE_UNAVAILABLE, "Too many at once; try again in a moment.\n");
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_SECONDS));
    response
}
