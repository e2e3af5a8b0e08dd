//! The examples in `docs/protocol/signaling.md` are messages of this version.

use lanyard_protocol::signaling::{ClientMessage, ServerMessage};

#[test]
fn every_example_in_the_document_is_a_message() {
    let document = include_str!("../../../docs/protocol/signaling.md");
    let (mut from_client, mut from_server) = (0, 0);
    for block in document.split("```json\n").skip(1) {
        let block = block.split("```").next().unwrap_or_default();
        for example in serde_json::Deserializer::from_str(block).into_iter::<serde_json::Value>() {
            let text = example.expect("JSON").to_string();
            match (ClientMessage::decode(&text), ServerMessage::decode(&text)) {
                (Ok(_), Err(_)) => from_client += 1,
                (Err(_), Ok(_)) => from_server += 1,
                neither_or_both => panic!("{text}: {neither_or_both:?}"),
            }
        }
    }
    assert!(from_client >= 6 && from_server >= 9, "{from_client} and {from_server}");
}
