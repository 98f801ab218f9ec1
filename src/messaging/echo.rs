//! Texts that would repeat one that left before the database was put back from a backup.
//!
//! After a restore our books are behind: what is queued, due or answered anew may have left already. The carrier's list
//! says what has; those texts stand here as read back (`read_back.rs`). Always: a text that may be one of them does not
//! leave. The same words are that text; what is only like one of them is left to a person.

use super::{
    Class, Message,
    attempt::CommitAttempt,
    changed::changed_job,
    gate::Echo,
    line::{Line, Restored},
    outbound, question,
    rows::OutboundRow,
};
use crate::{
    db::{DbError, Row, Tx, sql},
    kernel::Id,
    template::TextKey,
};
use jiff::{SignedDuration, Timestamp};

/// The carrier's clock and ours, and its whole seconds.
const CLOCKS_APART: SignedDuration = SignedDuration::from_secs(60);
/// How long after a recovery what the EHR shows is still told for the first time: polls and retries catch up.
const CATCHES_UP_WITHIN: SignedDuration = SignedDuration::from_hours(24);

/// A text that was read back, and that nothing has claimed.
struct Earlier {
    id: Id<Message>,
    content_hash: Option<Vec<u8>>,
    template_key: Option<String>,
    class: String,
    category: String,
}

impl CommitAttempt {
    /// What `text` would repeat.
    pub(super) async fn echo(
        &self,
        tx: &mut Tx,
        text: &OutboundRow,
        restored: Restored,
        answers: Option<Timestamp>,
    ) -> Result<Option<Echo>, DbError> {
        let Some(lifted_at) = restored.lifted_at else { return Ok(None) };
        let Some(cause) = cause(text, answers, restored.marked_at, lifted_at) else { return Ok(None) };
        let since = cause.checked_sub(CLOCKS_APART).unwrap_or(Timestamp::MIN);
        let rows = tx
            .all(
                sql("SELECT id, content_hash, template_key, class, category FROM message WHERE tenant = $1 AND number_token = $2 \
                     AND read_back = 'open' AND sent_at >= $3 ORDER BY sent_at, id")
                .bind(self.tenant)
                .bind(text.number_token.clone())
                .bind(since),
            )
            .await?;
        let earlier = rows.iter().map(read).collect::<Result<Vec<_>, DbError>>()?;
        let same = earlier.iter().find(|one| one.content_hash.as_deref() == Some(&self.content_hash));
        if let Some(same) = same {
            return Ok(Some(Echo::Same(same.id)));
        }
        let is_news = answers.is_none() && text.due_at.is_none();
        let like = |one: &Earlier| is_like(text, one, answers.is_some()) || (is_news && may_have_told(text, one));
        Ok(earlier.iter().any(like).then_some(Echo::Like))
    }

    /// Lets the text that had left stand for `text`, with all that hangs on it.
    pub(super) async fn give_place_to(
        &self,
        tx: &mut Tx,
        text: &OutboundRow,
        earlier: Id<Message>,
        line: &Line,
        question_taken: bool,
    ) -> Result<(), DbError> {
        let row = tx
            .one(
                sql("UPDATE message SET read_back = 'claimed', class = $4, category = $5, author = $6, workflow = $7, about = $8, \
                     about_version = $9, in_response_to = $10, template_key = $11, template_version = $12, \
                     conversation = CASE WHEN patient IS NULL THEN (SELECT q.conversation FROM message q WHERE q.tenant = $1 AND q.id = $3) \
                     ELSE conversation END, patient = COALESCE(patient, $13) WHERE tenant = $1 AND id = $2 RETURNING sent_at, patient, state")
                .bind(self.tenant)
                .bind(earlier)
                .bind(text.id)
                .bind(text.class.code())
                .bind(text.category.code())
                .bind(text.author.code())
                .bind(text.workflow)
                .bind(text.about.clone())
                .bind(text.about_version.clone())
                .bind(text.in_response_to)
                .bind(text.template_key.clone())
                .bind(self.template_version)
                .bind(text.patient),
            )
            .await?;
        let sent_at: Option<Timestamp> = row.get("sent_at")?;
        let answered = line.last_inbound_at.zip(sent_at).is_some_and(|(came, left)| came >= left);
        if let (Some(asker), Some(asks), false, false) = (self.asker(text), &text.asks, question_taken, answered) {
            // What came since was read without it: a person has that.
            let asker = question::Asker { message: earlier, ..asker };
            question::ask(tx, &asker, self.question, asks, sent_at.unwrap_or(self.now)).await?;
        }
        // Whose chart it belongs into may be known only now.
        let changed = changed_job(&self.instruments, self.tenant, earlier, &text.number_token);
        crate::jobs::enqueue(tx, &changed.map_err(|_| DbError::Decode { column: "payload" })?).await?;
        outbound::publish(tx, self.tenant, row.get("patient")?);
        Ok(())
    }
}

