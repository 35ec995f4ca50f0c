//! The cases, in the order in which they run.

mod attacks;
pub mod components;
pub mod faults;
pub mod residency;

use std::time::Duration;

use futures::FutureExt;

use attacks::{editor, refusals, token};
use components::{
    access, archive, audit, hibernated, placement, plugin, ready, renewal, restart, retention,
    scaled,
};
use faults::{failover, outage, reboot, rebuilt, repair, takeover};
use residency::{again, apart, canary, channels, conformance, controls, evidence, fence, marker};

use crate::Case;
use crate::client;
use crate::cluster::Cluster;
use crate::failure::{Outcome, While};
use crate::processes;

/// What is played at once: one case alone, or several that have nothing to do with one another, each with its name.
pub type Step = &'static [(&'static str, Case)];

/// All cases, step after step. Cases of one step touch different Regions, or none, and nothing that Regions share: neither the
/// operator's pods, nor nodes, cluster DNS, the API server or admission. Where one of them does, its step says why the others
/// may bear it.
pub const STEPS: &[Step] = &[
    &[("regions-ready", |cluster| {
        ready::conditions(cluster).boxed()
    })],
    &[("printer-columns", |cluster| ready::columns(cluster).boxed())],
    &[("pods-and-volumes-on-own-nodes", |cluster| {
        placement::own_nodes(cluster).boxed()
    })],
    // They only connect: each by pods of its own, and what two of them write are rows and objects of its own run.
    &[
        ("client-postgres", |cluster| {
            access::postgres(cluster).boxed()
        }),
        ("client-object-store", |cluster| {
            access::object_store(cluster).boxed()
        }),
        ("stranger-is-kept-out", |cluster| {
            access::stranger(cluster).boxed()
        }),
    ],
    // Eight pods at once by itself.
    &[("regions-keep-apart", |cluster| {
        apart::regions(cluster).boxed()
    })],
    &[("start-fence", |cluster| fence::holds(cluster).boxed())],
    &[("canary-holds", |cluster| canary::holds(cluster).boxed())],
    &[("canary-finds-a-leak", |cluster| {
        canary::finds_a_leak(cluster).boxed()
    })],
    &[("policies-removed-are-noticed", |cluster| {
        controls::policies(cluster).boxed()
    })],
    &[("relabelled-node-is-noticed", |cluster| {
        controls::node(cluster).boxed()
    })],
    &[("channels-red-and-green", |cluster| {
        channels::red_and_green(cluster).boxed()
    })],
    &[("random-breaks-are-honest", |cluster| {
        channels::random(cluster).boxed()
    })],
    &[("editor-cannot-widen", |cluster| {
        editor::cannot_widen(cluster).boxed()
    })],
    &[("attacks-are-blocked", |cluster| {
        attacks::corpus(cluster).boxed()
    })],
    &[("stolen-token-stays-inside", |cluster| {
        token::stolen(cluster).boxed()
    })],
    &[("plugin-tells", |cluster| plugin::tells(cluster).boxed())],
    // The marker waits and is looked for; the others read the logs and the archives that are there, by users of their own.
    &[
        ("evidence-verifies", |cluster| {
            evidence::verifies(cluster).boxed()
        }),
        ("marker-stays-home", |cluster| {
            marker::stays_home(cluster).boxed()
        }),
        ("archive-is-encrypted", |cluster| {
            archive::ciphertext(cluster).boxed()
        }),
    ],
    &[("lost-row-is-noticed", |cluster| {
        failover::loss_is_noticed(cluster).boxed()
    })],
    // The one in tr, the other in es.
    &[
        ("postmaster-killed", |cluster| {
            failover::postmaster(cluster).boxed()
        }),
        ("member-killed", |cluster| failover::member(cluster).boxed()),
    ],
    // A member of es stands still while the node of tr is away, and with it perhaps the operator: nothing of es is on that
    // node, its members agree by the API server, and what the operator says of them is awaited for longer than it is away.
    &[
        ("primary-frozen", |cluster| {
            failover::frozen(cluster).boxed()
        }),
        ("node-rebooted", |cluster| reboot::node(cluster).boxed()),
    ],
    &[("api-server-hangs-and-is-gone", |cluster| {
        outage::api_server(cluster).boxed()
    })],
    &[("two-operators", |cluster| {
        takeover::operators(cluster).boxed()
    })],
    // The one in es, the other in tr.
    &[
        ("volume-lost-is-rebuilt", |cluster| {
            rebuilt::volume(cluster).boxed()
        }),
        ("store-stopped", |cluster| {
            archive::store_stopped(cluster).boxed()
        }),
    ],
    // The one in es starts the operator again. The exception is one of tr, and is in the spec and not in the operator's memory:
    // it expires long after the operator is back.
    &[
        ("certificates-renewed-under-connections", |cluster| {
            renewal::certificates(cluster).boxed()
        }),
        ("exception-expires", |cluster| {
            controls::exception(cluster).boxed()
        }),
    ],
    // The one in tr, the other in es.
    &[
        ("restart-under-a-writer", |cluster| {
            restart::setting(cluster).boxed()
        }),
        ("instances-scaled", |cluster| {
            scaled::instances(cluster).boxed()
        }),
    ],
    &[("deleted-children-repaired", |cluster| {
        repair::deleted(cluster).boxed()
    })],
    &[("foreign-edits-removed", |cluster| {
        repair::edited(cluster).boxed()
    })],
    // From here to settings-repaired nothing touches tr.
    &[("settings-deleted", |cluster| {
        repair::settings_deleted(cluster).boxed()
    })],
    // Region es is deleted; bad Regions have names, namespaces and classes of their own.
    &[
        ("region-deleted-and-readopted", |cluster| {
            retention::region(cluster).boxed()
        }),
        ("bad-regions-refused", |cluster| {
            refusals::bad_regions(cluster).boxed()
        }),
    ],
    // The same; the cases of the enforcer are tried between pods of their own namespaces.
    &[
        ("file-deleted-and-readopted", |cluster| {
            retention::file(cluster).boxed()
        }),
        ("network-policy-conformance", |cluster| {
            conformance::upstream(cluster).boxed()
        }),
    ],
    &[("hibernated-and-resumed", |cluster| {
        hibernated::and_resumed(cluster).boxed()
    })],
    &[("settings-repaired", |cluster| {
        repair::settings_repaired(cluster).boxed()
    })],
    &[("quiet-when-settled", |cluster| {
        audit::quiet(cluster).boxed()
    })],
];

