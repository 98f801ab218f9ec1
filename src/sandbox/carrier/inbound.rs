//! A text from a handset to one of the account's numbers: keywords, the webhook, and what it answers.
//!
//! The text stands in the message list whatever becomes of the webhook, so a client can pull what it missed; the
//! carrier itself never posts it again.

use super::{
    account::{self, CarrierError, CarrierNumber, PhoneKind},
    delivery,
    exchange::Exchange,
    faults::FaultKind,
    keywords::Keyword,
    message::{API_VERSION, Direction, Media, Message, Status},
    segments,
    signature::Parameter,
    twiml::{self, Reply},
    webhook::{self, Answer, Call, Encoding, Silence},
};
use crate::kernel::PhoneNumber;
use jiff::SignedDuration;
use std::sync::Arc;

/// The vendor's default `ValidityPeriod`, in seconds.
pub(super) const LONGEST_VALIDITY: i64 = 36_000;

/// What someone writes on a handset.
pub(super) struct Handwriting {
    pub(super) from: PhoneNumber,
    pub(super) to: PhoneNumber,
    /// Not necessarily UTF-8: some handsets and networks garble it.
    pub(super) body: Vec<u8>,
    pub(super) media_urls: Vec<String>,
}

/// Takes a text on, and returns its SID when its webhook has been answered or given up.
pub(super) async fn receive(exchange: &Arc<Exchange>, text: Handwriting) -> Result<String, CarrierError> {
    let _work = exchange.work();
    if exchange.phone_kind(&text.from) != Some(PhoneKind::Mobile) {
        return Err(CarrierError::UnknownPhone);
    }
    let number = exchange.number(&text.to).ok_or(CarrierError::UnknownNumber)?;
    let message = incoming(exchange, &text, number);
    let sid = message.sid.clone();
    exchange.write(|books| books.enter(message.clone()));
    let keyword = if number.answers_keywords { obey(exchange, number, &message) } else { None };
    let parameters = parameters(exchange, &message, &text.body, keyword);
    for reply in call_webhooks(exchange, number, &sid, parameters).await {
        answer(exchange, number, &message, reply);
    }
    Ok(sid)
}

fn incoming(exchange: &Exchange, text: &Handwriting, number: &CarrierNumber) -> Message {
    let now = exchange.now();
    let media = |source: &String| Media { sid: exchange.sid("ME"), source: source.clone() };
    let body = String::from_utf8_lossy(&text.body).into_owned();
    Message {
        sequence: 0,
        deleted: false,
        sid: exchange.sid(if text.media_urls.is_empty() { "SM" } else { "MM" }),
        direction: Direction::Inbound,
        from: Some(text.from.clone()),
        to: text.to.clone(),
        segments: segments::count(&body),
        on_handset: Some(body.clone()),
        body,
        status: Status::Received,
        error_code: None,
        created: now,
        updated: now,
        sent: Some(now),
        media: text.media_urls.iter().map(media).collect(),
        service: number.answers_keywords.then(|| exchange.service_sid()),
        status_callback: None,
        validity: SignedDuration::from_secs(LONGEST_VALIDITY),
        send_at: None,
        discard_body: false,
    }
}

/// Does what a keyword asks for, and confirms it where it changed something.
fn obey(exchange: &Arc<Exchange>, number: &CarrierNumber, message: &Message) -> Option<Keyword> {
    let phone = message.from.as_ref()?;
    let (keyword, confirm) = exchange.write(|books| {
        let keyword = Keyword::read(&message.body, books.has_stopped(&number.number, phone))?;
        let confirm = match keyword {
            Keyword::Stop => books.stop(&number.number, phone),
            Keyword::Start => books.start(&number.number, phone),
            Keyword::Help => true,
        };
        Some((keyword, confirm))
    })?;
    if confirm {
        let reply = Reply { body: keyword.confirmation().to_owned(), ..Reply::default() };
        send(exchange, number, phone.clone(), reply);
    }
    Some(keyword)
}

fn parameters(exchange: &Exchange, message: &Message, body: &[u8], keyword: Option<Keyword>) -> Vec<Parameter> {
    let mut fields: Vec<Parameter> = vec![("Body".to_owned(), body.to_vec())];
    let mut field = |name: String, value: &str| fields.push((name, value.as_bytes().to_vec()));
    for name in ["MessageSid", "SmsSid", "SmsMessageSid"] {
        field(name.to_owned(), &message.sid);
    }
    field("AccountSid".to_owned(), &exchange.account_sid);
    field("ApiVersion".to_owned(), API_VERSION);
    field("SmsStatus".to_owned(), message.status.as_str());
    field("NumSegments".to_owned(), &message.segments.to_string());
    field("NumMedia".to_owned(), &message.media.len().to_string());
    for (index, media) in message.media.iter().enumerate() {
        let path =
            format!("{API_VERSION}/Accounts/{}/Messages/{}/Media/{}", exchange.account_sid, message.sid, media.sid);
        field(format!("MediaUrl{index}"), &format!("{}{path}", exchange.base));
        field(format!("MediaContentType{index}"), media.content_type());
    }
    for (end, number) in [("From", message.from.as_ref()), ("To", Some(&message.to))] {
        let Some(number) = number else { continue };
        let place = account::place(number);
        field(end.to_owned(), number.as_e164());
        field(format!("{end}City"), place.city);
        field(format!("{end}State"), place.state);
        field(format!("{end}Zip"), place.zip);
        field(format!("{end}Country"), place.country);
    }
    if let Some(service) = &message.service {
        field("MessagingServiceSid".to_owned(), service);
    }
    if let Some(keyword) = keyword {
        field("OptOutType".to_owned(), keyword.opt_out_type());
    }
    fields
}

