//! `bailiwick-operator probe`: what a canary pod does. A question in the environment in, attempts at its targets, an
//! answer in the termination message and on standard output. Network I/O: one attempt a target, each bounded.

mod dns;

use std::io::{self, ErrorKind, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bailiwick_model::canary::question::{Answer, Attempt, Question, Target, Tried, VARIABLE};
use clap::Args;

use super::CommandError;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(2);
/// How long the pod's own way of looking up names may take, search domains and all.
const LOOK_UP: Duration = Duration::from_secs(6);
/// The most bytes of a termination message that Kubernetes keeps.
const MOST_BYTES: usize = 4096;

/// What to try, and where the answer goes.
#[derive(Args, Debug)]
pub struct Probe {
    /// The question: its id and targets, as JSON.
    #[arg(long, env = VARIABLE, value_name = "JSON", hide_env_values = true)]
    question: String,
    /// Where the answer is left.
    #[arg(long, default_value = "/dev/termination-log", value_name = "FILE")]
    answer: PathBuf,
    /// Where the pod's resolvers are named.
    #[arg(
        long,
        default_value = "/etc/resolv.conf",
        value_name = "FILE",
        hide = true
    )]
    resolvers: PathBuf,
}

/// Tries every target at once and leaves the answer. What was found is in the answer, not in the exit code.
///
/// # Errors
/// The question cannot be read, or the answer cannot be left.
pub fn run(probe: &Probe, out: &mut impl Write) -> Result<(), CommandError> {
    let question: Question = serde_json::from_str(&probe.question).map_err(|error| {
        CommandError::Argument(format!(
            "--question ({VARIABLE}) is not a question as the operator asks it: {error}; look at the CronJob's env"
        ))
    })?;
    let resolvers = resolvers(&probe.resolvers);
    let outcomes = try_all(&question.targets, &resolvers);
    for (target, outcome) in question.targets.iter().zip(&outcomes) {
        writeln!(
            out,
            "{}",
            serde_json::json!({ "target": target, "outcome": outcome })
        )?;
    }
    let answer = serde_json::to_string(&Answer {
        question: question.id,
        outcomes,
    })
    .map_err(io::Error::from)?;
    if answer.len() > MOST_BYTES {
        return Err(CommandError::Argument(format!(
            "the answer has {} bytes and a termination message holds {MOST_BYTES}; ask fewer targets",
            answer.len()
        )));
    }
    writeln!(out, "{answer}")?;
    std::fs::write(&probe.answer, answer)?;
    Ok(())
}

/// The outcome of each target, in order.
fn try_all(targets: &[Target], resolvers: &[SocketAddr]) -> Vec<Tried> {
    let first: Vec<Tried> = thread::scope(|scope| {
        let running: Vec<_> = targets
            .iter()
            .map(|target| scope.spawn(|| attempt(&target.attempt, resolvers)))
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or(Tried::Failed))
            .collect()
    });
    targets
        .iter()
        .zip(first)
        .map(|(target, outcome)| match (&target.attempt, outcome) {
            (Attempt::Connect(endpoint), Tried::Refused) => who_refused(endpoint),
            _ => outcome,
        })
        .collect()
}

fn attempt(attempt: &Attempt, resolvers: &[SocketAddr]) -> Tried {
    match attempt {
        Attempt::Connect(endpoint) => connect(endpoint),
        Attempt::Resolve(name) => dns::resolve(name, resolvers),
        Attempt::ResolveInside(name) => match look_up(&format!("{name}:0")) {
            Some(addresses) if !addresses.is_empty() => Tried::Resolved,
            _ => Tried::NotResolved,
        },
    }
}

/// Connects to `host:port` and hangs up.
fn connect(endpoint: &str) -> Tried {
    let address = match endpoint.parse::<SocketAddr>() {
        Ok(address) => address,
        Err(_) => match look_up(endpoint).and_then(|found| found.into_iter().next()) {
            Some(address) => address,
            None => return Tried::NotResolved,
        },
    };
    match TcpStream::connect_timeout(&address, CONNECT) {
        Ok(_) => Tried::Reached,
        Err(error) => outcome_of(&error),
    }
}

fn outcome_of(error: &io::Error) -> Tried {
    match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => Tried::Refused,
        ErrorKind::TimedOut
        | ErrorKind::WouldBlock
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::PermissionDenied => Tried::Blocked,
        _ => Tried::Failed,
    }
}

/// Tells a reset by the peer from a refusal on the way: some enforcers, and kube-proxy for a Service with nobody
/// behind it, answer with ICMP "unreachable", which the kernel reports in the same words. It also counts them.
fn who_refused(endpoint: &str) -> Tried {
    let before = unreachables();
    let outcome = connect(endpoint);
    match (outcome, before, unreachables()) {
        (Tried::Refused, Some(before), Some(after)) if after > before => Tried::Blocked,
        _ => outcome,
    }
}

/// How many ICMP "unreachable" messages the pod has received.
fn unreachables() -> Option<u64> {
    let version_4 = std::fs::read_to_string("/proc/self/net/snmp").ok()?;
    let version_6 = std::fs::read_to_string("/proc/self/net/snmp6").unwrap_or_default();
    unreachables_in(&version_4, &version_6)
}

