//! Which part of an EHR is a tenant's: its visits, its prescriptions, its staff (law 8).
//!
//! Always: on an EHR that several tenants share, what cannot be told to be a tenant's is not. A tenant that has an EHR for
//! itself has all of it, unless its configuration names places.

use super::{Ehr, EhrError};
use crate::fhir::{
    Parsed, Resource, ResourceRef, SearchMethod, SearchParams,
    views::{AppointmentView, PractitionerRoleView},
};
use jiff::{SignedDuration, Timestamp};
use std::{collections::HashSet, sync::Arc};
use tokio::sync::Mutex;

/// How long the EHR's word on an organization's places and staff is taken for true.
const HOLDS_FOR: SignedDuration = SignedDuration::from_hours(1);
/// How many references one search names: some servers limit the length of a URL.
const MOST_NAMED: usize = 50;

type References = Arc<HashSet<ResourceRef>>;
type Cached = Mutex<Option<(Timestamp, References)>>;

/// A tenant's part of an EHR.
#[derive(Debug, Default)]
pub struct Scope {
    organization: Option<ResourceRef>,
    locations: References,
    shared: bool,
    places: Cached,
    staff: Cached,
}

impl Scope {
    /// What the configuration names. `shared`: other tenants are on the same EHR.
    #[must_use]
    pub fn new(organization: Option<ResourceRef>, locations: Vec<ResourceRef>, shared: bool) -> Self {
        let locations = Arc::new(locations.into_iter().collect());
        Self { organization, locations, shared, ..Self::default() }
    }

    /// Whether only a part of the EHR's schedule is the tenant's.
    #[must_use]
    pub fn is_part(&self) -> bool {
        self.shared || !self.locations.is_empty()
    }

    /// Whether a role in the EHR is one at this practice.
    #[must_use]
    pub fn has_role(&self, role: &PractitionerRoleView) -> bool {
        let placed = (!self.locations.is_empty() && !role.locations.is_empty())
            .then(|| role.locations.iter().any(|place| self.locations.contains(place)));
        let employed = self.organization.as_ref().zip(role.organization.as_ref()).map(|(ours, theirs)| ours == theirs);
        match (employed, placed) {
            (Some(false), _) | (_, Some(false)) => false,
            (_, Some(true)) => true,
            // Practices of one organization are told apart by their places alone.
            (Some(true), None) => !self.shared || self.locations.is_empty(),
            // It says nothing that could be compared.
            (None, None) => !self.shared,
        }
    }
}

impl Ehr {
    /// Whether a visit is the tenant's: one of its locations takes part.
    ///
    /// # Errors
    /// [`EhrError`] when the EHR has to tell the tenant's places and does not.
    pub async fn takes_visit(&self, view: &AppointmentView, now: Timestamp) -> Result<bool, EhrError> {
        if !self.scope.is_part() {
            return Ok(true);
        }
        let places = self.places(now).await?;
        Ok(view.actors("Location").any(|(_, place)| places.contains(place)))
    }

    /// How a search for appointments is narrowed to the tenant's: each set of parameters is a search of its own.
    ///
    /// # Errors
    /// [`EhrError`] when the EHR has to tell the tenant's places and does not.
    pub async fn appointments_of_scope(&self, now: Timestamp) -> Result<Vec<SearchParams>, EhrError> {
        if !self.scope.is_part() {
            return Ok(vec![SearchParams::new()]);
        }
        let places = self.places(now).await?;
        if places.is_empty() {
            return Err(EhrError::Refused { code: "ehr-scope-without-locations" });
        }
        let capabilities = self.capabilities(now).await?;
        let parameters = ["location", "actor"];
        let Some(by) = parameters.into_iter().find(|by| capabilities.searches_by("Appointment", by)) else {
            // Every entry is looked at in any case.
            return Ok(vec![SearchParams::new()]);
        };
        let mut places: Vec<String> = places.iter().map(ToString::to_string).collect();
        places.sort_unstable();
        Ok(places.chunks(MOST_NAMED).map(|some| SearchParams::new().with(by, some.join(","))).collect())
    }

