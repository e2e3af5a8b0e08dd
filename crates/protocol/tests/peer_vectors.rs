//! The shared vectors of messages between devices, as `web/src/core/protocol/vectors.test.ts` reads them too.

use lanyard_protocol::peer::PeerMessage;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Vectors {
    valid: Vec<Valid>,
    invalid: Vec<Invalid>,
}

#[derive(Deserialize)]
struct Valid {
    name: String,
    text: String,
    value: Value,
}

#[derive(Deserialize)]
struct Invalid {
    name: String,
    text: String,
    pad_to_bytes: Option<usize>,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../vectors/peer.json")).expect("the vectors are well-formed")
}

#[test]
fn peer_messages_are_read_as_the_vectors_say() {
    for Valid { name, text, value } in vectors().valid {
        let message = PeerMessage::decode(text.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(serde_json::to_value(&message).expect("messages serialise"), value, "{name}");
    }
}

#[test]
fn peer_messages_are_refused_as_the_vectors_say() {
    for Invalid { name, text, pad_to_bytes } in vectors().invalid {
        let padding = pad_to_bytes.unwrap_or(0).saturating_sub(text.len());
        let text = text + &" ".repeat(padding);
        assert!(PeerMessage::decode(text.as_bytes()).is_err(), "{name}");
    }
}

#[test]
fn peer_message_that_is_not_utf8_is_refused() {
    assert!(PeerMessage::decode(b"\"\xff\"").is_err());
}
