//! What an operator does at the command line.

use crate::{
    installation::{Installation, SLUG},
    service::start_ehr,
};
use chartwire::{
    app::{App, Running, command_line::Ended},
    audit::AuditRow,
    db::{Command, Db, DbError, Tx, sql},
    jobs::{NewJob, counts, enqueue},
    kernel::{Id, Language, Phi, PhoneNumber, SystemEntropy},
    patient::{Directory, EhrPatient, NumberKind, PersonName, Telecom},
    sandbox::clinic,
    vault::{Kek, Sealed},
};
use jiff::SignedDuration;
use serde_json::Value;

async fn app(installation: &Installation) -> App {
    App::build(&installation.settings(), Running::with(installation.instruments.clone())).await.unwrap()
}

/// Takes in a patient: sealed values, and a row in the audit log.
async fn add_patient(app: &App, installation: &Installation, fhir_id: &str) {
    let directory = Directory::new(app.db().clone(), app.vault().clone(), installation.instruments.clone());
    let told = EhrPatient {
        fhir_id: fhir_id.to_owned(),
        version: Some("1".to_owned()),
        name: Phi::new(PersonName { given: "Ana".to_owned(), family: "Example".to_owned() }),
        birth_date: Phi::new(None),
        gender: Phi::new(None),
        language: Some(Language::English),
        deceased: false,
        zones: vec![],
        telecom: ["+12125550101", "+12125550102"]
            .map(|number| Telecom { number: PhoneNumber::parse(number).unwrap(), kind: NumberKind::Mobile, rank: 1 })
            .to_vec(),
        replaced_by: None,
        replaces: vec![],
    };
    directory.refresh(app.tenant(SLUG).unwrap(), &told).await.unwrap();
}

#[tokio::test]
async fn a_generated_key_can_be_used_and_its_place_is_told_apart_from_it() {
    let ran = Installation::new().run_alone(&["keys", "generate"], b"").await;
    assert_eq!(ran.ended, Ended::Well);
    let kek = Kek::from_base64(&ran.out).unwrap();
    assert!(ran.err.contains(kek.id()) && ran.err.contains("0600"), "{}", ran.err);
    assert!(!ran.err.contains(ran.out.trim()));
}

#[tokio::test]
async fn after_a_new_key_encryption_key_the_old_one_may_go() {
    let installation = Installation::new();
    let service = app(&installation).await;
    add_patient(&service, &installation, "ana").await;
    service.close().await;
    let kek = Kek::generate(&SystemEntropy);
    installation.write("new-kek", &kek.to_base64());
    installation.edit("[{ file = \"kek\" }]", "[{ file = \"new-kek\" }]");
    let refused = installation.run(&["keys", "rotate"]).await;
    assert_eq!(refused.ended, Ended::NotDone);
    assert!(refused.err.contains("a new key goes before it"), "{}", refused.err);

    installation.edit("[{ file = \"new-kek\" }]", "[{ file = \"new-kek\" }, { file = \"kek\" }]");
    let rotated = installation.run(&["keys", "rotate", "--tenant", SLUG]).await;
    assert_eq!(rotated.ended, Ended::Well, "{}", rotated.err);
    installation.edit("[{ file = \"new-kek\" }, { file = \"kek\" }]", "[{ file = \"new-kek\" }]");
    let listed = installation.run(&["keys", "list"]).await;
    assert_eq!(listed.ended, Ended::Well, "{}", listed.err);
    assert!(listed.out.contains("seal.directory") && listed.out.contains(kek.id()), "{}", listed.out);
    assert!(!listed.out.contains(&*kek.to_base64()));
}

