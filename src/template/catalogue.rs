//! The texts, by key, language and version; and how one is filled in.

use super::key::{TextCategory, TextClass, TextKey};
use super::params::{Given, Param, Params};
use super::segments::Segments;
use super::wording::Wording;
use crate::kernel::{Language, Phi, PhoneNumber};
use jiff::tz::TimeZone;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// The longest text that carriers take, in characters.
const LONGEST_TEXT: usize = 1600;

/// Most open times in one text: the answers offered are 1, 2 and 3.
const MOST_SLOTS: usize = 3;

/// The house's texts.
const HOUSE: [&str; 2] = [include_str!("texts/en.toml"), include_str!("texts/es.toml")];

/// Texts in every language, each in all the versions that were ever sent.
#[derive(Debug, Clone)]
pub struct Catalogue {
    pub(super) texts: BTreeMap<(TextKey, Language), Vec<Text>>,
    opt_out: BTreeMap<Language, String>,
}

/// One version of a text in one language.
#[derive(Debug, Clone)]
pub struct Text {
    /// Which text it is.
    pub key: TextKey,
    /// Which version; the highest is the one in use.
    pub version: u32,
    /// What it is to the gate.
    pub class: TextClass,
    /// What the patient's consent must cover.
    pub category: TextCategory,
    /// The parameters that it asks for.
    pub params: BTreeSet<Param>,
    pub(super) source: String,
}

/// Whether the opt-out wording is put after a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptOutWording {
    /// It is, unless the text says itself how to stop.
    Included,
    /// It is not: the practice's policy says that this text goes without.
    LeftOut,
}

/// A text that is ready to be read by a patient.
#[derive(Debug, Clone)]
pub struct Rendered {
    /// The words.
    pub text: Phi<String>,
    /// Which text it is.
    pub key: TextKey,
    /// Which version.
    pub version: u32,
    /// In which language.
    pub language: Language,
    /// Its size on the air.
    pub segments: Segments,
    /// It tells the patient how to stop.
    pub says_how_to_stop: bool,
}

