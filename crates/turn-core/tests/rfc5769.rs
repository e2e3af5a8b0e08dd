//! The published test vectors: RFC 5769 §2 and RFC 8489 appendix B.1 (as corrected by erratum 6268).

#![expect(clippy::unwrap_used, reason = "a test may fail by panicking, in its helpers too")]

use lanyard_turn_core::stun::{
    AttributeKind, Class, Integrity, IntegrityKey, Message, MessageWriter, Method, PasswordAlgorithm, TransactionId,
    decode_xor_address,
};

/// Reads hexadecimal digits, ignoring white space.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

const REQUEST: &str = "
    00010058 2112a442 b7e7a701bc34d686fa87dfae
    80220010 5354554e207465737420636c69656e74
    00240004 6e0001ff
    80290008 932ff9b151263b36
    00060009 6576746a3a68367659202020
    00080014 9aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2
    80280004 e57a3bcf";

const RESPONSE_IPV4: &str = "
    0101003c 2112a442 b7e7a701bc34d686fa87dfae
    8022000b 7465737420766563746f7220
    00200008 0001a147e112a643
    00080014 2b91f599fd9e90c38c7489f92af9ba53f06be7d7
    80280004 c07d4c96";

const RESPONSE_IPV6: &str = "
    01010048 2112a442 b7e7a701bc34d686fa87dfae
    8022000b 7465737420766563746f7220
    00200014 0002a1470113a9faa5d3f179bc25f4b5bed2b9d9
    00080014 a382954e4be67bf11784c97c8292c275bfe3ed41
    80280004 c8fb0b4c";

const LONG_TERM_REQUEST: &str = "
    00010060 2112a442 78ad3433c6ad72c029da412e
    00060012 e3839ee38388e383aae38383e382afe382b90000
    0015001c 662f2f3439396b393534643 64f4c33346f4c394653547679363473 41
    0014000b 6578616d706c652e6f726700
    00080014 f67024656dd64a3e02b8e0712e85c9a28ca89666";

const TRANSACTION_ID: TransactionId =
    TransactionId([0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae]);
const LONG_TERM_TRANSACTION_ID: TransactionId =
    TransactionId([0x78, 0xad, 0x34, 0x33, 0xc6, 0xad, 0x72, 0xc0, 0x29, 0xda, 0x41, 0x2e]);
const USERNAME: &str = "マトリックス";

#[test]
fn request_of_section_2_1_is_read() {
    let bytes = hex(REQUEST);
    let message = Message::decode(&bytes).unwrap();
    assert_eq!((message.class(), message.method()), (Class::Request, Method::BINDING));
    assert_eq!(message.transaction_id(), TRANSACTION_ID);
    assert_eq!(message.attribute(AttributeKind::SOFTWARE), Some(&b"STUN test client"[..]));
    assert_eq!(message.attribute(AttributeKind::USERNAME), Some(&b"evtj:h6vY"[..]));
    assert_eq!(message.attribute(AttributeKind::PRIORITY), Some(&[0x6e, 0, 1, 0xff][..]));
    assert_eq!(message.integrity_kind(), Some(Integrity::Sha1));
    assert!(message.has_fingerprint());
}

#[test]
fn response_of_section_2_2_says_the_ipv4_address() {
    let bytes = hex(RESPONSE_IPV4);
    let message = Message::decode(&bytes).unwrap();
    assert_eq!(message.class(), Class::Success);
    let value = message.attribute(AttributeKind::XOR_MAPPED_ADDRESS).unwrap();
    assert_eq!(decode_xor_address(value, message.transaction_id()), Some("192.0.2.1:32853".parse().unwrap()));
}

#[test]
fn response_of_section_2_3_says_the_ipv6_address() {
    let bytes = hex(RESPONSE_IPV6);
    let message = Message::decode(&bytes).unwrap();
    let value = message.attribute(AttributeKind::XOR_MAPPED_ADDRESS).unwrap();
    let address = "[2001:db8:1234:5678:11:2233:4455:6677]:32853".parse().unwrap();
    assert_eq!(decode_xor_address(value, message.transaction_id()), Some(address));
}

