//! The house's texts keep the rules, and each rule notices when it is broken.

use super::*;
use rstest::rstest;

const WHICH: &str = "{{ clinic }}: Who is this about? Reply with the first name.";

/// The findings about the English text `which` when it reads `words`, as a text of `class`.
fn findings(class: &str, words: &str) -> Vec<(Rule, Severity)> {
    let change = |file: &str| {
        let file = file.replace(WHICH, words).replace(
            "key = \"which\"\nversion = 1\nclass = \"answer\"",
            &format!("key = \"which\"\nversion = 1\nclass = \"{class}\""),
        );
        file.replace(
            "¿Para quién es? Responda con el nombre.",
            &"{{ phone }}{{ provider }}{{ link }}{{ when }}"
                .split_inclusive("}}")
                .filter(|param| words.contains(param))
                .collect::<String>(),
        )
    };
    let (english, spanish) = (change(include_str!("../texts/en.toml")), change(include_str!("../texts/es.toml")));
    let catalogue = Catalogue::load(&[&english, &spanish]).unwrap();
    let text = catalogue.text(TextKey::Which, Language::English).unwrap();
    let found = lint_text(text, Language::English, catalogue.opt_out(Language::English));
    found.into_iter().map(|finding| (finding.rule, finding.severity)).collect()
}

#[test]
fn the_house_keeps_its_own_rules() {
    let findings = lint(&Catalogue::house().unwrap());
    let errors: Vec<_> = findings.iter().filter(|finding| finding.severity == Severity::Error).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    let cost = |finding: &Finding| {
        let Finding { key, language, rule, advice, .. } = finding;
        format!("{} {key}: {rule:?}: {advice}", language.tag())
    };
    let costs = findings.iter().map(cost).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!("accepted_costs", costs);
}

#[rstest]
#[case::clinic("Hello from {{ clinic }}: who?", Rule::ClinicFirst)]
#[case::provider("{{ clinic }}: See {{ provider }} soon.", Rule::LockScreen)]
#[case::telling("{{ clinic }}: Your test is back.", Rule::LockScreen)]
#[case::cancel("{{ clinic }}: Reply CANCEL to drop it.", Rule::StopWordOffered)]
#[case::cancel_in_small_letters("{{ clinic }}: Who is it? Reply YES or cancel.", Rule::StopWordOffered)]
#[case::end("{{ clinic }}: We write to you often. Send END when done.", Rule::StopWordOffered)]
#[case::stop_as_an_answer("{{ clinic }}: Reply STOP if you cannot come.", Rule::StopWordOffered)]
#[case::spanish("{{ clinic }}: Responda BAJA.", Rule::StopWordOffered)]
#[case::odd_answer("{{ clinic }}: Reply OKAY to go on.", Rule::UnknownAnswer)]
#[case::shouting("{{ clinic }}: URGENT, please read.", Rule::UnknownAnswer)]
#[case::exclamation("{{ clinic }}: Great!", Rule::Exclamation)]
#[case::link("{{ clinic }}: Look at https://example.org/x", Rule::LiteralLink)]
#[case::short_link("{{ clinic }}: Look at bit.ly/3x.", Rule::LiteralLink)]
fn an_error_is_noticed(#[case] words: &str, #[case] rule: Rule) {
    assert_eq!(findings("answer", words), [(rule, Severity::Error)], "{words}");
}

#[test]
fn a_cost_is_a_warning() {
    assert_eq!(findings("answer", "{{ clinic }}: Está."), [(Rule::OutsideGsm7, Severity::Warning)]);
    let long = format!("{{{{ clinic }}}}: {}", "word ".repeat(32));
    assert_eq!(findings("answer", &long), [(Rule::SeveralSegments, Severity::Warning)]);
}

#[test]
fn what_leaves_by_itself_says_how_to_stop() {
    assert_eq!(findings("help", "{{ clinic }}: Call us."), [(Rule::OptOutMissing, Severity::Error)]);
    assert_eq!(findings("opt_in", "{{ clinic }}: We keep this. STOP to end."), []);
    let catalogue = Catalogue::house().unwrap();
    let reminder = catalogue.text(TextKey::Reminder, Language::English).unwrap();
    let found = lint_text(reminder, Language::English, "Bye.");
    assert_eq!(found[0].rule, Rule::OptOutMissing);
}
