//! The links there are.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lanyard_protocol::control::ManifestEntry;
use tokio::sync::{Semaphore, broadcast};

use super::address::encode_path;
use super::event::{ShareEvent, ShareEvents};
use super::span_set::SpanSet;
use super::token::{self, TokenKey};
use super::upload::Upload;
use super::version::Version;
use crate::inbox::ReceiveFolder;
use crate::source::Collected;

/// How long a link lives unless told otherwise.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Downloads and uploads at once (HT-2).
const DOWNLOADS: usize = 64;
const UPLOADS: usize = 4;

/// Files hashed at once: more only make each other wait for the disk.
const HASHES: usize = 2;

/// Links at once; one more is refused.
const MAX_LINKS: usize = 64;

/// Addresses remembered for each file; when there are more, all begin anew.
const MAX_BEGUN: usize = 256;

/// Events that wait for a slow reader; progress comes often.
const EVENTS: usize = 256;

/// All links of this process. Cheap to clone.
#[derive(Clone, Default)]
pub struct Registry {
    links: Arc<Mutex<HashMap<TokenKey, Arc<Link>>>>,
    pub(super) places: Arc<Places>,
}

/// What may run at once.
pub(super) struct Places {
    pub(super) downloads: Arc<Semaphore>,
    pub(super) uploads: Arc<Semaphore>,
    pub(super) hashes: Semaphore,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            downloads: Arc::new(Semaphore::new(DOWNLOADS)),
            uploads: Arc::new(Semaphore::new(UPLOADS)),
            hashes: Semaphore::new(HASHES),
        }
    }
}

/// How a link ends.
#[derive(Debug, Clone, Copy)]
pub struct ShareOptions {
    /// After this long.
    pub lifetime: Duration,
    /// Once everything was taken.
    pub once: bool,
}

impl Default for ShareOptions {
    fn default() -> Self {
        Self { lifetime: DEFAULT_LIFETIME, once: false }
    }
}

/// One link.
pub(super) struct Link {
    pub(super) kind: Kind,
    pub(super) once: bool,
    pub(super) events: ShareEvents,
    ends: Instant,
}

pub(super) enum Kind {
    Download(Download),
    Upload(Upload),
}

/// Files to be taken.
pub(super) struct Download {
    /// By path; folders have no file.
    pub(super) entries: BTreeMap<String, Option<Shared>>,
    /// Bytes of all files that were sent, each counted once.
    pub(super) taken_bytes: AtomicU64,
}

/// One file of a link.
pub(super) struct Shared {
    pub(super) path: PathBuf,
    /// The last version that was hashed; the lock is held while one is.
    pub(super) version: tokio::sync::Mutex<Known>,
    /// What was sent of it.
    pub(super) sent: Mutex<SpanSet>,
    /// Which version each address began to take.
    pub(super) begun: Mutex<Begun>,
}

/// Addresses that began to take a file, and the `ETag` of what they got.
#[derive(Debug, Default)]
pub(super) struct Begun(HashMap<String, String>);

#[derive(Default)]
pub(super) struct Known {
    /// The first one, which whoever resumes without naming a version must mean.
    pub(super) first: Option<Version>,
    pub(super) last: Option<Version>,
}

/// A link in the hands of who made it; dropping this ends it.
pub struct SharedLink {
    registry: Registry,
    key: TokenKey,
    link: Arc<Link>,
    /// Its address after the door's, beginning with `/`: of the only file, or of the list of all.
    pub path: String,
    /// What stands before the path of each file, or before the name of what is uploaded.
    pub base: String,
}

/// There are as many links as are allowed.
#[derive(Debug, thiserror::Error)]
#[error("too many links are open; end one of them first")]
pub struct TooManyLinks;

impl Registry {
    /// Makes a link to files and folders.
    ///
    /// # Errors
    /// There are too many.
    pub fn share(&self, collected: &Collected, options: ShareOptions) -> Result<SharedLink, TooManyLinks> {
        let mut entries = BTreeMap::new();
        for (entry, file) in collected.entries.iter().zip(&collected.files) {
            let shared = file.as_ref().map(|file| Shared {
                path: file.path.clone(),
                version: tokio::sync::Mutex::default(),
                sent: Mutex::default(),
                begun: Mutex::default(),
            });
            entries.insert(entry.path().to_owned(), shared);
        }
        let only_file = match collected.entries.as_slice() {
            [ManifestEntry::File { path, .. }] => encode_path(path),
            _ => String::new(),
        };
        let download = Download { entries, taken_bytes: AtomicU64::new(0) };
        self.add(Kind::Download(download), options, |token| (format!("/s/{token}/"), only_file))
    }

    /// Makes a link to upload one file to a receive folder.
    ///
    /// # Errors
    /// There are too many.
    pub fn take_upload(&self, folder: Arc<ReceiveFolder>, options: ShareOptions) -> Result<SharedLink, TooManyLinks> {
        self.add(Kind::Upload(Upload::new(folder)), options, |token| (format!("/u/{token}/"), String::new()))
    }

    /// The link of this token, unless it is over.
    pub(super) fn find(&self, token: &str) -> Option<Arc<Link>> {
        let key = token::key(token);
        let mut links = self.lock();
        let link = links.get(&key)?.clone();
        if link.ends <= Instant::now() {
            links.remove(&key);
            return None;
        }
        Some(link)
    }

