//! The client: sends, lists, looks up.

use super::account::{AccountError, TwilioAccount, is_sid};
use super::list::{Next, PAGE_SIZE, Page, Pages, Stray};
use super::message::MessageResource;
use super::sending;
use super::timed_body::TimedBody;
use crate::kernel::{Clock, Exchange, PhoneNumber, Unanswered};
use crate::messaging::carrier_port::{
    Carrier, CarrierError, CarrierOutbound, ClearedText, NotSentReason, ReceivedTexts, SendOutcome, SentTexts,
    UnknownReason, Unreadable,
};
use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt as _};
use jiff::Timestamp;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Response, StatusCode, redirect, retry};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tracing::Instrument as _;
use url::Url;

const NAME: &str = "twilio";
/// The largest answer that is read. A page of 500 texts of 1600 characters fits several times.
const LARGEST_ANSWER: usize = 16 << 20;

/// A client for one Twilio account.
pub struct Twilio {
    account: TwilioAccount,
    http: Client,
    clock: Arc<dyn Clock>,
}

impl Twilio {
    /// A client for `account`; `clock` is what send-by instants are held against.
    ///
    /// # Errors
    /// What is wrong with the account's settings.
    pub fn new(account: TwilioAccount, clock: Arc<dyn Clock>) -> Result<Self, AccountError> {
        account.check()?;
        let mut builder = Client::builder()
            .connect_timeout(account.timeouts.connect)
            .timeout(account.timeouts.answer)
            // A redirect would carry credentials and text to wherever it points; a retry would send twice.
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            // Over HTTP/2 the head leaves before the body is asked for, so the send-by check would come too late.
            .http1_only()
            // A connection that the other side is just closing would leave a text unknown: idle ones do not get old.
            .pool_idle_timeout(Duration::from_secs(15));
        if account.is_on_loopback() {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|_| AccountError::HttpClient)?;
        Ok(Self { account, http, clock })
    }

    async fn send_once(&self, text: ClearedText) -> SendOutcome {
        let text = text.into_outgoing();
        if let Some(refusal) = sending::refused_for_length(&text) {
            return refusal;
        }
        let form = sending::form(&text, self.account.messaging_service_sid.as_deref());
        let (body, fate) = TimedBody::new(Bytes::from(form), text.send_by, Arc::clone(&self.clock));
        let credential = &self.account.credential;
        let request = self
            .http
            .post(self.account.messages_url(None))
            .basic_auth(&credential.user, Some(credential.secret.reveal()))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(reqwest::Body::wrap(body));
        let exchange = Exchange::begin(NAME, "POST", &self.account.base_url);
        match request.send().instrument(exchange.span()).await {
            Ok(answer) => {
                let (status, headers) = (answer.status(), answer.headers().clone());
                let body = read_capped(answer).await;
                exchange.answered(status.as_u16());
                sending::outcome(status, &headers, body.as_deref(), self.clock.now())
            }
            // The error itself names the URL; only where the bytes were counts.
            Err(_) if fate.was_given_out() => {
                exchange.unanswered(Unanswered::Interrupted);
                SendOutcome::Unknown { reason: UnknownReason::NoAnswer }
            }
            Err(_) if fate.was_withheld() => {
                exchange.unanswered(Unanswered::Withheld);
                not_sent(NotSentReason::SendByPassed)
            }
            Err(_) => {
                exchange.unanswered(Unanswered::Connect);
                not_sent(NotSentReason::ConnectFailed)
            }
        }
    }

    async fn get(&self, url: Url) -> Result<Vec<u8>, CarrierError> {
        let credential = &self.account.credential;
        let request = self.http.get(url).basic_auth(&credential.user, Some(credential.secret.reveal()));
        let exchange = Exchange::begin(NAME, "GET", &self.account.base_url);
        let Ok(answer) = request.send().instrument(exchange.span()).await else {
            exchange.unanswered(Unanswered::Interrupted);
            return Err(CarrierError::Unreachable);
        };
        let (status, headers) = (answer.status(), answer.headers().clone());
        let body = read_capped(answer).await;
        exchange.answered(status.as_u16());
        let retry_after = sending::retry_after(&headers, self.clock.now());
        match status {
            status if status.is_success() => body.ok_or(CarrierError::UnreadableAnswer),
            StatusCode::TOO_MANY_REQUESTS => Err(CarrierError::Throttled { retry_after }),
            StatusCode::NOT_FOUND => Err(CarrierError::NoSuchText),
            status if status.is_client_error() => {
                let code = body.as_deref().and_then(sending::error_code);
                Err(CarrierError::Refused(sending::refusal(status, code, retry_after)))
            }
            status => Err(CarrierError::Failed(status.as_u16())),
        }
    }

    /// All messages of the account that match and are not older than `since`, newest first as Twilio lists them.
    async fn list(&self, filters: &[(&str, &str)], since: Timestamp) -> Result<Listed, CarrierError> {
        self.list_until(filters, since, Timestamp::MIN).await
    }

