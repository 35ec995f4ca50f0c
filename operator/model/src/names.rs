//! Every label, annotation, port and object name, declared once. Names in, names out; no I/O.

pub mod component;

use bailiwick_api::region::Region;
use kube::ResourceExt;

use crate::flow::Guise;

/// The field manager of every write.
pub const FIELD_MANAGER: &str = "bailiwick-operator";
/// The value of `app.kubernetes.io/managed-by` on every object we write.
pub const MANAGED_BY: &str = "bailiwick-operator";
/// Label: the program that writes the object.
pub const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// Label: what runs there, `postgres` or `object-store`.
pub const LABEL_NAME: &str = "app.kubernetes.io/name";
/// Label: the Region's name, as the instance of the application.
pub const LABEL_INSTANCE: &str = "app.kubernetes.io/instance";
/// Label: the Region that an object belongs to.
pub const LABEL_REGION: &str = "bailiwick.dev/region";
/// Label: the location that an object is bound to.
pub const LABEL_LOCATION: &str = "bailiwick.dev/location";
/// Label: the jurisdiction that an object is bound to.
pub const LABEL_JURISDICTION: &str = "bailiwick.dev/jurisdiction";
/// Label on pods: which flows of the network boundary are open to them; a [`Flow`].
pub const LABEL_FLOW: &str = "bailiwick.dev/flow";
/// Label on Jobs and their pods: which task they do, for example `stanza` or `backup-full`.
pub const LABEL_TASK: &str = "bailiwick.dev/task";
/// Label that Patroni keeps on each member: `primary` or `replica`.
pub const LABEL_ROLE: &str = "role";
/// The node label that says where a node stands (a well-known label of Kubernetes).
pub const NODE_REGION: &str = "topology.kubernetes.io/region";
/// The node label that names a node's host.
pub const NODE_HOSTNAME: &str = "kubernetes.io/hostname";
/// The API group of VolumeSnapshots.
pub const SNAPSHOTS: &str = "snapshot.storage.k8s.io";
/// Label on a namespace: `true` while the API server refuses to delete it.
pub const LABEL_DELETION_PROTECTION: &str = "bailiwick.dev/deletion-protection";
/// Label on a namespace with [`LABEL_REGION`]: it is a client's, and not one of the Region's own.
pub const LABEL_CLIENT: &str = "bailiwick.dev/client";
/// Annotation: what Argo CD may do with an object.
pub const ANNOTATION_ARGO_SYNC: &str = "argocd.argoproj.io/sync-options";
/// Annotation: Argo CD need not look again at what it is on when only its status or its annotations change.
/// <https://argo-cd.readthedocs.io/en/stable/operator-manual/reconcile/>
pub const ANNOTATION_ARGO_IGNORE_UPDATES: &str = "argocd.argoproj.io/ignore-resource-updates";
/// The field manager of [`ANNOTATION_ARGO_SYNC`] on objects whose other fields are applied by another apply, or by nobody.
pub const RETENTION_MANAGER: &str = "bailiwick-operator-retention";
/// The value of [`ANNOTATION_ARGO_SYNC`] on what is retained.
pub const RETAINED: &str = "Prune=false,Delete=false";
/// Annotation on a pod template: a hash of the configuration that needs a restart when it changes.
pub const ANNOTATION_CONFIG_HASH: &str = "bailiwick.dev/config-hash";
/// The finalizer that holds a Region until its pods are gone, and after them the boundary.
pub const FINALIZER: &str = "bailiwick.dev/ordered-deletion";
/// The namespace of the operator itself.
pub const OPERATOR_NAMESPACE: &str = "bailiwick-system";
/// The operator's `ServiceAccount`.
pub const OPERATOR_SERVICE_ACCOUNT: &str = "bailiwick-operator";
/// The namespace of the start fence's responder.
pub const FENCE_NAMESPACE: &str = "bailiwick-fence";
/// The Service of the start fence's responder, whose EndpointSlices say where it answers.
pub const FENCE_SERVICE: &str = "fence-responder";
/// The `ClusterRole` that a Region's manifest binds to the operator in the Region's own namespaces.
pub const DELEGATED_CLUSTER_ROLE: &str = "bailiwick-region";
/// The role in Postgres that the operator connects as; neither a superuser nor an application's.
pub const CONTROL_ROLE: &str = "bailiwick_operator";
/// The role in Postgres that Patroni works as: the superuser, on the member's own socket only.
pub const SUPERUSER_ROLE: &str = "postgres";
/// The role in Postgres that standbys replicate as.
pub const REPLICATION_ROLE: &str = "bailiwick_replication";
/// The role in Postgres that a former primary rewinds its data directory as.
pub const REWIND_ROLE: &str = "bailiwick_rewind";
/// UID and GID of `postgres` in our image.
pub const POSTGRES_UID: i64 = 10001;
/// UID and GID of the object store in our images.
pub const OBJECT_STORE_UID: i64 = 10002;
/// UID and GID of the operator's image.
pub const OPERATOR_UID: i64 = 65532;
/// The storage bucket that WAL and backups go to; one a Region, in its own store.
pub const BACKUP_BUCKET: &str = "bailiwick-backup";
/// The storage bucket of the evidence log; one a Region, in its own store.
pub const EVIDENCE_BUCKET: &str = "bailiwick-evidence";
/// The store's user for pgBackRest.
pub const BACKUP_USER: &str = "pgbackrest";
/// The store's user for whoever verifies the evidence log: it reads that bucket and nothing else.
pub const AUDITOR_USER: &str = "evidence-auditor";
/// The store's users of every Region, whatever its spec says.
pub const OWN_USERS: [&str; 2] = [BACKUP_USER, AUDITOR_USER];

