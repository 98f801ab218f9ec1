//! Sessions as they are stored: the statements, and the one row that everything is decided by.

use super::{Roles, SessionToken, journal::Journaled, role_clock::Present};
use crate::{
    db::{Command, Db, DbError, Row, Tx, sql, sql_built},
    kernel::{Id, Instruments, Patient, StaffUser, Tenant},
    vault::{Sealed, Vault},
};
use jiff::{SignedDuration, Timestamp};

/// Marks ids of sessions.
pub enum Session {}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The person signed out.
    SignedOut,
    /// Nothing was done for too long.
    Idle,
    /// It reached its absolute end.
    TooOld,
    /// Another launch began in the same browser.
    Replaced,
    /// An administrator, or the person elsewhere, ended it.
    Revoked,
    /// The person lost every role in the EHR.
    NoRole,
    /// The EHR could not be asked about the person's roles for too long.
    Unconfirmed,
}

impl Ending {
    const ALL: [Self; 7] =
        [Self::SignedOut, Self::Idle, Self::TooOld, Self::Replaced, Self::Revoked, Self::NoRole, Self::Unconfirmed];

    /// The stored code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::SignedOut => "signed_out",
            Self::Idle => "idle",
            Self::TooOld => "too_old",
            Self::Replaced => "replaced",
            Self::Revoked => "revoked",
            Self::NoRole => "no_role",
            Self::Unconfirmed => "unconfirmed",
        }
    }

    /// The ending with this stored code.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|ending| ending.code() == code)
    }
}

/// A session's row, with what its person's row says now.
pub(super) struct StoredSession {
    pub(super) tenant: Id<Tenant>,
    pub(super) id: Id<Session>,
    pub(super) staff: Id<StaffUser>,
    pub(super) patient: Option<Id<Patient>>,
    /// What the person had at the launch and still has.
    pub(super) roles: Roles,
    pub(super) roles_checked_at: Timestamp,
    pub(super) name: Sealed,
    pub(super) started_at: Timestamp,
    pub(super) last_seen_at: Timestamp,
    pub(super) ended: Option<Ending>,
}

pub(super) fn roles(row: &Row, column: &'static str) -> Result<Roles, DbError> {
    row.get::<String>(column)?.parse().map_err(|_| DbError::Decode { column })
}

fn stored(row: &Row) -> Result<StoredSession, DbError> {
    let ended_at: Option<Timestamp> = row.get("ended_at")?;
    let why: Option<String> = row.get("ended_why")?;
    let ended = ended_at.map(|_| why.as_deref().and_then(Ending::from_code).unwrap_or(Ending::Revoked));
    Ok(StoredSession {
        tenant: row.get("tenant")?,
        id: row.get("id")?,
        staff: row.get("staff_user")?,
        patient: row.get("patient")?,
        roles: roles(row, "launch_roles")?.also_in(&roles(row, "roles_now")?),
        roles_checked_at: row.get("roles_checked_at")?,
        name: Sealed::from_bytes(row.get("name")?).map_err(|_| DbError::Decode { column: "name" })?,
        started_at: row.get("started_at")?,
        last_seen_at: row.get("last_seen_at")?,
        ended,
    })
}

/// What every look-up of sessions reads.
const FOUND: &str = "SELECT s.tenant, s.id, s.staff_user, s.patient, s.roles AS launch_roles, u.roles AS roles_now, \
     u.roles_checked_at, u.name, s.started_at, s.last_seen_at, s.ended_at, s.ended_why \
     FROM session s JOIN staff_user u ON u.tenant = s.tenant AND u.id = s.staff_user";

/// The session of this token, ended or not.
pub(super) async fn by_token(db: &Db, token: &SessionToken) -> Result<Option<StoredSession>, DbError> {
    let query = sql_built(format!("{FOUND} WHERE s.token_hash = $1")).bind(token.stored_hash());
    db.optional(query).await?.as_ref().map(stored).transpose()
}

/// Open sessions of a practice in which nothing was done since `before`.
pub(super) async fn open_and_quiet(
    db: &Db,
    tenant: Id<Tenant>,
    before: Timestamp,
) -> Result<Vec<StoredSession>, DbError> {
    let condition =
        "WHERE s.tenant = $1 AND s.ended_at IS NULL AND s.last_seen_at <= $2 ORDER BY s.last_seen_at LIMIT 500";
    let query = sql_built(format!("{FOUND} {condition}")).bind(tenant).bind(before);
    db.all(query).await?.iter().map(stored).collect()
}

/// Why an open session is to end now, if it is.
pub(super) fn run_out(stored: &StoredSession, idle: SignedDuration, now: Timestamp) -> Option<Ending> {
    if stored.roles.is_empty() {
        Some(Ending::NoRole)
    } else if now.duration_since(stored.started_at) >= super::ABSOLUTE_END {
        Some(Ending::TooOld)
    } else if now.duration_since(stored.roles_checked_at) >= super::UNCONFIRMED_END {
        Some(Ending::Unconfirmed)
    } else if now.duration_since(stored.last_seen_at) >= idle {
        Some(Ending::Idle)
    } else {
        None
    }
}

