//! `make bench`: the figures that the operator is held to, measured with its release binary against a real API server
//! without nodes. The cache's binaries in, a table out; the exit code says whether every figure was reached.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr
)]

#[path = "../../tests/support/api_server.rs"]
mod api_server;
mod audit;
mod bare;
mod cluster;
mod figure;
mod operator;

use std::process::ExitCode;
use std::time::Duration;

use api_server::ApiServer;
use jiff::Timestamp;

use audit::{AuditLog, Request};
use cluster::Cluster;
use figure::{Figure, mebibytes, progress, seconds};
use operator::Operator;

/// How many Regions are created at once.
const REGIONS: usize = 100;
/// Secrets that are none of the operator's business, and the bytes in each.
const SECRETS: usize = 10_000;
const SECRET_BYTES: usize = 10_000;
/// The operator has done all it can when it has sent nothing for so long; a look follows a change within half a second.
const STILL: Duration = Duration::from_secs(5);
/// How long memory is watched; its highest value counts.
const MEMORY_WINDOW: Duration = Duration::from_secs(20);
/// How long looks without a change are counted. Ends before the Regions are five minutes old: then Secrets are read.
const QUIET_WINDOW: Duration = Duration::from_secs(30);
/// How many requests the two glances cost that fall into that window: one for each key, password and login.
const GLANCES_A_REGION: usize = 2 * 11;
/// How long the operator may take to have looked at every Region that became ready.
const CONNECTS_WITHIN: Duration = Duration::from_secs(15);

fn main() -> ExitCode {
    // `cargo test --benches` runs this too; only `cargo bench` says so.
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("figures: nothing measured, run `make bench`");
        return ExitCode::SUCCESS;
    }
    let figures = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(measure());
    println!("{}", figure::table(&figures));
    let missed = figures.iter().filter(|figure| !figure.met).count();
    println!("{} reached, {missed} missed", figures.len() - missed);
    if missed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// All figures, counts first.
async fn measure() -> Vec<Figure> {
    let [memory_idle, secrets_requests, secrets_memory] = without_regions().await;
    let [
        no_op,
        glances,
        writes,
        gets,
        lists,
        memory,
        memory_connected,
        time,
    ] = with_regions().await;
    vec![
        no_op,
        glances,
        writes,
        gets,
        lists,
        secrets_requests,
        memory_idle,
        memory,
        memory_connected,
        secrets_memory,
        time,
    ]
}

/// Memory of an operator that has no Region, and what 10,000 Secrets of others change: requests and memory.
async fn without_regions() -> [Figure; 3] {
    progress("an API server without Regions");
    let server = ApiServer::start_audited(&audit::policy()).await;
    let cluster = Cluster::prepare(&server, &[]).await;
    let mut log = AuditLog::open(&server);
    let operator = Operator::start(&server, &cluster.token).await;

    progress("memory of an idle operator");
    log.until_still(STILL).await;
    let idle = operator.memory_within(MEMORY_WINDOW).await;
    let memory_idle = Figure::new(
        "Resident memory without a Region",
        "at most 25 MiB",
        idle.to_string(),
        idle.resident <= mebibytes(25),
    );

    progress("10,000 Secrets that are none of the operator's business");
    let from = log.mark();
    cluster.create_secrets(SECRETS, SECRET_BYTES).await;
    let after = operator.memory_within(MEMORY_WINDOW).await;
    let extra = count(&log.since(from), |_| true);
    let grown = after.resident.saturating_sub(idle.resident);
    [
        memory_idle,
        Figure::new(
            "Requests because of 10,000 unrelated Secrets of 10 kB",
            "0",
            extra.to_string(),
            extra == 0,
        ),
        Figure::new(
            "Memory because of 10,000 unrelated Secrets of 10 kB",
            "at most +2 MiB",
            format!("+{:.1} MiB", figure::in_mebibytes(grown)),
            grown <= mebibytes(2),
        ),
    ]
}

