//! The nftables form of an enforcement: a model comes in, the text of one `nft -f` transaction goes out, the same
//! text for the same model. Pure: no I/O.
//!
//! A transaction is not enough for a packet that is on its way while it is committed. The kernel decides once a base
//! chain which generation of its rules the packet meets, but asks maps (whose elements die with them) and the next base
//! chain anew, so that a packet can meet the old rules with an emptied map, or a new chain too early and the old one too
//! late, and pass both (`nft_do_chain`, `nft_delset` and `nf_tables_commit` of Linux 6.18). So the one base chain stays
//! and only its rules are replaced; a pod's own rules stand in a chain inside the rule that leads to it; there are no
//! maps, and all sets are anonymous and constant, each as old as its rule.

use std::fmt::Display;
use std::net::Ipv4Addr;

use crate::objects::{PortRange, Protocol};
use crate::rules::{Allowance, Enforcement, Isolation, LocalPod, Peers, Ports};

/// The longest comment that nftables takes, in bytes.
const COMMENT_LIMIT: usize = 127;

/// Which side of a flow the pod is on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    From,
    To,
}

impl Side {
    /// The field that holds the pod's own address.
    fn own_field(self) -> &'static str {
        match self {
            Self::From => "ip saddr",
            Self::To => "ip daddr",
        }
    }

    /// The field that holds the other side's address.
    fn peer_field(self) -> &'static str {
        match self {
            Self::From => Self::To.own_field(),
            Self::To => Self::From.own_field(),
        }
    }

    fn isolation(self, pod: &LocalPod) -> &Isolation {
        match self {
            Self::From => &pod.egress,
            Self::To => &pod.ingress,
        }
    }
}

/// Writes the ruleset that replaces the rules of the table in one transaction.
///
/// Takes the table's name (family `inet`, created when absent) and what is to be enforced. Whoever applies the text
/// leaves no moment, and no packet on its way, without rules.
#[must_use]
pub fn ruleset(table: &str, enforcement: &Enforcement) -> String {
    let mut script = Script::default();
    // Declared first, so that there is a chain to empty.
    script.push(format_args!("table inet {table} {{"));
    script.push("  chain forward {");
    script.push("    type filter hook forward priority filter; policy accept;");
    script.push("  }");
    script.push("}");
    script.push(format_args!("flush chain inet {table} forward"));
    script.push(format_args!("table inet {table} {{"));
    script.push("  chain forward {");
    script.common_rules(enforcement);
    for side in [Side::From, Side::To] {
        for (address, pod) in &enforcement.pods {
            script.pod_rule(side, *address, pod);
        }
    }
    script.push("  }");
    script.push("}");
    script.text
}

/// The ruleset, with the table that is there removed before in the same transaction: for one that somebody else changed.
/// A packet on its way may pass between the two, see above.
#[must_use]
pub fn anew(table: &str, ruleset: &str) -> String {
    // Declared first, so that there is a table to delete.
    format!("table inet {table}\ndelete table inet {table}\n{ruleset}")
}

/// The rules that let an allowance through: one without ports, else one a protocol; none when nobody is its peer.
fn rules_of(allowance: &Allowance, side: Side) -> Vec<String> {
    let peers = match &allowance.peers {
        Peers::Everybody => String::new(),
        Peers::Only(addresses) => match set(addresses.ranges()) {
            Some(set) => format!("{} {set} ", side.peer_field()),
            None => return Vec::new(),
        },
    };
    match &allowance.ports {
        Ports::Every => vec![format!("{peers}return")],
        Ports::Only(ranges) => [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
            .into_iter()
            .filter_map(|protocol| {
                ports_of(
                    protocol,
                    ranges.iter().filter(|range| range.protocol == protocol),
                )
            })
            .map(|ports| format!("{peers}{ports} return"))
            .collect(),
    }
}

/// An anonymous set, or nothing when it would be empty, which nftables does not take.
fn set<E: Display>(elements: impl IntoIterator<Item = E>) -> Option<String> {
    let elements: Vec<String> = elements
        .into_iter()
        .map(|element| element.to_string())
        .collect();
    (!elements.is_empty()).then(|| format!("{{ {} }}", elements.join(", ")))
}

/// The match for ports of one protocol, or nothing when the allowance has none of it.
fn ports_of<'a>(protocol: Protocol, ranges: impl Iterator<Item = &'a PortRange>) -> Option<String> {
    let keyword = match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    };
    // nftables refuses overlapping elements of an anonymous set, so neighbours and overlaps become one.
    let mut merged: Vec<(u16, u16)> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(before) if before.1.saturating_add(1) >= range.first => {
                before.1 = before.1.max(range.last);
            }
            _ => merged.push((range.first, range.last)),
        }
    }
    if merged.is_empty() {
        return None;
    }
    if merged == [(0, u16::MAX)] {
        return Some(format!("meta l4proto {keyword}"));
    }
    let elements = merged.into_iter().map(|(first, last)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    });
    set(elements).map(|set| format!("{keyword} dport {set}"))
}

/// Text that is safe between the quotes of a comment, cut to what nftables takes.
fn comment(text: &str) -> String {
    let safe = |c: &char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '.' | '-' | '/');
    text.chars().filter(safe).take(COMMENT_LIMIT).collect()
}

/// The text under construction.
#[derive(Default)]
struct Script {
    text: String,
}

impl Script {
    fn push(&mut self, line: impl Display) {
        self.text.push_str(&line.to_string());
        self.text.push('\n');
    }

