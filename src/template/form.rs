//! Forms that are read before a patient agrees, and the word under which each is kept with the consent.

use super::{Catalogue, OptOutWording, Params, TemplateError, TextKey};
use crate::kernel::{Language, Phi};
use std::{fmt, str::FromStr};

/// A form in one version and language. Kept as `consent_form:2:en`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FormWord {
    /// Which form.
    pub key: TextKey,
    /// In which version.
    pub version: u32,
    /// In which language.
    pub language: Language,
}

impl fmt::Display for FormWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.key, self.version, self.language.tag())
    }
}

/// A word that names no form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this names no form; write it like consent_form:2:en")]
pub struct NoFormWord;

impl FromStr for FormWord {
    type Err = NoFormWord;

    fn from_str(word: &str) -> Result<Self, NoFormWord> {
        let mut parts = word.split(':');
        let (Some(key), Some(version), Some(tag), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NoFormWord);
        };
        let language = Language::ALL.into_iter().find(|language| language.tag() == tag).ok_or(NoFormWord)?;
        let key = key.parse().map_err(|_| NoFormWord)?;
        Ok(Self { key, version: version.parse().map_err(|_| NoFormWord)?, language })
    }
}

impl Catalogue {
    /// The version of the form for consent that is in use.
    #[must_use]
    pub fn consent_form(&self, language: Language) -> FormWord {
        let version = self.text(TextKey::ConsentForm, language).map_or(0, |text| text.version);
        FormWord { key: TextKey::ConsentForm, version, language }
    }

    /// The words of a form.
    ///
    /// # Errors
    /// [`TemplateError::NoSuchVersion`] where there is none; otherwise as [`Catalogue::render`].
    pub fn form(&self, word: FormWord, params: &Params) -> Result<Phi<String>, TemplateError> {
        let FormWord { key, version, language } = word;
        Ok(self.render_version(key, version, language, params, OptOutWording::LeftOut)?.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::PhoneNumber;
    use jiff::tz::TimeZone;

    #[test]
    fn a_form_is_found_again_by_its_word_in_every_version() {
        let catalogue = Catalogue::house().unwrap();
        let params = Params::new("Cedar Clinic", &TimeZone::UTC).phone(&PhoneNumber::parse("+12125550123").unwrap());
        for language in Language::ALL {
            let in_use = catalogue.consent_form(language);
            assert_eq!(in_use.to_string().parse(), Ok(in_use));
            assert!(catalogue.form(in_use, &params).unwrap().as_str().contains("Cedar Clinic"));
            let first = FormWord { version: 1, ..in_use };
            assert_ne!(
                catalogue.form(first, &params).unwrap().as_str(),
                catalogue.form(in_use, &params).unwrap().as_str()
            );
            let later = FormWord { version: 99, ..in_use };
            assert!(matches!(catalogue.form(later, &params), Err(TemplateError::NoSuchVersion { version: 99, .. })));
        }
        for word in ["consent_form:2", "consent_form:2:vi", "consent_form:x:en", "none:1:en", "consent_form:1:en:x", ""]
        {
            assert_eq!(word.parse::<FormWord>(), Err(NoFormWord), "{word}");
        }
    }
}
