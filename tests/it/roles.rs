//! Roles on a clock: what the EHR takes from a person ends here, whether the person does anything or not.

use crate::{
    conversation::{in_ehr, staff_change},
    database::both_databases,
    launch::{Browser, count},
    service::{ANA, Service, Setting},
};
use chartwire::{
    access::{REREAD_EVERY, UNCONFIRMED_END},
    sandbox::{Fault, FaultRule, clinic::persona},
};
use jiff::SignedDuration;
use reqwest::StatusCode;
use serde_json::json;

const ROLE: &str = "PractitionerRole/role-carla-reed";
const OPEN: &str = "SELECT COUNT(*) AS n FROM session WHERE ended_at IS NULL";
const WITHOUT_ROLE: &str = "SELECT COUNT(*) AS n FROM session WHERE ended_why = 'no_role'";
/// Within this time a role that is lost in the EHR is lost here.
const WITHIN: SignedDuration = SignedDuration::from_mins(5);

/// Nurse Reed at her screen.
async fn nurse(database: &crate::database::TestDatabase) -> (Service, Browser) {
    let service = Service::start(database, Setting::default()).await;
    service.patient(persona::ANA_LOPEZ, "Ana", ANA).await;
    service.app.schedule().await.unwrap();
    let browser = Browser::new(&service);
    assert_eq!(browser.launch(&service, persona::NURSE_REED).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(browser.page("inbox").await.status(), StatusCode::OK);
    (service, browser)
}

/// Lets this much time pass as the worker sees it: a look a minute.
async fn pass(service: &Service, time: SignedDuration) {
    let mut passed = SignedDuration::ZERO;
    while passed < time {
        service.advance(REREAD_EVERY);
        passed += REREAD_EVERY;
        service.settle().await;
    }
}

both_databases! {
    async fn who_loses_the_role_in_the_ehr_is_out_within_five_minutes_without_doing_anything(database: TestDatabase) {
        let (service, browser) = nurse(&database).await;
        pass(&service, SignedDuration::from_mins(3)).await;
        assert_eq!(browser.page("inbox").await.status(), StatusCode::OK, "nothing has changed");
        staff_change(&service, ROLE, json!({ "active": false })).await;
        pass(&service, WITHIN).await;
        assert_eq!((count(&service, OPEN).await, count(&service, WITHOUT_ROLE).await), (0, 1));
        let refused = browser.page("inbox").await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN);
        assert!(refused.text().await.unwrap().contains("Your role does not include the inbox"));
        service.stop().await;
    }

    async fn who_becomes_something_less_reads_less_within_five_minutes(database: TestDatabase) {
        let (service, browser) = nurse(&database).await;
        service.text(ANA, "my knee hurts more today").await;
        service.settle().await;
        assert!(browser.page("inbox").await.text().await.unwrap().contains("my knee hurts"));
        // From a nurse to somebody at the front desk, who never had that role at a launch.
        let mut code = in_ehr(&service, ROLE).await["code"].clone();
        code[0]["coding"] = in_ehr(&service, "PractitionerRole/role-luis-diaz").await["code"][0]["coding"].clone();
        staff_change(&service, ROLE, json!({ "code": code })).await;
        pass(&service, WITHIN).await;
        assert_eq!(browser.page("inbox").await.status(), StatusCode::FORBIDDEN, "what was gained needs a launch");
        assert_eq!(browser.launch(&service, persona::NURSE_REED).await.status(), StatusCode::SEE_OTHER);
        let page = browser.page("inbox").await.text().await.unwrap();
        assert!(!page.contains("my knee hurts"), "{page}");
        service.stop().await;
    }

    async fn nobody_loses_a_role_because_the_ehr_is_away_for_a_while(database: TestDatabase) {
        let (service, browser) = nurse(&database).await;
        service.ehr.misbehaviour().add(FaultRule::always(Fault::Unavailable));
        let often = SignedDuration::from_mins(4);
        for _ in 0..6 {
            pass(&service, often).await;
            assert_eq!(browser.page("inbox").await.status(), StatusCode::OK);
        }
        pass(&service, often).await;
        assert_eq!(browser.page("inbox").await.status(), StatusCode::OK);
        assert!(often * 7 < UNCONFIRMED_END);
        pass(&service, often).await;
        let refused = browser.page("inbox").await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
        assert!(refused.text().await.unwrap().contains("Your role could not be confirmed"));
        service.stop().await;
    }
}
