//! The main job without a browser: what a patient, a nurse and the EHR's staff would do, each over HTTP.
//!
//! Nothing here looks into the service: a step has happened when a phone shows the text or the EHR the resource.

use super::{DemoError, Peers, browser::Browser};
use crate::{
    app::Foundation,
    audit::{self, HeadExport},
    config::Settings,
    kernel::Instruments,
    sandbox::{LaunchContext, carrier::SimulatedText, clinic::persona},
};
use serde_json::Value;
use std::{io::Write, net::SocketAddr, time::Duration};

/// How long a step may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long nothing may happen after STOP for the tour to believe that nothing leaves.
const SILENCE: Duration = Duration::from_secs(4);
const ANA: &str = "+12125550101";
const JAMES: &str = "+12125550107";
const CLINIC: &str = crate::sandbox::clinic::PHONE;
const VISIT: &str = "appointment-ana-lopez";

type Out<'a> = &'a mut (dyn Write + Send);

/// Walks the main job.
pub(super) async fn walk(peers: &Peers, service: SocketAddr, out: Out<'_>) -> Result<(), DemoError> {
    let chart = Chart { peers, http: reqwest::Client::new() };
    chart.refuses_strangers(out).await?;
    reschedule(peers, &chart, out).await?;
    refill(peers, &chart, out).await?;
    nurse(peers, &chart, service, out).await?;
    stop(peers, service, out).await?;
    filed(&chart, out).await
}

async fn reschedule(peers: &Peers, chart: &Chart<'_>, out: Out<'_>) -> Result<(), DemoError> {
    heading(out, "A reminder, and an answer in the patient's own words")?;
    let reminder = next_text(peers, ANA, 0, "Reply C to confirm").await?;
    shown(out, "to Ana", &reminder)?;
    let before = chart.one(&format!("Appointment?_id={VISIT}")).await?;
    answered(peers, out, "Ana", ANA, "RESCHEDULE").await?;
    let offer = next_text(peers, ANA, 1, "1)").await?;
    shown(out, "to Ana", &offer)?;
    let answer = in_own_words(&offer).ok_or_else(|| DemoError::Step("the offer names no times".to_owned()))?;
    answered(peers, out, "Ana", ANA, &answer).await?;
    let moved = next_text(peers, ANA, 2, "Your visit is now").await?;
    shown(out, "to Ana", &moved)?;
    let after = chart.one(&format!("Appointment?_id={VISIT}")).await?;
    if at(&before, "/start") == at(&after, "/start") || at(&after, "/status") != "booked" {
        return Err(DemoError::Step("the EHR does not have the visit at its new time".to_owned()));
    }
    let (from, to, slot) = (at(&before, "/start"), at(&after, "/start"), at(&after, "/slot/0/reference"));
    writeln!(out, "  in the EHR   Appointment/{VISIT}: {from} -> {to}, {slot}, status {}", at(&after, "/status"))?;
    let left = at(&before, "/slot/0/reference");
    chart.has_slot(slot, "busy").await?;
    chart.has_slot(left, "free").await?;
    writeln!(out, "  in the EHR   {slot} is busy, {left} is free")?;
    Ok(())
}

async fn refill(peers: &Peers, chart: &Chart<'_>, out: Out<'_>) -> Result<(), DemoError> {
    heading(out, "A refill")?;
    let due = text_with(peers, JAMES, "due for refill").await?;
    shown(out, "to James", &due)?;
    answered(peers, out, "James", JAMES, "YES").await?;
    let sent = text_with(peers, JAMES, "refill request").await?;
    shown(out, "to James", &sent)?;
    let task = chart.one(&format!("Task?patient=Patient/{}", persona::JAMES_CARTER)).await?;
    writeln!(
        out,
        "  in the EHR   Task/{}: status {}, focus {}",
        id(&task),
        at(&task, "/status"),
        at(&task, "/focus/reference")
    )?;
    chart.set_status(&task, "completed").await?;
    writeln!(out, "  the prescriber completes the Task in the EHR")?;
    let approved = text_with(peers, JAMES, "was approved").await?;
    shown(out, "to James", &approved)
}

async fn nurse(peers: &Peers, chart: &Chart<'_>, service: SocketAddr, out: Out<'_>) -> Result<(), DemoError> {
    heading(out, "A clinical text, and a nurse who launches from the EHR")?;
    answered(peers, out, "Ana", ANA, "my knee is more swollen today").await?;
    let filed = format!("Communication?subject=Patient/{}&_count=100", persona::ANA_LOPEZ);
    chart.until(&filed, |found| found.iter().any(|text| words(text).contains("swollen"))).await?;
    let context = LaunchContext {
        practitioner: persona::NURSE_REED.to_owned(),
        patient: persona::ANA_LOPEZ.to_owned(),
        encounter: None,
        appointment: None,
    };
    let launch =
        peers.ehr.launch(context, None).ok_or_else(|| DemoError::Step("the EHR does not launch".to_owned()))?;
    let browser = Browser::of(service)?;
    let page = browser.launch(launch).await?;
    if !page.contains("my knee is more swollen today") {
        return Err(DemoError::Step("the nurse does not see the text".to_owned()));
    }
    writeln!(out, "  Carla Reed, nurse, launches from Ana's chart and sees the thread")?;
    let reply = "Please rest it and keep it raised. We can see you tomorrow at 9 AM.";
    browser.reply(&page, reply).await?;
    writeln!(out, "  she replies  {reply}")?;
    let arrived = text_with(peers, ANA, "keep it raised").await?;
    shown(out, "to Ana", &arrived)
}

