//! The layers of a reading, in their order; [`super::conclusion`] makes one reading of what they find.

use super::answer::{Meaning, meaning};
use super::compliance;
use super::label::{Compliance, Context, EmergencyKind, Intent, Sentiment, SlotAnswer};
use super::lexicon::{Answer, IntentRule, Place, READER, ReaderData};
use super::negation::Standing;
use super::reaction::{Reaction, reaction};
use super::slot::{Choice, choice};
use super::{Question, Reading};
use crate::kernel::Language;
use crate::kernel::phrase::PhraseMatch;
use crate::kernel::words::{Word, WordKind, words};

pub(super) fn read(text: &str, question: &Question<'_>, hint: Language, number_is_stopped: bool) -> Reading {
    let data = &*READER;
    let (reaction, text) = match reaction(text) {
        Some(found) => (Some(found), found.rest),
        None => (None, text),
    };
    let words = words(text);
    let mut draft = Draft::new(data, question, &words);
    if let Some(found) = reaction {
        draft.react(found);
    }
    if let Some(keyword) = compliance::keyword(&words, number_is_stopped) {
        return draft.keyword(keyword).finish(hint, text);
    }
    draft.emergencies();
    draft.wishes();
    let answered = draft.answers();
    draft.slots(answered);
    draft.phrases();
    draft.mood();
    draft.finish(hint, text)
}

/// One thing that the text says.
pub(super) struct Saying {
    pub(super) intent: Intent,
    pub(super) certain: bool,
    pub(super) weak: bool,
}

/// What the layers have found so far.
pub(super) struct Draft<'a> {
    pub(super) data: &'static ReaderData,
    pub(super) question: &'a Question<'a>,
    pub(super) words: &'a [Word],
    /// Which words belong to something that was read.
    pub(super) covered: Vec<bool>,
    pub(super) sayings: Vec<Saying>,
    pub(super) rules: Vec<&'static str>,
    pub(super) doubts: Vec<&'static str>,
    pub(super) emergency: Option<EmergencyKind>,
    pub(super) compliance: Option<Compliance>,
    pub(super) slot: Option<SlotAnswer>,
    pub(super) sentiment: Sentiment,
    pub(super) reacted: bool,
    /// The phrases that made it an emergency.
    pub(super) urgent: Vec<PhraseMatch>,
}

impl<'a> Draft<'a> {
    fn new(data: &'static ReaderData, question: &'a Question<'a>, words: &'a [Word]) -> Self {
        Self {
            data,
            question,
            words,
            covered: vec![false; words.len()],
            sayings: Vec::new(),
            rules: Vec::new(),
            doubts: Vec::new(),
            emergency: None,
            compliance: None,
            slot: None,
            sentiment: Sentiment::Neutral,
            reacted: false,
            urgent: Vec::new(),
        }
    }

    fn say(&mut self, intent: Intent, certain: bool, weak: bool, rule: &'static str) {
        self.sayings.push(Saying { intent, certain, weak });
        self.note(rule);
    }

    fn note(&mut self, rule: &'static str) {
        if !self.rules.contains(&rule) {
            self.rules.push(rule);
        }
    }

    pub(super) fn doubt(&mut self, doubt: &'static str) {
        if !self.doubts.contains(&doubt) {
            self.doubts.push(doubt);
        }
    }

    fn cover(&mut self, first: usize, end: usize) {
        for covered in self.covered.iter_mut().take(end).skip(first) {
            *covered = true;
        }
    }

    fn says(&self, intent: Intent) -> bool {
        self.sayings.iter().any(|saying| saying.intent == intent)
    }

    /// A like of the reminder confirms it; of anything that asks for more than that, a person decides.
    fn react(&mut self, reaction: Reaction<'_>) {
        self.reacted = true;
        let (intent, certain) = match self.question.context {
            Context::AppointmentReminder if reaction.approves && !self.question.cancel_pending => {
                (Intent::Confirm, true)
            }
            Context::None | Context::LabReady if reaction.approves => (Intent::ThanksSmalltalk, true),
            _ => (Intent::Other, false),
        };
        self.say(intent, certain, true, if reaction.approves { "reaction.approves" } else { "reaction.other" });
    }

