//! What the carrier has sent for us since a backup was taken, read back after it was restored.
//!
//! Called by `chartwire recover`. Always: every text on the carrier's list stands here once, as ours, with its words
//! sealed; an attempt that our books think open is settled by the text that it was; nothing is sent. What is read back
//! keeps those texts from leaving again that our books, which are behind, believe to be still due (`echo.rs`).

use super::{
    Attempt, Author, Class, Conversation, Delivery, Message, MessagingError, Settler,
    carrier_port::{Carrier, CarrierOutbound, FailureClass, Unreadable},
    changed::changed_job,
    journal::Journal,
    line, outbound, state,
};
use crate::{
    consent::{self, Category},
    db::{Command, DbError, Tx, sql},
    jobs::{NewJob, enqueue},
    kernel::{Id, Language, Patient, PhoneNumber, Tenant},
    patient::Directory,
    practice::{Practice, Practices},
    template::{Catalogue, TextCategory, TextClass, TextKey},
    vault::{Place, RetentionClass, Sealed},
};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// Clocks differ, and carriers write whole seconds.
const CLOCKS_APART: SignedDuration = SignedDuration::from_secs(60);

/// Why a text that was read back is as it is: shown to staff.
const READ_BACK: &str = "read-back";

/// Reads back what was sent.
#[derive(Clone)]
pub struct ReadBack {
    settler: Settler,
    practices: Arc<Practices>,
    directory: Directory,
    catalogue: Arc<Catalogue>,
}

/// What the carrier's list of sent texts showed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SentBack {
    /// Texts on the list.
    pub listed: usize,
    /// Attempts that were open here, and that one of them settles.
    pub settled: usize,
    /// Texts that were not here and stand here now.
    pub recorded: usize,
    /// Those among them whose number belongs to several patients or to none: they are in no thread.
    pub nobodys: usize,
    /// Entries that cannot be read: the list has to be read again.
    pub unreadable: Unreadable,
}

/// What became of one text of the list.
enum Met {
    Known,
    Settled,
    Recorded { patient: bool },
}

impl ReadBack {
    /// Over the carriers of `settler`.
    #[must_use]
    pub const fn new(
        settler: Settler,
        practices: Arc<Practices>,
        directory: Directory,
        catalogue: Arc<Catalogue>,
    ) -> Self {
        Self { settler, practices, directory, catalogue }
    }

    /// Takes in what every number of `tenant` has sent since `since`, or since the oldest attempt that is open here.
    /// What is known has no effect.
    ///
    /// # Errors
    /// [`MessagingError`] as carrier, vault or database are away; what was taken in stays.
    pub async fn sent(&self, tenant: Id<Tenant>, since: Timestamp) -> Result<SentBack, MessagingError> {
        let practice = self.practices.get(tenant).ok_or(MessagingError::NotConfigured)?;
        let carrier = Arc::clone(self.settler.carriers.get(&tenant).ok_or(MessagingError::NotConfigured)?);
        let oldest = sql("SELECT MIN(committed_at) AS oldest FROM attempt WHERE tenant = $1 AND settled_at IS NULL");
        let oldest: Option<Timestamp> = self.settler.db.one(oldest.bind(tenant)).await?.get("oldest")?;
        let since = oldest.and_then(|at| at.checked_sub(CLOCKS_APART).ok()).map_or(since, |oldest| oldest.min(since));
        let mut back = SentBack::default();
        for own in &practice.numbers {
            let sent = carrier.sent_since(&own.number, since).await?;
            back.listed += sent.texts.len();
            back.unreadable.extend(sent.unreadable);
            for text in &sent.texts {
                match self.meet(&practice, &*carrier, &own.number, text).await? {
                    Met::Known => {}
                    Met::Settled => back.settled += 1,
                    Met::Recorded { patient } => {
                        back.recorded += 1;
                        back.nobodys += usize::from(!patient);
                    }
                }
            }
        }
        Ok(back)
    }

    async fn meet(
        &self,
        practice: &Practice,
        carrier: &dyn Carrier,
        ours: &PhoneNumber,
        text: &CarrierOutbound,
    ) -> Result<Met, MessagingError> {
        let Settler { db, vault, .. } = &self.settler;
        let tenant = practice.tenant;
        let known = sql("SELECT message FROM message_dedupe WHERE tenant = $1 AND carrier = $2 AND carrier_id = $3");
        let known = db.optional(known.bind(tenant).bind(carrier.name()).bind(text.carrier_id.clone())).await?;
        if let Some(known) = known {
            if text.report.class == Some(FailureClass::OptedOut) {
                self.end_of_known(tenant, carrier.name(), known.get("message")?, text).await?;
            }
            return Ok(Met::Known);
        }
        // No text of ours goes to anything but a phone number.
        let Some(number) = &text.to else { return Ok(Met::Known) };
        let token = vault.index_token(tenant, "phone", number.as_e164()).await?.bytes.to_vec();
        let words = text.body.as_str();
        let hash = if words.is_empty() { None } else { Some(vault.content_hash(tenant, words.as_bytes()).await?) };
        if let Some(hash) = &hash
            && let Some(attempt) = self.open_attempt(tenant, &token, hash, text.created_at).await?
        {
            self.delivery().told(tenant, carrier.name(), attempt, &text.report).await?;
            return Ok(Met::Settled);
        }
        let record = self.record(practice, carrier.name(), ours, text, (number, token, hash)).await?;
        let patient = record.patient.is_some();
        Ok(if db.execute(record).await? { Met::Recorded { patient } } else { Met::Known })
    }

