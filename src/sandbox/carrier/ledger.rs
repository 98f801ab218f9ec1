//! The carrier's books: every message, who has stopped which number, and the complaints about webhooks.
//!
//! Held in memory behind one lock by [`super::exchange::Exchange`]; nothing here waits.

use super::message::{Direction, Message, SimulatedText};
use crate::kernel::PhoneNumber;
use jiff::Timestamp;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};

/// What the carrier has on its books.
#[derive(Default)]
pub(super) struct Ledger {
    messages: BTreeMap<u64, Message>,
    by_sid: HashMap<String, u64>,
    next: u64,
    /// Pairs of one of our numbers and a phone that has stopped it.
    stopped: HashSet<(PhoneNumber, PhoneNumber)>,
    alerts: Vec<Alert>,
    /// Messages accepted through the API, by recipient, deleted ones among them.
    accepted: HashMap<PhoneNumber, usize>,
}

/// An entry of the vendor's debugger: a webhook that went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alert {
    /// The vendor's code: 11200, 11205, 12100, 12300…
    pub error_code: u32,
    /// Its meaning.
    pub message: &'static str,
    /// The status of the answer; none where there was no answer.
    pub status: Option<u16>,
    /// The message that it is about.
    pub sid: String,
    /// When.
    pub at: Timestamp,
}

impl Ledger {
    /// Enters a message, giving it its place in the order.
    pub(super) fn enter(&mut self, mut message: Message) {
        message.sequence = self.next;
        self.next += 1;
        if message.direction == Direction::OutboundApi {
            *self.accepted.entry(message.to.clone()).or_default() += 1;
        }
        self.by_sid.insert(message.sid.clone(), message.sequence);
        self.messages.insert(message.sequence, message);
    }

    /// A message that was not deleted.
    pub(super) fn message(&self, sid: &str) -> Option<&Message> {
        self.messages.get(self.by_sid.get(sid)?).filter(|message| !message.deleted)
    }

    pub(super) fn message_mut(&mut self, sid: &str) -> Option<&mut Message> {
        self.messages.get_mut(self.by_sid.get(sid)?).filter(|message| !message.deleted)
    }

    /// Every message that was not deleted, newest first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = &Message> {
        self.messages.values().rev().filter(|message| !message.deleted)
    }

    /// Every message as the sandbox shows it, deleted ones too, oldest first.
    pub(super) fn all(&self) -> Vec<SimulatedText> {
        self.messages.values().map(Message::simulated).collect()
    }

    /// What stands on a handset: what arrived, and what was written on it.
    pub(super) fn on_handset(&self, phone: &PhoneNumber) -> Vec<SimulatedText> {
        let here = |message: &&Message| match message.direction {
            Direction::Inbound => message.from.as_ref() == Some(phone),
            Direction::OutboundApi | Direction::OutboundReply => message.to == *phone && message.on_handset.is_some(),
        };
        self.messages.values().filter(here).map(Message::simulated).collect()
    }

    /// How many messages the API has accepted, to one phone or to all.
    pub(super) fn accepted(&self, phone: Option<&PhoneNumber>) -> usize {
        match phone {
            Some(phone) => self.accepted.get(phone).copied().unwrap_or(0),
            None => self.accepted.values().sum(),
        }
    }

    pub(super) fn has_stopped(&self, number: &PhoneNumber, phone: &PhoneNumber) -> bool {
        self.stopped.contains(&(number.clone(), phone.clone()))
    }

    /// Notes a STOP; whether it is news.
    pub(super) fn stop(&mut self, number: &PhoneNumber, phone: &PhoneNumber) -> bool {
        self.stopped.insert((number.clone(), phone.clone()))
    }

    /// Notes a START; whether it is news.
    pub(super) fn start(&mut self, number: &PhoneNumber, phone: &PhoneNumber) -> bool {
        self.stopped.remove(&(number.clone(), phone.clone()))
    }

    /// Pairs of one of the account's numbers and a phone that has stopped it, in order.
    pub(super) fn stopped(&self) -> Vec<(String, String)> {
        let text = |number: &PhoneNumber| number.as_e164().to_owned();
        let mut pairs: Vec<_> = self.stopped.iter().map(|(number, phone)| (text(number), text(phone))).collect();
        pairs.sort();
        pairs
    }

    pub(super) fn complain(&mut self, error_code: u32, status: Option<u16>, sid: &str, at: Timestamp) {
        let message = super::refusal::meaning(error_code);
        self.alerts.push(Alert { error_code, message, status, sid: sid.to_owned(), at });
    }

    pub(super) fn alerts(&self) -> Vec<Alert> {
        self.alerts.clone()
    }
}
