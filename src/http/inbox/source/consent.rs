//! What a patient said about texts, as the page of consent sees it.

use super::PatientHeader;
use crate::{
    access::ConsentRight,
    consent::{Category, Method},
    kernel::{Language, Phi},
};
use jiff::Timestamp;

/// The page of consent, as data.
#[derive(Debug, Clone)]
pub struct ConsentView {
    /// The clinic's name.
    pub clinic: String,
    /// Whose consent it is.
    pub patient: PatientHeader,
    /// Every number on file, the one that is texted first.
    pub numbers: Vec<NumberConsent>,
    /// The wording in use, the patient's language first.
    pub wordings: Vec<ConsentWording>,
    /// What the person may do here.
    pub right: ConsentRight,
}

/// What stands for a number.
#[derive(Debug, Clone)]
pub struct NumberConsent {
    /// Names the number in forms.
    pub key: String,
    /// The number, as it is written.
    pub written: Phi<String>,
    /// What kind of phone it is, in words.
    pub kind: &'static str,
    /// It is the one that is texted.
    pub is_texted: bool,
    /// How many other patients have it.
    pub shared_with: u32,
    /// Whether it is stopped, whatever was agreed to.
    pub stopped: Option<NumberStopped>,
    /// What stands for each kind of texts.
    pub categories: Vec<CategoryConsent>,
}

/// A number that no text goes to.
#[derive(Debug, Clone, Copy)]
pub struct NumberStopped {
    /// Since when.
    pub since: Timestamp,
    /// By whom.
    pub by: StoppedBy,
}

/// Who stopped a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoppedBy {
    /// STOP came from the phone.
    Phone,
    /// The carrier blocks it.
    Carrier,
    /// Staff recorded that the patient wants no texts. A new agreement opens it.
    Staff,
    /// An imported list says so.
    List,
}

/// What stands for a kind of texts.
#[derive(Debug, Clone)]
pub struct CategoryConsent {
    /// What texts.
    pub category: Category,
    /// How the patient stands towards them.
    pub state: ConsentState,
    /// What that rests on; none where nobody ever asked.
    pub record: Option<ConsentRecord>,
}

/// How a patient stands towards a kind of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsentState {
    /// Agreed.
    Agreed,
    /// Not wanted.
    Denied,
    /// Never asked: such texts do not leave.
    NotAsked,
}

/// What a consent rests on.
#[derive(Debug, Clone)]
pub struct ConsentRecord {
    /// From when it holds.
    pub at: Timestamp,
    /// How it came to us, in words.
    pub how: String,
    /// Who recorded it.
    pub by: Phi<String>,
    /// Which wording, in words; empty where there was none.
    pub wording: String,
    /// Where the proof is kept, as far as somebody wrote that down.
    pub proof: Phi<String>,
}

/// The words that a patient agrees to.
#[derive(Debug, Clone)]
pub struct ConsentWording {
    /// The word under which they are kept, such as `consent_form:2:en`.
    pub word: String,
    /// In which language.
    pub language: Language,
    /// The words.
    pub text: Phi<String>,
}

/// What a patient told the person at the screen.
#[derive(Debug, Clone)]
pub struct ToldByPatient {
    /// Made with the form: the same form sent off twice is one record.
    pub once: String,
    /// The number that it is about, by its key.
    pub number: String,
    /// What texts.
    pub categories: Vec<Category>,
    /// How the patient's word came.
    pub method: Method,
    /// Yes, or no.
    pub word: PatientsWord,
}

/// Yes, or no.
#[derive(Debug, Clone)]
pub enum PatientsWord {
    /// The patient read or heard this wording and agrees.
    Agrees {
        /// The word under which the wording is kept.
        wording: String,
        /// Where the signed form is kept, if there is one.
        proof: Phi<String>,
    },
    /// The patient wants no such texts.
    WantsNone,
}
