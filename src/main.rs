//! The `chartwire` program.

use chartwire::{
    app::command_line::{self, CommandLine, Streams},
    kernel::Instruments,
};
use clap::Parser as _;
use std::{
    io::{self, BufReader, BufWriter},
    process::ExitCode,
};

#[tokio::main]
async fn main() -> ExitCode {
    let command_line = CommandLine::parse();
    let (mut input, mut out, mut err) = (BufReader::new(io::stdin()), BufWriter::new(io::stdout()), io::stderr());
    let streams = Streams { input: &mut input, out: &mut out, err: &mut err };
    command_line::run(command_line, streams, &Instruments::system()).await.into()
}
