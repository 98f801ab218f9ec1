//! Sessions: begun by a launch, kept up by a person's doing, ended by idleness, age, sign-out or another launch.

use super::{
    AccessError, Ending, Roles, Session, SessionRefusal, SessionToken, StaffMember,
    journal::Journaled,
    session_store::{EndSession, StartSession, StoredSession, Touch, by_token, open_of, run_out},
    staff::name_place,
    token,
};
use crate::{
    audit::Request,
    db::{Db, sql},
    kernel::{Id, Instruments, Patient, Phi, StaffUser, Tenant},
    vault::{Place, RetentionClass, Sealed, Vault},
};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;
use zeroize::Zeroizing;

/// After this long a session ends, whatever the person does.
pub const ABSOLUTE_END: SignedDuration = SignedDuration::from_hours(8);

/// A person's doing is noted at most this often.
pub const TOUCH_EVERY: SignedDuration = SignedDuration::from_secs(15);

/// How long a person may do nothing: 5 to 10 minutes, as the practice sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdleTimeout(SignedDuration);

impl IdleTimeout {
    /// A timeout of this many minutes; `None` outside 5 to 10.
    #[must_use]
    pub fn from_minutes(minutes: u8) -> Option<Self> {
        (5..=10).contains(&minutes).then(|| Self(SignedDuration::from_mins(i64::from(minutes))))
    }

    /// As a duration.
    #[must_use]
    pub const fn duration(self) -> SignedDuration {
        self.0
    }
}

impl Default for IdleTimeout {
    /// The strictest that is allowed.
    fn default() -> Self {
        Self(SignedDuration::from_mins(5))
    }
}

/// Each practice's timeout.
pub type IdleTimeouts = Arc<dyn Fn(Id<Tenant>) -> IdleTimeout + Send + Sync>;

/// What a request says about the person at the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Somebody did something: the session lives on.
    Person,
    /// The page asked by itself: the session does not live longer for it.
    Background,
}

/// What a launch ended in.
pub struct NewSession {
    /// Who signed in. Without a role no session begins.
    pub member: StaffMember,
    /// The patient in the EHR's context.
    pub patient: Option<Id<Patient>>,
    /// How the EHR says it knew the person: `acr` and `amr` (such as `amr:mfa`), or the
    /// attestation that stands in their place. Codes only: it stands in the audit log.
    pub authentication: String,
    /// The EHR's tokens, as `smart` writes them; kept sealed for as long as the session lasts.
    pub grant: Option<Phi<Vec<u8>>>,
    /// The cookie that the browser brought: that session ends.
    pub previous: Option<SessionToken>,
    /// The request that it came in, for the audit log.
    pub request: Option<Id<Request>>,
}

/// A session that has begun.
pub struct StartedSession {
    /// Its id.
    pub id: Id<Session>,
    /// What the browser gets.
    pub token: SessionToken,
}

/// A session that a request may stand on.
#[derive(Debug, Clone)]
pub struct ActiveSession {
    /// Whose data it may see.
    pub tenant: Id<Tenant>,
    /// Its id.
    pub id: Id<Session>,
    /// Who is signed in.
    pub staff: Id<StaffUser>,
    /// The person's name.
    pub name: Phi<String>,
    /// What the person was at the launch and still is. Never empty.
    pub roles: Roles,
    /// When the roles were last read from the EHR; whoever finds this too old reads them again.
    pub roles_checked_at: Timestamp,
    /// The patient in the EHR's context.
    pub patient: Option<Id<Patient>>,
    /// How long the person may do nothing.
    pub idle: IdleTimeout,
    /// When it ends if nothing is done from now on.
    pub ends_at: Timestamp,
    form_token: String,
}

impl ActiveSession {
    /// What every form of this session carries.
    #[must_use]
    pub fn form_token(&self) -> &str {
        &self.form_token
    }

