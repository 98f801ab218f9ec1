//! The lexicon files of `data/lexicons/intent/`, compiled in and read once.
//!
//! Owns their formats. A file that cannot be read is a defect of the build, not of a running service: the tests of this
//! module read every file, and a process that carries a broken one stops at its first use instead of reading replies
//! with half a lexicon.

use std::collections::HashSet;
use std::sync::LazyLock;

use serde::Deserialize;

use super::label::{Context, EmergencyKind, Intent};
use crate::kernel::phrase::{Lexicon, PhraseError, PhraseMatch};
use crate::kernel::words::{Word, folded};

const COMPLIANCE: &str = include_str!("../../data/lexicons/intent/compliance.toml");
const OPT_OUT: &str = include_str!("../../data/lexicons/intent/opt_out.toml");
const EMERGENCY: &str = include_str!("../../data/lexicons/intent/emergency.toml");
const NEGATION: &str = include_str!("../../data/lexicons/intent/negation.toml");
const PHRASES: &str = include_str!("../../data/lexicons/intent/phrases.toml");
const ANSWERS: &str = include_str!("../../data/lexicons/intent/answers.toml");
const FILLERS: &str = include_str!("../../data/lexicons/intent/fillers.toml");
const SENTIMENT: &str = include_str!("../../data/lexicons/intent/sentiment.toml");
const REACTIONS: &str = include_str!("../../data/lexicons/intent/reactions.toml");
const FILES: [&str; 9] = [COMPLIANCE, OPT_OUT, EMERGENCY, NEGATION, PHRASES, ANSWERS, FILLERS, SENTIMENT, REACTIONS];

/// The version of the rules in code; raised when their meaning changes.
const RULES: &str = "rules-1";

/// Everything that the reader knows, and the version that is recorded with each reading.
pub(super) static READER: LazyLock<ReaderData> = LazyLock::new(|| match ReaderData::load() {
    Ok(data) => data,
    Err(error) => panic!("a lexicon in data/lexicons/intent is malformed: {error}"),
});

/// Why a lexicon file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum LexiconError {
    #[error(transparent)]
    Toml(#[from] toml::de::Error),
    #[error(transparent)]
    Phrase(#[from] PhraseError),
}

/// Where in a text a phrase counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place {
    #[default]
    Anywhere,
    /// Only where a clause ends after it.
    End,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IntentRule {
    pub(super) id: String,
    pub(super) intent: Intent,
    /// May be acted on without a person, in its contexts.
    #[serde(default)]
    pub(super) certain: bool,
    #[serde(default = "yes")]
    pub(super) negatable: bool,
    #[serde(default)]
    pub(super) place: Place,
    /// Empty: every context.
    #[serde(default)]
    pub(super) contexts: Vec<Context>,
    /// Where the same words mean something else and the rule is silent.
    #[serde(default)]
    pub(super) not_in: Vec<Context>,
    phrases: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EmergencyRule {
    pub(super) id: String,
    pub(super) kind: EmergencyKind,
    #[serde(default = "yes")]
    pub(super) negatable: bool,
    phrases: Vec<String>,
}

/// A short answer, before the question gives it its meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    LetterC,
    LetterR,
    LetterN,
    Yes,
    Acknowledged,
    No,
    NothingNew,
    None,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnswerRule {
    pub(super) id: String,
    pub(super) answer: Answer,
    phrases: Vec<String>,
}

const fn yes() -> bool {
    true
}

/// A lexicon whose rules carry data.
pub(super) struct Rules<R> {
    lexicon: Lexicon,
    rules: Vec<R>,
}

impl<R> Rules<R> {
    fn new(rules: Vec<R>, phrases: impl Fn(&R) -> &[String]) -> Result<Self, LexiconError> {
        let mut lexicon = Lexicon::new();
        for (index, rule) in rules.iter().enumerate() {
            for phrase in phrases(rule) {
                lexicon.add(phrase, index)?;
            }
        }
        Ok(Self { lexicon, rules })
    }

    /// Every place where a rule's phrase stands.
    pub(super) fn find<'a>(&'a self, words: &[Word]) -> Vec<(&'a R, PhraseMatch)> {
        let found = self.lexicon.find(words);
        found.into_iter().filter_map(|found| Some((self.rules.get(found.rule)?, found))).collect()
    }
}

/// Phrases of one meaning.
pub(super) struct Phrases(Lexicon);

impl Phrases {
    fn new(phrases: &[String]) -> Result<Self, LexiconError> {
        let mut lexicon = Lexicon::new();
        for phrase in phrases {
            lexicon.add(phrase, 0)?;
        }
        Ok(Self(lexicon))
    }

    pub(super) fn find(&self, words: &[Word]) -> Vec<PhraseMatch> {
        self.0.find(words)
    }

    pub(super) fn occurs(&self, words: &[Word]) -> bool {
        !self.find(words).is_empty()
    }
}

/// Whole texts that are final.
pub(super) struct ComplianceWords {
    pub(super) opt_out: HashSet<String>,
    pub(super) opt_in: HashSet<String>,
    pub(super) opt_in_when_stopped: HashSet<String>,
    pub(super) help: HashSet<String>,
}

/// The words around a phrase that change what it says.
pub(super) struct Negation {
    pub(super) negators: HashSet<String>,
    pub(super) answer_followers: HashSet<String>,
    pub(super) not_denying: HashSet<String>,
    pub(super) turns: HashSet<String>,
    pub(super) resolved: Phrases,
    pub(super) continuing: Phrases,
    pub(super) hypothetical: Phrases,
    pub(super) other_person: Phrases,
}

/// Words that change nothing, by what else the text says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Fillers {
    pub(super) always: HashSet<String>,
    /// Assent: idle unless the reply said no.
    pub(super) affirmative: HashSet<String>,
    pub(super) reschedule: HashSet<String>,
    pub(super) slot_choice: HashSet<String>,
    pub(super) cancel: HashSet<String>,
    pub(super) refill: HashSet<String>,
    pub(super) opt_out: HashSet<String>,
    pub(super) answer: HashSet<String>,
}

