//! The shared vectors of the data channel, as `web/src/core/protocol/frame.test.ts` reads them too.

use data_encoding::HEXLOWER;
use lanyard_protocol::frame::{Body, Frame, Frames};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    valid: Vec<Valid>,
    invalid: Vec<Invalid>,
}

#[derive(Deserialize)]
struct Valid {
    name: String,
    hex: String,
    frames: Vec<Expected>,
}

#[derive(Deserialize)]
struct Invalid {
    name: String,
    hex: String,
}

#[derive(Deserialize)]
struct Expected {
    kind: String,
    number: u32,
    file: u32,
    offset: u64,
    #[serde(default)]
    hex: String,
    #[serde(default)]
    version: u32,
    #[serde(default)]
    modified_ms: u64,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../vectors/frame.json")).expect("the vectors are well-formed")
}

fn bytes(hex: &str) -> Vec<u8> {
    HEXLOWER.decode(hex.as_bytes()).expect("the vectors are in hex")
}

#[test]
fn frames_are_read_and_written_as_the_vectors_say() {
    for Valid { name, hex, frames } in vectors().valid {
        let message = bytes(&hex);
        let read: Vec<_> =
            Frames::new(&message).collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{name}: {error}"));
        let bodies: Vec<_> = frames.iter().map(|frame| bytes(&frame.hex)).collect();
        let expected: Vec<_> = frames.iter().zip(&bodies).map(|(frame, body)| expected(frame, body)).collect();
        assert_eq!(read, expected, "{name}");
        let mut written = Vec::new();
        expected.iter().for_each(|frame| frame.encode(&mut written));
        assert_eq!(written, message, "{name}");
    }
}

#[test]
fn frames_are_refused_as_the_vectors_say() {
    for Invalid { name, hex } in vectors().invalid {
        let message = bytes(&hex);
        assert!(Frames::new(&message).any(|frame| frame.is_err()), "{name}");
    }
}

fn expected<'a>(frame: &Expected, body: &'a [u8]) -> Frame<'a> {
    let hash = || body.try_into().expect("hashes have 32 bytes");
    let body = match frame.kind.as_str() {
        "chunk" => Body::Chunk(body),
        "piece_end" => Body::PieceEnd { hash: hash() },
        "file_end" => Body::FileEnd { root: hash() },
        _ => Body::Restate { version: frame.version, modified_ms: frame.modified_ms },
    };
    Frame { number: frame.number, file: frame.file, offset: frame.offset, body }
}