    /// Whether a form came from a page of this session.
    #[must_use]
    pub fn owns_form(&self, given: &str) -> bool {
        token::same(&self.form_token, given)
    }
}

/// Begins, checks and ends sessions.
#[derive(Clone)]
pub struct Sessions {
    pub(super) db: Db,
    vault: Vault,
    pub(super) instruments: Instruments,
    pub(super) idle: IdleTimeouts,
}

impl Sessions {
    /// Sessions in this database.
    #[must_use]
    pub const fn new(db: Db, vault: Vault, instruments: Instruments, idle: IdleTimeouts) -> Self {
        Self { db, vault, instruments, idle }
    }

    /// Begins a session with a token of its own, and ends the one that the browser had.
    ///
    /// # Errors
    /// [`SessionRefusal::NoRole`] for a person without a role (see [`Sessions::refuse`]);
    /// otherwise as database and vault fail.
    pub async fn start(&self, new: NewSession) -> Result<StartedSession, SessionRefusal> {
        let member = &new.member;
        if member.roles.is_empty() {
            return Err(SessionRefusal::NoRole);
        }
        let (tenant, staff, id) = (member.tenant, member.id, self.instruments.new_id());
        let at = self.instruments.now();
        let token = SessionToken::generate(&self.instruments);
        let grant = match &new.grant {
            Some(grant) => Some(
                self.vault
                    .seal(tenant, RetentionClass::Session, grant_place(&id), grant.expose())
                    .await
                    .map_err(AccessError::from)?,
            ),
            None => None,
        };
        let entry =
            Journaled::signed_in(self.tools(), member, id, new.patient, &new.authentication, new.request).await?;
        let start = StartSession {
            tenant,
            id,
            token_hash: token.stored_hash(),
            staff,
            patient: new.patient,
            roles: member.roles.clone(),
            authentication: new.authentication,
            grant,
            at,
            entry,
            replaced: self.replaced(new.previous.as_ref()).await?,
        };
        self.db.execute(start).await?;
        Ok(StartedSession { id, token })
    }

    /// Notes in the audit log that a person was refused for want of a role, and ends the session that the browser had.
    ///
    /// # Errors
    /// [`AccessError`] as the database or the journal fails.
    pub async fn refuse(&self, member: &StaffMember, previous: Option<&SessionToken>) -> Result<(), AccessError> {
        let entry = Journaled::refused(self.tools(), member).await?;
        let replaced = self.replaced(previous).await?;
        self.db.execute(super::session_store::Refuse { entry, replaced }).await.map_err(AccessError::from)
    }

    /// The session of this token, if it stands. One that has run out is ended here.
    ///
    /// # Errors
    /// [`SessionRefusal`]: what to tell the person.
    pub async fn authenticate(
        &self,
        token: &SessionToken,
        activity: Activity,
    ) -> Result<ActiveSession, SessionRefusal> {
        let stored = by_token(&self.db, token).await?.ok_or(SessionRefusal::SignedOut)?;
        if let Some(ending) = stored.ended {
            return Err(refusal(ending));
        }
        let now = self.instruments.now();
        let timeout = (self.idle)(stored.tenant);
        let idle = timeout.duration();
        if let Some(ending) = run_out(&stored, idle, now) {
            self.end_one(stored.tenant, stored.id, stored.staff, ending).await?;
            return Err(refusal(ending));
        }
        let last_seen_at = self.seen(&stored, activity, now).await?;
        let name = self.vault.open_text(stored.tenant, name_place(&stored.staff), &stored.name).await;
        let ends_at = later(last_seen_at, idle).min(later(stored.started_at, ABSOLUTE_END));
        Ok(ActiveSession {
            tenant: stored.tenant,
            id: stored.id,
            staff: stored.staff,
            name: name.map_err(AccessError::from)?,
            roles: stored.roles,
            roles_checked_at: stored.roles_checked_at,
            patient: stored.patient,
            idle: timeout,
            ends_at,
            form_token: token.form_token(),
        })
    }

