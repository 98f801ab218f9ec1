use super::*;
use crate::kernel::ManualClock;
use jiff::SignedDuration;
use std::net::IpAddr;

fn rates(settings: RateSettings) -> (Rates, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::at("2026-11-23T17:00:00Z".parse().unwrap()));
    let by: Arc<dyn Clock> = clock.clone();
    (Rates::new(settings, &by), clock)
}

fn settings(count: u32) -> RateSettings {
    let count = NonZeroU32::new(count).unwrap();
    RateSettings {
        refusals: count,
        launches: count,
        session_requests: count,
        replies: count,
        practice_replies: count.saturating_mul(NonZeroU32::new(2).unwrap()),
    }
}

fn source(address: &str) -> Source {
    Source::of(address.parse::<IpAddr>().unwrap())
}

#[test]
fn a_source_gets_in_again_when_it_has_waited_as_it_was_told() {
    let (rates, clock) = rates(settings(4));
    let (here, there) = (Some(source("192.0.2.1")), Some(source("192.0.2.2")));
    for _ in 0..4 {
        assert_eq!(rates.launch(here), Ok(()));
    }
    // Four in a minute: the next in 15 seconds.
    assert_eq!(rates.launch(here), Err(Failure::TooMany(15)));
    assert_eq!(rates.launch(there), Ok(()));
    clock.advance(SignedDuration::from_millis(14_500));
    assert_eq!(rates.launch(here), Err(Failure::TooMany(1)), "half a second, told in whole ones");
    clock.advance(SignedDuration::from_secs(1));
    assert_eq!(rates.launch(here), Ok(()));
    assert_eq!(rates.refused("webhook", here), Ok(()), "what was refused is counted apart from launches");
}

#[test]
fn nobody_is_limited_by_an_address_that_is_not_theirs() {
    let (rates, _) = rates(settings(1));
    for _ in 0..100 {
        assert_eq!((rates.launch(None), rates.refused("webhook", None)), (Ok(()), Ok(())));
    }
}

#[test]
fn a_person_who_sends_too_much_leaves_room_for_colleagues_and_a_practice_for_others() {
    let (rates, _) = rates(settings(2));
    let (ours, theirs) = (Id::from_bytes([1; 16]), Id::from_bytes([2; 16]));
    let staff = |number: u8| Id::from_bytes([number; 16]);
    let sent = |tenant, staff| (0..50).filter(|_| rates.reply(tenant, staff).is_ok()).count();
    assert_eq!(sent(ours, staff(1)), 2, "one person's");
    assert_eq!(sent(ours, staff(2)), 2, "the tries beyond were not taken from a colleague");
    assert_eq!(sent(ours, staff(3)), 0, "the practice's");
    assert_eq!(sent(theirs, staff(4)), 2);
}
