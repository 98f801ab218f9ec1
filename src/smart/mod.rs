//! The smart room.
