//! What each leakage channel's state comes from: with every control in place the expected state, with any one of them
//! broken another. Facts in memory; no I/O.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "what cannot be looked at ends the test"
)]

mod fixture;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bailiwick_model::canary::{Answer, Attempt, Class, Guise, Question, Tried, questions};
use bailiwick_model::channel::{CHANNELS, channels};
use bailiwick_model::facts::{
    ClaimFact, ClientNamespace, Facts, FenceFact, Inventory, NamespacePod, Neighbour, NeighbourPod,
    Observed, PodFact, ReadFailure, SecretFact, VolumeFact,
};
use bailiwick_model::fence::Outcome as Fenced;
use bailiwick_model::names::{LABEL_NAME, LABEL_TASK, NODE_HOSTNAME, NODE_REGION, Names};
use bailiwick_model::plan::{Plan, plan};
use bailiwick_model::region::{Assurance, ChannelState, Region};
use bailiwick_model::repository::{Difference, Marker, ReadBack};
use bailiwick_model::sql::{
    DatabaseFact, Inside, Membership, PostgresFacts, ReplicationFact, RoleFact, SlotFact,
};
use bailiwick_model::status::{Applied, Outcome, status};
use bailiwick_model::step::Retained;
use bailiwick_model::store::{BucketFact, BucketOutlet, Lifecycle, Outlet, StoreFacts};
use bailiwick_model::{fence, policy, rights};
use fixture::{facts_of_running, fenced, identity, passed, planned, platform, report, tr, tr_with};

const RESTRICTED: &str = "pod-security.kubernetes.io/enforce";

