//! What stands around a text that never left: the question that holds it, and the thread.

use crate::stored::Stored;
use anyhow::Result;
use chartwire::{
    db::{Row, sql},
    kernel::Id,
    messaging::Message,
};
use jiff::Timestamp;

/// How much of the thread is told.
const MOST_TEXTS: usize = 14;

/// One paragraph for each text that still waits for the gate. Everybody here is invented, so the words are told as well.
pub(crate) async fn explain(stored: &Stored) -> Result<Vec<String>> {
    let waiting = sql(
        "SELECT id, our_number, number_token, template_key FROM message WHERE direction = 'out' AND state = 'queued' ORDER BY id",
    );
    let mut told = Vec::new();
    for row in stored.db.all(waiting).await? {
        let id: Id<Message> = row.get("id")?;
        let key = row.get::<Option<String>>("template_key")?.unwrap_or_default();
        let mut paragraph = vec![format!("{id} ({key}) waits")];
        paragraph.extend(questions(stored, &row).await?);
        paragraph.extend(thread(stored, &row).await?);
        told.push(paragraph.join("\n      "));
    }
    Ok(told)
}

async fn questions(stored: &Stored, text: &Row) -> Result<Vec<String>> {
    let open = sql(
        "SELECT q.context, q.state, q.opened_at, q.expires_at, q.message, w.kind, w.state AS stands, w.updated_at \
         FROM question q LEFT JOIN workflow w ON w.tenant = q.tenant AND w.id = q.workflow \
         WHERE q.our_number = $1 AND q.number_token = $2 ORDER BY q.opened_at DESC LIMIT 4",
    );
    let (ours, theirs): (String, Vec<u8>) = (text.get("our_number")?, text.get("number_token")?);
    let mut told = Vec::new();
    for row in stored.db.all(open.bind(ours).bind(theirs)).await? {
        told.push(format!(
            "question {} of {}, {}, until {}; asked by {}; workflow {} {}, changed {}",
            row.get::<String>("context")?,
            row.get::<Timestamp>("opened_at")?,
            row.get::<String>("state")?,
            row.get::<Timestamp>("expires_at")?,
            row.get::<Id<Message>>("message")?,
            row.get::<Option<String>>("kind")?.unwrap_or_default(),
            row.get::<Option<String>>("stands")?.unwrap_or_default(),
            row.get::<Option<Timestamp>>("updated_at")?.map(|at| at.to_string()).unwrap_or_default(),
        ));
    }
    Ok(told)
}

async fn thread(stored: &Stored, text: &Row) -> Result<Vec<String>> {
    let line = sql("SELECT id FROM message WHERE our_number = $1 AND number_token = $2 ORDER BY id DESC LIMIT 200");
    let (ours, theirs): (String, Vec<u8>) = (text.get("our_number")?, text.get("number_token")?);
    let rows = stored.db.all(line.bind(ours).bind(theirs)).await?;
    let ids: Vec<Id<Message>> = rows.iter().take(MOST_TEXTS).map(|row| row.get("id")).collect::<Result<_, _>>()?;
    let texts = stored.all().await?;
    let told = texts.iter().filter(|text| ids.contains(&text.id)).map(|text| {
        let from = if text.inbound { "<" } else { ">" };
        format!("{from} {} {}: {}", text.id, text.state, text.words.as_deref().unwrap_or_default())
    });
    Ok(told.collect())
}
