//! The books: the carrier's, the service's and the chart's, held against each other.

use crate::{
    deeds::Deeds,
    outside::{Outside, list, text},
    quiet::Settled,
    stored::{Stored, StoredText},
};
use anyhow::Result;
use chartwire::{
    db::sql,
    kernel::Id,
    messaging::{Attempt, Message},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// The system of the identifiers that texts are filed under.
const IDENTIFIER: &str = "urn:ietf:rfc:3986";
/// Within this time after its commit an attempt has the carrier's answer, if nothing breaks it off.
const WINDOW: SignedDuration = SignedDuration::from_secs(32);

/// What the books say.
#[derive(Default)]
pub(crate) struct Books {
    /// Texts that patients wrote and the service has acknowledged.
    pub(crate) acknowledged: usize,
    /// Texts that patients wrote and the service did not acknowledge: it has to fetch them.
    pub(crate) fetched: usize,
    /// Texts that the carrier accepted.
    pub(crate) sent: usize,
    /// Texts that the gate dropped or the carrier refused.
    pub(crate) not_sent: usize,
    /// Texts in the chart.
    pub(crate) filed: usize,
    /// Words of staff.
    pub(crate) replies: usize,
    /// What does not agree.
    pub(crate) wrong: Vec<String>,
}

/// An attempt of the service's.
struct StoredAttempt {
    message: Id<Message>,
    committed_at: Timestamp,
}

/// Holds the books against each other. `blows` are the instants at which the service was killed or stopped.
pub(crate) async fn check(
    outside: &Outside,
    stored: &Stored,
    texts: &[StoredText],
    (deeds, settled, blows): (&Deeds, &Settled, &[Timestamp]),
) -> Result<Books> {
    let mut books = Books::default();
    let messages = outside.messages().await?;
    let complaints: HashSet<String> = outside.complaints().await?.into_iter().collect();
    let attempts = attempts(stored).await?;
    books.inbound(&messages, &complaints, texts);
    books.outbound(&messages, &attempts, texts, settled);
    books.unknown(&attempts, settled, blows);
    books.chart(&outside.search("Communication?_count=500").await?, texts);
    books.staff(deeds, texts);
    Ok(books)
}

async fn attempts(stored: &Stored) -> Result<HashMap<Id<Attempt>, StoredAttempt>> {
    let rows = stored.db.all(sql("SELECT id, message, committed_at FROM attempt")).await?;
    let attempt = |row: &chartwire::db::Row| {
        Ok((row.get("id")?, StoredAttempt { message: row.get("message")?, committed_at: row.get("committed_at")? }))
    };
    rows.iter().map(attempt).collect()
}

/// The attempt that a message on the carrier's books was made by.
fn attempt_of(message: &Value) -> Option<Id<Attempt>> {
    let callback: url::Url = text(message, "/status_callback").parse().ok()?;
    callback.query_pairs().find(|(name, _)| name == "attempt")?.1.parse().ok()
}

impl Books {
    fn wrong(&mut self, what: impl Into<String>) {
        self.wrong.push(what.into());
    }

    /// Every text that a patient wrote is there, once, with its words.
    fn inbound(&mut self, messages: &[Value], complaints: &HashSet<String>, texts: &[StoredText]) {
        let mut by_sid: HashMap<&str, Vec<&StoredText>> = HashMap::new();
        for one in texts.iter().filter(|one| one.inbound) {
            by_sid.entry(one.carrier_id.as_deref().unwrap_or_default()).or_default().push(one);
        }
        for message in messages.iter().filter(|one| text(one, "/direction") == "inbound") {
            let sid = text(message, "/sid");
            let acknowledged = !complaints.contains(sid);
            self.acknowledged += usize::from(acknowledged);
            self.fetched += usize::from(!acknowledged);
            let how = if acknowledged { "acknowledged" } else { "not acknowledged" };
            match by_sid.remove(sid).unwrap_or_default().as_slice() {
                [] => self.wrong(format!("{sid}, {how}, is lost")),
                [one] if one.words.as_deref() != Some(text(message, "/body")) => {
                    self.wrong(format!("{sid}, {how}, has other words"));
                }
                [one] if one.patient.is_none() => self.wrong(format!("{sid} is in nobody's thread")),
                [_] => {}
                several => self.wrong(format!("{sid}, {how}, is there {} times", several.len())),
            }
        }
        for sid in by_sid.keys() {
            self.wrong.push(format!("nobody wrote {sid}"));
        }
    }

    /// Every text of ours was accepted once at most, and the service knows which.
    fn outbound(
        &mut self,
        messages: &[Value],
        attempts: &HashMap<Id<Attempt>, StoredAttempt>,
        texts: &[StoredText],
        settled: &Settled,
    ) {
        let mut accepted: HashMap<Id<Message>, Vec<&Value>> = HashMap::new();
        let mut by_attempt: HashSet<Id<Attempt>> = HashSet::new();
        for message in messages.iter().filter(|one| text(one, "/direction") != "inbound") {
            self.sent += 1;
            let sid = text(message, "/sid");
            let Some((id, attempt)) = attempt_of(message).and_then(|id| Some((id, attempts.get(&id)?))) else {
                self.wrong(format!("{sid} was sent by no attempt"));
                continue;
            };
            if !by_attempt.insert(id) {
                self.wrong(format!("the attempt {id} was accepted twice"));
            }
            accepted.entry(attempt.message).or_default().push(message);
        }
        for one in texts.iter().filter(|one| !one.inbound) {
            let accepted = accepted.remove(&one.id).unwrap_or_default();
            let (id, state) = (one.id, one.state.as_str());
            let by_person = settled.by_person.contains(&id);
            match (accepted.as_slice(), state) {
                ([], "dropped" | "failed") => self.not_sent += 1,
                ([], _) => self.wrong(format!("the text {id} is {state}, and the carrier never had it")),
                ([_], "dropped") => self.wrong(format!("the text {id} is {state}, and the carrier has it")),
                ([message], _) => {
                    if one.words.as_deref() != Some(text(message, "/body")) {
                        self.wrong(format!("the text {id} left with other words"));
                    }
                    if one.carrier_id.as_deref() != Some(text(message, "/sid")) && !by_person {
                        self.wrong(format!("the text {id} does not know its SID"));
                    }
                    if text(message, "/status") != state && !by_person {
                        self.wrong(format!("the text {id} is {state}, to the carrier {}", text(message, "/status")));
                    }
                }
                (several, _) => self.wrong(format!("the text {id} was accepted {} times", several.len())),
            }
        }
        self.wrong.extend(accepted.keys().map(|id| format!("the text {id} was sent and is not there")));
    }

    /// Only what was on its way when the service was hit may have been left to a person, and a task said so.
    fn unknown(&mut self, attempts: &HashMap<Id<Attempt>, StoredAttempt>, settled: &Settled, blows: &[Timestamp]) {
        for id in &settled.by_person {
            let hit = attempts.values().filter(|attempt| attempt.message == *id).any(|attempt| {
                blows.iter().any(|blow| *blow >= attempt.committed_at && *blow < attempt.committed_at + WINDOW)
            });
            if !hit {
                self.wrong.push(format!("the text {id} became unknown, and nothing had happened"));
            }
        }
        self.wrong.extend(settled.untold.iter().map(|id| format!("no task says that the text {id} is unknown")));
    }

    /// Every text is in the chart once, as it is.
    fn chart(&mut self, chart: &[Value], texts: &[StoredText]) {
        let mut filed: HashMap<String, Vec<&Value>> = HashMap::new();
        for communication in chart {
            for identifier in list(communication, "/identifier") {
                if text(identifier, "/system") == IDENTIFIER {
                    filed.entry(text(identifier, "/value").to_owned()).or_default().push(communication);
                }
            }
        }
        for one in texts {
            let filed = filed.remove(&format!("urn:uuid:{}", one.id)).unwrap_or_default();
            let (id, state) = (one.id, one.state.as_str());
            let expected = usize::from(one.patient.is_some() && state != "dropped");
            // What was filed while nobody knew whether it had left, and then was not let out, stands there as not done.
            let undone = state == "dropped" && filed.iter().all(|one| text(one, "/status") == "not-done");
            if filed.len() != expected && !(undone && filed.len() == 1) {
                self.wrong(format!("the text {id}, {state}, is in the chart {} times", filed.len()));
                continue;
            }
            let Some(communication) = filed.first() else { continue };
            self.filed += 1;
            if Some(text(communication, "/payload/0/contentString")) != one.words.as_deref() {
                self.wrong(format!("the text {id} has other words in the chart"));
            }
            let status = text(communication, "/status");
            if state == "delivered" && status != "completed" {
                self.wrong(format!("the text {id} is {state}, in the chart {status}"));
            }
        }
        self.wrong.extend(filed.keys().map(|id| format!("the chart has {id}, which is not there")));
    }

    /// What staff wrote and the service took is there once; what it may have taken once at most.
    fn staff(&mut self, deeds: &Deeds, texts: &[StoredText]) {
        let (taken, unsure) = deeds.words();
        let times = |words: &String| texts.iter().filter(|one| one.words.as_ref() == Some(words)).count();
        self.replies = taken.len();
        let lost = taken.iter().filter(|words| times(words) != 1);
        self.wrong.extend(lost.map(|words| format!("\"{words}\" was taken and is there {} times", times(words))));
        let doubled = unsure.iter().filter(|words| times(words) > 1);
        self.wrong.extend(doubled.map(|words| format!("\"{words}\" is there {} times", times(words))));
    }
}