/// `tr` with everything observed and nothing open.
#[allow(clippy::too_many_lines, reason = "one world, told in order")]
fn closed(region: &Region) -> Facts {
    let names = Names::of(region);
    let mut facts = facts_of_running(region);
    facts.now = "2026-11-21T12:00:00Z".parse().expect("a time");
    for labels in facts.namespaces.values_mut() {
        labels.insert(RESTRICTED.to_owned(), "restricted".to_owned());
    }
    for (node, labels) in &mut facts.nodes {
        labels.insert(NODE_HOSTNAME.to_owned(), node.clone());
    }
    facts.network_policies = names
        .namespaces()
        .map(|namespace| format!("{namespace}/default-deny"))
        .into();
    facts.admission = policy::names().map(str::to_owned).collect();
    for (name, claim) in &mut facts.claims.live {
        claim.labels = identity(region);
        claim
            .labels
            .insert(LABEL_NAME.to_owned(), "postgres".to_owned());
        claim.capacity = Some(1 << 30);
        facts
            .volumes
            .insert(format!("pv-{name}"), volume(&names.namespace(), name));
    }
    for member in 0..2 {
        let pod = PodFact {
            node: Some("tr-1".to_owned()),
            ip: Some(format!("10.0.0.{member}")),
            ready: true,
            revision: Some("tr-pg-1".to_owned()),
            fence: fenced(),
            ..PodFact::default()
        };
        facts.pods.live.insert(names.postgres_member(member), pod);
    }
    for secret in facts.secrets.values_mut() {
        secret.certificate = None;
    }
    facts.secrets.insert(
        names.postgres_certificate(),
        SecretFact {
            certificate: Some(certificate(true)),
            ..SecretFact::default()
        },
    );
    facts.inventory = Observed::Seen(Inventory {
        pods: [(format!("{}/tr-pg-0", names.namespace()), neighbour())].into(),
        rights: Some(rights::needed()),
        clients: [(
            "patient".to_owned(),
            ClientNamespace {
                region: Some("tr".to_owned()),
                default_deny: true,
                nodes: BTreeSet::from(["tr-1".to_owned()]),
            },
        )]
        .into(),
        ..Inventory::default()
    });
    facts.store = Observed::Seen(StoreFacts {
        users_listed: true,
        marker: Observed::Seen(Marker::Ours),
        region: "tr-ist-1".to_owned(),
        encrypts: true,
        buckets: planned(region)
            .buckets
            .keys()
            .map(String::as_str)
            .chain(["bailiwick-backup"])
            .map(|name| (name.to_owned(), BucketFact::default()))
            .collect(),
        ..StoreFacts::default()
    });
    facts.archived = archived(true, true);
    facts.postgres = Observed::Seen(PostgresFacts {
        server_version: 170_012,
        databases: BTreeMap::from([(
            "clinical".to_owned(),
            DatabaseFact {
                inside: Some(Inside::fresh()),
                ..DatabaseFact::default()
            },
        )]),
        replication: vec![ReplicationFact {
            application: "tr-pg-1".to_owned(),
            address: Some("10.0.0.1".to_owned()),
            state: "streaming".to_owned(),
            sync: "sync".to_owned(),
        }],
        settings: [
            ("log_parameter_max_length", "0"),
            ("log_parameter_max_length_on_error", "0"),
            ("log_statement", "none"),
            ("log_min_duration_statement", "-1"),
            ("log_duration", "off"),
            ("log_min_error_statement", "panic"),
            ("log_error_verbosity", "terse"),
            ("log_min_messages", "warning"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into(),
        ..PostgresFacts::default()
    });
    facts.neighbours = Arc::new(
        [(
            "es".to_owned(),
            Neighbour {
                pods: fixture::live([(
                    "es-pg-0".to_owned(),
                    NeighbourPod {
                        ip: "10.1.0.5".to_owned(),
                        component: "postgres".to_owned(),
                        ready: true,
                    },
                )]),
            },
        )]
        .into(),
    );
    facts.node_addresses = [("tr-1", "10.9.0.1"), ("es-1", "10.9.0.2")]
        .map(|(node, address)| (node.to_owned(), address.to_owned()))
        .into();
    let plan = plan_of(region, &facts);
    for (guise, question) in questions(&plan) {
        canary(&mut facts, guise, &question, |_, tried| tried);
    }
    facts
}

fn archived(found: bool, recent: bool) -> Observed<ReadBack> {
    Observed::Seen(ReadBack { found, recent })
}

/// A canary that ended a minute ago, with what the boundary lets it see; `changed` may see something else.
fn canary(
    facts: &mut Facts,
    guise: Guise,
    question: &Question,
    changed: impl Fn(Class, Tried) -> Tried,
) {
    let outcomes = question
        .targets
        .iter()
        .map(|target| {
            let tried = match (target.class.allowed(guise), &target.attempt) {
                (true, Attempt::Connect(_)) => Tried::Reached,
                (true, _) => Tried::Resolved,
                (false, Attempt::Connect(_)) => Tried::Blocked,
                (false, _) => Tried::NotResolved,
            };
            changed(target.class, tried)
        })
        .collect();
    let answer = Answer {
        question: question.id.clone(),
        outcomes,
    };
    let pod = PodFact {
        labels: [(LABEL_TASK.to_owned(), guise.label().to_owned())].into(),
        node: Some("tr-1".to_owned()),
        ended: Some(facts.now - jiff::SignedDuration::from_mins(1)),
        termination_message: serde_json::to_string(&answer).ok(),
        ..PodFact::default()
    };
    facts
        .pods
        .live
        .insert(format!("tr-{}-1", guise.label()), pod);
}

/// Both canaries saw `class` as they must not.
fn sees(facts: &mut Facts, class: Class) {
    let region = tr();
    let plan = plan_of(&region, &closed(&region));
    for (guise, question) in questions(&plan) {
        canary(facts, guise, &question, |tried, as_it_should| {
            match (tried == class, as_it_should) {
                (true, Tried::Blocked) => Tried::Reached,
                (true, Tried::NotResolved) => Tried::Resolved,
                _ => as_it_should,
            }
        });
    }
}

fn certificate(signed_by_authority: bool) -> bailiwick_model::facts::CertificateFact {
    bailiwick_model::facts::CertificateFact {
        not_before: "2026-11-01T00:00:00Z".parse().expect("a time"),
        not_after: "2027-11-01T00:00:00Z".parse().expect("a time"),
        dns_names: BTreeSet::new(),
        signed_by_authority,
    }
}

fn volume(namespace: &str, claim: &str) -> VolumeFact {
    VolumeFact {
        namespace: namespace.to_owned(),
        claim: claim.to_owned(),
        retained: true,
        alternatives: vec![BTreeMap::from([(
            NODE_HOSTNAME.to_owned(),
            BTreeSet::from(["tr-1".to_owned()]),
        )])],
    }
}

fn neighbour() -> NamespacePod {
    NamespacePod {
        ours: true,
        node: Some("tr-1".to_owned()),
        images: BTreeSet::from(["registry.test/bailiwick/postgres:17.12-1".to_owned()]),
        account: Some("tr-pg".to_owned()),
        token: true,
        ..NamespacePod::default()
    }
}

fn plan_of(region: &Region, facts: &Facts) -> Plan {
    plan(region, &platform(), facts).expect("the Region is accepted")
}

fn states(region: &Region, facts: &Facts) -> BTreeMap<u8, ChannelState> {
    // What was planned before something broke is what the look goes by.
    states_of(&plan_of(region, &closed(region)), facts)
}

fn states_of(plan: &Plan, facts: &Facts) -> BTreeMap<u8, ChannelState> {
    channels(plan, facts, Assurance::Simulated)
        .rows
        .iter()
        .map(|row| (row.id.parse().expect("a number"), row.state))
        .collect()
}

fn inventory(facts: &mut Facts) -> &mut Inventory {
    match &mut facts.inventory {
        Observed::Seen(seen) => seen,
        _ => panic!("the inventory were seen"),
    }
}

fn store(facts: &mut Facts) -> &mut StoreFacts {
    match &mut facts.store {
        Observed::Seen(seen) => seen,
        _ => panic!("the store was seen"),
    }
}

fn postgres(facts: &mut Facts) -> &mut PostgresFacts {
    match &mut facts.postgres {
        Observed::Seen(seen) => seen,
        _ => panic!("Postgres was seen"),
    }
}

fn pod(facts: &mut Facts) -> &mut NamespacePod {
    inventory(facts).pods.values_mut().next().expect("a pod")
}

fn inside(facts: &mut Facts) -> &mut Inside {
    postgres(facts)
        .databases
        .values_mut()
        .next()
        .and_then(|database| database.inside.as_mut())
        .expect("a database")
}

fn member(facts: &mut Facts) -> &mut PodFact {
    facts.pods.live.get_mut("tr-pg-0").expect("it is there")
}

/// A pod with the name and the place of a live member, of a drill.
fn of_a_drill() -> PodFact {
    PodFact {
        node: Some("tr-1".to_owned()),
        ip: Some("10.0.0.9".to_owned()),
        fence: fenced(),
        ..PodFact::default()
    }
}

type Break = fn(&mut Facts);

/// One control broken, and the channels that it opens.
#[allow(clippy::too_many_lines, reason = "a table")]
fn broken() -> Vec<(&'static str, &'static [u8], Break)> {
    const SURROUNDED: &[u8] = &[
        2, 3, 4, 5, 6, 7, 10, 12, 14, 23, 24, 25, 29, 31, 32, 33, 34, 35, 36, 38, 42, 45,
    ];
    vec![
        ("the inventory are not read", SURROUNDED, |f| {
            f.inventory = Observed::Failed(ReadFailure::Forbidden.into());
        }),
        ("the inventory were never read", SURROUNDED, |f| {
            f.inventory = Observed::NotAsked;
        }),
        ("a way to the outside", &[1, 9], |f| {
            sees(f, Class::OutsideAddress);
        }),
        ("a way to the metadata address", &[1, 9], |f| {
            sees(f, Class::MetadataAddress);
        }),
        ("a way to other nodes", &[1, 9], |f| {
            sees(f, Class::OtherNode);
        }),
        ("a way to another region's pods", &[2], |f| {
            sees(f, Class::OtherRegionPod);
        }),
        ("a way to another region's Services", &[2], |f| {
            sees(f, Class::OtherRegionService);
        }),
        ("names outside are resolved", &[8], |f| {
            sees(f, Class::OutsideName);
        }),
        ("a way to the API server", &[10], |f| {
            sees(f, Class::ApiServer);
        }),
        ("the canaries are dead", &[1, 2, 8, 9, 10], |f| {
            f.pods.live.retain(|name, _| !name.contains("canary"));
        }),
        ("the canaries are stale", &[1, 2, 8, 9, 10], |f| {
            f.now += jiff::SignedDuration::from_hours(1);
        }),
        ("a pod that did not start behind the fence", &[1, 2], |f| {
            member(f).fence = FenceFact::Missing;
        }),
        ("a pod whose fence left no report", &[1, 2], |f| {
            member(f).fence = FenceFact::Passed { report: None };
        }),
        (
            "a pod of whose addresses not all were tried",
            &[1, 2],
            |f| {
                member(f).fence = passed(Fenced::Unverified, None);
            },
        ),
        (
            "a pod that runs though its address was open",
            &[1, 2],
            |f| {
                member(f).fence = passed(Fenced::Open, Some(60_000));
            },
        ),
        ("no responder of the fence is ready", &[1, 2], |f| {
            f.fence_responder = Observed::Seen([([10, 200, 9, 1].into(), false)].into());
        }),
        ("the responder of the fence is gone", &[1, 2], |f| {
            f.fence_responder = Observed::Seen(BTreeMap::new());
        }),
        (
            "the responder of the fence was not looked for",
            &[1, 2],
            |f| {
                f.fence_responder = Observed::NotAsked;
            },
        ),
        ("a namespace without default deny", &[1, 2, 9], |f| {
            f.network_policies.remove("tr-obs/default-deny");
        }),
        ("a foreign NetworkPolicy", &[3], |f| {
            inventory(f).foreign_policies.insert("tr/open".to_owned());
        }),
        ("Pod Security is weaker", &[4], |f| {
            f.namespaces
                .get_mut("tr")
                .expect("it is there")
                .insert(RESTRICTED.to_owned(), "baseline".to_owned());
        }),
        ("Pod Security of drills is gone", &[4], |f| {
            f.namespaces
                .get_mut("tr-drill")
                .expect("it is there")
                .remove(RESTRICTED);
        }),
        ("a pod on its node's network", &[4], |f| {
            pod(f).host_network = true;
        }),
        ("a published Service", &[5], |f| {
            inventory(f).published_services.insert("tr/open".to_owned());
        }),
        ("a slice made by hand", &[5], |f| {
            inventory(f).manual_slices.insert("tr/open".to_owned());
        }),
        ("an Ingress", &[6], |f| {
            inventory(f).ingresses.insert("tr/open".to_owned());
        }),
        ("a mesh", &[7], |f| {
            inventory(f).api_groups.insert("submariner.io".to_owned());
        }),
        ("a foreign RoleBinding", &[10], |f| {
            inventory(f).bindings.insert(
                "tr/open".to_owned(),
                "ClusterRole/admin to User/x".to_owned(),
            );
        }),
        ("a pod with a token", &[10], |f| {
            pod(f).account = Some("default".to_owned());
        }),
        ("a pod of ours elsewhere", &[12], |f| {
            f.pods.live.get_mut("tr-pg-0").expect("it is there").node = Some("es-1".to_owned());
        }),
        ("a drill's namesake elsewhere", &[12], |f| {
            let mut pod = of_a_drill();
            pod.node = Some("es-1".to_owned());
            f.pods.beside.insert("tr-drill/tr-pg-0".to_owned(), pod);
        }),
        ("a drill's namesake without its fence", &[1, 2], |f| {
            let mut pod = of_a_drill();
            pod.fence = FenceFact::Missing;
            f.pods.beside.insert("tr-drill/tr-pg-0".to_owned(), pod);
        }),
        ("a drill that streams from the primary", &[26], |f| {
            postgres(f).replication[0].address = of_a_drill().ip;
            f.pods
                .beside
                .insert("tr-drill/tr-pg-0".to_owned(), of_a_drill());
        }),
        ("a drill's volume elsewhere", &[13], |f| {
            let mut volume = volume("tr-drill", "data-tr-pg-0");
            volume.alternatives[0].insert(
                NODE_HOSTNAME.to_owned(),
                BTreeSet::from(["es-1".to_owned()]),
            );
            f.volumes.insert("pv-drill".to_owned(), volume);
        }),
        ("a drill's bound volume that is not read", &[13], |f| {
            f.claims.beside.insert(
                "tr-drill/data-tr-pg-0".to_owned(),
                ClaimFact {
                    labels: identity(&tr()),
                    capacity: Some(1 << 30),
                    ..ClaimFact::default()
                },
            );
        }),
        ("a foreign pod elsewhere", &[12], |f| {
            pod(f).node = Some("es-1".to_owned());
        }),
        ("a node that was relabelled", &[12, 13], |f| {
            f.nodes
                .get_mut("tr-1")
                .expect("it is there")
                .insert(NODE_REGION.to_owned(), "es-mad-1".to_owned());
        }),
        ("a node that lost its label", &[12, 13], |f| {
            f.nodes
                .get_mut("tr-1")
                .expect("it is there")
                .remove(NODE_REGION);
        }),
        ("a volume elsewhere", &[13], |f| {
            f.volumes
                .values_mut()
                .next()
                .expect("a volume")
                .alternatives[0]
                .insert(
                    NODE_HOSTNAME.to_owned(),
                    BTreeSet::from(["es-1".to_owned()]),
                );
        }),
        ("a volume that may also be elsewhere", &[13], |f| {
            f.volumes
                .values_mut()
                .next()
                .expect("a volume")
                .alternatives
                .push(BTreeMap::from([(
                    NODE_HOSTNAME.to_owned(),
                    BTreeSet::from(["es-1".to_owned()]),
                )]));
        }),
        ("a volume that may be anywhere", &[13], |f| {
            f.volumes
                .values_mut()
                .next()
                .expect("a volume")
                .alternatives
                .clear();
        }),
        ("a bound volume that was not read", &[13], |f| {
            let first = f.volumes.keys().next().expect("a volume").clone();
            f.volumes.remove(&first);
        }),
        ("snapshots without their policy", &[13, 14], |f| {
            inventory(f)
                .api_groups
                .insert("snapshot.storage.k8s.io".to_owned());
            f.admission.clear();
        }),
        ("a snapshot of a class elsewhere", &[14], |f| {
            let class = ("tr/copy".to_owned(), "es-mad-1-local".to_owned());
            served_snapshots(f, Some([class].into()));
        }),
        (
            "a snapshot of a class that begins like the place",
            &[14],
            |f| {
                let class = ("tr-drill/copy".to_owned(), "tr-ist-10".to_owned());
                served_snapshots(f, Some([class].into()));
            },
        ),
        ("a snapshot of no class", &[14], |f| {
            let class = ("tr/copy".to_owned(), String::new());
            served_snapshots(f, Some([class].into()));
        }),
        ("snapshots that could not be listed", &[14], |f| {
            served_snapshots(f, None);
        }),
        ("a volume that goes with its claim", &[16], |f| {
            f.volumes.values_mut().next().expect("a volume").retained = false;
        }),
        ("the store signs for another region", &[17], |f| {
            "es-mad-1".clone_into(&mut store(f).region);
        }),
        ("WAL arrives elsewhere", &[17], |f| {
            f.archived = archived(false, true);
        }),
        ("WAL of long ago is not there", &[17], |f| {
            f.archived = archived(false, false);
        }),
        ("WAL is not read back", &[17], |f| {
            f.archived = Observed::Failed(ReadFailure::TimedOut.into());
        }),
        ("WAL was never read back", &[17], |f| {
            f.archived = Observed::NotAsked;
        }),
        ("the repository bears another's marker", &[17], |f| {
            store(f).marker = Observed::Seen(Marker::Foreign(Difference::Region));
        }),
        ("the repository's marker is missing", &[17], |f| {
            store(f).marker = Observed::Seen(Marker::Missing);
        }),
        ("the repository's marker is not read", &[17], |f| {
            store(f).marker = Observed::Failed(ReadFailure::TimedOut.into());
        }),
        ("the repository's marker is not looked for", &[17], |f| {
            store(f).marker = Observed::NotAsked;
        }),
        ("the repository's bucket is gone", &[17], |f| {
            store(f).buckets.remove("bailiwick-backup");
        }),
        ("site replication", &[18], |f| {
            store(f).outlets.insert(Outlet::SiteReplication);
        }),
        ("bucket replication", &[18], |f| {
            bucket(f).outlets.insert(BucketOutlet::Replication);
        }),
        ("a remote target", &[18], |f| {
            bucket(f)
                .outlets
                .insert(BucketOutlet::Target("arn".to_owned()));
        }),
        ("a tier", &[19], |f| {
            store(f).outlets.insert(Outlet::Tier("COLD".to_owned()));
        }),
        ("an identity provider", &[20], |f| {
            store(f)
                .outlets
                .insert(Outlet::IdentityProvider("openid".to_owned()));
        }),
        ("notifications", &[20], |f| {
            bucket(f).outlets.insert(BucketOutlet::Notification);
        }),
        ("a setting in a server's environment", &[20], |f| {
            store(f)
                .outlets
                .insert(Outlet::Setting("MINIO_NOTIFY".to_owned()));
        }),
        ("a bucket policy", &[21], |f| {
            bucket(f).outlets.insert(BucketOutlet::Policy);
        }),
        ("a user that nobody made", &[21], |f| {
            store(f).outlets.insert(Outlet::User("x".to_owned()));
        }),
        ("the store's users are not listed", &[21], |f| {
            store(f).users_listed = false;
        }),
        ("a database that nobody looks into", &[27, 28], |f| {
            let database = DatabaseFact {
                owner: "somebody".to_owned(),
                open: true,
                ..DatabaseFact::default()
            };
            postgres(f).databases.insert("theirs".to_owned(), database);
        }),
        ("the store is not read", &[17, 18, 19, 20, 21, 46], |f| {
            f.store = Observed::Failed(ReadFailure::TimedOut.into());
        }),
        ("the key's Secret is gone", &[22], |f| {
            f.secrets.remove("tr-backup-key");
        }),
        ("the key may be copied", &[22, 37], |f| {
            f.secrets
                .get_mut("tr-backup-key")
                .expect("it is there")
                .replicated = true;
        }),
        ("the policy on Secrets is gone", &[22, 37], |f| {
            f.admission.remove("bailiwick-secrets");
        }),
        ("another lifecycle", &[46], |f| {
            bucket(f).lifecycle = Lifecycle::Other;
        }),
        ("Velero", &[23], |f| {
            inventory(f).api_groups.insert("velero.io".to_owned());
        }),
        ("a pod in the drill namespace", &[24], |f| {
            inventory(f)
                .pods
                .insert("tr-drill/x".to_owned(), neighbour());
        }),
        ("a foreign pod", &[25], |f| pod(f).ours = false),
        ("a walsender to nobody of ours", &[26], |f| {
            postgres(f).replication[0].address = Some("198.51.100.7".to_owned());
        }),
        ("a logical slot", &[27], |f| {
            postgres(f).slots.insert(
                "x".to_owned(),
                SlotFact {
                    logical: true,
                    active: false,
                },
            );
        }),
        ("a publication", &[27], |f| inside(f).publications = 1),
        ("a subscription", &[27], |f| inside(f).subscriptions = 1),
        ("a foreign server", &[28], |f| inside(f).foreign_servers = 1),
        ("an extension that is not allowed", &[28], |f| {
            inside(f).extensions.insert(
                "dblink".to_owned(),
                bailiwick_model::sql::ExtensionFact::default(),
            );
        }),
        ("a superuser", &[28], |f| {
            postgres(f).roles.insert(
                "x".to_owned(),
                RoleFact {
                    superuser: true,
                    ..RoleFact::default()
                },
            );
        }),
        ("a role that runs programs", &[28], |f| {
            postgres(f).memberships.insert(Membership {
                role: "pg_execute_server_program".to_owned(),
                member: "clinical_app_writer".to_owned(),
                grantor: "postgres".to_owned(),
                admin: false,
                inherit: true,
                set: true,
            });
        }),
        ("Postgres is not read", &[26, 27, 28, 30], |f| {
            f.postgres = Observed::NotAsked;
        }),
        ("an image of another registry", &[29, 42], |f| {
            pod(f).images.insert("docker.io/x/y:1".to_owned());
        }),
        ("a writable root", &[29], |f| pod(f).writable_root = true),
        ("statements are logged", &[30], |f| {
            postgres(f)
                .settings
                .insert("log_statement".to_owned(), "all".to_owned());
        }),
        ("statements that fail are logged", &[30], |f| {
            postgres(f)
                .settings
                .insert("log_min_error_statement".to_owned(), "error".to_owned());
        }),
        ("errors are logged with their details", &[30], |f| {
            postgres(f)
                .settings
                .insert("log_error_verbosity".to_owned(), "default".to_owned());
        }),
        ("statements of one role are logged", &[30], |f| {
            postgres(f).settings.insert(
                "log_statement of clinical_app_writer".to_owned(),
                "all".to_owned(),
            );
        }),
        ("pgaudit logs the statements themselves", &[30], |f| {
            postgres(f)
                .settings
                .insert("pgaudit.log_statement".to_owned(), "on".to_owned());
        }),
        ("pg_cron logs the statements of its jobs", &[30], |f| {
            postgres(f)
                .settings
                .insert("cron.log_statement".to_owned(), "on".to_owned());
        }),
        ("pgaudit logs one role's parameters", &[30], |f| {
            postgres(f).settings.insert(
                "pgaudit.log_parameter of clinical_app_writer".to_owned(),
                "on".to_owned(),
            );
        }),
        ("messages below a warning are logged", &[30], |f| {
            postgres(f)
                .settings
                .insert("log_min_messages".to_owned(), "debug2".to_owned());
        }),
        ("a setting was not read", &[30], |f| {
            postgres(f).settings.remove("log_duration");
        }),
        (
            "a pod in the observability namespace",
            &[31, 32, 33, 34, 35],
            |f| {
                inventory(f).pods.insert("tr-obs/x".to_owned(), neighbour());
            },
        ),
        ("a status that quotes a log", &[36], |f| {
            pod(f).quotes_log = true;
        }),
        ("no Secret was read", &[22, 37, 43], |f| f.secrets.clear()),
        ("a right too many", &[38], |f| {
            let right = bailiwick_model::facts::Right {
                verb: "list".to_owned(),
                group: String::new(),
                resource: "secrets".to_owned(),
                name: None,
            };
            inventory(f)
                .rights
                .as_mut()
                .expect("they were read")
                .insert(right);
        }),
        ("a right too few", &[38], |f| {
            inventory(f)
                .rights
                .as_mut()
                .expect("they were read")
                .pop_first();
        }),
        ("rights that were not listed whole", &[38], |f| {
            inventory(f).rights = None;
        }),
        ("Argo CD", &[39], |f| {
            inventory(f).api_groups.insert("argoproj.io".to_owned());
        }),
        ("the inventory do not tell of Argo CD", &[39], |f| {
            f.inventory = Observed::NotAsked;
        }),
        ("a certificate of another authority", &[43], |f| {
            f.secrets
                .get_mut("tr-pg-tls")
                .expect("it is there")
                .certificate = Some(certificate(false));
        }),
        ("an agent that reads the nodes' logs", &[45], |f| {
            inventory(f)
                .log_readers
                .insert("monitoring/agent".to_owned());
        }),
    ]
}

/// The API server serves snapshots, and these are there; none when they could not be listed.
fn served_snapshots(facts: &mut Facts, snapshots: Option<BTreeMap<String, String>>) {
    let inventory = inventory(facts);
    inventory
        .api_groups
        .insert("snapshot.storage.k8s.io".to_owned());
    inventory.snapshots = snapshots;
}

#[test]
fn snapshots_of_classes_of_the_place_are_no_leak() {
    let region = tr();
    let mut facts = closed(&region);
    let here = ["tr-ist-1", "tr-ist-1-local"];
    served_snapshots(
        &mut facts,
        Some(
            here.map(|class| (format!("tr/{class}"), class.to_owned()))
                .into(),
        ),
    );
    let plan = plan_of(&region, &facts);
    assert_eq!(states_of(&plan, &facts)[&14], ChannelState::Enforced);
}

fn bucket(facts: &mut Facts) -> &mut BucketFact {
    store(facts).buckets.values_mut().next().expect("a bucket")
}

/// The states with every control in place.
fn expected(id: u8) -> ChannelState {
    match id {
        // Nothing inside a cluster can see these.
        15 | 40 | 41 | 44 => ChannelState::Unknown,
        23 | 24 | 31..=35 | 39 => ChannelState::NotApplicable,
        11 | 25 | 36 | 45 | 46 => ChannelState::Audited,
        _ => ChannelState::Enforced,
    }
}

#[test]
fn there_are_forty_six_channels_in_order() {
    let ids: Vec<u8> = CHANNELS.iter().map(|channel| channel.id).collect();
    assert_eq!(ids, (1..=46).collect::<Vec<u8>>());
}

#[test]
fn with_every_control_in_place_every_channel_is_as_closed_as_it_can_be() {
    let region = tr();
    let facts = closed(&region);
    let plan = plan_of(&region, &facts);
    for row in channels(&plan, &facts, Assurance::Simulated).rows {
        let id: u8 = row.id.parse().expect("a number");
        assert_eq!(row.state, expected(id), "channel {id}: {}", row.evidence);
        assert_eq!(row.finding, None, "channel {id}");
        assert!(row.evidence.len() <= 120, "channel {id}: {}", row.evidence);
    }
}

#[test]
fn any_one_control_broken_flips_the_rows_of_its_channels() {
    let region = tr();
    let whole = closed(&region);
    let plan = plan_of(&region, &whole);
    let mut flipped: BTreeSet<u8> = BTreeSet::new();
    let mut count = 0;
    for (what, ids, act) in broken() {
        let mut facts = whole.clone();
        act(&mut facts);
        let states = states_of(&plan, &facts);
        for id in ids {
            assert_eq!(states[id], ChannelState::Unknown, "{what}: channel {id}");
            flipped.insert(*id);
            count += 1;
        }
    }
    // Each admission policy that a channel leans on.
    for name in policy::names() {
        let mut facts = whole.clone();
        facts.admission.remove(name);
        for (id, state) in states_of(&plan, &facts) {
            if state != expected(id) {
                assert_eq!(state, ChannelState::Unknown, "{name}: channel {id}");
                flipped.insert(id);
                count += 1;
            }
        }
    }
    println!("{count} rows flipped");
    for channel in CHANNELS {
        assert!(
            expected(channel.id) == ChannelState::Unknown || flipped.contains(&channel.id),
            "nothing flips channel {}: it is a constant",
            channel.id
        );
    }
}

/// The condition's status and reason.
fn enforced(region: &Region, facts: &Facts) -> (String, String) {
    enforced_of(region, &plan_of(region, &closed(region)), facts)
}

fn enforced_of(region: &Region, plan: &Plan, facts: &Facts) -> (String, String) {
    let outcome = Outcome::Applied(Applied {
        plan,
        facts,
        steps_due: 0,
        failed_steps: &[],
        archive: bailiwick_model::archive::archive(plan, facts, None),
        full_backup: None,
        retained: Retained::default(),
        refused: &[],
    });
    let status = status(region, &outcome, facts.now);
    let found = status
        .conditions
        .iter()
        .find(|condition| condition.type_ == "ResidencyEnforced")
        .expect("the condition is there");
    (found.status.clone(), found.reason.clone())
}

#[test]
fn residency_is_enforced_when_nothing_demanded_is_unknown() {
    let region = tr();
    assert_eq!(
        enforced(&region, &closed(&region)),
        ("True".to_owned(), "Verified".to_owned())
    );
}

#[test]
fn it_is_never_enforced_while_a_demanded_control_is_broken() {
    let region = tr();
    let whole = closed(&region);
    let plan = plan_of(&region, &whole);
    let all = broken();
    // A generator of our own: the order of subsets is the same in every run.
    let mut seed: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed >> 33).expect("31 bits")
    };
    let mut tried = 0;
    for _ in 0..300 {
        let mut facts = whole.clone();
        let mut demanded = false;
        for _ in 0..=next() % 4 {
            let (_, ids, act) = &all[next() % all.len()];
            let before = facts.clone();
            // A control that another break has already taken away cannot be broken again.
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| act(&mut facts))).is_err() {
                facts = before;
                continue;
            }
            demanded |= ids
                .iter()
                .any(|id| CHANNELS[usize::from(*id) - 1].demanded == Assurance::Simulated);
        }
        if demanded {
            tried += 1;
            assert_ne!(enforced_of(&region, &plan, &facts).0, "True");
        }
    }
    assert!(tried >= 100, "{tried} subsets");
}

