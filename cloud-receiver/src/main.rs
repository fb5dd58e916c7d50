//! The receiver's program: parse, dispatch, exit code.

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    cloud_receiver::cmd::run(cloud_receiver::cmd::Cli::parse())
}
