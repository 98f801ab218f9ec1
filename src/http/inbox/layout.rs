//! From what the source says to what a template prints: words, clinic times, marks.

use super::clinic_time::{clock, day_and_time, day_label, since, visit_time};
use super::source::{
    Blocked, Body, Composer, Delivery, DeliveryState, DraftCheck, Encoding, Filing, FilingState, TaskView, TextAuthor,
    TextView, ThreadView, Urgency, Viewer, Waiting,
};
use crate::access::{Scope, readers};
use jiff::{Timestamp, Zoned, tz::TimeZone};
use serde::Serialize;

/// A mark with a word: the word is what is read out.
pub(super) struct Mark {
    /// Which symbol of the page's sprite.
    pub(super) symbol: &'static str,
    /// What it means.
    pub(super) word: &'static str,
    /// The sentence behind it.
    pub(super) words: String,
}

/// A line of the thread: a day, or a text.
pub(super) enum Line<'a> {
    /// What follows is of this day.
    Day {
        /// Names the line when the page is brought up to date.
        key: String,
        /// `Today`, or the date.
        label: String,
    },
    /// A text.
    Text(Box<TextLine<'a>>),
}

/// A text, ready to be printed.
pub(super) struct TextLine<'a> {
    pub(super) id: String,
    /// `in` or `out`, and who wrote it, as a style class.
    pub(super) class: &'static str,
    pub(super) author: &'a str,
    /// What the program wrote for.
    pub(super) kind: &'a str,
    pub(super) time: String,
    pub(super) instant: String,
    pub(super) text: Option<&'a str>,
    /// In place of a text that is not shown.
    pub(super) placeholder: Option<String>,
    pub(super) media: u32,
    pub(super) delivery: Option<Mark>,
    pub(super) filing: Mark,
    pub(super) reading: Option<ReadingLine<'a>>,
    /// Nobody knows whether it left.
    pub(super) unknown: bool,
}

/// How the machine read a text.
pub(super) struct ReadingLine<'a> {
    pub(super) label: &'a str,
    pub(super) reason: &'a str,
    pub(super) urgency: Option<Mark>,
}

/// A task, ready to be printed.
pub(super) struct TaskLine<'a> {
    pub(super) id: String,
    pub(super) team: &'static str,
    pub(super) reason: &'a str,
    pub(super) urgency: Option<Mark>,
    pub(super) since: String,
    pub(super) about: Option<String>,
}

/// That something waits on the worklist.
pub(super) struct WaitingLine {
    pub(super) words: String,
    pub(super) urgency: Option<Mark>,
}

/// The next visit, ready to be printed.
pub(super) struct VisitLine<'a> {
    pub(super) when: String,
    pub(super) instant: String,
    pub(super) with: &'a str,
    pub(super) confirmed: bool,
}

/// Why no reply may leave, and what to do instead.
#[derive(Clone, Copy)]
pub(super) struct BlockedLine {
    pub(super) code: &'static str,
    pub(super) reason: &'static str,
    pub(super) instead: &'static str,
}

/// The parts of the page that change by themselves.
pub(super) struct Live<'a> {
    pub(super) view: &'a ThreadView,
    pub(super) name: &'a str,
    pub(super) first_name: &'a str,
    pub(super) details: &'a str,
    pub(super) language: &'static str,
    pub(super) visit: Option<VisitLine<'a>>,
    pub(super) consent: String,
    pub(super) stopped: Option<String>,
    pub(super) shared: Option<String>,
    pub(super) tasks: Vec<TaskLine<'a>>,
    pub(super) waiting: Option<WaitingLine>,
    /// As of when the system was restored, while texts are held for that.
    pub(super) restored: Option<String>,
    pub(super) lines: Vec<Line<'a>>,
    pub(super) blocked: Option<BlockedLine>,
    pub(super) notes: Vec<String>,
    pub(super) quiet: Option<String>,
    pub(super) zone: String,
    pub(super) form_token: &'a str,
    /// Where the pages of this launch are.
    pub(super) at: String,
}