/// The instant from which on the text could have left before; `None`: it is new.
fn cause(
    text: &OutboundRow,
    answers: Option<Timestamp>,
    marked_at: Timestamp,
    lifted_at: Timestamp,
) -> Option<Timestamp> {
    let was_queued = (text.created_at < marked_at).then_some(text.created_at);
    let caught_up = lifted_at.checked_add(CATCHES_UP_WITHIN).unwrap_or(Timestamp::MAX);
    let may_repeat = (text.created_at < caught_up).then_some(Timestamp::MIN);
    if text.class == Class::StaffReply {
        return was_queued.or(may_repeat);
    }
    match (answers, text.due_at) {
        (Some(cause), _) | (None, Some(cause)) => (cause < lifted_at).then_some(cause),
        // News that the EHR's state gives rise to: what was told already looks new to books that are behind.
        (None, None) => was_queued.or(may_repeat),
    }
}

/// Whether nobody can rule out that `text` is `earlier`, whose words are not the same.
fn is_like(text: &OutboundRow, earlier: &Earlier, answers: bool) -> bool {
    if text.class == Class::StaffReply {
        // What a person wrote is its words; of those that the carrier has redacted nobody knows.
        return earlier.content_hash.is_none();
    }
    let of_one_template = text
        .template_key
        .as_deref()
        .zip(earlier.template_key.as_deref())
        .is_some_and(|(key, earlier)| key == earlier || (reminds_of_visits(key) && reminds_of_visits(earlier)));
    let may_be_the_answer = answers && text.class != Class::Emergency && earlier.class != Class::Automated.code();
    earlier.content_hash.is_none() || of_one_template || may_be_the_answer
}

/// Whether it reminds of visits: one visit is reminded of alone, or with others of its day.
fn reminds_of_visits(key: &str) -> bool {
    [TextKey::Reminder, TextKey::ReminderMany].iter().any(|one| one.as_str() == key)
}

/// Whether `earlier` may have told the same news in other words: that a visit has moved is said in one way to who asked
/// for it, and in another to who did not.
fn may_have_told(text: &OutboundRow, earlier: &Earlier) -> bool {
    let reminds = |key: &str| reminds_of_visits(key) || key == TextKey::RefillDue.as_str();
    let reminds = earlier.template_key.as_deref().is_some_and(reminds);
    text.class == Class::Automated && text.category.code() == earlier.category && !reminds
}

fn read(row: &Row) -> Result<Earlier, DbError> {
    Ok(Earlier {
        id: row.get("id")?,
        content_hash: row.get("content_hash")?,
        template_key: row.get("template_key")?,
        class: row.get("class")?,
        category: row.get("category")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_visit_is_reminded_of_alone_or_with_others() {
        for key in [TextKey::Reminder, TextKey::ReminderMany] {
            assert!(reminds_of_visits(key.as_str()));
        }
        for key in [TextKey::RefillDue, TextKey::Changed, TextKey::Confirmed] {
            assert!(!reminds_of_visits(key.as_str()));
        }
    }
}
