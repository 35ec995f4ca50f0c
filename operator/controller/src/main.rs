//! The operator's command line.
#![forbid(unsafe_code)]

use std::io;
use std::process::ExitCode;

use bailiwick_operator::commands::{self, CommandError};
use clap::{Parser, Subcommand};

/// Keeps each Region's Postgres, object store and archive running, and its data where it belongs.
#[derive(Parser)]
#[command(name = "bailiwick-operator", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the CustomResourceDefinition of Region.
    Crd,
    /// Print the file of a new Region.
    New(commands::new::New),
}

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    let (mut out, mut hints) = (io::stdout().lock(), io::stderr().lock());
    let result = match command {
        Command::Crd => commands::crd::run(&mut out, &mut hints),
        Command::New(new) => commands::new::run(new, &mut out, &mut hints),
    };
    drop(hints);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

/// Prints an error and its causes.
fn report(error: &CommandError) {
    eprintln!("bailiwick-operator: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        eprintln!("  because: {source}");
        cause = source.source();
    }
}
