//! Reads one practice.

use super::{
    read_ehr,
    read_keys::{self, TakenKeys},
    read_service::{base_url, seconds},
    reader::Section,
    settings::{CarrierSettings, Policies, Registration, TenantSettings, TwilioApiKey, TwilioSettings},
    value::{self, Parsed, Wrong},
};
use crate::{
    access::IdleTimeout,
    kernel::PhoneNumber,
    practice::{Caps, ClinicNumber, KeywordAnswerer, OptOutNotice, QuietHours, ReminderRule},
};
use jiff::civil;
use std::{collections::BTreeSet, sync::Arc};
use toml::Value;
use url::Url;

/// Longest clinic name in texts: a reminder with it, a name and a date still fits one segment.
const TEXT_NAME_LONGEST: usize = 30;

/// What tenants before this one have: tenants do not meet, so no slug, number or key belongs to two of them.
#[derive(Default)]
pub(super) struct Taken {
    slugs: BTreeSet<String>,
    numbers: BTreeSet<PhoneNumber>,
    keys: TakenKeys,
}

pub(super) fn tenant(
    section: &Section<'_, '_>,
    registrations: &[Option<Arc<Registration>>],
    taken: &mut Taken,
) -> Option<TenantSettings> {
    let slug = section.required("slug", "write the practice's short name for URLs: \"elm-street\"", value::slug);
    if slug.as_ref().is_some_and(|slug| !taken.slugs.insert(slug.clone())) {
        section.report("slug", Wrong::new("another tenant has this slug", "give each a slug of its own"));
    }
    let name = section.required("name", "write the practice's name", value::name(100));
    let text_name = section.required(
        "text_name",
        "write the name that texts begin with; it must not tell the specialty",
        value::name(TEXT_NAME_LONGEST),
    );
    let zone = section.required("zone", "write the practice's time zone: \"America/New_York\"", value::zone);
    let languages = section.filled_list("languages", "write [\"en\", \"es\"]", value::language);
    let phone = section.required("phone", "write the number that patients call: \"+12125550100\"", value::phone);
    let policies = policies(&section.section("policies"));
    let texting_hours = texting_hours(&section.section("texting_hours"));
    let reminders = reminders(section);
    let caps = section.section_if_there("caps", caps);
    let poll_interval = section.or("poll_seconds", 120, value::integer(5..=3_600));
    let session_idle = section.or("session_idle_minutes", IdleTimeout::default(), idle_timeout);
    let frame_ancestors = frame_ancestors(section);
    let keys = read_keys::keys(section, &mut taken.keys);
    let ehr = read_ehr::ehr(&section.section("ehr"), registrations);
    let carrier = carrier(&section.section("carrier"));
    let numbers = numbers(section, taken);
    let (policies, texting_hours, reminders) = (policies?, texting_hours?, reminders?);
    check_hours(section, policies, texting_hours, &reminders);
    Some(TenantSettings {
        slug: slug?,
        name: name?,
        text_name: text_name?,
        zone: zone?,
        languages: languages?,
        phone: phone?,
        texting_hours,
        reminders,
        poll_interval: seconds(poll_interval?),
        session_idle: session_idle?,
        frame_ancestors: frame_ancestors?,
        key_encryption_keys: keys.here?,
        transit: keys.transit?,
        ehr: ehr?,
        carrier: carrier?,
        numbers: numbers?,
        caps: caps?,
        policies,
    })
}

fn frame_ancestors(section: &Section<'_, '_>) -> Option<Vec<String>> {
    const FIX: &str = "write the EHR's origin: [\"https://ehr.example.org\"]";
    section.filled_list("frame_ancestors", FIX, value::origin)
}

fn texting_hours(section: &Section<'_, '_>) -> Option<QuietHours> {
    let opens = section.or("opens", civil::time(9, 0, 0, 0), value::time);
    let closes = section.or("closes", civil::time(20, 0, 0, 0), value::time);
    let hours = QuietHours { opens: opens?, closes: closes? };
    if hours.opens > hours.closes {
        section.report("closes", Wrong::new("this is before `opens`", "write a later time of the same day"));
        return None;
    }
    Some(hours)
}

/// Limits may be left out, but not one of the two.
fn caps(section: &Section<'_, '_>) -> Option<Caps> {
    let limit = |key| section.required(key, "write how many, 1 to 50", value::integer(1..=50));
    let (per_day, per_week) = (limit("per_day"), limit("per_week"));
    Some(Caps { per_day: u32::try_from(per_day?).ok()?, per_week: u32::try_from(per_week?).ok()? })
}

fn reminders(section: &Section<'_, '_>) -> Option<Vec<ReminderRule>> {
    let rules: Vec<Option<ReminderRule>> = section
        .sections("reminders")
        .iter()
        .map(|rule| {
            let days_before =
                rule.required("days_before", "write how many days before the visit", value::integer(0..=30));
            let at = rule.required("at", "write when it leaves that day: \"10:00\"", value::time);
            Some(ReminderRule { days_before: u32::try_from(days_before?).ok()?, at: at? })
        })
        .collect();
    let mut rules: Vec<ReminderRule> = rules.into_iter().collect::<Option<_>>()?;
    if rules.is_empty() {
        section.report(
            "reminders",
            Wrong::new("no reminder would ever leave", "write [[tenants.reminders]] with days_before and at"),
        );
        return None;
    }
    rules.sort_by_key(|rule| (std::cmp::Reverse(rule.days_before), rule.at));
    if rules.windows(2).any(|pair| matches!(pair, [one, other] if one.days_before == other.days_before)) {
        section.report("reminders", Wrong::new("two reminders leave on one day", "keep one of them"));
        return None;
    }
    Some(rules)
}

