//! A practice whose key-encryption key is in a KMS: the published API of HashiCorp Vault's and OpenBao's transit engine.

use crate::{
    database::both_databases,
    installation::{Installation, SLUG},
    service::{ANA, Neighbour, Service, Setting},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chartwire::{
    app::{App, Running, command_line::Ended},
    db::sql,
    kernel::Tenant,
    vault::{Place, RetentionClass, VaultError},
};
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, AtomicU64, Ordering},
    },
};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate, matchers::any};

const TOKEN: &str = "hvs.only-this-test-knows-it";

#[derive(Default)]
struct State {
    rotations: AtomicU64,
    /// Answered instead, where it is not 0.
    status: AtomicU16,
    kept: Mutex<HashMap<String, (Value, Value)>>,
}

/// The engine, with one key.
#[derive(Clone, Default)]
struct Transit(Arc<State>);

impl Transit {
    fn answer(&self, request: &Request) -> Result<Value, u16> {
        if request.headers.get("X-Vault-Token").is_none_or(|token| token != TOKEN) {
            return Err(403);
        }
        let status = self.0.status.load(Ordering::SeqCst);
        if status != 0 {
            return Err(status);
        }
        let latest = 1 + self.0.rotations.load(Ordering::SeqCst);
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let mut kept = self.0.kept.lock().unwrap();
        match (request.method.as_str(), request.url.path()) {
            ("GET", "/v1/transit/keys/elm") => Ok(json!({ "latest_version": latest })),
            ("POST", "/v1/transit/encrypt/elm") => {
                let ciphertext = format!("vault:v{latest}:{}", STANDARD.encode(kept.len().to_string()));
                kept.insert(ciphertext.clone(), (body["plaintext"].clone(), body["associated_data"].clone()));
                Ok(json!({ "ciphertext": ciphertext }))
            }
            ("POST", "/v1/transit/decrypt/elm") => {
                let (plaintext, bound_to) = kept.get(body["ciphertext"].as_str().unwrap_or_default()).ok_or(400_u16)?;
                if *bound_to == body["associated_data"] { Ok(json!({ "plaintext": plaintext })) } else { Err(400) }
            }
            _ => Err(404),
        }
    }

    fn answers_with(&self, status: u16) {
        self.0.status.store(status, Ordering::SeqCst);
    }
}

impl Respond for Transit {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        match self.answer(request) {
            Ok(data) => ResponseTemplate::new(200).set_body_json(json!({ "data": data })),
            Err(status) => ResponseTemplate::new(status).set_body_json(json!({ "errors": [] })),
        }
    }
}

/// A KMS, and the file in which its token is kept.
struct Kms {
    engine: Transit,
    server: MockServer,
    folder: tempfile::TempDir,
}

impl Kms {
    async fn start() -> Self {
        let (engine, server, folder) = (Transit::default(), MockServer::start().await, tempfile::tempdir().unwrap());
        Mock::given(any()).respond_with(engine.clone()).mount(&server).await;
        fs::write(folder.path().join("token"), TOKEN).unwrap();
        Self { engine, server, folder }
    }

    fn settings(&self, key: &str) -> String {
        let token_file = self.folder.path().join("token");
        format!(
            "\n[tenants.transit]\naddress = \"{}\"\nkey = \"{key}\"\ntoken_file = \"{}\"\n",
            self.server.uri(),
            token_file.display()
        )
    }
}

async fn received(service: &Service) -> i64 {
    let count = sql("SELECT COUNT(*) AS n FROM message WHERE direction = 'in'");
    service.app.db().one(count).await.unwrap().get("n").unwrap()
}

async fn readiness(service: &Service) -> (u16, Value) {
    let answer = reqwest::get(format!("{}readyz", service.base)).await.unwrap();
    (answer.status().as_u16(), answer.json::<Value>().await.unwrap()["parts"]["keys"].clone())
}

