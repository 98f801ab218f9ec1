//! A list of what patients agreed to elsewhere, at the command line.

use crate::{
    database::both_databases,
    installation::{Installation, Ran, SLUG},
    service::start_ehr,
};
use chartwire::{
    app::{App, Running, command_line::Ended},
    consent::{self, Source},
    db::{Command, DbError, Tx, sql},
    kernel::{Id, Language, Patient, Phi, PhoneNumber, Tenant},
    patient::{Directory, EhrPatient, NumberKind, PersonName, Telecom},
    sandbox::clinic::persona,
};
use jiff::Timestamp;

const ANA: &str = "+12125550101";
const LUIS: &str = "+12125550102";
const HEADER: &str = "patient,phone,categories,decision,wording,wording_text,obtained_at,method,proof,recorded_by";

struct Practice {
    installation: Installation,
    app: App,
    tenant: Id<Tenant>,
}

impl Practice {
    /// One with two patients whom nobody has asked, in this database.
    async fn open(database: &str) -> Self {
        let installation = Installation::new();
        installation.write("database", database);
        installation.edit("url = \"sqlite:chartwire.db\"", "url = { file = \"database\" }");
        let app = App::build(&installation.settings(), Running::with(installation.instruments.clone())).await.unwrap();
        let tenant = app.tenant(SLUG).unwrap();
        let practice = Self { installation, app, tenant };
        practice.patient("ana", ANA).await;
        practice.patient("luis", LUIS).await;
        practice
    }

    async fn patient(&self, fhir_id: &str, phone: &str) -> Id<Patient> {
        let told = EhrPatient {
            fhir_id: fhir_id.to_owned(),
            version: Some("1".to_owned()),
            name: Phi::new(PersonName { given: fhir_id.to_owned(), family: "Example".to_owned() }),
            birth_date: Phi::new(None),
            gender: Phi::new(None),
            language: Some(Language::English),
            deceased: false,
            zones: vec![],
            telecom: vec![Telecom { number: PhoneNumber::parse(phone).unwrap(), kind: NumberKind::Mobile, rank: 1 }],
            replaced_by: None,
            replaces: vec![],
        };
        self.directory().refresh(self.tenant, &told).await.unwrap()
    }

    fn directory(&self) -> Directory {
        Directory::new(self.app.db().clone(), self.app.vault().clone(), self.installation.instruments.clone())
    }

    async fn import(&self, lines: &[&str]) -> Ran {
        self.import_with(lines, &[]).await
    }

    async fn import_with(&self, lines: &[&str], more: &[&str]) -> Ran {
        self.installation.write("list.csv", &format!("{HEADER}\n{}\n", lines.join("\n")));
        let file = self.installation.folder.path().join("list.csv");
        let arguments = ["consents", "import", "--practice", SLUG, file.to_str().unwrap()];
        self.installation.run(&[&arguments, more].concat()).await
    }

    async fn count(&self, table: &'static str) -> i64 {
        self.app.db().one(sql(table)).await.unwrap().get("n").unwrap()
    }

    /// Ledger entries, audit rows of the import, and stopped numbers.
    async fn counts(&self) -> (i64, i64, i64) {
        (
            self.count("SELECT COUNT(*) AS n FROM consent_entry").await,
            self.count("SELECT COUNT(*) AS n FROM audit_row WHERE action = 'consent' AND actor_kind = 'operator'")
                .await,
            self.count("SELECT COUNT(*) AS n FROM suppression WHERE stopped = 1").await,
        )
    }

    async fn token(&self, phone: &str) -> Vec<u8> {
        self.app.vault().index_token(self.tenant, "phone", phone).await.unwrap().bytes.to_vec()
    }

    async fn granted(&self, fhir_id: &str, phone: &str, category: consent::Category) -> bool {
        let patient = self.directory().id_of(self.tenant, fhir_id).await.unwrap().unwrap();
        let entries = consent::entries(self.app.db(), self.tenant, patient).await.unwrap();
        consent::Decided::of(&entries, &self.token(phone).await, category, self.installation.instruments.now())
            .is_granted()
    }
}

struct Stop(Id<Tenant>, Vec<u8>, Source, Timestamp);

impl Command for Stop {
    type Output = bool;
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<bool, DbError> {
        consent::suppress(tx, self.0, &self.1, self.2, self.3).await
    }
}