/// What is wrong with the texts, or with what one is filled in with. Repeats no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A file of texts is not what it should be.
    #[error("a file of texts cannot be read: {0}")]
    File(String),
    /// A text is not a template, or asks for parameters that do not exist.
    #[error("the {language} text `{key}` version {version} cannot be used: {problem}")]
    Text {
        /// Which.
        key: TextKey,
        /// In which language, as a tag.
        language: &'static str,
        /// Which version.
        version: u32,
        /// What is wrong.
        problem: String,
    },
    /// A language lacks a text, or has it with other versions, class, category or parameters than the first language.
    #[error(
        "the {language} text `{key}` is missing or differs from the other languages in version, class, category or parameters"
    )]
    Uneven {
        /// Which.
        key: TextKey,
        /// In which language, as a tag.
        language: &'static str,
    },
    /// There is no such version of the text.
    #[error("there is no version {version} of the text `{key}`")]
    NoSuchVersion {
        /// Which text.
        key: TextKey,
        /// Which version.
        version: u32,
    },
    /// A parameter is missing, or empty where it must not be.
    #[error("the text `{key}` needs the parameter `{param}`")]
    Missing {
        /// Which text.
        key: TextKey,
        /// Which parameter.
        param: Param,
    },
    /// A parameter was given that the text has no place for.
    #[error("the text `{key}` has no place for the parameter `{param}`")]
    Unexpected {
        /// Which text.
        key: TextKey,
        /// Which parameter.
        param: Param,
    },
    /// A parameter holds what no text can say.
    #[error("the parameter `{param}` cannot be told: {problem}")]
    Invalid {
        /// Which parameter.
        param: Param,
        /// What is wrong.
        problem: &'static str,
    },
    /// The clinic's zone has no IANA name that this machine knows.
    #[error("the clinic's time zone is not an IANA zone; check the practice's settings")]
    Zone,
    /// The text is longer than carriers take.
    #[error("the text `{key}` is longer than 1600 characters with these parameters")]
    TooLong {
        /// Which text.
        key: TextKey,
    },
    /// Stored parameters are not what was stored.
    #[error("the stored parameters of a text cannot be read")]
    Params,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TextFile {
    language: Language,
    opt_out: String,
    text: Vec<TextEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TextEntry {
    key: TextKey,
    version: u32,
    class: TextClass,
    category: TextCategory,
    text: String,
}

impl Catalogue {
    /// The texts of the house.
    ///
    /// # Errors
    /// [`TemplateError`] when they were changed so that they do not fit; a test notices.
    pub fn house() -> Result<Self, TemplateError> {
        Self::load(&HOUSE)
    }

    /// Texts from files, one a language.
    ///
    /// # Errors
    /// [`TemplateError::File`], [`TemplateError::Text`] or [`TemplateError::Uneven`]: what is wrong, and where.
    pub fn load(files: &[&str]) -> Result<Self, TemplateError> {
        let mut catalogue = Self { texts: BTreeMap::new(), opt_out: BTreeMap::new() };
        for file in files {
            let file: TextFile = toml::from_str(file).map_err(|error| TemplateError::File(error.to_string()))?;
            catalogue.opt_out.insert(file.language, file.opt_out);
            for entry in file.text {
                let text = Text::read(entry, file.language)?;
                catalogue.texts.entry((text.key, file.language)).or_default().push(text);
            }
        }
        for versions in catalogue.texts.values_mut() {
            versions.sort_by_key(|text| text.version);
        }
        catalogue.check_even()?;
        Ok(catalogue)
    }

    /// Every text in the version in use, in every language.
    pub fn current(&self) -> impl Iterator<Item = (Language, &Text)> {
        self.texts.iter().filter_map(|((_, language), versions)| Some((*language, versions.last()?)))
    }

    /// The version in use of a text; class, category and parameters are the same in every language.
    #[must_use]
    pub fn text(&self, key: TextKey, language: Language) -> Option<&Text> {
        self.texts.get(&(key, language))?.last()
    }

    /// The words of a language that say how to stop.
    #[must_use]
    pub fn opt_out(&self, language: Language) -> &str {
        self.opt_out.get(&language).map_or("", String::as_str)
    }

    /// Fills in the version in use of a text. An automated text says how to stop.
    ///
    /// # Errors
    /// [`TemplateError`] when the parameters are not exactly those that the text asks for.
    pub fn render(&self, key: TextKey, language: Language, params: &Params) -> Result<Rendered, TemplateError> {
        self.render_current(key, language, params, OptOutWording::Included)
    }

    /// Fills in the version in use of a text; `opt_out` says whether an automated one is followed by the opt-out wording.
    ///
    /// # Errors
    /// As [`Catalogue::render`].
    pub fn render_current(
        &self,
        key: TextKey,
        language: Language,
        params: &Params,
        opt_out: OptOutWording,
    ) -> Result<Rendered, TemplateError> {
        let text = self.text(key, language);
        let is_automated = text.is_some_and(|text| text.class == TextClass::Automated);
        let opt_out = if is_automated { opt_out } else { OptOutWording::LeftOut };
        self.render_version(key, text.map_or(0, |text| text.version), language, params, opt_out)
    }

    /// Fills in one version of a text, with the opt-out wording as the practice's policy says.
    ///
    /// # Errors
    /// As [`Catalogue::render`]; [`TemplateError::NoSuchVersion`] where there is none.
    pub fn render_version(
        &self,
        key: TextKey,
        version: u32,
        language: Language,
        params: &Params,
        opt_out: OptOutWording,
    ) -> Result<Rendered, TemplateError> {
        let versions = self.texts.get(&(key, language)).map_or(&[][..], Vec::as_slice);
        let template = versions.iter().find(|text| text.version == version);
        let template = template.ok_or(TemplateError::NoSuchVersion { key, version })?;
        let mut text = template.fill(language, params.given())?;
        let mut says_how_to_stop = text.contains("STOP");
        if opt_out == OptOutWording::Included && !says_how_to_stop {
            text = format!("{text} {}", self.opt_out(language));
            says_how_to_stop = true;
        }
        if template.class != TextClass::Form && text.chars().count() > LONGEST_TEXT {
            return Err(TemplateError::TooLong { key });
        }
        let segments = Segments::of(&text);
        Ok(Rendered { text: Phi::new(text), key, version, language, segments, says_how_to_stop })
    }

    /// Every key in every language, alike.
    fn check_even(&self) -> Result<(), TemplateError> {
        let shape = |key, language| {
            let versions = self.texts.get(&(key, language))?;
            let mut seen = BTreeSet::new();
            let unique = versions.iter().all(|text| seen.insert(text.version));
            let shapes: Vec<_> =
                versions.iter().map(|text| (text.version, text.class, text.category, &text.params)).collect();
            unique.then_some(shapes)
        };
        for key in TextKey::ALL.iter().copied() {
            let first = shape(key, Language::default());
            for language in Language::ALL {
                let this = shape(key, language);
                if this.is_none() || this != first {
                    return Err(TemplateError::Uneven { key, language: language.tag() });
                }
            }
        }
        Ok(())
    }
}

impl Text {
    fn read(entry: TextEntry, language: Language) -> Result<Self, TemplateError> {
        let TextEntry { key, version, class, category, text: source } = entry;
        let wrong = |problem: String| TemplateError::Text { key, language: language.tag(), version, problem };
        let names = {
            let environment = environment();
            let template = environment.template_from_str(&source).map_err(|error| wrong(error.to_string()))?;
            template.undeclared_variables(false)
        };
        let mut params = BTreeSet::new();
        for name in &names {
            let known = Param::ALL.into_iter().find(|param| param.as_str() == name);
            params.insert(known.ok_or_else(|| wrong(format!("there is no parameter `{name}`")))?);
        }
        Ok(Self { key, version, class, category, params, source })
    }

    /// Fills the text in, if it is given exactly what it asks for.
    pub(super) fn fill(&self, language: Language, given: &Given) -> Result<String, TemplateError> {
        let key = self.key;
        for param in Param::ALL {
            match (self.params.contains(&param), given.has(param)) {
                (true, false) => return Err(TemplateError::Missing { key, param }),
                (false, true) => return Err(TemplateError::Unexpected { key, param }),
                _ => {}
            }
        }
        if given.clinic.is_empty() {
            return Err(TemplateError::Missing { key, param: Param::Clinic });
        }
        let zone = TimeZone::get(&given.zone).map_err(|_| TemplateError::Zone)?;
        let values = values(given, &Wording { language, zone: &zone })?;
        // The engine's own words may repeat the text: they are not carried on.
        let filled = environment().render_str(&self.source, values);
        filled.map_err(|_| TemplateError::Text {
            key,
            language: language.tag(),
            version: self.version,
            problem: "it asks for what its parameters do not have".into(),
        })
    }
}

/// The engine: what is undefined is an error, and values go in as they are.
fn environment<'source>() -> Environment<'source> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment
}

