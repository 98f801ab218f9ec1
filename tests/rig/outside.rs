//! The sandbox's EHR and carrier as people around them see them: over HTTP, with the staff's rights.

use crate::processes::Places;
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What stands at a JSON pointer, as text; empty where nothing does.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The elements of an array at a JSON pointer.
pub(crate) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A client of both.
#[derive(Clone)]
pub(crate) struct Outside {
    pub(crate) http: reqwest::Client,
    ehr: String,
    fhir: String,
    carrier: String,
    token: String,
}

impl Outside {
    pub(crate) fn new(http: reqwest::Client, places: &Places) -> Self {
        let base = |url: &str| url.trim_end_matches('/').to_owned();
        Self {
            http,
            ehr: base(&places.ehr),
            fhir: base(&places.fhir),
            carrier: base(&places.carrier),
            token: places.staff_token.clone(),
        }
    }

    async fn get(&self, url: String) -> Result<Value> {
        let answer = self.http.get(url).bearer_auth(&self.token).send().await?;
        Ok(answer.error_for_status()?.json().await?)
    }

    /// Every resource that a search finds.
    pub(crate) async fn search(&self, query: &str) -> Result<Vec<Value>> {
        let mut found = Vec::new();
        let mut next = Some(format!("{}/{query}", self.fhir));
        while let Some(url) = next.take() {
            let page = self.get(url).await?;
            found.extend(list(&page, "/entry").iter().filter_map(|entry| entry.get("resource").cloned()));
            let link = list(&page, "/link").iter().find(|link| text(link, "/relation") == "next");
            next = link.map(|link| text(link, "/url").to_owned());
        }
        Ok(found)
    }

    /// Books a visit, as the front desk does.
    pub(crate) async fn create(&self, resource: &Value) -> Result<()> {
        let kind = text(resource, "/resourceType");
        let request = self.http.post(format!("{}/{kind}", self.fhir)).bearer_auth(&self.token);
        let answer = request.header("content-type", "application/fhir+json").body(resource.to_string()).send().await?;
        let status = answer.status();
        ensure!(status.is_success(), "the EHR refuses a {kind}: {status} {}", answer.text().await?);
        Ok(())
    }

    /// Changes what is in the EHR, as its staff do.
    pub(crate) async fn update(&self, resource: &Value) -> Result<()> {
        let (kind, id) = (text(resource, "/resourceType"), text(resource, "/id"));
        let request = self.http.put(format!("{}/{kind}/{id}", self.fhir)).bearer_auth(&self.token);
        let request = request.header("if-match", format!("W/\"{}\"", text(resource, "/meta/versionId")));
        let answer = request.header("content-type", "application/fhir+json").body(resource.to_string()).send().await?;
        let status = answer.status();
        ensure!(status.is_success(), "the EHR refuses a {kind}: {status} {}", answer.text().await?);
        Ok(())
    }

    /// The URL by which someone launches from a patient's chart.
    pub(crate) async fn launch(&self, practitioner: &str, patient: &str) -> Result<url::Url> {
        let order = json!({ "practitioner": practitioner, "patient": patient });
        let answer = self.http.post(format!("{}/sandbox/launches", self.ehr)).json(&order).send().await?;
        let launch: Value = answer.error_for_status()?.json().await?;
        text(&launch, "/launch_url").parse().context("a launch without a URL")
    }

    /// Writes a text on a phone. Returns when its webhook was answered or given up.
    pub(crate) async fn write(&self, phone: &str, to: &str, body: &str) -> Result<()> {
        let url = format!("{}/sandbox/phones/{phone}/text", self.carrier);
        let writing = json!({ "to": to, "body": body });
        self.http.post(url).json(&writing).send().await?.error_for_status()?;
        Ok(())
    }

    /// What stands on a phone, oldest first.
    pub(crate) async fn on_phone(&self, phone: &str) -> Result<Vec<Value>> {
        let told = self.get(format!("{}/sandbox/phones/{phone}/messages", self.carrier)).await?;
        Ok(list(&told, "/messages").to_vec())
    }