/// TCP ports, as the programs document them.
pub mod port {
    /// PostgreSQL.
    pub const POSTGRES: i32 = 5432;
    /// Patroni's REST API.
    pub const PATRONI: i32 = 8008;
    /// `pgbackrest server`.
    pub const PGBACKREST: i32 = 8432;
    /// The S3 API.
    pub const S3: i32 = 9000;
    /// DNS, TCP and UDP.
    pub const DNS: i32 = 53;
    /// The operator's `/livez`, `/readyz` and `/metrics`.
    pub const OPERATOR: i32 = 8080;
}

/// The name of every object of one Region. Made from the Region's name, which the CRD holds to 30
/// characters of a DNS label, so that no name made here can exceed what Kubernetes takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    region: String,
}

impl Names {
    /// The names of a Region.
    #[must_use]
    pub fn of(region: &Region) -> Self {
        Self {
            region: region.name_any(),
        }
    }

    /// The names of a Region called `region`.
    #[must_use]
    pub fn new(region: &str) -> Self {
        Self {
            region: region.to_owned(),
        }
    }

    /// The Region's own name.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The namespace of the data.
    #[must_use]
    pub fn namespace(&self) -> String {
        self.region.clone()
    }

    /// The namespace of observability.
    #[must_use]
    pub fn observability_namespace(&self) -> String {
        format!("{}-obs", self.region)
    }

    /// The namespace of restore drills.
    #[must_use]
    pub fn drill_namespace(&self) -> String {
        format!("{}-drill", self.region)
    }

    /// All the Region's namespaces, the data's first.
    #[must_use]
    pub fn namespaces(&self) -> [String; 3] {
        [
            self.namespace(),
            self.observability_namespace(),
            self.drill_namespace(),
        ]
    }

    /// The Postgres StatefulSet, its headless Service, Patroni's scope and its `ServiceAccount`.
    #[must_use]
    pub fn postgres(&self) -> String {
        format!("{}-pg", self.region)
    }

    /// The Service of the primary.
    #[must_use]
    pub fn postgres_rw(&self) -> String {
        format!("{}-pg-rw", self.region)
    }

    /// The Service of the replicas.
    #[must_use]
    pub fn postgres_ro(&self) -> String {
        format!("{}-pg-ro", self.region)
    }

    /// The ConfigMap with Patroni's and pgBackRest's static configuration. Not one of Patroni's own.
    #[must_use]
    pub fn postgres_config(&self) -> String {
        format!("{}-pg-files", self.region)
    }

    /// The ConfigMap with the spec that was accepted last.
    #[must_use]
    pub fn accepted(&self) -> String {
        format!("{}-accepted", self.region)
    }

    /// The member of an ordinal.
    #[must_use]
    pub fn postgres_member(&self, ordinal: i32) -> String {
        format!("{}-pg-{ordinal}", self.region)
    }

    /// A member's DNS name inside the cluster.
    #[must_use]
    pub fn postgres_member_host(&self, ordinal: i32) -> String {
        format!(
            "{}.{}.{}.svc",
            self.postgres_member(ordinal),
            self.postgres(),
            self.namespace()
        )
    }

    /// The data volume's claim of an ordinal.
    #[must_use]
    pub fn postgres_claim(&self, ordinal: i32) -> String {
        format!("data-{}", self.postgres_member(ordinal))
    }

    /// The ConfigMap that tells the start fence what a closed pod does not reach.
    #[must_use]
    pub fn fence_config(&self) -> String {
        format!("{}-fence", self.region)
    }

    /// The object store's StatefulSet and Service.
    #[must_use]
    pub fn object_store(&self) -> String {
        format!("{}-s3", self.region)
    }

    /// The object store's headless Service, for its servers among themselves.
    #[must_use]
    pub fn object_store_peers(&self) -> String {
        format!("{}-s3-peers", self.region)
    }

