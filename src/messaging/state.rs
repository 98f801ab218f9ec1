//! How far a text is. Stored in `message.state`.

use super::carrier_port::DeliveryStatus;

/// Inbound, committed.
pub const RECEIVED: &str = "received";
/// Inbound, read by the program.
pub const READ: &str = "read";
/// Outbound, waiting for the gate.
pub const QUEUED: &str = "queued";
/// An attempt is committed; the carrier has not answered.
pub const SENDING: &str = "sending";
/// The carrier has it.
pub const ACCEPTED: &str = "accepted";
/// The carrier passed it on.
pub const SENT: &str = "sent";
/// The phone has it.
pub const DELIVERED: &str = "delivered";
/// The carrier could not deliver it.
pub const UNDELIVERED: &str = "undelivered";
/// The carrier refused it, or failed.
pub const FAILED: &str = "failed";
/// The gate did not let it leave.
pub const DROPPED: &str = "dropped";
/// Nobody knows whether it left.
pub const UNKNOWN: &str = "unknown";

/// The message state that a carrier's status means.
pub(super) const fn of_status(status: &DeliveryStatus) -> &'static str {
    match status {
        DeliveryStatus::Sent | DeliveryStatus::PartiallyDelivered => SENT,
        DeliveryStatus::Delivered | DeliveryStatus::Read => DELIVERED,
        DeliveryStatus::Undelivered => UNDELIVERED,
        DeliveryStatus::Failed | DeliveryStatus::Canceled => FAILED,
        // On the way, or a word that we do not know yet: the carrier has it.
        _ => ACCEPTED,
    }
}

/// How far along a state is: a report never takes a text back.
pub(super) const fn rank(of: &str) -> u8 {
    match of.as_bytes() {
        b"delivered" => 4,
        b"undelivered" | b"failed" => 3,
        b"sent" => 2,
        b"accepted" => 1,
        _ => 0,
    }
}
