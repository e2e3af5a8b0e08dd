//! The shared vectors of messages between devices, as `web/src/core/protocol/vectors.test.ts` reads them too.

mod texts;

use lanyard_protocol::peer::PeerMessage;
use texts::Texts;

#[test]
fn peer_messages_are_read_and_refused_as_the_vectors_say() {
    let vectors: Texts =
        serde_json::from_str(include_str!("../vectors/peer.json")).expect("the vectors are well-formed");
    vectors.check(|text| PeerMessage::decode(text.as_bytes()));
}

#[test]
fn peer_message_that_is_not_utf8_is_refused() {
    assert!(PeerMessage::decode(b"\"\xff\"").is_err());
}