#[test]
fn a_foreign_marker_is_found_open_and_one_that_is_not_seen_is_not_known() {
    let region = tr();
    let plan = plan_of(&region, &closed(&region));
    let row = |marker: Observed<Marker>| {
        let mut facts = closed(&region);
        store(&mut facts).marker = marker;
        let channels = channels(&plan, &facts, Assurance::Simulated);
        // Whose a repository is shows no leak by itself, and what is not known of it ends none.
        assert_eq!((channels.leaks, channels.unseen), (vec![], vec![]));
        assert_eq!(
            enforced_of(&region, &plan, &facts).0 == "False",
            !channels.open.is_empty()
        );
        channels.rows[16].clone()
    };
    let foreign = row(Observed::Seen(Marker::Foreign(Difference::Region)));
    let finding = foreign.finding.expect("it is found open");
    for word in [
        ".residency.json",
        "bailiwick-backup",
        "names another Region",
        "expected the marker of Region tr",
        "docs/runbooks/repository-marker.md",
    ] {
        assert!(finding.contains(word), "{finding}");
    }
    for (marker, evidence) in [
        (
            Observed::Seen(Marker::Missing),
            "bucket bailiwick-backup is without object .residency.json",
        ),
        (
            Observed::Failed(ReadFailure::Forbidden.into()),
            "object .residency.json: Forbidden",
        ),
        (Observed::NotAsked, "object .residency.json: not looked for"),
    ] {
        let row = row(marker);
        assert_eq!(row.state, ChannelState::Unknown);
        assert_eq!((row.evidence.as_str(), row.finding), (evidence, None));
    }
}

