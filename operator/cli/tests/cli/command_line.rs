//! The plugin as people run it: exit codes, what it says without a cluster, and what an API server answers. Starts the
//! program, with listeners on this machine's loopback alone.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use jiff::Timestamp;

use crate::fixture::{self, broken, good};

fn plugin(arguments: &[&str], kubeconfig: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_kubectl-bailiwick"))
        .args(arguments)
        .env_clear()
        .env("KUBECONFIG", kubeconfig)
        .output()
        .unwrap()
}

fn offline(arguments: &[&str]) -> (i32, String, String) {
    told(&plugin(arguments, "/nonexistent/kubeconfig"))
}

fn told(output: &Output) -> (i32, String, String) {
    (
        output.status.code().unwrap(),
        String::from_utf8(output.stdout.clone()).unwrap(),
        String::from_utf8(output.stderr.clone()).unwrap(),
    )
}

/// An API server that answers every request for a path that begins so with this, and anything else with 403. Ends with
/// the test. Returns a kubeconfig for it.
fn api_server(path: &'static str, code: u16, body: String) -> tempfile::Kubeconfig {
    changing_api_server(path, code, &Arc::new(Mutex::new(body)))
}

/// The same with an answer that the test changes.
fn changing_api_server(
    path: &'static str,
    code: u16,
    body: &Arc<Mutex<String>>,
) -> tempfile::Kubeconfig {
    let body = Arc::clone(body);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let request = lines.next().unwrap().unwrap();
            while lines.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            let asked = request.split(' ').nth(1).unwrap();
            let (code, body) = if asked.starts_with(path) {
                (code, body.lock().unwrap().clone())
            } else {
                (403, refusal(403, "Forbidden", "no"))
            };
            write!(
                stream,
                "HTTP/1.1 {code} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            )
            .unwrap();
        }
    });
    tempfile::Kubeconfig::of(&format!("http://{address}"))
}

fn refusal(code: u16, reason: &str, message: &str) -> String {
    serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code
    })
    .to_string()
}

