//! What the start fence does with network plugins as they are: rules made with nftables between a pod and the world,
//! at once, late, never, or with allowed flows late; that drop, and that reject. What is proved is what was reached
//! outside, beside the fence's own word. Needs root, `ip`, `nft` and `bash`, and fails without them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod lab;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use bailiwick_fence::{Family, Outcome, Report};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use lab::{FORBIDDEN, Lab, OUTSIDE, PEER, must};

const FENCE: &str = env!("CARGO_BIN_EXE_bailiwick-fence");
/// How many cases run at once.
const AT_ONCE: usize = 10;
/// When late rules come.
const LATE: u64 = 1500;

/// What a plugin does with what it does not let through.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Verdict {
    Drop,
    Reject,
}

const VERDICTS: [Verdict; 2] = [Verdict::Drop, Verdict::Reject];

impl Verdict {
    fn rule(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Reject => "reject with icmpx type port-unreachable",
        }
    }

    /// How the fence calls it when a flow meets it.
    fn cause(self) -> &'static str {
        match self {
            Self::Drop => "TimedOut",
            Self::Reject => "Refused",
        }
    }
}

/// A default deny of the pod with these flows allowed, and whatever more.
fn rules(allowed: &str, denied: &str) -> String {
    format!(
        "table inet fence {{ chain forward {{ type filter hook forward priority 0; policy accept;\n\
         ct state established,related accept\n{allowed}\n{denied}\n}}\n}}"
    )
}

/// As a plugin enforces the Region's policies.
fn enforced(verdict: Verdict) -> String {
    let allowed = format!("iifname pod tcp dport {PEER} accept\niifname pod udp dport 53 accept");
    rules(&allowed, &format!("iifname pod {}", verdict.rule()))
}

/// As it does before it knows what is allowed.
fn all_denied(verdict: Verdict) -> String {
    rules("", &format!("iifname pod {}", verdict.rule()))
}

/// What is there, or not.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Responder,
    Peer,
    Names,
    Six,
}

struct Case {
    name: String,
    /// The rules and when they come, in milliseconds from the start of the pod.
    plugin: Vec<(u64, String)>,
    there: Vec<Part>,
    targets: Vec<String>,
    /// The fence's options; none for a pod without a fence.
    fence: Option<Vec<String>>,
    holds: Box<dyn Fn(&Seen) + Send + Sync>,
}

/// What was seen of a case.
#[derive(Debug)]
struct Seen {
    code: Option<i32>,
    report: Option<Report>,
    /// Connections that reached who must never be reached.
    forbidden: usize,
    /// Connections of the main process that reached the peer.
    peer: usize,
}

impl Case {
    /// A pod with both families behind this plugin.
    fn new(name: &str, plugin: Vec<(u64, String)>) -> Self {
        Self {
            name: name.to_owned(),
            plugin,
            there: vec![Part::Responder, Part::Peer, Part::Six],
            targets: OUTSIDE.map(responder).into(),
            fence: Some(vec![format!("--open={}:{PEER}", OUTSIDE[0])]),
            holds: Box::new(|_| ()),
        }
    }

    fn with(mut self, options: &[&str]) -> Self {
        let fence = self.fence.get_or_insert_default();
        fence.extend(options.iter().map(|option| (*option).to_owned()));
        self
    }

    fn without(mut self, part: Part) -> Self {
        self.there.retain(|there| *there != part);
        self
    }

    fn has(&self, part: Part) -> bool {
        self.there.contains(&part)
    }

    /// With only these options.
    fn only(mut self, options: &[&str]) -> Self {
        self.fence = None;
        self.with(options)
    }

    fn holds(mut self, holds: impl Fn(&Seen) + Send + Sync + 'static) -> Self {
        self.holds = Box::new(holds);
        self
    }
}

fn responder(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]:7443")
    } else {
        format!("{host}:7443")
    }
}

impl Seen {
    fn report(&self) -> &Report {
        self.report.as_ref().unwrap()
    }

