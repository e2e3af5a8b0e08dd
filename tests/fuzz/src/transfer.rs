//! What a transfer reads: offers, names, journals, frames.

use lanyard_protocol::control::ManifestEntry;
use lanyard_protocol::frame::{Frame, Frames};
use lanyard_transfer::journal::Kept;
use lanyard_transfer::{COMPONENT_BYTES, Manifest, PATH_BYTES, PATH_DEPTH, SafePath, display};

/// Every offered path ends beneath the receive folder under names that are ordinary everywhere, and no two entries
/// share one.
pub fn manifest(data: &[u8]) {
    let Ok(entries) = serde_json::from_slice::<Vec<ManifestEntry>>(data) else { return };
    let count = entries.len();
    let Ok(manifest) = Manifest::new(entries) else { return };
    assert_eq!(manifest.entries().len(), count);
    assert_eq!(manifest.summary().entries as usize, count);
    let mut seen = std::collections::HashSet::new();
    for file in 0..manifest.summary().entries {
        let path = manifest.path(file).expect("every entry has a path");
        check(path);
        assert!(seen.insert(path.as_str().to_lowercase()), "{path:?} twice");
    }
}

/// Any text is refused, or is a path that stays where it belongs and stays the same when it is read again.
pub fn name(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let shown = display(text);
    assert_eq!(display(&shown), shown, "nothing is left to escape");
    assert!(!shown.contains(char::is_control));
    let Ok(path) = SafePath::parse(text) else { return };
    check(&path);
    // What was put before and behind its parts may have made it longer than an offered one may be.
    if path.as_str().len() <= PATH_BYTES {
        let again = SafePath::parse(path.as_str()).expect("a safe path is a path");
        assert_eq!(again, path, "a safe path needs no change");
    }
}

fn check(path: &SafePath) {
    assert!(path.components().count() <= PATH_DEPTH);
    for component in path.components() {
        assert!(!component.is_empty() && component.len() <= COMPONENT_BYTES, "{path:?}");
        assert!(!component.starts_with('.') && !component.ends_with(['.', ' ']), "{path:?}");
        assert!(!component.contains(['/', '\\', ':', '\0']) && !component.contains(char::is_control), "{path:?}");
    }
}

/// A damaged journal is cut where it is damaged: what was whole is read the same alone, and nothing else is believed.
pub fn journal(data: &[u8]) {
    let Ok(kept) = Kept::read(data) else { return };
    assert!(kept.intact_bytes() <= data.len());
    let whole = Kept::read(&data[..kept.intact_bytes()]).expect("the whole part is a journal");
    assert_eq!(whole, kept);
    let entries = kept.manifest().summary().entries;
    assert!(kept.parts().all(|file| file < entries));
}

/// A frame is written as it was read, and never longer than the bytes it came in.
pub fn data_frame(data: &[u8]) {
    if let Ok((frame, length)) = Frame::decode(data) {
        assert!(length <= data.len());
        let mut written = Vec::new();
        frame.encode(&mut written);
        assert_eq!(written, &data[..length]);
    }
    let mut count = 0;
    for frame in Frames::new(data) {
        count += 1;
        assert!(count <= data.len() + 1, "each frame takes bytes");
        if frame.is_err() {
            break;
        }
    }
}
