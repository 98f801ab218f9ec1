//! STOP, START and HELP: in force in the transaction that reads them.

use crate::{
    audit::{self, Action, Actor, AuditEntry, AuditSigner, Detail},
    consent::{self, Category, ConsentEntry, Decision, NewEntry, Period, Release, Source},
    db::{DbError, Tx, sql},
    intent::Compliance,
    kernel::{Id, Instruments, Patient, Tenant},
    messaging::{self, Message},
};
use jiff::Timestamp;

/// The wording under which START agrees to texts: the text that confirms it.
const START_WORDING: &str = "started:1";
/// What a patient who is alone on a number agrees to by START.
const START_COVERS: [Category; 2] = [Category::Appointment, Category::Refill];

/// A keyword or a wish in free words, and for whom it counts.
pub(super) struct Wish {
    pub(super) tenant: Id<Tenant>,
    pub(super) message: Id<Message>,
    pub(super) number_token: Vec<u8>,
    /// Everybody on the number: STOP from a shared phone stops it for all.
    pub(super) patients: Vec<Id<Patient>>,
    pub(super) what: Compliance,
    /// When the text arrived.
    pub(super) received_at: Timestamp,
    /// The carrier has confirmed it already.
    pub(super) carrier_answered: bool,
    pub(super) now: Timestamp,
    /// Ids for the ledger: one per patient and category.
    pub(super) entries: Vec<Id<ConsentEntry>>,
    pub(super) signer: AuditSigner,
}

impl Wish {
    /// How many ledger ids a wish of `patients` may use.
    pub(super) fn ids(instruments: &Instruments, patients: usize) -> Vec<Id<ConsentEntry>> {
        (0..patients * Category::ALL.len()).map(|_| instruments.new_id()).collect()
    }

    /// Puts it in force. Whether it is: a START that is read after a STOP which was said later is not.
    pub(super) async fn enforce(&self, tx: &mut Tx) -> Result<bool, DbError> {
        let code = match self.what {
            Compliance::Help => return Ok(true),
            Compliance::OptOut => {
                self.stop(tx).await?;
                "stop"
            }
            Compliance::OptIn if self.start(tx).await? => "start",
            Compliance::OptIn => "start-overtaken",
        };
        let mut entry = AuditEntry::new(Actor::System("routing"), Action::Consent, "keyword")
            .about("message", self.message)
            .with_detail(Detail::new().code("wish", code));
        for patient in &self.patients {
            entry = entry.about("patient", *patient);
        }
        if self.what == Compliance::OptOut {
            // They cannot be called back: whoever looks into a text after STOP finds them named here.
            let on_their_way = messaging::in_flight_at(tx, self.tenant, &self.number_token, self.received_at).await?;
            for attempt in on_their_way {
                entry = entry.about("attempt-in-flight", attempt);
            }
        }
        audit::record(tx, &entry, &self.signer).await?;
        Ok(code != "start-overtaken")
    }

    /// A STOP stops whenever it is read, also when it was said before the START that we know of: texts come late and
    /// clocks differ, and one text too few is the smaller harm.
    async fn stop(&self, tx: &mut Tx) -> Result<(), DbError> {
        let fresh = consent::suppress(tx, self.tenant, &self.number_token, Source::Stop, self.received_at).await?;
        if self.carrier_answered {
            consent::mark_confirmed(tx, self.tenant, &self.number_token, self.now).await?;
        }
        if !fresh {
            return Ok(());
        }
        let mut ids = self.entries.iter();
        for patient in &self.patients {
            for category in Category::ALL {
                if let Some(id) = ids.next() {
                    self.record(tx, *id, *patient, *category, Decision::Denied, Source::Stop, "").await?;
                }
            }
        }
        Ok(())
    }

    /// START is new explicit consent of whoever holds the phone: a patient who is alone on the number agrees to what
    /// the confirmation says; of several, each gets back what STOP took.
    ///
    /// It counts from when it was said: a START that a lost webhook delayed must not undo the STOP that followed it.
    async fn start(&self, tx: &mut Tx) -> Result<bool, DbError> {
        if consent::release(tx, self.tenant, &self.number_token, self.received_at).await? == Release::StoppedSince {
            return Ok(false);
        }
        let alone = self.patients.len() == 1;
        let mut ids = self.entries.iter();
        for patient in &self.patients {
            for category in Category::ALL {
                let covered =
                    (alone && START_COVERS.contains(category)) || self.stop_took(tx, *patient, *category).await?;
                if let (true, Some(id)) = (covered, ids.next()) {
                    self.record(tx, *id, *patient, *category, Decision::Granted, Source::Start, START_WORDING).await?;
                }
            }
        }
        Ok(true)
    }

    /// Whether the patient had agreed to the category before STOP, and by STOP alone does not any more.
    async fn stop_took(&self, tx: &mut Tx, patient: Id<Patient>, category: Category) -> Result<bool, DbError> {
        let rows = tx
            .all(
                sql("SELECT decision, source FROM consent_entry WHERE tenant = $1 AND patient = $2 AND category = $3 \
                     AND (number_token IS NULL OR number_token = $4) ORDER BY effective_at DESC, id DESC LIMIT 50")
                .bind(self.tenant)
                .bind(patient)
                .bind(category.code())
                .bind(self.number_token.clone()),
            )
            .await?;
        for row in &rows {
            if row.get::<String>("source")? != Source::Stop.code() {
                return Ok(row.get::<String>("decision")? == Decision::Granted.code());
            }
        }
        Ok(false)
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one ledger entry")]
    async fn record(
        &self,
        tx: &mut Tx,
        id: Id<ConsentEntry>,
        patient: Id<Patient>,
        category: Category,
        decision: Decision,
        source: Source,
        wording: &str,
    ) -> Result<(), DbError> {
        let entry = NewEntry {
            id,
            tenant: self.tenant,
            patient: Some(patient),
            number_token: Some(self.number_token.clone()),
            category,
            decision,
            source,
            wording: wording.to_owned(),
            recorded_by: format!("message:{}", self.message),
            proof: None,
            origin: None,
            effective_at: if decision == Decision::Granted { self.received_at } else { self.now },
            period: Period::default(),
            recorded_at: self.now,
        };
        consent::record(tx, &entry).await.map(|_| ())
    }
}
