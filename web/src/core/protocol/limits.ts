/** Bounds that both ends must know; the same as `crates/protocol/src/limits.rs`, which a shared vector proves. */

/** Bytes of one WebSocket message on `/v1/ws`, either way. */
export const SIGNALING_MESSAGE_BYTES = 64 * 1024;
/** Bytes of one opaque body carried by the server, before base64url. */
export const BODY_BYTES = 40 * 1024;
/** Bytes of a device's name in UTF-8. */
export const DEVICE_NAME_BYTES = 64;
/** Devices in one nearby list. */
export const NEARBY_DEVICES = 256;
/** Bytes of one message on the control channel. */
export const CONTROL_MESSAGE_BYTES = 64 * 1024;
/** Bytes that one lane frame carries, kind and seal not counted. */
export const LANE_PAYLOAD_BYTES = 64 * 1024;
/** Bytes of one WebSocket message on `/v1/relay`. */
export const LANE_MESSAGE_BYTES = LANE_PAYLOAD_BYTES + 25;
/** Bytes of a text message from person to person, in UTF-8. */
export const TEXT_BYTES = 48 * 1024;
/** Addresses of a device's own server in one message. */
export const DOORS = 8;
/** Bytes of one such address. */
export const DOOR_BYTES = 300;
/** The most work that a client does for a claim, in zero bits. */
export const STAMP_BITS = 22;
