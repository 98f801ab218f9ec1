//! The switchboard of misbehaviour: what the carrier does wrong, how often, and to which requests.
//!
//! Set through [`Faults`] or over HTTP (`/sandbox/faults`). A fault lasts until its count is used up or it is
//! cleared; the chance of a fault is drawn from the seed that the carrier was started with, so a run can be repeated.

use crate::kernel::{SeededEntropy, entropy};
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// One way to misbehave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FaultKind {
    /// The REST API answers this much later.
    Delay {
        /// How much, in milliseconds.
        millis: u64,
    },
    /// 429 with code 20429; the request is not processed.
    TooManyRequests {
        /// The `Retry-After` header, in seconds.
        retry_after_secs: u32,
    },
    /// A send waits on its way until faults are cleared, as in a network or a node that stands still; then it is worked
    /// on, whether or not its client is still there.
    HeldOnTheWay,
    /// 500 before anything is done.
    ErrorBefore,
    /// 500 although the message was accepted and will be delivered.
    ErrorAfterAccept,
    /// The message is accepted and will be delivered, and the connection closes without an answer.
    AnswerLost,
    /// The request is worked on, and the answer holds bytes that mean nothing.
    GarbageAnswer,
    /// 200 with a page for people, as from a proxy in front; the request is not processed.
    PageAnswer,
    /// The request is worked on, and the answer's body ends in its middle.
    TruncatedAnswer,
    /// Each status callback is posted twice.
    DuplicateCallbacks,
    /// A message's status callbacks arrive in the opposite order.
    ReorderCallbacks,
    /// Status callbacks are not posted.
    DropCallbacks,
    /// Status callbacks carry JSON, covered by `bodySHA256` in their URL, instead of a form.
    JsonCallbacks,
    /// Webhooks for incoming texts are not called; the texts stand in the message list.
    WebhooksRefused,
    /// Webhooks for incoming texts are posted twice, both at once.
    DuplicateWebhooks,
    /// The newest message of each page of the list stands there as something that is no message.
    OddListEntry,
    /// Accepted messages stay queued, and age towards their validity period, until this is cleared.
    HoldQueue,
    /// The message is filtered on its way: undelivered, 30007.
    Filtered,
    /// Nothing answers and nothing is posted. The sandbox's own endpoints still work.
    AllDown,
}

/// Which requests to the REST API a fault may strike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Requests {
    /// Those that create a message.
    #[default]
    Sends,
    /// All others: list, fetch, update, delete.
    Reads,
    /// All.
    Any,
}

/// A fault with its count and its chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What goes wrong.
    #[serde(flatten)]
    pub kind: FaultKind,
    /// How often it strikes before it is over; without a count until it is cleared.
    #[serde(default)]
    pub times: Option<u32>,
    /// How likely it strikes each time, in percent.
    #[serde(default = "always")]
    pub chance: u8,
    /// Which requests it may strike. `AllDown` strikes all; callbacks and webhooks have no such choice.
    #[serde(default)]
    pub requests: Requests,
}

const fn always() -> u8 {
    100
}

impl Fault {
    /// A fault that strikes every time until it is cleared.
    #[must_use]
    pub const fn new(kind: FaultKind) -> Self {
        Self { kind, times: None, chance: 100, requests: Requests::Sends }
    }

    /// The same fault, over after it has struck `times`.
    #[must_use]
    pub const fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    /// The same fault, striking with a likelihood of `percent`.
    #[must_use]
    pub const fn chance(self, percent: u8) -> Self {
        Self { chance: percent, ..self }
    }

    /// The same fault on these requests.
    #[must_use]
    pub const fn on(self, requests: Requests) -> Self {
        Self { requests, ..self }
    }
}

/// The faults that are set.
#[derive(Debug)]
pub struct Faults {
    set: Mutex<Vec<Fault>>,
    dice: SeededEntropy,
    changes: watch::Sender<()>,
    cleared: watch::Sender<()>,
}