/// Looks that change nothing; what one Region costs: writes, GETs and LISTs; memory with a hundred, and with clients
/// for each of them; the time that it takes to create them.
async fn with_regions() -> [Figure; 8] {
    let names = |prefix: char, count| -> Vec<String> {
        (0..count)
            .map(|number| format!("{prefix}{number:03}"))
            .collect()
    };
    let (single, hundred) = (names('a', 1), names('r', REGIONS));
    let bare = ['b', 'c'].map(|prefix| names(prefix, REGIONS));
    progress("an API server with the namespaces of 301 Regions");
    let server = ApiServer::start_audited(&audit::policy()).await;
    let all = [single.clone(), hundred.clone(), bare.concat()].concat();
    let cluster = Cluster::prepare(&server, &all).await;
    let mut log = AuditLog::open(&server);
    let operator = Operator::start(&server, &cluster.token).await;
    log.until_still(STILL).await;

    progress("one Region");
    let from = log.mark();
    cluster.create_regions(&single).await;
    log.until_still(STILL).await;
    let objects = cluster.objects_of(&single[0]).await;
    let [writes, gets, lists] = creation(&log.since(from), objects);
    drop(operator);

    // Once before the operator and once after it: the machine may be busier, and the API server warmer, at one of them.
    progress("a bare client that applies the objects of 100 Regions");
    let secrets = cluster.secrets_of(&single[0]).await;
    let work = |regions| bare::work(regions, &single[0], &secrets);
    let expected = REGIONS * objects;
    let before = bare_client(&cluster, &mut log, work(&bare[0]), expected).await;

    progress("100 Regions");
    let operator = Operator::start(&server, &cluster.token).await;
    log.until_still(STILL).await;
    let from = log.mark();
    let begin = Timestamp::now();
    cluster.create_regions(&hundred).await;
    log.until_still(STILL).await;
    let applied = audit::objects(&log.since(from));
    assert_eq!(applied.count, expected, "objects that the operator applied");
    let took = seconds(begin, applied.last);

    progress("looks that change nothing");
    let [no_op, glances] = no_op(&operator, &mut log).await;
    let [memory, memory_connected] = memory(operator, &cluster, &hundred).await;

    progress("the bare client again");
    let after = bare_client(&cluster, &mut log, work(&bare[1]), expected).await;
    let ratio = took / f64::midpoint(before, after);
    let time = Figure::new(
        "100 Regions created, until the last object is applied",
        "at most 1.5 times a bare client",
        format!("{ratio:.2} times: {took:.1} s; bare {before:.1} s and {after:.1} s"),
        ratio <= 1.5,
    );
    [
        no_op,
        glances,
        writes,
        gets,
        lists,
        memory,
        memory_connected,
        time,
    ]
}

/// The seconds that a bare client takes.
async fn bare_client(
    cluster: &Cluster<'_>,
    log: &mut AuditLog,
    work: Vec<Vec<bare::Write>>,
    objects: usize,
) -> f64 {
    let from = log.mark();
    let begin = Timestamp::now();
    bare::apply(cluster.operators_client(), work).await;
    let applied = audit::objects(&log.since(from));
    assert_eq!(
        applied.count, objects,
        "objects that the bare client applied"
    );
    seconds(begin, applied.last)
}

async fn no_op(operator: &Operator, log: &mut AuditLog) -> [Figure; 2] {
    let (from, looks) = (log.mark(), operator.looks().await);
    tokio::time::sleep(QUIET_WINDOW).await;
    let looks = operator.looks().await - looks;
    // A watch is opened again every few minutes, look or no look.
    let requests = log.since(from);
    let sent = count(&requests, |request| {
        request.verb != "watch" && !request.looks_at_a_secret()
    });
    let glances = count(&requests, Request::looks_at_a_secret);
    let most = REGIONS * GLANCES_A_REGION;
    [
        Figure::new(
            "Requests of looks that change nothing, those for the metadata of Secrets aside",
            "0",
            format!("{sent} in {looks} looks"),
            sent == 0 && looks > REGIONS,
        ),
        Figure::new(
            "Requests for the metadata of 100 Regions' Secrets in 30 s",
            "at most 22 a Region",
            glances.to_string(),
            glances <= most,
        ),
    ]
}

async fn memory(operator: Operator, cluster: &Cluster<'_>, regions: &[String]) -> [Figure; 2] {
    progress("memory with 100 Regions");
    let limit = mebibytes(60);
    let unready = operator.memory_within(MEMORY_WINDOW).await;
    let memory = Figure::new(
        "Resident memory with 100 Regions",
        "at most 60 MiB",
        unready.to_string(),
        unready.resident <= limit,
    );
    cluster.pretend_ready(regions).await;
    tokio::time::sleep(CONNECTS_WITHIN).await;
    let connected = operator.memory_within(MEMORY_WINDOW).await;
    let connected = Figure::new(
        "The same, with clients for each Region's Postgres, Patroni and store",
        "at most 60 MiB",
        connected.to_string(),
        connected.resident <= limit,
    );
    [memory, connected]
}

/// What the creation of one Region cost.
fn creation(requests: &[Request], objects: usize) -> [Figure; 3] {
    let reviews = count(requests, Request::is_review);
    let writes = count(requests, |request| {
        request.is_write() && !request.is_review()
    });
    let gets = count(requests, |request| request.verb == "get");
    let lists = count(requests, |request| request.verb == "list");
    [
        Figure::new(
            "Writes for one Region of K objects",
            "at most K + 6",
            format!("{writes} and {reviews} reviews of its rights, K = {objects}"),
            writes + reviews <= objects + 6,
        ),
        Figure::new("GETs for it", "at most 2", gets.to_string(), gets <= 2),
        Figure::new(
            "LISTs for it, the watches being open",
            "0",
            lists.to_string(),
            lists == 0,
        ),
    ]
}

/// How many requests are such, the Lease's renewals aside.
fn count(requests: &[Request], such: impl Fn(&Request) -> bool) -> usize {
    requests
        .iter()
        .filter(|request| !request.renews_the_lease() && such(request))
        .count()
}
