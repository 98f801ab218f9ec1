//! Days, times and places in a list, as patients write them: "thu 10", "the second one", "el jueves a las 10".
//!
//! Turns words into [`Mention`]s and judges nothing; [`super::slot`] holds them against the offered times.

use jiff::civil::Weekday;

use crate::kernel::words::{Word, WordKind};

/// Half of the day, where it was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    Am,
    Pm,
}

/// One thing said about when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mention {
    Weekday(Weekday),
    /// Days from today.
    InDays(i32),
    /// A day of the month, with the month where it was said.
    Date {
        month: Option<i8>,
        day: i8,
    },
    /// Two numbers around a slash; which is the month depends on the writer.
    Slashed(i8, i8),
    Clock {
        hour: i8,
        minute: Option<i8>,
        half: Option<Half>,
    },
    /// From one hour up to another.
    DayPart(i8, i8),
    /// A number without a sign of what it counts.
    Loose(u32),
    /// The place in the list.
    Number(u8),
    /// `1st`, `2nd`, `3rd`: the place in the list or the day of the month.
    Ordinal(u8),
    Last,
    Earliest,
    Latest,
    /// "Any of them".
    Any,
}

impl Mention {
    pub(super) const fn names_a_day(self) -> bool {
        matches!(self, Self::Weekday(_) | Self::InDays(_) | Self::Date { .. } | Self::Slashed(..))
    }

    pub(super) const fn names_a_time(self) -> bool {
        matches!(self, Self::Clock { .. } | Self::DayPart(..))
    }
}

/// A mention and the words that it takes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) mention: Mention,
    pub(super) first: usize,
    pub(super) end: usize,
}

/// Everything said about when, in order.
pub(super) fn mentions(words: &[Word]) -> Vec<Said> {
    let mut said = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let found = Cursor { words, at }.mention();
        let length = found.map_or(1, |(_, length)| length.max(1));
        if let Some((mention, _)) = found {
            said.push(Said { mention, first: at, end: at.saturating_add(length) });
        }
        at = at.saturating_add(length);
    }
    said
}

#[derive(Clone, Copy)]
struct Cursor<'a> {
    words: &'a [Word],
    at: usize,
}

type Found = (Mention, usize);

