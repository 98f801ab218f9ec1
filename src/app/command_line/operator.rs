//! Who is at the command line.

use crate::audit::Actor;
use std::env;

/// The account that the operating system's environment names; behind `sudo` the one that called it.
pub(super) fn operator() -> Actor {
    let account = ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(|name| env::var(name).ok());
    Actor::Operator(account.unwrap_or_else(|| "unknown".to_owned()))
}