    fn delivery(&self) -> Delivery {
        let Settler { db, vault, instruments, .. } = &self.settler;
        Delivery::new(db.clone(), vault.clone(), instruments.clone())
    }

    /// A text that was on its way when the backup was taken was refused after that, because the carrier blocks its number.
    async fn end_of_known(
        &self,
        tenant: Id<Tenant>,
        carrier: &'static str,
        message: Id<Message>,
        text: &CarrierOutbound,
    ) -> Result<(), MessagingError> {
        let query = sql("SELECT id FROM attempt WHERE tenant = $1 AND message = $2 AND carrier_id = $3");
        let query = query.bind(tenant).bind(message).bind(text.carrier_id.clone());
        if let Some(attempt) = self.settler.db.optional(query).await? {
            self.delivery().told(tenant, carrier, attempt.get("id")?, &text.report).await?;
        }
        Ok(())
    }

    /// The attempt to say these words to this number that nothing has settled.
    async fn open_attempt(
        &self,
        tenant: Id<Tenant>,
        token: &[u8],
        hash: &[u8; 32],
        created_at: Option<Timestamp>,
    ) -> Result<Option<Id<Attempt>>, DbError> {
        let latest = created_at.map_or(Timestamp::MAX, |at| at.checked_add(CLOCKS_APART).unwrap_or(at));
        let query =
            sql("SELECT a.id FROM message m CROSS JOIN attempt a WHERE a.tenant = m.tenant AND a.message = m.id \
             AND m.tenant = $1 AND m.number_token = $2 AND m.direction = 'out' AND m.content_hash = $3 \
             AND a.state IN ('committed', 'unknown') AND a.committed_at <= $4 ORDER BY a.id LIMIT 1");
        let row = self.settler.db.optional(query.bind(tenant).bind(token).bind(*hash).bind(latest)).await?;
        row.map(|row| row.get("id")).transpose()
    }

    async fn record(
        &self,
        practice: &Practice,
        carrier: &'static str,
        ours: &PhoneNumber,
        text: &CarrierOutbound,
        (number, token, content_hash): (&PhoneNumber, Vec<u8>, Option<[u8; 32]>),
    ) -> Result<RecordSent, MessagingError> {
        let Settler { vault, instruments, .. } = &self.settler;
        let (tenant, id, now) = (practice.tenant, instruments.new_id::<Message>(), instruments.now());
        let seal = async |column, value: &str| {
            let place = Place::new("message", &id, column);
            vault.seal(tenant, RetentionClass::Clinical, place, value.as_bytes()).await
        };
        let made_from = self.catalogue.recognise(text.body.as_str());
        let patients = self.directory.with_number(tenant, &token).await?;
        let patient = match patients.as_slice() {
            [alone] => Some(alone),
            _ => None,
        };
        let language = made_from.map(|(_, language)| language);
        let language = language.or(patient.and_then(|patient| patient.language)).unwrap_or(practice.default_language);
        let key = made_from.map(|(key, _)| key);
        let kind = key.and_then(|key| self.catalogue.text(key, language)).map(|text| (text.class, text.category));
        Ok(RecordSent {
            id,
            tenant,
            carrier,
            carrier_id: text.carrier_id.clone(),
            our_number: ours.as_e164().to_owned(),
            number: seal("number", number.as_e164()).await?,
            body: seal("body", text.body.as_str()).await?,
            content_hash,
            class: kind.map_or(Class::StaffReply, |(class, _)| class_of(class)),
            category: kind.map_or(Category::Clinical, |(_, category)| category_of(category)),
            language,
            key,
            segments: text.segments,
            state: state::of_status(&text.report.status),
            reason: text.report.class.map_or(READ_BACK, FailureClass::as_str),
            opted_out: text.report.class == Some(FailureClass::OptedOut),
            sent_at: text.created_at.or(text.sent_at).unwrap_or(now).min(now),
            patient: patient.map(|patient| patient.id),
            conversation: instruments.new_id(),
            attempt: instruments.new_id(),
            changed: changed_job(instruments, tenant, id, &token).map_err(|_| MessagingError::Stored)?,
            number_token: token,
            now,
            journal: Journal::of(vault, instruments, tenant).await?,
        })
    }
}

