//! Keys, as operators replace and destroy them while the service works, on either database.

use crate::{
    backups::well,
    database::{TestDatabase, both_databases},
    installation::Installation,
    service::{ANA, JAMES, Neighbour, PRIYA, SLUG, Service, Setting},
};
use chartwire::{
    app::{App, Running},
    db::{Db, sql},
    kernel::{Id, SystemEntropy, Tenant},
    vault::{Kek, Sealed, VaultError},
};
use jiff::SignedDuration;
use std::collections::BTreeMap;

const NEIGHBOUR: &str = "hilltop";

/// Every column that holds sealed values and is sealed anew.
const SEALED: &str = "SELECT identity AS value FROM patient WHERE tenant = $1 \
    UNION ALL SELECT chart_terms FROM patient WHERE tenant = $1 \
    UNION ALL SELECT number FROM patient_number WHERE tenant = $1 \
    UNION ALL SELECT proof FROM consent_entry WHERE tenant = $1 \
    UNION ALL SELECT number FROM message WHERE tenant = $1 \
    UNION ALL SELECT parameters FROM message WHERE tenant = $1 \
    UNION ALL SELECT body FROM message WHERE tenant = $1 \
    UNION ALL SELECT labels FROM appointment WHERE tenant = $1 \
    UNION ALL SELECT name FROM staff_user WHERE tenant = $1 \
    UNION ALL SELECT grant_tokens FROM session WHERE tenant = $1 \
    UNION ALL SELECT body FROM draft WHERE tenant = $1";

/// How many stored values are sealed, and how many of them under keys that were replaced.
async fn sealed(service: &Service) -> (usize, usize) {
    let replaced = service.app.vault().rotated_keys(service.tenant).await.unwrap();
    let rows = service.app.db().all(sql(SEALED).bind(service.tenant)).await.unwrap();
    let values = rows.iter().filter_map(|row| row.get::<Option<Vec<u8>>>("value").unwrap());
    let keys: Vec<_> = values.map(|value| Sealed::from_bytes(value).unwrap().key_id()).collect();
    (keys.len(), keys.iter().filter(|key| replaced.contains(key)).count())
}

async fn number(db: &Db, statement: &'static str) -> i64 {
    db.one(sql(statement)).await.unwrap().get("n").unwrap()
}

/// The practice with patients and texts, and where an operator works on it.
async fn practice(database: &TestDatabase, setting: Setting) -> (Service, Installation) {
    let service = Service::start(database, setting).await;
    for (fhir_id, given, phone) in [("ana", "Ana", ANA), ("james", "James", JAMES), ("priya", "Priya", PRIYA)] {
        service.patient(fhir_id, given, phone).await;
    }
    service.app.schedule().await.unwrap();
    let installation = service.installed_over(database.url());
    (service, installation)
}

/// Patients text, reminders go out and jobs run, all at once, until `done`; gives how many texts came in.
async fn busy(service: &Service, done: impl Future<Output = ()>) -> i64 {
    let patient = service.directory().id_of(service.tenant, "ana").await.unwrap().unwrap();
    let texts = async |phone: &'static str| {
        let mut sent = 0;
        for round in 0..20 {
            service.text(phone, &format!("thank you {round}")).await;
            sent += 1;
        }
        sent
    };
    let work = async {
        for _ in 0..10 {
            service.queue(service.reminder(patient, ANA)).await;
            service.app.worker().run_due().await.unwrap();
        }
    };
    let (one, other, third, (), ()) = tokio::join!(texts(ANA), texts(JAMES), texts(PRIYA), work, done);
    one + other + third
}

