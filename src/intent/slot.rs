//! An answer to offered times: which of them the patient means.
//!
//! Called by the reader when times were offered. Picks one only when everything said fits exactly one of them; anything
//! denied or bounded ("not thursday", "after 10") is left to a person.

use jiff::civil::{Date, DateTime};
use jiff::{Timestamp, ToSpan as _};

use super::label::SlotAnswer;
use super::lexicon::Negation;
use super::when::{Half, Mention, Said, mentions};
use crate::kernel::words::Word;

/// One of the times that the patient was offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfferedTime {
    /// Its number in the list, from 1.
    pub number: u8,
    /// The instant.
    pub start: Timestamp,
    /// The same instant on the clinic's clock, as the patient was shown it.
    pub local: DateTime,
}

/// What a reply says about the offered times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice {
    /// Nothing about when.
    Silent,
    /// Something, but denied or bounded: not a choice.
    Bounded,
    /// A choice; with no list to hold it against, without an answer. The words that it took up.
    Made(Option<SlotAnswer>, Vec<Said>),
}

/// Words that turn a time into a bound when they stand before it.
const BOUNDS: [&str; 18] = [
    "but",
    "except",
    "besides",
    "after",
    "before",
    "until",
    "between",
    "than",
    "since",
    "excepto",
    "menos",
    "antes",
    "despues",
    "entre",
    "hasta",
    "next",
    "following",
    "proximo",
];

/// Reads a choice out of `words`; `answered` is where the short answer before it ends ("No, thursday").
pub(super) fn choice(
    words: &[Word],
    answered: usize,
    offered: &[OfferedTime],
    today: Date,
    negation: &Negation,
) -> Choice {
    let said: Vec<Said> = mentions(words);
    if said.is_empty() {
        return Choice::Silent;
    }
    let denied = words.iter().skip(answered).any(|word| negation.negators.contains(&word.text));
    let bounded = said.iter().any(|said| {
        let before = words.get(said.first.saturating_sub(2)..said.first).unwrap_or_default();
        before.iter().any(|word| word.is_any(&BOUNDS))
    });
    if denied || bounded {
        return Choice::Bounded;
    }
    if offered.is_empty() {
        return Choice::Made(None, said);
    }
    let answer = Matcher { offered, today, said: said.iter().map(|said| said.mention).collect() }.answer();
    Choice::Made(Some(answer), said)
}

struct Matcher<'a> {
    offered: &'a [OfferedTime],
    today: Date,
    said: Vec<Mention>,
}

/// How well a time of day fits an offered one.
#[derive(PartialEq, Eq)]
enum Fit {
    Exact,
    /// The same hour, minutes not said.
    SameHour,
    Not,
}

