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
    mime: &'static str,
    cache: &'static str,
    plain: Form,
    /// Compressed when the page was built, the smallest first.
    compressed: Vec<(&'static str, Form)>,
}

/// One form of a file's bytes.
struct Form {
    bytes: Bytes,
    etag: HeaderValue,
}

/// Endings of compressed copies and the encoding's name (RFC 9110 §8.4.1), the smallest first.
const ENCODINGS: [(&str, &str); 2] = [(".br", "br"), (".gz", "gzip")];

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

    /// A page from paths without leading `/`, and their bytes. A path that is another one with `.br` or `.gz` behind it
    /// is a compressed copy of that, and no file of its own.
    pub fn from_files(files: impl IntoIterator<Item = (String, Cow<'static, [u8]>)>) -> Self {
        let mut forms: HashMap<_, _> = files.into_iter().map(|(path, bytes)| (path, Form::new(bytes))).collect();
        let mut copies: HashMap<String, Vec<_>> = HashMap::new();
        for (ending, encoding) in ENCODINGS {
            let of: Vec<_> = forms.keys().filter_map(|path| path.strip_suffix(ending)).map(str::to_owned).collect();
            for original in of.into_iter().filter(|path| forms.contains_key(path)).collect::<Vec<_>>() {
                if let Some(form) = forms.remove(&format!("{original}{ending}")) {
                    copies.entry(original).or_default().push((encoding, form));
                }
            }
        }
        let files = forms.into_iter().map(|(path, plain)| {
            let file = File::new(&path, plain, copies.remove(&path).unwrap_or_default());
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

impl Form {
    fn new(bytes: Cow<'static, [u8]>) -> Self {
        let bytes = match bytes {
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            Cow::Owned(bytes) => Bytes::from(bytes),
        };
        let hash = blake3::hash(&bytes).to_hex();
        let etag = HeaderValue::try_from(format!("\"{}\"", &hash[..32])).expect("hex digits in quotes");
        Self { bytes, etag }
    }
}

impl File {
    fn new(path: &str, plain: Form, compressed: Vec<(&'static str, Form)>) -> Self {
        let cache = if is_hashed(path) { "public, max-age=31536000, immutable" } else { "no-cache" };
        Self { mime: mime(path), cache, plain, compressed }
    }

    fn answer(&self, request: &HeaderMap) -> Response<Body> {
        let taken = self.compressed.iter().find(|(encoding, _)| accepts(request, encoding));
        let form = taken.map_or(&self.plain, |(_, form)| form);
        let fresh = request.get_all(header::IF_NONE_MATCH).iter().any(|tags| {
            tags.to_str().is_ok_and(|tags| {
                tags.split(',').any(|tag| tag.trim().trim_start_matches("W/").as_bytes() == form.etag.as_bytes())
            })
        });
        let (status, body) = if fresh {
            (StatusCode::NOT_MODIFIED, Body::empty())
        } else {
            (StatusCode::OK, Body::from(form.bytes.clone()))
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.mime));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(self.cache));
        headers.insert(header::ETAG, form.etag.clone());
        if !self.compressed.is_empty() {
            headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        }
        if let Some((encoding, _)) = taken {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        response
    }
}

/// Whether `Accept-Encoding` names this encoding, and not with weight 0 (RFC 9110 §12.5.3).
fn accepts(request: &HeaderMap, encoding: &str) -> bool {
    let fields = request.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    fields.flat_map(|field| field.split(',')).any(|entry| {
        let (name, weight) = entry.split_once(';').unwrap_or((entry, "q=1"));
        let weight = weight.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
        name.trim().eq_ignore_ascii_case(encoding) && weight.is_some_and(|weight| weight > 0.0)
    })
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
    fn compressed_copies_are_taken_by_who_accepts_them_and_are_no_files() {
        let file = |path: &str, text: &'static str| (path.to_owned(), Cow::Borrowed(text.as_bytes()));
        let page = Page::from_files([
            file("assets/a.js", "as it is"),
            file("assets/a.js.br", "smallest"),
            file("assets/a.js.gz", "smaller"),
            file("b.gz", "a file of its own"),
        ]);
        let encoding = |path: &str, accepted: &str| {
            let request = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::try_from(accepted).unwrap())]);
            let answer = page.answer(path, &request)?;
            let encoding = answer.headers().get(header::CONTENT_ENCODING);
            Some(encoding.map_or("", |encoding| encoding.to_str().unwrap()).to_owned())
        };
        for (accepted, expected) in [
            ("gzip, deflate, br, zstd", "br"),
            ("gzip, br;q=0", "gzip"),
            ("GZIP;q=0.5", "gzip"),
            ("identity", ""),
            ("brotli", ""),
            ("", ""),
        ] {
            assert_eq!(encoding("/assets/a.js", accepted).as_deref(), Some(expected), "{accepted}");
        }
        assert_eq!(encoding("/assets/a.js.br", "br"), None);
        assert_eq!(encoding("/b.gz", "gzip").as_deref(), Some(""));
        let etag = |accepted| {
            let request = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(accepted))]);
            page.answer("/assets/a.js", &request).unwrap().headers()[header::ETAG].clone()
        };
        assert_ne!(etag("br"), etag("identity"), "each form has its own");
    }

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
