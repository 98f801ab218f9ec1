//! Access over a real database.

use super::*;
use crate::{
    db::{Db, Row, sql},
    kernel::{Id, Instruments, ManualClock, Patient, Phi, SeededEntropy, Tenant, clock::from_millis},
    vault::{Kek, LocalKeks, Vault, memory_store::MemoryStore},
};
use jiff::SignedDuration;
use std::sync::Arc;

const TENANT: Id<Tenant> = Id::from_bytes([1; 16]);
const ANA: Id<Patient> = Id::from_bytes([7; 16]);

struct Clinic {
    clock: Arc<ManualClock>,
    db: Db,
    vault: Vault,
    instruments: Instruments,
    staff: StaffDirectory,
    sessions: Sessions,
    _folder: tempfile::TempDir,
}

impl Clinic {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = Db::open(&format!("sqlite:{}", folder.path().join("a.db").display())).await.unwrap();
        let clock = Arc::new(ManualClock::at(from_millis(1_790_000_000_000)));
        let entropy = Arc::new(SeededEntropy::new(3));
        let mut keks = LocalKeks::new(entropy.clone());
        keks.insert(TENANT, vec![Kek::generate(&*entropy)]).unwrap();
        let instruments = Instruments::new(clock.clone(), entropy);
        let vault = Vault::new(Arc::new(MemoryStore::default()), Arc::new(keks), instruments.clone());
        let idle: IdleTimeouts = Arc::new(|_| IdleTimeout::from_minutes(5).unwrap());
        Self {
            staff: StaffDirectory::new(db.clone(), vault.clone(), instruments.clone()),
            sessions: Sessions::new(db.clone(), vault.clone(), instruments.clone(), idle),
            clock,
            db,
            vault,
            instruments,
            _folder: folder,
        }
    }

    async fn nurse(&self, fhir_user: &str) -> StaffMember {
        self.staff
            .refresh(NewStaffMember {
                tenant: TENANT,
                issuer: "https://ehr.example".to_owned(),
                fhir_user: fhir_user.to_owned(),
                name: Phi::new("Rosa Diaz, RN".to_owned()),
                roles: Roles::from([Role::Nurse, Role::Intake]),
            })
            .await
            .unwrap()
    }

    async fn launch(&self, member: &StaffMember, previous: Option<SessionToken>) -> StartedSession {
        let new = NewSession {
            member: member.clone(),
            patient: Some(ANA),
            authentication: "amr:mfa".to_owned(),
            grant: Some(Phi::new(b"{\"refresh_token\":\"r1\"}".to_vec())),
            previous,
            request: None,
        };
        self.sessions.start(new).await.ok().unwrap()
    }

    async fn ask(&self, token: &SessionToken, activity: Activity) -> Result<ActiveSession, String> {
        self.sessions.authenticate(token, activity).await.map_err(|refusal| refusal.to_string())
    }

    fn pass(&self, seconds: i64) {
        self.clock.advance(SignedDuration::from_secs(seconds));
    }

    /// What the audit log says: action, outcome, detail.
    async fn log(&self, action: &str) -> Vec<String> {
        let query = sql("SELECT outcome, detail FROM audit_row WHERE action = $1 ORDER BY id").bind(action);
        let rows = self.db.all(query).await.unwrap();
        let told =
            |row: &Row| format!("{} {}", row.get::<String>("outcome").unwrap(), row.get::<String>("detail").unwrap());
        rows.iter().map(told).collect()
    }

    async fn endings(&self) -> Vec<String> {
        let log = self.log("sign_out").await;
        log.iter().map(|told| told.split('"').nth(3).unwrap().to_owned()).collect()
    }
}

#[tokio::test]
async fn the_same_fhir_user_is_the_same_person_and_the_name_is_sealed() {
    let clinic = Clinic::open().await;
    let first = clinic.nurse("https://ehr.example/Practitioner/7").await;
    let again = clinic.nurse("https://ehr.example/Practitioner/7").await;
    let other = clinic.nurse("https://ehr.example/Practitioner/8").await;
    assert_eq!(first.id, again.id);
    assert_ne!(first.id, other.id);
    assert_eq!(clinic.staff.by_id(TENANT, first.id).await.unwrap().name.as_str(), "Rosa Diaz, RN");
    let rows = clinic.db.all(sql("SELECT name FROM staff_user")).await.unwrap();
    for row in rows {
        let name: Vec<u8> = row.get("name").unwrap();
        assert!(!name.windows(4).any(|part| part == b"Rosa"));
    }
    assert!(clinic.staff.by_id(Id::from_bytes([2; 16]), first.id).await.is_err(), "tenants do not meet");
}

