//! The web app: files known by their exact path, nothing else.

use std::borrow::Cow;
use std::collections::HashMap;

use axum::body::Body;
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use rust_embed::RustEmbed;

/// What Vite built. Read from disk when a debug build starts, part of the binary in a release.
#[derive(RustEmbed)]
#[folder = "../web/dist"]
#[allow_missing = true]
struct Dist;

/// Files of a built page. A path that is not the key of a file, letter by letter, does not exist; nothing is decoded,
/// joined or normalised, so there is nothing to traverse.
pub struct Page {
    files: HashMap<String, File>,
}

struct File {
    bytes: Bytes,
    mime: &'static str,
    etag: HeaderValue,
    cache: &'static str,
}

/// Addresses that are screens of the page and not files. `*` stands for one segment of letters, digits, `-` and `_`.
const SCREENS: [&str; 11] =
    ["/", "/nearby", "/transfers", "/text", "/rooms", "/settings", "/settings/*", "/pad", "/pad/*", "/room", "/room/*"];

const INDEX: &str = "/index.html";

impl Page {
    /// The page this build carries; empty when it was built without one.
    #[must_use]
    pub fn embedded() -> Self {
        Self::from_files(Dist::iter().filter_map(|path| {
            let file = Dist::get(&path)?;
            Some((path.into_owned(), file.data))
        }))
    }

    /// A page from paths without leading `/`, and their bytes.
    pub fn from_files(files: impl IntoIterator<Item = (String, Cow<'static, [u8]>)>) -> Self {
        let files = files.into_iter().map(|(path, bytes)| {
            let file = File::new(&path, bytes);
            (format!("/{path}"), file)
        });
        Self { files: files.collect() }
    }

    /// Whether there is a page at all.
    #[must_use]
    pub fn is_built(&self) -> bool {
        self.files.contains_key(INDEX)
    }

    /// The answer to a GET or HEAD of `path`; `None` when there is nothing.
    pub(crate) fn answer(&self, path: &str, request: &HeaderMap) -> Option<Response<Body>> {
        let key = if is_screen(path) { INDEX } else { path };
        match self.files.get(key) {
            Some(file) => Some(file.answer(request)),
            None if key == INDEX => Some(not_built()),
            None => None,
        }
    }
}

impl File {
    fn new(path: &str, bytes: Cow<'static, [u8]>) -> Self {
        let bytes = match bytes {
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            Cow::Owned(bytes) => Bytes::from(bytes),
        };
        let hash = blake3::hash(&bytes).to_hex();
        let etag = HeaderValue::try_from(format!("\"{}\"", &hash[..32])).expect("hex digits in quotes");
        let cache = if is_hashed(path) { "public, max-age=31536000, immutable" } else { "no-cache" };
        Self { mime: mime(path), etag, cache, bytes }
    }

    fn answer(&self, request: &HeaderMap) -> Response<Body> {
        let fresh = request.get_all(header::IF_NONE_MATCH).iter().any(|tags| {
            tags.to_str().is_ok_and(|tags| {
                tags.split(',').any(|tag| tag.trim().trim_start_matches("W/").as_bytes() == self.etag.as_bytes())
            })
        });
        let (status, body) = if fresh {
            (StatusCode::NOT_MODIFIED, Body::empty())
        } else {
            (StatusCode::OK, Body::from(self.bytes.clone()))
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.mime));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(self.cache));
        headers.insert(header::ETAG, self.etag.clone());
        response
    }
}

fn not_built() -> Response<Body> {
    let mut response = Response::new(Body::from(
        "This build of Lanyard has no page in it.\nRun `cargo xtask up` in its source folder: it builds the page and starts Lanyard.\n",
    ));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn is_screen(path: &str) -> bool {
    SCREENS.iter().any(|screen| match screen.strip_suffix('*') {
        Some(prefix) => path.strip_prefix(prefix).is_some_and(|rest| {
            (1..=64).contains(&rest.len())
                && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        }),
        None => path == *screen,
    })
}

/// Vite puts files named after their content into `assets`; they never change under one name.
fn is_hashed(path: &str) -> bool {
    path.starts_with("assets/")
}

fn mime(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "wasm" => "application/wasm",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn screens_are_exact() {
        for screen in ["/", "/nearby", "/room/abc-1_2", "/pad/x", "/settings/devices"] {
            assert!(is_screen(screen), "{screen}");
        }
        for other in ["", "//", "/nearby/", "/room/../x", "/room/a/b", "/room/%2e%2e", "/pad/", "/index", "/nearby?x"] {
            assert!(!is_screen(other), "{other}");
        }
    }
}