#[tokio::test]
async fn after_new_data_keys_every_value_is_sealed_anew() {
    let installation = Installation::new();
    let service = app(&installation).await;
    add_patient(&service, &installation, "ana").await;
    add_patient(&service, &installation, "luis").await;
    let rotated = installation.run(&["keys", "rotate", "--what", "data"]).await;
    assert_eq!(rotated.ended, Ended::Well, "{}", rotated.err);
    assert_eq!(service.worker().run_due().await.unwrap(), 0, "other processes may still use the old keys");
    installation.clock.advance(SignedDuration::from_mins(30));
    assert!(service.worker().run_due().await.unwrap() > 0);

    let tenant = service.tenant(SLUG).unwrap();
    let replaced = service.vault().rotated_keys(tenant).await.unwrap();
    assert!(!replaced.is_empty());
    let rows =
        service.db().all(sql("SELECT identity AS value FROM patient UNION ALL SELECT number FROM patient_number"));
    let rows = rows.await.unwrap();
    assert_eq!(rows.len(), 6);
    for row in rows {
        let sealed = Sealed::from_bytes(row.get("value").unwrap()).unwrap();
        assert!(!replaced.contains(&sealed.key_id()));
    }
    let told = sql("SELECT detail FROM audit_row WHERE action = 'seal'");
    assert_eq!(service.db().one(told).await.unwrap().get::<String>("detail").unwrap(), r#"{"values":6}"#);
    assert_eq!(counts(service.db()).await.unwrap().dead, 0);
    service.close().await;
}

struct Forge;

impl Command for Forge {
    type Output = Id<AuditRow>;
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<Id<AuditRow>, DbError> {
        let row = tx.one(sql("UPDATE audit_row SET actor = 'somebody' WHERE seq = 2 RETURNING id")).await?;
        row.get("id")
    }
}

#[tokio::test]
async fn a_forged_audit_row_is_named() {
    let installation = Installation::new();
    let service = app(&installation).await;
    for _ in 0..3 {
        // Each is an action of the operator's.
        assert_eq!(installation.run(&["keys", "rotate"]).await.ended, Ended::Well);
    }
    service.sealer().seal(service.tenant(SLUG).unwrap()).await.unwrap();
    let whole = installation.run(&["audit", "verify"]).await;
    assert_eq!(whole.ended, Ended::Well, "{}{}", whole.out, whole.err);
    assert!(whole.out.contains("the log is whole"), "{}", whole.out);

    let forged = service.db().execute(Forge).await.unwrap();
    let found = installation.run(&["audit", "verify", "--tenant", SLUG]).await;
    assert_eq!(found.ended, Ended::FoundWrong);
    assert!(found.out.contains(&format!("WRONG: row {forged} (number 2) was changed")), "{}", found.out);

    std::fs::remove_dir_all(installation.folder.path().join("heads")).unwrap();
    let unproved = installation.run(&["audit", "verify"]).await;
    assert!(unproved.out.contains("the log's end is not proved"), "{}", unproved.out);
    service.close().await;
}

#[tokio::test]
async fn a_log_that_nothing_was_ever_written_to_is_verified_without_a_write() {
    let installation = Installation::new();
    let service = app(&installation).await;
    let tenant = service.tenant(SLUG).unwrap();
    assert!(service.vault().list_keys(tenant).await.unwrap().is_empty(), "no key was needed yet");
    let verified = installation.run(&["audit", "verify"]).await;
    assert_eq!(verified.ended, Ended::Well, "{}{}", verified.out, verified.err);
    assert!(verified.out.contains("0 rows sealed, 0 waiting"), "{}", verified.out);
    assert!(service.vault().list_keys(tenant).await.unwrap().is_empty());
    // Rows without the keys that signed them are not believed.
    add_patient(&service, &installation, "ana").await;
    assert_eq!(installation.run(&["keys", "rotate"]).await.ended, Ended::Well);
    service.sealer().seal(tenant).await.unwrap();
    service.db().execute(Rewrite("DELETE FROM data_key WHERE purpose LIKE 'audit%'")).await.unwrap();
    assert_eq!(installation.run(&["audit", "verify"]).await.ended, Ended::FoundWrong);
    let left = service.vault().list_keys(tenant).await.unwrap();
    assert!(left.iter().all(|key| !key.purpose.code().starts_with("audit")));
    service.close().await;
}

#[tokio::test]
async fn the_audit_log_is_written_out_and_that_is_in_it_too() {
    let installation = Installation::new();
    let service = app(&installation).await;
    assert_eq!(installation.run(&["keys", "rotate"]).await.ended, Ended::Well);
    let tenant = service.tenant(SLUG).unwrap();
    service.sealer().seal(tenant).await.unwrap();
    let first = installation.run(&["audit", "export", "--tenant", SLUG]).await;
    assert_eq!(first.ended, Ended::Well, "{}", first.err);
    let lines: Vec<Value> = first.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = lines.last().unwrap()["seq"].as_i64().unwrap();

    service.sealer().seal(tenant).await.unwrap();
    let next = installation.run(&["audit", "export", "--tenant", SLUG, "--after", &last.to_string()]).await;
    let lines: Vec<Value> = next.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 1, "{}", next.out);
    assert_eq!((lines[0]["action"].as_str(), lines[0]["actor_kind"].as_str()), (Some("export"), Some("operator")));
    service.close().await;
}