    /// Every message on the carrier's books, oldest first.
    pub(crate) async fn messages(&self) -> Result<Vec<Value>> {
        let told = self.get(format!("{}/sandbox/messages", self.carrier)).await?;
        Ok(list(&told, "/messages").to_vec())
    }

    /// The SIDs of messages of which a webhook failed: those texts were not acknowledged.
    pub(crate) async fn complaints(&self) -> Result<Vec<String>> {
        let told = self.get(format!("{}/sandbox/alerts", self.carrier)).await?;
        Ok(list(&told, "/alerts").iter().map(|alert| text(alert, "/sid").to_owned()).collect())
    }

    /// How often webhooks failed, by the status of their answers; 0 where there was none.
    pub(crate) async fn failed_webhooks(&self) -> Result<BTreeMap<u64, u64>> {
        let told = self.get(format!("{}/sandbox/alerts", self.carrier)).await?;
        let mut failed = BTreeMap::new();
        for alert in list(&told, "/alerts") {
            let status = alert.get("status").and_then(Value::as_u64).unwrap_or_default();
            *failed.entry(status).or_default() += 1;
        }
        Ok(failed)
    }

    /// Waits until the carrier has nothing under way.
    pub(crate) async fn settled(&self) -> Result<()> {
        self.http.get(format!("{}/sandbox/settled", self.carrier)).send().await?.error_for_status()?;
        Ok(())
    }

    /// Makes the carrier answer every send so much later, so that kills meet texts on their way.
    pub(crate) async fn slow_sends(&self, millis: u64) -> Result<()> {
        let fault = json!({ "kind": "delay", "millis": millis, "requests": "sends" });
        self.http.post(format!("{}/sandbox/faults", self.carrier)).json(&fault).send().await?.error_for_status()?;
        Ok(())
    }

    /// Orders misbehaviour from the EHR.
    pub(crate) async fn misbehave(&self, order: &Value) -> Result<()> {
        self.http.post(format!("{}/sandbox/misbehave", self.ehr)).json(order).send().await?.error_for_status()?;
        Ok(())
    }

    /// Orders misbehaviour from the carrier.
    pub(crate) async fn carrier_fault(&self, fault: &Value) -> Result<()> {
        self.http.post(format!("{}/sandbox/faults", self.carrier)).json(fault).send().await?.error_for_status()?;
        Ok(())
    }

    /// Has EHR and carrier behave again.
    pub(crate) async fn behave(&self) -> Result<()> {
        for url in [format!("{}/sandbox/misbehave", self.ehr), format!("{}/sandbox/faults", self.carrier)] {
            self.http.delete(url).send().await?.error_for_status()?;
        }
        Ok(())
    }

    /// Ends every access token that the EHR has given out to clients.
    pub(crate) async fn revoke_tokens(&self) -> Result<()> {
        self.http.delete(format!("{}/sandbox/tokens", self.ehr)).send().await?.error_for_status()?;
        Ok(())
    }

    /// What is left of the faults that were ordered, as `times` each.
    pub(crate) async fn faults_left(&self) -> Result<u64> {
        let ehr = self.get(format!("{}/sandbox/misbehave", self.ehr)).await?;
        let carrier = self.get(format!("{}/sandbox/faults", self.carrier)).await?;
        let ordered = list(&ehr, "/rules").iter().chain(list(&carrier, "/faults"));
        Ok(ordered.filter_map(|fault| fault.get("times")?.as_u64()).sum())
    }

    /// Method and target of what the EHR and what the carrier were asked.
    pub(crate) async fn requests(&self) -> Result<(Vec<String>, Vec<String>)> {
        let asked = async |base: &str| -> Result<Vec<String>> {
            Ok(self.http.get(format!("{base}/sandbox/requests")).send().await?.error_for_status()?.json().await?)
        };
        Ok((asked(&self.ehr).await?, asked(&self.carrier).await?))
    }
}
