//! Staff: they launch from the EHR, read the thread, reply, and settle what nobody else can settle.

use crate::{
    clinic,
    deeds::{Deeds, count},
    load::Phase,
    needles::MARK,
    outside::Outside,
};
use anyhow::{Context as _, Result, bail};
use chartwire::{
    kernel::{SeededEntropy, entropy::below},
    sandbox::clinic::persona,
};
use reqwest::{Response, StatusCode, header, redirect::Policy};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::watch;
use url::Url;

/// The most redirects of one launch.
const MOST_HOPS: usize = 8;
/// How often a reply is sent off again whose answer did not come.
const MOST_TRIES: usize = 40;

/// A browser with one launch.
pub(crate) struct Browser {
    http: reqwest::Client,
    cookies: BTreeMap<String, String>,
    /// The page that the launch led to.
    pub(crate) page: String,
    /// Where the service is.
    base: Url,
}

impl Browser {
    /// Launches as `practitioner` from the chart of `patient`, and follows it to the thread.
    pub(crate) async fn launch(outside: &Outside, practitioner: &str, patient: &str) -> Result<Self> {
        let launch = outside.launch(practitioner, patient).await?;
        let http = reqwest::Client::builder().redirect(Policy::none()).timeout(Duration::from_secs(20)).build()?;
        let base = launch.join("/")?;
        let mut browser = Self { http, cookies: BTreeMap::new(), page: String::new(), base };
        let mut url = launch;
        for _ in 0..MOST_HOPS {
            let answer = browser.send(browser.http.get(url.clone()), &url).await?;
            let Some(next) = answer.headers().get(header::LOCATION) else {
                let status = answer.status();
                browser.page = answer.text().await?;
                return if status.is_success() { Ok(browser) } else { bail!("a launch ends with {status}") };
            };
            url = url.join(next.to_str()?)?;
        }
        bail!("a launch does not end")
    }

    /// Posts a form of the page; `path` is below the launch's own address.
    pub(crate) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Result<StatusCode> {
        let at = between(&self.page, "data-at=\"", "\"").context("the page has no address")?;
        let url = self.base.join(&format!("{at}/{path}"))?;
        let token = self.field("form_token").context("the page has no form token")?;
        let form: Vec<(&str, &str)> = fields.iter().copied().chain([("form_token", token.as_str())]).collect();
        let request = self.http.post(url.clone()).header("sec-fetch-site", "same-origin").form(&form);
        Ok(self.send(request, &url).await?.status())
    }

    /// The value of a hidden field.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        between(&self.page, &format!("name=\"{name}\" value=\""), "\"").map(str::to_owned)
    }

    async fn send(&mut self, request: reqwest::RequestBuilder, url: &Url) -> Result<Response> {
        let ours = url.origin() == self.base.origin();
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = if ours { request.header(header::COOKIE, cookies.join("; ")) } else { request };
        let answer = request.send().await?;
        for set in answer.headers().get_all(header::SET_COOKIE) {
            let pair = set.to_str()?.split(';').next().and_then(|pair| pair.split_once('='));
            if let (true, Some((name, value))) = (ours, pair) {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(answer)
    }
}

fn between<'a>(page: &'a str, before: &str, after: &str) -> Option<&'a str> {
    page.split_once(before)?.1.split(after).next()
}

/// Launches and replies until the load ends. A reply whose answer does not come is sent off again with the same form, as
/// a person does who sees an error.
pub(crate) async fn work(
    outside: Outside,
    practitioner: &'static str,
    deeds: Arc<Deeds>,
    chance: SeededEntropy,
    mut phase: watch::Receiver<Phase>,
) {
    let patients = clinic::participants();
    for number in 0_u32.. {
        let pause = Duration::from_millis(400 + below(&chance, 1_200));
        let _ = tokio::time::timeout(pause, phase.changed()).await;
        if *phase.borrow() != Phase::Busy {
            return;
        }
        let patient = patients[usize::try_from(below(&chance, patients.len() as u64)).unwrap()];
        let Ok(mut browser) = Browser::launch(&outside, practitioner, patient.id).await else {
            count(&deeds.interrupted);
            continue;
        };
        count(&deeds.launched);
        let Some(once) = browser.field("once") else { continue };
        let surname = if practitioner == persona::NURSE_REED { "Reed" } else { "Smith" };
        let words = format!("Please drink enough water today and rest. {surname}, {MARK} {number}");
        reply(&mut browser, &once, words, &deeds).await;
    }
}

async fn reply(browser: &mut Browser, once: &str, words: String, deeds: &Deeds) {
    for turn in 0..MOST_TRIES {
        match browser.post("reply", &[("once", once), ("text", &words)]).await {
            Ok(status) if status.is_success() || status.is_redirection() => return deeds.taken(words),
            // Refused with a reason, such as STOP. An earlier try may have been taken.
            Ok(status) if status.is_client_error() => {
                if turn > 0 {
                    deeds.unsure(words);
                }
                return;
            }
            Ok(_) | Err(_) => count(&deeds.interrupted),
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    deeds.unsure(words);
}
