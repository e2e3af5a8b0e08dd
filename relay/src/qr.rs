//! A link as a QR code made of characters.

use qrcode::{Color, EcLevel, QrCode};

/// Light modules around the code, on each side (ISO/IEC 18004 §6.3.8).
const BORDER: usize = 4;

/// Narrower terminals get the link only: a wrapped code cannot be read.
pub const MIN_COLUMNS: usize = 45;

/// Exact black on exact white from the 256-colour cube: the first sixteen colours belong to the person's theme.
const BLACK_ON_WHITE: &str = "\x1b[38;5;16;48;5;231m";
const WHITE_CELL: &str = "\x1b[48;5;231m";
const BLACK_CELL: &str = "\x1b[48;5;16m";
const RESET: &str = "\x1b[0m";

/// How a code is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QrStyle {
    /// Half blocks, two modules a character.
    HalfBlocks,
    /// Two coloured spaces a module, for fonts without block characters.
    Ascii,
    /// Two plain characters a module and no colour at all, right on a dark terminal only.
    AsciiPlain,
}

/// Draws `link`, or `None` when it does not fit into `columns`.
#[must_use]
pub fn draw(link: &str, style: QrStyle, columns: usize) -> Option<String> {
    let grid = Grid::encode(link)?;
    let width = match style {
        QrStyle::HalfBlocks => grid.side,
        QrStyle::Ascii | QrStyle::AsciiPlain => grid.side * 2,
    };
    if columns < MIN_COLUMNS || columns < width {
        return None;
    }
    Some(match style {
        QrStyle::HalfBlocks => half_blocks(&grid),
        QrStyle::Ascii => cells(&grid, BLACK_CELL, WHITE_CELL, "  ", "  ", RESET),
        QrStyle::AsciiPlain => cells(&grid, "", "", "  ", "##", ""),
    })
}

/// The code's modules with its border; `true` is dark.
struct Grid {
    side: usize,
    dark: Vec<bool>,
}

impl Grid {
    fn encode(link: &str) -> Option<Self> {
        // Up to version 5 the stronger correction costs no more room than 45 columns have.
        let medium = QrCode::with_error_correction_level(link, EcLevel::M).ok()?;
        let code =
            if medium.width() <= 37 { medium } else { QrCode::with_error_correction_level(link, EcLevel::L).ok()? };
        let modules = code.width();
        let side = modules + 2 * BORDER;
        let colors = code.to_colors();
        let mut dark = vec![false; side * side];
        for (index, color) in colors.iter().enumerate() {
            let (row, column) = (index / modules + BORDER, index % modules + BORDER);
            dark[row * side + column] = *color == Color::Dark;
        }
        Some(Self { side, dark })
    }

    /// Light outside the code.
    fn is_dark(&self, row: usize, column: usize) -> bool {
        self.dark.get(row * self.side + column).copied().unwrap_or(false)
    }
}

fn half_blocks(grid: &Grid) -> String {
    let mut text = String::new();
    for row in (0..grid.side).step_by(2) {
        text.push_str(BLACK_ON_WHITE);
        for column in 0..grid.side {
            text.push(match (grid.is_dark(row, column), row + 1 < grid.side && grid.is_dark(row + 1, column)) {
                (true, true) => '█',
                (true, false) => '▀',
                (false, true) => '▄',
                (false, false) => ' ',
            });
        }
        text.push_str(RESET);
        text.push('\n');
    }
    text
}

fn cells(grid: &Grid, black: &str, white: &str, dark_cell: &str, light_cell: &str, reset: &str) -> String {
    let mut text = String::new();
    for row in 0..grid.side {
        let mut current = None;
        for column in 0..grid.side {
            let dark = grid.is_dark(row, column);
            if current != Some(dark) {
                text.push_str(if dark { black } else { white });
                current = Some(dark);
            }
            text.push_str(if dark { dark_cell } else { light_cell });
        }
        text.push_str(reset);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: &str = "http://192.168.178.123:53380/#1.AAAAAAAAAAAAAAAAAAAAAA.BBBBBBBBBBBBBBBBBBBBBB";

    #[test]
    fn a_link_fits_into_forty_five_columns_with_its_border() {
        let text = draw(LINK, QrStyle::HalfBlocks, MIN_COLUMNS).unwrap();
        let first = text.lines().next().unwrap();
        let cells = first.trim_start_matches(BLACK_ON_WHITE).trim_end_matches(RESET);
        assert_eq!(cells.chars().count(), 45);
        assert!(cells.chars().all(|cell| cell == ' '), "the border is light");
        assert_eq!(text.lines().count(), 23);
    }

    #[test]
    fn a_terminal_that_is_too_narrow_gets_no_code() {
        assert_eq!(draw(LINK, QrStyle::HalfBlocks, 44), None);
        assert_eq!(draw(LINK, QrStyle::Ascii, 80), None);
        assert!(draw(LINK, QrStyle::Ascii, 90).is_some());
    }

    #[test]
    fn ascii_drawings_hold_nothing_but_ascii() {
        for style in [QrStyle::Ascii, QrStyle::AsciiPlain] {
            assert!(draw(LINK, style, 120).unwrap().is_ascii());
        }
        assert!(!draw(LINK, QrStyle::AsciiPlain, 120).unwrap().contains('\x1b'));
    }
}
