//! The gate's table and its decision: whether a text may leave, now.
//!
//! Pure. `attempt.rs` gathers the facts under the number's lock and acts on the decision; nothing else decides. The
//! table is a golden file (`snapshots/`), so that a change to it is seen by whoever reviews it.

mod reason;

pub use reason::{DropReason, HoldReason};

use super::{
    Message,
    carrier_port::{ClearedText, OutgoingText},
};
use crate::{consent::Standing, kernel::Id};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// What kind of text it is: which row of the table holds for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// Reminder, refill, notice: nobody asked for it just now.
    Automated,
    /// An answer to a text that the patient sent within the last half hour.
    Answer,
    /// Written by a member of staff.
    StaffReply,
    /// The one confirmation of STOP.
    StopConfirmation,
    /// The confirmation of START, a request to opt in, a verification code.
    OptInRequest,
    /// The answer to HELP.
    Help,
    /// The answer to an emergency (911, 988).
    Emergency,
    /// Tells an unknown number who we are.
    UnknownSender,
}

impl Class {
    /// Every class, in the order of the table.
    pub const ALL: [Self; 8] = [
        Self::Automated,
        Self::Answer,
        Self::StaffReply,
        Self::StopConfirmation,
        Self::OptInRequest,
        Self::Help,
        Self::Emergency,
        Self::UnknownSender,
    ];

    /// The stored word.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Automated => "automated",
            Self::Answer => "answer",
            Self::StaffReply => "staff-reply",
            Self::StopConfirmation => "stop-confirmation",
            Self::OptInRequest => "opt-in-request",
            Self::Help => "help",
            Self::Emergency => "emergency",
            Self::UnknownSender => "unknown-sender",
        }
    }

    /// The class with this stored word.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.code() == code)
    }
}

/// What a number that said STOP may still get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenStopped {
    /// Nothing.
    Refuse,
    /// One confirmation within five minutes (47 CFR 64.1200(a)(12)), the carrier's own counted.
    ConfirmOnce,
    /// It depends on the carrier, which answers HELP for stopped numbers too.
    Allow,
}

/// What consent the text needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsentNeeded {
    /// A grant for its category that is not overtaken by a denial.
    Category,
    /// Any grant: its wording says that replies are read and kept.
    ArchivingNotice,
    /// None.
    Nothing,
}

/// How quiet hours hold for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuietHours {
    /// It waits until it is day for the practice and for the patient, or is dropped when it would be stale then.
    Wait,
    /// It waits, unless the writer chose to send at once (audited).
    Asked,
    /// They do not hold.
    Waived,
}

/// Whether it may go to a number that was never verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unverified {
    /// Only where the tenant's switch allows it.
    BySwitch,
    /// Yes; the writer is warned.
    Warned,
    /// Yes.
    Allow,
}

/// Who must hold the number when the text leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// The patient, alive, on a number that nobody disputes.
    Patient,
    /// The number must be on file still: a person writes, to the family too.
    OnFile,
    /// Whoever has it.
    Anyone,
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// What happens for a stopped number.
    pub stopped: WhenStopped,
    /// What consent it needs.
    pub consent: ConsentNeeded,
    /// How quiet hours hold.
    pub quiet_hours: QuietHours,
    /// Whether frequency caps hold.
    pub caps: bool,
    /// Whether the content guard holds; fixed texts are held against it when the catalogue is tested.
    pub guard: bool,
    /// Unverified numbers.
    pub unverified: Unverified,
    /// Who must hold the number.
    pub holder: Holder,
}

impl Class {
    /// The class's row.
    #[must_use]
    pub const fn rule(self) -> Rule {
        const FIXED_TEXT: Rule = Rule {
            stopped: WhenStopped::Refuse,
            consent: ConsentNeeded::Nothing,
            quiet_hours: QuietHours::Waived,
            caps: false,
            guard: false,
            unverified: Unverified::Allow,
            holder: Holder::Anyone,
        };
        match self {
            Self::Automated => Rule {
                stopped: WhenStopped::Refuse,
                consent: ConsentNeeded::Category,
                quiet_hours: QuietHours::Wait,
                caps: true,
                guard: true,
                unverified: Unverified::BySwitch,
                holder: Holder::Patient,
            },
            Self::Answer => Rule {
                stopped: WhenStopped::Refuse,
                consent: ConsentNeeded::ArchivingNotice,
                quiet_hours: QuietHours::Waived,
                caps: false,
                guard: true,
                unverified: Unverified::Allow,
                holder: Holder::Patient,
            },
            Self::StaffReply => Rule {
                stopped: WhenStopped::Refuse,
                consent: ConsentNeeded::Category,
                quiet_hours: QuietHours::Asked,
                caps: false,
                guard: true,
                unverified: Unverified::Warned,
                holder: Holder::OnFile,
            },
            Self::StopConfirmation => Rule { stopped: WhenStopped::ConfirmOnce, ..FIXED_TEXT },
            Self::OptInRequest => Rule { quiet_hours: QuietHours::Wait, ..FIXED_TEXT },
            Self::Help => Rule { stopped: WhenStopped::Allow, ..FIXED_TEXT },
            Self::Emergency | Self::UnknownSender => FIXED_TEXT,
        }
    }
}

