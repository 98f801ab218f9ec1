//! How many segments a text takes on the air, and so what it costs.
//!
//! A text of the GSM-7 alphabet (3GPP TS 23.038 section 6.2.1) fits 160 characters in one segment or 153 in each of
//! several; any other character makes the whole text UCS-2, with 70 or 67 UTF-16 units. A character of two units is
//! never split between segments.

/// The alphabet that a text needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Seven bits for a character; the extension table's characters take two places.
    Gsm7,
    /// UTF-16.
    Ucs2,
}

/// The size of a text on the air.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segments {
    /// The alphabet that it needs.
    pub encoding: Encoding,
    /// Its length in septets or UTF-16 units.
    pub units: usize,
    /// How many segments it takes; none for an empty text.
    pub count: usize,
}

/// The basic alphabet but for ESC.
const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";

/// What takes ESC and a second septet.
const EXTENSION: &str = "\u{c}^{}\\[~]|€";

impl Segments {
    /// The size of `text`.
    #[must_use]
    pub fn of(text: &str) -> Self {
        match text.chars().map(septets).collect::<Option<Vec<_>>>() {
            Some(sizes) => Self::laid_out(Encoding::Gsm7, &sizes, 160, 153),
            None => Self::laid_out(Encoding::Ucs2, &text.chars().map(char::len_utf16).collect::<Vec<_>>(), 70, 67),
        }
    }

    /// Lays characters of these sizes into segments: one of `alone` units, or several of `joined`.
    fn laid_out(encoding: Encoding, sizes: &[usize], alone: usize, joined: usize) -> Self {
        let units = sizes.iter().sum();
        if units <= alone {
            return Self { encoding, units, count: usize::from(units > 0) };
        }
        let (mut count, mut filled) = (1, 0);
        for size in sizes {
            if filled + size > joined {
                count += 1;
                filled = 0;
            }
            filled += size;
        }
        Self { encoding, units, count }
    }
}

/// The characters of `text` that are outside the GSM-7 alphabet, each once, in their order.
pub(super) fn outside_gsm7(text: &str) -> Vec<char> {
    let mut found = Vec::new();
    for c in text.chars().filter(|c| septets(*c).is_none()) {
        if !found.contains(&c) {
            found.push(c);
        }
    }
    found
}

fn septets(c: char) -> Option<usize> {
    if BASIC.contains(c) {
        Some(1)
    } else if EXTENSION.contains(c) {
        Some(2)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case(String::new(), 0)]
    #[case("a".repeat(160), 1)]
    #[case("a".repeat(161), 2)]
    #[case("a".repeat(306), 2)]
    #[case("a".repeat(307), 3)]
    #[case("a".repeat(158) + "€", 1)]
    #[case("a".repeat(159) + "€", 2)]
    #[case("a".repeat(152) + "€" + &"a".repeat(152), 3)]
    #[case("ê".repeat(70), 1)]
    #[case("ê".repeat(71), 2)]
    #[case("ê".repeat(134), 2)]
    #[case("ê".repeat(135), 3)]
    #[case("👍".repeat(35), 1)]
    #[case("👍".repeat(36), 2)]
    #[case("👍".repeat(66), 2)]
    #[case("👍".repeat(67), 3)]
    #[case("a".repeat(79) + "’", 2)]
    fn known_sizes(#[case] text: String, #[case] count: usize) {
        assert_eq!(Segments::of(&text).count, count);
    }

    #[rstest]
    #[case('é', Encoding::Gsm7)]
    #[case('ñ', Encoding::Gsm7)]
    #[case('ü', Encoding::Gsm7)]
    #[case('¿', Encoding::Gsm7)]
    #[case('¡', Encoding::Gsm7)]
    #[case('á', Encoding::Ucs2)]
    #[case('í', Encoding::Ucs2)]
    #[case('ó', Encoding::Ucs2)]
    #[case('ú', Encoding::Ucs2)]
    #[case('`', Encoding::Ucs2)]
    #[case('ç', Encoding::Ucs2)]
    #[case('—', Encoding::Ucs2)]
    #[case('\u{1b}', Encoding::Ucs2)]
    fn which_letters_are_cheap(#[case] letter: char, #[case] encoding: Encoding) {
        assert_eq!(Segments::of(&letter.to_string()).encoding, encoding);
    }

    #[test]
    fn the_basic_alphabet_is_whole() {
        let letters: std::collections::BTreeSet<char> = BASIC.chars().collect();
        assert_eq!((letters.len(), BASIC.chars().count()), (127, 127));
    }

    proptest! {
        #[test]
        fn segments_hold_the_units_and_no_more_than_needed(text in "[a-z€ê👍]{0,400}") {
            let Segments { encoding, units, count } = Segments::of(&text);
            let room = match encoding { Encoding::Gsm7 => 153, Encoding::Ucs2 => 67 };
            prop_assert!(units <= count.max(1) * (room + 7));
            // Each segment but the last is at most one unit short of full.
            prop_assert!(count <= 1 || units > (count - 1) * (room - 1));
        }
    }
}