#[test]
fn wal_that_did_not_arrive_is_found_open_only_while_it_must_be_there() {
    let region = tr();
    let plan = plan_of(&region, &closed(&region));
    let row = |archived: Observed<ReadBack>| {
        let mut facts = closed(&region);
        facts.archived = archived;
        let channels = channels(&plan, &facts, Assurance::Simulated);
        // It shows that the control fails, and not where the data went.
        assert_eq!(channels.leaks, []);
        channels.rows[16].clone()
    };
    // What is there is there, whenever it was archived.
    assert_eq!(row(archived(true, false)).state, ChannelState::Enforced);
    let finding = row(archived(false, true)).finding.expect("found open");
    for word in ["bailiwick-backup", "pgBackRest may write elsewhere"] {
        assert!(finding.contains(word), "{finding}");
    }
    for (archived, evidence) in [
        (archived(false, false), "no WAL was archived of late"),
        (
            Observed::Failed(ReadFailure::Unreachable.into()),
            "WAL: Unreachable",
        ),
        (Observed::NotAsked, "no WAL was read back yet"),
    ] {
        let row = row(archived);
        assert_eq!(row.state, ChannelState::Unknown);
        assert_eq!((row.evidence.as_str(), row.finding), (evidence, None));
    }
}

#[test]
fn a_pod_that_has_ended_elsewhere_runs_nowhere() {
    let region = tr();
    let mut facts = closed(&region);
    for pod in facts.pods.live.values_mut() {
        if pod.ended.is_some() {
            pod.node = Some("es-1".to_owned());
        }
    }
    let elsewhere = NamespacePod {
        ended: true,
        node: Some("es-1".to_owned()),
        ..neighbour()
    };
    inventory(&mut facts)
        .pods
        .insert("tr/tr-canary-1".to_owned(), elsewhere);
    assert_eq!(states(&region, &facts)[&12], ChannelState::Enforced);
}

