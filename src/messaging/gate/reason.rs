//! Why a text waits, or will not leave.

use serde::Serialize;

/// Why a text waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum HoldReason {
    /// Its own earliest instant has not come.
    NotYet,
    /// A text from this number has not been read yet.
    Unread,
    /// What became of an earlier text is not known yet.
    Unsettled,
    /// An earlier text goes first.
    Order,
    /// Another question is open.
    Question,
    /// Quiet hours.
    QuietHours,
    /// The frequency cap is used up.
    Cap,
    /// The database was put back from a backup, and what has happened since is not read back yet.
    Recovering,
}

/// Why a text was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DropReason {
    /// It would come too late.
    Expired,
    /// Another patient's question was open on the phone until it came too late.
    QuestionOpen,
    /// The patient has died.
    Deceased,
    /// The number is not the patient's any more, or its holder says so.
    NotTheirNumber,
    /// What it says does not hold any more.
    NoLongerTrue,
    /// The number said STOP.
    Stopped,
    /// Nobody consented to such texts.
    NoConsent,
    /// The number was never verified, and the tenant does not allow that.
    Unverified,
    /// The content guard found something.
    Guard,
    /// It cannot be opened or rendered: the templates or the stored values have changed since it was queued.
    Unreadable,
    /// It had left before the database was put back from a backup: the carrier's list shows these very words.
    SentBefore,
    /// One like it had left before the database was put back from a backup, and nobody can tell whether it was this one.
    MaybeSentBefore,
}

macro_rules! reason_codes {
    ($type:ty { $($variant:ident = $code:literal),* $(,)? }) => {
        impl $type {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The stored word.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code),* }
            }

            /// The reason with this stored word.
            #[must_use]
            pub fn from_code(code: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.code() == code)
            }
        }
    };
}
reason_codes!(HoldReason {
    NotYet = "not-yet", Unread = "unread", Unsettled = "unsettled", Order = "order",
    Question = "question", QuietHours = "quiet-hours", Cap = "cap", Recovering = "recovering",
});
reason_codes!(DropReason {
    Expired = "expired", QuestionOpen = "question-open", Deceased = "deceased", NotTheirNumber = "not-their-number", NoLongerTrue = "no-longer-true", Stopped = "stopped", NoConsent = "no-consent",
    Unverified = "unverified", Guard = "guard", Unreadable = "unreadable",
    SentBefore = "sent-before", MaybeSentBefore = "maybe-sent-before",
});

impl DropReason {
    /// Whether a text from the number may change it: START lets texts through again, is consent, and verifies.
    pub(super) const fn may_be_lifted_by_a_reply(self) -> bool {
        matches!(self, Self::Stopped | Self::NoConsent | Self::Unverified)
    }
}