impl<'a> Cursor<'a> {
    fn word(self, ahead: usize) -> Option<&'a Word> {
        self.words.get(self.at.saturating_add(ahead))
    }

    fn text(self, ahead: usize) -> &'a str {
        self.word(ahead).map_or("", |word| word.text.as_str())
    }

    fn before(self, back: usize) -> &'a str {
        let word = self.at.checked_sub(back).and_then(|at| self.words.get(at));
        word.map_or("", |word| word.text.as_str())
    }

    fn number(self, ahead: usize) -> Option<i8> {
        self.text(ahead).parse().ok()
    }

    fn mention(self) -> Option<Found> {
        let word = self.word(0)?;
        match word.kind {
            WordKind::Digits => self.digits(),
            WordKind::Letters => self
                .named_day()
                .or_else(|| self.month_first())
                .or_else(|| self.day_part())
                .or_else(|| self.place())
                .or_else(|| self.spelled()),
            WordKind::Symbol | WordKind::Mark => None,
        }
    }

    fn digits(self) -> Option<Found> {
        let value: u32 = self.text(0).parse().ok().filter(|value| *value < 10_000)?;
        let small = i8::try_from(value).ok();
        if let Some(found) = small.and_then(|small| self.slashed(small)) {
            return Some(found);
        }
        if let Some(found) = small.and_then(|small| self.clock(small)) {
            return Some(found);
        }
        if let Some(found) = small.and_then(|small| self.date(small)) {
            return Some(found);
        }
        if value >= 100 {
            let hour = i8::try_from(value / 100).ok().filter(|hour| (1..24).contains(hour))?;
            let minute = i8::try_from(value % 100).ok().filter(|minute| *minute < 60)?;
            let (half, length) = self.half(1);
            return Some((Mention::Clock { hour, minute: Some(minute), half }, 1_usize.saturating_add(length)));
        }
        Some((self.counted(value), 1))
    }

    /// `7/26`, `26/7/2026`.
    fn slashed(self, first: i8) -> Option<Found> {
        if self.text(1) != "/" {
            return None;
        }
        let second = self.number(2)?;
        let length =
            if self.text(3) == "/" && self.word(4).is_some_and(|w| w.kind == WordKind::Digits) { 5 } else { 3 };
        Some((Mention::Slashed(first, second), length))
    }

    /// `10:30`, `2pm`, `10 o'clock`, `at 10`, `las 10 y media`.
    fn clock(self, hour: i8) -> Option<Found> {
        if !(0..24).contains(&hour) {
            return None;
        }
        let mut length = 1;
        let mut minute = None;
        if matches!(self.text(1), ":" | ".") {
            minute = Some(self.number(2).filter(|minute| (0..60).contains(minute) && self.text(2).len() == 2)?);
            length = 3;
        } else if self.text(1) == "y" && matches!(self.text(2), "media" | "cuarto") {
            minute = Some(if self.text(2) == "media" { 30 } else { 15 });
            length = 3;
        }
        let (half, more) = self.half(length);
        length = length.saturating_add(more);
        let named = match (self.text(length), self.text(length.saturating_add(1))) {
            ("oclock", _) => 1,
            ("o", "clock") | ("en", "punto") => 2,
            _ => 0,
        };
        let introduced = matches!(self.before(1), "at" | "las") || (self.before(1) == "la" && self.before(2) == "a");
        let is_clock = minute.is_some() || half.is_some() || named > 0 || introduced;
        is_clock.then_some((Mention::Clock { hour, minute, half }, length.saturating_add(named)))
    }

    /// `am`, `p.m.`, a glued `p`; and how many words they are.
    fn half(self, ahead: usize) -> (Option<Half>, usize) {
        let m = self.text(ahead.saturating_add(1)) == "m";
        let glued = self.word(ahead).is_some_and(|word| word.glued);
        match self.text(ahead) {
            "am" => (Some(Half::Am), 1),
            "pm" => (Some(Half::Pm), 1),
            "a" if m => (Some(Half::Am), 2),
            "p" if m => (Some(Half::Pm), 2),
            "a" if glued => (Some(Half::Am), 1),
            "p" if glued => (Some(Half::Pm), 1),
            _ => (None, 0),
        }
    }

    /// `26th`, `26 july`, `26 de julio`.
    fn date(self, day: i8) -> Option<Found> {
        if !(1..=31).contains(&day) {
            return None;
        }
        let ordinal = matches!(self.text(1), "st" | "nd" | "rd" | "th") && self.word(1).is_some_and(|word| word.glued);
        let mut length = if ordinal { 2 } else { 1 };
        let joined = usize::from(matches!(self.text(length), "de" | "of"));
        if let Some(month) = month(self.text(length.saturating_add(joined))) {
            length = length.saturating_add(joined).saturating_add(1);
            return Some((Mention::Date { month: Some(month), day }, length));
        }
        if !ordinal {
            return None;
        }
        let in_a_list = matches!(self.text(2), "one" | "option" | "choice" | "slot" | "time");
        match u8::try_from(day) {
            Ok(number) if in_a_list => Some((Mention::Number(number), 2)),
            Ok(number) if day <= 3 => Some((Mention::Ordinal(number), 2)),
            _ => Some((Mention::Date { month: None, day }, 2)),
        }
    }

    fn counted(self, value: u32) -> Mention {
        let listed = matches!(self.before(1), "option" | "number" | "num" | "opcion" | "numero" | "choice" | "slot");
        match u8::try_from(value) {
            Ok(number) if listed => Mention::Number(number),
            _ => Mention::Loose(value),
        }
    }

    /// A weekday, today, tomorrow.
    fn named_day(self) -> Option<Found> {
        if let Some(weekday) = weekday(self.text(0)) {
            return Some((Mention::Weekday(weekday), 1));
        }
        match (self.text(0), self.text(1)) {
            ("today" | "hoy", _) => Some((Mention::InDays(0), 1)),
            ("pasado", "manana") => Some((Mention::InDays(2), 2)),
            ("tomorrow" | "tmrw" | "tomorow", _) => Some((Mention::InDays(1), 1)),
            ("manana", _) if !matches!(self.before(1), "la" | "buena") => Some((Mention::InDays(1), 1)),
            _ => None,
        }
    }

    /// `july 26`, `july 26th`.
    fn month_first(self) -> Option<Found> {
        let month = month(self.text(0))?;
        let day = self.number(1).filter(|day| (1..=31).contains(day))?;
        let length = if matches!(self.text(2), "st" | "nd" | "rd" | "th") { 3 } else { 2 };
        Some((Mention::Date { month: Some(month), day }, length))
    }

    fn day_part(self) -> Option<Found> {
        let greeting = matches!(self.before(1), "good" | "buena" | "buenas");
        let mention = match self.text(0) {
            _ if greeting => return None,
            "morning" | "am" | "manana" => Mention::DayPart(0, 12),
            "afternoon" | "tarde" => Mention::DayPart(12, 19),
            "pm" => Mention::DayPart(12, 24),
            "evening" | "night" | "tonight" | "noche" => Mention::DayPart(17, 24),
            "noon" | "midday" | "mediodia" => Mention::Clock { hour: 12, minute: None, half: Some(Half::Pm) },
            _ => return None,
        };
        Some((mention, 1))
    }

    /// A place in the list by word.
    fn place(self) -> Option<Found> {
        let mention = match self.text(0) {
            "first" if self.text(1) == "available" => return Some((Mention::Earliest, 2)),
            "first" | "primero" | "primera" => Mention::Number(1),
            "second" | "segundo" | "segunda" => Mention::Number(2),
            "third" | "tercero" | "tercera" => Mention::Number(3),
            "last" | "ultimo" | "ultima" => Mention::Last,
            "earliest" | "soonest" => Mention::Earliest,
            "latest" => Mention::Latest,
            "any" | "either" | "anytime" | "whichever" | "whatever" | "cualquiera" | "cualquier" | "both" => {
                Mention::Any
            }
            _ => return None,
        };
        Some((mention, 1))
    }

    /// `ten`, `las diez`. "One" is a number only where nothing makes it a pronoun ("the second one").
    fn spelled(self) -> Option<Found> {
        let value = spelled_number(self.text(0))?;
        let alone = self.words.len() == 1;
        let listed = matches!(self.before(1), "option" | "number" | "opcion" | "numero" | "at" | "las" | "la");
        if value == 1 && !alone && !listed && self.half(1).0.is_none() {
            return None;
        }
        self.clock(value).or_else(|| Some((self.counted(u32::from(value.unsigned_abs())), 1)))
    }
}