/// How a text compares with those to its number that were read back from the carrier after a restore, and that no other
/// text has turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Echo {
    /// This one of them has the same words.
    Same(Id<Message>),
    /// One of them may be it.
    Like,
}

/// What is known at the moment of the decision, under the number's lock.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools, reason = "independent facts, each read from its own place")]
pub struct Facts {
    /// The time now.
    pub now: Timestamp,
    /// When the text came in that this one answers, if it answers one.
    pub answers: Option<Timestamp>,
    /// Not before this instant.
    pub not_before: Option<Timestamp>,
    /// Stale from this instant on.
    pub expires_at: Option<Timestamp>,
    /// Inbound texts from this number that have not been read yet.
    pub unread: u32,
    /// An earlier attempt to this number is not settled.
    pub unsettled: bool,
    /// An earlier text of the same class to this number waits.
    pub older_waits: bool,
    /// The text asks something, and another question is open there that it must not overtake.
    pub question_taken: bool,
    /// What the text says still holds.
    pub still_true: bool,
    /// Consent and suppression.
    pub standing: Standing,
    /// Quiet hours hold now, for the practice or in a zone that the patient may be in, and in all until this instant.
    pub quiet_until: Option<Timestamp>,
    /// The writer chose to send in quiet hours.
    pub quiet_overridden: bool,
    /// When the frequency cap allows the next one, if it is used up.
    pub capped_until: Option<Timestamp>,
    /// The number is still one of the patient's; so it is where no patient is meant.
    pub number_on_file: bool,
    /// Its holder has said that it is not the patient's, and nobody has settled that.
    pub number_disputed: bool,
    /// The patient has died.
    pub deceased: bool,
    /// The number has been verified.
    pub verified: bool,
    /// The tenant allows texts to unverified numbers.
    pub unverified_allowed: bool,
    /// The content guard found something that must not leave.
    pub guard_blocks: bool,
    /// The database was put back from a backup, and what has happened since is not read back yet.
    pub recovering: bool,
    /// What it would repeat, after a restore.
    pub echo: Option<Echo>,
}

/// The decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It may leave now.
    Clear,
    /// Not now: look again at `until`, or when what it waits for has happened.
    Hold {
        /// Why.
        why: HoldReason,
        /// When to look again, where that is known.
        until: Option<Timestamp>,
    },
    /// It must not leave, now or later.
    Drop(DropReason),
}

/// How long a text may wait whose writer has not said when it goes stale: over a night, and not for days.
pub const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(24);

/// How long after STOP its confirmation may still leave (47 CFR 64.1200(a)(12)).
pub const CONFIRM_STOP_WITHIN: SignedDuration = SignedDuration::from_mins(5);

/// How long after a patient's text a text is still an answer to it.
pub const ANSWER_WITHIN: SignedDuration = SignedDuration::from_mins(30);

/// The row that holds for a text of `class` now: what was written as an answer, and has waited until the patient has
/// put the phone away, is one that nobody asked for just now.
#[must_use]
pub fn class_now(class: Class, answers: Option<Timestamp>, now: Timestamp) -> Class {
    let is_prompt = answers.is_some_and(|received| now.duration_since(received) < ANSWER_WITHIN);
    if class == Class::Answer && !is_prompt { Class::Automated } else { class }
}

/// Decides for a text of `class` by its row of the table.
#[must_use]
pub fn decide(class: Class, facts: &Facts) -> Decision {
    let class = class_now(class, facts.answers, facts.now);
    let rule = class.rule();
    if facts.recovering {
        return while_recovering(facts);
    }
    if let Some(why) = forbidden(class, rule, facts) {
        return Decision::Drop(why);
    }
    let Some((why, until)) = waits(class, rule, facts) else { return Decision::Clear };
    // Never late: what would still wait when it goes stale is dropped now, and the workflow is told.
    match (until, facts.expires_at) {
        (Some(until), Some(expires)) if until >= expires => Decision::Drop(DropReason::Expired),
        _ => Decision::Hold { why, until },
    }
}

