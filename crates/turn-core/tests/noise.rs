//! Bytes from the network never panic.

use lanyard_turn_core::stun::{AttributeKind, Class, Message, MessageWriter, Method, TransactionId};
use lanyard_turn_core::{ChannelData, ChannelNumber};
use proptest::prelude::*;

fn attributes() -> impl Strategy<Value = Vec<(u16, Vec<u8>)>> {
    prop::collection::vec((any::<u16>(), prop::collection::vec(any::<u8>(), 0..40)), 0..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Message::decode(&bytes);
        let _ = ChannelData::decode(&bytes);
    }

    #[test]
    fn any_body_behind_a_good_header_decodes_or_is_refused(
        words in prop::collection::vec(any::<u32>(), 0..40), kind in any::<u16>(),
    ) {
        let mut bytes = Vec::new();
        bytes.extend((kind & 0x3fff).to_be_bytes());
        bytes.extend(u16::try_from(words.len() * 4).unwrap().to_be_bytes());
        bytes.extend(0x2112_a442_u32.to_be_bytes());
        bytes.extend([0; 12]);
        bytes.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        if let Ok(message) = Message::decode(&bytes) {
            let shown: usize = message.attributes().map(|attribute| attribute.value.len() + 4).sum();
            prop_assert!(shown <= bytes.len() - 20);
        }
    }

    #[test]
    fn what_is_written_is_read_back(attributes in attributes(), method in 0..0x1000_u16, id in any::<[u8; 12]>()) {
        let special = [AttributeKind::FINGERPRINT, AttributeKind::MESSAGE_INTEGRITY, AttributeKind::MESSAGE_INTEGRITY_SHA256];
        let attributes: Vec<_> =
            attributes.into_iter().filter(|(kind, _)| !special.contains(&AttributeKind(*kind))).collect();
        let mut buffer = Vec::new();
        let mut writer = MessageWriter::new(&mut buffer, Class::Indication, Method(method), TransactionId(id));
        for (kind, value) in &attributes {
            writer.attribute(AttributeKind(*kind), value);
        }
        writer.finish().unwrap();
        let message = Message::decode(&buffer).unwrap();
        prop_assert_eq!((message.method(), message.transaction_id()), (Method(method), TransactionId(id)));
        let read: Vec<_> = message.attributes().map(|found| (found.kind.0, found.value.to_vec())).collect();
        prop_assert_eq!(read, attributes);
    }

    #[test]
    fn channel_data_survives_a_round_trip(
        number in 0x4000..=0x7fff_u16, payload in prop::collection::vec(any::<u8>(), 0..300),
        padding in 0..4_usize,
    ) {
        let channel = ChannelNumber::new(number).unwrap();
        let mut bytes = ChannelData::header(channel, payload.len()).unwrap().to_vec();
        bytes.extend(&payload);
        bytes.extend(vec![0; padding]);
        prop_assert_eq!(ChannelData::decode(&bytes), Ok(ChannelData { channel, payload: &payload }));
    }
}
