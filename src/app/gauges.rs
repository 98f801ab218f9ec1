//! How the service stands, as gauges: the queue and its age, what nobody has read, filed or answered yet.
//!
//! Read from the database by every process that works, so that any one of them tells it all. Always: labels are names of
//! kinds, teams and practices; a gauge whose subject is gone says 0.

use crate::{
    chart,
    db::{Db, DbError, Recovery, sql},
    feed,
    kernel::{Id, Instruments, Tenant},
    messaging,
};
use jiff::Timestamp;
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};
use tokio_util::sync::CancellationToken;

/// How often they are read. Alerts look at minutes.
const READ_EVERY: Duration = Duration::from_secs(30);

/// The name of a gauge, and its labels.
type Key = (&'static str, Vec<(&'static str, String)>);

/// Reads and shows the gauges.
pub struct Gauges {
    db: Db,
    instruments: Instruments,
    slugs: HashMap<Id<Tenant>, String>,
}

impl Gauges {
    /// Over this database; `tenants` by their names in URLs.
    #[must_use]
    pub fn new(db: Db, instruments: Instruments, tenants: &HashMap<String, Id<Tenant>>) -> Self {
        let slugs = tenants.iter().map(|(slug, id)| (*id, slug.clone())).collect();
        Self { db, instruments, slugs }
    }

    /// Keeps them until `stop`.
    pub async fn keep(&self, stop: CancellationToken) {
        let mut shown = Readings::default();
        while !stop.is_cancelled() {
            match self.read().await {
                Ok(readings) => {
                    readings.show(&shown);
                    shown = readings;
                }
                Err(error) => tracing::warn!(%error, "how the service stands cannot be read"),
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(READ_EVERY) => {}
            }
        }
    }

    /// Reads them once.
    ///
    /// # Errors
    /// [`DbError`] when the database is away.
    pub async fn read(&self) -> Result<Readings, DbError> {
        let now = self.instruments.now();
        let mut readings = Readings::default();
        self.jobs(&mut readings, now).await?;
        self.tasks(&mut readings, now).await?;
        let under_way = Recovery::under_way(&self.db).await?;
        // A practice that is no longer served has nobody to recover it, and nothing leaves for it.
        let served = under_way.iter().filter(|recovery| self.slugs.contains_key(&recovery.tenant));
        readings.set("chartwire_recoveries_under_way", &[], served.count());
        // Nothing where no backup was ever taken this way: PostgreSQL has its own means.
        if let Some(taken_at) = self.db.backed_up_at().await? {
            readings.age("chartwire_backup_age_seconds", &[], taken_at, now);
        }
        readings.set("chartwire_feeds_refused", &[], feed::refused_feeds(&self.db).await?);
        Ok(readings)
    }

    /// The queue may hold a million reminders of the weeks to come: it is counted by its index alone.
    async fn jobs(&self, readings: &mut Readings, now: Timestamp) -> Result<(), DbError> {
        let all = sql("SELECT kind, state, COUNT(*) AS jobs, MIN(run_at) AS due FROM job GROUP BY state, kind");
        for row in self.db.all(all).await? {
            let (kind, state): (String, String) = (row.get("kind")?, row.get("state")?);
            readings.set("chartwire_jobs", &[("kind", &kind), ("state", &state)], row.get::<u32>("jobs")?);
            if state == "ready" {
                readings.age("chartwire_job_overdue_seconds", &[("kind", &kind)], row.get("due")?, now);
            }
        }
        // In whatever state: what was given up is unread and unfiled too.
        let waiting = sql("SELECT kind, MIN(created_at) AS oldest FROM job \
             WHERE state IN ('ready', 'leased', 'dead') AND kind IN ($1, $2, $3) GROUP BY kind");
        let [unread, changed, unfiled] = [messaging::TEXT_RECEIVED, messaging::TEXT_CHANGED, chart::FILE_CONVERSATION];
        for row in self.db.all(waiting.bind(unread).bind(changed).bind(unfiled)).await? {
            let is_unread = row.get::<String>("kind")? == unread;
            let gauge = if is_unread {
                "chartwire_oldest_unread_text_seconds"
            } else {
                "chartwire_oldest_unfiled_text_seconds"
            };
            readings.age(gauge, &[], row.get("oldest")?, now);
        }
        Ok(())
    }

    async fn tasks(&self, readings: &mut Readings, now: Timestamp) -> Result<(), DbError> {
        let open = sql("SELECT tenant, team, urgency, COUNT(*) AS tasks, MIN(created_at) AS oldest FROM staff_task \
             WHERE state = 'open' GROUP BY tenant, team, urgency");
        for row in self.db.all(open).await? {
            // A practice that is no longer served has nobody to alert.
            let Some(slug) = self.slugs.get(&row.get::<Id<Tenant>>("tenant")?) else { continue };
            let (team, urgency): (String, String) = (row.get("team")?, row.get("urgency")?);
            let labels = [("tenant", slug.as_str()), ("team", team.as_str()), ("urgency", urgency.as_str())];
            readings.set("chartwire_tasks_open", &labels, row.get::<u32>("tasks")?);
            readings.age("chartwire_oldest_open_task_seconds", &labels, row.get("oldest")?, now);
        }
        Ok(())
    }
}

/// What was read, once.
#[derive(Debug, Default)]
pub struct Readings(BTreeMap<Key, u32>);

impl Readings {
    /// What stands for this gauge; 0 where there is nothing.
    #[must_use]
    pub fn value(&self, name: &'static str, labels: &[(&'static str, &str)]) -> u32 {
        self.0.get(&key(name, labels)).copied().unwrap_or_default()
    }

    fn set(&mut self, name: &'static str, labels: &[(&'static str, &str)], count: impl TryInto<u32>) {
        self.0.insert(key(name, labels), count.try_into().unwrap_or(u32::MAX));
    }

    /// The age of the oldest in seconds, where several tell one. What lies in the future has none.
    fn age(&mut self, name: &'static str, labels: &[(&'static str, &str)], since: Timestamp, now: Timestamp) {
        let age = u32::try_from(now.duration_since(since).as_secs().max(0)).unwrap_or(u32::MAX);
        let entry = self.0.entry(key(name, labels)).or_default();
        *entry = (*entry).max(age);
    }

    fn show(&self, before: &Self) {
        for ((name, labels), value) in &self.0 {
            metrics::gauge!(*name, labels).set(f64::from(*value));
        }
        for (name, labels) in before.0.keys().filter(|key| !self.0.contains_key(*key)) {
            metrics::gauge!(*name, labels).set(0.0);
        }
    }
}

fn key(name: &'static str, labels: &[(&'static str, &str)]) -> Key {
    (name, labels.iter().map(|(label, value)| (*label, (*value).to_owned())).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_of_the_oldest_and_what_is_gone_says_nought() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let mut first = Readings::default();
        first.age("age", &[], "2026-11-23T11:59:00Z".parse().unwrap(), now);
        first.age("age", &[], "2026-11-23T11:50:00Z".parse().unwrap(), now);
        first.age("later", &[("kind", "a")], "2026-11-23T12:10:00Z".parse().unwrap(), now);
        first.set("count", &[], 3_u32);
        assert_eq!((first.value("age", &[]), first.value("later", &[("kind", "a")])), (600, 0));

        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let shown = recorder.handle();
        metrics::with_local_recorder(&recorder, || first.show(&Readings::default()));
        assert!(shown.render().contains("age 600"), "{}", shown.render());
        metrics::with_local_recorder(&recorder, || Readings::default().show(&first));
        assert!(shown.render().contains("age 0") && shown.render().contains("count 0"), "{}", shown.render());
    }
}