/// Calls the number's webhook and, where that fails, its fallback; what neither answers usably is nothing.
async fn call_webhooks(
    exchange: &Exchange,
    number: &CarrierNumber,
    sid: &str,
    mut parameters: Vec<Parameter>,
) -> Vec<Reply> {
    let token = exchange.instruments.new_id::<Handwriting>().to_string();
    let targets = [Some(&number.inbound_webhook), number.fallback_webhook.as_ref()];
    for target in targets.into_iter().flatten() {
        let call = Call { target: target.as_str(), parameters: &parameters, encoding: Encoding::Form, token: &token };
        let outcome =
            if exchange.faults.is_set(FaultKind::AllDown) || exchange.faults.strikes(FaultKind::WebhooksRefused) {
                Err(Silence::NoAnswer)
            } else {
                let posted = exchange.closing.run_until_cancelled(post(exchange, &call)).await;
                posted.unwrap_or(Err(Silence::NoAnswer))
            };
        let status = outcome.as_ref().ok().map(|answer| answer.status.as_u16());
        let code = match understood(outcome) {
            Ok(replies) => return replies,
            Err(code) => code,
        };
        exchange.write(|books| books.complain(code, status, sid, exchange.now()));
        if parameters.iter().all(|(name, _)| name != "ErrorCode") {
            parameters.push(("ErrorCode".to_owned(), code.to_string().into_bytes()));
            parameters.push(("ErrorUrl".to_owned(), target.as_str().as_bytes().to_vec()));
        }
    }
    Vec::new()
}

/// Posts once, or twice where that is ordered: then what either call brought is what counts, the good answer first.
async fn post(exchange: &Exchange, call: &Call<'_>) -> Result<Answer, Silence> {
    if !exchange.faults.strikes(FaultKind::DuplicateWebhooks) {
        return webhook::post(exchange, call).await;
    }
    let (first, second) = tokio::join!(webhook::post(exchange, call), webhook::post(exchange, call));
    if first.as_ref().is_ok_and(|answer| answer.status.is_success()) { first } else { second }
}

fn understood(outcome: Result<Answer, Silence>) -> Result<Vec<Reply>, u32> {
    let answer = outcome.map_err(Silence::error_code)?;
    if !answer.status.is_success() {
        return Err(11200);
    }
    twiml::read(&answer.content_type, &answer.body)
}

/// Sends what the webhook answered.
fn answer(exchange: &Arc<Exchange>, number: &CarrierNumber, message: &Message, reply: Reply) {
    let to = match &reply.to {
        Some(to) => PhoneNumber::parse(to).map_err(|_| 14101),
        None => message.from.clone().ok_or(14101),
    };
    let refused = match &to {
        Err(code) => Some(*code),
        Ok(_) if reply.body.is_empty() && reply.media.is_empty() => Some(14103),
        Ok(to) if exchange.read(|books| books.has_stopped(&number.number, to)) => Some(21610),
        Ok(_) => None,
    };
    match (to, refused) {
        (Ok(to), None) => send(exchange, number, to, reply),
        (_, code) => {
            exchange.write(|books| books.complain(code.unwrap_or(14101), None, &message.sid, exchange.now()));
        }
    }
}

fn send(exchange: &Arc<Exchange>, number: &CarrierNumber, to: PhoneNumber, reply: Reply) {
    let now = exchange.now();
    let sid = exchange.sid(if reply.media.is_empty() { "SM" } else { "MM" });
    let message = Message {
        sequence: 0,
        deleted: false,
        sid: sid.clone(),
        direction: Direction::OutboundReply,
        from: Some(number.number.clone()),
        to,
        segments: segments::count(&reply.body),
        body: reply.body,
        on_handset: None,
        status: Status::Queued,
        error_code: None,
        created: now,
        updated: now,
        sent: None,
        media: reply.media.into_iter().map(|source| Media { sid: exchange.sid("ME"), source }).collect(),
        service: None,
        status_callback: reply.status_callback,
        validity: SignedDuration::from_secs(LONGEST_VALIDITY),
        send_at: None,
        discard_body: false,
    };
    exchange.write(|books| books.enter(message));
    delivery::dispatch(exchange, sid);
}
