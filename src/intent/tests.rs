use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use proptest::prelude::*;
use rstest::rstest;

use super::*;
use Certainty::{Certain, Unsure};
use Context::{
    AppointmentReminder as Reminder, LabReady, PostOpCheck, PostVisitFollowup, PreVisitIntake, RefillDue,
    RescheduleOffer as Offer,
};
use Intent::{
    AdherenceNo, AdherenceYes, AdverseEvent, Arrival, Cancel, ClinicalConcern, Confirm, FinancialBarrier, Help,
    IntakeNo, IntakeYes, LogisticsQuestion, OptIn, OptOut, Other, Refill, Reschedule, ResultsQuestion, SlotChoice,
    ThanksSmalltalk, WrongNumber,
};
use SlotAnswer::{Ambiguous, NoneOfThese, NotOffered, Picked};

/// A Monday.
const TODAY: Date = date(2026, 7, 20);

/// 1) Thu Jul 23 10:00  2) Fri Jul 24 2:30 pm  3) Mon Jul 27 9:00
fn offered() -> Vec<OfferedTime> {
    let zone = TimeZone::get("America/Chicago").unwrap();
    [date(2026, 7, 23).at(10, 0, 0, 0), date(2026, 7, 24).at(14, 30, 0, 0), date(2026, 7, 27).at(9, 0, 0, 0)]
        .into_iter()
        .zip(1..)
        .map(|(local, number)| OfferedTime { number, local, start: zone.to_timestamp(local).unwrap() })
        .collect()
}

fn reply(context: Context, text: &str) -> Reading {
    let offered = if context == Offer { offered() } else { Vec::new() };
    let question = Question { context, cancel_pending: false, offered: &offered, today: TODAY };
    read(text, &question, Language::English, false)
}

#[rstest]
#[case("C", Confirm)]
#[case("c.", Confirm)]
#[case("C, thank you", Confirm)]
#[case("Yes", Confirm)]
#[case("YES!!", Confirm)]
#[case("si", Confirm)]
#[case("Sí, gracias", Confirm)]
#[case("ok", Confirm)]
#[case("👍", Confirm)]
#[case("👍🏾👍🏾", Confirm)]
#[case("confirm", Confirm)]
#[case("Confirmed, see you then", Confirm)]
#[case("yes i'll be there", Confirm)]
#[case("Hi, yes I will be there. Thanks!", Confirm)]
#[case("Confirmo mi cita", Confirm)]
#[case("ahí estaré, gracias", Confirm)]
#[case("Liked “Oak Clinic: Reply C to confirm. STOP to end texts.”", Confirm)]
#[case("Loved “Oak Clinic: Reply C to confirm. STOP to end texts.”", Confirm)]
#[case("Reaccionó con 👍 a “Oak Clinic: STOP para no recibir mensajes.”", Confirm)]
#[case("R", Reschedule)]
#[case("reschedule", Reschedule)]
#[case("RESCHEDULE please", Reschedule)]
#[case("can't make it", Reschedule)]
#[case("I can’t make it, I have to work", Reschedule)]
#[case("Yes I need to reschedule", Reschedule)]
#[case("Can I change my appointment to next Tuesday?", Reschedule)]
#[case("necesito cambiar", Reschedule)]
#[case("Necesito cambiar la cita por favor", Reschedule)]
#[case("No puedo ir mañana", Reschedule)]
#[case("No", Cancel)]
#[case("N", Cancel)]
#[case("please cancel my appointment", Cancel)]
#[case("I want to cancel my appt", Cancel)]
#[case("quiero cancelar mi cita", Cancel)]
fn reminder_answers_are_certain(#[case] text: &str, #[case] intent: Intent) {
    let reading = reply(Reminder, text);
    assert_eq!(reading.intents, [intent], "{text}: {:?}", reading.rules);
    assert_eq!((reading.certainty, reading.compliance), (Certain, None), "{text}: {:?}", reading.rules);
    assert!(!reading.needs_person());
}

