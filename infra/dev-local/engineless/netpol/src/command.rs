//! The command line: arguments and a kubeconfig come in, a node's policies are kept in force until a signal. Called as a
//! CNI plugin it announces a pod to the process that does so.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::addresses::AddressRange;
use crate::arrivals::SOCKET;
use crate::cni;
use crate::enforce::{self, EnforceError, Settings};
use crate::kernel::Table;
use clap::Parser;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Enforces NetworkPolicy on one node of the development cluster. Ships nowhere.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The node whose pods are guarded; the process runs as root in that node's network namespace
    #[arg(long)]
    node: String,
    /// How to reach the API server; the user may list and watch pods, namespaces and networkpolicies and get nodes
    #[arg(long)]
    kubeconfig: PathBuf,
    /// Addresses that the node gives to pods, in CIDR notation [default: spec.podCIDRs of the Node]
    #[arg(long = "pod-range", value_parser = AddressRange::parse_cidr)]
    pod_ranges: Vec<AddressRange>,
    /// The nftables table that is written, in family inet
    #[arg(long, default_value = "bailiwick-dev-netpol", value_parser = table_name)]
    table: String,
    /// A file that tells, as JSON, which policies are in force
    #[arg(long)]
    ready_file: Option<PathBuf>,
    /// Where the network plugin announces new pods
    #[arg(long, default_value = SOCKET)]
    socket: PathBuf,
}

fn table_name(text: &str) -> Result<String, String> {
    let begins = text.starts_with(|c: char| c.is_ascii_lowercase());
    let holds = text
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if begins && holds && text.len() <= 60 {
        Ok(text.to_owned())
    } else {
        Err(
            "expected a letter, then letters, digits and hyphens, lower case, 60 at most"
                .to_owned(),
        )
    }
}

#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("kubeconfig {path}: {source}; name a file with one reachable cluster and user")]
    Kubeconfig {
        path: PathBuf,
        source: Box<KubeconfigError>,
    },
    #[error("client for kubeconfig {path}: {source}; check its certificates")]
    Client {
        path: PathBuf,
        source: Box<kube::Error>,
    },
    #[error("no runtime could be started: {0}; raise the limit of open files")]
    Runtime(io::Error),
    #[error("signals cannot be received: {0}; start it as an ordinary process")]
    Signals(io::Error),
    #[error(transparent)]
    Enforce(#[from] EnforceError),
}

/// Runs the program to its end: as the enforcer, or as a network plugin when `CNI_COMMAND` is set.
///
/// Takes the arguments, the program's name first, and gives the exit code. Writes the log to standard error.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    // A container runtime calls the same program as a plugin, without arguments.
    if let Ok(command) = env::var(cni::COMMAND) {
        return plugin(&command);
    }
    match serve(Arguments::parse_from(arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "stopped; the table stays as it is");
            ExitCode::FAILURE
        }
    }
}

fn plugin(command: &str) -> ExitCode {
    let arguments = env::var("CNI_ARGS").unwrap_or_default();
    let (result, code) = match cni::answer(command, &arguments, io::stdin()) {
        Ok(result) => (result, ExitCode::SUCCESS),
        Err(error) => (Some(error.json()), ExitCode::FAILURE),
    };
    // A runtime that does not listen learns nothing from a panic either.
    let written = result.map_or(Ok(()), |result| writeln!(io::stdout(), "{result}"));
    if written.is_ok() {
        code
    } else {
        ExitCode::FAILURE
    }
}

fn serve(arguments: Arguments) -> Result<(), StartError> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::Runtime)?;
    runtime.block_on(start(arguments))
}

async fn start(arguments: Arguments) -> Result<(), StartError> {
    // Fails only when a provider is installed already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let path = arguments.kubeconfig;
    let refused = |source| StartError::Kubeconfig {
        path: path.clone(),
        source: Box::new(source),
    };
    let kubeconfig = Kubeconfig::read_from(&path).map_err(refused)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(refused)?;
    let client = Client::try_from(config).map_err(|source| StartError::Client {
        path: path.clone(),
        source: Box::new(source),
    })?;
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signals)?;
    let settings = Settings {
        node: arguments.node,
        pod_ranges: arguments.pod_ranges,
        table: Table::new(arguments.table),
        ready_file: arguments.ready_file,
        socket: arguments.socket,
    };
    tokio::select! {
        ended = enforce::run(client, settings) => ended?,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("asked to stop; the table stays in force");
    Ok(())
}
