//! The job by which the rooms above hear of changes.

use super::{AboutText, Message, TEXT_CHANGED, line};
use crate::{
    jobs::{JobError, NewJob},
    kernel::{Id, Instruments, Tenant},
};

/// The job that tells the rooms above that a text has changed. In the lane of its number, so that they see the texts of
/// one conversation in order.
///
/// # Errors
/// [`JobError`] when the payload cannot be written.
pub fn changed_job(
    instruments: &Instruments,
    tenant: Id<Tenant>,
    message: Id<Message>,
    number_token: &[u8],
) -> Result<NewJob, JobError> {
    NewJob::new(instruments, tenant, TEXT_CHANGED, &AboutText { message })
        .map(|job| job.unique(message.to_string()).in_lane(line::chart_lane(number_token)))
}