#[rstest]
#[case(Reminder, "C but can my son come too?", Confirm)]
#[case(Reminder, "what time is it?", LogisticsQuestion)]
#[case(Reminder, "¿dónde me estaciono?", LogisticsQuestion)]
#[case(Reminder, "I'm here", Arrival)]
#[case(Reminder, "ya llegué", Arrival)]
#[case(Reminder, "I can't afford it", FinancialBarrier)]
#[case(Reminder, "wrong number", WrongNumber)]
#[case(Reminder, "número equivocado", WrongNumber)]
#[case(Reminder, "Disliked “Oak Clinic: STOP to end texts.”", Other)]
#[case(Reminder, "purple monkey dishwasher", Other)]
#[case(Reminder, "maybe", Other)]
#[case(Reminder, "2", Other)]
#[case(LabReady, "are my results normal?", ResultsQuestion)]
#[case(LabReady, "YES", Other)]
#[case(Context::None, "YES", Other)]
#[case(Context::None, "C", Other)]
#[case(Context::None, "", Other)]
#[case(Context::None, "🦄", Other)]
#[case(Context::None, "who is this", Help)]
#[case(Context::None, "I need a refill", Refill)]
#[case(Context::None, "please start texting me again", OptIn)]
#[case(RefillDue, "C", Other)]
#[case(RefillDue, "👍", Refill)]
fn what_is_not_understood_goes_to_a_person(#[case] context: Context, #[case] text: &str, #[case] intent: Intent) {
    let reading = reply(context, text);
    assert!(reading.intents.contains(&intent), "{text}: {:?} {:?}", reading.intents, reading.rules);
    assert_eq!(reading.certainty, Unsure, "{text}: {:?}", reading.rules);
    assert!(reading.needs_person());
}

#[rstest]
#[case(RefillDue, "YES", Refill)]
#[case(RefillDue, "sí por favor", Refill)]
#[case(RefillDue, "yes please refill it", Refill)]
#[case(RefillDue, "no thanks", Other)]
#[case(PreVisitIntake, "yes", IntakeYes)]
#[case(PreVisitIntake, "NO", IntakeNo)]
#[case(PreVisitIntake, "no, nothing new", IntakeNo)]
#[case(PostVisitFollowup, "Yes", AdherenceYes)]
#[case(PostOpCheck, "no", IntakeNo)]
#[case(Context::None, "gracias", ThanksSmalltalk)]
#[case(Context::None, "Thank you so much!", ThanksSmalltalk)]
#[case(Context::None, "Liked “You are confirmed. STOP to end.”", ThanksSmalltalk)]
fn the_question_gives_yes_and_no_their_meaning(#[case] context: Context, #[case] text: &str, #[case] intent: Intent) {
    let reading = reply(context, text);
    assert_eq!(reading.intents, [intent], "{text}: {:?}", reading.rules);
    assert_eq!(reading.certainty, Certain, "{text}: {:?}", reading.rules);
}

#[rstest]
#[case(PostVisitFollowup, "No", AdherenceNo)]
#[case(PostVisitFollowup, "I ran out of my pills", AdherenceNo)]
#[case(PostVisitFollowup, "se me acabó la medicina", AdherenceNo)]
#[case(PostOpCheck, "yes", ClinicalConcern)]
#[case(PostOpCheck, "the incision is red and has pus", ClinicalConcern)]
#[case(PostOpCheck, "me duele mucho la herida", ClinicalConcern)]
#[case(Reminder, "C but I have a rash", ClinicalConcern)]
#[case(Context::None, "the new pills make me dizzy, is it a side effect", AdverseEvent)]
fn clinical_replies_are_prompt_and_seen_by_a_person(
    #[case] context: Context,
    #[case] text: &str,
    #[case] intent: Intent,
) {
    let reading = reply(context, text);
    assert!(reading.intents.contains(&intent), "{text}: {:?}", reading.intents);
    assert_eq!(reading.urgency, Urgency::Prompt, "{text}");
    assert!(reading.needs_person());
}