mod tempfile {
    //! A kubeconfig that goes away with the test.
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering};

    static NEXT: AtomicU32 = AtomicU32::new(0);

    pub struct Kubeconfig(PathBuf);

    impl Kubeconfig {
        pub fn of(server: &str) -> Self {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
                .join(format!("kubeconfig-{}-{number}", std::process::id()));
            let text = format!(
                "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
                 clusters: [{{name: test, cluster: {{server: \"{server}\"}}}}]\n\
                 users: [{{name: test, user: {{}}}}]\n\
                 contexts: [{{name: test, context: {{cluster: test, user: test}}}}]\n"
            );
            std::fs::write(&file, text).unwrap();
            Self(file)
        }

        pub fn path(&self) -> &str {
            self.0.to_str().unwrap()
        }
    }

    impl Drop for Kubeconfig {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }
}

#[test]
fn new_prints_no_file_that_check_would_refuse() {
    let new = |servers: &str| {
        offline(&[
            "new",
            "tr",
            "--jurisdiction",
            "TR",
            "--location",
            "tr-ist-1",
            "--store-servers",
            servers,
        ])
    };
    let (code, file, hints) = new("2");
    assert_eq!((code, file.as_str()), (2, ""), "{hints}");
    assert!(
        hints.contains("\n--store-servers: expected one server with one volume"),
        "{hints}"
    );
    let (code, file, hints) = new("4");
    assert_eq!(code, 0, "{hints}");
    assert!(file.contains("kind: Region"), "{file}");
}

#[test]
fn without_a_cluster_it_could_not_be_checked() {
    for arguments in [
        &["status"][..],
        &["status", "tr"],
        &["residency", "audit"],
        &["residency", "audit", "tr", "-o", "json"],
        &["status", "--context", "elsewhere"],
    ] {
        let (code, out, err) = offline(arguments);
        assert_eq!((code, out.as_str()), (2, ""), "{arguments:?}");
        assert!(
            err.contains("expected a") && err.contains("Next: "),
            "{err}"
        );
    }
    // Nobody listens on port 1.
    let nobody = tempfile::Kubeconfig::of("http://127.0.0.1:1");
    let (code, _, err) = told(&plugin(&["residency", "audit", "tr"], nobody.path()));
    assert_eq!(code, 2);
    assert!(
        err.starts_with("kubectl bailiwick: Region tr cannot be read: "),
        "{err}"
    );
    assert!(
        err.contains("Next: see that `kubectl get regions` works"),
        "{err}"
    );
}

#[test]
fn what_the_api_server_refuses_is_told() {
    let path = "/apis/bailiwick.dev/v1alpha1/regions/tr";
    for (code, body, expected) in [
        (
            404,
            refusal(404, "NotFound", "regions.bailiwick.dev \"tr\" not found"),
            "Region tr is not in this cluster",
        ),
        (
            404,
            "404 page not found\n".to_owned(),
            "does not know the kind Region",
        ),
        (
            403,
            refusal(403, "Forbidden", "no"),
            "the API server says Forbidden",
        ),
        (
            200,
            "{\"kind\": \"Region\"}".to_owned(),
            "gave no answer that could be used",
        ),
    ] {
        let server = api_server(path, code, body);
        let (code, out, err) = told(&plugin(&["residency", "audit", "tr"], server.path()));
        assert_eq!((code, out.as_str()), (2, ""), "{err}");
        assert!(err.contains(expected) && err.contains("Next: "), "{err}");
    }
}

#[test]
fn the_exit_code_of_an_audit_is_its_result() {
    let path = "/apis/bailiwick.dev/v1alpha1/regions/tr";
    for (mut region, expected) in [(good(), 0), (broken(), 1), (fixture::stale(), 1)] {
        if expected == 0 || region == broken() {
            fixture::residency(&mut region).checked_at = Some(Timestamp::now());
        }
        let server = api_server(path, 200, serde_json::to_string(&region).unwrap());
        let (code, out, err) = told(&plugin(
            &["residency", "audit", "tr", "--output=yaml"],
            server.path(),
        ));
        assert_eq!(code, expected, "{err}");
        let document: serde_json::Value = serde_yaml::from_str(&out).unwrap();
        assert_eq!(document["closed"], expected == 0);
    }
}

#[test]
fn a_status_without_the_right_to_list_objects_is_shown() {
    let mut region = good();
    fixture::residency(&mut region).checked_at = Some(Timestamp::now());
    let body = serde_json::to_string(&region).unwrap();
    let server = api_server("/apis/bailiwick.dev/v1alpha1/regions/tr", 200, body);
    let (code, out, err) = told(&plugin(&["status", "tr"], server.path()));
    assert_eq!(code, 0, "{err}");
    assert!(
        out.contains("\n  not shown: pods in namespace tr: Forbidden\n"),
        "{out}"
    );
    assert!(
        !out.contains('\u{1b}'),
        "coloured, and not a terminal: {out}"
    );
    assert!(!out.contains("secrets"), "{out}");
}

#[test]
fn a_watch_shows_each_change_and_ends_with_the_last_result() {
    let written = |mut region| {
        fixture::residency(&mut region).checked_at = Some(Timestamp::now());
        serde_json::to_string(&region).unwrap()
    };
    let body = Arc::new(Mutex::new(written(good())));
    let path = "/apis/bailiwick.dev/v1alpha1/regions/tr";
    let server = changing_api_server(path, 200, &body);
    let mut watch = Command::new(env!("CARGO_BIN_EXE_kubectl-bailiwick"))
        .args(["residency", "audit", "tr", "--watch", "--output=yaml"])
        .env_clear()
        .env("KUBECONFIG", server.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "closed: true");

    *body.lock().unwrap() = written(broken());
    let mut next_page = lines
        .map(|line| line.unwrap())
        .skip_while(|line| line != "---")
        .skip(1);
    assert_eq!(next_page.next().unwrap(), "closed: false");
    // Every line of the page, so that it is not held up by a full pipe.
    let _ = next_page
        .by_ref()
        .find(|line| line.contains("observation 46"));

    let interrupted = Command::new("kill")
        .args(["-INT", &watch.id().to_string()])
        .status()
        .unwrap();
    assert!(interrupted.success());
    assert_eq!(watch.wait().unwrap().code(), Some(1));
}

#[test]
fn explain_needs_no_cluster() {
    let (code, out, _) = offline(&["residency", "explain", "8"]);
    assert_eq!(code, 0);
    assert!(out.starts_with(
        "Channel        8 (DNS)\nWay out        a query for a name outside carries data in the name\n"
    ), "{out}");
    let (_, all, _) = offline(&["residency", "explain"]);
    assert_eq!(all.lines().count(), 47);
    let (_, some, _) = offline(&["residency", "explain", "volume"]);
    assert_eq!(some.lines().count(), 1 + 3, "{some}");
    let (_, json, _) = offline(&["residency", "explain", "DNS", "-o", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["channels"][0]["id"], 8);
    let (code, _, err) = offline(&["residency", "explain", "99"]);
    assert_eq!(code, 2);
    assert!(
        err.contains("channel \"99\" is not known; expected 1 to 46"),
        "{err}"
    );
}

#[test]
fn new_prints_a_region() {
    let (code, out, err) = offline(&[
        "new",
        "tr",
        "--jurisdiction",
        "TR",
        "--location",
        "tr-ist-1",
        "--database",
        "clinical",
    ]);
    assert_eq!(code, 0, "{err}");
    assert!(
        out.contains("kind: Region\n") && out.contains("storageClass: tr-ist-1-local"),
        "{out}"
    );
    assert!(err.starts_with("Next: "));
}

#[test]
fn every_shell_is_completed() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, out, _) = offline(&["completion", shell]);
        assert_eq!(code, 0);
        assert!(
            out.contains("kubectl-bailiwick") && out.contains("audit"),
            "{shell}"
        );
    }
}

#[test]
fn kubectl_is_told_what_may_come_next() {
    let told = |words: &[&str]| {
        let (code, out, _) = offline(&[&["__complete"], words].concat());
        assert_eq!(code, 0);
        let words: Vec<String> = out
            .lines()
            .map(|line| line.split('\t').next().unwrap().to_owned())
            .collect();
        words.join(" ")
    };
    assert_eq!(told(&[""]), "status residency new completion help :4");
    assert_eq!(told(&["residency", ""]), "explain audit help :4");
    assert_eq!(told(&["res"]), "residency :4");
    assert_eq!(
        told(&["residency", "audit", "-o", ""]),
        "table wide json yaml :4"
    );
    assert_eq!(told(&["--context", "status", "residency", "a"]), "audit :4");
    assert_eq!(told(&["completion", "z"]), "zsh :4");
    assert_eq!(told(&["status", "--w"]), "--watch :4");
    assert!(told(&["status", "--"]).contains("--kubeconfig"));
    assert_eq!(told(&[]), ":4");
}

#[test]
fn a_wrong_argument_is_not_a_finding() {
    assert_eq!(offline(&["residency", "audit", "--output", "xml"]).0, 2);
    assert_eq!(offline(&["residency"]).0, 2);
}

/// A reader that leaves after its first line, as `head -n 1` does, of what is longer than a pipe holds.
#[test]
fn a_reader_that_leaves_is_no_error() {
    let path = "/apis/bailiwick.dev/v1alpha1/regions/tr";
    let mut region = broken();
    fixture::residency(&mut region).checked_at = Some(Timestamp::now());
    let body = Arc::new(Mutex::new(serde_json::to_string(&region).unwrap()));
    let server = changing_api_server(path, 200, &body);
    let audit = ["residency", "audit", "tr", "--output=yaml"];
    let watch = ["residency", "audit", "tr", "--output=yaml", "--watch"];
    // The verdict is the same, whoever reads it.
    for (arguments, code) in [
        (&["residency", "explain"][..], 0),
        (&["completion", "bash"], 0),
        (
            &["new", "tr", "--jurisdiction=TR", "--location=tr-ist-1"],
            0,
        ),
        (&audit, 1),
        (&watch, 1),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-bailiwick"))
            .args(arguments)
            .env_clear()
            .env("KUBECONFIG", server.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Gone before anything is written.
        drop(command.stdout.take());
        let ended = command.wait_with_output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(
            !said.contains("cannot be written") && !said.contains("panicked"),
            "{arguments:?}: {said}"
        );
    }
}
