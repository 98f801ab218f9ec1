use proptest::prelude::*;
use rstest::rstest;

use super::super::*;
use super::{TODAY, reply};
use Certainty::Unsure;
use Context::{AppointmentReminder as Reminder, PostOpCheck, RefillDue, RescheduleOffer as Offer};
use Intent::{Cancel, ClinicalConcern, OptIn, OptOut};
use SlotAnswer::Picked;

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

#[rstest]
#[case("my knee is hurting me")]
#[case("I'll shoot you an email")]
#[case("you are not responding to my messages")]
#[case("Number two")]
#[case("el doctor no responde")]
fn everyday_words_are_no_emergency(#[case] text: &str) {
    assert_ne!(reply(Reminder, text).urgency.label(), "emergency", "{text}");
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
#[case("unsubscribe please")]
#[case("I asked you to stop")]
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