/// What the parameters look like to the text.
fn values(given: &Given, wording: &Wording<'_>) -> Result<BTreeMap<&'static str, Value>, TemplateError> {
    let mut values = BTreeMap::from([(Param::Clinic.as_str(), Value::from(given.clinic.as_str()))]);
    let mut put = |param: Param, value: Option<Value>| {
        if let Some(value) = value {
            values.insert(param.as_str(), value);
        }
    };
    put(Param::First, given.first.as_deref().map(Value::from));
    put(Param::Provider, given.provider.as_deref().map(Value::from));
    put(Param::Place, given.place.as_deref().map(Value::from));
    put(Param::When, given.when.map(|at| Value::from(wording.instant(at))));
    put(Param::By, given.by.map(|at| Value::from(wording.deadline(at))));
    put(Param::Visits, visits(given, wording)?);
    put(Param::Slots, slots(given, wording)?);
    put(Param::Phone, given.phone.as_deref().map(phone).transpose()?);
    put(Param::Link, link(given)?);
    Ok(values)
}

fn visits(given: &Given, wording: &Wording<'_>) -> Result<Option<Value>, TemplateError> {
    let invalid = |problem| TemplateError::Invalid { param: Param::Visits, problem };
    let Some(visits) = &given.visits else { return Ok(None) };
    let mut visits: Vec<_> = visits.iter().collect();
    visits.sort_by_key(|visit| visit.at);
    let [first, _, ..] = visits.as_slice() else { return Err(invalid("several visits take two at the least")) };
    let day = wording.day(first.at);
    if visits.iter().any(|visit| wording.day(visit.at) != day) {
        return Err(invalid("the visits are on different days"));
    }
    let listed: Vec<String> = visits.iter().map(|visit| wording.visit(visit.at, &visit.provider)).collect();
    Ok(Some(context! { count => visits.len(), day, listed => wording.all_of(&listed) }))
}

fn slots(given: &Given, wording: &Wording<'_>) -> Result<Option<Value>, TemplateError> {
    let Some(slots) = &given.slots else { return Ok(None) };
    if slots.is_empty() || slots.len() > MOST_SLOTS {
        return Err(TemplateError::Invalid { param: Param::Slots, problem: "one to three times can be offered" });
    }
    let choices: Vec<String> = (1..=slots.len()).map(|number| number.to_string()).collect();
    let numbered = choices.iter().zip(slots).map(|(number, at)| format!("{number}) {}", wording.listed_instant(*at)));
    let listed = numbered.collect::<Vec<_>>().join(" ");
    Ok(Some(context! { count => slots.len(), listed, choices => wording.one_of(&choices) }))
}

fn phone(e164: &str) -> Result<Value, TemplateError> {
    let number = PhoneNumber::parse(e164);
    let number =
        number.map_err(|_| TemplateError::Invalid { param: Param::Phone, problem: "it is not a phone number" })?;
    Ok(Value::from(number.as_written()))
}

fn link(given: &Given) -> Result<Option<Value>, TemplateError> {
    match &given.link {
        Some(link) if link.scheme() != "https" => {
            Err(TemplateError::Invalid { param: Param::Link, problem: "links in texts are https" })
        }
        link => Ok(link.as_ref().map(|link| Value::from(link.as_str()))),
    }
}

#[cfg(test)]
mod tests;