    /// Ends a link that is used up.
    pub(super) fn end(&self, link: &Arc<Link>, message: &str) {
        let before = self.lock().extract_if(|_, other| Arc::ptr_eq(other, link)).count();
        if before > 0 {
            link.tell(ShareEvent::Ended { message: message.to_owned() });
        }
    }

    fn add(
        &self,
        kind: Kind,
        options: ShareOptions,
        address: impl FnOnce(&str) -> (String, String),
    ) -> Result<SharedLink, TooManyLinks> {
        let token = token::draw();
        let key = token::key(&token);
        let ends = Instant::now() + options.lifetime;
        let link = Arc::new(Link { kind, once: options.once, events: broadcast::channel(EVENTS).0, ends });
        let mut links = self.lock();
        links.retain(|_, link| link.ends > Instant::now());
        if links.len() >= MAX_LINKS {
            return Err(TooManyLinks);
        }
        links.insert(key, link.clone());
        drop(links);
        let (base, rest) = address(&token);
        Ok(SharedLink { registry: self.clone(), key, link, path: format!("{base}{rest}"), base })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TokenKey, Arc<Link>>> {
        // A map of links is whole after every step, whoever panicked while holding it.
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Link {
    /// Tells whoever made it; nobody has to listen.
    pub(super) fn tell(&self, event: ShareEvent) {
        let _ = self.events.send(event);
    }
}

impl Download {
    /// Whether every byte of every file was sent at least once.
    pub(super) fn is_used_up(&self) -> bool {
        self.entries.values().flatten().all(Shared::is_taken)
    }

    /// Some bytes were sent for the first time; `before` and `now` are what was sent of their file.
    pub(super) fn note_taken(&self, before: u64, now: u64) {
        self.taken_bytes.fetch_add(now.saturating_sub(before), Ordering::Relaxed);
    }

    /// What was sent of a file is of no use any more.
    pub(super) fn forget_taken(&self, bytes: u64) {
        self.taken_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Begun {
    /// Notes who begins.
    pub(super) fn note(&mut self, from: &str, etag: String) {
        if self.0.len() >= MAX_BEGUN {
            self.0.clear();
        }
        self.0.insert(from.to_owned(), etag);
    }

    /// Whether an address has the beginning of another version than this one; `first` is what it means unless it began.
    pub(super) fn has_another(&self, from: &str, etag: &str, first: &str) -> bool {
        self.0.get(from).map_or(first, String::as_str) != etag
    }
}

impl Shared {
    fn is_taken(&self) -> bool {
        let Ok(known) = self.version.try_lock() else { return false };
        let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        known.last.as_ref().is_some_and(|version| sent.bytes() >= version.size())
    }
}

impl SharedLink {
    /// What happens to it from here on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<ShareEvent> {
        self.link.events.subscribe()
    }

    /// Bytes of all its files that were sent, each counted once.
    #[must_use]
    pub fn taken_bytes(&self) -> u64 {
        match &self.link.kind {
            Kind::Download(download) => download.taken_bytes.load(Ordering::Relaxed),
            Kind::Upload(_) => 0,
        }
    }

    /// Whether every byte of every file was sent.
    #[must_use]
    pub fn is_used_up(&self) -> bool {
        matches!(&self.link.kind, Kind::Download(download) if download.is_used_up())
    }

    /// Waits for its time to be over.
    pub async fn expired(&self) {
        tokio::time::sleep_until(self.link.ends.into()).await;
    }
}

impl Drop for SharedLink {
    fn drop(&mut self) {
        self.registry.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collected(folder: &tempfile::TempDir) -> Collected {
        std::fs::write(folder.path().join("a b.txt"), "hello").unwrap();
        crate::source::collect(&[folder.path().join("a b.txt")], 10).unwrap()
    }

    fn token_of(link: &SharedLink) -> String {
        link.path.split('/').nth(2).unwrap().to_owned()
    }

    #[test]
    fn ht_1_links_are_unlike_each_other_and_end_with_who_made_them() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::default();
        let first = registry.share(&collected(&folder), ShareOptions::default()).unwrap();
        let second = registry.share(&collected(&folder), ShareOptions::default()).unwrap();
        assert!(first.path.ends_with("/a%20b.txt") && first.path != second.path, "{}", first.path);
        assert_eq!(token_of(&first).len(), 22);
        let token = token_of(&first);
        assert!(registry.find(&token).is_some());
        drop(first);
        assert!(registry.find(&token).is_none());
    }

    #[test]
    fn ht_1_links_end_after_their_time() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::default();
        let options = ShareOptions { lifetime: Duration::ZERO, once: false };
        let link = registry.share(&collected(&folder), options).unwrap();
        assert!(registry.find(&token_of(&link)).is_none());
    }

    #[test]
    fn there_is_an_end_to_links() {
        let folder = tempfile::tempdir().unwrap();
        let registry = Registry::default();
        let files = collected(&folder);
        let held: Vec<_> = (0..MAX_LINKS).map(|_| registry.share(&files, ShareOptions::default()).unwrap()).collect();
        assert!(registry.share(&files, ShareOptions::default()).is_err());
        drop(held);
        assert!(registry.share(&files, ShareOptions::default()).is_ok());
    }
}
