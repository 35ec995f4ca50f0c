//! The start fence's command line.
#![forbid(unsafe_code)]

mod connect;
mod names;
mod respond;
mod wait;

use std::error::Error;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

use bailiwick_fence::Report;
use bailiwick_fence::decision::line_of;
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use nix::sys::signal::{SigSet, Signal};

/// Does not let a pod start before its own address is fenced; and is what it must not reach meanwhile.
#[derive(Parser)]
#[command(name = "bailiwick-fence", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// End when this pod is fenced; exit status 0 lets it start, 1 does not, 2 says that something is wrong here.
    Wait(wait::Wait),
    /// Answer whoever connects, until SIGTERM.
    Respond(respond::Respond),
}

/// What the fence cannot do its work with.
#[derive(Debug, thiserror::Error)]
enum FenceError {
    #[error("--targets {}: cannot be read; is the ConfigMap mounted there?", file.display())]
    Targets {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("--targets {}: {what}; look at the ConfigMap that is mounted there", file.display())]
    Content { file: PathBuf, what: String },
    #[error("the kernel does not tell this pod's addresses")]
    Addresses(#[source] io::Error),
    #[error("--listen {address}: cannot be listened on")]
    Listen {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    #[error("a thread could not be started; are the pod's limits too low?")]
    Threads(#[source] io::Error),
    #[error("signals cannot be waited for")]
    Signals(#[source] io::Error),
    #[error("--report {}: the report cannot be left there", file.display())]
    Report {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Something is wrong with what the fence was given.
const WRONG: u8 = 2;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().collect();
    let Arguments { command } = match Arguments::try_parse_from(&arguments) {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error, &arguments),
    };
    // As the first process of a container it would not be ended by a signal that nobody waits for.
    let mut ends = SigSet::empty();
    ends.add(Signal::SIGTERM);
    ends.add(Signal::SIGINT);
    if let Err(error) = ends.thread_block() {
        return wrong(&FenceError::Signals(error.into()));
    }
    match command {
        Command::Wait(wait) => fence(&wait, ends),
        Command::Respond(respond) => match respond::run(&respond, &ends) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => wrong(&error),
        },
    }
}

/// Waits and leaves the report, whatever the ending.
fn fence(wait: &wait::Wait, ends: SigSet) -> ExitCode {
    let (code, report) = match wait::run(wait, ends) {
        Ok((true, report)) => (ExitCode::SUCCESS, report),
        Ok((false, report)) => (ExitCode::FAILURE, report),
        Err(error) => (wrong(&error), wait::nothing_tried()),
    };
    match leave(&report, &wait.report) {
        Ok(()) => code,
        Err(error) => wrong(&error),
    }
}

/// Says what is wrong with the command line, and leaves a report where one is expected.
fn refuse(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    let _ = error.print();
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        return ExitCode::SUCCESS;
    }
    if arguments.get(1).is_some_and(|command| command == "wait")
        && let Err(error) = leave(&wait::nothing_tried(), &report_file(arguments))
    {
        return wrong(&error);
    }
    ExitCode::from(WRONG)
}

/// The file of `--report` on a command line that cannot be read as a whole.
fn report_file(arguments: &[OsString]) -> PathBuf {
    let at = |(place, argument): (usize, &OsString)| {
        let text = argument.to_str()?;
        match text.strip_prefix("--report")? {
            "" => arguments.get(place + 1).map(PathBuf::from),
            rest => rest.strip_prefix('=').map(PathBuf::from),
        }
    };
    let found = arguments.iter().enumerate().find_map(at);
    found.unwrap_or_else(|| PathBuf::from(wait::TERMINATION_LOG))
}

fn leave(report: &Report, file: &Path) -> Result<(), FenceError> {
    let failed = |source: io::Error| FenceError::Report {
        file: file.to_owned(),
        source,
    };
    let line = line_of(report).map_err(|error| failed(error.into()))?;
    println!("{line}");
    fs::write(file, line).map_err(failed)
}

fn wrong(error: &FenceError) -> ExitCode {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        message = format!("{message}: {error}");
        source = error.source();
    }
    eprintln!("bailiwick-fence: {message}");
    ExitCode::from(WRONG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_of_a_command_line_that_is_wrong_has_a_place() {
        let file = |words: &[&str]| {
            let words: Vec<OsString> = words.iter().map(OsString::from).collect();
            report_file(&words)
        };
        assert_eq!(
            file(&["fence", "wait"]),
            PathBuf::from("/dev/termination-log")
        );
        let wrong = ["fence", "wait", "--open", "?", "--report", "/tmp/a"];
        assert_eq!(file(&wrong), PathBuf::from("/tmp/a"));
        assert_eq!(file(&["fence", "wait", "--report=/b"]), PathBuf::from("/b"));
    }

    #[test]
    fn version_is_the_images() {
        let image = include_str!("../../../platform/images/fence/VERSION").trim();
        assert_eq!(env!("CARGO_PKG_VERSION"), image);
        let responder = include_str!("../../../platform/fence/deployment.yaml");
        let images: Vec<&str> = responder
            .lines()
            .filter_map(|line| line.trim().strip_prefix("image: "))
            .collect();
        assert_eq!(images, [format!("bailiwick.dev/fence:{image}")]);
    }
}