/// Which row of the gate's table a text of the house is under.
const fn class_of(class: TextClass) -> Class {
    match class {
        TextClass::Automated => Class::Automated,
        TextClass::Answer => Class::Answer,
        TextClass::StopConfirmation => Class::StopConfirmation,
        TextClass::OptIn => Class::OptInRequest,
        TextClass::Help => Class::Help,
        TextClass::Emergency => Class::Emergency,
        TextClass::UnknownSender => Class::UnknownSender,
        TextClass::Form => Class::StaffReply,
    }
}

/// What a text of the house is about; what is about texting itself goes under visits, as when it is queued.
const fn category_of(category: TextCategory) -> Category {
    match category {
        TextCategory::Refill => Category::Refill,
        TextCategory::Clinical => Category::Clinical,
        TextCategory::Appointment | TextCategory::Service => Category::Appointment,
    }
}

/// Writes down a text that had left, with an attempt that is settled by it.
struct RecordSent {
    id: Id<Message>,
    tenant: Id<Tenant>,
    carrier: &'static str,
    carrier_id: String,
    our_number: String,
    number_token: Vec<u8>,
    number: Sealed,
    body: Sealed,
    content_hash: Option<[u8; 32]>,
    class: Class,
    category: Category,
    language: Language,
    key: Option<TextKey>,
    segments: Option<u32>,
    state: &'static str,
    reason: &'static str,
    /// The carrier did not take it to a number that it blocks.
    opted_out: bool,
    sent_at: Timestamp,
    patient: Option<Id<Patient>>,
    conversation: Id<Conversation>,
    attempt: Id<Attempt>,
    changed: NewJob,
    now: Timestamp,
    journal: Journal,
}

impl Command for RecordSent {
    /// Whether it was not here.
    type Output = bool;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<bool, DbError> {
        line::lock(tx, self.tenant, &self.number_token).await?;
        let fresh = tx
            .execute(
                sql("INSERT INTO message_dedupe (tenant, carrier, carrier_id, message) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING")
                    .bind(self.tenant)
                    .bind(self.carrier)
                    .bind(self.carrier_id.clone())
                    .bind(self.id),
            )
            .await?;
        if fresh == 0 {
            return Ok(false);
        }
        self.insert(tx).await?;
        tx.execute(
            sql("INSERT INTO attempt (tenant, id, message, number_token, state, send_by, committed_at, settled_at, carrier, carrier_id) \
                 VALUES ($1, $2, $3, $4, 'accepted', $5, $5, $6, $7, $8)")
            .bind(self.tenant)
            .bind(self.attempt)
            .bind(self.id)
            .bind(self.number_token.clone())
            .bind(self.sent_at)
            .bind(self.now)
            .bind(self.carrier)
            .bind(self.carrier_id.clone()),
        )
        .await?;
        if self.opted_out {
            // The carrier blocks the number: what it knows holds here too.
            consent::suppress_as_listed(tx, self.tenant, &self.number_token, self.sent_at).await?;
        }
        self.journal.read_back(tx, self.id, &self.carrier_id).await?;
        enqueue(tx, &self.changed).await?;
        outbound::publish(tx, self.tenant, self.patient);
        Ok(true)
    }
}

impl RecordSent {
    async fn insert(&self, tx: &mut Tx) -> Result<(), DbError> {
        let conversation = outbound::conversation(
            tx,
            self.tenant,
            self.conversation,
            &self.our_number,
            &self.number_token,
            self.patient,
            self.sent_at,
        )
        .await?;
        // When it was delivered the list does not say.
        tx.execute(
            sql("INSERT INTO message (tenant, id, direction, conversation, patient, our_number, number_token, number, class, category, language, \
                 template_key, body, content_hash, segments, media_count, author, quiet_overridden, state, state_reason, carrier, carrier_id, \
                 sealed_at, sent_at, created_at, read_back) \
                 VALUES ($1, $2, 'out', $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 0, $15, 0, $16, $17, $18, $19, $20, $21, $21, 'open')")
            .bind(self.tenant)
            .bind(self.id)
            .bind(conversation)
            .bind(self.patient)
            .bind(self.our_number.clone())
            .bind(self.number_token.clone())
            .bind(self.number.as_bytes())
            .bind(self.class.code())
            .bind(self.category.code())
            .bind(self.language.tag())
            .bind(self.key.map(TextKey::as_str))
            .bind(self.body.as_bytes())
            .bind(self.content_hash.map(|hash| hash.to_vec()))
            .bind(self.segments)
            .bind(Author::System.code())
            .bind(self.state)
            .bind(self.reason)
            .bind(self.carrier)
            .bind(self.carrier_id.clone())
            .bind(self.now)
            .bind(self.sent_at),
        )
        .await
        .map(|_| ())
    }
}
