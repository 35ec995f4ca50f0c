//! The end-to-end suite: a kubeconfig of the development cluster in, one line a case and `N passed, N failed` out.
//! Cases run in the order of the list, because several of them break things on purpose.
#![forbid(unsafe_code)]

mod cases;
mod client;
mod cluster;
mod diagnostics;
mod failure;
mod processes;
mod programs;
mod request;
mod wait;
mod writer;

use std::process::ExitCode;
use std::time::Instant;

use futures::FutureExt;
use futures::future::BoxFuture;

use cases::{CASES, LONG, LONGEST};
use cluster::Cluster;
use failure::{Failure, Outcome};

/// A case: what it measured comes out, in words.
pub type Case = for<'a> fn(&'a Cluster) -> BoxFuture<'a, Outcome<String>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        for (name, _) in CASES.iter().chain(LONG) {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    if let Some(unknown) = arguments.iter().find(|argument| argument.starts_with('-')) {
        eprintln!("{unknown}: the suite takes parts of names of cases, or --list");
        return ExitCode::from(2);
    }
    // An error means that a provider is there already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(run(&arguments)) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the cases whose names contain one of the filters; without a filter all but the long ones. Returns how many failed.
async fn run(filters: &[String]) -> Outcome<usize> {
    let named = |name: &str| filters.iter().any(|filter| name.contains(filter.as_str()));
    let long: Vec<_> = LONG.iter().filter(|(name, _)| named(name)).collect();
    let chosen: Vec<_> = CASES
        .iter()
        .filter(|(name, _)| filters.is_empty() || named(name))
        .chain(long.iter().copied())
        .collect();
    if chosen.is_empty() {
        return Err(Failure::new(format!(
            "no case is called like {filters:?}: see --list"
        )));
    }
    let cluster = Cluster::connect().await?;
    client::prepare(&cluster).await?;
    let (mut passed, mut failed) = (0, 0);
    let started = Instant::now();
    for (name, case) in chosen {
        let began = Instant::now();
        // A panic is a defect of the suite; it must not keep the others from running.
        let attempted = std::panic::AssertUnwindSafe(attempt(&cluster, *case)).catch_unwind();
        let outcome = match tokio::time::timeout(LONGEST, attempted).await {
            Ok(attempted) => attempted.unwrap_or_else(|_| Err(Failure::new("the case panicked"))),
            Err(_) => Err(Failure::new(format!(
                "it took longer than {} s",
                LONGEST.as_secs()
            ))),
        };
        let seconds = began.elapsed().as_secs_f64();
        match outcome {
            Ok(measured) => {
                passed += 1;
                println!("ok     {name} {seconds:.1} s: {measured}");
            }
            Err(failure) => {
                failed += 1;
                println!("FAILED {name} {seconds:.1} s: {failure}");
                diagnostics::print(&cluster).await;
            }
        }
    }
    println!("{} s", started.elapsed().as_secs());
    println!("{passed} passed, {failed} failed");
    if !long.is_empty() {
        println!("next: {}", next(failed));
    }
    Ok(failed)
}

/// What whoever ran the long suite does then.
fn next(failed: usize) -> &'static str {
    if failed == 0 {
        "`make dev` puts the debug operator back where `make soak` left the release one"
    } else {
        "`make soak CASES=\"name\"` runs one case again, `make dev-logs` shows the operator's words"
    }
}

/// Runs a case from the state that every case begins in.
async fn attempt(cluster: &Cluster, case: Case) -> Outcome<String> {
    cases::restore(cluster).await?;
    case(cluster).await
}
