//! What the gate decides by, read under the lock of the patient's number.

use super::{
    Class,
    attempt::CommitAttempt,
    gate::{self, Facts},
    line, question,
    rows::OutboundRow,
};
use crate::{
    consent::{self, Source},
    db::{DbError, Tx, sql},
    patient::{self, NumberHolder},
};
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

/// A text that is being processed goes before later ones of its class for this long; one that waits for something
/// else does not hold them up.
const KEEP_ORDER_FOR: SignedDuration = SignedDuration::from_secs(60);

impl CommitAttempt {
    /// The zones in which it has to be day: the practice's, and those that the patient may be in.
    pub(super) async fn zones(&self, tx: &mut Tx, text: &OutboundRow) -> Result<Vec<TimeZone>, DbError> {
        let mut zones = match text.patient {
            Some(patient) => patient::zones_of(tx, self.tenant, patient).await?,
            None => Vec::new(),
        };
        zones.push(self.practice.zone.clone());
        Ok(zones)
    }

    pub(super) async fn facts(
        &self,
        tx: &mut Tx,
        text: &OutboundRow,
        line: &line::Line,
        zones: &[TimeZone],
    ) -> Result<Facts, DbError> {
        let standing =
            consent::standing(tx, self.tenant, text.patient, &text.number_token, text.category, self.now).await?;
        let still_true = match (&text.about, &text.about_version) {
            (Some(about), Some(version)) => self.relevance.still_true(tx, self.tenant, about, version).await?,
            _ => true,
        };
        let question_taken = match self.asker(text) {
            Some(asker) => question::taken(tx, &asker, self.now).await?,
            None => false,
        };
        let answers = self.answers(tx, text).await?;
        let class = gate::class_now(text.class, answers, self.now);
        let practice = &self.practice;
        let holder = self.holder(tx, text).await?;
        Ok(Facts {
            now: self.now,
            answers,
            not_before: text.not_before,
            expires_at: text.expires_at,
            unread: line.unread,
            unsettled: line.unsettled.is_some(),
            older_waits: self.older_waits(tx, text).await?,
            question_taken,
            still_true,
            standing,
            quiet_until: practice.quiet_hours.quiet_until_everywhere(self.now, zones),
            quiet_overridden: text.quiet_overridden,
            capped_until: self.capped_until(tx, text, class).await?,
            number_on_file: holder.on_file,
            number_disputed: holder.disputed,
            deceased: holder.deceased,
            verified: self.verified(tx, text).await?,
            unverified_allowed: practice.unverified_numbers_allowed,
            guard_blocks: self.guard_blocks,
            recovering: line.restored.is_some_and(|restored| restored.lifted_at.is_none()),
            echo: match line.restored {
                Some(restored) => self.echo(tx, text, restored, answers).await?,
                None => None,
            },
        })
    }

    /// How the number stands with the patient who is meant, now: both may have changed since the text was queued.
    async fn holder(&self, tx: &mut Tx, text: &OutboundRow) -> Result<NumberHolder, DbError> {
        match text.patient {
            Some(patient) => patient::holder_of(tx, self.tenant, patient, &text.number_token).await,
            None => Ok(NumberHolder { on_file: true, disputed: false, deceased: false }),
        }
    }

    /// When the text came in that this one answers.
    async fn answers(&self, tx: &mut Tx, text: &OutboundRow) -> Result<Option<Timestamp>, DbError> {
        let Some(answered) = text.in_response_to else { return Ok(None) };
        let query = sql("SELECT received_at FROM message WHERE tenant = $1 AND id = $2 AND direction = 'in'");
        let row = tx.optional(query.bind(self.tenant).bind(answered)).await?;
        row.map(|row| row.get("received_at")).transpose().map(Option::flatten)
    }

    async fn older_waits(&self, tx: &mut Tx, text: &OutboundRow) -> Result<bool, DbError> {
        let since = self.now.checked_sub(KEEP_ORDER_FOR).unwrap_or(Timestamp::MIN);
        let older = tx
            .optional(
                sql("SELECT 1 AS older FROM message WHERE tenant = $1 AND number_token = $2 AND direction = 'out' AND state = 'queued' \
                     AND class = $3 AND id < $4 AND created_at > $5 AND (not_before IS NULL OR not_before <= $6) LIMIT 1")
                .bind(self.tenant)
                .bind(text.number_token.clone())
                .bind(text.class.code())
                .bind(text.id)
                .bind(since)
                .bind(self.now),
            )
            .await?;
        Ok(older.is_some())
    }

    async fn capped_until(&self, tx: &mut Tx, text: &OutboundRow, class: Class) -> Result<Option<Timestamp>, DbError> {
        let Some(caps) = self.practice.caps.filter(|_| class.rule().caps) else { return Ok(None) };
        let mut until = None;
        for (limit, window) in
            [(caps.per_day, SignedDuration::from_hours(24)), (caps.per_week, SignedDuration::from_hours(24 * 7))]
        {
            // The text that has to grow older than the window before the next may leave.
            let row = tx
                .optional(
                    sql("SELECT sent_at FROM message WHERE tenant = $1 AND number_token = $2 AND direction = 'out' AND class = 'automated' \
                         AND sent_at > $3 ORDER BY sent_at DESC LIMIT 1 OFFSET $4")
                    .bind(self.tenant)
                    .bind(text.number_token.clone())
                    .bind(self.now.checked_sub(window).unwrap_or(Timestamp::MIN))
                    .bind(i64::from(limit.saturating_sub(1))),
                )
                .await?;
            let free = row.map(|row| row.get::<Timestamp>("sent_at")).transpose()?;
            until = until.max(free.and_then(|sent| sent.checked_add(window).ok()));
        }
        Ok(until)
    }

    /// A number that its holder has texted START from is verified: the text came from it.
    async fn verified(&self, tx: &mut Tx, text: &OutboundRow) -> Result<bool, DbError> {
        let row = tx
            .optional(
                sql("SELECT 1 AS verified FROM consent_entry WHERE tenant = $1 AND number_token = $2 AND source = $3 LIMIT 1")
                    .bind(self.tenant)
                    .bind(text.number_token.clone())
                    .bind(Source::Start.code()),
            )
            .await?;
        Ok(row.is_some())
    }
}