    fn family(&self, name: &str) -> &Family {
        let mut families = self.report().families.iter();
        families.find(|family| family.family == name).unwrap()
    }

    /// The pod started fenced, and its main process reached the peer in both families and nobody else.
    fn is_fenced(&self) {
        assert_eq!(
            (self.code, self.report().outcome),
            (Some(0), Outcome::Fenced)
        );
        assert_eq!(self.report().families.len(), 2);
        assert!(self.report().families.iter().all(|family| family.closed));
        assert_eq!(self.report().not_open, []);
        assert_eq!((self.forbidden, self.peer), (0, 2));
    }

    /// The pod did not start, so nobody was reached by it.
    fn did_not_start(&self, outcome: Outcome) {
        assert_eq!((self.code, self.report().outcome), (Some(1), outcome));
        assert_eq!((self.forbidden, self.peer), (0, 0));
    }
}

/// The four behaviours, each with both verdicts, and each without the fence where that makes a difference.
fn behaviours() -> Vec<Case> {
    let mut cases = Vec::new();
    for verdict in VERDICTS {
        let named = |name: &str| format!("{name}, {verdict:?}");
        let at_once = vec![(0, enforced(verdict))];
        cases.push(Case::new(&named("at once"), at_once).holds(|seen| {
            seen.is_fenced();
            for family in &seen.report().families {
                assert_eq!((family.reached, family.window_millis), (0, None));
                assert!(family.closed_millis >= Some(500), "{family:?}");
            }
        }));
        let late = vec![(LATE, enforced(verdict))];
        cases.push(Case::new(&named("late"), late.clone()).holds(|seen| {
            seen.is_fenced();
            for family in &seen.report().families {
                assert!(family.reached >= 2, "{family:?}");
                assert!(family.window_millis >= Some(LATE / 2), "{family:?}");
                assert!(family.closed_millis > family.window_millis, "{family:?}");
            }
        }));
        let mut red = Case::new(&named("late, without the fence"), late);
        red.fence = None;
        cases.push(red.holds(|seen| {
            assert_eq!((seen.code, seen.forbidden, seen.peer), (Some(0), 2, 2));
        }));
        // It enforces, but for this pod.
        let another = format!("iifname pod ip saddr 10.77.0.99 {}", verdict.rule());
        let never = vec![(0, rules("", &another))];
        cases.push(
            Case::new(&named("never"), never.clone())
                .with(&["--closed-for=3"])
                .holds(|seen| {
                    seen.did_not_start(Outcome::Open);
                    let family = seen.family("IPv4");
                    assert!(!family.closed && family.reached >= 3, "{family:?}");
                    assert!(family.window_millis >= Some(1500), "{family:?}");
                    assert_eq!(family.closed_millis, None);
                }),
        );
        cases.push(
            Case::new(&named("never, canary"), never)
                .with(&["--closed-for=2", "--not-closed=report"])
                .holds(|seen| {
                    assert_eq!((seen.code, seen.report().outcome), (Some(0), Outcome::Open));
                    // It finds the leak itself.
                    assert_eq!((seen.forbidden, seen.peer), (2, 2));
                }),
        );
        let allowed_late = vec![(0, all_denied(verdict)), (2500, enforced(verdict))];
        cases.push(
            Case::new(&named("allowed late"), allowed_late.clone()).holds(|seen| {
                seen.is_fenced();
                let held = seen.report().held_millis;
                assert!((2500..20_000).contains(&held), "{held}");
            }),
        );
        let mut red = Case::new(&named("allowed late, without the fence"), allowed_late);
        red.fence = None;
        cases.push(red.holds(|seen| {
            assert_eq!((seen.code, seen.forbidden, seen.peer), (Some(0), 0, 0));
        }));
        // Open, then nothing at all, then what is allowed: a flow that was open with everything else does not count.
        let both_late = vec![(LATE, all_denied(verdict)), (7000, enforced(verdict))];
        cases.push(Case::new(&named("both late"), both_late).holds(|seen| {
            seen.is_fenced();
            assert!(seen.report().held_millis >= 7000, "{seen:?}");
        }));
        let allowed_never = vec![(0, all_denied(verdict))];
        for (what, option, code) in [("pod", "start", 0), ("Job", "fail", 1)] {
            cases.push(
                Case::new(
                    &named(&format!("allowed never, {what}")),
                    allowed_never.clone(),
                )
                .with(&["--open-for=4", &format!("--not-open={option}")])
                .holds(move |seen| {
                    assert_eq!(seen.code, Some(code), "{seen:?}");
                    assert_eq!(seen.report().outcome, Outcome::FencedNotOpen);
                    assert_eq!((seen.forbidden, seen.peer), (0, 0));
                    let [flow] = &seen.report().not_open[..] else {
                        panic!("{seen:?}");
                    };
                    assert_eq!(flow.target, format!("{}:{PEER}", OUTSIDE[0]));
                    assert_eq!(flow.cause, verdict.cause());
                    let held = seen.report().held_millis;
                    assert!((4000..8000).contains(&held), "{held}");
                }),
            );
        }
    }
    cases
}

