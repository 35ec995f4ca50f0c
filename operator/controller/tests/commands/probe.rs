//! The probe against every way in which a network can say no, in a network namespace of its own where addresses for
//! documentation are on loopback: nothing leaves the namespace. Needs root, `unshare`, `ip` and `nft`.

use std::path::PathBuf;
use std::process::Command;

use bailiwick_model::canary::question::{Answer, Attempt, Class, Question, Target, Tried};

/// Addresses of 192.0.2.0/24 on loopback, each with another fate for packets to port 80; and a route that is closed.
const NETWORK: &str = r#"
set -euo pipefail
ip link set lo up
for last in 10 11 12 13; do ip address add "192.0.2.$last/32" dev lo; done
ip route add unreachable 198.51.100.0/24
nft -f - <<'RULES'
table inet fates {
  chain output {
    type filter hook output priority 0; policy accept;
    ip daddr 192.0.2.11 tcp dport 80 drop
    ip daddr 192.0.2.12 tcp dport 80 reject with icmp port-unreachable
    ip daddr 192.0.2.13 tcp dport 80 reject with tcp reset
  }
}
RULES
exec "$@"
"#;

/// `PATH` with the cache's commands before the machine's.
fn path() -> String {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let cache = variable("BAILIWICK_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|path| path.join("bailiwick")))
        .or_else(|| variable("HOME").map(|path| path.join(".cache/bailiwick")))
        .map(|cache| cache.join("bin").display().to_string())
        .unwrap_or_default();
    let own = std::env::var("PATH").unwrap_or_default();
    format!("{cache}:{own}:/usr/sbin:/sbin")
}

#[test]
fn every_way_to_say_no_is_told_apart() {
    let cases = [
        (
            "192.0.2.10:80",
            Tried::Refused,
            "nobody listens, and says so",
        ),
        ("192.0.2.11:80", Tried::Blocked, "dropped"),
        (
            "192.0.2.12:80",
            Tried::Blocked,
            "rejected on the way, by ICMP",
        ),
        ("192.0.2.13:80", Tried::Refused, "a reset, whoever sends it"),
        ("198.51.100.10:80", Tried::Blocked, "a closed route"),
        ("203.0.113.1:80", Tried::Blocked, "no route"),
    ];
    let question = Question {
        id: "0123456789".to_owned(),
        targets: cases
            .iter()
            .map(|(endpoint, _, name)| Target {
                class: Class::OutsideAddress,
                name: (*name).to_owned(),
                attempt: Attempt::Connect((*endpoint).to_owned()),
            })
            .collect(),
    };
    let answer = std::env::temp_dir().join(format!("probe-answer-{}", std::process::id()));
    let output = Command::new("unshare")
        .args(["--net", "bash", "-c", NETWORK, "bash"])
        .arg(env!("CARGO_BIN_EXE_bailiwick-operator"))
        .args(["probe", "--question"])
        .arg(serde_json::to_string(&question).unwrap())
        .arg("--answer")
        .arg(&answer)
        .env("PATH", path())
        .output()
        .expect("unshare is missing");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = std::fs::read_to_string(&answer).unwrap();
    std::fs::remove_file(&answer).unwrap();
    let Answer { outcomes, .. } = serde_json::from_str(&text).unwrap();
    let expected: Vec<Tried> = cases.iter().map(|(_, expected, _)| *expected).collect();
    assert_eq!(outcomes, expected, "{cases:?}");
}