both_databases! {
    async fn keys_of_both_kinds_are_replaced_while_texts_come_and_go_and_every_value_is_sealed_anew(database: TestDatabase) {
        let (mut service, installation) = practice(&database, Setting::default()).await;
        let mut texts = Box::pin(busy(&service, async {})).await;
        let data = ["keys", "rotate", "--what", "data"];
        texts += Box::pin(busy(&service, async { well(&installation.run(&data).await) })).await;
        let (_, under_replaced) = sealed(&service).await;
        assert!(under_replaced > 60, "{under_replaced}: what is already there has to be sealed anew");

        // Past the two minutes in which other processes may still use them, with texts all the while.
        service.advance(SignedDuration::from_mins(3));
        texts += Box::pin(busy(&service, async {})).await;
        service.settle().await;
        let (values, under_replaced) = sealed(&service).await;
        assert!(values > 400 && under_replaced == 0, "{under_replaced} of {values}");

        // The key-encryption key, in the way that docs/keys.md says.
        let fresh = Kek::generate(&SystemEntropy);
        installation.write("FRESH_KEK", &fresh.to_base64());
        installation.edit("[{ file = \"KEK\" }]", "[{ file = \"FRESH_KEK\" }, { file = \"KEK\" }]");
        let kek = ["keys", "rotate"];
        texts += Box::pin(busy(&service, async { well(&installation.run(&kek).await) })).await;
        service.die().await;
        service.come_back(&installation).await;
        texts += Box::pin(busy(&service, async {})).await;
        service.advance(SignedDuration::from_mins(3));
        let wrapped = installation.run(&kek).await;
        well(&wrapped);
        let wrapped = installation.run(&kek).await;
        assert!(wrapped.out.contains(": 0 data keys wrapped anew"), "{}", wrapped.out);
        service.die().await;
        installation.edit("[{ file = \"FRESH_KEK\" }, { file = \"KEK\" }]", "[{ file = \"FRESH_KEK\" }]");
        service.come_back(&installation).await;
        service.settle().await;

        assert_eq!(number(service.app.db(), "SELECT COUNT(*) AS n FROM message WHERE direction = 'in'").await, texts);
        assert_eq!(number(service.app.db(), "SELECT COUNT(*) AS n FROM job WHERE state = 'dead'").await, 0);
        service.app.sealer().seal(service.tenant).await.unwrap();
        well(&installation.run(&["audit", "verify"]).await);
        service.stop().await;
    }

    async fn what_was_sealed_under_destroyed_keys_opens_for_nobody_and_the_neighbour_goes_on(database: TestDatabase) {
        let neighbour = Neighbour { slug: NEIGHBOUR, ehr: "locations = [\"Location/location-annex\"]" };
        let ehr = "locations = [\"Location/location-main\"]";
        let (service, installation) =
            practice(&database, Setting { ehr, neighbour: Some(neighbour), ..Setting::default() }).await;
        service.text(ANA, "thank you").await;
        service.settle().await;
        let other = service.app.tenant(NEIGHBOUR).unwrap();
        let hash = service.app.vault().content_hash(other, b"x").await.unwrap();
        let (values, _) = sealed(&service).await;
        assert!(values > 3);
        well(&installation.run(&["keys", "destroy", "--tenant", SLUG, "--confirm", SLUG]).await);

        let by_practice = wrapped_keys(service.app.db()).await;
        assert_eq!((by_practice[&service.tenant], by_practice[&other] > 0), (0, true), "{by_practice:?}");
        service.advance(SignedDuration::from_mins(3));
        let refused = service.app.vault().content_hash(service.tenant, b"x").await.unwrap_err();
        assert!(matches!(refused, VaultError::Destroyed { .. }), "{refused}");
        assert_eq!(service.app.vault().content_hash(other, b"x").await.unwrap(), hash);

        let refused = App::build(&installation.settings(), Running::with(service.instruments.clone())).await;
        let refused = refused.err().unwrap().to_string();
        assert!(
            refused.starts_with("practice riverside: the keys (tenants.key_encryption_keys, tenants.transit)")
                && refused.contains("take the practice out of the settings"),
            "{refused}"
        );
        service.stop().await;
    }

    async fn a_wrong_key_is_refused_at_the_start_with_the_practice_and_the_setting(database: TestDatabase) {
        let neighbour = Neighbour { slug: NEIGHBOUR, ehr: "locations = [\"Location/location-annex\"]" };
        let ehr = "locations = [\"Location/location-main\"]";
        let (service, installation) =
            practice(&database, Setting { ehr, neighbour: Some(neighbour), ..Setting::default() }).await;
        service.app.vault().content_hash(service.app.tenant(NEIGHBOUR).unwrap(), b"x").await.unwrap();
        installation.write("NEIGHBOUR_KEK", &Kek::generate(&SystemEntropy).to_base64());
        let refused = App::build(&installation.settings(), Running::with(service.instruments.clone())).await;
        let refused = refused.err().unwrap().to_string();
        assert!(
            refused.starts_with("practice hilltop: the keys (tenants.key_encryption_keys, tenants.transit)")
                && refused.contains("a new key goes before it"),
            "{refused}"
        );
        service.stop().await;
    }
}

/// How many data keys of each practice can still be unwrapped.
async fn wrapped_keys(db: &Db) -> BTreeMap<Id<Tenant>, i64> {
    let statement = "SELECT tenant, COUNT(CASE WHEN LENGTH(wrapped) > 0 THEN 1 END) AS n FROM data_key GROUP BY tenant";
    let rows = db.all(sql(statement)).await.unwrap();
    rows.iter().map(|row| (row.get("tenant").unwrap(), row.get("n").unwrap())).collect()
}
