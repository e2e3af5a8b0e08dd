//! Bounds that both ends must know. What only a server enforces stands in its own configuration.

/// Bytes of one WebSocket message on `/v1/ws`, either way.
pub const SIGNALING_MESSAGE_BYTES: usize = 64 * 1024;

/// Bytes of one opaque body carried by the server, before base64url. Leaves room for the envelope.
pub const BODY_BYTES: usize = 40 * 1024;

/// Bytes of a device's name in UTF-8.
pub const DEVICE_NAME_BYTES: usize = 64;

/// Devices in one nearby list.
pub const NEARBY_DEVICES: usize = 256;

/// Bytes that one lane frame carries, kind and seal not counted (LK-33). So few that a page seals one in under a
/// millisecond.
pub const LANE_PAYLOAD_BYTES: usize = 64 * 1024;

/// Bytes of one WebSocket message on `/v1/relay`: payload, one byte of kind, 24 of seal.
pub const LANE_MESSAGE_BYTES: usize = LANE_PAYLOAD_BYTES + 25;

/// Bytes of one message on the control channel.
pub const CONTROL_MESSAGE_BYTES: usize = 64 * 1024;

/// Bytes of a text message from person to person, in UTF-8. Longer texts go as a file.
pub const TEXT_BYTES: usize = 48 * 1024;

/// Addresses of a device's own server in one message.
pub const DOORS: usize = 8;

/// Bytes of one such address.
pub const DOOR_BYTES: usize = 300;

/// The most work that a client does for a claim: so many zero bits take 2²² tries, seconds on a phone.
pub const STAMP_BITS: u8 = 22;
