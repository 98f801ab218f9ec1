//! A browser of the tour's: follows redirects by hand and keeps our host's cookies.

use super::DemoError;
use reqwest::{Response, header, redirect::Policy};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};
use url::Url;

/// The most redirects of one launch.
const MOST_HOPS: usize = 8;

pub(super) struct Browser {
    http: reqwest::Client,
    base: Url,
    cookies: Mutex<BTreeMap<String, String>>,
}

fn failed<E>(_: E) -> DemoError {
    DemoError::Step("the service does not answer a browser".to_owned())
}

impl Browser {
    pub(super) fn of(service: SocketAddr) -> Result<Self, DemoError> {
        let http = reqwest::Client::builder().redirect(Policy::none()).build().map_err(failed)?;
        let base = format!("http://{service}/").parse().map_err(failed)?;
        Ok(Self { http, base, cookies: Mutex::default() })
    }

    /// Opens a launch and follows it to the inbox.
    pub(super) async fn launch(&self, launch: Url) -> Result<String, DemoError> {
        let mut url = launch;
        for _ in 0..MOST_HOPS {
            let answer = self.send(self.http.get(url.clone()), &url).await?;
            let Some(next) = answer.headers().get(header::LOCATION) else {
                let status = answer.status();
                let page = answer.text().await.map_err(failed)?;
                return if status.is_success() {
                    Ok(page)
                } else {
                    let told = between(&page, "<h1>", "</h1>").unwrap_or("no reason given");
                    Err(DemoError::Step(format!("the launch ends with HTTP status {status}: {told}")))
                };
            };
            url = url.join(next.to_str().map_err(failed)?).map_err(failed)?;
        }
        Err(DemoError::Step("the launch does not end".to_owned()))
    }

    /// Replies in the inbox whose page is `page`.
    pub(super) async fn reply(&self, page: &str, text: &str) -> Result<(), DemoError> {
        let status = self.post_reply(page, text).await?;
        if status.is_success() || status.is_redirection() {
            Ok(())
        } else {
            Err(DemoError::Step(format!("the reply was refused with HTTP status {status}")))
        }
    }

    /// Tries to reply where that is not allowed; nothing but a refusal or a page that says so may come of it.
    pub(super) async fn reply_refused(&self, page: &str, text: &str) -> Result<(), DemoError> {
        if page.contains("name=\"once\"") {
            self.post_reply(page, text).await?;
        }
        Ok(())
    }

    async fn post_reply(&self, page: &str, text: &str) -> Result<http::StatusCode, DemoError> {
        let url = self
            .base
            .join(&format!("{}/reply", between(page, "data-at=\"", "\"").unwrap_or_default()))
            .map_err(failed)?;
        let (token, once) = (field(page, "form_token"), field(page, "once"));
        let form = [("form_token", token.as_str()), ("once", once.as_str()), ("text", text)];
        let request = self.http.post(url.clone()).header("sec-fetch-site", "same-origin").form(&form);
        Ok(self.send(request, &url).await?.status())
    }

    async fn send(&self, request: reqwest::RequestBuilder, url: &Url) -> Result<Response, DemoError> {
        let ours = url.origin() == self.base.origin();
        let kept = || self.cookies.lock().unwrap_or_else(PoisonError::into_inner);
        let cookies: Vec<String> = kept().iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = if ours { request.header(header::COOKIE, cookies.join("; ")) } else { request };
        let answer = request.send().await.map_err(failed)?;
        for set in answer.headers().get_all(header::SET_COOKIE) {
            let pair = set.to_str().map_err(failed)?.split(';').next().and_then(|pair| pair.split_once('='));
            if let (true, Some((name, value))) = (ours, pair) {
                kept().insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(answer)
    }
}

/// The value of a hidden field.
fn field(page: &str, name: &str) -> String {
    between(page, &format!("name=\"{name}\" value=\""), "\"").unwrap_or_default().to_owned()
}

fn between<'a>(page: &'a str, before: &str, after: &str) -> Option<&'a str> {
    page.split_once(before)?.1.split(after).next()
}
