//! Lists that are whole, and every mistake of those that are not.

use super::*;

const HEADER: &str = "patient,phone,categories,decision,wording,wording_text,obtained_at,method,proof,recorded_by\n";
const YES: &str =
    "p1,+12125550101,appointment;refill,granted,consent_form:1:en,,2026-03-02,paper-form,binder 7,Kim Roe";

fn read_text(text: &str) -> Result<Vec<Listed>, Vec<String>> {
    let zone = TimeZone::get("America/New_York").unwrap();
    let terms =
        Terms { now: "2026-11-23T17:00:00Z".parse().unwrap(), zone: &zone, knows_form: &|word| word.version <= 2 };
    read(text.as_bytes(), &terms).map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
}

fn with_lines(lines: &[&str]) -> Result<Vec<Listed>, Vec<String>> {
    read_text(&format!("{HEADER}{}\n", lines.join("\n")))
}

#[test]
fn a_line_is_read_with_all_that_it_says() {
    let listed = with_lines(&[YES]).unwrap();
    let [line] = listed.as_slice() else { panic!("{}", listed.len()) };
    assert_eq!((line.line, line.patient.as_str(), line.phone.as_e164()), (2, "p1", "+12125550101"));
    assert_eq!(line.categories, BTreeSet::from([Category::Appointment, Category::Refill]));
    assert_eq!((line.decision, line.method), (Decision::Granted, Method::PaperForm));
    assert_eq!(line.obtained_at, "2026-03-02T05:00:00Z".parse().unwrap(), "midnight at the clinic");
    assert_eq!((line.proof.as_str(), line.recorded_by.as_str()), ("binder 7", "Kim Roe"));
}

#[test]
fn columns_stand_in_any_order_and_fields_may_be_quoted() {
    let text = "\u{feff}recorded_by,proof,method,obtained_at,wording_text,wording,decision,categories,phone,patient\r\n\
                \"Roe, Kim\",tape 9,phone,2026-03-02T09:12:00-05:00,\"We text you.\r\nSTOP ends it.\",desk-2019,granted,billing,(212) 555-0101,p1\r\n";
    let listed = read_text(text).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    assert_eq!(listed[0].recorded_by, "Roe, Kim");
    assert_eq!(listed[0].wording_text, "We text you.\r\nSTOP ends it.");
    assert_eq!(listed[0].obtained_at, "2026-03-02T14:12:00Z".parse().unwrap());
}

#[test]
fn the_words_of_a_wording_stand_once_and_hold_for_every_line() {
    let listed = with_lines(&[
        "p1,+12125550101,refill,granted,desk-2019,We text you.,2026-03-02,in-person,note 1,Kim",
        "p2,+12125550102,refill,granted,desk-2019,,2026-03-02,in-person,note 2,Kim",
        "p3,+12125550103,all,denied,,,2026-03-02,phone,,Kim",
    ]);
    let listed = listed.unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    assert_eq!(listed[1].wording_text, "We text you.");
    assert_eq!(listed[2].categories.len(), Category::ALL.len());
}

#[test]
fn every_mistake_is_reported_at_once_by_its_line_and_without_its_value() {
    let mistakes = with_lines(&[
        "Patient/p1,call me,visits,yes,,,yesterday,telepathy,,",
        YES,
        "p1,+12125550101,all,granted,consent_form:9:en,,2027-01-01,phone,x,Kim",
        "p1,+12125550101,refill,granted,canary,,2026-03-02,phone,x,Kim",
        "p1,+12125550101,refill",
        "p1,+12125550101,refill,denied,,,2026-03-02,phone,x,Kim",
        "p1,+12125550101,refill,granted,consent_form:1:en,canary,2026-03-03,phone,,Kim",
        "p2,+12125550101,refill,granted,a,canary,2026-03-03,phone,x,Kim",
        "p3,+12125550101,refill,granted,a,another canary,2026-03-03,phone,x,Kim",
        "p4,,refill,granted,b,The words of b.,2026-03-03,phone,x,Kim",
        "p5,+12125550101,refill,granted,b,,2026-03-03,phone,x,Kim",
    ])
    .err()
    .unwrap();
    insta::assert_snapshot!(mistakes.join("\n"));
    assert!(!mistakes.iter().any(|mistake| mistake.contains("canary") || mistake.contains("5550101")));
}

#[test]
fn a_header_that_is_not_one_is_not_repeated() {
    let mistakes = read_text("p1,+12125550101,patient,patient\n").err().unwrap();
    assert!(mistakes.contains(&"line 1: column 1 has a name that is not known".to_owned()), "{mistakes:?}");
    assert!(mistakes.contains(&"line 1, patient: this column is named twice".to_owned()));
    assert!(mistakes.contains(&"line 1, recorded_by: this column is missing".to_owned()));
    assert!(!mistakes.iter().any(|mistake| mistake.contains("555")));
    assert!(read_text("").err().unwrap()[0].contains("the first line names the columns"));
    assert!(read_text(HEADER).unwrap().is_empty());
}

#[test]
fn a_file_of_another_encoding_is_named() {
    let zone = TimeZone::UTC;
    let terms = Terms { now: Timestamp::MAX, zone: &zone, knows_form: &|_| true };
    let text = [HEADER.as_bytes(), YES.as_bytes(), b"\xe9\n"].concat();
    let mistakes = read(text.as_slice(), &terms).err().unwrap();
    assert_eq!(mistakes, [Mistake::new(2, "recorded_by", "this is not UTF-8; save the file as UTF-8")]);
}
