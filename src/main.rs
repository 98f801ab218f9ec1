//! The `chartwire` program.

fn main() {}
