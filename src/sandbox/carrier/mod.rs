//! A simulated SMS carrier: Twilio's REST API, its signed webhooks, and a page of patients' phones.
//!
//! Owns no data beyond its own life and knows nothing of the service: both meet over HTTP, exactly as with the real
//! carrier (law 11). Started by the sandbox and by tests. What always holds: an accepted message is on the books
//! before it is answered; a text that a phone sends stands in the message list whatever becomes of its webhook; no
//! callback is posted for the status that the client read in the answer. It misbehaves only when told ([`Faults`]).

mod account;
mod control;
mod delivery;
mod exchange;
mod faults;
mod inbound;
mod keywords;
mod ledger;
mod line;
mod list;
mod message;
mod phones;
mod refusal;
mod rest;
mod segments;
mod send;
mod signature;
#[cfg(test)]
mod tests;
mod twiml;
mod webhook;

pub use account::{CarrierError, CarrierNumber, CarrierOptions, Phone, PhoneKind};
pub use faults::{Fault, FaultKind, Faults, Requests};
pub use ledger::Alert;
pub use message::{Direction, SimulatedText, Status};

use super::request_log::RequestLog;
use crate::kernel::PhoneNumber;
use axum::Router;
use exchange::Exchange;
use inbound::Handwriting;
use line::{Line, Wire};
use std::sync::Arc;
use tokio::net::TcpListener;
use url::Url;

/// A carrier simulator that is listening.
pub struct RunningCarrier {
    exchange: Arc<Exchange>,
}

impl RunningCarrier {
    /// Starts listening and answering.
    ///
    /// # Errors
    /// [`CarrierError::AccountSid`], [`CarrierError::Listen`] or [`CarrierError::Client`].
    pub async fn start(options: CarrierOptions) -> Result<Self, CarrierError> {
        if !send::is_sid(&options.account_sid, "AC") {
            return Err(CarrierError::AccountSid);
        }
        let client = webhook::client(webhook::CONNECT_TIMEOUT).map_err(CarrierError::Client)?;
        let listener = TcpListener::bind(options.listen).await.map_err(CarrierError::Listen)?;
        let address = listener.local_addr().map_err(CarrierError::Listen)?;
        let base = Url::parse(&format!("http://{address}/"))
            .map_err(|error| CarrierError::Listen(std::io::Error::new(std::io::ErrorKind::InvalidInput, error)))?;
        let exchange = Arc::new(Exchange::new(options, base, client));
        let router = RequestLog::default().over(routes(&exchange)).into_make_service_with_connect_info::<Wire>();
        let closing = exchange.closing.clone().cancelled_owned();
        exchange.tasks.spawn(async move {
            // An accept that fails is retried inside; serving ends only by closing.
            let _ = axum::serve(Line(listener), router).with_graceful_shutdown(closing).await;
        });
        Ok(Self { exchange })
    }

    /// The origin that stands for `https://api.twilio.com`.
    #[must_use]
    pub fn api_base(&self) -> Url {
        self.exchange.base.clone()
    }

    /// The page of phones.
    #[must_use]
    pub fn phones_url(&self) -> Url {
        let mut url = self.exchange.base.clone();
        url.set_path("/phones");
        url
    }

    /// The SID of the account's messaging service, which holds the numbers whose keywords the carrier answers.
    #[must_use]
    pub fn messaging_service_sid(&self) -> String {
        self.exchange.service_sid()
    }

    /// The switchboard of misbehaviour.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.exchange.faults
    }

    /// Writes a text on a phone and returns its SID when its webhook was answered or given up.
    ///
    /// # Errors
    /// [`CarrierError::UnknownPhone`] and [`CarrierError::UnknownNumber`].
    pub async fn text_from(&self, phone: &str, to: &str, body: &str) -> Result<String, CarrierError> {
        let from = PhoneNumber::parse(phone).map_err(|_| CarrierError::UnknownPhone)?;
        let to = PhoneNumber::parse(to).map_err(|_| CarrierError::UnknownNumber)?;
        let text = Handwriting { from, to, body: body.as_bytes().to_vec(), media_urls: Vec::new() };
        inbound::receive(&self.exchange, text).await
    }

    /// The texts that arrived on a phone, oldest first; none where no such phone exists.
    #[must_use]
    pub fn sent_to(&self, phone: &str) -> Vec<SimulatedText> {
        let mut texts = self.on_phone(phone);
        texts.retain(|text| text.direction != Direction::Inbound);
        texts
    }

    /// What stands on a phone, received and written, oldest first.
    #[must_use]
    pub fn on_phone(&self, phone: &str) -> Vec<SimulatedText> {
        PhoneNumber::parse(phone)
            .map(|number| self.exchange.read(|books| books.on_handset(&number)))
            .unwrap_or_default()
    }

    /// Every message on the books, oldest first, arrived or not.
    #[must_use]
    pub fn messages(&self) -> Vec<SimulatedText> {
        self.exchange.read(ledger::Ledger::all)
    }

    /// How many messages the REST API has accepted, to one phone or to all; a text sent twice counts twice.
    #[must_use]
    pub fn accepted_count(&self, phone: Option<&str>) -> usize {
        match phone.map(PhoneNumber::parse) {
            None => self.exchange.read(|books| books.accepted(None)),
            Some(Ok(number)) => self.exchange.read(|books| books.accepted(Some(&number))),
            Some(Err(_)) => 0,
        }
    }

    /// Webhooks that went wrong, oldest first.
    #[must_use]
    pub fn alerts(&self) -> Vec<Alert> {
        self.exchange.read(ledger::Ledger::alerts)
    }

    /// Waits until no delivery, callback or webhook is under way. Held and scheduled messages do not count.
    pub async fn settled(&self) {
        self.exchange.settled().await;
    }

    /// Waits until the messages on the books fulfil `condition`, however long that takes.
    pub async fn wait_for(&self, condition: impl Fn(&[SimulatedText]) -> bool) {
        let mut changes = self.exchange.changes();
        while !condition(&self.messages()) {
            // The sender lives as long as this borrow, so waiting cannot fail.
            let _ = changes.changed().await;
        }
    }

    /// Stops answering and abandons what is under way.
    pub async fn shutdown(self) {
        self.exchange.closing.cancel();
        self.exchange.tasks.close();
        self.exchange.tasks.wait().await;
    }
}

fn routes(exchange: &Arc<Exchange>) -> Router {
    Router::new()
        .nest(&format!("/{}", message::API_VERSION), rest::routes(exchange))
        .nest("/sandbox", control::routes())
        .merge(phones::routes())
        .with_state(Arc::clone(exchange))
}
