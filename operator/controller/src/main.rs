//! The operator's command line.
#![forbid(unsafe_code)]

use std::io::{self, Write as _};
use std::process::ExitCode;

use bailiwick_model::piped::Piped;
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
    New(Box<commands::new::New>),
    /// Say what is wrong with the Regions of files, without a cluster.
    Check(commands::check::Check),
    /// Print what the operator would apply for the Regions of a file, without a cluster.
    Render(Box<commands::render::Render>),
    /// Try what a Region's boundary forbids and allows, as a canary pod; the question comes in BAILIWICK_CANARY.
    Probe(commands::probe::Probe),
    /// Verify a Region's evidence log, or export a day of it.
    Evidence(Box<commands::evidence::Evidence>),
    /// Print a page of docs/reference: region (the default) or channels.
    #[command(hide = true)]
    Reference(commands::reference::Reference),
    /// Run the operator.
    Run(Box<commands::run::Run>),
}

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        say("bailiwick-operator: another TLS provider is installed; build with one provider only");
        return ExitCode::FAILURE;
    }
    let (mut out, mut hints) = (
        Piped::new(io::stdout().lock()),
        Piped::new(io::stderr().lock()),
    );
    let result = match command {
        Command::Crd => commands::crd::run(&mut out, &mut hints),
        Command::New(new) => commands::new::run(*new, &mut out, &mut hints),
        Command::Check(check) => commands::check::run(check, &mut out, &mut hints),
        Command::Render(render) => commands::render::run(*render, &mut out, &mut hints),
        Command::Probe(probe) => commands::probe::run(&probe, &mut out),
        Command::Reference(reference) => commands::reference::run(&reference, &mut out, &mut hints),
        Command::Evidence(evidence) => {
            let result = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .map_err(CommandError::from)
                .and_then(|runtime| {
                    runtime.block_on(commands::evidence::run(*evidence, &mut out, &mut hints))
                });
            drop((out, hints));
            return verdict(result);
        }
        Command::Run(run) => {
            drop((out, hints));
            return finish(operate(*run));
        }
    };
    drop(hints);
    finish(result)
}

/// How many names are looked up at once, each in a thread of its own of which some 25 kB stay: without a bound, Regions
/// whose names nobody answers take 512 threads.
const LOOKUPS: usize = 64;

/// Runs the operator on two threads: it waits far more than it computes.
fn operate(run: commands::run::Run) -> Result<(), CommandError> {
    let json = !io::IsTerminal::is_terminal(&io::stdout());
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(LOOKUPS)
        .enable_all()
        .build()?
        .block_on(commands::run::run(run, json))
}

/// 0: nothing is wrong; 1: something is; 2: nobody knows.
fn verdict(result: Result<(), CommandError>) -> ExitCode {
    match result {
        Err(error) if !matches!(error, CommandError::Findings { .. }) => {
            report(&error);
            ExitCode::from(2)
        }
        result => finish(result),
    }
}

fn finish(result: Result<(), CommandError>) -> ExitCode {
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
    say(&format!("bailiwick-operator: {error}"));
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        say(&format!("  because: {source}"));
        cause = source.source();
    }
}

/// Says a line to whom it may concern. Where nobody listens, the exit code is all that is told.
fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}