both_databases! {
    async fn texts_are_taken_in_throughout_an_outage_of_the_kms_and_fetched_after_a_longer_one(database: TestDatabase) {
        let kms = Kms::start().await;
        let policies: &'static str = kms.settings("elm").leak();
        let service = Service::start(&database, Setting { policies, ..Setting::default() }).await;
        service.patient("ana", "Ana", ANA).await;
        service.app.schedule().await.unwrap();
        service.text(ANA, "thanks").await;
        service.settle().await;
        assert_eq!((received(&service).await, readiness(&service).await), (1, (200, json!("ready"))));

        kms.engine.answers_with(503);
        service.advance(SignedDuration::from_hours(7));
        service.text(ANA, "thanks again").await;
        assert_eq!(received(&service).await, 2);
        assert_eq!(readiness(&service).await, (200, json!("not ready")), "named, and no node goes out of service");
        service.advance(SignedDuration::from_mins(61));
        service.text(ANA, "and once more").await;
        assert_eq!(received(&service).await, 2, "not acknowledged, because it could not be sealed");

        kms.engine.answers_with(0);
        service.advance(SignedDuration::from_mins(10));
        service.settle().await;
        assert_eq!((received(&service).await, readiness(&service).await), (3, (200, json!("ready"))));
        service.stop().await;
    }

    async fn the_practices_beside_one_whose_kms_is_away_start_and_work(database: TestDatabase) {
        let neighbour = Neighbour { slug: "hilltop", ehr: "locations = [\"Location/location-annex\"]" };
        let ehr = "locations = [\"Location/location-main\"]";
        let setting = Setting { ehr, neighbour: Some(neighbour), ..Setting::default() };
        let (service, kms) = (Service::start(&database, setting).await, Kms::start().await);
        let installation = service.installed_over(database.url());
        installation.edit("\n[tenants.policies]", &format!("{}\n[tenants.policies]", kms.settings("elm")));
        kms.engine.answers_with(503);
        let running = || Running::with(service.instruments.clone());
        let node = App::build(&installation.settings(), running()).await.unwrap();
        let tenants = ["riverside", "hilltop"].map(|slug| node.tenant(slug).unwrap());
        let hash = async |tenant| node.vault().content_hash(tenant, b"x").await;
        assert!(hash(tenants[0]).await.unwrap_err().is_of_provider());
        let of_hilltop = hash(tenants[1]).await.unwrap();
        kms.engine.answers_with(0);
        service.advance(SignedDuration::from_secs(10));
        node.ask_key_providers().await;
        assert!(hash(tenants[0]).await.is_ok_and(|of_riverside| of_riverside != of_hilltop));
        node.close().await;
        service.stop().await;
    }
}

#[tokio::test]
async fn an_operator_destroys_a_practices_keys_and_nothing_opens_any_more() {
    let (installation, kms) = (Installation::new(), Kms::start().await);
    let app = async || App::build(&installation.settings(), Running::with(installation.instruments.clone())).await;
    installation.edit("\n[tenants.policies]", &format!("{}\n[tenants.policies]", kms.settings("elm")));
    let service = app().await.unwrap();
    let (tenant, row) = (service.tenant(SLUG).unwrap(), installation.instruments.new_id::<Tenant>());
    let here = Place::new("message", &row, "body");
    let sealed = service.vault().seal(tenant, RetentionClass::Clinical, here, b"text").await.unwrap();
    service.ask_key_providers().await;

    for unconfirmed in
        [&["keys", "destroy", "--tenant", SLUG][..], &["keys", "destroy", "--tenant", SLUG, "--confirm", "oak"]]
    {
        let refused = installation.run(unconfirmed).await;
        assert_eq!(refused.ended, Ended::NotDone);
        assert!(refused.err.contains("--confirm"), "{}", refused.err);
    }
    service.vault().check(tenant).await.unwrap();
    let destroyed = installation.run(&["keys", "destroy", "--tenant", SLUG, "--confirm", SLUG]).await;
    assert_eq!(destroyed.ended, Ended::Well, "{}", destroyed.err);
    let left = sql("SELECT COUNT(*) AS n FROM data_key WHERE LENGTH(wrapped) > 0 OR LENGTH(check_value) > 0");
    assert_eq!(service.db().one(left).await.unwrap().get::<i64>("n").unwrap(), 0);
    let noted = sql("SELECT COUNT(*) AS n FROM audit_row WHERE action = 'delete'");
    assert_eq!(service.db().one(noted).await.unwrap().get::<i64>("n").unwrap(), 1);

    installation.clock.advance(SignedDuration::from_mins(1));
    service.ask_key_providers().await;
    let refused = service.vault().open(tenant, here, &sealed).await.unwrap_err();
    assert!(matches!(refused, VaultError::Destroyed { .. }), "{refused}");
    service.close().await;
    let Err(refused) = app().await else { panic!("the service started") };
    assert!(refused.to_string().contains("take the practice out of the settings"), "{refused}");
    let again = installation.run(&["keys", "destroy", "--tenant", SLUG, "--confirm", SLUG]).await;
    assert!(again.ended == Ended::Well && again.out.contains("0 data keys"), "{}{}", again.out, again.err);
}

#[tokio::test]
async fn an_operator_moves_a_practice_into_the_kms_and_to_a_new_version_there() {
    let (installation, kms) = (Installation::new(), Kms::start().await);
    let app = async || App::build(&installation.settings(), Running::with(installation.instruments.clone())).await;
    app().await.unwrap().close().await;
    installation.edit("\n[tenants.policies]", &format!("{}\n[tenants.policies]", kms.settings("elm")));
    for version in ["v1", "v2"] {
        let rotated = installation.run(&["keys", "rotate", "--tenant", SLUG]).await;
        assert_eq!(rotated.ended, Ended::Well, "{}", rotated.err);
        let listed = installation.run(&["keys", "list"]).await;
        assert_eq!(listed.ended, Ended::Well, "{}", listed.err);
        let mut keys = listed.out.lines().filter(|line| line.starts_with("  audit_"));
        assert!(keys.clone().count() > 0, "{}", listed.out);
        assert!(keys.all(|line| line.contains(&format!("transit:transit/elm:{version}"))), "{}", listed.out);
        kms.engine.0.rotations.fetch_add(1, Ordering::SeqCst);
    }
    installation.edit("key_encryption_keys = [{ file = \"kek\" }]\n", "");
    app().await.unwrap().close().await;
}

