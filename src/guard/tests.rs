use proptest::prelude::*;
use rstest::rstest;

use super::*;
use Category::{
    ClinicalNote, Diagnosis, FinancialIdentity, Genetic, HivSti, LabValue, MedicationName, MentalHealth, SubstanceUse,
};

#[rstest]
#[case("Hi Ana, you have a visit Thu Jul 23 at 10:00 AM with Dr. Parkinson at 120 Main St, Suite B12.")]
#[case("Please arrive 15 minutes early and bring your insurance card and a photo ID.")]
#[case("Nothing to eat or drink after midnight. Wear comfortable clothes.")]
#[case("Please drink 16 oz of water and do not eat for 8 hours before your lab work.")]
#[case("Parking is free in Lot C, section 4. Questions? Call (555) 010-1234 or 555-010-1234.")]
#[case("Your copay is $25.00, due at check-in. Your balance is $120.50.")]
#[case("Your prescription is ready for pickup.")]
#[case("Time to take your medication as directed.")]
#[case("Your results are ready. Open them here: https://example.org/l/abc123")]
#[case("Please bring a list of your medications and allergies.")]
#[case("Reply C to confirm or R to reschedule. STOP to end texts.")]
#[case("We can see you on 7/26/2026 at 2:30 pm or 10/12 at 9.")]
#[case("Dr. Maria Sandolol will see you for your follow-up, room 204, level 2.")]
#[case("Our clinic is open 24/7. The code is 482913.")]
#[case("Your surgery is moved to Monday at 7 am. A driver must take you home.")]
#[case("Bring your insurance card to 1200 Main St or call 555-010-1234.")]
#[case("Our office is in Jackson, MS 39201.")]
#[case("Please ask our financial counselor about payment plans.")]
#[case("Tiene una visita el 23/07 a las 10:00 con la Dra. García en 120 Main St.")]
#[case("Por favor llegue 15 minutos antes y traiga su tarjeta del seguro. El copago es $20.")]
#[case("Su receta está lista. No coma ni beba nada después de la medianoche.")]
#[case("Puede estacionarse gratis. Preguntas: (555) 010-1234.")]
#[case("Hola Ana, ¿puede venir mañana por la tarde?")]
#[case("")]
fn what_any_text_may_say_passes(#[case] text: &str) {
    let verdict = check(text, &[]);
    let found: Vec<_> =
        verdict.findings.iter().map(|finding| (finding.category, &text[finding.start..finding.end])).collect();
    assert!(verdict.allowed, "{text}: {found:?}");
}

#[rstest]
#[case("Your metformin is ready", MedicationName, "metformin")]
#[case("Take LISINOPRIL tonight", MedicationName, "LISINOPRIL")]
#[case("Take 10 mg tonight", MedicationName, "10 mg")]
#[case("take 10mg tonight", MedicationName, "10mg")]
#[case("Please take 2 tablets", MedicationName, "2 tablets")]
#[case("Your rosuvastatin was sent", MedicationName, "rosuvastatin")]
#[case("start the cefuroximab", MedicationName, "cefuroximab")]
#[case("we increased the dose", MedicationName, "dose")]
#[case("su metformina está lista", MedicationName, "metformina")]
#[case("tome 2 pastillas", MedicationName, "2 pastillas")]
#[case("Your A1c is 7.2", LabValue, "A1c")]
#[case("Your BP was 150/95 today", LabValue, "150/95")]
#[case("your cholesterol is 240", LabValue, "cholesterol")]
#[case("glucose 180 mg/dL", LabValue, "glucose")]
#[case("Your results are abnormal", LabValue, "results are abnormal")]
#[case("Your test came back negative", LabValue, "negative")]
#[case("Your mammogram is on Friday", LabValue, "mammogram")]
#[case("su presión arterial", LabValue, "presión arterial")]
#[case("sus resultados salieron anormales", LabValue, "anormales")]
#[case("Su azúcar está en 250", LabValue, "Su azúcar")]
#[case("Your oxygen was 88%", LabValue, "oxygen was")]
#[case("You are due for a flu shot", MedicationName, "flu shot")]
#[case("about your diabetes", Diagnosis, "diabetes")]
#[case("Oncology clinic", Diagnosis, "Oncology")]
#[case("code E11.9 on file", Diagnosis, "E11.9")]
#[case("code S72.001A.", Diagnosis, "S72.001A")]
#[case("you may have a UTI", Diagnosis, "UTI")]
#[case("su embarazo", Diagnosis, "embarazo")]
#[case("su presión alta", Diagnosis, "presión alta")]
#[case("Your psychiatry visit", MentalHealth, "psychiatry")]
#[case("for your depression", MentalHealth, "depression")]
#[case("salud mental", MentalHealth, "salud mental")]
#[case("Suboxone refill", SubstanceUse, "Suboxone")]
#[case("alcohol use program", SubstanceUse, "alcohol use")]
#[case("su adicción", SubstanceUse, "adicción")]
#[case("HIV clinic at 10", HivSti, "HIV clinic")]
#[case("about AIDS care", HivSti, "AIDS")]
#[case("your PrEP visit", HivSti, "PrEP")]
#[case("prueba de VIH", HivSti, "VIH")]
#[case("chlamydia test", HivSti, "chlamydia")]
#[case("BRCA1 panel", Genetic, "BRCA1")]
#[case("genetic counseling", Genetic, "genetic")]
#[case("prueba de ADN", Genetic, "prueba de ADN")]
#[case("how is your incision", ClinicalNote, "your incision")]
#[case("Patient presents with cough", ClinicalNote, "Patient presents")]
#[case("stop taking it today", ClinicalNote, "stop taking it")]
#[case("¿cómo está su herida?", ClinicalNote, "su herida")]
#[case("SSN 123-45-6789", FinancialIdentity, "123-45-6789")]
#[case("123 45 6789", FinancialIdentity, "123 45 6789")]
#[case("card 4111 1111 1111 1111", FinancialIdentity, "4111 1111 1111 1111")]
#[case("4111-1111-1111-1111", FinancialIdentity, "4111-1111-1111-1111")]
#[case("Member ID: XYZ123456789", FinancialIdentity, "XYZ123456789")]
#[case("your account ending in 4321", FinancialIdentity, "4321")]
#[case("MRN 00123456", FinancialIdentity, "00123456")]
#[case("Medicare 1EG4-TE5-MK73", FinancialIdentity, "1EG4-TE5-MK73")]
#[case("policy no. 88-123456", FinancialIdentity, "88-123456")]
#[case("su número de póliza es 7788123", FinancialIdentity, "7788123")]
fn what_may_not_leave_is_found(#[case] text: &str, #[case] category: Category, #[case] words: &str) {
    let verdict = check(text, &[]);
    let found: Vec<_> =
        verdict.findings.iter().map(|finding| (finding.category, &text[finding.start..finding.end])).collect();
    assert!(!verdict.allowed);
    let hit =
        found.iter().any(|(found, span)| *found == category && span.to_lowercase().contains(&words.to_lowercase()));
    assert!(hit, "{text}: {found:?}");
}

