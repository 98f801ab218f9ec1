//! A message's way from the queue to the handset, and the status callbacks along it.
//!
//! Owns every change of an outgoing message's status. One task per message; it ends at a final status. No callback is
//! posted for the status that the client already read in the answer.

use super::{
    account::PhoneKind,
    exchange::{Exchange, Work},
    faults::FaultKind,
    ledger::Ledger,
    message::{API_VERSION, Message, Status},
    signature::Parameter,
    webhook::{self, Call, Encoding},
};
use jiff::{Timestamp, tz::TimeZone};
use std::{ops::ControlFlow, sync::Arc, time::Duration};

/// How often a scheduled or held message looks at the clock, which may be one that does not tick.
const CLOCK_POLL: Duration = Duration::from_millis(100);

/// Starts a message on its way.
pub(super) fn dispatch(exchange: &Arc<Exchange>, sid: String) {
    let work = exchange.work();
    let exchange = Arc::clone(exchange);
    let tasks = exchange.tasks.clone();
    tasks.spawn(async move {
        let closing = exchange.closing.clone();
        let journey = Journey { callbacks: Callbacks::new(&exchange), exchange, sid };
        // Closing abandons the message: a carrier that is gone posts nothing.
        closing.run_until_cancelled(journey.travel(work)).await;
    });
}

struct Journey {
    exchange: Arc<Exchange>,
    sid: String,
    callbacks: Callbacks,
}

impl Journey {
    async fn travel(mut self, work: Work) {
        let _work = self.wait_for_its_turn(work).await;
        match self.stages().await {
            Some(end) => self.advance(end).await,
            None if self.status() == Some(Status::Canceled) => self.callbacks.post(&self.exchange, &self.sid).await,
            None => {}
        }
        self.callbacks.flush(&self.exchange, &self.sid).await;
    }

    /// Waits while the message is scheduled or the queue is held. Work that waits is not under way.
    async fn wait_for_its_turn(&mut self, work: Work) -> Work {
        let mut work = Some(work);
        let mut faults = self.exchange.faults.changes();
        while self.must_wait() {
            work = None;
            let _ = tokio::time::timeout(CLOCK_POLL, faults.changed()).await;
        }
        work.unwrap_or_else(|| self.exchange.work())
    }

    fn must_wait(&self) -> bool {
        let now = self.exchange.now();
        let scheduled = |message: &Message| match message.status {
            Status::Scheduled => message.send_at.is_some_and(|at| now < at),
            status => {
                status.is_waiting() && now <= expiry(message) && self.exchange.faults.is_set(FaultKind::HoldQueue)
            }
        };
        self.exchange.read(|books| books.message(&self.sid).is_some_and(scheduled))
    }

    /// Takes the message through its stages; `None` when it was called off.
    async fn stages(&mut self) -> Option<End> {
        if self.status()? != Status::Queued {
            self.exchange.pace().await;
            if let ControlFlow::Break(end) = self.choose_sender()? {
                return Some(end);
            }
            self.callbacks.post(&self.exchange, &self.sid).await;
        }
        self.exchange.pace().await;
        let message = self.exchange.read(|books| books.message(&self.sid).cloned())?;
        if !message.status.is_waiting() {
            return None;
        }
        if self.exchange.now() > expiry(&message) {
            return Some(End::Failed(30036));
        }
        for status in [Status::Sending, Status::Sent] {
            self.advance(End::Reached(status)).await;
            self.exchange.pace().await;
        }
        Some(self.fate(&message))
    }

    fn status(&self) -> Option<Status> {
        self.exchange.read(|books| books.message(&self.sid).map(|message| message.status))
    }

    /// A messaging service picks the sender now, and learns only now that the recipient has stopped it; `None` when
    /// the message was called off.
    fn choose_sender(&self) -> Option<ControlFlow<End>> {
        let now = self.exchange.now();
        let pool = self.exchange.numbers.iter().find(|number| number.answers_keywords).map(|number| &number.number);
        self.exchange.write(|books| {
            let message = books.message(&self.sid).filter(|message| message.status.is_waiting())?;
            let (sender, to) = (message.from.clone().or_else(|| pool.cloned())?, message.to.clone());
            let stopped = books.has_stopped(&sender, &to);
            let message = books.message_mut(&self.sid)?;
            message.from = Some(sender);
            message.status = Status::Queued;
            message.updated = now;
            Some(if stopped { ControlFlow::Break(End::Failed(21610)) } else { ControlFlow::Continue(()) })
        })
    }

    /// What the network makes of a message that was sent.
    fn fate(&self, message: &Message) -> End {
        if self.exchange.faults.strikes(FaultKind::Filtered) {
            return End::Undelivered(30007);
        }
        match self.exchange.phone_kind(&message.to) {
            Some(PhoneKind::Mobile) => End::Reached(Status::Delivered),
            Some(PhoneKind::Landline) => End::Undelivered(30006),
            Some(PhoneKind::Unreachable) => End::Undelivered(30003),
            None => End::Undelivered(30005),
        }
    }