/// One family behind the other, and a responder that is away.
fn families() -> Vec<Case> {
    let mut cases = Vec::new();
    let enforced_4 = |verdict: Verdict| {
        let denied = format!("iifname pod meta nfproto ipv4 {}", verdict.rule());
        rules(&format!("iifname pod tcp dport {PEER} accept"), &denied)
    };
    for verdict in VERDICTS {
        let six_late = vec![(0, enforced_4(verdict)), (LATE, enforced(verdict))];
        cases.push(
            Case::new(&format!("IPv6 late, {verdict:?}"), six_late).holds(|seen| {
                seen.is_fenced();
                assert_eq!(seen.family("IPv4").window_millis, None);
                assert!(
                    seen.family("IPv6").window_millis >= Some(LATE / 2),
                    "{seen:?}"
                );
            }),
        );
        let six_never = vec![(0, enforced_4(verdict))];
        cases.push(
            Case::new(&format!("IPv6 never, {verdict:?}"), six_never)
                .with(&["--closed-for=4"])
                .holds(|seen| {
                    seen.did_not_start(Outcome::Open);
                    assert!(
                        seen.family("IPv4").closed && !seen.family("IPv6").closed,
                        "{seen:?}"
                    );
                }),
        );
        let mut dead = Case::new(
            &format!("dead responder, {verdict:?}"),
            vec![(0, enforced(verdict))],
        );
        dead = dead.without(Part::Responder);
        cases.push(dead.holds(Seen::is_fenced));
    }
    cases
}

/// Resets, and targets that are missing or wrong.
fn resets_and_targets() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut reset = Case::new("reset by the peer", Vec::new()).with(&["--closed-for=2"]);
    reset = reset.without(Part::Responder);
    cases.push(reset.holds(|seen| {
        seen.did_not_start(Outcome::Open);
        assert!(seen.family("IPv6").reached >= 2, "{seen:?}");
    }));
    // Indistinguishable from a peer that answers, so the pod does not start.
    let resets = vec![(
        0,
        rules("", "iifname pod tcp dport 7443 reject with tcp reset"),
    )];
    cases.push(
        Case::new("a plugin that resets", resets)
            .with(&["--closed-for=2"])
            .holds(|seen| seen.did_not_start(Outcome::Open)),
    );
    let drop = || vec![(0, enforced(Verdict::Drop))];
    let mut four = Case::new("a pod of IPv4 alone", drop());
    four = four.without(Part::Six);
    cases.push(four.holds(|seen| {
        assert_eq!(
            (seen.code, seen.report().outcome),
            (Some(0), Outcome::Fenced)
        );
        assert_eq!(seen.report().families.len(), 1);
        assert_eq!((seen.forbidden, seen.peer), (0, 1));
    }));
    let mut half = Case::new("no target of IPv6", drop());
    half.targets.truncate(1);
    cases.push(half.holds(|seen| {
        assert_eq!(
            (seen.code, seen.report().outcome),
            (Some(0), Outcome::Unverified)
        );
        assert!(
            seen.family("IPv4").closed && !seen.family("IPv6").closed,
            "{seen:?}"
        );
    }));
    let mut none = Case::new("no target", drop());
    none.targets.clear();
    cases.push(none.holds(|seen| seen.did_not_start(Outcome::Unverified)));
    let mut none = Case::new("no target, canary", drop()).with(&["--not-closed=report"]);
    none.targets.clear();
    cases.push(none.holds(|seen| {
        assert_eq!(
            (seen.code, seen.report().outcome),
            (Some(0), Outcome::Unverified)
        );
    }));
    let mut wrong = Case::new("a target that is none", drop());
    wrong.targets = vec!["responder.example:7443".to_owned()];
    cases.push(wrong.holds(|seen| {
        assert_eq!(
            (seen.code, seen.report().outcome),
            (Some(2), Outcome::Unverified)
        );
        assert_eq!((seen.forbidden, seen.peer), (0, 0));
    }));
    cases.push(
        Case::new("a flow that is none", drop())
            .with(&["--open=peer"])
            .holds(|seen| {
                assert_eq!(
                    (seen.code, seen.report().outcome),
                    (Some(2), Outcome::Unverified)
                );
            }),
    );
    cases
}