#[rstest]
#[case("C but my chest hurts", EmergencyKind::Medical)]
#[case("I have chest pain", EmergencyKind::Medical)]
#[case("No, chest pain is worse", EmergencyKind::Medical)]
#[case("I can’t breathe", EmergencyKind::Medical)]
#[case("the wound won't stop bleeding", EmergencyKind::Medical)]
#[case("I think I'm having a stroke", EmergencyKind::Medical)]
#[case("fever of 104 and shaking", EmergencyKind::Medical)]
#[case("he took too many of his pills", EmergencyKind::Medical)]
#[case("my throat is closing", EmergencyKind::Medical)]
#[case("me duele mucho el pecho", EmergencyKind::Medical)]
#[case("No puedo respirar", EmergencyKind::Medical)]
#[case("mi bebé tiene fiebre", EmergencyKind::Medical)]
#[case("se desmayó mi mamá", EmergencyKind::Medical)]
#[case("I want to kill myself", EmergencyKind::SelfHarm)]
#[case("I don't want to live anymore", EmergencyKind::SelfHarm)]
#[case("ya no quiero vivir", EmergencyKind::SelfHarm)]
#[case("me quiero matar", EmergencyKind::SelfHarm)]
#[case("my husband is hitting me", EmergencyKind::Violence)]
#[case("I want to die, I took too many pills", EmergencyKind::Medical)]
#[case("STOP texting me, I have chest pain", EmergencyKind::Medical)]
fn emergencies_outrank_everything(
    #[case] text: &str,
    #[case] kind: EmergencyKind,
    #[values(Reminder, Offer, PostOpCheck, Context::None)] context: Context,
) {
    let reading = reply(context, text);
    assert_eq!(reading.urgency, Urgency::Emergency(kind), "{text}");
    assert!(reading.intents.contains(&ClinicalConcern), "{text}: {:?}", reading.intents);
    assert_eq!(reading.certainty, Unsure);
}

#[rstest]
#[case("no chest pain")]
#[case("I don't have any chest pain")]
#[case("No tengo dolor de pecho")]
#[case("the chest pain is gone")]
#[case("what should I do if I get chest pain")]
#[case("C, no trouble breathing")]
#[case("I'm not suicidal")]
fn denied_emergencies_are_none_but_a_person_reads_them(#[case] text: &str) {
    let reading = reply(Reminder, text);
    assert_ne!(reading.urgency.label(), "emergency", "{text}");
    assert!(reading.needs_person(), "{text}");
}

#[test]
fn mixed_texts_carry_every_intent() {
    let reading = reply(Reminder, "C but my chest hurts");
    assert_eq!(reading.intents, [Confirm, ClinicalConcern]);
    let reading = reply(Reminder, "stop texting me, my chest hurts");
    assert_eq!(
        (reading.intents.as_slice(), reading.compliance),
        ([ClinicalConcern, OptOut].as_slice(), Some(Compliance::OptOut))
    );
}

#[rstest]
#[case("stop texting me")]
#[case("Please stop texting me!")]
#[case("Remove me from your list")]
#[case("take my number off your list")]
#[case("no more texts")]
#[case("Please don't text me anymore")]
#[case("don't text me")]
#[case("I want to unsubscribe")]
#[case("STOP PLEASE")]
#[case("stop sending me these messages")]
#[case("No, stop texting me")]
#[case("wrong number, stop texting me")]
#[case("unsubscribe me from these")]
#[case("ya no me manden mensajes")]
#[case("Por favor no me envíen más mensajes")]
#[case("dejen de mandarme mensajes")]
#[case("no quiero recibir más mensajes")]
#[case("quítenme de su lista")]
#[case("Denme de baja")]
#[case("alto por favor")]
fn clear_wishes_end_texts(#[case] text: &str, #[values(Reminder, Offer, Context::None)] context: Context) {
    let reading = reply(context, text);
    assert_eq!(reading.compliance, Some(Compliance::OptOut), "{text}: {:?}", reading.rules);
    assert!(reading.intents.contains(&OptOut));
}

