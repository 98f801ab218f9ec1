//! The layers of a reading, and how their findings become one.

use super::answer::{Meaning, meaning};
use super::compliance;
use super::label::{Certainty, Compliance, Context, EmergencyKind, Intent, Sentiment, SlotAnswer, Urgency};
use super::language::language;
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
struct Saying {
    intent: Intent,
    certain: bool,
    weak: bool,
}

struct Draft<'a> {
    data: &'static ReaderData,
    question: &'a Question<'a>,
    words: &'a [Word],
    /// Which words belong to something that was read.
    covered: Vec<bool>,
    sayings: Vec<Saying>,
    rules: Vec<&'static str>,
    doubts: Vec<&'static str>,
    emergency: Option<EmergencyKind>,
    compliance: Option<Compliance>,
    slot: Option<SlotAnswer>,
    sentiment: Sentiment,
    reacted: bool,
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

    fn doubt(&mut self, doubt: &'static str) {
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
        if bare_cancel && self.question.context == Context::AppointmentReminder {
            self.say(Intent::Cancel, false, false, "compliance.cancel");
        }
        self
    }

    fn emergencies(&mut self) {
        for (rule, found) in self.data.emergencies.find(self.words) {
            match self.data.negation.standing(self.words, found, rule.negatable) {
                Standing::Stands => {
                    self.cover(found.first, found.end);
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
            if spans.iter().any(within_longer) || (rule.place == Place::End && !self.closes(span.end)) {
                continue;
            }
            match self.data.negation.standing(self.words, span, rule.negatable) {
                Standing::Stands => self.phrase(rule, span),
                _ => self.doubt("doubt.denied"),
            }
        }
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

    fn finish(mut self, hint: Language, text: &str) -> Reading {
        self.yield_weak();
        let mut intents: Vec<Intent> = self.sayings.iter().map(|saying| saying.intent).collect();
        intents.sort_unstable();
        intents.dedup();
        if intents.contains(&Intent::AdverseEvent) {
            intents.retain(|intent| *intent != Intent::ClinicalConcern);
        }
        if intents.iter().any(|intent| !matches!(intent, Intent::Other | Intent::ThanksSmalltalk)) {
            intents.retain(|intent| !matches!(intent, Intent::Other | Intent::ThanksSmalltalk));
        }
        self.look_for_doubt(&intents, text);
        if intents.is_empty() {
            intents.push(Intent::Other);
        }
        if intents.len() > 1 {
            intents.retain(|intent| *intent != Intent::ThanksSmalltalk);
        }
        let urgency = match self.emergency {
            Some(kind) => Urgency::Emergency(kind),
            None if intents.iter().any(|intent| intent.is_clinical() || *intent == Intent::AdherenceNo) => {
                Urgency::Prompt
            }
            None => Urgency::Routine,
        };
        let certainty = if self.doubts.is_empty() { Certainty::Certain } else { Certainty::Unsure };
        self.rules.extend(&self.doubts);
        Reading {
            slot: self.slot,
            compliance: self.compliance,
            urgency,
            sentiment: self.sentiment,
            language: language(self.words, hint),
            certainty,
            rules: self.rules,
            reader_version: &self.data.version,
            intents,
        }
    }

    /// "Yes" and "no" give way to anything more definite beside them.
    fn yield_weak(&mut self) {
        let definite = |saying: &Saying| {
            use Intent::{
                AdherenceNo, AdherenceYes, Cancel, Confirm, IntakeNo, IntakeYes, OptOut, Refill, Reschedule,
                SlotChoice, WrongNumber,
            };
            let decides = matches!(
                saying.intent,
                Confirm
                    | Reschedule
                    | Cancel
                    | SlotChoice
                    | Refill
                    | IntakeYes
                    | IntakeNo
                    | AdherenceYes
                    | AdherenceNo
                    | OptOut
                    | WrongNumber
            );
            decides && !saying.weak
        };
        if self.sayings.iter().any(definite) {
            self.sayings.retain(|saying| !saying.weak);
        }
    }

    fn look_for_doubt(&mut self, intents: &[Intent], text: &str) {
        if intents.is_empty() {
            self.doubt("doubt.nothing_read");
        }
        if self.sayings.iter().any(|saying| !saying.certain && saying.intent != Intent::Cancel) || self.unsure_cancel()
        {
            self.doubt("doubt.needs_person");
        }
        let plans = [Intent::Confirm, Intent::Reschedule, Intent::Cancel, Intent::SlotChoice];
        if intents.iter().filter(|intent| plans.contains(intent)).count() > 1 {
            self.doubt("doubt.contradiction");
        }
        let may_ask =
            [Intent::Reschedule, Intent::SlotChoice, Intent::Cancel, Intent::OptOut, Intent::Help, Intent::Refill];
        if text.contains(['?', '¿']) && intents.iter().any(|intent| !may_ask.contains(intent)) {
            self.doubt("doubt.question");
        }
        if self.has_unread_words(intents) {
            self.doubt("doubt.words_not_read");
        }
    }

    /// A cancellation outside a reminder needs a person; beside a bare CANCEL it is a task that staff gets anyway.
    fn unsure_cancel(&self) -> bool {
        let keyword = self.compliance.is_some();
        self.sayings.iter().any(|saying| saying.intent == Intent::Cancel && !saying.certain && !keyword)
    }

    fn has_unread_words(&self, intents: &[Intent]) -> bool {
        let fillers = &self.data.fillers;
        let idle = |word: &Word| {
            fillers.always.contains(&word.text)
                || intents.iter().any(|intent| match intent {
                    Intent::Reschedule => {
                        fillers.reschedule.contains(&word.text)
                            || matches!(word.kind, WordKind::Digits | WordKind::Mark)
                    }
                    Intent::SlotChoice => fillers.slot_choice.contains(&word.text),
                    Intent::Cancel => fillers.cancel.contains(&word.text),
                    Intent::Refill => fillers.refill.contains(&word.text),
                    Intent::OptOut => fillers.opt_out.contains(&word.text),
                    Intent::IntakeNo | Intent::IntakeYes | Intent::AdherenceYes | Intent::AdherenceNo => {
                        fillers.answer.contains(&word.text)
                    }
                    _ => false,
                })
        };
        let nothing_at_all = self.words.is_empty() && !self.reacted;
        nothing_at_all || self.words.iter().zip(&self.covered).any(|(word, covered)| !covered && !idle(word))
    }
}
