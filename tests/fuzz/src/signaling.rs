//! JSON: of the server, of its clients, and between devices.

use lanyard_protocol::control::ControlMessage;
use lanyard_protocol::peer::PeerMessage;
use lanyard_protocol::signaling::{ClientMessage, ServerMessage};

/// What is understood is written and understood again as the same; a longer message is not looked at.
pub fn signaling_json(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(message) = ClientMessage::decode(text) {
        let written = serde_json::to_string(&message).expect("every message has a JSON form");
        assert_eq!(ClientMessage::decode(&written).expect("what is written is read"), message);
    }
    if let Ok(message) = ServerMessage::decode(text) {
        let written = serde_json::to_string(&message).expect("every message has a JSON form");
        assert_eq!(ServerMessage::decode(&written).expect("what is written is read"), message);
    }
}

/// The same for what is sealed between devices.
pub fn peer_json(data: &[u8]) {
    let Ok(message) = PeerMessage::decode(data) else { return };
    let written = serde_json::to_vec(&message).expect("every message has a JSON form");
    assert_eq!(PeerMessage::decode(&written).expect("what is written is read"), message);
}

/// The same for the control channel.
pub fn control_json(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(message) = ControlMessage::decode(text) else { return };
    let again = ControlMessage::decode(&message.encode()).expect("what is written is read");
    assert_eq!(again, message);
}
