use jiff::civil::date;
use jiff::tz::TimeZone;
use rstest::rstest;

use super::super::*;
use super::reply;
use Certainty::{Certain, Unsure};
use Context::RescheduleOffer as Offer;
use Intent::{Reschedule, SlotChoice};
use SlotAnswer::{Ambiguous, NoneOfThese, NotOffered, Picked};

#[rstest]
#[case("1", Picked(1))]
#[case("2", Picked(2))]
#[case("#2", Picked(2))]
#[case("2)", Picked(2))]
#[case("1️⃣", Picked(1))]
#[case("Option 3 please", Picked(3))]
#[case("Number two", Picked(2))]
#[case("the 2nd", Picked(2))]
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
#[case("2 but can you call me first", Ambiguous(vec![1, 2]))]
fn several_or_near_times_are_ambiguous(#[case] text: &str, #[case] slot: SlotAnswer) {
    let reading = reply(Offer, text);
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
#[case("2 on thursday", NotOffered)]
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
#[case("I work Friday")]
#[case("thursday is bad")]
#[case("not thursday")]
#[case("can't do thursday")]
#[case("after 10")]
#[case("anything but monday")]
#[case("next thursday")]
fn denied_or_bounded_times_are_not_certain(#[case] text: &str) {
    let reading = reply(Offer, text);
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
