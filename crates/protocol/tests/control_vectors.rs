//! The shared vectors of the control channel, as `web/src/core/protocol/control.test.ts` reads them too.

use lanyard_protocol::control::ControlMessage;
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
    serde_json::from_str(include_str!("../vectors/control.json")).expect("the vectors are well-formed")
}

#[test]
fn control_messages_are_read_as_the_vectors_say() {
    for Valid { name, text, value } in vectors().valid {
        let message = ControlMessage::decode(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(serde_json::to_value(&message).expect("messages serialise"), value, "{name}");
        assert_eq!(ControlMessage::decode(&message.encode()).expect("read again"), message, "{name}");
    }
}

#[test]
fn control_messages_are_refused_as_the_vectors_say() {
    for Invalid { name, text, pad_to_bytes } in vectors().invalid {
        let padding = pad_to_bytes.unwrap_or(0).saturating_sub(text.len());
        assert!(ControlMessage::decode(&(text + &" ".repeat(padding))).is_err(), "{name}");
    }
}
