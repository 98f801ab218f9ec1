//! Hands texts that did not reach the patient to people: handles messaging's `TextChanged`, as far as people go.
//!
//! Always: one open task per conversation, reason and team, however many texts end there; a text that has ended is not
//! handed over twice, however often its change is told; what is settled, or has arrived after all, is taken back.

use super::{
    NewTask, StaffTask, TaskReason,
    ending::{EndedText, Ending},
    open_task,
};
use crate::{
    access::Team,
    consent::Category,
    db::{Command, Db, DbError, Query, Row, Topic, Tx, Value, sql, sql_built},
    intent::Urgency,
    jobs::Outcome,
    kernel::{Id, Instruments, Patient, Tenant},
    messaging::{self, Attempt, Author, Class, Conversation, Message, NumberToken, state},
    template::TextKey,
};
use jiff::{Timestamp, tz::TimeZone};

/// Follows outbound texts to their end.
#[derive(Clone)]
pub struct TextEndings {
    db: Db,
    instruments: Instruments,
}

impl TextEndings {
    /// Over this database.
    #[must_use]
    pub const fn new(db: Db, instruments: Instruments) -> Self {
        Self { db, instruments }
    }

    /// Takes notice of a text that has changed. Nothing happens the second time.
    ///
    /// # Errors
    /// [`JobError`](crate::jobs::JobError) when the database is away.
    pub async fn text_changed(&self, tenant: Id<Tenant>, message: Id<Message>) -> Outcome {
        let Some(row) = self.db.optional(outbound(tenant, message)).await? else { return Ok(()) };
        let text = OutboundText::read(&row)?;
        // Most changes are good news, and cost a look.
        if text.ended().is_none() && !self.is_awaited(tenant, message, text.patient).await? {
            return Ok(());
        }
        let follow = FollowUp {
            tenant,
            message,
            number_token: text.number_token,
            tasks: [self.instruments.new_id(), self.instruments.new_id()],
            now: self.instruments.now(),
        };
        if let Some(class) = self.db.execute(follow).await? {
            metrics::counter!("chartwire_carrier_trouble_total", "class" => class).increment(1);
            tracing::error!(
                class,
                "a text failed for a reason that other texts will meet; look at the carrier's account"
            );
        }
        Ok(())
    }

    /// Whether somebody is asked to settle the text, or to tell what it says.
    async fn is_awaited(
        &self,
        tenant: Id<Tenant>,
        message: Id<Message>,
        patient: Option<Id<Patient>>,
    ) -> Result<bool, DbError> {
        let query = of_patient(
            "SELECT 1 AS awaited FROM staff_task WHERE tenant = $1 AND message = $2 AND reason IN ($3, $4) AND state = 'open'",
            [
                tenant.into(),
                message.into(),
                TaskReason::DeliveryUnknown.code().into(),
                TaskReason::Undelivered.code().into(),
            ],
            patient,
        );
        Ok(!self.db.all(query).await?.is_empty())
    }
}

/// Narrows `statement` to the tasks of `patient`, or of nobody: by that they are indexed.
fn of_patient<const N: usize>(statement: &str, values: [Value; N], patient: Option<Id<Patient>>) -> Query {
    let whose = patient.map_or_else(|| "patient IS NULL".to_owned(), |_| format!("patient = ${}", N + 1));
    let query = sql_built(format!("{statement} AND staff_task.{whose}"));
    values.into_iter().map(Some).chain([patient.map(Value::from)]).flatten().fold(query, Query::bind)
}

fn outbound(tenant: Id<Tenant>, message: Id<Message>) -> Query {
    sql("SELECT patient, conversation, number_token, class, category, author, template_key, in_response_to, about, state, \
         state_reason FROM message WHERE tenant = $1 AND id = $2 AND direction = 'out'")
    .bind(tenant)
    .bind(message)
}

/// An outbound text as it stands.
struct OutboundText {
    patient: Option<Id<Patient>>,
    conversation: Id<Conversation>,
    number_token: NumberToken,
    class: Class,
    category: Category,
    author: Author,
    template: Option<TextKey>,
    answers: bool,
    about: Option<String>,
    ending: Option<Ending>,
    is_unknown: bool,
    has_arrived: bool,
}

