//! The db room.