both_databases! {
    async fn a_list_is_recorded_whole_and_once(database: TestDatabase) {
        let practice = Practice::open(database.url()).await;
        let lines = [
            "ana,(212) 555-0101,appointment;refill,granted,desk-2019,\"We text you. Staff read and keep replies. STOP ends it.\",2026-03-02,paper-form,binder 7,Kim Roe",
            "luis,+12125550102,appointment,granted,consent_form:1:en,,2026-03-02T09:12:00-05:00,phone,tape 9,Kim Roe",
        ];
        let dry = practice.import_with(&lines, &["--dry-run"]).await;
        assert_eq!((dry.ended, practice.counts().await), (Ended::Well, (0, 0, 0)), "{}", dry.err);
        let first = practice.import(&lines).await;
        assert_eq!(first.ended, Ended::Well, "{}", first.err);
        assert_eq!(first.out, "2 lines: 2 recorded, 0 known before\n");
        assert_eq!(practice.counts().await, (3, 2, 0));
        assert!(practice.granted("ana", ANA, consent::Category::Refill).await);
        assert!(!practice.granted("luis", LUIS, consent::Category::Refill).await);

        // The same lines in another file, beside a new one.
        let again = practice.import(&[lines[1], lines[0]]).await;
        assert_eq!(again.out, "2 lines: 0 recorded, 2 known before\n");
        assert_eq!(practice.counts().await, (3, 2, 0));
        let more = practice.import(&[lines[0], "luis,+12125550102,billing,granted,desk-2020,Bills by text.,2026-03-02,email,mail 4,Kim Roe"]).await;
        assert_eq!(more.out, "2 lines: 1 recorded, 1 known before\n");

        let query = sql("SELECT id, wording, recorded_by, proof FROM consent_entry WHERE category = 'refill'");
        let row = practice.app.db().one(query).await.unwrap();
        assert_eq!(row.get::<String>("wording").unwrap(), "desk-2019");
        let proof = consent::proof(practice.app.db(), practice.app.vault(), practice.tenant, row.get("id").unwrap()).await;
        let proof = proof.unwrap().unwrap().into_exposed();
        assert_eq!((proof.reference.as_str(), proof.recorded_by.as_str()), ("binder 7", "Kim Roe"));
        assert!(proof.wording.starts_with("We text you."));
        let sealed: Vec<u8> = row.get("proof").unwrap();
        assert!(!sealed.windows(6).any(|bytes| bytes == b"binder"));
        practice.app.close().await;
    }

    async fn one_mistake_and_nothing_of_the_list_is_recorded(database: TestDatabase) {
        let practice = Practice::open(database.url()).await;
        let refused = practice.import(&[
            "ana,+12125550101,appointment,granted,consent_form:1:en,,2026-03-02,paper-form,binder 7,Kim Roe",
            "luis,+12125550102,appointment,granted,consent_form:1:en,,2026-03-02,paper-form,,Kim Roe",
            "luis,not a canary,appointment,granted,consent_form:1:en,,soon,paper-form,x,Kim Roe",
        ]).await;
        assert_eq!(refused.ended, Ended::NotDone);
        let told = ["line 3, proof: ", "line 4, obtained_at: ", "line 4, phone: ", "nothing was imported; mistakes: 3"];
        for told in told {
            assert!(refused.err.contains(told), "{}", refused.err);
        }
        assert!(!refused.err.contains("canary") && !refused.err.contains("soon"), "{}", refused.err);
        assert_eq!(practice.counts().await, (0, 0, 0));
        practice.app.close().await;
    }

    async fn an_opt_out_of_a_list_stops_the_number_unless_the_patient_agreed_since(database: TestDatabase) {
        let practice = Practice::open(database.url()).await;
        let ran = practice.import(&[
            "ana,+12125550101,all,denied,,,2026-03-02,text,,the former carrier",
            "luis,+12125550102,all,denied,,,2026-03-02,text,,the former carrier",
            "luis,+12125550102,appointment,granted,consent_form:1:en,,2026-04-02,paper-form,binder 7,Kim Roe",
        ]).await;
        assert_eq!(ran.out, "3 lines: 3 recorded, 0 known before\n", "{}", ran.err);
        assert_eq!(practice.counts().await.2, 1, "Ana's; Luis agreed later");
        let ana = consent::suppression(practice.app.db(), practice.tenant, &practice.token(ANA).await).await.unwrap();
        assert_eq!((ana.stopped, ana.source), (true, Some(Source::Import)));
        assert!(practice.granted("luis", LUIS, consent::Category::Appointment).await);

        // What the list says is older than STOP: it neither undoes STOP nor what the patient said since.
        practice.app.db().execute(Stop(practice.tenant, practice.token(LUIS).await, Source::Stop, "2026-05-01T12:00:00Z".parse().unwrap())).await.unwrap();
        let ran = practice.import(&["luis,+12125550102,refill,granted,consent_form:1:en,,2026-04-02,paper-form,binder 8,Kim Roe"]).await;
        assert!(ran.out.contains("line 2: the number said STOP, so no text leaves until the patient texts START"), "{}", ran.out);
        assert_eq!(practice.counts().await.2, 2);
        practice.app.close().await;
    }

    async fn whom_we_have_not_met_is_read_from_the_ehr(database: TestDatabase) {
        let practice = Practice::open(database.url()).await;
        let line = format!("{},{ANA},appointment,granted,consent_form:1:en,,2026-03-02,paper-form,binder 7,Kim Roe", persona::ANA_LOPEZ);
        let away = practice.import(&[&line]).await;
        assert_eq!(away.ended, Ended::NotDone);
        assert!(away.err.contains("nothing was imported: a patient of the list has to be read from the EHR"), "{}", away.err);

        let key = std::fs::read_to_string(practice.installation.folder.path().join("key.pem")).unwrap();
        let ehr = start_ehr("http://127.0.0.1/", &key, &practice.installation.instruments).await;
        practice.installation.edit("http://127.0.0.1:1/fhir", ehr.fhir_base().as_str());
        let strangers = practice.import(&[
            &line,
            "nobody,+12125550101,appointment,granted,consent_form:1:en,,2026-03-02,paper-form,binder 7,Kim Roe",
            &line.replace(ANA, "+12125550199"),
        ]).await;
        assert_eq!(strangers.ended, Ended::NotDone);
        assert!(strangers.err.contains("line 3, patient: the EHR has no such patient"), "{}", strangers.err);
        assert!(strangers.err.contains("line 4, phone: the EHR has no such number"), "{}", strangers.err);
        let ran = practice.import(&[&line]).await;
        assert_eq!((ran.ended, ran.out.as_str()), (Ended::Well, "1 lines: 1 recorded, 0 known before\n"), "{}", ran.err);
        assert!(practice.granted(persona::ANA_LOPEZ, ANA, consent::Category::Appointment).await);
        ehr.shutdown().await;
        practice.app.close().await;
    }
}