#[rstest]
#[case(ChartTerm::medication("Zorblatix 500 MG Oral Tablet"), "pick up the ZORBLATIX today", Some((MedicationName, "ZORBLATIX")))]
#[case(ChartTerm::medication("Zorblatina"), "su zorblatina", Some((MedicationName, "zorblatina")))]
#[case(ChartTerm::medication("Fluzone / Quixol"), "the quixol", Some((MedicationName, "quixol")))]
#[case(ChartTerm::condition("Raynaud's phenomenon"), "about your Raynauds", Some((Diagnosis, "Raynauds")))]
#[case(ChartTerm::condition("Ménière disease"), "for MENIERE", Some((Diagnosis, "MENIERE")))]
#[case(ChartTerm::condition("Bell's palsy (finding)"), "about your bell’s palsy", Some((Diagnosis, "bell’s palsy")))]
#[case(ChartTerm::condition("Sarcoidosis"), "your sarcoidotic", Some((Diagnosis, "sarcoidotic")))]
#[case(ChartTerm::condition("Major depressive disorder"), "depressive", Some((MentalHealth, "depressive")))]
#[case(ChartTerm::condition("Cancer of colon"), "please cancel by friday", None)]
#[case(ChartTerm::condition("Encounter for routine visit"), "your routine visit", None)]
#[case(ChartTerm::medication("Zorblatix"), "prezorblatixed", None)]
#[case(ChartTerm::condition(""), "hello", None)]
fn the_patients_own_chart_is_found(
    #[case] term: ChartTerm,
    #[case] text: &str,
    #[case] expected: Option<(Category, &str)>,
) {
    let verdict = check(text, &[term]);
    let found: Vec<_> =
        verdict.findings.iter().map(|finding| (finding.category, &text[finding.start..finding.end])).collect();
    assert_eq!(found.first().copied(), expected, "{found:?}");
}

#[test]
fn findings_are_in_order_and_do_not_nest() {
    let text = "Your metformin 500 mg and your A1c of 7.2";
    let found = check(text, &[ChartTerm::medication("Metformin")]).findings;
    assert!(found.windows(2).all(|pair| pair[0].start <= pair[1].start && pair[0].end <= pair[1].end));
    assert_eq!(found.iter().filter(|finding| finding.start == 5).count(), 1);
}

#[test]
fn browsers_get_utf16_offsets() {
    let text = "👍 ñ metformin";
    let finding = check(text, &[]).findings[0];
    assert_eq!((finding.start, finding.utf16_range(text)), (8, (5, 14)));
}

#[test]
fn the_wording_that_advice_offers_passes_the_guard() {
    for category in Category::ALL {
        for language in Language::ALL {
            let advice = category.advice(language);
            assert!(!advice.is_empty());
            for offered in advice.split('"').skip(1).step_by(2) {
                assert!(check(offered, &[]).allowed, "{offered}");
            }
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_checked_on_character_boundaries(text in any::<String>(), term in any::<String>()) {
        let verdict = check(&text, &[ChartTerm::condition(term.clone()), ChartTerm::medication(term)]);
        prop_assert_eq!(verdict.allowed, verdict.findings.is_empty());
        for finding in verdict.findings {
            prop_assert!(text.get(finding.start..finding.end).is_some_and(|span| !span.is_empty()));
        }
    }

    #[test]
    fn mixtures_of_telling_words_are_checked(
        parts in proptest::collection::vec(
            prop_oneof![
                Just("metformin"), Just("10"), Just("/"), Just("."), Just("mg"), Just("E11"), Just("card"), Just("no"), Just("É"),
                Just("123-45-6789"), Just("👍"), Just("ending in"), Just("AIDS"), Just("dr")
            ],
            0..12,
        ),
        glue in prop_oneof![Just(" "), Just("")],
    ) {
        let text = parts.join(glue);
        for finding in check(&text, &[]).findings {
            prop_assert!(text.get(finding.start..finding.end).is_some());
        }
    }
}