    async fn advance(&mut self, end: End) {
        let now = self.exchange.now();
        self.exchange.write(|books| settle(books, &self.sid, end, now));
        self.callbacks.post(&self.exchange, &self.sid).await;
    }
}

/// A stage that a message reaches.
#[derive(Debug, Clone, Copy)]
enum End {
    Reached(Status),
    Undelivered(u32),
    Failed(u32),
}

fn settle(books: &mut Ledger, sid: &str, end: End, now: Timestamp) {
    let Some(message) = books.message_mut(sid) else { return };
    message.updated = now;
    (message.status, message.error_code) = match end {
        End::Reached(status) => (status, None),
        End::Undelivered(code) => (Status::Undelivered, Some(code)),
        End::Failed(code) => (Status::Failed, Some(code)),
    };
    match message.status {
        Status::Sent => message.sent = Some(now),
        Status::Delivered => message.on_handset = Some(message.body.clone()),
        _ => {}
    }
    if message.discard_body && message.status.is_final() {
        message.body.clear();
    }
}

fn expiry(message: &Message) -> Timestamp {
    let queued = message.send_at.unwrap_or(message.created);
    queued.checked_add(message.validity).unwrap_or(Timestamp::MAX)
}

/// The status callbacks of one message.
struct Callbacks {
    /// Held back, to be posted last first.
    held: Option<Vec<Callback>>,
}

/// A callback as it was when its status was reached.
struct Callback {
    target: String,
    parameters: Vec<Parameter>,
    token: String,
}

impl Callbacks {
    fn new(exchange: &Exchange) -> Self {
        Self { held: exchange.faults.strikes(FaultKind::ReorderCallbacks).then(Vec::new) }
    }

    /// Reports the status that the message has now, where the client asked for it.
    async fn post(&mut self, exchange: &Exchange, sid: &str) {
        let parameters = |message: &Message| {
            let target = message.status_callback.clone()?;
            Some((target, callback_parameters(message, &exchange.account_sid, exchange.now())))
        };
        let Some((target, parameters)) = exchange.read(|books| books.message(sid).and_then(parameters)) else { return };
        let callback = Callback { target, parameters, token: exchange.instruments.new_id::<Callback>().to_string() };
        match &mut self.held {
            Some(held) => held.push(callback),
            None => callback.post(exchange, sid).await,
        }
    }

    async fn flush(&mut self, exchange: &Exchange, sid: &str) {
        for callback in self.held.take().into_iter().flatten().rev() {
            callback.post(exchange, sid).await;
        }
    }
}

impl Callback {
    async fn post(&self, exchange: &Exchange, sid: &str) {
        let faults = &exchange.faults;
        if faults.is_set(FaultKind::AllDown) || faults.strikes(FaultKind::DropCallbacks) {
            return;
        }
        let encoding = if faults.strikes(FaultKind::JsonCallbacks) { Encoding::Json } else { Encoding::Form };
        let times = if faults.strikes(FaultKind::DuplicateCallbacks) { 2 } else { 1 };
        for _ in 0..times {
            let call = Call { target: &self.target, parameters: &self.parameters, encoding, token: &self.token };
            let (code, status) = match webhook::post(exchange, &call).await {
                Ok(answer) if answer.status.is_success() => continue,
                Ok(answer) => (11200, Some(answer.status.as_u16())),
                Err(silence) => (silence.error_code(), None),
            };
            exchange.write(|books| books.complain(code, status, sid, exchange.now()));
        }
    }
}

fn callback_parameters(message: &Message, account: &str, now: Timestamp) -> Vec<Parameter> {
    let status = message.status.as_str();
    let mut fields = vec![
        ("MessageSid", message.sid.clone()),
        ("SmsSid", message.sid.clone()),
        ("MessageStatus", status.to_owned()),
        ("SmsStatus", status.to_owned()),
        ("AccountSid", account.to_owned()),
        ("To", message.to.as_e164().to_owned()),
        ("ApiVersion", API_VERSION.to_owned()),
    ];
    fields.extend(message.from.as_ref().map(|from| ("From", from.as_e164().to_owned())));
    fields.extend(message.service.clone().map(|service| ("MessagingServiceSid", service)));
    if let Some(code) = message.error_code {
        fields.push(("ErrorCode", code.to_string()));
        fields.push(("ErrorMessage", super::refusal::meaning(code).to_owned()));
    }
    // The network's own report carries its own time, to the minute.
    if matches!(message.status, Status::Delivered | Status::Undelivered) {
        fields.push(("RawDlrDoneDate", now.to_zoned(TimeZone::UTC).strftime("%y%m%d%H%M").to_string()));
    }
    fields.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())).collect()
}