/// What is known is behind what has happened: nothing leaves, whatever it is, and nothing is dropped for it but what is
/// stale by its own word.
fn while_recovering(facts: &Facts) -> Decision {
    if facts.expires_at.is_some_and(|expires| facts.now >= expires) {
        return Decision::Drop(DropReason::Expired);
    }
    Decision::Hold { why: HoldReason::Recovering, until: None }
}

/// Turns a text whose attempt has been committed on [`Decision::Clear`] into what a carrier takes. Called by the sender
/// right after that commit, and by nobody else.
pub(super) fn cleared(text: OutgoingText) -> ClearedText {
    ClearedText::cleared_by_gate(text)
}

/// Whether a text that has come in and is not read yet holds this one (law 3). An emergency answer goes out although a
/// second text has come in meanwhile.
fn awaits_reading(class: Class, facts: &Facts) -> bool {
    facts.unread > 0 && class != Class::Emergency
}

/// Why the text must not leave, now or later. What the unread text may change is not judged before it is read: START
/// that waits to be read must not find the reply to it dropped because of the STOP before.
fn forbidden(class: Class, rule: Rule, facts: &Facts) -> Option<DropReason> {
    let standing = &facts.standing;
    let stopped_for = standing.stopped_at.map(|since| facts.now.duration_since(since));
    let refused_by_stop = match rule.stopped {
        WhenStopped::Allow => false,
        WhenStopped::Refuse => standing.suppressed,
        WhenStopped::ConfirmOnce => {
            standing.confirmed || stopped_for.is_none_or(|elapsed| elapsed > CONFIRM_STOP_WITHIN)
        }
    };
    let consented = match rule.consent {
        ConsentNeeded::Nothing => true,
        ConsentNeeded::Category => standing.grant.is_some() && standing.denial.is_none(),
        ConsentNeeded::ArchivingNotice => standing.archiving_notice,
    };
    let is_late = facts.expires_at.is_some_and(|expires| facts.now >= expires);
    let (not_theirs, deceased) = match rule.holder {
        Holder::Patient => (!facts.number_on_file || facts.number_disputed, facts.deceased),
        Holder::OnFile => (!facts.number_on_file, false),
        Holder::Anyone => (false, false),
    };
    let unverified = rule.unverified == Unverified::BySwitch && !facts.verified && !facts.unverified_allowed;
    [
        (matches!(facts.echo, Some(Echo::Same(_))), DropReason::SentBefore),
        (matches!(facts.echo, Some(Echo::Like)), DropReason::MaybeSentBefore),
        (is_late && facts.question_taken, DropReason::QuestionOpen),
        (is_late, DropReason::Expired),
        (refused_by_stop, DropReason::Stopped),
        (deceased, DropReason::Deceased),
        (not_theirs, DropReason::NotTheirNumber),
        (!facts.still_true, DropReason::NoLongerTrue),
        (!consented, DropReason::NoConsent),
        (unverified, DropReason::Unverified),
        (rule.guard && facts.guard_blocks, DropReason::Guard),
    ]
    .into_iter()
    .filter_map(|(holds, reason)| holds.then_some(reason))
    .find(|reason| !(awaits_reading(class, facts) && reason.may_be_lifted_by_a_reply()))
}

fn waits(class: Class, rule: Rule, facts: &Facts) -> Option<(HoldReason, Option<Timestamp>)> {
    let quiet = match rule.quiet_hours {
        QuietHours::Waived => None,
        QuietHours::Wait => facts.quiet_until,
        QuietHours::Asked => facts.quiet_until.filter(|_| !facts.quiet_overridden),
    };
    if let Some(instant) = facts.not_before.filter(|instant| *instant > facts.now) {
        return Some((HoldReason::NotYet, Some(instant)));
    }
    if let Some(until) = quiet {
        return Some((HoldReason::QuietHours, Some(until)));
    }
    if let Some(until) = facts.capped_until.filter(|_| rule.caps) {
        return Some((HoldReason::Cap, Some(until)));
    }
    [
        (awaits_reading(class, facts), HoldReason::Unread),
        // Who may be dying does not wait for the carrier to say what became of a reminder.
        (facts.unsettled && class != Class::Emergency, HoldReason::Unsettled),
        (facts.older_waits, HoldReason::Order),
        (facts.question_taken, HoldReason::Question),
    ]
    .into_iter()
    .find_map(|(holds, reason)| holds.then_some((reason, None)))
}

#[cfg(test)]
mod tests;
