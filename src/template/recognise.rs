//! Which of the house's texts words were made from. Pure.
//!
//! For words that come back from a carrier's list, where nobody knows any more what they were. Never used to decide that
//! a text may leave: only that it may have left already.

use super::{Catalogue, TextKey};
use crate::kernel::Language;

/// A piece of a text's source.
enum Piece<'a> {
    /// Words that stand there as they are.
    Words(&'a str),
    /// A parameter.
    Gap,
    /// One of these.
    OneOf(Vec<Vec<Piece<'a>>>),
}

/// What ends a stretch of pieces.
#[derive(PartialEq, Eq)]
enum Stop {
    End,
    Else,
    EndIf,
}

impl Catalogue {
    /// The text that `words` were made from, in any version that was ever sent, with or without the opt-out wording. Of
    /// several that fit the one with the most words of its own.
    #[must_use]
    pub fn recognise(&self, words: &str) -> Option<(TextKey, Language)> {
        let all = self.texts.iter().flat_map(|((_, language), versions)| versions.iter().map(|text| (*language, text)));
        let fitting = all.filter_map(|(language, text)| {
            let bare = words.strip_suffix(self.opt_out(language)).map_or(words, str::trim_end);
            let (pieces, _) = pieces(&text.source);
            let fits =
                fits(&pieces.iter().collect::<Vec<_>>(), bare) || fits(&pieces.iter().collect::<Vec<_>>(), words);
            fits.then(|| (own_words(&pieces), text.key, language))
        });
        fitting.max_by_key(|(own, ..)| *own).map(|(_, key, language)| (key, language))
    }
}

/// The pieces up to the end, or to the `else` or `endif` that closes them.
fn pieces(source: &str) -> (Vec<Piece<'_>>, (&str, Stop)) {
    let mut pieces = Vec::new();
    let mut rest = source;
    loop {
        let Some(open) = rest.find("{{").into_iter().chain(rest.find("{%")).min() else {
            pieces.push(Piece::Words(rest));
            return (pieces, ("", Stop::End));
        };
        let (words, tag) = rest.split_at(open);
        pieces.push(Piece::Words(words));
        let closing = if tag.starts_with("{{") { "}}" } else { "%}" };
        let Some((inside, after)) = tag.get(2..).and_then(|inside| inside.split_once(closing)) else {
            return (pieces, ("", Stop::End));
        };
        rest = after;
        match inside.split_whitespace().next() {
            _ if closing == "}}" => pieces.push(Piece::Gap),
            Some("if") => {
                let (choice, after) = choice(rest);
                pieces.push(choice);
                rest = after;
            }
            Some("else") => return (pieces, (rest, Stop::Else)),
            Some("endif") => return (pieces, (rest, Stop::EndIf)),
            // No other tag stands in a text of the house; one that does may stand for anything.
            _ => pieces.push(Piece::Gap),
        }
    }
}

/// What follows an `if`, up to its end.
fn choice(source: &str) -> (Piece<'_>, &str) {
    let (first, (rest, stop)) = pieces(source);
    if stop == Stop::Else {
        let (other, (rest, _)) = pieces(rest);
        (Piece::OneOf(vec![first, other]), rest)
    } else {
        (Piece::OneOf(vec![first, Vec::new()]), rest)
    }
}

fn fits(pieces: &[&Piece<'_>], words: &str) -> bool {
    match pieces {
        [] => words.is_empty(),
        [Piece::Words(own), rest @ ..] => words.strip_prefix(own).is_some_and(|words| fits(rest, words)),
        [Piece::Gap, rest @ ..] => {
            words.char_indices().skip(1).any(|(at, _)| words.get(at..).is_some_and(|words| fits(rest, words)))
                || (!words.is_empty() && fits(rest, ""))
        }
        [Piece::OneOf(choices), rest @ ..] => choices.iter().any(|choice| {
            let all: Vec<&Piece<'_>> = choice.iter().chain(rest.iter().copied()).collect();
            fits(&all, words)
        }),
    }
}

/// How many bytes of the source are words of its own.
fn own_words(pieces: &[Piece<'_>]) -> usize {
    let of = |piece: &Piece<'_>| match piece {
        Piece::Words(own) => own.len(),
        Piece::Gap => 0,
        Piece::OneOf(choices) => choices.iter().map(|choice| own_words(choice)).max().unwrap_or(0),
    };
    pieces.iter().map(of).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kernel::{Phi, PhoneNumber},
        template::{OptOutWording, Params, Visit},
    };
    use jiff::tz::TimeZone;

    const CLINIC: &str = "Riverside Clinic";

    fn params(key: TextKey) -> Params {
        use super::super::Param;
        let catalogue = Catalogue::house().unwrap();
        let asked = &catalogue.text(key, Language::English).unwrap().params;
        let at = "2026-11-26T19:00:00Z".parse().unwrap();
        let name = Phi::new("Ana: you have".to_owned());
        let mut params = Params::new(CLINIC, &TimeZone::get("America/New_York").unwrap());
        for param in asked {
            params = match param {
                Param::First => params.first(Some(&name)),
                Param::When => params.when(at),
                Param::By => params.by(at),
                Param::Provider => params.provider(None),
                Param::Place => params.place(None),
                Param::Visits => {
                    params.visits(&[Visit { at, provider: None }, Visit { at, provider: Some(name.clone()) }])
                }
                Param::Slots => params.slots(&[at]),
                Param::Phone => params.phone(&PhoneNumber::parse("+12125550198").unwrap()),
                Param::Link => params.link("https://example.org/x".parse().unwrap()),
                Param::Clinic => params,
            };
        }
        params
    }

    #[test]
    fn every_text_of_the_house_is_recognised_in_both_languages() {
        let catalogue = Catalogue::house().unwrap();
        for key in TextKey::ALL.iter().copied() {
            for language in Language::ALL {
                for opt_out in [OptOutWording::Included, OptOutWording::LeftOut] {
                    let text = catalogue.render_current(key, language, &params(key), opt_out).unwrap().text;
                    assert_eq!(catalogue.recognise(text.as_str()), Some((key, language)), "{}", text.as_str());
                }
            }
        }
    }

    #[test]
    fn what_a_person_wrote_is_none_of_them() {
        let catalogue = Catalogue::house().unwrap();
        for words in ["", "Please call us this afternoon.", "Riverside Clinic: please call", "STOP to end texts."] {
            assert_eq!(catalogue.recognise(words), None, "{words}");
        }
    }
}
