//! Staff as the EHR knows them, and the roles that they have here.

use super::{AccessError, Roles};
use crate::{
    db::{Command, Db, DbError, Row, Tx, sql},
    kernel::{Id, Instruments, Phi, StaffUser, Tenant},
    vault::{Place, RetentionClass, Sealed, Vault},
};
use jiff::Timestamp;

/// A person as a launch presents them.
#[derive(Debug, Clone)]
pub struct NewStaffMember {
    /// The tenant whose EHR it is.
    pub tenant: Id<Tenant>,
    /// The issuer of the `id_token`.
    pub issuer: String,
    /// The `fhirUser` claim, as `Practitioner/1`: the issuer says whose.
    pub fhir_user: String,
    /// The name as the EHR writes it.
    pub name: Phi<String>,
    /// The roles of ours that the EHR's roles mean. Empty: the person is known and may do nothing.
    pub roles: Roles,
}

/// A member of staff.
#[derive(Debug, Clone)]
pub struct StaffMember {
    /// The tenant that the person works for.
    pub tenant: Id<Tenant>,
    /// Our id.
    pub id: Id<StaffUser>,
    /// The name as the EHR writes it.
    pub name: Phi<String>,
    /// The roles as last read from the EHR.
    pub roles: Roles,
    /// When they were read.
    pub roles_checked_at: Timestamp,
}

/// Reads and writes staff.
#[derive(Clone)]
pub struct StaffDirectory {
    db: Db,
    vault: Vault,
    instruments: Instruments,
}

impl StaffDirectory {
    /// A directory over this database.
    #[must_use]
    pub const fn new(db: Db, vault: Vault, instruments: Instruments) -> Self {
        Self { db, vault, instruments }
    }

    /// Takes over what a launch says about a person; the same issuer and `fhirUser` is the same person.
    ///
    /// # Errors
    /// [`AccessError`] as database and vault fail.
    pub async fn refresh(&self, person: NewStaffMember) -> Result<StaffMember, AccessError> {
        match self.refresh_once(&person).await {
            // Two launches of a person who is new: the second finds the first one's row.
            Err(AccessError::Database(DbError::UniqueViolation { .. })) => self.refresh_once(&person).await,
            result => result,
        }
    }

    /// The FHIR resource of the person, as `Practitioner/1`.
    ///
    /// # Errors
    /// [`AccessError`] as the database fails; `NotFound` where there is none.
    pub async fn fhir_user(&self, tenant: Id<Tenant>, id: Id<StaffUser>) -> Result<String, AccessError> {
        let query = sql("SELECT fhir_user FROM staff_user WHERE tenant = $1 AND id = $2");
        Ok(self.db.one(query.bind(tenant).bind(id)).await?.get("fhir_user")?)
    }

    /// The person with this id.
    ///
    /// # Errors
    /// [`AccessError`] as database and vault fail; `NotFound` where there is none.
    pub async fn by_id(&self, tenant: Id<Tenant>, id: Id<StaffUser>) -> Result<StaffMember, AccessError> {
        let row = self
            .db
            .one(
                sql("SELECT tenant, id, name, roles, roles_checked_at FROM staff_user WHERE tenant = $1 AND id = $2")
                    .bind(tenant)
                    .bind(id),
            )
            .await?;
        self.member(&row).await
    }

    /// Takes over the roles as the EHR has them now. Every open session of the person has them at its next request; a
    /// person without any role has no session then.
    ///
    /// # Errors
    /// [`AccessError`] as the database fails.
    pub async fn set_roles(&self, tenant: Id<Tenant>, id: Id<StaffUser>, roles: Roles) -> Result<(), AccessError> {
        let checked_at = self.instruments.now();
        let taken = self.db.execute(SetRoles { tenant, id, roles, checked_at }).await?;
        if taken { Ok(()) } else { Err(DbError::NotFound.into()) }
    }

    async fn refresh_once(&self, person: &NewStaffMember) -> Result<StaffMember, AccessError> {
        let known = self
            .db
            .optional(
                sql("SELECT id FROM staff_user WHERE tenant = $1 AND issuer = $2 AND fhir_user = $3")
                    .bind(person.tenant)
                    .bind(person.issuer.as_str())
                    .bind(person.fhir_user.as_str()),
            )
            .await?;
        let known = known.map(|row| row.get::<Id<StaffUser>>("id")).transpose()?;
        let id = known.unwrap_or_else(|| self.instruments.new_id());
        let name =
            self.vault.seal_text(person.tenant, RetentionClass::Directory, name_place(&id), &person.name).await?;
        let now = self.instruments.now();
        let write = KeepMember { person: person.clone(), id, is_new: known.is_none(), name, now };
        self.db.execute(write).await?;
        Ok(StaffMember {
            tenant: person.tenant,
            id,
            name: person.name.clone(),
            roles: person.roles.clone(),
            roles_checked_at: now,
        })
    }

    async fn member(&self, row: &Row) -> Result<StaffMember, AccessError> {
        let (tenant, id) = (row.get("tenant")?, row.get("id")?);
        let name = Sealed::from_bytes(row.get("name")?)?;
        Ok(StaffMember {
            tenant,
            id,
            name: self.vault.open_text(tenant, name_place(&id), &name).await?,
            roles: super::session_store::roles(row, "roles")?,
            roles_checked_at: row.get("roles_checked_at")?,
        })
    }
}

pub(super) const fn name_place(id: &Id<StaffUser>) -> Place<'_> {
    Place::new("staff_user", id, "name")
}

struct KeepMember {
    person: NewStaffMember,
    id: Id<StaffUser>,
    is_new: bool,
    name: Sealed,
    now: Timestamp,
}

impl Command for KeepMember {
    type Output = ();
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<(), DbError> {
        let statement = if self.is_new {
            sql("INSERT INTO staff_user (tenant, id, name, roles, roles_checked_at, issuer, fhir_user, created_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $5)")
        } else {
            sql("UPDATE staff_user SET name = $3, roles = $4, roles_checked_at = $5 \
                 WHERE tenant = $1 AND id = $2 AND issuer = $6 AND fhir_user = $7")
        };
        tx.execute(
            statement
                .bind(self.person.tenant)
                .bind(self.id)
                .bind(self.name.as_bytes())
                .bind(self.person.roles.to_string())
                .bind(self.now)
                .bind(self.person.issuer.as_str())
                .bind(self.person.fhir_user.as_str()),
        )
        .await
        .map(|_| ())
    }
}

/// The roles that a person had in the EHR at `checked_at`. Says whether they were taken over: not where newer ones are known.
pub(super) struct SetRoles {
    pub(super) tenant: Id<Tenant>,
    pub(super) id: Id<StaffUser>,
    pub(super) roles: Roles,
    pub(super) checked_at: Timestamp,
}

impl Command for SetRoles {
    type Output = bool;
    type Error = DbError;

    async fn run(&self, tx: &mut Tx) -> Result<bool, DbError> {
        let touched = tx
            .execute(
                sql("UPDATE staff_user SET roles = $3, roles_checked_at = $4 \
                     WHERE tenant = $1 AND id = $2 AND roles_checked_at <= $4")
                .bind(self.tenant)
                .bind(self.id)
                .bind(self.roles.to_string())
                .bind(self.checked_at),
            )
            .await?;
        Ok(touched > 0)
    }
}
