//! How far a text has come, and the order of those steps.

use super::FailureClass;

/// How far a text has come, in the words that carriers share. Reports come late, twice and in any order;
/// [`DeliveryStatus::supersedes`] says which of two counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// Taken; no sender chosen yet.
    Accepted,
    /// Kept for later.
    Scheduled,
    /// Waiting for its turn.
    Queued,
    /// On its way to the network.
    Sending,
    /// The network has taken it.
    Sent,
    /// Some of its recipients or parts have it.
    PartiallyDelivered,
    /// The handset has it.
    Delivered,
    /// It was read.
    Read,
    /// The network could not deliver it.
    Undelivered,
    /// It never left the carrier.
    Failed,
    /// It was taken back before it left.
    Canceled,
    /// An inbound text that is being taken in.
    Receiving,
    /// An inbound text that is complete.
    Received,
    /// A word that was not documented when this was written. Kept as it came, cut to a short plain word.
    Unrecognised(String),
}

impl DeliveryStatus {
    /// Every documented status.
    pub const DOCUMENTED: [Self; 13] = [
        Self::Accepted,
        Self::Scheduled,
        Self::Queued,
        Self::Sending,
        Self::Sent,
        Self::PartiallyDelivered,
        Self::Delivered,
        Self::Read,
        Self::Undelivered,
        Self::Failed,
        Self::Canceled,
        Self::Receiving,
        Self::Received,
    ];

    /// The word under which it is stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Accepted => "accepted",
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Sent => "sent",
            Self::PartiallyDelivered => "partially_delivered",
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Undelivered => "undelivered",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Receiving => "receiving",
            Self::Received => "received",
            Self::Unrecognised(word) => word,
        }
    }

    /// The status that a stored or received word names; an undocumented one is kept as it is, cut to 32 plain
    /// characters.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        Self::DOCUMENTED.into_iter().find(|status| status.as_str() == word).unwrap_or_else(|| {
            let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
            Self::Unrecognised(word.chars().filter(plain).take(32).collect())
        })
    }

    /// How far along: a later step has a higher rank; the ends are the highest.
    const fn rank(&self) -> u8 {
        match self {
            Self::Unrecognised(_) => 0,
            Self::Accepted | Self::Receiving => 1,
            Self::Scheduled => 2,
            Self::Queued => 3,
            Self::Sending => 4,
            Self::Sent => 5,
            Self::PartiallyDelivered => 6,
            Self::Undelivered | Self::Failed | Self::Canceled | Self::Received => 7,
            // A network that gave a text up sometimes delivers it after all; the handset's word is the last.
            Self::Delivered => 8,
            Self::Read => 9,
        }
    }

    /// Whether this report counts over `old`. Never leads back: not from an end to a step, nor from delivered to
    /// undelivered; of the two unhappy ends the first that is heard of stays. An undocumented status counts over
    /// nothing.
    #[must_use]
    pub const fn supersedes(&self, old: &Self) -> bool {
        self.rank() > old.rank()
    }

    /// Whether nothing more is to be expected, short of a late delivery.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        self.rank() >= 7
    }

    /// Whether the text ended without reaching the handset.
    #[must_use]
    pub const fn is_failure(&self) -> bool {
        matches!(self, Self::Undelivered | Self::Failed | Self::Canceled)
    }
}

/// What a carrier says of a text that it has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusReport {
    /// What the carrier calls the text.
    pub carrier_id: String,
    /// How far it is.
    pub status: DeliveryStatus,
    /// The carrier's code for what went wrong.
    pub error_code: Option<String>,
    /// What that code means for us.
    pub class: Option<FailureClass>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_status() -> impl Strategy<Value = DeliveryStatus> {
        prop_oneof![
            prop::sample::select(DeliveryStatus::DOCUMENTED.to_vec()),
            "[a-z]{1,8}".prop_map(|word| DeliveryStatus::from_word(&word)),
        ]
    }

    fn settled(reports: &[DeliveryStatus]) -> DeliveryStatus {
        let mut status = DeliveryStatus::Accepted;
        for report in reports {
            if report.supersedes(&status) {
                status = report.clone();
            }
        }
        status
    }

    #[test]
    fn a_late_step_does_not_undo_an_end() {
        use DeliveryStatus::{Delivered, Failed, Queued, Sent, Undelivered};
        assert_eq!(settled(&[Delivered, Sent, Queued, Undelivered, Failed]), Delivered);
        assert_eq!(settled(&[Undelivered, Sent, Failed]), Undelivered);
        assert_eq!(settled(&[Undelivered, Delivered]), Delivered);
    }

    #[test]
    fn words_name_their_status_and_unknown_words_are_kept() {
        for status in DeliveryStatus::DOCUMENTED {
            assert_eq!(DeliveryStatus::from_word(status.as_str()), status);
        }
        let odd = DeliveryStatus::from_word("held <b>for</b> review");
        assert_eq!(odd, DeliveryStatus::Unrecognised("heldbforbreview".into()));
        assert!(!odd.supersedes(&DeliveryStatus::Accepted) && DeliveryStatus::Queued.supersedes(&odd));
    }

    proptest! {
        #[test]
        fn a_happy_end_stands_whatever_the_order(mut reports in prop::collection::vec(any_status(), 0..12), at in 0..12_usize) {
            reports.retain(|status| *status != DeliveryStatus::Read);
            reports.insert(at.min(reports.len()), DeliveryStatus::Delivered);
            prop_assert_eq!(settled(&reports), DeliveryStatus::Delivered);
        }

        #[test]
        fn no_two_statuses_supersede_each_other(a in any_status(), b in any_status()) {
            prop_assert!(!(a.supersedes(&b) && b.supersedes(&a)));
        }
    }
}