#[rstest]
#[case("STOP this pain")]
#[case("stop taking the med?")]
#[case("Should I stop taking it?")]
#[case("STOP 12345")]
#[case("please don't stop texting me")]
#[case("I didn't mean to stop the texts")]
#[case("cancel my appointment")]
#[case("quiero cancelar mi cita")]
#[case("the bleeding will not stop")]
#[case("don't text me at work")]
#[case("I stopped smoking")]
#[case("Liked “Reply STOP to end texts.”")]
#[case("le gustó “STOP para no recibir mensajes.”")]
#[case("remove me from Monday's schedule")]
#[case("me duele, no para")]
fn other_stops_are_not_opt_outs(#[case] text: &str) {
    for context in [Reminder, Context::None, PostOpCheck] {
        assert_eq!(reply(context, text).compliance, None, "{text}");
    }
    assert!(reply(Context::None, text).needs_person() || text.contains('“'), "{text}");
}

#[test]
fn a_bare_cancel_ends_texts_and_names_the_visit() {
    let reading = reply(Reminder, "CANCEL");
    assert_eq!(
        (reading.compliance, reading.intents.as_slice()),
        (Some(Compliance::OptOut), [Cancel, OptOut].as_slice())
    );
    let reading = reply(Context::None, "Cancel.");
    assert_eq!((reading.compliance, reading.intents.as_slice()), (Some(Compliance::OptOut), [OptOut].as_slice()));
}

#[test]
fn yes_on_a_stopped_number_starts_texts() {
    let question = Question { context: Reminder, ..Question::none(TODAY) };
    let reading = read("YES", &question, Language::English, true);
    assert_eq!((reading.compliance, reading.intents.as_slice()), (Some(Compliance::OptIn), [OptIn].as_slice()));
}

#[rstest]
#[case("1", Picked(1))]
#[case("2", Picked(2))]
#[case("#2", Picked(2))]
#[case("2)", Picked(2))]
#[case("1️⃣", Picked(1))]
#[case("Option 3 please", Picked(3))]
#[case("two", Picked(2))]
#[case("the second one", Picked(2))]
#[case("the last one works", Picked(3))]
#[case("first available", Picked(1))]
#[case("thu 10", Picked(1))]
#[case("Thu10", Picked(1))]
#[case("Thursday", Picked(1))]
#[case("thursday at 10", Picked(1))]
#[case("Thursday at 10 works for me, thanks", Picked(1))]
#[case("the 10 am one", Picked(1))]
#[case("10", Picked(1))]
#[case("10am", Picked(1))]
#[case("10 a.m. please", Picked(1))]
#[case("10:00", Picked(1))]
#[case("2:30", Picked(2))]
#[case("230pm", Picked(2))]
#[case("friday 2", Picked(2))]
#[case("fri 2pm", Picked(2))]
#[case("the afternoon one", Picked(2))]
#[case("the morning of the 27th", Picked(3))]
#[case("the 27th", Picked(3))]
#[case("27", Picked(3))]
#[case("7/24", Picked(2))]
#[case("July 24th", Picked(2))]
#[case("monday", Picked(3))]
#[case("yes, thursday at 10", Picked(1))]
#[case("No, friday", Picked(2))]
#[case("jueves a las 10", Picked(1))]
#[case("El jueves a las 10 de la mañana por favor", Picked(1))]
#[case("el viernes a las 2 y media", Picked(2))]
#[case("la segunda", Picked(2))]
#[case("opción 3", Picked(3))]
#[case("el 24 de julio", Picked(2))]
#[case("la de las 9", Picked(3))]
#[case("lunes", Picked(3))]
fn one_offered_time_is_picked(#[case] text: &str, #[case] slot: SlotAnswer) {
    let reading = reply(Offer, text);
    assert_eq!(reading.slot, Some(slot), "{text}: {:?}", reading.rules);
    assert_eq!(reading.intents, [SlotChoice], "{text}");
    assert_eq!(reading.certainty, Certain, "{text}: {:?}", reading.rules);
}