impl<'a> Live<'a> {
    /// Lays a thread out as seen at `now` in `zone`.
    pub(super) fn of(view: &'a ThreadView, zone: &TimeZone, now: Timestamp, viewer: &'a Viewer) -> Self {
        let (blocked, notes, quiet) = match &view.composer {
            Composer::Blocked(why) => (Some(blocked(*why)), Vec::new(), None),
            Composer::Open { quiet_until, warnings } => {
                (None, warnings.clone(), quiet_until.map(|until| day_and_time(until, now, zone)))
            }
        };
        Self {
            name: view.patient.name.as_str(),
            first_name: view.patient.first_name.as_str(),
            details: view.patient.details.as_str(),
            language: match view.patient.language {
                crate::kernel::Language::English => "English",
                crate::kernel::Language::Spanish => "Spanish",
            },
            visit: view.next_visit.as_ref().map(|visit| VisitLine {
                when: visit_time(visit.at, now, zone),
                instant: visit.at.to_string(),
                with: visit.with.as_str(),
                confirmed: visit.confirmed,
            }),
            consent: consent(view),
            stopped: view.consent.stopped_since.map(|since| day_and_time(since, now, zone)),
            shared: shared(view.shared_with),
            tasks: view.tasks.iter().map(|task| task_line(task, now)).collect(),
            waiting: waiting(view.waiting),
            restored: view.restored_as_of.map(|as_of| day_and_time(as_of, now, zone)),
            lines: lines(&view.texts, now, zone),
            blocked,
            notes,
            quiet,
            zone: now.to_zoned(zone.clone()).strftime("%Z").to_string(),
            form_token: viewer.session.form_token(),
            at: viewer.address(),
            view,
        }
    }
}

fn waiting(waiting: Waiting) -> Option<WaitingLine> {
    let words = match waiting.tasks {
        0 => return None,
        1 => "1 item waits without a patient".to_owned(),
        several => format!("{several} items wait without a patient"),
    };
    Some(WaitingLine { words, urgency: waiting.urgency.and_then(urgency) })
}

fn consent(view: &ThreadView) -> String {
    if view.consent.granted.is_empty() { "none on file".to_owned() } else { view.consent.granted.join(", ") }
}

fn shared(others: u32) -> Option<String> {
    match others {
        0 => None,
        1 => Some("Shared number: another patient has it too.".to_owned()),
        others => Some(format!("Shared number: {others} other patients have it too.")),
    }
}

fn lines<'a>(texts: &'a [TextView], now: Timestamp, zone: &TimeZone) -> Vec<Line<'a>> {
    let mut lines = Vec::with_capacity(texts.len() + 4);
    let mut day = None;
    for text in texts {
        let at = text.at.to_zoned(zone.clone());
        if day != Some(at.date()) {
            day = Some(at.date());
            lines.push(Line::Day { key: format!("day-{}", at.date()), label: day_label(&at, now, zone) });
        }
        lines.push(Line::Text(Box::new(text_line(text, &at))));
    }
    lines
}

fn text_line<'a>(text: &'a TextView, at: &Zoned) -> TextLine<'a> {
    let (class, author, kind) = match &text.author {
        TextAuthor::Patient => ("in patient", "", ""),
        TextAuthor::Staff(name) => ("out staff", name.as_str(), ""),
        TextAuthor::System(what) => ("out system", "Automatic", what.as_str()),
    };
    let time = clock(at);
    let (shown, placeholder) = match &text.body {
        Body::Text(words) => (Some(words.as_str()), None),
        Body::Redacted(scope) => (None, Some(redacted(*scope, &time))),
        Body::ToBeRendered => (None, Some("Its words are chosen at the moment it leaves.".to_owned())),
    };
    TextLine {
        id: text.id.to_string(),
        class,
        author,
        kind,
        instant: text.at.to_string(),
        text: shown,
        placeholder,
        media: text.media,
        delivery: text.delivery.as_ref().map(delivery),
        filing: filing(&text.filing),
        reading: text.reading.as_ref().map(|reading| ReadingLine {
            label: reading.label.as_str(),
            reason: reading.reason.as_str(),
            urgency: urgency(reading.urgency),
        }),
        unknown: text.delivery.as_ref().is_some_and(|delivery| delivery.state == DeliveryState::Unknown),
        time,
    }
}

/// `Clinical message, 10:42 AM. Nurses and providers can read it.`
pub(super) fn redacted(scope: Scope, time: &str) -> String {
    let mut people = readers(scope).into_iter().map(|role| role.people().to_lowercase()).collect::<Vec<_>>();
    let last = people.pop().unwrap_or_default();
    let people = if people.is_empty() { last } else { format!("{} and {last}", people.join(", ")) };
    let mut letters = people.chars();
    let people: String = letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect();
    format!("{}, {time}. {people} can read it.", scope.message_name())
}

fn delivery(delivery: &Delivery) -> Mark {
    let (symbol, word) = match delivery.state {
        DeliveryState::Waiting => ("clock", "Waiting"),
        DeliveryState::Sending => ("arrow", "Sending"),
        DeliveryState::Sent => ("check", "Sent"),
        DeliveryState::Delivered => ("checks", "Delivered"),
        DeliveryState::NotDelivered => ("cross", "Not delivered"),
        DeliveryState::Dropped => ("cross", "Not sent"),
        DeliveryState::Unknown => ("question", "Not known whether sent"),
    };
    Mark { symbol, word, words: delivery.words.clone() }
}

fn filing(filing: &Filing) -> Mark {
    let (symbol, word) = match filing.state {
        FilingState::Filed => ("page", "In chart"),
        FilingState::Waiting => ("clock", "Chart waiting"),
        FilingState::Refused => ("cross", "Not in chart"),
    };
    Mark { symbol, word, words: filing.words.clone() }
}

