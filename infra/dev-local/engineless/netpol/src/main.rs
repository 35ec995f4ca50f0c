//! `bailiwick-dev-netpol`: enforces NetworkPolicy on a node of the development cluster. Ships nowhere; see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    bailiwick_dev_netpol::command::run(std::env::args_os())
}
