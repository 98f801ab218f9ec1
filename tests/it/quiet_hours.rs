//! Quiet hours: what waits for the morning, and when the carrier gives a text up.

use crate::{
    database::both_databases,
    outbound::{is, state, waits_for},
    service::{ANA, Service, Setting},
};
use chartwire::sandbox::carrier::{Fault, FaultKind, Status};
use jiff::SignedDuration;

both_databases! {
    async fn quiet_hours_wait_until_the_morning(database: TestDatabase) {
        let service = Service::start(&database, Setting { now: "2026-11-24T01:30:00Z", ..Setting::default() }).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        let text = service.queue(service.reminder(ana, ANA)).await;
        for wait in [SignedDuration::ZERO, SignedDuration::from_mins(749)] {
            service.advance(wait);
            service.settle().await;
            assert_eq!(service.on(ANA).len(), 0, "at {}", service.now());
        }
        assert_eq!(waits_for(&service, text).await.as_deref(), Some("quiet-hours"));
        service.advance(SignedDuration::from_mins(1));
        service.settle().await;
        assert_eq!(service.on(ANA).len(), 1, "nine in the morning");
        service.stop().await;
    }

    async fn the_carrier_gives_a_text_up_when_quiet_hours_begin(database: TestDatabase) {
        let service = Service::start(&database, Setting { now: "2026-11-24T00:59:00Z", ..Setting::default() }).await;
        let ana = service.patient("ana", "Ana", ANA).await;
        service.carrier.faults().add(Fault::new(FaultKind::HoldQueue));
        let text = service.queue(service.reminder(ana, ANA)).await;
        service.settle().await;
        service.advance(SignedDuration::from_secs(61));
        service.carrier.faults().clear();
        service.carrier.wait_for(|texts| texts.iter().all(|text| text.status == Status::Failed)).await;
        service.settle().await;
        assert_eq!(state(&service, text).await, is("failed", "expired"));
        assert_eq!(service.on(ANA).len(), 0);
        service.stop().await;
    }
}
