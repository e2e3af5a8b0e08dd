//! The short authentication string of a nearby pairing: four pictures out of 64, 24 bits (PA-12).

use crate::kdf;

/// One of 64 pictures, distinct in shape and colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Picture(u8);

impl Picture {
    /// Its place in the list, 0 to 63.
    #[must_use]
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The emoji, one code point that every system since 2018 draws in colour.
    #[must_use]
    pub fn emoji(self) -> &'static str {
        PICTURES[self.index()].0
    }

    /// What to say, and what a screen reader reads.
    #[must_use]
    pub fn name(self) -> &'static str {
        PICTURES[self.index()].1
    }
}

/// Four pictures, in order.
pub type PictureRow = [Picture; 4];

/// All 64, for a list of both languages to be compared.
pub fn pictures() -> impl Iterator<Item = Picture> {
    (0..64).map(Picture)
}

/// What I sends first, so that it cannot choose its nonce after it has seen R's.
pub(crate) fn commitment(nonce_i: &[u8; 32]) -> [u8; 32] {
    kdf::derive("lanyard/1 sas commit", &[nonce_i])
}

pub(crate) fn row(handshake_hash: &[u8; 32], nonce_i: &[u8; 32], nonce_r: &[u8; 32]) -> PictureRow {
    let [a, b, c] = kdf::derive_short("lanyard/1 sas", &[handshake_hash, nonce_i, nonce_r]);
    let bits = u32::from_be_bytes([0, a, b, c]);
    [18, 12, 6, 0].map(|shift| Picture(u8::try_from((bits >> shift) & 63).expect("six bits fit a byte")))
}

/// The right row among two wrong ones, and its place. The three differ in every column, so one look decides.
pub(crate) fn choices(right: PictureRow, random: &[u8; 18]) -> ([PictureRow; 3], usize) {
    let number = |index: usize| u16::from_be_bytes([random[2 * index], random[2 * index + 1]]);
    let place = usize::from(number(0) % 3);
    let mut wrong = [right; 2];
    for column in 0..4 {
        // Two different steps away from the right picture, out of 63 and then 62 that remain.
        let first = 1 + number(1 + 2 * column) % 63;
        let mut second = 1 + number(2 + 2 * column) % 62;
        if second >= first {
            second += 1;
        }
        for (row, step) in wrong.iter_mut().zip([first, second]) {
            let index = (u16::from(right[column].0) + step) % 64;
            row[column] = Picture(u8::try_from(index).expect("a number below 64 fits a byte"));
        }
    }
    let [first, second] = wrong;
    let rows = match place {
        0 => [right, first, second],
        1 => [first, right, second],
        _ => [first, second, right],
    };
    (rows, place)
}

/// Chosen so that no two are easily taken for each other, on a small screen or said aloud.
const PICTURES: [(&str, &str); 64] = [
    ("🦊", "fox"),
    ("🐢", "turtle"),
    ("🐙", "octopus"),
    ("🐝", "bee"),
    ("🐘", "elephant"),
    ("🐧", "penguin"),
    ("🦋", "butterfly"),
    ("🐌", "snail"),
    ("🐳", "whale"),
    ("🦀", "crab"),
    ("🦒", "giraffe"),
    ("🐸", "frog"),
    ("🦉", "owl"),
    ("🐷", "pig"),
    ("🐓", "rooster"),
    ("🐍", "snake"),
    ("🍋", "lemon"),
    ("🍎", "apple"),
    ("🍇", "grapes"),
    ("🍌", "banana"),
    ("🍉", "melon"),
    ("🥕", "carrot"),
    ("🌽", "corn"),
    ("🍄", "mushroom"),
    ("🌵", "cactus"),
    ("🌻", "sunflower"),
    ("🌴", "palm tree"),
    ("🍀", "clover"),
    ("🍕", "pizza"),
    ("🧀", "cheese"),
    ("🍩", "doughnut"),
    ("🎂", "cake"),
    ("🔑", "key"),
    ("🔔", "bell"),
    ("🎲", "die"),
    ("🚲", "bicycle"),
    ("⛵", "boat"),
    ("🚀", "rocket"),
    ("🚗", "car"),
    ("🚂", "train"),
    ("🎈", "balloon"),
    ("☔", "umbrella"),
    ("🎸", "guitar"),
    ("🎺", "trumpet"),
    ("🥁", "drum"),
    ("📷", "camera"),
    ("💡", "light bulb"),
    ("⏰", "clock"),
    ("⚓", "anchor"),
    ("🔨", "hammer"),
    ("📎", "paper clip"),
    ("🎁", "present"),
    ("👑", "crown"),
    ("👓", "glasses"),
    ("🎩", "hat"),
    ("👢", "boot"),
    ("🔥", "fire"),
    ("🌈", "rainbow"),
    ("⭐", "star"),
    ("🌙", "moon"),
    ("⛄", "snowman"),
    ("🌍", "globe"),
    ("🏠", "house"),
    ("🤖", "robot"),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sixty_four_pictures_have_one_code_point_and_one_name_each() {
        assert_eq!(pictures().map(Picture::emoji).collect::<HashSet<_>>().len(), 64);
        assert_eq!(pictures().map(Picture::name).collect::<HashSet<_>>().len(), 64);
        assert!(pictures().all(|picture| picture.emoji().chars().count() == 1));
    }

    proptest! {
        #[test]
        fn three_rows_differ_in_every_column_and_one_is_right(right in prop::array::uniform4(0..64_u8), random: [u8; 18]) {
            let right = right.map(Picture);
            let (rows, place) = choices(right, &random);
            prop_assert_eq!(rows[place], right);
            for column in 0..4 {
                let seen: HashSet<_> = rows.iter().map(|row| row[column]).collect();
                prop_assert_eq!(seen.len(), 3);
            }
        }
    }
}
