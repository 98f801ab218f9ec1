use rstest::rstest;

use super::super::*;
use super::{TODAY, reply};
use Certainty::{Certain, Unsure};
use Context::{AppointmentReminder as Reminder, LabReady, PostOpCheck, PostVisitFollowup, PreVisitIntake, RefillDue};
use Intent::{
    AdherenceNo, AdherenceYes, AdverseEvent, Arrival, Cancel, ClinicalConcern, Confirm, FinancialBarrier, Help,
    IntakeNo, IntakeYes, LogisticsQuestion, OptIn, OptOut, Other, Refill, Reschedule, ResultsQuestion, ThanksSmalltalk,
    WrongNumber,
};

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
#[case("C, thanks Dr. Smith", Confirm)]
#[case("yes, thank you for the reminder", Confirm)]
#[case("R", Reschedule)]
#[case("Is there another time available?", Reschedule)]
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
#[case(PostOpCheck, "No. Yes", IntakeNo)]
#[case(Reminder, "C u never", Other)]
#[case(Reminder, "R u open today", Other)]
#[case(Reminder, "I will be there at 3 instead", Confirm)]
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
#[case(RefillDue, "I don't need it", Other)]
#[case(Reminder, "no changes", Other)]
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
#[case(PreVisitIntake, "no changes", IntakeNo)]
#[case(PostOpCheck, "No concerns, thanks", IntakeNo)]
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