/// The hours against the law's, and the reminders against the hours.
fn check_hours(section: &Section<'_, '_>, policies: Policies, hours: QuietHours, reminders: &[ReminderRule]) {
    let (earliest, latest) = (civil::time(8, 0, 0, 0), civil::time(21, 0, 0, 0));
    let round_the_clock = hours.opens == hours.closes;
    if !policies.texts_at_any_hour && (round_the_clock || hours.opens < earliest || hours.closes > latest) {
        section.report(
            "texting_hours",
            Wrong::new(
                "these hours reach outside 08:00 to 21:00 (47 CFR 64.1200(c)(1))",
                "narrow them, or set policies.texts_at_any_hour = true",
            ),
        );
    }
    if !round_the_clock && reminders.iter().any(|rule| rule.at < hours.opens || rule.at >= hours.closes) {
        section.report(
            "reminders",
            Wrong::new("a reminder would leave outside texting_hours", "choose a time within them for each"),
        );
    }
}

fn policies(section: &Section<'_, '_>) -> Option<Policies> {
    let strict = |key| section.or(key, false, value::boolean);
    let first_name_in_texts = strict("first_name_in_texts");
    let texts_before_verification = strict("texts_before_verification");
    let confirm_stop = strict("confirm_stop");
    let texts_at_any_hour = strict("texts_at_any_hour");
    let opt_out_wording = section.or(
        "opt_out_wording",
        OptOutNotice::EveryText,
        value::one_of(&[("every-text", OptOutNotice::EveryText), ("first-and-monthly", OptOutNotice::FirstAndMonthly)]),
    );
    Some(Policies {
        first_name_in_texts: first_name_in_texts?,
        texts_before_verification: texts_before_verification?,
        confirm_stop: confirm_stop?,
        texts_at_any_hour: texts_at_any_hour?,
        opt_out_wording: opt_out_wording?,
    })
}

fn idle_timeout(value: &Value) -> Parsed<IdleTimeout> {
    let minutes = value::integer(5..=10)(value)?;
    let timeout = u8::try_from(minutes).ok().and_then(IdleTimeout::from_minutes);
    timeout.ok_or_else(|| Wrong::new("sessions cannot end so", "write a whole number of minutes from 5 to 10"))
}

fn carrier(section: &Section<'_, '_>) -> Option<CarrierSettings> {
    let provider = section.required("provider", "write \"twilio\"", value::one_of(&[("twilio", ())]));
    let account_sid = section.required("account_sid", "copy it from Twilio's console: AC and 32 digits", sid("AC"));
    let auth_token = section.secret("auth_token", "the account's auth token");
    let secondary_auth_token = section.optional_secret("secondary_auth_token");
    let api_key = section.section_if_there("api_key", |key| {
        let sid = key.required("sid", "copy it from Twilio's console: SK and 32 digits", sid("SK"));
        let secret = key.secret("secret", "the key's secret");
        Some(TwilioApiKey { sid: sid?, secret: secret? })
    });
    let messaging_service_sid = section.optional("messaging_service_sid", sid("MG"));
    let api_base = section.optional("api_base", base_url);
    let list_lag = section.or("list_lag_seconds", 450, value::integer(25..=3600));
    provider?;
    Some(CarrierSettings::Twilio(TwilioSettings {
        account_sid: account_sid?,
        auth_token: auth_token?,
        secondary_auth_token: secondary_auth_token?,
        api_key: api_key?,
        messaging_service_sid: messaging_service_sid?,
        api_base: api_base?.or_else(|| Url::parse("https://api.twilio.com/").ok())?,
        list_lag: seconds(list_lag?),
    }))
}

/// A Twilio identifier: two letters for its kind, and 32 hexadecimal digits.
fn sid(kind: &'static str) -> impl Fn(&Value) -> Parsed<String> {
    move |value| {
        let text = value::text(value)?;
        let digits = text.strip_prefix(kind).filter(|digits| digits.len() == 32);
        if digits.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit())) {
            return Ok(text);
        }
        let fix = format!("write {kind} and 32 hexadecimal digits, as Twilio's console shows it");
        Err(Wrong::new("this is no identifier of this kind", fix))
    }
}

fn numbers(section: &Section<'_, '_>, taken: &mut Taken) -> Option<Vec<ClinicNumber>> {
    let numbers: Vec<Option<ClinicNumber>> = section
        .sections("numbers")
        .iter()
        .map(|entry| {
            let number = entry.required("number", "write the number that texts come from", value::phone);
            if number.as_ref().is_some_and(|number| !taken.numbers.insert(number.clone())) {
                entry.report("number", Wrong::new("this number stands twice", "a number belongs to one tenant, once"));
            }
            let keywords = entry.required(
                "answers_keywords",
                "write \"carrier\" (Twilio's default) or \"chartwire\"",
                value::one_of(&[("carrier", KeywordAnswerer::Carrier), ("chartwire", KeywordAnswerer::Chartwire)]),
            );
            Some(ClinicNumber { number: number?, keywords: keywords? })
        })
        .collect();
    if numbers.is_empty() {
        section.report(
            "numbers",
            Wrong::new("there is no number to text from", "write [[tenants.numbers]] with number and answers_keywords"),
        );
        return None;
    }
    numbers.into_iter().collect()
}
