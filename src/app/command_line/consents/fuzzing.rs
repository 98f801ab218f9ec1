//! What must hold for any list of consents.

use super::list::{self, Terms};
use crate::{consent::Decision, fuzzing::tells_nothing, template::TextKey};
use jiff::tz::TimeZone;
use std::collections::HashMap;

/// A list: all of it or mistakes by line, which repeat no value; and nobody is on record with two minds at once.
pub(crate) fn consent_list(data: &[u8]) {
    let knows_form = |word: crate::template::FormWord| word.key == TextKey::ConsentForm && word.version < 3;
    let Ok(now) = "2026-11-22T10:00:00Z".parse() else { return };
    let terms = Terms { now, zone: &TimeZone::UTC, knows_form: &knows_form };
    let listed = match list::read(data, &terms) {
        Ok(listed) => listed,
        Err(mistakes) => {
            assert!(!mistakes.is_empty(), "a list is refused without a reason");
            assert!(mistakes.is_sorted());
            return mistakes.iter().for_each(tells_nothing);
        }
    };
    assert!(listed.len() <= 10_001);
    let mut minds = HashMap::new();
    for line in &listed {
        assert!(!line.categories.is_empty() && line.obtained_at <= now);
        assert!(line.recorded_by.chars().count() <= 200 && line.proof.chars().count() <= 200);
        if line.decision == Decision::Granted {
            assert!(!line.proof.is_empty() && !line.wording.is_empty(), "a consent without proof");
        }
        for category in &line.categories {
            let known = minds.insert((&line.patient, &line.phone, category, line.obtained_at), line.decision);
            assert!(known.is_none_or(|known| known == line.decision), "granted and denied at once");
        }
    }
}