    /// The tenant that a token belongs or belonged to, so that the page that says "signed out" may still be shown
    /// inside that tenant's EHR.
    ///
    /// # Errors
    /// [`AccessError`] as the database fails.
    pub async fn tenant_of(&self, token: &SessionToken) -> Result<Option<Id<Tenant>>, AccessError> {
        Ok(by_token(&self.db, token).await?.map(|stored| stored.tenant))
    }

    /// Ends this session.
    ///
    /// # Errors
    /// [`AccessError`] as the database or the journal fails.
    pub async fn end(&self, session: &ActiveSession, ending: Ending) -> Result<(), AccessError> {
        self.end_one(session.tenant, session.id, session.staff, ending).await
    }

    /// Ends every session of a person, on every device; gives their number.
    ///
    /// # Errors
    /// [`AccessError`] as the database or the journal fails. What was ended until then stays ended.
    pub async fn end_all_of(
        &self,
        tenant: Id<Tenant>,
        staff: Id<StaffUser>,
        ending: Ending,
    ) -> Result<usize, AccessError> {
        let open = open_of(&self.db, tenant, staff).await?;
        for id in &open {
            self.end_one(tenant, *id, staff, ending).await?;
        }
        Ok(open.len())
    }

    /// The EHR's tokens of this session. `None` when it has none, or has ended.
    ///
    /// # Errors
    /// [`AccessError`] as database and vault fail.
    pub async fn grant(&self, session: &ActiveSession) -> Result<Option<Zeroizing<Vec<u8>>>, AccessError> {
        let query = sql("SELECT grant_tokens FROM session WHERE tenant = $1 AND id = $2 AND ended_at IS NULL")
            .bind(session.tenant)
            .bind(session.id);
        let Some(row) = self.db.optional(query).await? else { return Ok(None) };
        let Some(bytes) = row.get::<Option<Vec<u8>>>("grant_tokens")? else { return Ok(None) };
        let sealed = Sealed::from_bytes(bytes)?;
        Ok(Some(self.vault.open(session.tenant, grant_place(&session.id), &sealed).await?))
    }

    const fn tools(&self) -> (&Vault, &Instruments) {
        (&self.vault, &self.instruments)
    }

    async fn replaced(&self, previous: Option<&SessionToken>) -> Result<Option<EndSession>, AccessError> {
        let Some(token) = previous else { return Ok(None) };
        match by_token(&self.db, token).await? {
            Some(StoredSession { tenant, id, staff, ended: None, .. }) => {
                EndSession::prepare(self.tools(), (tenant, id, staff), Ending::Replaced).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    pub(super) async fn end_one(
        &self,
        tenant: Id<Tenant>,
        id: Id<Session>,
        staff: Id<StaffUser>,
        ending: Ending,
    ) -> Result<(), AccessError> {
        let end = EndSession::prepare(self.tools(), (tenant, id, staff), ending).await?;
        self.db.execute(end).await.map_err(AccessError::from)
    }

    /// Notes a person's doing, not more often than needed; gives when somebody was last there.
    async fn seen(&self, stored: &StoredSession, activity: Activity, now: Timestamp) -> Result<Timestamp, AccessError> {
        if activity == Activity::Background || now.duration_since(stored.last_seen_at) < TOUCH_EVERY {
            return Ok(stored.last_seen_at);
        }
        self.db.execute(Touch { tenant: stored.tenant, id: stored.id, at: now }).await?;
        Ok(now)
    }
}

const fn refusal(ending: Ending) -> SessionRefusal {
    match ending {
        Ending::NoRole => SessionRefusal::NoRole,
        ending => SessionRefusal::Ended(ending),
    }
}

const fn grant_place(id: &Id<Session>) -> Place<'_> {
    Place::new("session", id, "grant_tokens")
}

fn later(instant: Timestamp, by: SignedDuration) -> Timestamp {
    instant.checked_add(by).unwrap_or(Timestamp::MAX)
}
