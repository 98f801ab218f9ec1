//! A carrier that takes every text 50 ms after it came.

use crate::{
    installation::CLINIC,
    peer::{self, Tally},
};
use anyhow::Result;
use axum::{Router, body::Bytes, http::StatusCode, http::header, response::IntoResponse, routing::post};
use std::time::Duration;

const LATENCY: Duration = Duration::from_millis(50);

/// What the limit sends: a form like the service's own.
pub(crate) const FORM: [(&str, &str); 5] = [
    ("To", "+12125550101"),
    ("From", CLINIC),
    (
        "Body",
        "Riverside Clinic: Reminder of your visit on Thu Nov 26 at 2:00 PM. Reply C to confirm or R to reschedule. Reply STOP to opt out.",
    ),
    (
        "StatusCallback",
        "http://127.0.0.1/carriers/twilio/riverside/status?attempt=0197b1f4-5a3c-7d5e-8f00-000000000001#rc=2&rp=all",
    ),
    ("ValidityPeriod", "36000"),
];

pub(crate) struct Carrier {
    /// For `api_base`.
    pub(crate) base: String,
    pub(crate) accepted: Tally,
}

impl Carrier {
    pub(crate) fn start() -> Result<Self> {
        let accepted = Tally::default();
        let tally = accepted.clone();
        let take = async move |_body: Bytes| {
            tokio::time::sleep(LATENCY).await;
            let number = tally.add();
            let message = format!(
                "{{\"sid\":\"SM{number:032x}\",\"status\":\"queued\",\"direction\":\"outbound-api\",\"from\":\"{CLINIC}\",\
                 \"num_segments\":\"1\",\"num_media\":\"0\",\"error_code\":null,\"date_created\":\"Mon, 23 Nov 2026 17:00:00 +0000\"}}"
            );
            (StatusCode::CREATED, [(header::CONTENT_TYPE, "application/json")], message).into_response()
        };
        let route = "/2010-04-01/Accounts/{account}/Messages.json";
        let address = peer::serve(|_| Router::new().route(route, post(take)))?;
        Ok(Self { base: format!("http://{address}/"), accepted })
    }

    /// Where texts are sent to.
    pub(crate) fn messages(&self) -> String {
        format!("{}2010-04-01/Accounts/AC0123456789abcdef0123456789abcdef/Messages.json", self.base)
    }
}
