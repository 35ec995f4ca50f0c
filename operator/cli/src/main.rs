//! The plugin's command line. Exit codes: 0 nothing is wrong, 1 something is, 2 it could not be checked.
#![forbid(unsafe_code)]

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use bailiwick_cli::cluster::{Cluster, Target};
use bailiwick_cli::commands::watch::{Between, Page, watch};
use bailiwick_cli::commands::{self, Format, Found, Style};
use bailiwick_cli::complete::candidates;
use bailiwick_cli::error::CliError;
use bailiwick_cli::text::{Palette, one_line};
use bailiwick_model::piped::Piped;
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use jiff::Timestamp;

/// What the status of Bailiwick's Regions says, for people and scripts.
#[derive(Parser)]
#[command(
    name = "kubectl-bailiwick",
    bin_name = "kubectl bailiwick",
    version,
    arg_required_else_help = true
)]
struct Arguments {
    /// How output is written.
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Say how Regions are: a line for each, or everything of one.
    Status(Look),
    /// Say how well Regions hold their data in place.
    Residency {
        #[command(subcommand)]
        command: Residency,
    },
    /// Print the file of a new Region.
    New(Box<commands::new::New>),
    /// Print the completions of a shell.
    Completion {
        /// The shell.
        shell: Shell,
    },
}

#[derive(Subcommand)]
enum Residency {
    /// Say what a leakage channel is and what closes it.
    Explain(commands::explain::Explain),
    /// List how well each channel is closed; exit code 0: all that are demanded, 1: not all, 2: it could not be checked.
    Audit(Look),
}

/// What is looked at.
#[derive(Args, Clone)]
struct Look {
    /// The Region; all, when left out.
    #[arg(value_name = "REGION")]
    region: Option<String>,
    /// Show it again whenever it changes, until Ctrl-C.
    #[arg(short, long)]
    watch: bool,
}

fn main() -> ExitCode {
    // Before anything is parsed: these words are not whole yet, and some begin with a hyphen.
    let result = match std::env::args().nth(1).as_deref() {
        Some("__complete") => complete(),
        _ => run(Arguments::parse()),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // Where nobody listens, the exit code is all that is told.
            let _ = write!(io::stderr(), "{}", described(&error));
            ExitCode::from(2)
        }
    }
}

/// Answers kubectl's question what may come next, as kubectl expects it: a candidate a line, then a directive.
fn complete() -> Result<u8, CliError> {
    let words: Vec<String> = std::env::args().skip(2).collect();
    let mut out = Piped::new(io::stdout());
    for candidate in candidates(&Arguments::command(), &words) {
        writeln!(out, "{candidate}")?;
    }
    // 4: no file names (cobra's ShellCompDirectiveNoFileComp).
    writeln!(out, ":4")?;
    Ok(0)
}

/// An error and its causes.
fn described(error: &CliError) -> String {
    let mut text = format!("kubectl bailiwick: {error}.\n");
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        // A server may have had a say in it.
        text.extend(["  because: ", &one_line(&source.to_string()), "\n"]);
        cause = source.source();
    }
    text
}

/// A failed look in the place of a page: programs that read on find a field `error`.
fn unread(error: &CliError, format: Format) -> Vec<u8> {
    let told = described(error);
    let mut text = Vec::new();
    let document = std::collections::BTreeMap::from([("error", told.trim_end())]);
    let is_document = matches!(format, Format::Json | Format::Yaml)
        && commands::document(&document, format, &mut text).is_ok();
    if is_document { text } else { told.into_bytes() }
}

fn run(arguments: Arguments) -> Result<u8, CliError> {
    let Arguments {
        output,
        target,
        command,
    } = arguments;
    let on_terminal = io::stdout().is_terminal();
    let style = Style {
        format: output,
        palette: palette(on_terminal),
    };
    let (mut out, mut hints) = (Piped::new(io::stdout()), Piped::new(io::stderr()));
    match command {
        Command::New(new) => commands::new::run(*new, &mut out, &mut hints)?,
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(
                shell,
                &mut Arguments::command(),
                "kubectl-bailiwick",
                &mut script,
            );
            out.write_all(&script)?;
        }
        Command::Residency {
            command: Residency::Explain(explain),
        } => commands::explain::run(&explain, style, &mut out, &mut hints)?,
        Command::Residency {
            command: Residency::Audit(look),
        } => return reach(&target, &look, on_terminal, Question::Audit, style),
        Command::Status(look) => {
            return reach(&target, &look, on_terminal, Question::Status, style);
        }
    }
    Ok(0)
}

/// Colour is for terminals whose owner has not declined it (<https://no-color.org>).
fn palette(on_terminal: bool) -> Palette {
    let declined = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    if on_terminal && !declined {
        Palette::Colour
    } else {
        Palette::Plain
    }
}

#[derive(Clone, Copy)]
enum Question {
    Status,
    Audit,
}

/// Asks the cluster once, or again and again.
fn reach(
    target: &Target,
    look: &Look,
    on_terminal: bool,
    question: Question,
    style: Style,
) -> Result<u8, CliError> {
    if rustls::crypto::ring::default_provider()
        .install_default()
        .is_err()
    {
        return Err(CliError::Output(io::Error::other(
            "another TLS provider is installed",
        )));
    }
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let cluster = Cluster::of(target).await?;
            let region = look.region.as_deref();
            if !look.watch {
                let (mut out, mut hints) = (Piped::new(io::stdout()), Piped::new(io::stderr()));
                return ask(&cluster, region, question, style, &mut out, &mut hints).await;
            }
            let between = Between::pages(style.format, on_terminal);
            watch(&cluster, between, &mut Piped::new(io::stdout()), || async {
                let (mut text, mut hints) = (Vec::new(), Vec::new());
                let asked = ask(&cluster, region, question, style, &mut text, &mut hints).await;
                let code = match asked {
                    Ok(code) => code,
                    Err(error) => {
                        text = unread(&error, style.format);
                        2
                    }
                };
                if matches!(style.format, Format::Table | Format::Wide) {
                    text.extend(hints);
                }
                Page { text, code }
            })
            .await
        })
}

/// Asks the cluster once; returns the exit code.
async fn ask(
    cluster: &Cluster,
    region: Option<&str>,
    question: Question,
    style: Style,
    out: &mut impl Write,
    hints: &mut impl Write,
) -> Result<u8, CliError> {
    let (regions, undecodable) = cluster.regions(region).await?;
    let now = Timestamp::now();
    let code = match (question, region, regions.as_slice()) {
        (Question::Audit, _, regions) => {
            let code = commands::audit::write(regions, now, style, out, hints).map(Found::code)?;
            if let Some(warning) = cluster.namespace_deletion().await {
                writeln!(hints, "Warning: {}", one_line(&warning))?;
            }
            code
        }
        (Question::Status, Some(name), [region]) => {
            let children = cluster.children(name, region.status.as_ref()).await;
            commands::status::write_one(region, children, now, style, out)?;
            0
        }
        (Question::Status, _, regions) => {
            commands::status::write_all(regions, now, style, out, hints)?;
            0
        }
    };
    // The others were shown; what is not known of these is never taken for good.
    for error in &undecodable {
        write!(hints, "{}", described(error))?;
    }
    Ok(if undecodable.is_empty() { code } else { 2 })
}
