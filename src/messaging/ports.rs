//! What messaging asks of the rooms above, which implement it: is what a text says still true, and what do we know of it?

use crate::{
    db::{DbError, Tx},
    jobs::JobError,
    kernel::{Id, Patient, Tenant},
};
use futures_util::future::BoxFuture;

/// Asked by the gate, in the attempt's transaction: does what a text says of a resource still hold?
pub trait Relevance: Send + Sync + 'static {
    /// Whether `version`, in the words of whoever wrote the text, still holds of `about`.
    fn still_true<'a>(
        &'a self,
        tx: &'a mut Tx,
        tenant: Id<Tenant>,
        about: &'a str,
        version: &'a str,
    ) -> BoxFuture<'a, Result<bool, DbError>>;
}

/// Asked before an automated text that has waited goes to the gate: what it rests on may have changed where it comes from.
pub trait Upstream: Send + Sync + 'static {
    /// Reads `patient`, what they agreed to, and what the text is about again, and brings what we know in line.
    ///
    /// # Errors
    /// [`JobError::Postpone`] when that cannot be had now: the text waits until it can, or goes stale.
    fn refresh<'a>(
        &'a self,
        tenant: Id<Tenant>,
        patient: Id<Patient>,
        about: Option<&'a str>,
    ) -> BoxFuture<'a, Result<(), JobError>>;
}
