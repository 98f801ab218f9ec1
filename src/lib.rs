//! Chartwire: two-way SMS inside the EHR.
//!
//! The rooms, from the ground up, and what each may use stand in `ARCHITECTURE.md`.

pub mod access;
pub mod app;
pub mod audit;
pub mod carrier;
pub mod chart;
pub mod config;
pub mod consent;
pub mod db;
pub mod ehr;
pub mod feed;
pub mod fhir;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod guard;
pub mod http;
pub mod intent;
pub mod jobs;
pub mod kernel;
pub mod messaging;
pub mod patient;
pub mod practice;
pub mod routing;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod smart;
pub mod template;
pub mod vault;
pub mod workflow;
