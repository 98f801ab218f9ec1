//! The state that every part of the simulated carrier shares: account, books, faults, and the work under way.

use super::{
    account::{CarrierNumber, CarrierOptions, Phone, PhoneKind},
    faults::Faults,
    ledger::Ledger,
    signature::hex,
};
use crate::kernel::{Instruments, PhoneNumber};
use jiff::Timestamp;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use url::Url;

/// The carrier itself, as its handlers and its tasks see it.
pub(super) struct Exchange {
    pub(super) instruments: Instruments,
    pub(super) account_sid: String,
    pub(super) auth_token: String,
    pub(super) numbers: Vec<CarrierNumber>,
    pub(super) phones: Vec<Phone>,
    pub(super) callback_delay: Duration,
    pub(super) faults: Faults,
    /// The client for webhooks, with the vendor's default connect timeout.
    pub(super) client: reqwest::Client,
    /// Where this carrier answers.
    pub(super) base: Url,
    pub(super) closing: CancellationToken,
    pub(super) tasks: TaskTracker,
    ledger: Mutex<Ledger>,
    changes: watch::Sender<u64>,
    busy: watch::Sender<usize>,
}

impl Exchange {
    pub(super) fn new(options: CarrierOptions, base: Url, client: reqwest::Client) -> Self {
        Self {
            instruments: options.instruments,
            account_sid: options.account_sid,
            auth_token: options.auth_token,
            numbers: options.numbers,
            phones: options.phones,
            callback_delay: options.callback_delay,
            faults: Faults::new(options.seed),
            client,
            base,
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
            ledger: Mutex::default(),
            changes: watch::Sender::new(0),
            busy: watch::Sender::new(0),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.instruments.now()
    }

    /// A new SID: the prefix and 32 hexadecimal digits.
    pub(super) fn sid(&self, prefix: &str) -> String {
        let mut raw = [0_u8; 16];
        self.instruments.entropy.fill(&mut raw);
        format!("{prefix}{}", hex(&raw))
    }

    /// The account's one messaging service: it holds the numbers whose keywords the carrier answers.
    pub(super) fn service_sid(&self) -> String {
        format!("MG{}", self.account_sid.trim_start_matches("AC"))
    }

    pub(super) fn number(&self, number: &PhoneNumber) -> Option<&CarrierNumber> {
        self.numbers.iter().find(|candidate| candidate.number == *number)
    }

    /// What a number reaches; `None` where there is no handset.
    pub(super) fn phone_kind(&self, number: &PhoneNumber) -> Option<PhoneKind> {
        self.phones.iter().find(|phone| phone.number == *number).map(|phone| phone.kind)
    }

    /// Reads the books.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Ledger) -> T) -> T {
        read(&self.ledger.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the books and tells those who watch.
    pub(super) fn write<T>(&self, write: impl FnOnce(&mut Ledger) -> T) -> T {
        let output = write(&mut self.ledger.lock().unwrap_or_else(PoisonError::into_inner));
        self.changes.send_modify(|version| *version += 1);
        output
    }

    /// Tells of every change to the books, with its ordinal.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Marks a piece of work as under way until the mark is dropped.
    pub(super) fn work(self: &Arc<Self>) -> Work {
        self.busy.send_modify(|count| *count += 1);
        Work(Arc::clone(self))
    }

    /// Waits until no delivery, callback or webhook is under way. Held and scheduled messages do not count.
    pub(super) async fn settled(&self) {
        // The sender lives as long as this borrow, so waiting cannot fail.
        let _ = self.busy.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Real time between two steps of a delivery.
    pub(super) async fn pace(&self) {
        if self.callback_delay.is_zero() {
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(self.callback_delay).await;
        }
    }
}

/// Work under way; see [`Exchange::work`].
pub(super) struct Work(Arc<Exchange>);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.busy.send_modify(|count| *count = count.saturating_sub(1));
    }
}