fn unreachables_in(version_4: &str, version_6: &str) -> Option<u64> {
    let mut lines = version_4.lines().filter(|line| line.starts_with("Icmp: "));
    let (names, values) = (lines.next()?, lines.next()?);
    let four: u64 = names
        .split_whitespace()
        .zip(values.split_whitespace())
        .find(|(name, _)| *name == "InDestUnreachs")
        .and_then(|(_, value)| value.parse().ok())?;
    let six: u64 = version_6
        .lines()
        .filter_map(|line| line.strip_prefix("Icmp6InDestUnreachs"))
        .find_map(|value| value.trim().parse().ok())
        .unwrap_or_default();
    Some(four + six)
}

/// The addresses of `host:port` as programs in the pod get them; none when nobody answers in time.
fn look_up(endpoint: &str) -> Option<Vec<SocketAddr>> {
    let (sender, receiver) = mpsc::channel();
    let endpoint = endpoint.to_owned();
    // It cannot be bounded and so is left behind: the process ends soon.
    thread::spawn(move || {
        let found = endpoint.to_socket_addrs().map(Iterator::collect);
        let _ = sender.send(found);
    });
    receiver.recv_timeout(LOOK_UP).ok()?.ok()
}

/// The resolvers that a resolv.conf names.
fn resolvers(file: &Path) -> Vec<SocketAddr> {
    std::fs::read_to_string(file)
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.strip_prefix("nameserver"))
        .filter_map(|address| address.trim().parse::<IpAddr>().ok())
        .map(|address| SocketAddr::new(address, 53))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::Mutex;

    use bailiwick_model::canary::question::Class;

    use super::*;

    /// Held by whoever counts ICMP "unreachable" and whoever causes one: the kernel counts for the whole machine.
    pub(super) static UNREACHABLES: Mutex<()> = Mutex::new(());

    fn connect_to(address: SocketAddr) -> Target {
        Target {
            class: Class::OutsideAddress,
            name: "loopback".to_owned(),
            attempt: Attempt::Connect(address.to_string()),
        }
    }

    #[test]
    fn an_answer_is_left_for_every_target_in_order() {
        let _counting = UNREACHABLES.lock();
        let open = TcpListener::bind("127.0.0.1:0").unwrap();
        let shut = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap()
        };
        let inside = |name: &str| Target {
            class: Class::ClusterName,
            name: name.to_owned(),
            attempt: Attempt::ResolveInside(name.to_owned()),
        };
        let question = Question {
            id: "0123456789".to_owned(),
            targets: vec![
                connect_to(open.local_addr().unwrap()),
                connect_to(shut),
                inside("localhost"),
                Target {
                    class: Class::OutsideName,
                    name: "outside.test".to_owned(),
                    attempt: Attempt::Resolve("outside.test".to_owned()),
                },
            ],
        };
        let folder = std::env::temp_dir().join(format!("probe-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let probe = Probe {
            question: serde_json::to_string(&question).unwrap(),
            answer: folder.join("answer"),
            // A pod without a resolver.
            resolvers: folder.join("none"),
        };
        let mut out = Vec::new();
        run(&probe, &mut out).unwrap();
        let text = std::fs::read_to_string(&probe.answer).unwrap();
        let answer: Answer = serde_json::from_str(&text).unwrap();
        assert_eq!(answer.question, question.id);
        assert_eq!(answer.outcomes[..2], [Tried::Reached, Tried::Refused]);
        assert_eq!(answer.outcomes[2..], [Tried::Resolved, Tried::Failed]);
        let out = String::from_utf8(out).unwrap();
        assert_eq!(out.lines().count(), 5);
        assert_eq!(out.lines().last(), Some(text.as_str()));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn what_is_no_question_is_refused_with_its_place() {
        let probe = Probe {
            question: "{}".to_owned(),
            answer: PathBuf::from("/nonexistent/answer"),
            resolvers: PathBuf::from("/nonexistent/resolv.conf"),
        };
        let error = run(&probe, &mut Vec::new()).unwrap_err().to_string();
        assert!(error.contains(VARIABLE), "{error}");
    }

    #[test]
    fn errors_are_told_apart() {
        for (errno, expected) in [
            (111, Tried::Refused),
            (104, Tried::Refused),
            (110, Tried::Blocked),
            (113, Tried::Blocked),
            (101, Tried::Blocked),
            (13, Tried::Blocked),
            (1, Tried::Blocked),
            (24, Tried::Failed),
            (99, Tried::Failed),
        ] {
            let error = io::Error::from_raw_os_error(errno);
            assert_eq!(outcome_of(&error), expected, "{error}");
        }
    }

    #[test]
    fn refusals_on_the_way_are_counted_by_the_kernel() {
        let four = "Ip: Forwarding\nIp: 1\nIcmp: InMsgs InErrors InCsumErrors InDestUnreachs InTimeExcds\n\
                    Icmp: 9 0 0 4 1\nIcmpMsg: InType3\nIcmpMsg: 4\n";
        let six = "Ip6InReceives 12\nIcmp6InDestUnreachs             \t3\n";
        assert_eq!(unreachables_in(four, ""), Some(4));
        assert_eq!(unreachables_in(four, six), Some(7));
        assert_eq!(unreachables_in("", six), None);
        assert!(unreachables().is_some(), "the kernel has the counters");
    }
}
