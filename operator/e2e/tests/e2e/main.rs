//! The end-to-end suite: a kubeconfig of the development cluster in, one line a case and `N passed, N failed` out.
//! Steps are played in the order of the list, because several cases break things on purpose; the cases of one step at once.
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
use std::sync::Arc;
use std::time::Instant;

use futures::FutureExt;
use futures::future::BoxFuture;

use cases::{LONG, LONGEST, STEPS};
use cluster::Cluster;
use failure::{Failure, Outcome};

/// A case: what it measured comes out, in words.
pub type Case = for<'a> fn(&'a Cluster) -> BoxFuture<'a, Outcome<String>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        for (name, _) in STEPS.iter().copied().flatten().chain(LONG) {
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
        // A case that waits for a program must not keep those beside it waiting.
        .worker_threads(8)
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
    let steps = STEPS.iter().map(|step| {
        let chosen = step.iter().copied();
        chosen
            .filter(|(name, _)| filters.is_empty() || named(name))
            .collect::<Vec<_>>()
    });
    let chosen: Vec<Vec<_>> = steps
        .filter(|step| !step.is_empty())
        .chain(long.iter().map(|case| vec![**case]))
        .collect();
    if chosen.is_empty() {
        return Err(Failure::new(format!(
            "no case is called like {filters:?}: see --list"
        )));
    }
    let cluster = Arc::new(Cluster::connect().await?);
    client::prepare(&cluster).await?;
    let (mut passed, mut failed) = (0, 0);
    let started = Instant::now();
    for step in chosen {
        let ok = play(&cluster, &step).await;
        passed += ok;
        failed += step.len() - ok;
    }
    println!("{} s", started.elapsed().as_secs());
    println!("{passed} passed, {failed} failed");
    if !long.is_empty() {
        println!("next: {}", next(failed));
    }
    Ok(failed)
}

/// Plays a step from the state that every step begins in. Returns how many of its cases passed.
async fn play(cluster: &Arc<Cluster>, step: &[(&'static str, Case)]) -> usize {
    let began = Instant::now();
    if step.len() > 1 {
        let names: Vec<&str> = step.iter().map(|(name, _)| *name).collect();
        println!("       at once: {}", names.join(", "));
    }
    let restored = bounded(cases::restore(cluster).boxed()).await;
    let running: Vec<_> = step
        .iter()
        .map(|(name, case)| {
            let (cluster, name, case, restored) = (cluster.clone(), *name, *case, restored.clone());
            tokio::spawn(async move {
                let outcome = match restored {
                    Ok(()) => bounded(case(&cluster)).await,
                    Err(failure) => Err(failure),
                };
                told(&cluster, name, began, outcome).await
            })
        })
        .collect();
    let mut passed = 0;
    for case in running {
        passed += usize::from(case.await.unwrap_or_else(|error| {
            println!("FAILED a case could not be told of: {error}");
            false
        }));
    }
    passed
}

/// What comes of a case. A panic is a defect of the suite; neither it nor a case that does not end keeps others from running.
async fn bounded<T>(case: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    let attempted = std::panic::AssertUnwindSafe(case).catch_unwind();
    match tokio::time::timeout(LONGEST, attempted).await {
        Ok(attempted) => attempted.unwrap_or_else(|_| Err(Failure::new("the case panicked"))),
        Err(_) => Err(Failure::new(format!(
            "it took longer than {} s",
            LONGEST.as_secs()
        ))),
    }
}

/// Tells of a case, in one piece and with what is to be seen when it failed: cases beside it go on and change that. Returns
/// whether it passed.
async fn told(cluster: &Cluster, name: &str, began: Instant, outcome: Outcome<String>) -> bool {
    let seconds = began.elapsed().as_secs_f64();
    match outcome {
        Ok(measured) => {
            println!("ok     {name} {seconds:.1} s: {measured}");
            true
        }
        Err(failure) => {
            let seen = diagnostics::seen(cluster).await;
            print!("FAILED {name} {seconds:.1} s: {failure}\n{seen}");
            false
        }
    }
}

/// What whoever ran the long suite does then.
fn next(failed: usize) -> &'static str {
    if failed == 0 {
        "`make dev` puts the debug operator back where `make soak` left the release one"
    } else {
        "`make soak CASES=\"name\"` runs one case again, `make dev-logs` shows the operator's words"
    }
}
