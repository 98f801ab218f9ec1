//! The ehr room.