impl Matcher<'_> {
    fn answer(&self) -> SlotAnswer {
        let numbers = self.numbers();
        if !numbers.is_empty() {
            return self.by_number(&numbers);
        }
        let exact = self.matching(&Fit::Exact);
        match exact.as_slice() {
            [only] => return SlotAnswer::Picked(*only),
            [_, _, ..] => return SlotAnswer::Ambiguous(exact),
            [] => {}
        }
        let near = self.matching(&Fit::SameHour);
        match near.as_slice() {
            [] => SlotAnswer::NotOffered,
            [only] if self.said.iter().any(|mention| mention.names_a_day()) => SlotAnswer::Picked(*only),
            _ => SlotAnswer::Ambiguous(near),
        }
    }

    /// Places in the list that were named: by "option 2" or "the second", or by a bare number of the list where no day or
    /// time was said.
    fn numbers(&self) -> Vec<u8> {
        let described = self.said.iter().any(|mention| mention.names_a_day() || mention.names_a_time());
        let mut numbers = Vec::new();
        for mention in &self.said {
            let with_day = |day: u8| {
                self.offered
                    .iter()
                    .filter(move |offer| offer.local.date().day().unsigned_abs() == day)
                    .map(|offer| offer.number)
            };
            match *mention {
                Mention::Number(number) => numbers.push(number),
                Mention::Ordinal(number) => numbers.extend(std::iter::once(number).chain(with_day(number))),
                Mention::Loose(value) if !described => numbers.extend(self.listed(value)),
                Mention::Last => numbers.extend(self.offered.iter().map(|offer| offer.number).max()),
                Mention::Earliest => {
                    numbers.extend(self.offered.iter().min_by_key(|offer| offer.start).map(|offer| offer.number));
                }
                Mention::Latest => {
                    numbers.extend(self.offered.iter().max_by_key(|offer| offer.start).map(|offer| offer.number));
                }
                Mention::Any => numbers.extend(self.offered.iter().map(|offer| offer.number)),
                _ => {}
            }
        }
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    fn listed(&self, value: u32) -> Option<u8> {
        u8::try_from(value).ok().filter(|number| self.offered.iter().any(|offer| offer.number == *number))
    }

    fn by_number(&self, numbers: &[u8]) -> SlotAnswer {
        let described =
            self.said.iter().any(|mention| mention.names_a_day() || matches!(mention, Mention::Clock { .. }));
        let known: Vec<u8> =
            self.offered.iter().map(|offer| offer.number).filter(|number| numbers.contains(number)).collect();
        if known.is_empty() {
            return SlotAnswer::NotOffered;
        }
        if !described {
            return one_or_several(known);
        }
        let mut fitting = self.matching(&Fit::Exact);
        if fitting.is_empty() {
            fitting = self.matching(&Fit::SameHour);
        }
        let both: Vec<u8> = known.iter().copied().filter(|number| fitting.contains(number)).collect();
        if both.is_empty() {
            let mut either: Vec<u8> = known.into_iter().chain(fitting).collect();
            either.sort_unstable();
            either.dedup();
            return SlotAnswer::Ambiguous(either);
        }
        one_or_several(both)
    }

    /// The offered times that everything said fits, with times of day fitting at least as `needed`.
    fn matching(&self, needed: &Fit) -> Vec<u8> {
        let fits = |offer: &&OfferedTime| {
            self.fits_all(Mention::names_a_day, |mention| self.fits_day(mention, offer))
                && self.fits_all(|m| matches!(m, Mention::DayPart(..)), |mention| fits_day_part(mention, offer))
                && self.fits_all(
                    |m| matches!(m, Mention::Clock { .. }),
                    |mention| at_least(&clock_fit(mention, offer), needed),
                )
                && self.fits_all(|m| matches!(m, Mention::Loose(_)), |mention| self.fits_loose(mention, offer, needed))
        };
        self.offered.iter().filter(fits).map(|offer| offer.number).collect()
    }

    /// Of the mentions of one kind at least one must fit ("thursday or friday"); none said fits all.
    fn fits_all(&self, kind: impl Fn(Mention) -> bool, fits: impl Fn(Mention) -> bool) -> bool {
        let mut of_kind = self.said.iter().copied().filter(|mention| kind(*mention)).peekable();
        of_kind.peek().is_none() || of_kind.any(fits)
    }

    fn fits_day(&self, mention: Mention, offer: &OfferedTime) -> bool {
        let date = offer.local.date();
        match mention {
            Mention::Weekday(weekday) => date.weekday() == weekday,
            Mention::InDays(days) => self.today.checked_add(days.days()).is_ok_and(|day| day == date),
            Mention::Date { month, day } => date.day() == day && month.is_none_or(|month| date.month() == month),
            Mention::Slashed(a, b) => (date.month() == a && date.day() == b) || (date.month() == b && date.day() == a),
            _ => false,
        }
    }

    /// A bare number: an hour, a day of the month, or (beside a day) a place in the list.
    fn fits_loose(&self, mention: Mention, offer: &OfferedTime, needed: &Fit) -> bool {
        let Mention::Loose(value) = mention else { return false };
        let Ok(value) = i8::try_from(value) else { return false };
        let day_said = self.said.iter().any(|mention| mention.names_a_day());
        let clock_said = self.said.iter().any(|mention| matches!(mention, Mention::Clock { .. }));
        let as_hour = !clock_said && (1..24).contains(&value) && {
            let clock = Mention::Clock { hour: value, minute: None, half: None };
            at_least(&clock_fit(clock, offer), needed)
        };
        let as_day = offer.local.date().day() == value;
        let as_number = day_said && i8::try_from(offer.number) == Ok(value);
        as_hour || as_day || as_number
    }
}

fn one_or_several(numbers: Vec<u8>) -> SlotAnswer {
    match numbers.as_slice() {
        [only] => SlotAnswer::Picked(*only),
        _ => SlotAnswer::Ambiguous(numbers),
    }
}

fn at_least(fit: &Fit, needed: &Fit) -> bool {
    *fit == Fit::Exact || (*fit == Fit::SameHour && *needed == Fit::SameHour)
}

fn fits_day_part(mention: Mention, offer: &OfferedTime) -> bool {
    matches!(mention, Mention::DayPart(from, to) if (from..to).contains(&offer.local.time().hour()))
}

fn clock_fit(mention: Mention, offer: &OfferedTime) -> Fit {
    let Mention::Clock { hour, minute, half } = mention else { return Fit::Not };
    let time = offer.local.time();
    let same_hour = match half {
        Some(Half::Am) => hour <= 12 && time.hour() == hour % 12,
        Some(Half::Pm) | None if hour > 12 => time.hour() == hour,
        Some(Half::Pm) => time.hour() == (hour % 12).saturating_add(12),
        None => time.hour() % 12 == hour % 12,
    };
    match minute {
        _ if !same_hour => Fit::Not,
        None if time.minute() == 0 => Fit::Exact,
        None => Fit::SameHour,
        Some(minute) if time.minute() == minute => Fit::Exact,
        Some(_) => Fit::Not,
    }
}
