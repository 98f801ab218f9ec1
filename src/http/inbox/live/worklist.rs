//! The worklist over the rooms: tasks without a patient, the texts that they are about, and who has their number.

use super::{LiveInbox, failed, scope, served, staff_entry, stored, whole_name, words};
use crate::{
    access::{Scope, Team, may_read, may_serve},
    audit::{Action, Actor},
    http::inbox::source::{
        Answer, Body, Candidate, InboxError, TaskView, ThreadTask, ThreadText, Viewer, Waiting, WaitingText,
        WorklistItem, WorklistSource, WorklistView,
    },
    kernel::{Id, Patient, Phi, PhoneNumber},
    messaging::thread::{Reader, TextRecord},
    practice::Practice,
    routing::{AssignText, Assigned, CloseTask, how_many_unassigned, is_unassigned, unassigned},
};
use futures_util::FutureExt as _;

/// How many tasks the worklist shows. The rest comes up as they are done.
const SHOWN: u32 = 50;
/// Why its texts are opened, in the audit log.
const PURPOSE: &str = "worklist";

impl LiveInbox {
    /// How much waits for the session's roles.
    pub(super) async fn waiting(&self, viewer: &Viewer) -> Result<Waiting, InboxError> {
        let counted = how_many_unassigned(&self.db, viewer.session.tenant).await.map_err(failed)?;
        let served = counted
            .iter()
            .filter(|group| Team::from_code(&group.team).is_some_and(|team| may_serve(&viewer.session.roles, team)));
        Ok(served.fold(Waiting::default(), |sum, group| Waiting {
            tasks: sum.tasks.saturating_add(group.tasks),
            urgency: sum.urgency.max(Some(words::urgency(&group.urgency))),
        }))
    }

    async fn worklist_view(&self, viewer: &Viewer) -> Result<WorklistView, InboxError> {
        let tenant = viewer.session.tenant;
        let clinic = self.clinics.get(&tenant).ok_or(InboxError::NotFound)?;
        let practice = self.practices.get(tenant).ok_or(InboxError::NotFound)?;
        // Tasks of other teams are not counted among those shown, so more than those shown are read.
        let mut tasks: Vec<TaskView> = unassigned(&self.db, tenant, 20 * SHOWN)
            .await
            .map_err(failed)?
            .iter()
            .filter_map(|task| served(viewer, task))
            .collect();
        let has_more = tasks.len() > SHOWN as usize;
        tasks.truncate(SHOWN as usize);
        let mut entry = staff_entry(viewer, Action::Read, PURPOSE);
        for text in tasks.iter().filter_map(|task| task.about) {
            entry = entry.about("message", text);
        }
        self.note(viewer, entry).await?;
        let mut items = Vec::with_capacity(tasks.len());
        for task in tasks {
            let text = match task.about {
                Some(text) => self.waiting_text(viewer, &practice, text).await?,
                None => None,
            };
            items.push(WorklistItem { task, text });
        }
        Ok(WorklistView { clinic: clinic.name.clone(), items, has_more })
    }

