//! The STUN message format (RFC 8489 §5 and §14): a zero-copy reader and a writer into the caller's buffer.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |0 0|  type: method and class   |  length without this header   |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                 magic cookie = 0x2112A442                     |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                 transaction ID, 96 bits                       |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  then attributes: type (16), length (16), value, zero padding |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! All fields are big-endian. A Binding request is `0001 0000 2112a442` and 12 bytes of transaction ID.

mod address;
mod attribute;
mod error_code;
mod fingerprint;
mod integrity;
mod message;
mod writer;

pub use address::{AddressFamily, decode_address, decode_xor_address};
pub use attribute::{Attribute, AttributeKind, Attributes};
pub use error_code::ErrorCode;
pub use integrity::{Integrity, IntegrityKey, PasswordAlgorithm};
pub use message::{Class, DecodeError, HEADER_BYTES, MAGIC_COOKIE, Message, Method, TransactionId};
pub use writer::{MessageTooLong, MessageWriter};

pub(crate) use address::xor_address_bytes;
