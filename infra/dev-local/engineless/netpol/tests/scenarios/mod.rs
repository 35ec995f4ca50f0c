//! What needs more than objects and a table of who reaches whom: that the test can fail, address translation, flows in
//! progress, forged senders, IPv6, replacement without a gap. Packets between namespaces that the test made.

mod enforcer;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use crate::cases::{Failure, NODES, Place, Scene, TCP_80};
use crate::lab::{self, Lab, Probe};
use crate::{TABLE, differences, enforce, every_probe, expected_open, observe, verdict};

/// A name and what gives the failures, in words.
pub type Scenario = (&'static str, fn(&mut Lab) -> Result<Vec<String>, Failure>);

/// All of them.
pub const ALL: [Scenario; 9] = [
    (
        "without the table every forbidden connection gets through, and the comparison says so",
        red,
    ),
    (
        "a Service address is translated before the policies decide",
        service,
    ),
    (
        "a pod reaches itself through its Service although it is denied both ways",
        hairpin,
    ),
    (
        "a flow that was let through outlives the policy that let it",
        established,
    ),
    (
        "a forged sender address does not shed the sender's policies",
        forged,
    ),
    ("forwarded IPv6 is dropped", ipv6),
    (
        "a table that is replaced all the time is never open",
        replaced,
    ),
    (
        "the enforcer shuts first, follows the API server, repairs its table and leaves it behind",
        enforcer::whole_life,
    ),
    (
        "the enforcer makes a table anew that does not take its rules",
        enforcer::start_with_a_strange_table,
    ),
];

const DENY_ALL: (&str, &str) = (
    "x/deny-all",
    "{podSelector: {}, policyTypes: [Ingress, Egress]}",
);

fn unless(holds: bool, failure: &str) -> Vec<String> {
    if holds {
        Vec::new()
    } else {
        vec![failure.to_owned()]
    }
}

fn apply(policies: &[(&str, &str)]) -> Result<(), Failure> {
    let mut scene = Scene::new();
    for policy in policies {
        scene.apply(*policy)?;
    }
    enforce(&scene.enforcements()?)
}

fn remove_tables() -> Result<(), Failure> {
    // Declared first, so that removing it cannot fail.
    NODES.iter().try_for_each(|node| {
        lab::nft(
            node,
            &format!("table inet {TABLE}\ndelete table inet {TABLE}\n"),
        )
    })
}

fn red(lab: &mut Lab) -> Result<Vec<String>, Failure> {
    let mut scene = Scene::new();
    scene.apply(DENY_ALL)?;
    let enforcements = scene.enforcements()?;
    let probes = every_probe(lab);
    let allowed = expected_open(&probes, |probe| {
        verdict(&enforcements, &probe.from, &probe.to, probe.port)
    });
    let forbidden = probes.len() - allowed.len();
    let everything: BTreeSet<&Probe> = probes.iter().collect();
    let mut failures = unless(forbidden > 0, "the policy forbids nothing");
    for (state, open) in [("before", true), ("with", false), ("after", true)] {
        if open {
            remove_tables()?;
        } else {
            enforce(&enforcements)?;
        }
        let observed = observe(lab, &probes, if open { &everything } else { &allowed })?;
        let noticed = differences(&probes, &allowed, &observed).len();
        let awaited = if open { forbidden } else { 0 };
        if noticed != awaited {
            failures.push(format!(
                "{state} the table {awaited} forbidden connections should come about, {noticed} do"
            ));
        }
    }
    Ok(failures)
}

/// Translates an address on a node as kube-proxy does.
fn translate(node: &str, service: &Place, to: &Place) -> Result<(), Failure> {
    let (service, to) = (service.address, to.address);
    let rules = format!(
        "table ip services {{ }}
         delete table ip services
         table ip services {{
           chain translate {{
             type nat hook prerouting priority dstnat
             ip daddr {service} tcp dport 80 dnat to {to}:80
           }}
           chain hairpin {{
             type nat hook postrouting priority srcnat
             ip saddr {to} ip daddr {to} masquerade
           }}
         }}"
    );
    lab::nft(node, &rules)
}

fn service_place() -> Place {
    let address = [10, 203, 0, 1].into();
    Place {
        name: "service".to_owned(),
        address,
        node: None,
        pod: false,
    }
}

/// Whether a connection comes about on TCP 80.
fn connects(lab: &mut Lab, from: &Place, to: &Place, expected: bool) -> Result<bool, Failure> {
    let probe = Probe {
        from: from.clone(),
        to: to.clone(),
        port: TCP_80,
    };
    let probes = [probe.clone()];
    let awaited = probes.iter().filter(|_| expected).collect();
    Ok(observe(lab, &probes, &awaited)?.contains(&probe))
}

fn service(lab: &mut Lab) -> Result<Vec<String>, Failure> {
    let (client, service) = (lab.place("x/a")?, service_place());
    apply(&[(
        "x/to-y-a",
        "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Egress],
          egress: [{to: [{namespaceSelector: {matchLabels: {ns: y}}, podSelector: {matchLabels: {pod: a}}}]}]}",
    )])?;
    let mut failures = Vec::new();
    for (behind, open) in [
        ("y/a", true),
        ("y/b", false),
        ("y/c", false),
        ("x/c", false),
    ] {
        let pod = lab.place(behind)?;
        translate(NODES[0], &service, &pod)?;
        if connects(lab, &client, &service, open)? != open {
            failures.push(format!(
                "x/a to the Service of {behind} should {}connect",
                if open { "" } else { "not " }
            ));
        }
    }
    Ok(failures)
}

