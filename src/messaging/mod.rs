//! The messaging room.
