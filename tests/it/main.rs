//! The flows of the service, from outside: one binary, so that it links once and starts one PostgreSQL server.
//!
//! The modules are marked as tests for the lints' sake: in tests, and only there, a failure may panic.

#[cfg(test)]
mod abuse;
#[cfg(test)]
mod backups;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod consent;
#[cfg(test)]
mod consent_import;
#[cfg(test)]
mod contested;
#[cfg(test)]
mod conversation;
#[cfg(test)]
mod database;
#[cfg(test)]
mod databases;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod deployment;
#[cfg(test)]
mod endings;
#[cfg(test)]
mod feed;
#[cfg(test)]
mod garbled;
#[cfg(test)]
mod gauges;
#[cfg(test)]
mod inbound;
#[cfg(test)]
mod installation;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod kms;
#[cfg(test)]
mod late;
#[cfg(test)]
mod launch;
#[cfg(test)]
mod monitoring;
#[cfg(test)]
mod months;
#[cfg(test)]
mod opt_out;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod outbound;
#[cfg(test)]
mod plans;
#[cfg(test)]
mod postgres;
#[cfg(test)]
mod put_back;
#[cfg(test)]
mod quiet_hours;
#[cfg(test)]
mod races;
#[cfg(test)]
mod reading_back;
#[cfg(test)]
mod recipient;
#[cfg(test)]
mod recovery;
#[cfg(test)]
mod registrations;
#[cfg(test)]
mod rereading;
#[cfg(test)]
mod roles;
#[cfg(test)]
mod rooms;
#[cfg(test)]
mod schema;
#[cfg(test)]
mod security;
#[cfg(test)]
mod service;
#[cfg(test)]
mod serving;
#[cfg(test)]
mod settings_file;
#[cfg(test)]
mod shared_ehr;
#[cfg(test)]
mod sweep;
#[cfg(test)]
mod unknown;
#[cfg(test)]
mod visits;
#[cfg(test)]
mod worklist;

/// `fsync` guards against the machine's end, not the process's: no test pulls the plug. What commits wait for
/// (`synchronous_commit`) stays as it is in production.
#[cfg(test)]
const POSTGRES_FSYNC: &str = "off";
