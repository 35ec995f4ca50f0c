//! The arguments of `new`, which the operator's command line and the plugin have in common. Words of a command line in,
//! a [`Draft`] out; no I/O.

use clap::Args;

use super::{Draft, DraftClient};

/// What a new Region is made from.
#[derive(Args, Debug)]
pub struct New {
    /// The Region's name; its namespaces and Services are named after it.
    name: String,
    /// The jurisdiction whose rules the data is under, for example TR or EU. Cannot be changed later.
    #[arg(long)]
    jurisdiction: String,
    /// The location that it runs in, as the nodes' label topology.kubernetes.io/region says. Cannot be changed later.
    #[arg(long)]
    location: String,
    /// The storage class of its volumes [default: the location's name with -local]. Cannot be changed later.
    #[arg(long)]
    storage_class: Option<String>,
    /// The major version of PostgreSQL.
    #[arg(long, default_value_t = 17)]
    postgres_version: i32,
    /// How many Postgres members it has.
    #[arg(long, default_value_t = 3)]
    instances: i32,
    /// How many servers its object store has: 1, or at least 4. Cannot be changed later.
    #[arg(long, default_value_t = 4)]
    store_servers: i32,
    /// The size of each volume.
    #[arg(long, default_value = "10Gi")]
    volume_size: String,
    /// The CPU that each pod gets.
    #[arg(long, default_value = "250m")]
    cpu: String,
    /// The memory that each pod gets.
    #[arg(long, default_value = "512Mi")]
    memory: String,
    /// A database; may be repeated.
    #[arg(long = "database", value_name = "NAME")]
    databases: Vec<String>,
    /// A bucket, with a user of the same name; may be repeated.
    #[arg(long = "bucket", value_name = "NAME")]
    buckets: Vec<String>,
    /// A client and the label of its namespaces, as patient:team=patient; may be repeated.
    #[arg(long = "client", value_name = "NAME:LABEL=VALUE", value_parser = client)]
    clients: Vec<DraftClient>,
}

/// Reads `NAME:LABEL=VALUE`.
fn client(text: &str) -> Result<DraftClient, String> {
    text.split_once(':')
        .and_then(|(name, label)| {
            let (label, value) = label.split_once('=')?;
            Some(DraftClient {
                name: name.to_owned(),
                label: label.to_owned(),
                value: value.to_owned(),
            })
        })
        .ok_or_else(|| format!("{text:?} is not NAME:LABEL=VALUE, as patient:team=patient"))
}

impl From<New> for Draft {
    fn from(new: New) -> Self {
        let New {
            name,
            jurisdiction,
            location,
            storage_class,
            postgres_version,
            instances,
            store_servers,
            volume_size,
            cpu,
            memory,
            databases,
            buckets,
            clients,
        } = new;
        Self {
            storage_class: storage_class.unwrap_or_else(|| format!("{location}-local")),
            name,
            jurisdiction,
            location,
            postgres_version,
            instances,
            store_servers,
            volume_size,
            cpu,
            memory,
            databases,
            buckets,
            clients,
        }
    }
}