    /// The whole text is a keyword: nothing else is read into it.
    fn keyword(mut self, keyword: Compliance) -> Self {
        self.compliance = Some(keyword);
        self.cover(0, self.words.len());
        self.sayings.clear();
        let (intent, rule) = match keyword {
            Compliance::OptOut => (Intent::OptOut, "compliance.opt_out"),
            Compliance::OptIn => (Intent::OptIn, "compliance.opt_in"),
            Compliance::Help => (Intent::Help, "compliance.help"),
        };
        self.say(intent, true, false, rule);
        let bare_cancel = compliance::whole_body(self.words).is_some_and(|body| body == "cancel");
        let about_a_visit = matches!(self.question.context, Context::AppointmentReminder | Context::RescheduleOffer);
        if bare_cancel && about_a_visit {
            self.say(Intent::Cancel, false, false, "compliance.cancel");
        }
        self
    }

    fn emergencies(&mut self) {
        for (rule, found) in self.data.emergencies.find(self.words) {
            match self.data.negation.standing(self.words, found, rule.negatable) {
                Standing::Stands => {
                    self.cover(found.first, found.end);
                    self.urgent.push(found);
                    self.say(Intent::ClinicalConcern, false, false, &rule.id);
                    self.emergency = Some(self.emergency.map_or(rule.kind, |kind| kind.min(rule.kind)));
                }
                _ => self.doubt("doubt.emergency_denied"),
            }
        }
    }

    fn wishes(&mut self) {
        let found = self.data.wishes.find(self.words);
        for (rule, found) in found {
            if rule.place == Place::End && !self.closes(found.end) {
                continue;
            }
            if self.data.negation.standing(self.words, found, rule.negatable) != Standing::Stands {
                self.doubt("doubt.wish_denied");
                continue;
            }
            self.cover(found.first, found.end);
            if rule.certain && rule.intent == Intent::OptOut {
                self.compliance = Some(Compliance::OptOut);
            }
            self.say(rule.intent, rule.certain, false, &rule.id);
        }
        // A certain opt-out makes the probable one beside it certain too.
        if self.compliance == Some(Compliance::OptOut) {
            for saying in &mut self.sayings {
                saying.certain = saying.certain || saying.intent == Intent::OptOut;
            }
        }
    }

    /// Whether nothing but courtesy follows within the clause that ends before `end`.
    fn closes(&self, end: usize) -> bool {
        let rest = self.words.get(end..).unwrap_or_default();
        let clause = rest.iter().position(|word| word.opens_clause).unwrap_or(rest.len());
        let closing = [
            "please", "pls", "plz", "thanks", "thank", "you", "now", "anymore", "again", "por", "favor", "gracias",
            "ya", "already", "thx",
        ];
        rest.iter().take(clause).all(|word| word.is_any(&closing) || word.kind == WordKind::Symbol)
    }