#[test]
fn an_exception_holds_until_it_expires_and_then_blocks() {
    let region = tr_with(
        "spec: {residency: {exceptions: [{channel: '23', reason: cluster backup is checked by hand, approvedBy: dpo, \
         expires: '2026-12-01T00:00:00Z'}]}}",
    );
    let mut facts = closed(&region);
    inventory(&mut facts)
        .api_groups
        .insert("velero.io".to_owned());
    assert_eq!(states(&region, &facts)[&23], ChannelState::Exception);
    assert_eq!(enforced(&region, &facts).0, "True");
    facts.now = "2026-12-01T00:00:00Z".parse().expect("a time");
    assert_eq!(states(&region, &facts)[&23], ChannelState::Unknown);
    assert_eq!(
        enforced(&region, &facts),
        ("False".to_owned(), "ExceptionExpired".to_owned())
    );
}

/// Where anybody who may write the Region may also grant an exception, it is nobody's word.
#[test]
fn an_exception_counts_only_while_its_approvers_are_asked() {
    let region = tr_with(
        "spec: {residency: {exceptions: [{channel: '23', reason: cluster backup is checked by hand, approvedBy: dpo, \
         expires: '2026-12-01T00:00:00Z'}]}}",
    );
    let mut facts = closed(&region);
    inventory(&mut facts)
        .api_groups
        .insert("velero.io".to_owned());
    assert_eq!(states(&region, &facts)[&23], ChannelState::Exception);
    facts.admission.remove("bailiwick-residency-exceptions");
    let plan = plan_of(&region, &facts);
    let found = channels(&plan, &facts, plan.assurance);
    let row = &found.rows[22];
    assert_eq!((row.id.as_str(), row.state), ("23", ChannelState::Unknown));
    assert!(
        row.evidence.contains("bailiwick-residency-exceptions"),
        "{}",
        row.evidence
    );
    assert_ne!(enforced(&region, &facts).0, "True");
}