#[tokio::test]
async fn a_session_lives_by_a_persons_doing_and_not_by_the_page() {
    let clinic = Clinic::open().await;
    let rosa = clinic.nurse("u").await;
    let session = clinic.launch(&rosa, None).await;
    let active = clinic.ask(&session.token, Activity::Person).await.unwrap();
    assert_eq!((active.staff, active.patient, active.name.as_str()), (rosa.id, Some(ANA), "Rosa Diaz, RN"));
    clinic.pass(200);
    assert!(clinic.ask(&session.token, Activity::Person).await.is_ok());
    clinic.pass(299);
    assert!(clinic.ask(&session.token, Activity::Background).await.is_ok(), "one second before the end");
    clinic.pass(1);
    assert!(clinic.ask(&session.token, Activity::Background).await.is_err(), "the page alone does not keep it up");
    assert!(clinic.ask(&session.token, Activity::Person).await.is_err(), "what has ended stays ended");
    assert_eq!(clinic.endings().await, ["idle"]);
}

#[tokio::test]
async fn a_persons_doing_is_noted_every_fifteen_seconds_at_most() {
    let clinic = Clinic::open().await;
    let session = clinic.launch(&clinic.nurse("u").await, None).await;
    let first = clinic.ask(&session.token, Activity::Person).await.unwrap().ends_at;
    clinic.pass(14);
    assert_eq!(clinic.ask(&session.token, Activity::Person).await.unwrap().ends_at, first);
    clinic.pass(1);
    let noted = clinic.ask(&session.token, Activity::Person).await.unwrap().ends_at;
    assert_eq!(noted.duration_since(first), SignedDuration::from_secs(15));
}

#[tokio::test]
async fn no_doing_carries_a_session_past_its_absolute_end() {
    let clinic = Clinic::open().await;
    let rosa = clinic.nurse("u").await;
    let session = clinic.launch(&rosa, None).await;
    for _ in 0..8 * 60 / 4 - 1 {
        clinic.pass(240);
        clinic.staff.set_roles(TENANT, rosa.id, rosa.roles.clone()).await.unwrap();
        assert!(clinic.ask(&session.token, Activity::Person).await.is_ok());
    }
    clinic.pass(240);
    assert!(clinic.ask(&session.token, Activity::Person).await.is_err());
    assert_eq!(clinic.endings().await, ["too_old"]);
}