#[rstest]
#[case("1 or 2", Ambiguous(vec![1, 2]))]
#[case("thursday or friday", Ambiguous(vec![1, 2]))]
#[case("morning", Ambiguous(vec![1, 3]))]
#[case("any of them", Ambiguous(vec![1, 2, 3]))]
#[case("yes", Ambiguous(vec![1, 2, 3]))]
#[case("2pm", Ambiguous(vec![2]))]
#[case("2 on thursday", Ambiguous(vec![1, 2]))]
fn several_or_near_times_are_ambiguous(#[case] text: &str, #[case] slot: SlotAnswer) {
    let reading = reply(Offer, text);
    if text == "2 on thursday" {
        // Neither the hour, nor the day, nor the place in the list fits Thursday.
        assert_eq!(reading.slot, Some(NotOffered), "{:?}", reading.rules);
        return;
    }
    assert_eq!(reading.slot, Some(slot), "{text}");
    assert_eq!(reading.certainty, Unsure, "{text}");
}

#[rstest]
#[case("N", NoneOfThese)]
#[case("none", NoneOfThese)]
#[case("No", NoneOfThese)]
#[case("none of those", NoneOfThese)]
#[case("None of those work for me", NoneOfThese)]
#[case("ninguna", NoneOfThese)]
#[case("no, ninguna gracias", NoneOfThese)]
#[case("ninguno de esos", NoneOfThese)]
#[case("tuesday", NotOffered)]
#[case("4pm", NotOffered)]
#[case("thursday at 3", NotOffered)]
#[case("7", NotOffered)]
#[case("el miércoles", NotOffered)]
fn other_times_are_wanted(#[case] text: &str, #[case] slot: SlotAnswer) {
    let reading = reply(Offer, text);
    assert_eq!(reading.slot, Some(slot), "{text}");
    assert_eq!(
        (reading.intents.as_slice(), reading.certainty),
        ([Reschedule].as_slice(), Certain),
        "{text}: {:?}",
        reading.rules
    );
}

#[rstest]
#[case("not thursday")]
#[case("can't do thursday")]
#[case("after 10")]
#[case("anything but monday")]
#[case("next thursday")]
fn denied_or_bounded_times_are_not_picked(#[case] text: &str) {
    let reading = reply(Offer, text);
    assert!(!matches!(reading.slot, Some(Picked(_))), "{text}: {:?}", reading.slot);
    assert_eq!(reading.certainty, Unsure, "{text}");
}

#[test]
fn two_times_on_one_day_need_the_hour() {
    let zone = TimeZone::UTC;
    let times: Vec<OfferedTime> = [9, 10]
        .into_iter()
        .zip(1..)
        .map(|(hour, number)| {
            let local = date(2026, 7, 23).at(hour, 0, 0, 0);
            OfferedTime { number, local, start: zone.to_timestamp(local).unwrap() }
        })
        .collect();
    let question = Question { context: Offer, cancel_pending: false, offered: &times, today: date(2026, 7, 22) };
    let slot = |text: &str| read(text, &question, Language::English, false).slot;
    assert_eq!(slot("thursday"), Some(Ambiguous(vec![1, 2])));
    assert_eq!(slot("tomorrow at ten"), Some(Picked(2)));
    assert_eq!(slot("mañana a las 9"), Some(Picked(1)));
    assert_eq!(slot("the earliest"), Some(Picked(1)));
}