/// No case takes longer, or it has failed.
pub const LONGEST: Duration = Duration::from_mins(25);

/// Cases that take minutes each, and run only when they are named, as `make soak` does.
pub const LONG: &[(&str, Case)] = &[
    ("soak-scaled-down-with-all-well", |cluster| {
        scaled::campaign::healthy(cluster).boxed()
    }),
    ("soak-scaled-down-with-a-pending-member", |cluster| {
        scaled::campaign::pending(cluster).boxed()
    }),
    ("soak-scaled-down-with-a-frozen-member", |cluster| {
        scaled::campaign::frozen(cluster).boxed()
    }),
    (
        "soak-scaled-down-with-a-member-that-receives-nothing",
        |cluster| scaled::campaign::not_receiving(cluster).boxed(),
    ),
    ("soak-failovers", |cluster| {
        failover::campaign(cluster).boxed()
    }),
    ("soak-random-breaks", |cluster| {
        again::random_breaks(cluster).boxed()
    }),
    ("soak-deleted-in-the-foreground", |cluster| {
        retention::variants::foreground(cluster).boxed()
    }),
    ("soak-deleted-and-orphaned", |cluster| {
        retention::variants::orphan(cluster).boxed()
    }),
    ("soak-deleted-without-an-operator", |cluster| {
        retention::variants::operator_down(cluster).boxed()
    }),
    ("soak-namespaces-deleted", |cluster| {
        retention::variants::namespaces(cluster).boxed()
    }),
];

/// What every step builds on: the Regions as they stand in the overlay, and nothing left frozen. A case that failed half way
/// must not make the next step fail.
pub async fn restore(cluster: &Cluster) -> Outcome {
    client::end_all(cluster).await?;
    controls::restore(cluster).await?;
    scaled::campaign::restore(cluster).await?;
    for place in &cluster.places {
        retention::remove_foreign(cluster, place).await?;
        canary::remove_opening(cluster, place).await?;
        cluster.apply(&place.documents).await.during(format_args!(
            "overlays/dev-local/regions/{}.yaml",
            place.region
        ))?;
        for pod in cluster.pods(&place.names.namespace()).await? {
            // A pod that has ended has no control group, and nothing to thaw.
            let _ = processes::thaw(&pod);
        }
    }
    // Once the Regions and their namespaces are there.
    channels::restore(cluster).await
}
