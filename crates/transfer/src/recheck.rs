//! Reading back part of what a journal vouches for, before it is claimed (TR-64).

use std::collections::{BTreeSet, VecDeque};

use lanyard_protocol::control::FileIndex;

/// The newest pieces are all read back: 64 MiB, which a crash of the machine may have lost in spite of all.
const NEWEST: usize = 64;

/// Of the others one in so many is drawn.
const ONE_IN: u64 = 100;

/// Reads asked for at once.
const AT_ONCE: usize = 8;

#[derive(Debug, Default)]
pub(crate) struct Recheck {
    waiting: VecDeque<(FileIndex, u64)>,
    asked: BTreeSet<(FileIndex, u64)>,
    /// Pieces that are trusted as long as no other one is found wrong.
    trusted: VecDeque<(FileIndex, u64)>,
}

impl Recheck {
    /// Chooses among pieces in the order they became durable.
    pub(crate) fn choose(written: Vec<(FileIndex, u64)>, random: &mut impl FnMut() -> u64) -> Self {
        let mut recheck = Self::default();
        let older = written.len().saturating_sub(NEWEST);
        let mut seen = BTreeSet::new();
        for (at, piece) in written.into_iter().enumerate() {
            if !seen.insert(piece) {
                continue;
            }
            let chosen = at >= older || random().is_multiple_of(ONE_IN);
            if chosen { recheck.waiting.push_back(piece) } else { recheck.trusted.push_back(piece) }
        }
        recheck
    }

    pub(crate) fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.asked.is_empty()
    }

    pub(crate) fn pull(&mut self, mut ask: impl FnMut(FileIndex, u64)) {
        while self.asked.len() < AT_ONCE
            && let Some((file, piece)) = self.waiting.pop_front()
        {
            self.asked.insert((file, piece));
            ask(file, piece);
        }
    }

    /// Whether the piece was asked for. One wrong piece, and every other one is read too.
    pub(crate) fn handle_read(&mut self, file: FileIndex, piece: u64, matches: bool) -> bool {
        let was_asked = self.asked.remove(&(file, piece));
        if was_asked && !matches {
            self.waiting.append(&mut self.trusted);
        }
        was_asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(count: u64) -> Vec<(FileIndex, u64)> {
        (0..count).map(|piece| (0, piece)).collect()
    }

    fn read_all(recheck: &mut Recheck, wrong: impl Fn(u64) -> bool) -> Vec<u64> {
        let mut read = Vec::new();
        while !recheck.is_done() {
            let mut asked = Vec::new();
            recheck.pull(|_, piece| asked.push(piece));
            assert!(asked.len() <= AT_ONCE);
            for piece in asked {
                assert!(recheck.handle_read(0, piece, !wrong(piece)));
                read.push(piece);
            }
        }
        read
    }

    #[test]
    fn tr_64_newest_64_mib_and_a_hundredth_of_the_rest_are_read_back() {
        let mut number = 0;
        let mut count = || {
            number += 1;
            number
        };
        let mut recheck = Recheck::choose(pieces(1064), &mut count);
        let read = read_all(&mut recheck, |_| false);
        assert_eq!(read.len(), 64 + 10);
        assert!((1000..1064).all(|piece| read.contains(&piece)));
    }

    #[test]
    fn tr_64_one_wrong_piece_has_everything_read_back() {
        let mut recheck = Recheck::choose(pieces(200), &mut || 1);
        assert_eq!(read_all(&mut recheck, |piece| piece == 150).len(), 200);
    }
}