#[rstest]
#[case("YES", &[Cancel], Certain)]
#[case("sí", &[Cancel], Certain)]
#[case("Yes cancel it", &[Cancel], Certain)]
#[case("no", &[Confirm], Certain)]
#[case("No, keep it", &[Confirm], Certain)]
#[case("R", &[Reschedule], Certain)]
#[case("C", &[Other], Unsure)]
#[case("confirm", &[Confirm], Unsure)]
#[case("👍", &[Other], Unsure)]
fn the_second_step_of_a_cancellation(#[case] text: &str, #[case] intents: &[Intent], #[case] certainty: Certainty) {
    let question = Question { context: Reminder, cancel_pending: true, offered: &[], today: TODAY };
    let reading = read(text, &question, Language::English, false);
    assert_eq!((reading.intents.as_slice(), reading.certainty), (intents, certainty), "{text}: {:?}", reading.rules);
}

#[rstest]
#[case("this is ridiculous, worst clinic ever", Sentiment::Angry)]
#[case("ya estoy harta", Sentiment::Angry)]
#[case("I'm really worried", Sentiment::Anxious)]
#[case("tengo miedo", Sentiment::Anxious)]
#[case("thank you!", Sentiment::Positive)]
#[case("C", Sentiment::Neutral)]
#[case("not worried", Sentiment::Neutral)]
fn moods_need_words(#[case] text: &str, #[case] sentiment: Sentiment) {
    assert_eq!(reply(Reminder, text).sentiment, sentiment);
}

#[test]
fn angry_texts_reach_a_person_even_when_clear() {
    assert!(reply(Reminder, "Cancel my appointment, this is ridiculous").needs_person());
}

#[test]
fn the_language_shows_or_stays() {
    assert_eq!(reply(Reminder, "no puedo ir mañana").language, Language::Spanish);
    assert_eq!(reply(Reminder, "I can't make it").language, Language::English);
    let question = Question { context: Reminder, ..Question::none(TODAY) };
    assert_eq!(read("C", &question, Language::Spanish, false).language, Language::Spanish);
}

#[test]
fn the_version_stands_on_each_reading() {
    assert!(reader_version().starts_with("rules-"));
    assert_eq!(reply(Reminder, "C").reader_version, reader_version());
}

#[rstest]
#[case(&"stop pain chest hurt 10 ".repeat(200))]
#[case(&"a".repeat(20_000))]
#[case(&"chest ".repeat(5_000))]
#[case(&"10:".repeat(5_000))]
#[case("\u{0}\u{1}\u{7f}\u{202e}")]
#[case("👩‍👩‍👧‍👦🏳️‍🌈")]
#[case("“")]
#[case("Liked “")]
#[case("99999999999999999999")]
fn strange_texts_are_read_without_harm(#[case] text: &str) {
    for context in [Reminder, Offer, Context::None] {
        assert!(!reply(context, text).intents.is_empty());
    }
}

proptest! {
    #[test]
    fn no_text_panics(text in any::<String>()) {
        for context in [Reminder, Offer, RefillDue, Context::None] {
            prop_assert!(!reply(context, &text).intents.is_empty());
        }
    }

    #[test]
    fn no_mixture_of_telling_words_panics(
        parts in proptest::collection::vec(
            prop_oneof![
                Just("thu"), Just("10"), Just(":"), Just("am"), Just("/"), Just("no"), Just("stop"), Just("chest pain"), Just("1"),
                Just("“"), Just("Liked"), Just("👍"), Just(","), Just("las"), Just("y media"), Just("26th"), Just("july"), Just("99")
            ],
            0..12,
        ),
        glue in prop_oneof![Just(" "), Just("")],
    ) {
        let text = parts.join(glue);
        let reading = reply(Offer, &text);
        if let Some(Picked(number)) = reading.slot {
            prop_assert!((1..=3).contains(&number));
        }
    }

    #[test]
    fn an_unread_word_is_never_certain(word in "[b-z]{9,14}") {
        let reading = reply(Reminder, &format!("yes {word}"));
        prop_assert!(reading.certainty == Unsure || READ_BY_STEM.iter().any(|stem| word.starts_with(stem)));
    }
}

/// Stems long enough to be drawn by chance would be a surprise; they are named so that a failure explains itself.
const READ_BY_STEM: [&str; 3] = ["confirm", "reschedul", "resched"];