pub(super) fn urgency(urgency: Urgency) -> Option<Mark> {
    match urgency {
        Urgency::Routine => None,
        Urgency::Prompt => Some(Mark { symbol: "triangle", word: "Prompt", words: String::new() }),
        Urgency::Emergency => Some(Mark { symbol: "octagon", word: "Emergency", words: String::new() }),
    }
}

fn task_line(task: &TaskView, now: Timestamp) -> TaskLine<'_> {
    TaskLine {
        id: task.id.to_string(),
        team: task.team.name(),
        reason: task.reason.as_str(),
        urgency: urgency(task.urgency),
        since: since(task.since, now),
        about: task.about.map(|text| text.to_string()),
    }
}

const fn blocked(why: Blocked) -> BlockedLine {
    let (code, reason, instead) = match why {
        Blocked::Stopped => (
            "stopped",
            "This number replied STOP, so no text may leave.",
            "Call instead. START from the phone opens it again.",
        ),
        Blocked::NoConsent => {
            ("no-consent", "There is no consent to texts on file.", "Ask at the desk or by phone and record it.")
        }
        Blocked::NoNumber => {
            ("no-number", "No number on file takes texts.", "Call, or add a mobile number in the EHR.")
        }
        Blocked::ReadOnly => {
            ("read-only", "Your role reads this thread and does not answer it.", "Hand it to the team.")
        }
        Blocked::Recovering => (
            "recovering",
            "The system was restored from a backup, and texts are held until that is finished.",
            "Call if it cannot wait. What patients text meanwhile is received and shown here.",
        ),
        Blocked::Deceased => ("deceased", "The chart says that the patient has died.", "No text may leave."),
    };
    BlockedLine { code, reason, instead }
}

/// What the script (or the page) hears about a text that is being written.
#[derive(Serialize)]
pub(super) struct CheckAnswer {
    pub(super) segments: u32,
    pub(super) encoding: &'static str,
    /// The line under the box.
    pub(super) line: String,
    pub(super) findings: Vec<FindingLine>,
    pub(super) neutral: Option<String>,
    pub(super) blocked_reason: Option<&'static str>,
    /// Until when it waits, unless sent at once.
    pub(super) quiet_until: Option<String>,
    pub(super) may_send: bool,
}

/// Words that must not leave.
#[derive(Serialize)]
pub(super) struct FindingLine {
    pub(super) category: &'static str,
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) advice: String,
}

impl CheckAnswer {
    /// The reply was sent off after too many others.
    pub(super) fn too_many(seconds: u32) -> Self {
        Self {
            segments: 0,
            encoding: "GSM-7",
            line: format!("Not sent off: too many replies within a minute. Try again in {seconds} seconds."),
            findings: Vec::new(),
            neutral: None,
            blocked_reason: None,
            quiet_until: None,
            may_send: true,
        }
    }

    pub(super) fn of(check: &DraftCheck, zone: &TimeZone, now: Timestamp) -> Self {
        let findings: Vec<FindingLine> = check
            .findings
            .iter()
            .map(|finding| FindingLine {
                category: finding.category,
                start: finding.start,
                end: finding.end,
                advice: finding.advice.clone(),
            })
            .collect();
        let may_send = findings.is_empty() && check.blocked.is_none();
        let quiet_until = check.quiet_until.map(|until| day_and_time(until, now, zone));
        Self {
            segments: check.segments,
            encoding: match check.encoding {
                Encoding::Gsm7 => "GSM-7",
                Encoding::Ucs2 => "UCS-2",
            },
            line: check_line(check, may_send, quiet_until.as_deref()),
            findings,
            neutral: check.neutral.as_ref().map(|neutral| neutral.as_str().to_owned()),
            blocked_reason: check.blocked.map(|why| blocked(why).reason),
            quiet_until,
            may_send,
        }
    }
}

fn check_line(check: &DraftCheck, may_send: bool, quiet_until: Option<&str>) -> String {
    let segments = match check.segments {
        1 => "1 segment".to_owned(),
        segments => format!("{segments} segments"),
    };
    let encoding = match check.encoding {
        Encoding::Gsm7 => "",
        Encoding::Ucs2 => ", shorter ones because of special characters",
    };
    let verdict = match (may_send, quiet_until) {
        (false, _) => "cannot leave like this".to_owned(),
        (true, None) => "OK to send".to_owned(),
        (true, Some(until)) => format!("quiet hours, leaves {until}"),
    };
    format!("{segments}{encoding} · {verdict}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_back_text_says_who_may_read_it() {
        assert_eq!(
            redacted(Scope::Clinical, "10:42 AM"),
            "Clinical message, 10:42 AM. Nurses and providers can read it."
        );
    }
}