impl OutboundText {
    fn read(row: &Row) -> Result<Self, DbError> {
        let bad = |column| DbError::Decode { column };
        let stored = row.get::<String>("state")?;
        let reason = row.get::<Option<String>>("state_reason")?;
        Ok(Self {
            patient: row.get("patient")?,
            conversation: row.get("conversation")?,
            number_token: row.get("number_token")?,
            class: Class::from_code(&row.get::<String>("class")?).ok_or(bad("class"))?,
            category: Category::from_code(&row.get::<String>("category")?).ok_or(bad("category"))?,
            author: Author::from_code(&row.get::<String>("author")?).ok_or(bad("author"))?,
            // A template that this version does not have is none that only reminds.
            template: row.get::<Option<String>>("template_key")?.and_then(|key| key.parse().ok()),
            answers: row.get::<Option<Id<Message>>>("in_response_to")?.is_some(),
            about: row.get("about")?,
            ending: Ending::of(&stored, reason.as_deref()),
            is_unknown: stored == state::UNKNOWN,
            has_arrived: stored == state::DELIVERED,
        })
    }

    fn ended(&self) -> Option<EndedText> {
        Some(EndedText {
            class: self.class,
            category: self.category,
            author: self.author,
            template: self.template,
            answers: self.answers,
            ending: self.ending?,
        })
    }
}

/// Opens the work that a text's end asks for, and takes back what it does not ask for any more.
struct FollowUp {
    tenant: Id<Tenant>,
    message: Id<Message>,
    number_token: NumberToken,
    tasks: [Id<StaffTask>; 2],
    now: Timestamp,
}

impl Command for FollowUp {
    /// What is wrong between the practice and its carrier, where the text's end shows that.
    type Output = Option<&'static str>;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<Option<&'static str>, DbError> {
        // Of two texts of one conversation the second sees what the first has opened.
        messaging::lock_line(tx, self.tenant, &self.number_token).await?;
        let text = OutboundText::read(&tx.one(outbound(self.tenant, self.message)).await?)?;
        if !text.is_unknown {
            self.take_back(tx, &text).await?;
        }
        if text.has_arrived {
            self.take_back_undelivered(tx, &text).await?;
        }
        let Some(ended) = text.ended() else { return Ok(None) };
        if let Some((team, reason, urgency)) = ended.work() {
            self.hand_over(tx, &text, (team, reason, urgency)).await?;
        }
        let [_, id] = self.tasks;
        let Some(class) = ended.ending.carrier_trouble() else { return Ok(None) };
        let day = self.now.to_zoned(TimeZone::UTC).date();
        let trouble = NewTask {
            patient: None,
            about: None,
            id,
            // One a day, whichever text shows it first.
            unique_key: format!("carrier-trouble:{}:{day}", class.as_str()),
            ..self.task(&text, (Team::Management, TaskReason::CarrierTrouble, Urgency::Prompt))
        };
        open_task(tx, &trouble).await?;
        Ok(Some(class.as_str()))
    }
}

impl FollowUp {
    fn task(&self, text: &OutboundText, (team, reason, urgency): (Team, TaskReason, Urgency)) -> NewTask {
        let [id, _] = self.tasks;
        NewTask {
            id,
            tenant: self.tenant,
            patient: text.patient,
            message: Some(self.message),
            team,
            reason,
            urgency,
            about: text.about.clone(),
            unique_key: format!("{}:{}", reason.code(), self.message),
            now: self.now,
        }
    }

    async fn hand_over(
        &self,
        tx: &mut Tx,
        text: &OutboundText,
        work: (Team, TaskReason, Urgency),
    ) -> Result<(), DbError> {
        let mut task = self.task(text, work);
        if task.reason == TaskReason::DeliveryUnknown {
            // A text that a person let leave again may become unknown again.
            let attempt = self.newest_attempt(tx).await?;
            task.unique_key = format!("{}:{attempt}", task.reason.code());
        }
        let Some((open, urgency)) = self.open_beside(tx, text, &task).await? else { return open_task(tx, &task).await };
        if rank(task.urgency.label()) > rank(&urgency) {
            tx.execute(
                sql("UPDATE staff_task SET urgency = $3, message = $4 WHERE tenant = $1 AND id = $2")
                    .bind(self.tenant)
                    .bind(open)
                    .bind(task.urgency.label())
                    .bind(self.message),
            )
            .await?;
            self.publish(tx, text);
        }
        Ok(())
    }

    /// The open task of the same conversation, reason and team.
    async fn open_beside(
        &self,
        tx: &mut Tx,
        text: &OutboundText,
        task: &NewTask,
    ) -> Result<Option<(Id<StaffTask>, String)>, DbError> {
        let query = of_patient(
            "SELECT staff_task.id, staff_task.urgency FROM staff_task \
             JOIN message m ON m.tenant = staff_task.tenant AND m.id = staff_task.message \
             WHERE staff_task.tenant = $1 AND staff_task.state = 'open' AND staff_task.reason = $2 \
             AND staff_task.team = $3 AND m.conversation = $4",
            [self.tenant.into(), task.reason.code().into(), task.team.code().into(), text.conversation.into()],
            text.patient,
        );
        let row = tx.optional(query).await?;
        row.map(|row| Ok((row.get("id")?, row.get("urgency")?))).transpose()
    }