    async fn waiting_text(
        &self,
        viewer: &Viewer,
        practice: &Practice,
        id: Id<ThreadText>,
    ) -> Result<Option<WaitingText>, InboxError> {
        let tenant = viewer.session.tenant;
        let found = self.thread.find(tenant, id.cast()).await.map_err(failed)?;
        // A text of a known patient stands in that patient's thread.
        let Some(text) = found.filter(|text| text.inbound && text.patient.is_none()) else { return Ok(None) };
        let scope = self.scope_of_waiting(viewer, &text).await?;
        let body = if may_read(&viewer.session.roles, scope) {
            let actor = Actor::Staff(viewer.session.staff);
            let reader = Reader { actor, purpose: PURPOSE, request: Some(viewer.request.0) };
            let words = self.thread.open(tenant, &[&text], &reader).await.map_err(failed)?;
            words.into_iter().next().map_or(Body::Redacted(scope), Body::Text)
        } else {
            Body::Redacted(scope)
        };
        let number = self.thread.number(tenant, &text).await.map_err(failed)?;
        let parsed = PhoneNumber::parse(number.as_str()).ok();
        let sharing = self.directory.with_number(tenant, &text.number_token).await.map_err(failed)?;
        let candidates = sharing.iter().map(|record| Candidate {
            patient: record.id,
            name: whole_name(record),
            details: self.details(practice, record),
        });
        Ok(Some(WaitingText {
            id,
            at: text.received_at.unwrap_or(text.created_at),
            number: parsed.as_ref().map_or(number, |number| Phi::new(number.as_written())),
            dials: parsed.map(|number| Phi::new(number.as_e164().to_owned())),
            body,
            media: text.media_count,
            candidates: candidates.collect(),
        }))
    }

    async fn scope_of_waiting(&self, viewer: &Viewer, text: &TextRecord) -> Result<Scope, InboxError> {
        let reading = stored::reading_of(&self.db, viewer.session.tenant, text.id).await?;
        Ok(scope::scope_of(text, |_| reading.as_ref()))
    }

    /// The task, if it waits without a patient for the session's roles.
    async fn waiting_task(&self, viewer: &Viewer, task: Id<ThreadTask>) -> Result<TaskView, InboxError> {
        let found = is_unassigned(&self.db, viewer.session.tenant, task.cast()).await.map_err(failed)?;
        found.and_then(|task| served(viewer, &task)).ok_or(InboxError::Changed)
    }

    async fn assign_text(&self, viewer: &Viewer, task: Id<ThreadTask>, patient: Id<Patient>) -> Result<(), InboxError> {
        let tenant = viewer.session.tenant;
        let text = self.waiting_task(viewer, task).await?.about.ok_or(InboxError::NotFound)?;
        let text = self.thread.find(tenant, text.cast()).await.map_err(failed)?.ok_or(InboxError::NotFound)?;
        // Nobody can say whose a text is without having read it.
        if !may_read(&viewer.session.roles, self.scope_of_waiting(viewer, &text).await?) {
            return Err(InboxError::NotAllowed);
        }
        let assign = AssignText {
            tenant,
            message: text.id,
            number_token: text.number_token.clone(),
            patient,
            by: viewer.session.staff,
            instruments: self.instruments.clone(),
            entry: staff_entry(viewer, Action::Edit, "text-assigned").about("staff_task", task),
            signer: self.signer(tenant).await?,
        };
        match self.db.execute(assign).await.map_err(failed)? {
            Assigned::Done => Ok(()),
            Assigned::NotTheirNumber | Assigned::Already => Err(InboxError::Changed),
        }
    }

    async fn close_waiting_task(&self, viewer: &Viewer, task: Id<ThreadTask>) -> Result<(), InboxError> {
        self.waiting_task(viewer, task).await?;
        let (tenant, by, now) = (viewer.session.tenant, viewer.session.staff, self.instruments.now());
        let entry = staff_entry(viewer, Action::Edit, "task-done").about("staff_task", task);
        self.finish(CloseTask { tenant, task: task.cast(), by, now }, None, entry).await
    }
}

impl WorklistSource for LiveInbox {
    fn worklist<'a>(&'a self, viewer: &'a Viewer) -> Answer<'a, WorklistView> {
        self.worklist_view(viewer).boxed()
    }

    fn assign<'a>(&'a self, viewer: &'a Viewer, task: Id<ThreadTask>, patient: Id<Patient>) -> Answer<'a, ()> {
        self.assign_text(viewer, task, patient).boxed()
    }

    fn close_waiting<'a>(&'a self, viewer: &'a Viewer, task: Id<ThreadTask>) -> Answer<'a, ()> {
        self.close_waiting_task(viewer, task).boxed()
    }
}