#[tokio::test]
async fn check_says_whether_the_kms_answers_and_a_practice_starts_closed_against_a_wrong_one() {
    let (installation, kms) = (Installation::new(), Kms::start().await);
    let app = async || App::build(&installation.settings(), Running::with(installation.instruments.clone())).await;
    app().await.unwrap().close().await;
    installation.edit("\n[tenants.policies]", &format!("{}\n[tenants.policies]", kms.settings("elm")));
    let line = async || {
        let checked = installation.run(&["check"]).await;
        let found = checked.out.lines().find(|line| line.starts_with(SLUG) && line.contains("  kms "));
        found.unwrap_or_else(|| panic!("{}{}", checked.out, checked.err)).to_owned()
    };
    assert!(line().await.contains("ok: http://127.0.0.1"), "{}", line().await);
    kms.engine.answers_with(503);
    assert!(line().await.contains("FAILED") && line().await.contains("HTTP status 503"), "{}", line().await);
    kms.engine.answers_with(0);
    installation.edit("key = \"elm\"", "key = \"oak\"");
    assert!(line().await.contains("tenants.transit.mount, key and namespace"), "{}", line().await);
    let closed = app().await.unwrap();
    assert_eq!(closed.vault().failing_key_providers(), 1);
    let tenant = closed.tenant(SLUG).unwrap();
    let refused = closed.vault().content_hash(tenant, b"x").await.unwrap_err();
    assert!(refused.is_transient() && !refused.to_string().contains("hvs."), "{refused}");
    closed.close().await;
}

#[tokio::test]
async fn a_service_that_starts_while_the_kms_is_away_opens_the_practice_by_itself_and_a_lost_key_refuses_the_start() {
    let (installation, kms) = (Installation::new(), Kms::start().await);
    let app = async || App::build(&installation.settings(), Running::with(installation.instruments.clone())).await;
    installation.edit("\n[tenants.policies]", &format!("{}\n[tenants.policies]", kms.settings("elm")));
    let started = app().await.unwrap();
    let tenant = started.tenant(SLUG).unwrap();
    let hash = started.vault().content_hash(tenant, b"x").await.unwrap();
    started.close().await;

    kms.engine.answers_with(503);
    let closed = app().await.unwrap();
    assert!(closed.vault().content_hash(tenant, b"x").await.is_err());
    closed.ask_key_providers().await;
    assert_eq!(closed.vault().failing_key_providers(), 1);
    kms.engine.answers_with(0);
    installation.clock.advance(SignedDuration::from_secs(10));
    closed.ask_key_providers().await;
    assert_eq!(closed.vault().failing_key_providers(), 0, "nobody had to use a key");
    assert_eq!(closed.vault().content_hash(tenant, b"x").await.unwrap(), hash);
    closed.close().await;

    // Made anew under the same name.
    kms.engine.0.kept.lock().unwrap().clear();
    let Err(refused) = app().await else { panic!("the service started") };
    assert!(refused.to_string().contains("cannot be unwrapped"), "{refused}");
}

#[tokio::test]
async fn a_kms_that_is_away_keeps_no_database_from_being_backed_up_or_marked() {
    let (installation, kms) = (Installation::new(), Kms::start().await);
    installation.edit("\n[tenants.policies]", &format!("{}\n[tenants.policies]", kms.settings("elm")));
    let app = App::build(&installation.settings(), Running::with(installation.instruments.clone())).await.unwrap();
    let backup = installation.folder.path().join("backup");
    let take = ["backup", "--to", backup.to_str().unwrap()];
    kms.engine.answers_with(503);
    let taken = installation.run(&take).await;
    assert_eq!(taken.ended, Ended::FoundWrong, "{}{}", taken.out, taken.err);
    assert!(
        taken.out.contains("whole, as of") && taken.out.contains("WRONG: its audit log does not say"),
        "{}",
        taken.out
    );
    assert!(backup.exists());
    app.close().await;

    let begun = installation.run(&["recover", "--begin", "--since", "2026-11-23T16:00:00Z"]).await;
    assert_eq!(begun.ended, Ended::FoundWrong, "{}{}", begun.out, begun.err);
    assert!(begun.out.contains("elm-street: WRONG: marked, and its audit log does not say so"), "{}", begun.out);
    let closed = App::build(&installation.settings(), Running::with(installation.instruments.clone())).await.unwrap();
    let marked = sql("SELECT COUNT(*) AS n FROM recovery WHERE lifted_at IS NULL");
    assert_eq!(closed.db().one(marked).await.unwrap().get::<i64>("n").unwrap(), 1);
    closed.close().await;

    // What is put back the documented way is marked the same way.
    let database = installation.folder.path().join("chartwire.db");
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{end}", database.display()));
    }
    let restored = installation.run(&["restore", "--from", backup.to_str().unwrap()]).await;
    assert!(
        restored.out.contains("is in place") && restored.out.contains("WRONG: marked"),
        "{}{}",
        restored.out,
        restored.err
    );
}
