//! The shared vectors of names and values, as `web/src/core/transfer/vectors.test.ts` reads them too.

use data_encoding::HEXLOWER;
use lanyard_protocol::control::ManifestEntry;
use lanyard_transfer::journal::{Kept, Record};
use lanyard_transfer::{Manifest, ManifestError, PathError, SafePath, display, file_root, piece_hash};
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Names {
    safe: Vec<Safe>,
    refused: Vec<Refused>,
    shown: Vec<Shown>,
    manifests: Vec<Vec<ManifestEntry>>,
    refused_manifests: Vec<RefusedManifest>,
}

#[derive(Deserialize)]
struct Safe {
    offered: String,
    path: String,
}

#[derive(Deserialize)]
struct Refused {
    offered: String,
    problem: String,
}

#[derive(Deserialize)]
struct Shown {
    text: String,
    shown: String,
}

#[derive(Deserialize)]
struct RefusedManifest {
    entries: Vec<ManifestEntry>,
    problem: String,
}

fn names() -> Names {
    serde_json::from_str(include_str!("../vectors/names.json")).expect("the vectors are well-formed")
}

#[test]
fn tr_41_names_are_made_safe_as_the_vectors_say() {
    for Safe { offered, path } in names().safe {
        let made = SafePath::parse(&offered).unwrap_or_else(|error| panic!("{offered:?}: {error}"));
        assert_eq!(made.as_str(), path, "{offered:?}");
    }
}

#[test]
fn tr_40_names_are_refused_as_the_vectors_say() {
    for Refused { offered, problem } in names().refused {
        let told = match SafePath::parse(&offered).expect_err(&offered) {
            PathError::Empty => "empty",
            PathError::Absolute => "absolute",
            PathError::Climbs => "climbs",
            PathError::Control => "control",
            PathError::TooLong => "too_long",
            PathError::TooDeep => "too_deep",
        };
        assert_eq!(told, problem, "{offered:?}");
    }
}

#[test]
fn tr_44_texts_are_shown_as_the_vectors_say() {
    for Shown { text, shown } in names().shown {
        assert_eq!(display(&text), shown);
    }
}

#[test]
fn tr_43_manifests_are_taken_and_refused_as_the_vectors_say() {
    for entries in names().manifests {
        assert!(Manifest::new(entries.clone()).is_ok(), "{entries:?}");
    }
    for RefusedManifest { entries, problem } in names().refused_manifests {
        let told = match Manifest::new(entries.clone()).expect_err("refused") {
            ManifestError::Empty => "empty",
            ManifestError::TooMany => "too_many",
            ManifestError::TooLarge => "too_large",
            ManifestError::Path { .. } => "path",
            ManifestError::Collision { .. } => "collision",
        };
        assert_eq!(told, problem, "{entries:?}");
    }
}

#[derive(Deserialize)]
struct Values {
    hashes: Vec<HashValue>,
    roots: Vec<RootValue>,
    journal: JournalValue,
}

/// The bytes 0, 1, …, 250, 0, 1, … as in BLAKE3's own vectors.
#[derive(Deserialize)]
struct HashValue {
    len: usize,
    hash: String,
}

#[derive(Deserialize)]
struct RootValue {
    size_bytes: u64,
    pieces: Vec<String>,
    root: String,
}

#[derive(Deserialize)]
struct JournalValue {
    records: Vec<Value>,
    hex: String,
}

fn values() -> Values {
    serde_json::from_str(include_str!("../vectors/values.json")).expect("the vectors are well-formed")
}

fn unhex(text: &str) -> Vec<u8> {
    HEXLOWER.decode(text.as_bytes()).expect("the vectors are in hex")
}

#[test]
fn tr_21_pieces_and_files_are_hashed_as_the_vectors_say() {
    for HashValue { len, hash } in values().hashes {
        let bytes: Vec<_> = (0..len).map(|at| (at % 251) as u8).collect();
        assert_eq!(HEXLOWER.encode(&piece_hash(&bytes)), hash, "{len} bytes");
    }
    for RootValue { size_bytes, pieces, root } in values().roots {
        let pieces: Vec<[u8; 32]> = pieces.iter().map(|hash| unhex(hash).try_into().expect("32 bytes")).collect();
        assert_eq!(HEXLOWER.encode(&file_root(size_bytes, &pieces)), root, "{size_bytes} bytes");
    }
}

fn journal() -> Vec<u8> {
    let JournalValue { records, hex } = values().journal;
    let mut journal = Vec::new();
    for record in records {
        let record: Record = serde_json::from_value(record).expect("a record");
        record.encode(&mut journal);
    }
    assert_eq!(HEXLOWER.encode(&journal), hex);
    journal
}

#[test]
fn tr_60_journal_is_read_up_to_where_it_was_torn() {
    let journal = journal();
    let whole = Kept::read(&journal).expect("it is whole");
    assert_eq!(whole.intact_bytes(), journal.len());
    let mut last = 0;
    for cut in 0..journal.len() {
        match Kept::read(&journal[..cut]) {
            Ok(kept) => {
                assert!(kept.intact_bytes() <= cut && kept.intact_bytes() >= last);
                last = kept.intact_bytes();
            }
            // Without its head and the whole manifest it is of no use.
            Err(_) => assert_eq!(last, 0, "cut at {cut}"),
        }
    }
    assert!(last > 0);
}

#[test]
fn tr_60_journal_with_a_flipped_bit_is_read_only_up_to_it() {
    let journal = journal();
    for at in 0..journal.len() {
        let mut damaged = journal.clone();
        damaged[at] ^= 1 << (at % 8);
        if let Ok(kept) = Kept::read(&damaged) {
            assert!(kept.intact_bytes() <= at, "bit flipped in byte {at}");
        }
    }
}
