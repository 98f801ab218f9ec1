//! The catalogue, its errors, and every text of the house as patients read it.

use super::*;
use crate::template::Visit;
use jiff::Timestamp;
use std::fmt::Write as _;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn zone() -> TimeZone {
    TimeZone::get("America/New_York").unwrap()
}

fn name(text: &str) -> Phi<String> {
    Phi::new(text.to_owned())
}

fn params() -> Params {
    Params::new("Cedar Clinic", &zone())
}

/// Ordinary values for everything that a text asks for.
fn ordinary(text: &Text) -> Params {
    let first = at("2026-11-26T19:00:00Z");
    let slots = [first, at("2026-11-27T14:30:00Z"), at("2026-11-30T18:15:00Z")];
    let lee = Some(name("Dr. Lee"));
    let visits = [Visit { at: at("2026-11-26T21:00:00Z"), provider: None }, Visit { at: first, provider: lee.clone() }];
    text.params.iter().fold(params(), |params, param| match param {
        Param::Clinic => params,
        Param::First => params.first(Some(&name("Ana"))),
        Param::Provider => params.provider(lee.as_ref()),
        Param::Place => params.place(Some(&name("12 Main St"))),
        Param::When => params.when(first),
        Param::Visits => params.visits(&visits),
        Param::Slots => params.slots(&slots),
        Param::Phone => params.phone(&PhoneNumber::parse("+12125550123").unwrap()),
        Param::By => params.by(at("2026-11-26T22:00:00Z")),
        Param::Link => params.link("https://texts.example.org/l/hV3kQ9sB2xTn".parse().unwrap()),
    })
}

#[test]
fn every_text_of_the_house_as_patients_read_it() {
    let catalogue = Catalogue::house().unwrap();
    for language in Language::ALL {
        let mut page = String::new();
        for key in TextKey::ALL.iter().copied() {
            let text = catalogue.text(key, language).unwrap();
            let rendered = catalogue.render(key, language, &ordinary(text)).unwrap();
            let Segments { encoding, units, count } = rendered.segments;
            let about = format!("{key} v{} {:?} {encoding:?} {units} in {count}", text.version, text.class);
            writeln!(page, "[{about}]\n{}\n", rendered.text.as_str()).unwrap();
        }
        insta::assert_snapshot!(format!("texts_{}", language.tag()), page);
    }
}

fn rendered(key: TextKey, language: Language, params: &Params) -> String {
    Catalogue::house().unwrap().render(key, language, params).unwrap().text.into_exposed()
}

#[test]
fn without_names_the_sentences_still_stand() {
    let params = params().first(None).provider(None).when(at("2026-11-26T19:00:00Z"));
    assert_eq!(
        rendered(TextKey::Reminder, Language::English, &params),
        "Cedar Clinic: Hi, you have a visit Thu Nov 26 at 2:00 PM. Reply C to confirm or R to reschedule. STOP to end texts."
    );
    assert_eq!(
        rendered(TextKey::Reminder, Language::Spanish, &params),
        "Cedar Clinic: Hola, tiene una visita el jue 26 nov a las 2:00 PM. Responda C para confirmar o R para \
         cambiarla. STOP para no recibir mensajes."
    );
}

#[test]
fn an_offer_has_as_many_answers_as_times() {
    let (a, b) = (at("2026-11-26T19:00:00Z"), at("2026-11-27T14:30:00Z"));
    assert_eq!(
        rendered(TextKey::Offer, Language::English, &params().slots(&[a, b])),
        "Cedar Clinic: Open times: 1) Thu Nov 26 2:00 PM 2) Fri Nov 27 9:30 AM. Reply 1 or 2, or N for none of these."
    );
    assert_eq!(
        rendered(TextKey::Offer, Language::Spanish, &params().slots(&[a])),
        "Cedar Clinic: Hora libre: 1) jue 26 nov 2:00 PM. Responda 1 para tomarla, o N si no le sirve."
    );
    let catalogue = Catalogue::house().unwrap();
    for slots in [vec![], vec![a; 4]] {
        let refused = catalogue.render(TextKey::Offer, Language::English, &params().slots(&slots));
        assert!(matches!(refused, Err(TemplateError::Invalid { param: Param::Slots, .. })));
    }
}

#[test]
fn several_visits_are_of_one_day_in_the_clinics_zone() {
    let visit = |text| Visit { at: at(text), provider: None };
    // By UTC these two are of different days.
    let evening = [visit("2026-11-26T23:00:00Z"), visit("2026-11-27T00:30:00Z")];
    let text = rendered(TextKey::ReminderMany, Language::English, &params().first(None).visits(&evening));
    assert!(text.contains("you have 2 visits Thu Nov 26: 6:00 PM and 7:30 PM."), "{text}");
    let catalogue = Catalogue::house().unwrap();
    for visits in
        [vec![visit("2026-11-26T14:00:00Z")], vec![visit("2026-11-26T14:00:00Z"), visit("2026-11-27T14:00:00Z")]]
    {
        let refused = catalogue.render(TextKey::ReminderMany, Language::English, &params().first(None).visits(&visits));
        assert!(matches!(refused, Err(TemplateError::Invalid { param: Param::Visits, .. })));
    }
}