async fn stop(peers: &Peers, service: SocketAddr, out: Out<'_>) -> Result<(), DemoError> {
    heading(out, "STOP")?;
    answered(peers, out, "Ana", ANA, "STOP").await?;
    let stopped = text_with(peers, ANA, "no more texts").await?;
    shown(out, "to Ana", &stopped)?;
    let accepted = peers.carrier.accepted_count(Some(ANA));
    let context = LaunchContext {
        practitioner: persona::NURSE_REED.to_owned(),
        patient: persona::ANA_LOPEZ.to_owned(),
        encounter: None,
        appointment: None,
    };
    let launch =
        peers.ehr.launch(context, None).ok_or_else(|| DemoError::Step("the EHR does not launch".to_owned()))?;
    let browser = Browser::of(service)?;
    let page = browser.launch(launch).await?;
    browser.reply_refused(&page, "One more thing").await?;
    tokio::time::sleep(SILENCE).await;
    if peers.carrier.accepted_count(Some(ANA)) != accepted {
        return Err(DemoError::Step("a text left after STOP".to_owned()));
    }
    writeln!(out, "  the nurse tries to write again: refused; the carrier got nothing more for Ana's number")?;
    Ok(())
}

async fn filed(chart: &Chart<'_>, out: Out<'_>) -> Result<(), DemoError> {
    heading(out, "Both sides of the conversation in the chart, read back from the EHR")?;
    let query = format!("Communication?subject=Patient/{}&_sort=sent&_count=100", persona::ANA_LOPEZ);
    let done = |found: &[Value]| found.len() >= 8 && found.iter().all(|text| at(text, "/status") == "completed");
    for text in chart.until(&query, done).await? {
        let from = at(&text, "/sender/reference").as_str().unwrap_or("Organization (the practice)");
        writeln!(out, "  Communication/{}  {}  {from}: {}", id(&text), at(&text, "/status"), words(&text))?;
    }
    Ok(())
}

/// Verifies the audit log, after the service has stopped.
pub(super) async fn verify_audit(
    settings: &Settings,
    instruments: &Instruments,
    out: Out<'_>,
) -> Result<(), DemoError> {
    heading(out, "The audit log")?;
    let foundation = Foundation::open(settings, instruments).await?;
    let failed = |_| DemoError::Step("the audit log cannot be read".to_owned());
    for tenant in foundation.tenants.values() {
        let head = HeadExport::new(&settings.audit.head_folder).latest(*tenant).map_err(failed)?;
        let now = instruments.now();
        let report =
            audit::verify(&foundation.db, &foundation.vault, *tenant, head.as_ref(), now).await.map_err(failed)?;
        if !report.is_clean() {
            return Err(DemoError::Step("the audit log is not whole".to_owned()));
        }
        writeln!(out, "  {} rows, chained and whole", report.rows)?;
    }
    foundation.db.close().await;
    writeln!(out, "\nAll of it happened.")?;
    Ok(())
}

/// "2) Thu Nov 26 10:00 AM" answered as people do: "thu 10".
fn in_own_words(offer: &str) -> Option<String> {
    let second = offer.split("2) ").nth(1)?;
    let mut words = second.split_whitespace();
    let (weekday, _month, _day, time) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let half = words.next()?.trim_end_matches(['.', ',']).to_lowercase();
    let time = time.strip_suffix(":00").unwrap_or(time);
    Some(format!("{} {time}{half}", weekday.to_lowercase()))
}

fn heading(out: Out<'_>, text: &str) -> Result<(), DemoError> {
    writeln!(out, "\n{text}")?;
    Ok(out.flush()?)
}

fn shown(out: Out<'_>, to: &str, text: &str) -> Result<(), DemoError> {
    writeln!(out, "  {to:<12} {text}")?;
    Ok(out.flush()?)
}

async fn answered(peers: &Peers, out: Out<'_>, who: &str, phone: &str, text: &str) -> Result<(), DemoError> {
    writeln!(out, "  {:<12} {text}", format!("{who}:"))?;
    out.flush()?;
    peers.carrier.text_from(phone, CLINIC, text).await?;
    Ok(())
}

