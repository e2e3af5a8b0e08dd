//! Vectors of one kind of JSON text: messages that are read, with what they mean, and messages that are refused.

use std::fmt::Display;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Vectors of one kind of message.
#[derive(Deserialize)]
pub(crate) struct Texts {
    valid: Vec<Valid>,
    invalid: Vec<Invalid>,
}

#[derive(Deserialize)]
struct Valid {
    name: String,
    text: String,
    value: Value,
}

#[derive(Deserialize)]
struct Invalid {
    name: String,
    text: String,
    /// Blanks are appended up to this length.
    pad_to_bytes: Option<usize>,
}

impl Texts {
    /// Every valid text is read, and means the same when it is written again; every invalid one is refused.
    pub(crate) fn check<T: Serialize, E: Display>(&self, decode: impl Fn(&str) -> Result<T, E>) {
        for Valid { name, text, value } in &self.valid {
            let message = decode(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(&serde_json::to_value(&message).expect("messages serialise"), value, "{name}");
            let written = serde_json::to_string(&message).expect("messages serialise");
            let again = decode(&written).unwrap_or_else(|error| panic!("{name}, written again: {error}"));
            assert_eq!(&serde_json::to_value(&again).expect("messages serialise"), value, "{name}, written again");
        }
        for Invalid { name, text, pad_to_bytes } in &self.invalid {
            let padding = pad_to_bytes.unwrap_or(0).saturating_sub(text.len());
            let text = text.clone() + &" ".repeat(padding);
            assert!(decode(&text).is_err(), "{name}");
        }
    }
}
