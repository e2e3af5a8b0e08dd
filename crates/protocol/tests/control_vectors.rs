//! The shared vectors of the control channel, as `web/src/core/protocol/control.test.ts` reads them too.

mod texts;

use lanyard_protocol::control::ControlMessage;
use texts::Texts;

#[test]
fn control_messages_are_read_and_refused_as_the_vectors_say() {
    let vectors: Texts =
        serde_json::from_str(include_str!("../vectors/control.json")).expect("the vectors are well-formed");
    vectors.check(ControlMessage::decode);
}
