//! Links made for commands: each lives as long as the command that asked for it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast;

use crate::exit::{Exit, Stop};
use crate::inbox::ReceiveFolder;
use crate::share::{Registry, ShareEvent, ShareOptions, SharedLink};
use crate::source;

/// What is shared.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shared {
    /// These files and folders, by absolute path.
    Files(Vec<PathBuf>),
    /// A place for one upload.
    Upload,
}

/// What a command asks for.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ShareRequest {
    /// What.
    pub what: Shared,
    /// Until everything was taken once.
    #[serde(default)]
    pub once: bool,
    /// For so long.
    pub lifetime_seconds: u64,
}

/// Makes links at this agent's door.
#[derive(Clone)]
pub struct Sharing {
    /// All links of this process.
    pub registry: Registry,
    /// Address of the door, with a slash at its end.
    pub base: String,
    /// Where uploads go.
    pub folder: Option<Arc<ReceiveFolder>>,
}

impl Sharing {
    /// Makes a link.
    ///
    /// # Errors
    /// The files cannot be read, there is nowhere to upload to, or there are too many links.
    pub async fn open(&self, request: ShareRequest) -> Result<SharedLink, Stop> {
        let options = ShareOptions { lifetime: Duration::from_secs(request.lifetime_seconds), once: request.once };
        let too_many = |error: crate::share::TooManyLinks| Stop::new(Exit::Failure, error.to_string());
        match request.what {
            Shared::Upload => {
                let folder = self.folder.clone();
                let folder = folder.ok_or_else(|| Stop::new(Exit::Usage, "there is no receive folder"))?;
                self.registry.take_upload(folder, options).map_err(too_many)
            }
            Shared::Files(paths) => {
                let collecting = tokio::task::spawn_blocking(move || source::collect(&paths, source::MAX_ENTRIES));
                let collected =
                    collecting.await.map_err(|_| Stop::new(Exit::Failure, "the files could not be listed"))?;
                let collected = collected.map_err(|error| Stop::new(Exit::NoSpace, error.to_string()))?;
                self.registry.share(&collected, options).map_err(too_many)
            }
        }
    }

    /// The whole address of a link.
    #[must_use]
    pub fn address(&self, link: &SharedLink) -> String {
        format!("{}{}", self.base.trim_end_matches('/'), link.path)
    }
}

/// The next thing that happens to a link; the last one is that it ended.
pub async fn next_event(link: &SharedLink, events: &mut broadcast::Receiver<ShareEvent>) -> ShareEvent {
    let ended = |message: &str| ShareEvent::Ended { message: message.to_owned() };
    loop {
        return tokio::select! {
            event = events.recv() => match event {
                Ok(event) => event,
                // Progress comes often; what is missed is told again.
                Err(broadcast::error::RecvError::Lagged(_)) => continue,
                Err(broadcast::error::RecvError::Closed) => ended("it is gone"),
            },
            () = link.expired() => ended("its time is over"),
        };
    }
}