    /// Who prescribes for the practice: practitioners and their roles. `None`: whoever does in this EHR.
    ///
    /// # Errors
    /// [`EhrError`] as the EHR is away or does not tell.
    pub async fn prescribers(&self, now: Timestamp) -> Result<Option<References>, EhrError> {
        if !self.scope.is_part() {
            return Ok(None);
        }
        let places =
            || self.scope.locations.iter().map(|place| SearchParams::new().with("location", place.to_string()));
        let by = self.scope.organization.as_ref().map_or_else(
            || places().collect(),
            |organization| vec![SearchParams::new().with("organization", organization.to_string())],
        );
        let here = |found: &[Resource]| {
            let roles = Parsed::read(found, PractitionerRoleView::read).good;
            let roles = roles.into_iter().filter(|role| role.is_held(now) && self.scope.has_role(role));
            roles.flat_map(|role| [role.practitioner, role.reference]).flatten().collect::<Vec<_>>()
        };
        self.told(&self.scope.staff, now, "PractitionerRole", by, here).await.map(Some)
    }

    /// The tenant's places: as configured, else those that the EHR says belong to its organization.
    async fn places(&self, now: Timestamp) -> Result<References, EhrError> {
        let Some(organization) = self.scope.organization.as_ref().filter(|_| self.scope.locations.is_empty()) else {
            return Ok(Arc::clone(&self.scope.locations));
        };
        if !self.capabilities(now).await?.searches_by("Location", "organization") {
            return Err(EhrError::Refused { code: "ehr-scope-without-locations" });
        }
        let by = vec![SearchParams::new().with("organization", organization.to_string())];
        let managed = |found: &[Resource]| {
            let ours = found.iter().filter(|one| {
                let manager = one.to_value().unwrap_or_default();
                let manager = manager.pointer("/managingOrganization/reference").and_then(|manager| manager.as_str());
                manager.and_then(|manager| one.base().reference(manager)).as_ref() == Some(organization)
            });
            ours.filter_map(Resource::reference).collect()
        };
        self.told(&self.scope.places, now, "Location", by, managed).await
    }

    async fn told(
        &self,
        cached: &Cached,
        now: Timestamp,
        resource_type: &'static str,
        searches: Vec<SearchParams>,
        read: impl Fn(&[Resource]) -> Vec<ResourceRef> + Send + Sync,
    ) -> Result<References, EhrError> {
        let mut cached = cached.lock().await;
        if let Some((at, told)) = &*cached
            && now.duration_since(*at) < HOLDS_FOR
        {
            return Ok(Arc::clone(told));
        }
        let mut told = HashSet::new();
        for params in searches {
            let page = self.client.search(resource_type, params, SearchMethod::Get)?.all().await?;
            told.extend(read(&page.matches));
        }
        let told = Arc::new(told);
        *cached = Some((now, Arc::clone(&told)));
        Ok(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::ServerBase;
    use rstest::rstest;
    use serde_json::json;

    fn role(organization: &str, location: &str) -> PractitionerRoleView {
        let mut body = json!({ "resourceType": "PractitionerRole", "id": "r1" });
        if !organization.is_empty() {
            body["organization"] = json!({ "reference": organization });
        }
        if !location.is_empty() {
            body["location"] = json!([{ "reference": location }]);
        }
        let base = ServerBase::new("https://ehr.example/fhir".parse().unwrap()).unwrap();
        PractitionerRoleView::read(&Resource::from_json(&base, &body.to_string()).unwrap()).unwrap()
    }

    fn scope(organization: &str, location: &str, shared: bool) -> Scope {
        Scope::new(organization.parse().ok(), location.parse().into_iter().collect(), shared)
    }

    #[rstest]
    #[case("Organization/x", "Location/x", true)]
    #[case("Organization/x", "", false)]
    #[case("Organization/y", "", false)]
    #[case("Organization/y", "Location/x", false)]
    #[case("Organization/x", "Location/y", false)]
    #[case("", "Location/x", true)]
    #[case("", "", false)]
    fn on_a_shared_ehr_a_role_counts_where_it_is_held(
        #[case] organization: &str,
        #[case] location: &str,
        #[case] expected: bool,
    ) {
        let x = scope("Organization/x", "Location/x", true);
        assert_eq!(x.has_role(&role(organization, location)), expected);
    }

    #[test]
    fn who_has_an_ehr_alone_takes_roles_that_name_no_place() {
        assert!(scope("Organization/x", "", false).has_role(&role("", "Location/y")));
        assert!(!scope("Organization/x", "", false).has_role(&role("Organization/y", "")));
        assert!(scope("", "", false).has_role(&role("Organization/y", "")));
        assert!(!scope("Organization/x", "", true).has_role(&role("", "Location/x")), "not known to be ours");
        assert!(scope("Organization/x", "", true).has_role(&role("Organization/x", "Location/y")));
    }
}