/// The people with an open session whose roles were last read before `before`, those first who have waited longest.
pub(super) async fn in_use(db: &Db, tenant: Id<Tenant>, before: Timestamp) -> Result<Vec<Present>, DbError> {
    let query = sql("SELECT DISTINCT u.id, u.fhir_user, u.roles, u.roles_checked_at \
         FROM session s CROSS JOIN staff_user u WHERE s.tenant = $1 AND s.ended_at IS NULL AND u.tenant = s.tenant \
         AND u.id = s.staff_user AND u.roles_checked_at <= $2 ORDER BY u.roles_checked_at, u.id LIMIT 1000");
    let present = |row: &Row| {
        Ok(Present { staff: row.get("id")?, fhir_user: row.get("fhir_user")?, roles: roles(row, "roles")? })
    };
    db.all(query.bind(tenant).bind(before)).await?.iter().map(present).collect()
}

/// The open sessions of a person: their ids.
pub(super) async fn open_of(db: &Db, tenant: Id<Tenant>, staff: Id<StaffUser>) -> Result<Vec<Id<Session>>, DbError> {
    let query = sql("SELECT id FROM session WHERE tenant = $1 AND staff_user = $2 AND ended_at IS NULL")
        .bind(tenant)
        .bind(staff);
    db.all(query).await?.iter().map(|row| row.get("id")).collect()
}

/// An open session to be ended, with the entry that says so.
pub(super) struct EndSession {
    tenant: Id<Tenant>,
    id: Id<Session>,
    ending: Ending,
    at: Timestamp,
    entry: Journaled,
}

impl EndSession {
    pub(super) async fn prepare(
        tools: (&Vault, &Instruments),
        session: (Id<Tenant>, Id<Session>, Id<StaffUser>),
        ending: Ending,
    ) -> Result<Self, super::AccessError> {
        let entry = Journaled::signed_out(tools, session, ending).await?;
        let (tenant, id, _) = session;
        Ok(Self { tenant, id, ending, at: tools.1.now(), entry })
    }
}

impl Command for EndSession {
    type Output = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        let touched = tx
            .execute(
                sql("UPDATE session SET ended_at = $3, ended_why = $4, grant_tokens = NULL \
                     WHERE tenant = $1 AND id = $2 AND ended_at IS NULL")
                .bind(self.tenant)
                .bind(self.id)
                .bind(self.at)
                .bind(self.ending.code()),
            )
            .await?;
        // Whoever ended it first has journaled it.
        if touched > 0 { self.entry.write(tx).await } else { Ok(()) }
    }
}

/// Ends every session of `tenant` and every launch under way, because the database was put back from a backup: some of
/// them had ended since. The caller journals it. Gives how many sessions it were.
///
/// # Errors
/// [`DbError`] as the database refuses or is away.
pub async fn end_all_sessions(tx: &mut Tx, tenant: Id<Tenant>, at: Timestamp) -> Result<u64, DbError> {
    tx.execute(sql("DELETE FROM launch_state WHERE tenant = $1").bind(tenant)).await?;
    let query = sql("UPDATE session SET ended_at = $2, ended_why = $3, grant_tokens = NULL \
         WHERE tenant = $1 AND ended_at IS NULL");
    tx.execute(query.bind(tenant).bind(at).bind(Ending::Revoked.code())).await
}

/// A session to be started, and the one of the same browser to be ended.
pub(super) struct StartSession {
    pub(super) tenant: Id<Tenant>,
    pub(super) id: Id<Session>,
    pub(super) token_hash: Vec<u8>,
    pub(super) staff: Id<StaffUser>,
    pub(super) patient: Option<Id<Patient>>,
    pub(super) roles: Roles,
    pub(super) authentication: String,
    pub(super) grant: Option<Sealed>,
    pub(super) at: Timestamp,
    pub(super) entry: Journaled,
    pub(super) replaced: Option<EndSession>,
}

impl Command for StartSession {
    type Output = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        if let Some(replaced) = &self.replaced {
            replaced.run(tx).await?;
        }
        tx.execute(
            sql("INSERT INTO session (tenant, id, token_hash, staff_user, patient, roles, authentication, \
                 grant_tokens, started_at, last_seen_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)")
            .bind(self.tenant)
            .bind(self.id)
            .bind(self.token_hash.as_slice())
            .bind(self.staff)
            .bind(self.patient)
            .bind(self.roles.to_string())
            .bind(self.authentication.as_str())
            .bind(self.grant.as_ref().map(|grant| grant.as_bytes().to_vec()))
            .bind(self.at),
        )
        .await?;
        self.entry.write(tx).await
    }
}

/// Notes that a person was there.
pub(super) struct Touch {
    pub(super) tenant: Id<Tenant>,
    pub(super) id: Id<Session>,
    pub(super) at: Timestamp,
}

impl Command for Touch {
    type Output = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        tx.execute(
            sql("UPDATE session SET last_seen_at = $3 \
                 WHERE tenant = $1 AND id = $2 AND ended_at IS NULL AND last_seen_at < $3")
            .bind(self.tenant)
            .bind(self.id)
            .bind(self.at),
        )
        .await
        .map(|_| ())
    }
}

/// A refusal to be journaled, and the session of the same browser to be ended.
pub(super) struct Refuse {
    pub(super) entry: Journaled,
    pub(super) replaced: Option<EndSession>,
}

impl Command for Refuse {
    type Output = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        if let Some(replaced) = &self.replaced {
            replaced.run(tx).await?;
        }
        self.entry.write(tx).await
    }
}