fn weekday(text: &str) -> Option<Weekday> {
    Some(match text {
        "monday" | "mon" | "mondays" | "lunes" | "lun" => Weekday::Monday,
        "tuesday" | "tue" | "tues" | "tuesdays" | "teusday" | "martes" => Weekday::Tuesday,
        "wednesday" | "wed" | "weds" | "wednesdays" | "wensday" | "wednsday" | "miercoles" | "mie" | "mier" => {
            Weekday::Wednesday
        }
        "thursday" | "thu" | "thur" | "thurs" | "thursdays" | "thrusday" | "jueves" | "jue" => Weekday::Thursday,
        "friday" | "fri" | "fridays" | "viernes" | "vie" => Weekday::Friday,
        "saturday" | "sat" | "saturdays" | "sabado" | "sab" => Weekday::Saturday,
        "sunday" | "sun" | "sundays" | "domingo" | "dom" => Weekday::Sunday,
        _ => return None,
    })
}

fn month(text: &str) -> Option<i8> {
    Some(match text {
        "january" | "jan" | "enero" | "ene" => 1,
        "february" | "feb" | "febrero" => 2,
        "march" | "marzo" => 3,
        "april" | "apr" | "abril" | "abr" => 4,
        "may" | "mayo" => 5,
        "june" | "jun" | "junio" => 6,
        "july" | "jul" | "julio" => 7,
        "august" | "aug" | "agosto" | "ago" => 8,
        "september" | "sept" | "sep" | "septiembre" => 9,
        "october" | "oct" | "octubre" => 10,
        "november" | "nov" | "noviembre" => 11,
        "december" | "dec" | "diciembre" | "dic" => 12,
        _ => return None,
    })
}

fn spelled_number(text: &str) -> Option<i8> {
    const ENGLISH: [&str; 12] =
        ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"];
    const SPANISH: [&str; 12] =
        ["una", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve", "diez", "once", "doce"];
    let text = if text == "uno" { "una" } else { text };
    let at = ENGLISH.iter().position(|word| *word == text).or_else(|| SPANISH.iter().position(|word| *word == text))?;
    i8::try_from(at.saturating_add(1)).ok()
}