#[tokio::test]
async fn an_unknown_practice_is_refused_with_those_that_there_are() {
    let installation = Installation::new();
    app(&installation).await.close().await;
    let ran = installation.run(&["audit", "verify", "--tenant", "oak-lane"]).await;
    assert_eq!(ran.ended, Ended::NotDone);
    assert!(ran.err.contains(SLUG), "{}", ran.err);
}

struct Enqueue(NewJob);

impl Command for Enqueue {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        enqueue(tx, &self.0).await
    }
}

#[tokio::test]
async fn a_dead_letter_is_seen_and_released_once() {
    let installation = Installation::new();
    let service = app(&installation).await;
    let tenant = service.tenant(SLUG).unwrap();
    let none = installation.run(&["jobs", "list"]).await;
    assert_eq!((none.ended, none.out.as_str()), (Ended::Well, "no job was given up\n"));

    // A payload of another version of the program.
    let job = NewJob::new(&installation.instruments, tenant, "ResealValues", &"of another version").unwrap();
    service.db().execute(Enqueue(job)).await.unwrap();
    service.worker().run_due().await.unwrap();
    let listed = installation.run(&["jobs", "list"]).await;
    let line = listed.out.lines().nth(1).unwrap();
    assert!(line.contains("ResealValues") && line.contains(SLUG) && line.ends_with("payload"), "{line}");

    let id = line.split_whitespace().next().unwrap();
    let released = installation.run(&["jobs", "release", id]).await;
    assert_eq!(released.ended, Ended::Well, "{}", released.err);
    assert_eq!(counts(service.db()).await.unwrap().ready, 1);
    let again = installation.run(&["jobs", "release", id]).await;
    assert_eq!(again.ended, Ended::NotDone);
    let told = sql("SELECT subjects FROM audit_row WHERE action = 'edit' AND actor_kind = 'operator'");
    assert!(service.db().one(told).await.unwrap().get::<String>("subjects").unwrap().contains(id));
    service.close().await;
}

#[tokio::test]
async fn lines_are_answered_and_bad_ones_named_without_their_words() {
    let installation = Installation::new();
    let input = b"{\"id\":1,\"context\":\"reminder\",\"text\":\"C\"}\n\n{\"id\":2,\"text\":[\"canary\"]}\n\xff\n{\"id\":3,\"text\":\"gracias\"}";
    let ran = installation.run_alone(&["classify"], input).await;
    assert_eq!(ran.ended, Ended::FoundWrong);
    assert_eq!(ran.out.lines().count(), 2, "{}", ran.out);
    assert!(ran.err.contains("line 3: column 15") && ran.err.contains("line 4: this is not UTF-8"), "{}", ran.err);
    assert!(!ran.err.contains("canary"));

    let ran = installation.run_alone(&["guard"], b"{\"id\":1,\"text\":\"Your A1c is 7.2\"}\n").await;
    assert_eq!(ran.ended, Ended::Well, "{}", ran.err);
    assert!(ran.out.contains("lab_value"), "{}", ran.out);
}

#[tokio::test]
async fn a_check_goes_on_after_a_failure_and_lists_what_is_loosened() {
    let installation = Installation::new();
    app(&installation).await.close().await;
    let ran = installation.run(&["check"]).await;
    assert_eq!(ran.ended, Ended::FoundWrong);
    for expected in [
        "database    ok: SQLite",
        "keys        ok: key-encryption key",
        "carrier     FAILED: +12125550199: the carrier cannot be reached",
        "ehr         FAILED: the FHIR server could not be reached",
        "smart       FAILED: ",
        "token       FAILED: ",
        "loosened    policies.confirm_stop",
        "4 failed",
    ] {
        assert!(ran.out.contains(expected), "{expected} is not in\n{}", ran.out);
    }
}

