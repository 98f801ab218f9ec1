//! Texts in both directions: ingest, the gate, attempts, delivery, the open question, and the one door to read them.
//!
//! Carriers implement the port (`carrier_port`); webhooks and the puller hand inbound texts to [`Inbox`]; workflows,
//! routing and staff queue outbound ones through [`Outbox`]; [`Sender`] takes them through the gate. Always: an inbound
//! text is sealed before it is written and acknowledged after it is committed; an outbound text is cleared by the gate
//! at the moment it leaves, under the lock of the number that inbound commits take too; an attempt is committed before
//! the carrier is called and never repeated blindly. Work goes up by jobs: [`TextReceived`], [`TextChanged`].

mod assign;
mod attempt;
pub mod carrier_port;
mod changed;
mod delivery;
mod echo;
mod error;
mod facts;
pub mod gate;
mod inbound;
mod journal;
mod line;
mod outbound;
mod person;
mod ports;
mod pull;
mod question;
mod read_back;
mod reports;
mod rows;
mod sender;
mod settle;
mod settlement;
pub mod state;
pub mod thread;

pub use assign::{assign, unassigned_about};
pub use attempt::in_flight_at;
pub use carrier_port::Attempt;
pub use changed::changed_job;
pub use delivery::{Delivery, Told};
pub use error::MessagingError;
pub use gate::Class;
pub use inbound::{Accepted, Inbox, mark_read};
pub use line::{NumberToken, lock_line, note_read};
pub use outbound::{Author, Content, NewQuestion, NewText, Outbox, PreparedText, Queue, queue};
pub use person::PersonSettles;
pub use ports::{Relevance, Upstream};
pub use pull::{Puller, ReceivedBack};
pub use question::{FindOpenQuestion, Offered, OpenQuestion, answer, asked, claim_answer, close_of_workflow};
pub use read_back::{ReadBack, SentBack};
pub use reports::LateReports;
pub use sender::{Sender, guard_terms};
pub use settle::{PERSON_DECIDES, Settler};

use crate::kernel::Id;
use serde::{Deserialize, Serialize};

/// Marks ids of texts, in either direction.
pub enum Message {}
/// Marks ids of conversations: one of our numbers, one of theirs, one patient.
pub enum Conversation {}
/// Marks ids of questions that a text asked.
pub enum Question {}
/// Marks ids of workflow instances; the room `workflow` gives them their meaning.
pub enum Workflow {}

/// An inbound text is committed and waits to be read.
pub const TEXT_RECEIVED: &str = "TextReceived";
/// An outbound text waits for the gate.
pub const SEND_TEXT: &str = "SendText";
/// What became of an attempt is not known.
pub const SETTLE_ATTEMPT: &str = "SettleAttempt";
/// A text is new or its state has changed: the chart follows.
pub const TEXT_CHANGED: &str = "TextChanged";
/// The carrier's own list is to be read.
pub const PULL_INBOUND: &str = "PullInbound";
/// Texts whose end nobody has told are to be asked about.
pub const ASK_FOR_REPORTS: &str = "AskForReports";

/// The payload of every job that is about one text.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct AboutText {
    /// The text.
    pub message: Id<Message>,
}

/// The payload of [`TEXT_RECEIVED`].
pub type TextReceived = AboutText;
/// The payload of [`TEXT_CHANGED`].
pub type TextChanged = AboutText;