    async fn newest_attempt(&self, tx: &mut Tx) -> Result<Id<Attempt>, DbError> {
        let query = sql("SELECT id FROM attempt WHERE tenant = $1 AND message = $2 ORDER BY id DESC LIMIT 1");
        tx.one(query.bind(self.tenant).bind(self.message)).await?.get("id")
    }

    /// Whether the text left is known by now: nobody has to find out.
    async fn take_back(&self, tx: &mut Tx, text: &OutboundText) -> Result<(), DbError> {
        let update = of_patient(
            "UPDATE staff_task SET state = 'done', closed_at = $4 \
             WHERE tenant = $1 AND message = $2 AND reason = $3 AND state = 'open'",
            [self.tenant.into(), self.message.into(), TaskReason::DeliveryUnknown.code().into(), self.now.into()],
            text.patient,
        );
        let closed = tx.execute(update).await?;
        if closed > 0 {
            self.publish(tx, text);
        }
        Ok(())
    }

    /// The text was said not to have arrived, and has: nobody has to tell it, unless the task stands for another text of
    /// the conversation too.
    async fn take_back_undelivered(&self, tx: &mut Tx, text: &OutboundText) -> Result<(), DbError> {
        let query = of_patient(
            "SELECT id, team FROM staff_task WHERE tenant = $1 AND message = $2 AND reason = $3 AND state = 'open'",
            [self.tenant.into(), self.message.into(), TaskReason::Undelivered.code().into()],
            text.patient,
        );
        for task in tx.all(query).await? {
            let (task, team): (Id<StaffTask>, String) = (task.get("id")?, task.get("team")?);
            let update = match self.stands_for(tx, text, &team).await? {
                Some(other) => sql("UPDATE staff_task SET message = $3 WHERE tenant = $1 AND id = $2")
                    .bind(self.tenant)
                    .bind(task)
                    .bind(other),
                None => sql("UPDATE staff_task SET state = 'done', closed_at = $3 WHERE tenant = $1 AND id = $2")
                    .bind(self.tenant)
                    .bind(task)
                    .bind(self.now),
            };
            tx.execute(update).await?;
            self.publish(tx, text);
        }
        Ok(())
    }

    /// The newest other text of the conversation that asks the same of `team` and has no task of its own: one was open.
    async fn stands_for(&self, tx: &mut Tx, text: &OutboundText, team: &str) -> Result<Option<Id<Message>>, DbError> {
        // Texts from before the team's last such task was done went with that one.
        let query = sql(
            "SELECT m.id, m.patient, m.conversation, m.number_token, m.class, m.category, m.author, m.template_key, \
             m.in_response_to, m.about, m.state, m.state_reason, m.created_at FROM message m \
             WHERE m.tenant = $1 AND m.conversation = $2 AND m.id <> $3 AND m.direction = 'out' \
             AND m.state IN ('undelivered', 'failed', 'dropped') \
             AND NOT EXISTS (SELECT 1 FROM staff_task own WHERE own.tenant = m.tenant AND own.message = m.id AND own.reason = $4) \
             AND m.created_at > COALESCE((SELECT MAX(done.closed_at) FROM message o CROSS JOIN staff_task done \
             WHERE o.tenant = $1 AND o.conversation = $2 AND done.tenant = o.tenant AND done.message = o.id AND done.reason = $4 AND done.team = $5), 0) ORDER BY m.id DESC",
        );
        let query = query
            .bind(self.tenant)
            .bind(text.conversation)
            .bind(self.message)
            .bind(TaskReason::Undelivered.code())
            .bind(team);
        for row in tx.all(query).await? {
            let work = OutboundText::read(&row)?.ended().and_then(|ended| ended.work());
            if work.is_some_and(|(asked, reason, _)| asked.code() == team && reason == TaskReason::Undelivered) {
                return row.get("id").map(Some);
            }
        }
        Ok(None)
    }

    fn publish(&self, tx: &mut Tx, text: &OutboundText) {
        if let Some(patient) = text.patient {
            tx.publish(Topic::Thread, format!("{}/{patient}", self.tenant));
        }
    }
}

/// The order of urgencies, by their stored words.
fn rank(urgency: &str) -> u8 {
    match urgency {
        "routine" => 0,
        "prompt" => 1,
        _ => 2,
    }
}
