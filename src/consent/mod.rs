//! The consent room.
