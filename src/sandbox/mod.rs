//! The sandbox room.
pub mod carrier;
