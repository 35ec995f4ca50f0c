//! Each control of each channel, broken: what is done to the facts, and the channels that it must turn.

use std::collections::{BTreeMap, BTreeSet};

use bailiwick_model::canary::question::Class;
use bailiwick_model::facts::postgres::{DatabaseFact, Membership, RoleFact, SlotFact};
use bailiwick_model::facts::repository::{Difference, Marker};
use bailiwick_model::facts::store::{BucketOutlet, Lifecycle, Outlet};
use bailiwick_model::facts::{ClaimFact, Facts, FenceFact, Observed, ReadFailure};
use bailiwick_model::fence::Outcome as Fenced;
use bailiwick_model::names::{NODE_HOSTNAME, NODE_REGION};

use super::{
    RESTRICTED, archived, bucket, certificate, inside, inventory, member, neighbour, of_a_drill,
    pod, postgres, sees, served_snapshots, store, volume,
};
use crate::fixture::{identity, passed, tr};

type Break = fn(&mut Facts);

/// One control broken, and the channels that it opens.
#[allow(clippy::too_many_lines, reason = "a table")]
pub fn broken() -> Vec<(&'static str, &'static [u8], Break)> {
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
                bailiwick_model::facts::postgres::ExtensionFact::default(),
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
