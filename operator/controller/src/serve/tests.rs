//! What a client of the three paths meets, over real connections.

use std::convert::Infallible;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use bailiwick_model::plan::Platform;
use jiff::SignedDuration;
use kube::client::Body;

use super::*;
use crate::lease::Lease;
use crate::systems::RegionSystems;
use crate::telemetry;

/// How many files that is; the test binary itself opens about ten.
const FILES: usize = 24;
/// What that process says before its address.
const LISTENING: &str = "listening on ";
/// Long enough that a loaded machine does not fail a test, and never waited for by one that passes.
const PATIENCE: Duration = Duration::from_secs(30);

/// An operator that has observed nothing yet, beside an API server that refuses everything.
fn context() -> Arc<Context> {
    let refuses = tower::service_fn(|_: http::Request<Body>| async {
        let answer = http::Response::builder().status(403).body(Body::empty());
        Ok::<_, Infallible>(answer.unwrap())
    });
    Arc::new(Context::new(
        kube::Client::new(refuses, "default"),
        Platform::default(),
        Arc::new(RegionSystems::default()),
        Lease::new(),
        SignedDuration::from_hours(1),
    ))
}

/// Serves on a free port, and says which.
async fn serving(router: Router, timeout: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(answer(listener, router, timeout));
    address
}

/// All that is answered until the server closes the connection.
fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn each_path_answers_with_text_and_closes_and_others_name_the_paths() {
    let address = serving(router(context()), PATIENCE).await;
    let waiting = "waiting for: first list of ";
    let table = [
        ("GET /livez", "200 OK", Some("ok\n")),
        ("GET /readyz", "503 Service Unavailable", Some(waiting)),
        ("GET /metrics", "200 OK", Some("# HELP bailiwick_")),
        (
            "GET /",
            "404 Not Found",
            Some("try /livez, /readyz or /metrics\n"),
        ),
        (
            "GET /livez/x",
            "404 Not Found",
            Some("try /livez, /readyz or /metrics\n"),
        ),
        ("HEAD /livez", "200 OK", None),
        ("POST /livez", "405 Method Not Allowed", None),
        ("DELETE /metrics", "405 Method Not Allowed", None),
    ];
    for (line, status, begins) in table {
        let request = format!("{line} HTTP/1.1\r\nHost: operator\r\n\r\n");
        let answer = ask(address, &request);
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status}")),
            "{line}: {head}"
        );
        assert!(head.contains("connection: close"), "{line}: {head}");
        match begins {
            None => assert_eq!(body, "", "{line}"),
            Some(begins) => {
                assert!(body.starts_with(begins), "{line}: {body}");
                for header in [
                    "content-type: text/plain; charset=utf-8".to_owned(),
                    format!("content-length: {}", body.len()),
                ] {
                    assert!(head.contains(&header), "{line}: no {header} in {head}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_send_nothing_or_half_a_request_hold_nobody_up_and_are_dropped() {
    let address = serving(router(context()), Duration::from_secs(1)).await;
    let mut silent: Vec<TcpStream> = (0..64)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    for half in silent.iter_mut().step_by(2) {
        half.write_all(b"GET /livez HTTP/1.1\r\nHost").unwrap();
    }
    assert!(ask(address, "GET /livez HTTP/1.1\r\nHost: operator\r\n\r\n").ends_with("ok\n"));
    for stream in &mut silent {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Ok(_) => assert_eq!(String::from_utf8_lossy(&answer), ""),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        }
    }
}

/// Ends with the test.
struct Process(Child);

impl Process {
    /// How long it has computed, in hundredths of a second (`utime` and `stime` of proc_pid_stat(5)).
    fn ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").expect("a name in brackets");
        let fields = fields.split(' ').skip(11).take(2);
        fields.map(|field| field.parse::<u64>().unwrap()).sum()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the next test starts, with few files: it serves until it is killed.
#[tokio::test]
#[ignore = "serves until it is killed: started by the next test"]
async fn serves_with_few_files() {
    telemetry::start("error", false);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{LISTENING}{}", listener.local_addr().unwrap());
    answer(listener, router(context()), PATIENCE).await.unwrap();
}

#[test]
fn a_process_that_may_open_no_more_files_neither_ends_nor_computes_and_answers_once_it_may() {
    let this = std::env::current_exe().unwrap();
    let mut child = Command::new("sh")
        .args(["-c", &format!("ulimit -n {FILES}; exec \"$0\" \"$@\"")])
        .arg(this)
        .args([
            "--exact",
            "--ignored",
            "--nocapture",
            "serve::tests::serves_with_few_files",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().expect("a pipe"));
    let child = Process(child);
    let (says, said) = mpsc::channel();
    std::thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            let _ = says.send(line);
        }
    });
    // The next line with a word in it.
    let next = |word: &str| loop {
        let line = said.recv_timeout(PATIENCE);
        let line = line.unwrap_or_else(|_| {
            let computed = child.ticks();
            panic!("it never said {word:?}, and computed for {computed} hundredths of a second")
        });
        if let Some((_, rest)) = line.split_once(word) {
            break rest.to_owned();
        }
    };
    let address: SocketAddr = next(LISTENING).trim().parse().unwrap();
    let before = child.ticks();
    let silent: Vec<TcpStream> = (0..2 * FILES)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    for _ in 0..4 {
        assert!(next("accept error").contains("os error 24"), "EMFILE");
    }
    // Three waits of a second lie between four errors: a loop without them would have computed through them.
    let computed = child.ticks() - before;
    assert!(computed < 100, "{computed} hundredths of a second");
    drop(silent);
    assert!(ask(address, "GET /livez HTTP/1.1\r\nHost: operator\r\n\r\n").ends_with("ok\n"));
    let errors = said.try_iter().filter(|line| line.contains("accept error"));
    assert!(errors.count() <= 10, "it tried again without waiting");
}