    /// Reads the short answer at the start, past a greeting; returns where it ends.
    fn answers(&mut self) -> usize {
        let start = self.greeting_end();
        let offer = self.question.context == Context::RescheduleOffer;
        let mut best: Option<(Answer, &'static str, PhraseMatch)> = None;
        for (rule, found) in self.data.answers.find(self.words) {
            let none_of_these = offer && rule.answer == Answer::None;
            if !none_of_these && (found.first != start || !self.is_lead(found)) {
                continue;
            }
            self.cover(found.first, found.end);
            // "No, ninguna": the fuller answer says what the short one means.
            let weight = |answer: Answer, found: PhraseMatch| (answer == Answer::None, found.len());
            if best.is_none_or(|(answer, _, other)| weight(rule.answer, found) > weight(answer, other)) {
                best = Some((rule.answer, rule.id.as_str(), found));
            }
        }
        let Some((answer, rule, found)) = best else { return start };
        let Meaning { intent, certain, weak, slot } = meaning(answer, self.question);
        self.say(intent, certain, weak, rule);
        self.slot = slot;
        found.end
    }

    fn greeting_end(&self) -> usize {
        let courtesy = self.data.moods.courtesy.find(self.words);
        let mut start = 0;
        while let Some(end) = courtesy.iter().filter(|found| found.first == start).map(|found| found.end).max() {
            start = end;
        }
        start
    }

    fn is_lead(&self, found: PhraseMatch) -> bool {
        self.words.get(found.end).is_none_or(|next| {
            next.opens_clause || next.kind == WordKind::Symbol || self.data.connectors.contains(&next.text)
        })
    }

    fn slots(&mut self, answered: usize) {
        let none_fits = self.slot == Some(SlotAnswer::NoneOfThese) && self.sayings.iter().all(|saying| !saying.weak);
        if self.question.context != Context::RescheduleOffer || none_fits {
            return;
        }
        let Question { offered, today, .. } = *self.question;
        match choice(self.words, answered, offered, today, &self.data.negation) {
            Choice::Silent => {}
            Choice::Bounded => {
                self.slot = None;
                self.doubt("doubt.slot_bounded");
            }
            Choice::Made(answer, said) => {
                for said in said {
                    self.cover(said.first, said.end);
                }
                match &answer {
                    Some(SlotAnswer::Picked(_)) => self.say(Intent::SlotChoice, true, false, "slot.picked"),
                    Some(SlotAnswer::NotOffered) => self.say(Intent::Reschedule, true, false, "slot.not_offered"),
                    Some(_) => self.say(Intent::SlotChoice, false, false, "slot.ambiguous"),
                    None => self.say(Intent::SlotChoice, false, false, "slot.without_list"),
                }
                self.slot = answer;
            }
        }
    }

    fn phrases(&mut self) {
        let found = self.data.phrases.find(self.words);
        let spans: Vec<PhraseMatch> = found.iter().map(|(_, span)| *span).collect();
        for (rule, span) in found {
            let within_longer = |other: &PhraseMatch| other.covers(&span) && other.len() > span.len();
            let silent = rule.not_in.contains(&self.question.context);
            if silent
                || spans.iter().chain(&self.urgent).any(within_longer)
                || (rule.place == Place::End && !self.closes(span.end))
            {
                continue;
            }
            match self.data.negation.standing(self.words, span, rule.negatable) {
                Standing::Stands => self.phrase(rule, span),
                // "No concerns" was read as an answer of its own.
                Standing::Denied if self.denial_was_read(span) => {}
                _ => self.doubt("doubt.denied"),
            }
        }
    }

    fn denial_was_read(&self, span: PhraseMatch) -> bool {
        let from = self.data.negation.negator_before(self.words, span.first).unwrap_or(span.first);
        self.covered.get(from..span.end).is_some_and(|words| words.iter().all(|covered| *covered))
    }

    fn phrase(&mut self, rule: &'static IntentRule, span: PhraseMatch) {
        self.cover(span.first, span.end);
        let about_slot = self.slot.is_some() || self.says(Intent::SlotChoice);
        if about_slot && rule.intent == Intent::Confirm {
            // "Thursday works for me": agreement with the time, not with the visit as it stands.
            return;
        }
        let asked_whether_to_drop = self.question.cancel_pending && rule.intent == Intent::Confirm;
        let keeps = self.words.get(span.first).is_some_and(|word| word.is("keep"));
        let in_context = rule.contexts.contains(&self.question.context);
        let certain = rule.certain && in_context && (!asked_whether_to_drop || keeps);
        self.say(rule.intent, certain, false, &rule.id);
    }

    fn mood(&mut self) {
        let moods = &self.data.moods;
        let shown = |phrases: &super::lexicon::Phrases| {
            phrases
                .find(self.words)
                .into_iter()
                .any(|found| self.data.negation.negator_before(self.words, found.first).is_none())
        };
        self.sentiment = if shown(&moods.angry) {
            Sentiment::Angry
        } else if shown(&moods.anxious) {
            Sentiment::Anxious
        } else if shown(&moods.positive) {
            Sentiment::Positive
        } else {
            Sentiment::Neutral
        };
        let courtesy = moods.courtesy.find(self.words);
        for found in &courtesy {
            self.cover(found.first, found.end);
        }
        if self.sayings.is_empty() && !courtesy.is_empty() {
            self.say(Intent::ThanksSmalltalk, true, true, "courtesy");
        }
    }
}