    /// The same, up to the first page of which everything is older than `enough`.
    async fn list_until(
        &self,
        filters: &[(&str, &str)],
        since: Timestamp,
        enough: Timestamp,
    ) -> Result<Listed, CarrierError> {
        let mut url = self.account.messages_url(None);
        url.query_pairs_mut().extend_pairs(filters).append_pair("PageSize", &PAGE_SIZE.to_string());
        let mut pages = Pages::new(self.account.base_url.clone());
        let mut listed = Listed::default();
        loop {
            let page: Page =
                serde_json::from_slice(&self.get(url).await?).map_err(|_| CarrierError::UnreadableAnswer)?;
            let (entries, unreadable) = page.entries();
            listed.unreadable.extend(unreadable);
            let is_old = |entry: &MessageResource| entry.happened_at().is_some_and(|at| at < enough);
            let goes_on = entries.is_empty() || !entries.iter().all(is_old);
            listed
                .messages
                .extend(entries.into_iter().filter(|entry| entry.happened_at().is_none_or(|at| at >= since)));
            if !goes_on {
                return Ok(listed);
            }
            url = match pages.after(&page) {
                Next::Page(url) => url,
                Next::End => return Ok(listed),
                Next::Astray(Stray::TooLong) => return Err(CarrierError::TooLong),
                Next::Astray(Stray::Broken) => return Err(CarrierError::UnreadableAnswer),
            };
        }
    }
}

/// The pages of a list, as one.
#[derive(Default)]
struct Listed {
    messages: Vec<MessageResource>,
    unreadable: Unreadable,
}

/// Twilio's dates have no fractions of a second.
fn whole_second(instant: Timestamp) -> Timestamp {
    Timestamp::from_second(instant.as_second()).unwrap_or(instant)
}

fn not_sent(reason: NotSentReason) -> SendOutcome {
    SendOutcome::NotSent { reason, retry_after: None }
}

/// The whole body; `None` where it breaks off or is too large.
async fn read_capped(mut answer: Response) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.ok()? {
        if body.len() + chunk.len() > LARGEST_ANSWER {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    Some(body)
}

impl Carrier for Twilio {
    fn name(&self) -> &'static str {
        NAME
    }

    fn longest_validity(&self) -> Duration {
        sending::LONGEST_VALIDITY
    }

    fn answers_within(&self) -> Duration {
        self.account.timeouts.answer
    }

    fn listed_within(&self) -> Duration {
        self.account.timeouts.listed
    }

    fn send(&self, text: ClearedText) -> BoxFuture<'_, SendOutcome> {
        self.send_once(text).boxed()
    }

    fn received_since<'a>(
        &'a self,
        ours: &'a PhoneNumber,
        since: Timestamp,
    ) -> BoxFuture<'a, Result<ReceivedTexts, CarrierError>> {
        async move {
            let since = whole_second(since);
            let listed = self.list(&[("To", ours.as_e164()), ("DateSent>", &since.to_string())], since).await?;
            let mut unreadable = listed.unreadable;
            let mut texts = Vec::new();
            for message in listed.messages.into_iter().filter(MessageResource::is_inbound) {
                let id = message.id();
                match message.into_inbound() {
                    Some(text) if text.to == *ours => texts.push(text),
                    // The filter of the query is not a promise.
                    Some(_) => {}
                    None => unreadable.add(id),
                }
            }
            // Texts of one second keep the order in which they came.
            texts.reverse();
            texts.sort_by_key(|text| text.received_at);
            Ok(ReceivedTexts { texts, unreadable })
        }
        .boxed()
    }

    fn sent_to<'a>(
        &'a self,
        from: &'a PhoneNumber,
        to: &'a PhoneNumber,
        since: Timestamp,
    ) -> BoxFuture<'a, Result<Vec<CarrierOutbound>, CarrierError>> {
        async move {
            // Not by date: a text that has not left yet has no date of sending, and it is just such that are looked for.
            let listed = self.list(&[("From", from.as_e164()), ("To", to.as_e164())], whole_second(since)).await?;
            let outbound = listed.messages.into_iter().filter(|message| !message.is_inbound());
            let mut texts: Vec<_> = outbound
                .filter_map(MessageResource::into_outbound)
                .filter(|text| text.to.as_ref() == Some(to))
                .collect();
            texts.reverse();
            texts.sort_by_key(|text| text.created_at);
            Ok(texts)
        }
        .boxed()
    }

    fn sent_since<'a>(
        &'a self,
        ours: &'a PhoneNumber,
        since: Timestamp,
    ) -> BoxFuture<'a, Result<SentTexts, CarrierError>> {
        async move {
            let since = whole_second(since);
            let from = ("From", ours.as_e164());
            // What has not left yet has no date of sending, so the filter hides it; it is among the newest, so the list
            // without the filter need not be read to its end.
            let dated = self.list(&[from, ("DateSent>", &since.to_string())], since).await?;
            let newest = self.list_until(&[from], since, since).await?;
            let mut sent = SentTexts { texts: Vec::new(), unreadable: dated.unreadable };
            sent.unreadable.overlay(newest.unreadable);
            let mut seen = HashSet::new();
            for message in dated.messages.into_iter().chain(newest.messages) {
                if !message.is_sent_by_api() || message.id().is_some_and(|id| seen.contains(&id)) {
                    continue;
                }
                match message.into_outbound() {
                    Some(text) => {
                        seen.insert(text.carrier_id.clone());
                        sent.texts.push(text);
                    }
                    None => sent.unreadable.add(None),
                }
            }
            sent.texts.reverse();
            sent.texts.sort_by_key(|text| text.created_at);
            Ok(sent)
        }
        .boxed()
    }

    fn status_of<'a>(&'a self, carrier_id: &'a str) -> BoxFuture<'a, Result<CarrierOutbound, CarrierError>> {
        async move {
            if !is_sid(carrier_id, &["SM", "MM"]) {
                return Err(CarrierError::NotAnId);
            }
            let body = self.get(self.account.messages_url(Some(carrier_id))).await?;
            let resource: MessageResource =
                serde_json::from_slice(&body).map_err(|_| CarrierError::UnreadableAnswer)?;
            resource.into_outbound().ok_or(CarrierError::UnreadableAnswer)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests;