#[test]
fn long_term_request_of_section_2_4_is_verified() {
    let bytes = hex(LONG_TERM_REQUEST);
    let message = Message::decode(&bytes).unwrap();
    assert_eq!(message.attribute(AttributeKind::USERNAME), Some(USERNAME.as_bytes()));
    assert_eq!(message.attribute(AttributeKind::NONCE), Some(&b"f//499k954d6OL34oL9FSTvy64sA"[..]));
    assert_eq!(message.attribute(AttributeKind::REALM), Some(&b"example.org"[..]));
    let key = |password: &[u8]| {
        IntegrityKey::long_term(PasswordAlgorithm::Md5, USERNAME.as_bytes(), b"example.org", password)
    };
    assert!(message.verify_integrity(&key(b"TheMatrIX")));
    assert!(!message.verify_integrity(&key(b"TheMatrix")));
}

#[test]
fn long_term_request_of_section_2_4_is_written_byte_for_byte() {
    let key = IntegrityKey::long_term(PasswordAlgorithm::Md5, USERNAME.as_bytes(), b"example.org", b"TheMatrIX");
    let mut buffer = Vec::new();
    let mut writer = MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, LONG_TERM_TRANSACTION_ID);
    writer
        .attribute(AttributeKind::USERNAME, USERNAME.as_bytes())
        .attribute(AttributeKind::NONCE, b"f//499k954d6OL34oL9FSTvy64sA")
        .attribute(AttributeKind::REALM, b"example.org")
        .integrity(Integrity::Sha1, &key);
    writer.finish().unwrap();
    assert_eq!(buffer, hex(LONG_TERM_REQUEST));
}

#[test]
fn sha256_request_of_rfc_8489_appendix_b_1_is_verified_and_written() {
    let userhash = hex("4a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704");
    let key = IntegrityKey::long_term(PasswordAlgorithm::Sha256, USERNAME.as_bytes(), b"example.org", b"TheMatrIX");
    let mut buffer = Vec::new();
    let mut writer = MessageWriter::new(&mut buffer, Class::Request, Method::BINDING, LONG_TERM_TRANSACTION_ID);
    writer
        .attribute(AttributeKind::USERHASH, &userhash)
        .attribute(AttributeKind::NONCE, b"obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA")
        .attribute(AttributeKind::REALM, b"example.org")
        .attribute(AttributeKind::PASSWORD_ALGORITHM, &[0, 2, 0, 0])
        .integrity(Integrity::Sha256, &key);
    writer.finish().unwrap();
    assert_eq!(buffer[..4], [0x00, 0x01, 0x00, 0x90]);
    assert_eq!(buffer[buffer.len() - 31..], hex("c7bf005b6c52a21c51c5e892f81924136296cb927c431493092 78cc6518e65"));
    let message = Message::decode(&buffer).unwrap();
    assert_eq!(message.integrity_kind(), Some(Integrity::Sha256));
    assert!(message.verify_integrity(&key));
}

#[test]
fn every_flipped_bit_of_a_protected_message_is_noticed() {
    let bytes = hex(LONG_TERM_REQUEST);
    let key = IntegrityKey::long_term(PasswordAlgorithm::Md5, USERNAME.as_bytes(), b"example.org", b"TheMatrIX");
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let accepted = Message::decode(&flipped).is_ok_and(|message| message.verify_integrity(&key));
        assert!(!accepted, "bit {bit}");
    }
}

#[test]
fn every_flipped_bit_of_a_fingerprinted_message_is_refused() {
    for vector in [REQUEST, RESPONSE_IPV4, RESPONSE_IPV6] {
        let bytes = hex(vector);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            // A flip in the type of FINGERPRINT itself leaves a message without one.
            let still_fingerprinted = Message::decode(&flipped).is_ok_and(|message| message.has_fingerprint());
            assert!(!still_fingerprinted, "bit {bit}");
        }
    }
}
