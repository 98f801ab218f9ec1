//! What the gauges say of a service whose EHR is away and whose nurses have not looked.

use crate::{
    conversation::reminded,
    database::both_databases,
    service::{ANA, STRANGER, Service},
};
use chartwire::sandbox::misbehaviour::{Fault, FaultRule};
use jiff::SignedDuration;

const UNREAD: &str = "chartwire_oldest_unread_text_seconds";
const UNFILED: &str = "chartwire_oldest_unfiled_text_seconds";
const NURSING: [(&str, &str); 3] = [("tenant", "riverside"), ("team", "nursing"), ("urgency", "prompt")];

async fn value(service: &Service, name: &'static str, labels: &[(&'static str, &str)]) -> u32 {
    service.app.gauges().read().await.unwrap().value(name, labels)
}

both_databases! {
    async fn what_waits_shows_with_its_age(database: TestDatabase) {
        let service = reminded(&database).await;
        assert_eq!((value(&service, UNREAD, &[]).await, value(&service, UNFILED, &[]).await), (0, 0));
        service.text(STRANGER, "hello").await;
        service.advance(SignedDuration::from_secs(40));
        assert_eq!(value(&service, UNREAD, &[]).await, 40, "nobody has read it");
        service.settle().await;
        assert_eq!(value(&service, UNREAD, &[]).await, 0);

        service.ehr.misbehaviour().add(FaultRule::always(Fault::Unavailable));
        service.text(ANA, "my knee hurts more today").await;
        service.settle().await;
        service.advance(SignedDuration::from_mins(20));
        service.settle().await;
        let unfiled = value(&service, UNFILED, &[]).await;
        assert!((1200..1300).contains(&unfiled), "{unfiled}");
        assert_eq!(value(&service, "chartwire_tasks_open", &NURSING).await, 1);
        let waits = value(&service, "chartwire_oldest_open_task_seconds", &NURSING).await;
        assert!((1200..1300).contains(&waits), "{waits}");
        assert_eq!(value(&service, "chartwire_jobs", &[("kind", "FileConversation"), ("state", "ready")]).await, 1);

        service.ehr.misbehaviour().clear();
        service.advance(SignedDuration::from_mins(30));
        service.settle().await;
        assert_eq!(value(&service, UNFILED, &[]).await, 0, "it is in the chart");
        service.stop().await;
    }
}