impl Faults {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            set: Mutex::default(),
            dice: SeededEntropy::new(seed),
            changes: watch::Sender::new(()),
            cleared: watch::Sender::new(()),
        }
    }

    /// Adds a fault. Where several of a kind are set, the oldest that strikes is the one that is used.
    pub fn add(&self, fault: Fault) {
        self.lock().push(fault);
        self.changes.send_replace(());
    }

    /// Ends every fault.
    pub fn clear(&self) {
        self.lock().clear();
        self.changes.send_replace(());
        self.cleared.send_replace(());
    }

    /// The faults that are set, oldest first.
    #[must_use]
    pub fn active(&self) -> Vec<Fault> {
        self.lock().clone()
    }

    /// Whether `kind` is set, without using it up.
    pub(super) fn is_set(&self, kind: FaultKind) -> bool {
        self.lock().iter().any(|fault| fault.kind == kind)
    }

    /// Whether `kind` strikes now; uses up one of its count.
    pub(super) fn strikes(&self, kind: FaultKind) -> bool {
        self.strike(None, |fault| (fault == kind).then_some(())).is_some()
    }

    /// The first fault that `pick` takes and that strikes a request of this class; uses up one of its count.
    pub(super) fn strike<T>(&self, class: Option<Requests>, pick: impl Fn(FaultKind) -> Option<T>) -> Option<T> {
        let mut set = self.lock();
        for index in 0..set.len() {
            let Some(fault) = set.get_mut(index) else { break };
            let in_class = class.is_none_or(|class| fault.requests == Requests::Any || fault.requests == class);
            let Some(picked) = pick(fault.kind).filter(|_| in_class) else { continue };
            if entropy::below(&self.dice, 100) >= u64::from(fault.chance) {
                continue;
            }
            if let Some(left) = &mut fault.times {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    set.remove(index);
                    self.changes.send_replace(());
                }
            }
            return Some(picked);
        }
        None
    }

    /// Until every fault that is set is used up or cleared.
    pub async fn used_up(&self) {
        let mut changes = self.changes();
        // The sender is here: it does not end.
        let _ = changes.wait_for(|()| self.lock().is_empty()).await;
    }

    /// Until faults are cleared the next time, from this call on.
    pub(super) fn cleared(&self) -> impl Future<Output = ()> + use<> {
        let mut cleared = self.cleared.subscribe();
        async move {
            let _ = cleared.changed().await;
        }
    }

    /// Tells of every change to what is set.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counted_fault_is_over_when_it_is_used_up() {
        let faults = Faults::new(1);
        faults.add(Fault::new(FaultKind::DropCallbacks).times(2));
        let struck = (0..4).map(|_| faults.strikes(FaultKind::DropCallbacks)).collect::<Vec<_>>();
        assert_eq!(struck, [true, true, false, false]);
        assert!(faults.active().is_empty());
    }

    #[test]
    fn a_chance_is_repeatable_by_its_seed() {
        let run = |seed| {
            let faults = Faults::new(seed);
            faults.add(Fault::new(FaultKind::ErrorBefore).chance(50));
            (0..64).map(|_| faults.strikes(FaultKind::ErrorBefore)).collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        assert!(run(7).contains(&true) && run(7).contains(&false));
    }

    #[test]
    fn a_fault_on_sends_leaves_reads_alone() {
        let faults = Faults::new(1);
        faults.add(Fault::new(FaultKind::ErrorBefore));
        let error = |kind| (kind == FaultKind::ErrorBefore).then_some(());
        assert!(faults.strike(Some(Requests::Reads), error).is_none());
        assert!(faults.strike(Some(Requests::Sends), error).is_some());
    }

    #[test]
    fn the_json_form_needs_only_the_kind() {
        let fault: Fault = serde_json::from_str(r#"{"kind":"delay","millis":50}"#).unwrap();
        assert_eq!(fault, Fault::new(FaultKind::Delay { millis: 50 }));
        let text = serde_json::to_string(&fault.times(3)).unwrap();
        assert_eq!(serde_json::from_str::<Fault>(&text).unwrap(), fault.times(3));
    }
}