fn hairpin(lab: &mut Lab) -> Result<Vec<String>, Failure> {
    let (pod, service) = (lab.place("x/a")?, service_place());
    apply(&[DENY_ALL])?;
    translate(NODES[0], &service, &pod)?;
    let itself = connects(lab, &pod, &service, true)?;
    let neighbour = lab.place("x/c")?;
    let other = connects(lab, &neighbour, &service, false)?;
    let mut failures = unless(itself, "x/a should reach itself through its Service");
    failures.extend(unless(
        !other,
        "x/c should not reach x/a through its Service",
    ));
    Ok(failures)
}

fn established(lab: &mut Lab) -> Result<Vec<String>, Failure> {
    let (client, server) = (lab.place("y/a")?, lab.place("x/a")?);
    apply(&[])?;
    let mut failures = unless(
        lab.hold("y/a", &server)?,
        "y/a should connect to x/a while nothing forbids it",
    );
    apply(&[DENY_ALL])?;
    failures.extend(unless(
        lab.talk("y/a")?,
        "the connection should go on after the policy was tightened",
    ));
    failures.extend(unless(
        !connects(lab, &client, &server, false)?,
        "a new connection should not come about",
    ));
    Ok(failures)
}

fn forged(lab: &mut Lab) -> Result<Vec<String>, Failure> {
    let forged: IpAddr = [192, 0, 2, 66].into();
    let neighbour = lab.place("z/c")?;
    lab::ip(
        Some("x/a"),
        [
            format!("addr add {forged}/32 dev eth0"),
            format!("addr add {}/32 dev eth0", neighbour.address),
        ],
    )?;
    let mut failures = Vec::new();
    for sender in [forged, neighbour.address.into()] {
        for receiver in ["x/c", "x/b", "outside"] {
            let address = lab.place(receiver)?.address.into();
            remove_tables()?;
            let before = lab.shout("x/a", sender, receiver, address)?;
            apply(&[(
                "x/silent",
                "{podSelector: {matchLabels: {pod: a}}, policyTypes: [Egress]}",
            )])?;
            let after = lab.shout("x/a", sender, receiver, address)?;
            if !before {
                failures.push(format!(
                    "without the table {receiver} should hear x/a as {sender}"
                ));
            }
            if after {
                failures.push(format!("{receiver} should not hear x/a as {sender}"));
            }
        }
    }
    lab::ip(
        Some("x/a"),
        [
            format!("addr del {forged}/32 dev eth0"),
            format!("addr del {}/32 dev eth0", neighbour.address),
        ],
    )?;
    Ok(failures)
}

fn ipv6(lab: &mut Lab) -> Result<Vec<String>, Failure> {
    let address = |last: u16| Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last);
    for (name, last) in [("x/a", 0xa), ("x/c", 0xc)] {
        let (own, gateway) = (address(last), address(0x100 + last));
        let wire = lab::interface(&lab.place(name)?);
        lab::ip(
            Some(NODES[0]),
            [
                format!("addr add {gateway}/128 dev {wire} nodad"),
                format!("route add {own}/128 dev {wire}"),
            ],
        )?;
        lab::ip(
            Some(name),
            [
                format!("addr add {own}/128 dev eth0 nodad"),
                format!("route add {gateway}/128 dev eth0"),
                format!("route add default via {gateway} dev eth0"),
            ],
        )?;
    }
    remove_tables()?;
    let (sender, receiver) = (address(0xa).into(), address(0xc).into());
    // Link-local addresses are not usable at once on a new link; the first shouts may be lost.
    let mut before = false;
    for _ in 0..10 {
        before = before || lab.shout("x/a", sender, "x/c", receiver)?;
    }
    apply(&[])?;
    let after = lab.shout("x/a", sender, "x/c", receiver)?;
    let mut failures = unless(before, "without the table x/c should hear x/a over IPv6");
    failures.extend(unless(!after, "x/c should not hear x/a over IPv6"));
    Ok(failures)
}

/// How often the tables are replaced under one flood of datagrams.
const REPLACEMENTS: usize = 60;
/// Fewer datagrams than this are no flood.
const FLOOD: u64 = 10_000;

/// The kernel looks up parts of a ruleset (elements of maps, a base chain of its own) in the generation that is current
/// when the packet gets there. A flood found such a gap in every flow, single connections hardly ever.
fn replaced(lab: &mut Lab) -> Result<Vec<String>, Failure> {
    let mut scene = Scene::new();
    scene.apply(DENY_ALL)?;
    let shut = scene.enforcements()?;
    // Isolates other pods as well and shuts the same flows.
    scene.apply(("y/deny-all", DENY_ALL.1))?;
    let shut_further = scene.enforcements()?;
    let mut failures = Vec::new();
    for (from, to) in [
        ("x/a", "y/a"),
        ("y/b", "x/b"),
        ("x/a", "outside"),
        ("outside", "x/c"),
    ] {
        let (sender, receiver) = (lab.place(from)?, lab.place(to)?);
        enforce(&shut)?;
        let (sent, heard) = lab.flood(&sender, &receiver, || {
            let rulesets = [&shut_further, &shut].into_iter().cycle();
            rulesets.take(REPLACEMENTS).try_for_each(enforce)
        })?;
        if sent < FLOOD {
            failures.push(format!("{from} sent {to} {sent} datagrams, too few"));
        }
        if heard {
            failures.push(format!("{from} reached {to}"));
        }
        let (_, heard) = lab.flood(&sender, &receiver, remove_tables)?;
        if !heard {
            failures.push(format!("{from} should reach {to} without the table"));
        }
    }
    Ok(failures)
}