#[tokio::test]
async fn a_check_says_whether_the_ehr_has_the_practice() {
    let installation = Installation::new();
    let key = std::fs::read_to_string(installation.folder.path().join("key.pem")).unwrap();
    let ehr = start_ehr("http://127.0.0.1/", &key, &installation.instruments).await;
    installation.edit("http://127.0.0.1:1/fhir", ehr.fhir_base().as_str());
    let unsaid = installation.run(&["check"]).await;
    assert!(unsaid.out.contains("practice    ehr.organization is not set"), "{}", unsaid.out);
    installation.edit("launch_registration", "organization = \"Organization/nowhere\"\nlaunch_registration");
    let wrong = installation.run(&["check"]).await;
    assert!(wrong.out.contains("practice    FAILED: the EHR has no Organization/nowhere; correct"), "{}", wrong.out);
    installation.edit("nowhere", clinic::ORGANIZATION);
    let right = installation.run(&["check"]).await;
    assert!(right.out.contains("practice    ok: the EHR has Organization/"), "{}", right.out);
    assert!(right.out.contains("every scope asked for is granted"), "{}", right.out);
    ehr.shutdown().await;
}

#[tokio::test]
async fn a_check_writes_nothing() {
    let installation = Installation::new();
    let ran = installation.run(&["check"]).await;
    assert_eq!(ran.ended, Ended::FoundWrong);
    assert!(ran.out.contains("database    FAILED: there is no database; if there was one"), "{}", ran.out);
    assert!(ran.out.contains("carrier     FAILED: +12125550199"), "the rest is reached all the same: {}", ran.out);
    assert!(!installation.folder.path().join("chartwire.db").exists());

    assert_eq!(installation.run(&["migrate"]).await.ended, Ended::Well);
    let ran = installation.run(&["check"]).await;
    assert!(ran.out.contains("database    new: the practice is taken in when the service starts"), "{}", ran.out);
    assert!(ran.out.contains("keys        ok: key-encryption key"), "{}", ran.out);
    let db = Db::open_as_it_stands(installation.settings().database.url.reveal()).await.unwrap();
    assert!(db.all(sql("SELECT slug FROM tenant")).await.unwrap().is_empty());
    let refused = installation.run(&["keys", "list"]).await;
    assert_eq!(refused.ended, Ended::NotDone);
    assert!(refused.err.contains("start the service once"), "{}", refused.err);
}

struct Rewrite(&'static str);

impl Command for Rewrite {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        tx.execute(sql(self.0)).await.map(|_| ())
    }
}

#[tokio::test]
async fn a_database_of_another_version_is_refused_and_left_alone() {
    const OLDER: &str = "DELETE FROM _sqlx_migrations WHERE version = (SELECT MAX(version) FROM _sqlx_migrations)";
    const NEWER: &str = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                         VALUES (9999, 'later', 1, x'00', 0)";
    let applied = sql("SELECT COUNT(*) AS n FROM _sqlx_migrations");
    for (rewrite, told) in [(OLDER, "older than this version of chartwire"), (NEWER, "a newer version of chartwire")] {
        let installation = Installation::new();
        let service = app(&installation).await;
        service.db().execute(Rewrite(rewrite)).await.unwrap();
        let before: i64 = service.db().one(applied.clone()).await.unwrap().get("n").unwrap();
        for command in [&["keys", "list"][..], &["jobs", "list"], &["audit", "verify"], &["keys", "rotate"]] {
            let ran = installation.run(command).await;
            assert_eq!(ran.ended, Ended::NotDone, "{command:?}");
            assert!(ran.err.contains(told), "{command:?}: {}", ran.err);
        }
        let ran = installation.run(&["check"]).await;
        assert!(ran.out.contains("database    FAILED") && ran.out.contains(told), "{}", ran.out);
        let after: i64 = service.db().one(applied.clone()).await.unwrap().get("n").unwrap();
        assert_eq!(after, before);
        service.close().await;
    }
}

#[tokio::test]
async fn mistakes_in_the_settings_are_all_reported_before_anything_is_opened() {
    let installation = Installation::new();
    installation.edit("America/New_York", "Mars/Base");
    installation.edit("listen = \"127.0.0.1:0\"", "listen = \"here\"");
    let ran = installation.run(&["check"]).await;
    assert_eq!(ran.ended, Ended::NotDone);
    assert!(ran.err.contains("server.listen") && ran.err.contains("tenants[0].zone"), "{}", ran.err);
    assert!(!installation.folder.path().join("chartwire.db").exists());
}

#[tokio::test]
async fn migrating_makes_a_database_that_opens() {
    let installation = Installation::new();
    assert_eq!(installation.run(&["migrate"]).await.ended, Ended::Well);
    let db = Db::open(installation.settings().database.url.reveal()).await.unwrap();
    assert!(db.all(sql("SELECT slug FROM tenant")).await.unwrap().is_empty());
}
