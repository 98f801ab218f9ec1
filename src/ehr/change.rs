//! A change to a resource that others change too: read, decide, write if it is still so, and look again where that is not
//! certain (law 5).

use super::{Ehr, EhrError, Ledger, WriteIntent, WrittenRef};
use crate::fhir::{PatchOperation, Resource, ResourceRef};

/// How often a resource is read again after somebody else changed it first.
const MOST_READS: usize = 3;

/// How a change ended that the EHR has neither refused nor left open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeOutcome {
    /// It is so in the EHR, whoever made it so.
    Done {
        /// The version, where the EHR tells.
        version: Option<String>,
    },
    /// The resource is not what the change was meant for any more.
    Changed,
}

/// What is to be done about a resource as it was read.
pub(super) enum Step {
    /// It is as it should be.
    Done,
    /// It is not what the change was meant for.
    Changed,
    /// It is to be edited.
    Edit(Vec<PatchOperation>),
}

impl Ledger {
    /// Reads `target` and does what `decide` says, until it says that it is done. An edit goes to the version that was
    /// read, so that sending it again after a lost answer cannot do it twice.
    ///
    /// # Errors
    /// [`EhrError::Unknown`] when the answer was lost and the resource does not show the change;
    /// [`EhrError::Conflict`] when the EHR refuses an edit of the version that it shows; otherwise as the EHR says.
    pub(super) async fn change(
        &self,
        ehr: &Ehr,
        intent: &WriteIntent,
        target: &ResourceRef,
        decide: impl Fn(&Resource) -> Result<Step, EhrError> + Send + Sync,
    ) -> Result<ChangeOutcome, EhrError> {
        let mut refused_version = None;
        let mut taken = false;
        for _ in 0..MOST_READS {
            let resource = ehr.client.read(target).await?;
            let version = resource.version().map(|version| version.as_str().to_owned());
            let operations = match decide(&resource)? {
                Step::Done => {
                    self.found_done(intent, target, version.as_deref()).await?;
                    return Ok(ChangeOutcome::Done { version });
                }
                Step::Changed => return Ok(ChangeOutcome::Changed),
                Step::Edit(operations) => operations,
            };
            if taken {
                return Err(EhrError::Refused { code: "ehr-change-not-kept" });
            }
            // The version has not moved: the conflict was about something else, and the EHR would say the same again.
            if refused_version.is_some() && refused_version == version {
                return Err(EhrError::Conflict);
            }
            match self.edit(ehr, intent, &resource, &operations).await {
                // What the EHR made of it is read back, not believed.
                Ok(_) => taken = true,
                Err(EhrError::Conflict) => refused_version = version,
                // Whether it has arrived is in the resource. If not, nothing is sent before the next try.
                Err(EhrError::Unknown) => {
                    let now = ehr.client.read(target).await?;
                    let version = now.version().map(|version| version.as_str().to_owned());
                    let Step::Done = decide(&now)? else { return Err(EhrError::Unknown) };
                    self.found_done(intent, target, version.as_deref()).await?;
                    return Ok(ChangeOutcome::Done { version });
                }
                Err(error) => return Err(error),
            }
        }
        Err(EhrError::Conflict)
    }

    /// The EHR shows what `intent` was to bring about: where it was left open it is written after all.
    ///
    /// # Errors
    /// [`EhrError`] as database or vault are away.
    pub(super) async fn found_done(
        &self,
        intent: &WriteIntent,
        target: &ResourceRef,
        version: Option<&str>,
    ) -> Result<(), EhrError> {
        let last = self.last(intent).await?;
        if last.is_some_and(|(state, _)| matches!(state.as_str(), "pending" | "unknown")) {
            let found = WrittenRef { reference: target.to_string(), version: version.map(str::to_owned) };
            self.settle(intent, "written", Some(&found), None).await?;
        }
        Ok(())
    }
}
