//! The shared signaling vectors, as `web/src/core/protocol/vectors.test.ts` reads them too.

mod texts;

use lanyard_protocol::signaling::{ClientMessage, ServerMessage};
use lanyard_protocol::{PROTOCOL_VERSION, TooOld, check_version, limits};
use serde::Deserialize;
use serde_json::{Value, json};
use texts::Texts;

#[derive(Deserialize)]
struct Vectors {
    protocol_version: u32,
    versions: Vec<Version>,
    limits: Value,
    client: Texts,
    server: Texts,
}

#[derive(Deserialize)]
struct Version {
    theirs: u32,
    too_old: Option<String>,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../vectors/signaling.json")).expect("the vectors are well-formed")
}

#[test]
fn client_messages_are_read_and_refused_as_the_vectors_say() {
    vectors().client.check(ClientMessage::decode);
}

#[test]
fn server_messages_are_read_and_refused_as_the_vectors_say() {
    vectors().server.check(ServerMessage::decode);
}

#[test]
fn limits_are_those_of_the_vectors() {
    let ours = json!({
        "signaling_message_bytes": limits::SIGNALING_MESSAGE_BYTES,
        "body_bytes": limits::BODY_BYTES,
        "device_name_bytes": limits::DEVICE_NAME_BYTES,
        "nearby_devices": limits::NEARBY_DEVICES,
        "control_message_bytes": limits::CONTROL_MESSAGE_BYTES,
        "text_bytes": limits::TEXT_BYTES,
        "lane_payload_bytes": limits::LANE_PAYLOAD_BYTES,
        "lane_message_bytes": limits::LANE_MESSAGE_BYTES,
    });
    assert_eq!(ours, vectors().limits);
}

#[test]
fn versions_are_compared_as_the_vectors_say() {
    let vectors = vectors();
    assert_eq!(PROTOCOL_VERSION, vectors.protocol_version);
    for Version { theirs, too_old } in vectors.versions {
        let ours = check_version(theirs).err().map(|too_old| match too_old {
            TooOld::Them => "them",
            TooOld::Us => "us",
        });
        assert_eq!(ours, too_old.as_deref(), "version {theirs}");
    }
}
