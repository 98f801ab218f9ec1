//! How a carrier cuts a text into segments (3GPP TS 23.038 alphabets, TS 23.040 concatenation).
//!
//! Pure. A text of GSM-7 characters fits 160 septets into one segment and 153 into each of several; any other
//! character turns the whole text into UCS-2 with 70 and 67 units of 16 bits. An escape pair and a surrogate pair
//! are never torn apart.

/// The characters of the GSM-7 default alphabet, each one septet (3GPP TS 23.038 section 6.2.1).
const GSM_BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
/// The characters of its extension table, each an escape and a septet (section 6.2.1.1).
const GSM_EXTENSION: &str = "\u{c}^{}\\[~]|€";

/// The number of segments that `text` is sent in; an empty text (media alone) is one.
pub(super) fn count(text: &str) -> u32 {
    match text.chars().map(septets).collect::<Option<Vec<_>>>() {
        Some(widths) => pack(widths, 160, 153),
        None => pack(text.chars().map(char::len_utf16), 70, 67),
    }
}

/// The septets of one character, or `None` where GSM-7 has none for it.
fn septets(character: char) -> Option<usize> {
    match character {
        _ if GSM_BASIC.contains(character) => Some(1),
        _ if GSM_EXTENSION.contains(character) => Some(2),
        _ => None,
    }
}

fn pack(widths: impl IntoIterator<Item = usize>, alone: usize, concatenated: usize) -> u32 {
    let (mut segments, mut used, mut total) = (1, 0, 0);
    for width in widths {
        total += width;
        if used + width > concatenated {
            segments += 1;
            used = 0;
        }
        used += width;
    }
    if total <= alone { 1 } else { segments }
}

/// Replaces the characters that force UCS-2 though GSM-7 has a look-alike, as `SmartEncoded=true` asks for.
pub(super) fn smart_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\u{2018}' | '\u{2019}' | '\u{201b}' | '`' | '\u{b4}' | '\u{2032}' => encoded.push('\''),
            '\u{201c}' | '\u{201d}' | '\u{201f}' | '\u{ab}' | '\u{bb}' | '\u{2033}' => encoded.push('"'),
            '\u{2010}'..='\u{2015}' | '\u{2212}' => encoded.push('-'),
            '\u{2026}' => encoded.push_str("..."),
            '\u{a0}' | '\u{2002}'..='\u{200a}' | '\u{202f}' => encoded.push(' '),
            '\u{200b}' | '\u{feff}' => {}
            other => encoded.push(other),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("", 1)]
    #[case(&"a".repeat(160), 1)]
    #[case(&"a".repeat(161), 2)]
    #[case(&"a".repeat(306), 2)]
    #[case(&"a".repeat(307), 3)]
    #[case(&format!("{}€", "a".repeat(158)), 1)]
    #[case(&format!("{}€", "a".repeat(159)), 2)]
    #[case(&format!("{0}€{0}", "a".repeat(152)), 3)]
    #[case(&"ê".repeat(70), 1)]
    #[case(&"ê".repeat(71), 2)]
    #[case(&"ê".repeat(134), 2)]
    #[case(&"ê".repeat(135), 3)]
    #[case(&"👍".repeat(35), 1)]
    #[case(&"👍".repeat(36), 2)]
    #[case(&"👍".repeat(66), 2)]
    #[case(&"👍".repeat(67), 3)]
    #[case(&format!("{}’", "a".repeat(79)), 2)]
    #[case(&"ñéü".repeat(53), 1)]
    #[case(&"á".repeat(71), 2)]
    fn segments_are_counted_as_carriers_count_them(#[case] text: &str, #[case] expected: u32) {
        assert_eq!(count(text), expected);
    }

    #[test]
    fn smart_encoding_keeps_a_text_in_gsm_7() {
        assert_eq!(smart_encode("“It’s” 5–6…"), "\"It's\" 5-6...");
        assert_eq!(count(&smart_encode(&format!("{}’", "a".repeat(79)))), 1);
    }
}
