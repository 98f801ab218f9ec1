//! The patient room.
