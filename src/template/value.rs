//! Names and labels before they go into a text.
//!
//! They come from EHRs and patients, and may hold anything. What would break a line, hide or turn text around, or
//! look like an address is taken out; typographic signs become their plain forms, which keep a text in the GSM-7
//! alphabet. Letters keep their accents.

use unicode_normalization::UnicodeNormalization as _;

/// The longest label of a clinic, in characters.
pub(super) const LONGEST_LABEL: usize = 40;

/// The longest name of a person or place, in characters.
pub(super) const LONGEST_NAME: usize = 40;

/// `text` on one line without control and formatting characters, cut to `longest` characters at the end of a word
/// where there is one.
pub(super) fn cleaned(text: &str, longest: usize) -> String {
    let plain: String = text.nfc().map(plain_form).filter(|c| !is_hidden(*c) && !"/\\@<>{}".contains(*c)).collect();
    let words: Vec<&str> = plain.split_whitespace().collect();
    let line = words.join(" ");
    if line.chars().count() <= longest {
        return line;
    }
    let cut: String = line.chars().take(longest).collect();
    let whole_words =
        cut.rsplit_once(' ').map(|(head, _)| head.to_owned()).filter(|head| head.chars().count() * 2 >= longest);
    whole_words.unwrap_or(cut)
}

/// The plain form of a typographic sign, and a space for every kind of space and control character.
fn plain_form(c: char) -> char {
    match c {
        '\u{2018}' | '\u{2019}' | '\u{201b}' | '\u{2032}' | '\u{b4}' | '`' => '\'',
        '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{ab}' | '\u{bb}' => '"',
        '\u{2010}'..='\u{2015}' | '\u{2212}' => '-',
        c if c.is_whitespace() || c.is_control() => ' ',
        c => c,
    }
}

/// Characters that show nothing or turn the order of others around (Unicode's format characters and such).
const fn is_hidden(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_keep_their_letters_and_lose_what_could_do_harm() {
        assert_eq!(cleaned("  José\u{a0}Ñuñez ", 40), "José Ñuñez");
        assert_eq!(cleaned("Jose\u{301}", 40), "José");
        assert_eq!(cleaned("O’Brien–Smith", 40), "O'Brien-Smith");
        assert_eq!(cleaned("Ana\r\nReply: PAY\u{0} \u{202e}now", 40), "Ana Reply: PAY now");
        assert_eq!(cleaned("{{ clinic }} https://x.example", 40), "clinic https:x.example");
        assert_eq!(cleaned("\u{200b}\t", 40), "");
    }

    #[test]
    fn long_names_are_cut_at_a_word() {
        assert_eq!(cleaned("Maria Fernanda de los Angeles", 16), "Maria Fernanda");
        assert_eq!(cleaned(&"x".repeat(60), 40), "x".repeat(40));
    }

    proptest! {
        #[test]
        fn never_longer_never_two_lines(text in any::<String>()) {
            let name = cleaned(&text, 40);
            prop_assert!(name.chars().count() <= 40);
            prop_assert!(!name.chars().any(char::is_control));
            prop_assert_eq!(name.trim(), &name);
        }
    }
}