#[test]
fn a_parameter_too_few_or_too_many_is_an_error() {
    let catalogue = Catalogue::house().unwrap();
    let render = |params| catalogue.render(TextKey::Confirmed, Language::English, &params).unwrap_err();
    let key = TextKey::Confirmed;
    assert_eq!(render(params()), TemplateError::Missing { key, param: Param::When });
    let when = params().when(Timestamp::UNIX_EPOCH);
    assert_eq!(render(when.first(None)), TemplateError::Unexpected { key, param: Param::First });
    let nameless = Params::new(" \u{200b}", &zone()).when(Timestamp::UNIX_EPOCH);
    assert_eq!(render(nameless), TemplateError::Missing { key, param: Param::Clinic });
    let nowhere = Params::new("Cedar", &TimeZone::fixed(jiff::tz::offset(-5))).when(Timestamp::UNIX_EPOCH);
    assert_eq!(render(nowhere), TemplateError::Zone);
}

#[test]
fn a_name_is_never_read_as_template_code() {
    let mischief = name("{{ clinic }}{% if true %}x{% endif %}");
    let params = params().first(Some(&mischief)).provider(None).when(at("2026-11-26T19:00:00Z"));
    let text = rendered(TextKey::Reminder, Language::English, &params);
    assert!(text.starts_with("Cedar Clinic: Hi clinic % if true %x% endif %, you have"), "{text}");
}

#[test]
fn a_link_that_is_not_https_is_refused() {
    let params = params().link("http://texts.example.org/l/x".parse().unwrap());
    let refused = Catalogue::house().unwrap().render(TextKey::DetailLink, Language::English, &params);
    assert!(matches!(refused, Err(TemplateError::Invalid { param: Param::Link, .. })));
}

#[test]
fn the_opt_out_wording_follows_the_policy_and_comes_once() {
    let catalogue = Catalogue::house().unwrap();
    let render = |key, params: &Params, opt_out| {
        catalogue.render_version(key, 1, Language::English, params, opt_out).unwrap().text.into_exposed()
    };
    let ready = params();
    assert!(render(TextKey::RefillReady, &ready, OptOutWording::Included).ends_with("pharmacy. STOP to end texts."));
    assert!(render(TextKey::RefillReady, &ready, OptOutWording::LeftOut).ends_with("at your pharmacy."));
    let help = params().phone(&PhoneNumber::parse("+12125550123").unwrap());
    assert_eq!(render(TextKey::Help, &help, OptOutWording::Included).matches("STOP").count(), 1);
}

#[test]
fn an_old_version_can_still_be_rendered() {
    let changed = |file: &str| {
        file.replace(
            "[[text]]\nkey = \"which\"",
            "[[text]]\nkey = \"which\"\nversion = 2\nclass = \"answer\"\ncategory = \"service\"\ntext = \"{{ clinic }}: Who?\"\n\n[[text]]\nkey = \"which\"",
        )
    };
    let files = HOUSE.map(changed);
    let catalogue = Catalogue::load(&[&files[0], &files[1]]).unwrap();
    assert_eq!(catalogue.text(TextKey::Which, Language::English).unwrap().version, 2);
    let render = |version| {
        catalogue.render_version(TextKey::Which, version, Language::English, &params(), OptOutWording::LeftOut)
    };
    assert_eq!(render(2).unwrap().text.as_str(), "Cedar Clinic: Who?");
    assert!(render(1).unwrap().text.as_str().contains("first name"));
    assert_eq!(render(3).unwrap_err(), TemplateError::NoSuchVersion { key: TextKey::Which, version: 3 });
    let uneven = Catalogue::load(&[&files[0], HOUSE[1]]).unwrap_err();
    assert_eq!(uneven, TemplateError::Uneven { key: TextKey::Which, language: "es" });
}

#[test]
fn a_text_with_a_mistake_is_refused_by_name() {
    let load = |from: &str, to: &str| Catalogue::load(&[&HOUSE[0].replace(from, to), HOUSE[1]]).unwrap_err();
    let which = "Who is this about?";
    assert!(matches!(load(which, "{{ who "), TemplateError::Text { key: TextKey::Which, language: "en", .. }));
    assert!(load(which, "{{ mrn }}").to_string().contains("there is no parameter `mrn`"));
    let uneven = TemplateError::Uneven { key: TextKey::Which, language: "es" };
    assert_eq!(load(which, "{{ phone }}"), uneven);
    assert!(matches!(load("key = \"which\"", "key = \"witch\""), TemplateError::File(_)));
}

#[test]
fn the_consent_wording_says_what_consent_must_know() {
    let catalogue = Catalogue::house().unwrap();
    let params = params().phone(&PhoneNumber::parse("+12125550123").unwrap());
    let disclosures = [
        (
            Language::English,
            [
                "4 messages a month",
                "rates may apply",
                "STOP",
                "HELP",
                "read my replies",
                "not a condition",
                "not encrypted",
            ],
        ),
        (
            Language::Spanish,
            [
                "4 mensajes al mes",
                "aplicarse cargos",
                "STOP",
                "HELP",
                "lee mis respuestas",
                "no es condición",
                "no están cifrados",
            ],
        ),
    ];
    for (language, phrases) in disclosures {
        let text = catalogue.render(TextKey::ConsentForm, language, &params).unwrap().text.into_exposed();
        for phrase in phrases {
            assert!(text.contains(phrase), "{phrase} is missing from {text}");
        }
    }
}