/// The text that is the `index`th on the phone; it must hold `expected`.
async fn next_text(peers: &Peers, phone: &str, index: usize, expected: &str) -> Result<String, DemoError> {
    let arrived = async {
        peers.carrier.wait_for(|_| peers.carrier.sent_to(phone).len() > index).await;
        peers.carrier.sent_to(phone).into_iter().nth(index)
    };
    let text = tokio::time::timeout(PATIENCE, arrived).await.ok().flatten().map(|text: SimulatedText| text.body);
    match text {
        Some(text) if text.contains(expected) => Ok(text),
        Some(text) => Err(DemoError::Step(format!("expected a text with \"{expected}\", the phone shows: {text}"))),
        None => Err(DemoError::Step(format!("no text with \"{expected}\" arrived"))),
    }
}

/// A text on the phone that holds `expected`.
async fn text_with(peers: &Peers, phone: &str, expected: &str) -> Result<String, DemoError> {
    let found = || peers.carrier.sent_to(phone).into_iter().find(|text| text.body.contains(expected));
    let arrived = peers.carrier.wait_for(|_| found().is_some());
    let _ = tokio::time::timeout(PATIENCE, arrived).await;
    found().map(|text| text.body).ok_or_else(|| DemoError::Step(format!("no text with \"{expected}\" arrived")))
}

/// What stands at a JSON pointer; null where nothing does.
fn at<'a>(resource: &'a Value, pointer: &str) -> &'a Value {
    resource.pointer(pointer).unwrap_or(&Value::Null)
}

fn id(resource: &Value) -> &str {
    at(resource, "/id").as_str().unwrap_or_default()
}

fn words(communication: &Value) -> &str {
    at(communication, "/payload/0/contentString").as_str().unwrap_or_default()
}

/// The EHR as its own staff see it.
struct Chart<'a> {
    peers: &'a Peers,
    http: reqwest::Client,
}

impl Chart<'_> {
    fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.peers.ehr.fhir_base().as_str().trim_end_matches('/'))
    }

    async fn all(&self, query: &str) -> Result<Vec<Value>, DemoError> {
        let failed = |_| DemoError::Step("the EHR does not answer".to_owned());
        let request = self.http.get(self.url(query)).bearer_auth(self.peers.ehr.staff_token());
        let bundle: Value = request.send().await.map_err(failed)?.json().await.map_err(failed)?;
        let entries = at(&bundle, "/entry").as_array().cloned().unwrap_or_default();
        Ok(entries.into_iter().map(|entry| at(&entry, "/resource").clone()).collect())
    }

    /// Nothing is to be had without a token, whoever keeps the charts.
    async fn refuses_strangers(&self, out: Out<'_>) -> Result<(), DemoError> {
        let answer = self.http.get(self.url(&format!("Appointment/{VISIT}"))).send().await;
        let status = answer.map_err(|_| DemoError::Step("the EHR does not answer".to_owned()))?.status();
        if status != http::StatusCode::UNAUTHORIZED {
            return Err(DemoError::Step(format!("the EHR answers {status} to a request without an access token")));
        }
        writeln!(out, "\nThe EHR at {} refuses whoever comes without an access token: {status}", self.url(""))?;
        Ok(())
    }

    /// Sees that a slot, given by its reference, has this status.
    async fn has_slot(&self, slot: &Value, status: &str) -> Result<(), DemoError> {
        let id = slot.as_str().and_then(|slot| slot.strip_prefix("Slot/"));
        let id = id.ok_or_else(|| DemoError::Step("the visit names no slot".to_owned()))?;
        let stands = |found: &[Value]| found.iter().any(|slot| at(slot, "/status") == status);
        self.until(&format!("Slot?_id={id}"), stands).await.map(drop)
    }

    async fn one(&self, query: &str) -> Result<Value, DemoError> {
        Ok(self.until(query, |found| !found.is_empty()).await?.swap_remove(0))
    }

    async fn until(&self, query: &str, enough: impl Fn(&[Value]) -> bool) -> Result<Vec<Value>, DemoError> {
        let asking = async {
            loop {
                let found = self.all(query).await?;
                if enough(&found) {
                    return Ok(found);
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        let missing = || DemoError::Step(format!("the EHR does not have what was expected of {query}"));
        tokio::time::timeout(PATIENCE, asking).await.map_err(|_| missing())?
    }

    async fn set_status(&self, resource: &Value, status: &str) -> Result<(), DemoError> {
        let failed = |_| DemoError::Step("the EHR does not answer".to_owned());
        let path = format!("{}/{}", at(resource, "/resourceType").as_str().unwrap_or_default(), id(resource));
        let mut changed = resource.clone();
        if let Some(object) = changed.as_object_mut() {
            object.insert("status".to_owned(), status.into());
        }
        let request = self.http.put(self.url(&path)).bearer_auth(self.peers.ehr.staff_token()).json(&changed);
        let answer = request.send().await.map_err(failed)?;
        if answer.status().is_success() { Ok(()) } else { Err(DemoError::Step(format!("the EHR refuses {path}"))) }
    }
}