    /// The object store's host name, without a port.
    #[must_use]
    pub fn object_store_host(&self) -> String {
        format!("{}.{}.svc", self.object_store(), self.namespace())
    }

    /// The object store's endpoint as clients use it.
    #[must_use]
    pub fn object_store_endpoint(&self) -> String {
        format!("https://{}:{}", self.object_store_host(), port::S3)
    }

    /// Secret: the region's certificate authority (`tls.crt`, `tls.key`).
    #[must_use]
    pub fn authority(&self) -> String {
        format!("{}-ca", self.region)
    }

    /// Secret: the server certificate of Postgres, Patroni and pgBackRest (`ca.crt`, `tls.crt`, `tls.key`).
    #[must_use]
    pub fn postgres_certificate(&self) -> String {
        format!("{}-pg-tls", self.region)
    }

    /// Secret: the object store's server certificate (`ca.crt`, `tls.crt`, `tls.key`).
    #[must_use]
    pub fn object_store_certificate(&self) -> String {
        format!("{}-s3-tls", self.region)
    }

    /// Secret: the operator's and the backup Jobs' client certificate, common name [`Self::client_common_name`].
    #[must_use]
    pub fn client_certificate(&self) -> String {
        format!("{}-client-tls", self.region)
    }

    /// The common name in the client certificate, which pgBackRest's server authorises.
    #[must_use]
    pub fn client_common_name(&self) -> String {
        format!("bailiwick.{}", self.region)
    }

    /// Secret: Patroni's superuser and replication passwords and the control role's
    /// (`superuser-password`, `replication-password`, `rewind-password`, `control-password`).
    #[must_use]
    pub fn postgres_internal(&self) -> String {
        format!("{}-pg-internal", self.region)
    }

    /// Secret: what an application needs to connect as a role of Postgres
    /// (`host`, `port`, `dbname`, `user`, `password`, `uri`, `ca.crt`).
    #[must_use]
    pub fn postgres_role(&self, role: &str) -> String {
        // A role's name has no hyphen, so two roles never share a Secret.
        format!("{}-pg-role-{}", self.region, role.replace('_', "-"))
    }

    /// Secret: the object store's root credentials (`access-key`, `secret-key`).
    #[must_use]
    pub fn object_store_root(&self) -> String {
        format!("{}-s3-root", self.region)
    }

    /// Key Secret: the object store's master key (`kms-key`, as `<name>:<base64 of 32 bytes>`).
    #[must_use]
    pub fn object_store_key(&self) -> String {
        format!("{}-s3-key", self.region)
    }

    /// Secret: what a client needs to use the store as a user
    /// (`endpoint`, `region`, `access-key`, `secret-key`, `ca.crt`).
    #[must_use]
    pub fn object_store_user(&self, user: &str) -> String {
        format!("{}-s3-user-{user}", self.region)
    }

    /// Key Secret: the passphrase that pgBackRest encrypts WAL and backups with (`cipher-pass`).
    #[must_use]
    pub fn backup_key(&self) -> String {
        format!("{}-backup-key", self.region)
    }

    /// Secret: the key that signs the evidence log (`signing.key`, `signing.pub`, both PEM).
    #[must_use]
    pub fn evidence_key(&self) -> String {
        format!("{}-evidence-key", self.region)
    }

    /// The pgBackRest stanza of an incarnation (counted from 1, one more a restore).
    #[must_use]
    pub fn stanza(&self, incarnation: i32) -> String {
        format!("{}-i{incarnation}", self.region)
    }

    /// The Job that creates and checks the stanza of an incarnation.
    #[must_use]
    pub fn stanza_job(&self, incarnation: i32) -> String {
        format!("{}-pg-stanza-i{incarnation}", self.region)
    }

    /// The Job that takes the first full backup of an incarnation.
    #[must_use]
    pub fn first_backup_job(&self, incarnation: i32) -> String {
        format!("{}-pg-first-backup-i{incarnation}", self.region)
    }

    /// The CronJob of a canary.
    #[must_use]
    pub fn canary(&self, guise: Guise) -> String {
        format!("{}-{}", self.region, guise.label())
    }

    /// The Job that asks a canary one question at once.
    #[must_use]
    pub fn canary_job(&self, guise: Guise, question: &str) -> String {
        format!("{}-{question}", self.canary(guise))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_names_fit_a_dns_label() {
        let names = Names::new(&"r".repeat(30));
        for name in [
            names.postgres_member(99),
            names.postgres_rw(),
            names.observability_namespace(),
            names.first_backup_job(9999),
            names.object_store_peers(),
            names.canary_job(Guise::Postgres, "0123456789"),
        ] {
            // A Job's pods append six characters, a StatefulSet's revision label eleven.
            assert!(name.len() <= 52, "{name} has {} characters", name.len());
        }
    }
}