#[test]
fn an_exception_for_what_is_closed_changes_nothing() {
    let region = tr_with(
        "spec: {residency: {exceptions: [{channel: '18', reason: none, approvedBy: dpo, expires: '2026-12-01T00:00:00Z'}]}}",
    );
    let facts = closed(&region);
    assert_eq!(states(&region, &facts)[&18], ChannelState::Enforced);
}

#[test]
fn more_assurance_demands_more() {
    let region = tr();
    let facts = closed(&region);
    let plan = plan_of(&region, &facts);
    let unknown = |assurance| channels(&plan, &facts, assurance).unknown;
    assert_eq!(unknown(Assurance::Simulated), Vec::<u8>::new());
    assert_eq!(unknown(Assurance::Logical), Vec::<u8>::new());
    assert_eq!(unknown(Assurance::Physical), [15, 40, 41, 44]);
}

#[test]
fn a_client_that_is_not_as_closed_as_the_region_is_unknown() {
    let region = tr();
    for act in [
        (|client| client.region = None) as fn(&mut ClientNamespace),
        |client| client.region = Some("es".to_owned()),
        |client| client.default_deny = false,
        |client| {
            client.nodes.insert("es-1".to_owned());
        },
    ] {
        let mut facts = closed(&region);
        act(inventory(&mut facts)
            .clients
            .get_mut("patient")
            .expect("a client"));
        assert_eq!(states(&region, &facts)[&2], ChannelState::Unknown);
    }
}