/// Flows by name.
fn names() -> Vec<Case> {
    let plugin = || vec![(0, enforced(Verdict::Drop))];
    let mut cases = Vec::new();
    let mut known = Case::new("a name", plugin()).only(&["--open=peer.test:5432"]);
    known.there.push(Part::Names);
    cases.push(known.holds(Seen::is_fenced));
    let mut absent = Case::new("a name that does not exist", plugin());
    absent.there.push(Part::Names);
    cases.push(absent.with(&["--open=gone.test:5432"]).holds(|seen| {
        seen.is_fenced();
        assert!(seen.report().held_millis < 15_000, "{seen:?}");
    }));
    let down = Case::new("a resolver that is down", plugin()).with(&["--open=gone.test:5432"]);
    cases.push(down.with(&["--open-for=5"]).holds(|seen| {
        assert_eq!(
            (seen.code, seen.report().outcome),
            (Some(0), Outcome::FencedNotOpen)
        );
        assert_eq!(seen.report().not_open.len(), 1);
        assert_eq!(seen.report().not_open[0].cause, "NotResolved");
        assert_eq!((seen.forbidden, seen.peer), (0, 2));
    }));
    let mut silent = Case::new("a peer that resets", plugin());
    silent = silent.without(Part::Peer);
    cases.push(silent.holds(|seen| {
        assert_eq!(
            (seen.code, seen.report().outcome),
            (Some(0), Outcome::Fenced)
        );
        assert_eq!((seen.forbidden, seen.peer), (0, 0));
    }));
    cases
}

fn run(number: usize, case: &Case) {
    let mut lab = Lab::new(number, case.has(Part::Six));
    let forbidden = lab.record(FORBIDDEN);
    let peer = case.has(Part::Peer).then(|| lab.record(PEER));
    if case.has(Part::Responder) {
        lab.respond();
    }
    lab.resolves_outside();
    if case.has(Part::Names) {
        lab.serve_names();
    }
    let folder = std::env::temp_dir().join(lab.at("files"));
    fs::create_dir_all(&folder).unwrap();
    let report = folder.join("report");
    let words = match &case.fence {
        None => vec!["true".to_owned()],
        Some(options) => fence_words(&folder, &case.targets, options),
    };
    let (now, later): (Vec<_>, Vec<_>) = case.plugin.iter().partition(|(at, _)| *at == 0);
    for (_, rules) in now {
        lab.enforce(rules);
    }
    let start = Instant::now();
    let child = lab.start(&words);
    for (at, rules) in later {
        let due = start + Duration::from_millis(*at);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        lab.enforce(rules);
    }
    let output = child.wait_with_output().unwrap();
    // Who was reached notes it after a moment.
    thread::sleep(Duration::from_millis(1200));
    let main = |record: &lab::Record| {
        record
            .lock()
            .unwrap()
            .iter()
            .filter(|(_, main)| *main)
            .count()
    };
    let left = fs::read_to_string(&report).ok();
    let seen = Seen {
        code: output.status.code(),
        report: left
            .as_ref()
            .map(|text| serde_json::from_str(text).unwrap()),
        forbidden: forbidden.lock().unwrap().len(),
        peer: peer.as_ref().map_or(0, main),
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        said.trim_end(),
        left.unwrap_or_default(),
        "the report is on standard output too"
    );
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert_eq!(complaint.is_empty(), seen.code != Some(2), "{complaint}");
    fs::remove_dir_all(folder).unwrap();
    (case.holds)(&seen);
}

