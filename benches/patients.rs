//! Patients who agreed to texts, each with a number of their own, and texts for them.

use crate::{installation::CLINIC, numbers::phone};
use anyhow::Result;
use chartwire::{
    app::App,
    consent::{self, Category, ConsentEntry, Decision, NewEntry, Source},
    db::{Command, DbError, Tx},
    kernel::{Id, Instruments, Language, Patient, Phi, PhoneNumber, Tenant},
    messaging::{Author, Class, Content, NewText, Outbox, Queue},
    patient::{Directory, EhrPatient, NumberKind, PersonName, Telecom},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;

/// How many patients are written at once, so that they share commits.
const AT_ONCE: usize = 128;
/// How many rows one command writes.
const BATCH: usize = 200;

/// A patient, and where to text them.
#[derive(Clone)]
pub(crate) struct Reachable {
    pub(crate) patient: Id<Patient>,
    pub(crate) number: PhoneNumber,
}

/// Makes `count` patients of `tenant`.
pub(crate) async fn seed(
    app: &App,
    tenant: Id<Tenant>,
    instruments: &Instruments,
    count: usize,
) -> Result<Vec<Reachable>> {
    let directory = Directory::new(app.db().clone(), app.vault().clone(), instruments.clone());
    let one = async |rank: usize| {
        let number = PhoneNumber::parse(&phone(rank))?;
        let patient = directory.refresh(tenant, &told(rank, &number)).await?;
        anyhow::Ok(Reachable { patient, number })
    };
    let patients: Vec<Reachable> = stream::iter(0..count).map(one).buffered(AT_ONCE).try_collect().await?;
    for some in patients.chunks(BATCH) {
        let entries = some.iter().map(|one| (instruments.new_id(), one.patient)).collect();
        app.db().execute(Agree { tenant, entries, at: instruments.now() }).await?;
    }
    Ok(patients)
}

fn told(rank: usize, number: &PhoneNumber) -> EhrPatient {
    let name = PersonName { given: format!("Given{rank}"), family: "Example".to_owned() };
    EhrPatient {
        fhir_id: format!("patient-{rank}"),
        version: Some("1".to_owned()),
        name: Phi::new(name),
        birth_date: Phi::new(Some("1970-01-01".to_owned())),
        gender: Phi::new(None),
        language: Some(Language::English),
        deceased: false,
        zones: vec![],
        telecom: vec![Telecom { number: number.clone(), kind: NumberKind::Mobile, rank: 1 }],
        replaced_by: None,
        replaces: vec![],
    }
}

/// Somebody ticked at the desk that these patients agree to texts about visits.
struct Agree {
    tenant: Id<Tenant>,
    entries: Vec<(Id<ConsentEntry>, Id<Patient>)>,
    at: Timestamp,
}

impl Command for Agree {
    type Output = ();
    type Error = DbError;
    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        for (id, patient) in &self.entries {
            let entry = NewEntry {
                id: *id,
                tenant: self.tenant,
                patient: Some(*patient),
                number_token: None,
                category: Category::Appointment,
                decision: Decision::Granted,
                source: Source::Desk,
                wording: "desk:1".to_owned(),
                recorded_by: "system".to_owned(),
                proof: None,
                origin: None,
                effective_at: self.at,
                period: consent::Period::default(),
                recorded_at: self.at,
            };
            consent::record(tx, &entry).await?;
        }
        Ok(())
    }
}

/// Queues one text for each of `patients`.
pub(crate) async fn queue(
    app: &App,
    tenant: Id<Tenant>,
    instruments: &Instruments,
    patients: &[Reachable],
    content: &Content,
) -> Result<()> {
    let outbox = Outbox::new(app.vault().clone(), instruments.clone());
    let our_number = PhoneNumber::parse(CLINIC)?;
    for some in patients.chunks(BATCH) {
        let mut prepared = Vec::with_capacity(some.len());
        for to in some {
            let text = NewText {
                tenant,
                patient: Some(to.patient),
                our_number: our_number.clone(),
                number: to.number.clone(),
                class: Class::Automated,
                category: Category::Appointment,
                language: Language::English,
                content: content.clone(),
                author: Author::System,
                about: None,
                about_version: None,
                workflow: None,
                question: None,
                in_response_to: None,
                due_at: None,
                not_before: None,
                expires_at: None,
                quiet_overridden: false,
            };
            prepared.push(outbox.prepare(text).await?);
        }
        app.db().execute(Queue(prepared)).await?;
    }
    Ok(())
}
