//! The EHR's roles mirrored: what `PractitionerRole` says gives our roles, and nothing else does;
//! a role at another practice of the same EHR gives none here.

use super::{Ehr, EhrError};
use crate::{
    access::Roles,
    fhir::{
        Parsed, ResourceRef, SearchMethod, SearchParams,
        views::{PractitionerRoleView, PractitionerView},
    },
    kernel::Phi,
};
use jiff::Timestamp;

/// Which of our roles a role code of the EHR gives.
#[derive(Debug, Clone)]
pub struct RoleRule {
    /// The code system.
    pub system: String,
    /// The code.
    pub code: String,
    /// What it gives.
    pub roles: Roles,
}

/// The name and the roles that `practitioner` holds at `now`. No role that the rules know gives none: deny by default.
///
/// # Errors
/// [`EhrError`] as the EHR is away or refuses.
pub async fn mirrored_roles(
    ehr: &Ehr,
    practitioner: &ResourceRef,
    now: Timestamp,
) -> Result<(Phi<String>, Roles), EhrError> {
    let person = PractitionerView::read(&ehr.client.read(practitioner).await?)?;
    let name = person.name(now).map_or_else(|| Phi::new(String::new()), crate::fhir::views::NameView::display);
    if !person.active {
        return Ok((name, Roles::default()));
    }
    let params = SearchParams::new().with("practitioner", practitioner.to_string());
    let page = ehr.client.search("PractitionerRole", params, SearchMethod::Get)?.all().await?;
    let held = Parsed::read(&page.matches, PractitionerRoleView::read).good;
    let roles = held
        .iter()
        .filter(|role| {
            role.practitioner.as_ref() == Some(practitioner) && role.is_held(now) && ehr.scope.has_role(role)
        })
        .flat_map(|role| &role.codes)
        .flat_map(|code| ehr.roles.iter().filter(move |rule| code.is(&rule.system, &rule.code)))
        .flat_map(|rule| rule.roles.iter())
        .collect();
    Ok((name, roles))
}