fn fence_words(folder: &Path, closed: &[String], options: &[String]) -> Vec<String> {
    let targets = folder.join("targets.json");
    fs::write(
        &targets,
        serde_json::json!({ "closed": closed }).to_string(),
    )
    .unwrap();
    let mut words = vec![FENCE.to_owned(), "wait".to_owned()];
    words.push(format!("--targets={}", targets.display()));
    words.push(format!("--report={}", folder.join("report").display()));
    words.extend(options.iter().cloned());
    words
}

#[test]
fn the_fence_holds_whatever_the_plugin_does() {
    must(Command::new("nft").arg("--version"));
    must(Command::new("ip").arg("-V"));
    lab::remove_leftovers();
    let mut cases = behaviours();
    cases.extend(families());
    cases.extend(resets_and_targets());
    cases.extend(names());
    let count = cases.len();
    let queue = Mutex::new(cases.into_iter().enumerate().collect::<Vec<_>>());
    let failed = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap().pop();
                    let Some((number, case)) = next else { break };
                    let ran = thread::scope(|scope| {
                        let thread = thread::Builder::new().name(case.name.clone());
                        thread
                            .spawn_scoped(scope, || run(number, &case))
                            .unwrap()
                            .join()
                    });
                    if ran.is_err() {
                        failed.lock().unwrap().push(case.name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(
        failed.is_empty(),
        "{} of {count} failed: {failed:?}",
        failed.len()
    );
    assert_eq!(count, 38);
}

/// Makes a network with an address, where nobody else is.
const NETWORK: &str = r#"
ip link add eth0 type veth peer name wire
ip addr add 192.0.2.9/24 dev eth0
ip link set eth0 up
ip link set lo up
exec "$@""#;

/// A process is ended by SIGTERM at once, also where it is the first of its process namespace, as in a container.
#[test]
fn sigterm_ends_it_at_once() {
    let folder = std::env::temp_dir().join(format!("fence-signal-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    // Nobody answers there, so it waits; the report tells.
    let options = [
        "--closed-for=60".to_owned(),
        "--open=192.0.2.1:1".to_owned(),
    ];
    let wait = fence_words(&folder, &["192.0.2.1:7443".to_owned()], &options);
    let respond = [FENCE, "respond", "--listen=127.0.0.1:0"].map(str::to_owned);
    for (words, code) in [(wait, 1), (respond.to_vec(), 0)] {
        let child = Command::new("unshare")
            .args(["--pid", "--fork", "--net", "--kill-child"])
            .args(["bash", "-c", NETWORK, "fence"])
            .args(&words)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_millis(700));
        let first = first_child(child.id());
        kill(Pid::from_raw(first), Signal::SIGTERM).unwrap();
        let asked = Instant::now();
        let output = child.wait_with_output().unwrap();
        assert!(asked.elapsed() < Duration::from_secs(2), "{words:?}");
        assert_eq!(
            output.status.code(),
            Some(code),
            "{words:?}: {:?}",
            output.status.signal()
        );
    }
    let report = fs::read_to_string(folder.join("report")).unwrap();
    serde_json::from_str::<Report>(&report).unwrap();
    fs::remove_dir_all(folder).unwrap();
}

/// The child of a process.
fn first_child(parent: u32) -> i32 {
    let file = format!("/proc/{parent}/task/{parent}/children");
    let text = fs::read_to_string(file).unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}
