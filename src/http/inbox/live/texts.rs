//! The texts of a thread as the session may see them. Only those in its scope are opened.

use super::{LiveInbox, Loaded, PURPOSE, SHOWN, failed, words};
use crate::{
    access::{AccessError, may_read},
    audit::Actor,
    db::DbError,
    http::inbox::source::{Body, InboxError, TextAuthor, TextView, ThreadText, Viewer},
    kernel::{Id, Phi, StaffUser, Tenant},
    messaging::{
        Author, Message, state,
        thread::{Reader, TextRecord},
    },
};
use std::collections::{BTreeSet, HashMap};

impl LiveInbox {
    /// The texts of the thread, opened as far as the roles reach.
    pub(super) async fn texts(&self, viewer: &Viewer, loaded: &Loaded) -> Result<Vec<TextView>, InboxError> {
        let tenant = viewer.session.tenant;
        let filings = self.filings(tenant, loaded.record.id, SHOWN).await?;
        let names = self.names(tenant, &loaded.texts).await?;
        let readable = |text: &TextRecord| may_read(&viewer.session.roles, loaded.scope_of(text));
        let to_open: Vec<&TextRecord> = loaded.texts.iter().filter(|text| readable(text) && has_words(text)).collect();
        let reader =
            Reader { actor: Actor::Staff(viewer.session.staff), purpose: PURPOSE, request: Some(viewer.request.0) };
        let opened = self.thread.open(tenant, &to_open, &reader).await.map_err(failed)?;
        let mut opened: HashMap<Id<Message>, Phi<String>> =
            to_open.iter().map(|text| text.id).zip(opened).filter(|(_, words)| !words.as_str().is_empty()).collect();
        let texts = loaded.texts.iter().map(|text| {
            let readable = readable(text);
            let body = match opened.remove(&text.id) {
                Some(words) => Body::Text(words),
                None if !readable => Body::Redacted(loaded.scope_of(text)),
                None if text.inbound => Body::Text(Phi::new(String::new())),
                None => Body::ToBeRendered,
            };
            let filing = filings.get(&text.id);
            TextView {
                id: text.id.cast::<ThreadText>(),
                author: author(text, &names),
                at: if text.inbound { text.received_at } else { text.sent_at }.unwrap_or(text.created_at),
                body,
                media: text.media_count,
                delivery: (!text.inbound).then(|| words::delivery(&text.state, text.state_reason.as_deref())),
                filing: words::filing(
                    filing.is_some_and(|filing| filing.filed),
                    filing.and_then(|filing| filing.refused.as_deref()),
                ),
                reading: loaded.readings.get(&text.id).filter(|_| readable).map(words::reading),
            }
        });
        Ok(texts.collect())
    }

    /// The names of the staff who wrote some of `texts`.
    async fn names(
        &self,
        tenant: Id<Tenant>,
        texts: &[TextRecord],
    ) -> Result<HashMap<Id<StaffUser>, Phi<String>>, InboxError> {
        let writers: BTreeSet<Id<StaffUser>> = texts
            .iter()
            .filter_map(|text| match text.author {
                Author::Staff(id) => Some(id),
                Author::System | Author::Patient => None,
            })
            .collect();
        let mut names = HashMap::new();
        for id in writers {
            match self.staff.by_id(tenant, id).await {
                Ok(member) => {
                    names.insert(id, member.name);
                }
                Err(AccessError::Database(DbError::NotFound)) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(names)
    }
}

/// Whether there can be words: a template is rendered when it is cleared.
fn has_words(text: &TextRecord) -> bool {
    text.template_key.is_none() || text.state != state::QUEUED
}

fn author(text: &TextRecord, names: &HashMap<Id<StaffUser>, Phi<String>>) -> TextAuthor {
    match text.author {
        Author::Patient => TextAuthor::Patient,
        Author::Staff(id) => TextAuthor::Staff(names.get(&id).cloned().unwrap_or_else(|| Phi::new("Staff".to_owned()))),
        Author::System => TextAuthor::System(text.template_key.as_deref().unwrap_or("text").replace('_', " ")),
    }
}
