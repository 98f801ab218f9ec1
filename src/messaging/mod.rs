//! The messaging room.

pub mod carrier_port;
