//! Words on their way in and out: numbers, names in templates, what staff write, what a server says it can do.

use super::{MARK, keeps_back, tells_nothing, text_lines};
use crate::{
    ehr::Capabilities,
    fhir::{Resource, ServerBase},
    guard::{self, ChartTerm, guard_line},
    kernel::{Language, Phi, PhoneNumber},
    template::{Catalogue, OptOutWording, Param, Params, Segments, TemplateError, TextClass, TextKey, Visit},
};
use jiff::{Timestamp, tz::TimeZone};
use std::sync::LazyLock;

/// A number: what is read is E.164, and read again as itself.
pub(super) fn phone_number(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let number = match PhoneNumber::parse(&text) {
        Ok(number) => number,
        Err(error) => return tells_nothing(&error),
    };
    let digits = number.as_e164().strip_prefix('+').expect("a plus sign");
    assert!(digits.bytes().all(|byte| byte.is_ascii_digit()), "E.164 has digits only");
    assert!((3..=15).contains(&digits.len()), "E.164 has 15 digits at the most, this has {}", digits.len());
    assert_eq!(PhoneNumber::parse(number.as_e164()).as_ref(), Ok(&number), "what is written is read again");
    if number.as_written().starts_with(|first: char| first.is_ascii_digit()) {
        assert_eq!(PhoneNumber::parse(&number.as_written()).as_ref(), Ok(&number), "the national form too");
    }
    assert_eq!(format!("{number:?}").chars().filter(char::is_ascii_digit).count(), 2, "two digits are told");
}

static HOUSE: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::house().expect("the texts of the house"));

/// Names and labels in every text of the house: rendered or refused, within the limits, on one line.
pub(super) fn template(data: &[u8]) {
    let [clinic, first, provider, place, visitor, link, when] = text_lines::<7>(data);
    let when = when.trim().parse::<i64>().ok().and_then(|second| Timestamp::from_second(second).ok());
    let when = when.unwrap_or_else(|| "2026-11-26T15:30:00Z".parse().expect("an instant"));
    let zone = TimeZone::get("America/Chicago").expect("a zone");
    let [first, provider, place, visitor] = [first, provider, place, visitor].map(Phi::new);
    for (language, text) in HOUSE.current() {
        let mut params = Params::new(&clinic, &zone);
        for param in &text.params {
            params = match param {
                Param::Clinic => params,
                Param::First => params.first(Some(&first)),
                Param::Provider => params.provider(Some(&provider)),
                Param::Place => params.place(Some(&place)),
                Param::When => params.when(when),
                Param::By => params.by(when),
                Param::Visits => params.visits(&[visit(when, &visitor), visit(when, &provider)]),
                Param::Slots => params.slots(&[when]),
                Param::Phone => params.phone(&PhoneNumber::parse("+12125550123").expect("a number")),
                Param::Link => match link.parse() {
                    Ok(link) => params.link(link),
                    Err(_) => params.link("https://texts.example/l/x".parse().expect("a link")),
                },
            };
        }
        keeps_back(&format!("{params:?}"));
        rendered(text.key, text.class, language, &params);
        let stored = params.encode().expect("parameters can be stored");
        rendered(text.key, text.class, language, &Params::decode(stored.expose()).expect("and read again"));
    }
    if let Err(error) = Params::decode(data) {
        tells_nothing(&error);
    }
}

fn visit(at: Timestamp, provider: &Phi<String>) -> Visit {
    Visit { at, provider: Some(provider.clone()) }
}

fn rendered(key: TextKey, class: TextClass, language: Language, params: &Params) {
    let rendered = match HOUSE.render_current(key, language, params, OptOutWording::Included) {
        Ok(rendered) => rendered,
        Err(error) => {
            let expected = matches!(
                error,
                TemplateError::Missing { param: Param::Clinic, .. }
                    | TemplateError::TooLong { .. }
                    | TemplateError::Invalid { param: Param::Link, .. }
            );
            assert!(expected, "no name makes this happen: {error}");
            return tells_nothing(&error);
        }
    };
    keeps_back(&format!("{rendered:?}"));
    let text = rendered.text.as_str();
    assert!(class == TextClass::Form || text.chars().count() <= 1600);
    assert_eq!(rendered.segments, Segments::of(text));
    assert!(class == TextClass::Form || !text.chars().any(char::is_control), "a name breaks the line: {text:?}");
    assert!(!text.contains("{{") && !text.contains("{%"), "a placeholder is left: {text:?}");
    let hidden = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    assert!(!text.contains(hidden), "a name turns the text around: {text:?}");
}

/// A chart term and what staff write: findings lie in the text, in order, and name nothing of it.
pub(super) fn guard(data: &[u8]) {
    let [term, text] = text_lines::<2>(data);
    let terms = [ChartTerm::medication(term.clone()), ChartTerm::condition(term)];
    let plain = guard::check(&text, &[]);
    let strict = guard::check(&text, &terms);
    assert!(plain.allowed || !strict.allowed, "chart terms allow more");
    for verdict in [plain, strict] {
        assert_eq!(verdict.allowed, verdict.findings.is_empty());
        keeps_back(&format!("{verdict:?}"));
        let mut last = 0;
        for finding in &verdict.findings {
            assert!(finding.start < finding.end && last <= finding.start, "a finding is empty or out of order");
            assert!(text.get(finding.start..finding.end).is_some(), "a finding splits a character");
            let (start, end) = finding.utf16_range(&text);
            assert!(start < end && end <= text.encode_utf16().count());
            last = finding.start;
        }
    }
    let line = String::from_utf8_lossy(data);
    if let Err(error) = guard_line(&line) {
        tells_nothing(&error);
    }
}

/// A `CapabilityStatement`: what was not said is not relied on.
pub(super) fn capabilities(data: &[u8]) {
    let Ok(json) = std::str::from_utf8(data) else { return };
    let base = ServerBase::new("https://ehr.example/fhir".parse().expect("an address")).expect("a base");
    let Ok(resource) = Resource::from_json(&base, json) else { return };
    match Capabilities::read(&resource) {
        Ok(capabilities) => {
            for kind in ["Appointment", "Slot", "Communication", MARK] {
                let said = json.contains(kind);
                let relied_on = capabilities.creates(kind) || capabilities.updates(kind) || capabilities.patches(kind);
                assert!(said || !relied_on || json.contains('\\'), "relied on, and not advertised");
                assert!(said || !capabilities.creates_conditionally(kind) || json.contains('\\'));
            }
        }
        Err(fault) => tells_nothing(&fault),
    }
}