#[tokio::test]
async fn what_has_run_out_is_ended_without_anybody_asking() {
    let clinic = Clinic::open().await;
    let rosa = clinic.nurse("u").await;
    clinic.launch(&rosa, None).await;
    clinic.pass(299);
    let later = clinic.launch(&rosa, None).await;
    assert_eq!(clinic.sessions.end_run_out(TENANT).await.unwrap(), 0);
    clinic.pass(1);
    assert_eq!(clinic.sessions.end_run_out(TENANT).await.unwrap(), 1);
    assert_eq!(clinic.endings().await, ["idle"]);
    assert!(clinic.ask(&later.token, Activity::Person).await.is_ok());
    assert_eq!(clinic.log("sign_in").await, [r#"success {"authentication":"amr:mfa"}"#; 2]);
}

#[tokio::test]
async fn another_launch_in_the_same_browser_ends_the_first_session() {
    let clinic = Clinic::open().await;
    let first = clinic.launch(&clinic.nurse("u1").await, None).await;
    let second = clinic.launch(&clinic.nurse("u2").await, Some(first.token.clone())).await;
    assert!(clinic.ask(&first.token, Activity::Person).await.is_err());
    assert!(clinic.ask(&second.token, Activity::Person).await.is_ok());
    assert_eq!(clinic.endings().await, ["replaced"]);
}

#[tokio::test]
async fn a_role_lost_in_the_ehr_is_lost_at_the_next_request() {
    let clinic = Clinic::open().await;
    let rosa = clinic.nurse("u").await;
    let session = clinic.launch(&rosa, None).await;
    clinic.staff.set_roles(TENANT, rosa.id, Roles::from([Role::Intake, Role::Provider])).await.unwrap();
    let active = clinic.ask(&session.token, Activity::Person).await.unwrap();
    assert_eq!(active.roles, Roles::from([Role::Intake]), "what was gained needs a launch");
    clinic.staff.set_roles(TENANT, rosa.id, Roles::none()).await.unwrap();
    let refusal = clinic.sessions.authenticate(&session.token, Activity::Person).await.unwrap_err();
    assert!(matches!(refusal, SessionRefusal::NoRole));
    assert_eq!(clinic.endings().await, ["no_role"]);
}

#[tokio::test]
async fn nobody_without_a_role_gets_a_session() {
    let clinic = Clinic::open().await;
    let mut rosa = clinic.nurse("u").await;
    rosa.roles = Roles::none();
    let new = NewSession {
        member: rosa.clone(),
        patient: None,
        authentication: String::new(),
        grant: None,
        previous: None,
        request: None,
    };
    assert!(matches!(clinic.sessions.start(new).await, Err(SessionRefusal::NoRole)));
    clinic.sessions.refuse(&rosa, None).await.unwrap();
    assert_eq!(clinic.log("sign_in").await, [r#"refused {"reason":"no_role"}"#]);
}

#[tokio::test]
async fn signing_out_everywhere_ends_every_session_once_and_drops_the_grants() {
    let clinic = Clinic::open().await;
    let rosa = clinic.nurse("u").await;
    let (desk, phone) = (clinic.launch(&rosa, None).await, clinic.launch(&rosa, None).await);
    let active = clinic.ask(&desk.token, Activity::Person).await.unwrap();
    let grant = clinic.sessions.grant(&active).await.unwrap().unwrap();
    assert_eq!(&grant[..], b"{\"refresh_token\":\"r1\"}");
    assert_eq!(clinic.sessions.end_all_of(TENANT, rosa.id, Ending::Revoked).await.unwrap(), 2);
    assert_eq!(clinic.sessions.end_all_of(TENANT, rosa.id, Ending::Revoked).await.unwrap(), 0);
    assert!(clinic.sessions.grant(&active).await.unwrap().is_none());
    assert!(clinic.ask(&phone.token, Activity::Person).await.is_err());
    assert_eq!(clinic.endings().await, ["revoked", "revoked"]);
    assert_eq!(clinic.sessions.tenant_of(&phone.token).await.unwrap(), Some(TENANT));
}

#[tokio::test]
async fn a_cookie_is_not_stored_and_a_form_belongs_to_its_session() {
    let clinic = Clinic::open().await;
    let rosa = clinic.nurse("u").await;
    let (a, b) = (clinic.launch(&rosa, None).await, clinic.launch(&rosa, None).await);
    let rows = clinic.db.all(sql("SELECT token_hash FROM session")).await.unwrap();
    for row in rows {
        let hash: Vec<u8> = row.get("token_hash").unwrap();
        assert_eq!(hash.len(), 32);
        assert_ne!(hash, a.token.cookie_value().as_bytes());
    }
    let (a, b) =
        (clinic.ask(&a.token, Activity::Person).await.unwrap(), clinic.ask(&b.token, Activity::Person).await.unwrap());
    assert!(a.owns_form(a.form_token()));
    assert!(!a.owns_form(b.form_token()) && !a.owns_form(""));
    assert!(SessionToken::from_cookie("short").is_none());
}

#[tokio::test]
async fn a_launch_comes_back_once_and_in_time() {
    let clinic = Clinic::open().await;
    let launches = LaunchStates::new(clinic.db.clone(), clinic.vault.clone(), clinic.instruments.clone());
    launches.remember(TENANT, "state-1", b"verifier").await.unwrap();
    launches.remember(TENANT, "state-2", b"verifier").await.unwrap();
    let back = launches.take("state-1").await.unwrap().unwrap();
    assert_eq!((back.tenant, &back.body[..]), (TENANT, &b"verifier"[..]));
    assert!(launches.take("state-1").await.unwrap().is_none(), "used");
    assert!(launches.take("state-9").await.unwrap().is_none(), "unknown");
    clinic.pass(600);
    assert!(launches.take("state-2").await.unwrap().is_none(), "too old");
}

#[tokio::test]
async fn a_draft_is_kept_sealed_for_one_person_and_patient() {
    let clinic = Clinic::open().await;
    let drafts = Drafts::new(clinic.db.clone(), clinic.vault.clone(), clinic.instruments.clone());
    let (rosa, other) = (clinic.nurse("u1").await.id, clinic.nurse("u2").await.id);
    for text in ["Please c", "Please call us"] {
        drafts.keep(TENANT, rosa, ANA, &Phi::new(text.to_owned())).await.unwrap();
    }
    assert_eq!(drafts.of(TENANT, rosa, ANA).await.unwrap().unwrap().as_str(), "Please call us");
    assert!(drafts.of(TENANT, other, ANA).await.unwrap().is_none());
    let body: Vec<u8> = clinic.db.one(sql("SELECT body FROM draft")).await.unwrap().get("body").unwrap();
    assert!(!body.windows(6).any(|part| part == b"Please"));
    drafts.keep(TENANT, rosa, ANA, &Phi::new(String::new())).await.unwrap();
    assert!(drafts.of(TENANT, rosa, ANA).await.unwrap().is_none());
}