#[test]
fn the_time_of_checking_moves_in_steps() {
    let region = tr();
    let plan = plan_of(&region, &closed(&region));
    let mut region = region;
    let mut moved = Vec::new();
    for minute in 0..12 {
        let mut facts = closed(&region);
        facts.now += jiff::SignedDuration::from_mins(minute);
        let outcome = Outcome::Applied(Applied {
            plan: &plan,
            facts: &facts,
            steps_due: 0,
            failed_steps: &[],
            archive: bailiwick_model::archive::archive(&plan, &facts, None),
            full_backup: None,
            retained: Retained::default(),
            refused: &[],
        });
        let next = status(&region, &outcome, facts.now);
        let checked = |status: Option<&bailiwick_model::region::RegionStatus>| {
            status
                .and_then(|status| status.residency.as_ref())
                .and_then(|residency| residency.checked_at)
        };
        if checked(Some(&next)) != checked(region.status.as_ref()) {
            moved.push(minute);
        }
        region.status = Some(next);
    }
    assert_eq!(moved, [0, 5, 10]);
}

/// Each canary measured a window of its own.
fn measured(facts: &mut Facts, outcome: Fenced, windows: [Option<u64>; 2]) {
    for (guise, window) in Guise::ALL.into_iter().zip(windows) {
        let pod = facts.pods.live.get_mut(&format!("tr-{}-1", guise.label()));
        pod.expect("a canary").fence = passed(outcome, window);
    }
}