    /// What holds for every packet that is forwarded.
    fn common_rules(&mut self, enforcement: &Enforcement) {
        self.push("    ct state established,related accept");
        // No pod has an IPv6 address, so whatever is forwarded got around the rules below.
        self.push("    meta nfproto ipv6 counter drop");
        // A packet that came in where its sender cannot be wears a borrowed address to shed its own rules.
        self.push("    fib saddr . iif oif missing counter drop");
        let known = enforcement.pods.keys();
        let to_itself = known
            .clone()
            .map(|address| format!("{address} . {address}"));
        if let Some(pairs) = set(to_itself) {
            self.push(format_args!("    ip saddr . ip daddr {pairs} accept"));
        }
        if let Some(ranges) = set(enforcement.pod_ranges.ranges()) {
            let known = set(known);
            for side in [Side::From, Side::To] {
                let own = side.own_field();
                let unknown = known
                    .as_ref()
                    .map_or_else(String::new, |known| format!("{own} != {known} "));
                self.push(format_args!("    {own} {ranges} {unknown}counter drop"));
            }
        }
    }

    /// What a pod that is isolated on this side may do: its rules return what is allowed and drop the rest.
    fn pod_rule(&mut self, side: Side, address: Ipv4Addr, pod: &LocalPod) {
        let Isolation::Only(allowances) = side.isolation(pod) else {
            return;
        };
        self.push(format_args!("    {} {address} jump {{", side.own_field()));
        for allowance in allowances {
            for rule in rules_of(allowance, side) {
                self.push(format_args!("      {rule}"));
            }
        }
        self.push("      counter drop");
        self.push(format_args!("    }} comment \"{}\"", comment(&pod.name)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addresses::{AddressRange, AddressSet};
    use std::collections::{BTreeMap, BTreeSet};

    fn enforcement(name: &str) -> Enforcement {
        let peers = AddressRange::parse_cidr("192.0.2.0/24").unwrap();
        let tcp = |first, last| PortRange {
            protocol: Protocol::Tcp,
            first,
            last,
        };
        let allowances = [
            Allowance {
                peers: Peers::Only([peers].into_iter().collect()),
                ports: Ports::Only([tcp(80, 90), tcp(85, 95), tcp(96, 96), tcp(443, 443)].into()),
            },
            Allowance {
                peers: Peers::Everybody,
                ports: Ports::Only(
                    [
                        PortRange::whole(Protocol::Udp),
                        PortRange::single(Protocol::Sctp, 9),
                    ]
                    .into(),
                ),
            },
        ];
        let pod = |name: &str, ingress| LocalPod {
            name: name.to_owned(),
            ingress,
            egress: Isolation::Open,
        };
        Enforcement {
            pod_ranges: [AddressRange::parse_cidr("10.0.0.0/24").unwrap()]
                .into_iter()
                .collect(),
            pods: BTreeMap::from([
                (
                    Ipv4Addr::new(10, 0, 0, 5),
                    pod(name, Isolation::Only(BTreeSet::from(allowances))),
                ),
                (Ipv4Addr::new(10, 0, 0, 6), pod("x/open", Isolation::Open)),
            ]),
        }
    }

    fn lines(text: &str) -> Vec<&str> {
        text.lines().map(str::trim).collect()
    }

    #[test]
    fn an_allowance_is_one_rule_a_protocol_with_its_ports_merged() {
        let text = ruleset("t", &enforcement("x/a"));
        let lines = lines(&text);
        for expected in [
            "ip daddr 10.0.0.5 jump {",
            "ip saddr { 192.0.2.0-192.0.2.255 } tcp dport { 80-96, 443 } return",
            "meta l4proto udp return",
            "sctp dport { 9 } return",
            "} comment \"x/a\"",
        ] {
            assert!(
                lines.contains(&expected),
                "{expected} is missing from\n{text}"
            );
        }
        assert!(
            !text.contains("10.0.0.6 jump"),
            "a pod that is not isolated needs no rules of its own\n{text}"
        );
    }

    #[test]
    fn an_allowance_whose_peers_nobody_is_allows_nothing() {
        let mut nobody = enforcement("x/a");
        for pod in nobody.pods.values_mut() {
            pod.ingress = Isolation::Only(BTreeSet::from([Allowance {
                peers: Peers::Only(AddressSet::default()),
                ports: Ports::Every,
            }]));
        }
        let text = ruleset("t", &nobody);
        assert!(!text.contains("return"), "{text}");
        assert_eq!(text.matches("jump {").count(), nobody.pods.len(), "{text}");
    }

    #[test]
    fn what_can_be_looked_up_in_another_generation_than_the_rules_is_not_used() {
        for enforcement in [Enforcement::default(), enforcement("x/a")] {
            let text = ruleset("t", &enforcement);
            for word in ["delete", "map ", "set ", "@"] {
                assert!(!text.contains(word), "{word} is in\n{text}");
            }
            assert_eq!(text.matches(" hook ").count(), 1, "{text}");
            assert_eq!(text.matches("flush chain inet t forward").count(), 1);
        }
    }

    #[test]
    fn a_name_cannot_leave_its_comment() {
        let text = ruleset("t", &enforcement("x/a\"\n  accept # \u{fc}"));
        assert!(
            lines(&text).contains(&"} comment \"x/a  accept  \""),
            "{text}"
        );
        let long = ruleset("t", &enforcement(&"n".repeat(400)));
        assert!(lines(&long).contains(&format!("}} comment \"{}\"", "n".repeat(127)).as_str()));
    }
}