/// Moods and courtesy.
pub(super) struct Moods {
    pub(super) angry: Phrases,
    pub(super) anxious: Phrases,
    pub(super) positive: Phrases,
    pub(super) courtesy: Phrases,
}

/// How phones word a reaction.
pub(super) struct Reactions {
    pub(super) approving: Phrases,
    pub(super) other: Phrases,
}

pub(super) struct ReaderData {
    pub(super) version: String,
    pub(super) compliance: ComplianceWords,
    /// Opt-out, opt-in and help in free wording: read in every context.
    pub(super) wishes: Rules<IntentRule>,
    pub(super) emergencies: Rules<EmergencyRule>,
    pub(super) negation: Negation,
    pub(super) phrases: Rules<IntentRule>,
    pub(super) answers: Rules<AnswerRule>,
    pub(super) connectors: HashSet<String>,
    pub(super) fillers: Fillers,
    pub(super) moods: Moods,
    pub(super) reactions: Reactions,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile<R> {
    rule: Vec<R>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnswerFile {
    connectors: HashSet<String>,
    answer: Vec<AnswerRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ComplianceFile {
    opt_out: Vec<String>,
    opt_in: Vec<String>,
    opt_in_when_stopped: Vec<String>,
    help: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NegationFile {
    negators: HashSet<String>,
    answer_followers: HashSet<String>,
    not_denying: HashSet<String>,
    turns: HashSet<String>,
    resolved: Vec<String>,
    continuing: Vec<String>,
    hypothetical: Vec<String>,
    other_person: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MoodFile {
    angry: Vec<String>,
    anxious: Vec<String>,
    positive: Vec<String>,
    courtesy: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReactionFile {
    approving: Vec<String>,
    other: Vec<String>,
}

impl ReaderData {
    fn load() -> Result<Self, LexiconError> {
        let intents = |file: &str| -> Result<Rules<IntentRule>, LexiconError> {
            let file: RuleFile<IntentRule> = toml::from_str(file)?;
            Rules::new(file.rule, |rule| &rule.phrases)
        };
        let emergencies: RuleFile<EmergencyRule> = toml::from_str(EMERGENCY)?;
        let answers: AnswerFile = toml::from_str(ANSWERS)?;
        let moods: MoodFile = toml::from_str(SENTIMENT)?;
        let reactions: ReactionFile = toml::from_str(REACTIONS)?;
        Ok(Self {
            version: format!("{RULES}+{:016x}", fnv1a(&FILES)),
            compliance: load_compliance()?,
            wishes: intents(OPT_OUT)?,
            emergencies: Rules::new(emergencies.rule, |rule| &rule.phrases)?,
            negation: load_negation()?,
            phrases: intents(PHRASES)?,
            answers: Rules::new(answers.answer, |rule| &rule.phrases)?,
            connectors: answers.connectors,
            fillers: toml::from_str(FILLERS)?,
            moods: Moods {
                angry: Phrases::new(&moods.angry)?,
                anxious: Phrases::new(&moods.anxious)?,
                positive: Phrases::new(&moods.positive)?,
                courtesy: Phrases::new(&moods.courtesy)?,
            },
            reactions: Reactions {
                approving: Phrases::new(&reactions.approving)?,
                other: Phrases::new(&reactions.other)?,
            },
        })
    }
}

fn load_compliance() -> Result<ComplianceWords, LexiconError> {
    let file: ComplianceFile = toml::from_str(COMPLIANCE)?;
    let fold = |texts: Vec<String>| texts.iter().map(|text| folded(text)).collect();
    Ok(ComplianceWords {
        opt_out: fold(file.opt_out),
        opt_in: fold(file.opt_in),
        opt_in_when_stopped: fold(file.opt_in_when_stopped),
        help: fold(file.help),
    })
}

fn load_negation() -> Result<Negation, LexiconError> {
    let file: NegationFile = toml::from_str(NEGATION)?;
    Ok(Negation {
        negators: file.negators,
        answer_followers: file.answer_followers,
        not_denying: file.not_denying,
        turns: file.turns,
        resolved: Phrases::new(&file.resolved)?,
        continuing: Phrases::new(&file.continuing)?,
        hypothetical: Phrases::new(&file.hypothetical)?,
        other_person: Phrases::new(&file.other_person)?,
    })
}

/// FNV-1a over the files: a decision's version changes whenever a lexicon does. Not a security measure.
fn fnv1a(files: &[&str]) -> u64 {
    files
        .iter()
        .flat_map(|file| file.bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_read() {
        if let Err(error) = ReaderData::load() {
            panic!("{error}");
        }
    }

    #[test]
    fn single_words_in_sets_are_folded_as_texts_are() {
        let data = &*READER;
        let sets = [&data.connectors, &data.negation.negators, &data.negation.turns, &data.negation.not_denying];
        for word in sets.into_iter().flatten() {
            assert_eq!(&folded(word), word, "write it folded, without accents or apostrophes");
        }
    }

    #[test]
    fn no_filler_denies_or_asks() {
        for word in ["not", "dont", "cant", "never", "wont", "what", "where", "but", "pero", "nunca"] {
            assert!(!READER.fillers.always.contains(word), "{word}");
        }
    }
}