/// What channel 1 is known by.
fn egress(facts: &Facts) -> (ChannelState, String, Option<String>) {
    let region = tr();
    let plan = plan_of(&region, &closed(&region));
    let rows = channels(&plan, facts, Assurance::Simulated).rows;
    let row = rows.into_iter().next().expect("channel 1");
    (row.state, row.evidence, row.finding)
}

#[test]
fn a_start_window_is_no_leak_and_is_told_in_words_that_stay() {
    let mut evidence = BTreeSet::new();
    for (windows, words) in [
        ([None, None], "no window"),
        ([Some(420), None], "window < 5 s"),
        ([Some(900), Some(4_800)], "window < 5 s"),
        ([Some(900), Some(12_000)], "window < 30 s"),
        ([Some(59_000), None], "window >= 30 s"),
    ] {
        let mut facts = closed(&tr());
        measured(&mut facts, Fenced::Fenced, windows);
        let (state, told, finding) = egress(&facts);
        assert_eq!((state, finding), (ChannelState::Enforced, None), "{told}");
        assert!(
            told.contains(&format!("fence: 2 pods closed, {words};")),
            "{told}"
        );
        assert!(told.len() <= 120, "{told}");
        let longest = windows.iter().flatten().max().copied().unwrap_or_default();
        let seen = fence::start_window(&facts).expect("it was measured");
        assert_eq!(seen.as_millis(), u128::from(longest));
        evidence.insert(told);
    }
    assert_eq!(evidence.len(), 4);
}

#[test]
fn a_boundary_that_stays_open_is_found_by_what_the_canary_tries_after_its_fence() {
    let mut facts = closed(&tr());
    sees(&mut facts, Class::OutsideAddress);
    measured(&mut facts, Fenced::Open, [Some(20_000); 2]);
    let (state, _, finding) = egress(&facts);
    assert_eq!(state, ChannelState::Unknown);
    let finding = finding.expect("a finding");
    assert!(finding.contains("198.51.100.10:443"), "{finding}");
    let region = tr();
    let plan = plan_of(&region, &closed(&region));
    let found = channels(&plan, &facts, Assurance::Simulated);
    assert!(
        found.leaks.iter().any(|(id, _)| *id == 1),
        "{:?}",
        found.leaks
    );
}

#[test]
fn a_pod_without_its_fence_is_a_finding_that_names_it_and_one_that_is_held_is_none() {
    let mut facts = closed(&tr());
    member(&mut facts).fence = FenceFact::Missing;
    let (state, _, finding) = egress(&facts);
    assert_eq!(state, ChannelState::Unknown);
    let finding = finding.expect("a finding");
    assert!(
        finding.starts_with("tr-pg-0: runs and did not start behind the fence; delete it"),
        "{finding}"
    );

    // Nothing of it runs: the other one is as closed as before.
    member(&mut facts).fence = FenceFact::Holds {
        failures: 3,
        report: Some(report(Fenced::Open, Some(60_000))),
    };
    let (state, told, finding) = egress(&facts);
    assert_eq!((state, finding), (ChannelState::Enforced, None), "{told}");
    assert!(told.contains("fence: 1 pod closed"), "{told}");

    // A pod of a Job that its fence held to the end is over.
    let job = PodFact {
        node: Some("tr-1".to_owned()),
        finished: true,
        ..PodFact::default()
    };
    facts.pods.live.insert("tr-pg-stanza-i1-x".to_owned(), job);
    assert_eq!(egress(&facts).0, ChannelState::Enforced);
}

#[test]
fn what_a_drill_has_elsewhere_is_named_with_its_namespace() {
    let region = tr();
    let plan = plan_of(&region, &closed(&region));
    for (what, named) in [
        ("a drill's namesake elsewhere", "pod tr-drill/tr-pg-0 runs"),
        (
            "a drill's namesake without its fence",
            "tr-drill/tr-pg-0: runs",
        ),
        (
            "a drill's volume elsewhere",
            "PersistentVolume pv-drill of claim tr-drill/data-tr-pg-0 lies in es-mad-1",
        ),
    ] {
        let mut facts = closed(&region);
        let (_, _, broken) = broken()
            .into_iter()
            .find(|(row, ..)| *row == what)
            .expect("it is in the table");
        broken(&mut facts);
        let found: Vec<String> = channels(&plan, &facts, Assurance::Simulated)
            .rows
            .into_iter()
            .filter_map(|row| row.finding)
            .collect();
        assert!(
            found.iter().any(|finding| finding.contains(named)),
            "{what}: {found:?}"
        );
    }
}

/// Keeps the imports of the claims honest: a claim without a volume is none that was read.
#[test]
fn claims_that_are_not_bound_need_no_volume() {
    let region = tr();
    let mut facts = closed(&region);
    facts.claims.live.insert(
        "data-tr-pg-7".to_owned(),
        ClaimFact {
            labels: identity(&region),
            ..ClaimFact::default()
        },
    );
    assert_eq!(states(&region, &facts)[&13], expected(13));
}
