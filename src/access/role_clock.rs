//! Roles on a clock: what people with open sessions may do is read from the EHR again and again, so that a role that is
//! lost there ends here within five minutes, whether its owner does anything or not.
//!
//! Always: a role is taken from nobody because the EHR is away; who cannot be asked about for half an hour has no session
//! any more ([`UNCONFIRMED_END`]).

use super::{AccessError, Ending, Roles, Sessions, session_store::in_use, staff::SetRoles};
use crate::{
    jobs::{JobError, LeasedJob, Outcome},
    kernel::{Id, StaffUser, Tenant},
};
use futures_util::{StreamExt as _, future::BoxFuture, stream};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// The roles of those who are here are to be read again.
pub const REREAD_ROLES: &str = "RereadRoles";

/// How often it is looked whose roles are old.
pub const REREAD_EVERY: SignedDuration = SignedDuration::from_mins(1);
/// Older than this they are read again: with the pause between two looks, and a slow EHR, well within five minutes.
const OLD: SignedDuration = SignedDuration::from_mins(2);
/// A session ends whose person's roles nobody could confirm for so long.
pub const UNCONFIRMED_END: SignedDuration = SignedDuration::from_mins(30);
/// How many people the EHR is asked about at once.
const AT_ONCE: usize = 4;

/// Who can be asked for a person's roles.
pub trait RolesNow: Send + Sync + 'static {
    /// The roles that the person behind a `fhirUser`, such as `Practitioner/1`, has in the EHR now; none for a person who
    /// is not there any more. The error says why it cannot be told.
    fn roles<'a>(&'a self, tenant: Id<Tenant>, fhir_user: &'a str) -> BoxFuture<'a, Result<Roles, JobError>>;
}

/// A person with an open session.
pub(super) struct Present {
    pub(super) staff: Id<StaffUser>,
    pub(super) fhir_user: String,
    pub(super) roles: Roles,
}

/// Reads roles again.
#[derive(Clone)]
pub struct RoleClock {
    sessions: Sessions,
    ehr: Arc<dyn RolesNow>,
}

impl RoleClock {
    /// A clock over these sessions.
    #[must_use]
    pub const fn new(sessions: Sessions, ehr: Arc<dyn RolesNow>) -> Self {
        Self { sessions, ehr }
    }

    /// Handles [`REREAD_ROLES`], then waits for the next time. One person who cannot be asked about keeps nobody else.
    ///
    /// # Errors
    /// [`JobError::Postpone`] when it is done; [`JobError::Retry`] when database or vault are away.
    pub async fn reread(&self, job: LeasedJob) -> Outcome {
        let now = self.sessions.instruments.now();
        let before = now.checked_sub(OLD).unwrap_or(Timestamp::MIN);
        let present = in_use(&self.sessions.db, job.tenant, before).await?;
        let mut asked = stream::iter(present)
            .map(|person| async move {
                let roles = self.ehr.roles(job.tenant, &person.fhir_user).await;
                (person, roles)
            })
            .buffer_unordered(AT_ONCE);
        while let Some((person, roles)) = asked.next().await {
            match roles {
                Ok(roles) => self.take(job.tenant, &person, (roles, now)).await?,
                Err(error) => {
                    metrics::counter!("chartwire_role_checks_failed_total", "code" => error.code()).increment(1);
                }
            }
        }
        let until = now.checked_add(REREAD_EVERY).unwrap_or(Timestamp::MAX);
        Err(JobError::Postpone { code: "next-look", until })
    }

    /// Takes over what the EHR said when it was asked at `asked`. What a launch has read since is newer.
    async fn take(
        &self,
        tenant: Id<Tenant>,
        person: &Present,
        (roles, asked): (Roles, Timestamp),
    ) -> Result<(), AccessError> {
        if person.roles != roles {
            tracing::info!(staff = %person.staff, "the EHR has changed the roles of somebody who is here");
        }
        let lost = roles.is_empty();
        let taken = self.sessions.db.execute(SetRoles { tenant, id: person.staff, roles, checked_at: asked }).await?;
        if taken && lost {
            self.sessions.end_all_of(tenant, person.staff, Ending::NoRole).await?;
        }
        Ok(())
    }
}
