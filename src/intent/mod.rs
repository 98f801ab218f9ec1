//! The intent room.
