//! A marker of 128 bits is planted in one Region wherever a client's data goes, and found nowhere else: not on the disks of
//! other nodes, in other Regions' buckets, in what other pods print, in metrics, in anything that the API server keeps, nor
//! with what plays the internet. I/O: client pods, the nodes' disks on this machine, the whole API.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bailiwick_model::names::{BACKUP_BUCKET, EVIDENCE_BUCKET, Names, OPERATOR_NAMESPACE};
use base64::prelude::{BASE64_STANDARD_NO_PAD, Engine as _};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::ResourceExt;
use kube::api::{Api, ListParams, LogParams, Patch, PatchParams};
use kube::discovery::{Discovery, verbs};
use serde_json::json;

use crate::cases::components::access::BUCKET;
use crate::client::{self, LABEL, MANAGER, Script, Stand, name_of};
use crate::cluster::{Cluster, Place, kubeconfig};
use crate::failure::{Failure, Outcome, While, ensure};
use crate::processes;
use crate::request::{Answer, Ask, Who};
use crate::writer::{logins, prepare, run_name};

/// The Region that has the marker.
const HOME: &str = "tr";
/// Its node, and the others.
const HOME_NODE: &str = "tr-1";
const OTHER_NODES: [&str; 2] = ["cp-1", "es-1"];
/// How long what is planted may spread: the operator looks every fifteen seconds.
const SPREAD: Duration = Duration::from_secs(20);
/// How long a script may take.
const LIMIT: Duration = Duration::from_mins(1);
/// How many statements and requests fail on purpose with the marker in them.
const FAILED: u64 = 8;
/// The Secret with another store's root key in its client's namespace.
const ROOT: &str = "e2e-root";
/// How many files one search is told of.
const BATCH: usize = 400;
/// How often it is searched again when a file went meanwhile.
const SEARCHES: usize = 5;
/// How many objects of a store are read whole at most: more of them fail the case.
const OBJECTS: u64 = 10_000;

/// The forms in which text of the marker may come.
fn forms(marker: &str) -> Vec<String> {
    let hex = marker.bytes().fold(String::new(), |mut hex, byte| {
        use std::fmt::Write as _;
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    let mut forms = vec![
        marker.to_owned(),
        marker.to_uppercase(),
        hex.to_uppercase(),
        hex,
    ];
    // In base64 a text looks different after one, two or three others; what depends on its neighbours is left out.
    for before in 0..3 {
        let mut text = vec![0; before];
        text.extend(marker.bytes());
        let whole = text.len() / 3 * 3;
        let encoded = BASE64_STANDARD_NO_PAD.encode(&text[..whole]);
        forms.push(encoded[(before * 8).div_ceil(6)..].to_owned());
    }
    forms
}

fn is_in(text: &str, forms: &[String]) -> bool {
    forms.iter().any(|form| text.contains(form.as_str()))
}

/// Plants it, looks for it everywhere, and takes it away.
pub async fn stays_home(cluster: &Cluster) -> Outcome<String> {
    let home = cluster.place(HOME)?;
    prepare(cluster, home).await?;
    let run = run_name("marker");
    let outcome = seek(cluster, home, &run).await;
    let user = home.names.object_store_user(BUCKET);
    let [_, writer, _] = logins(&home.names);
    let script = Script {
        name: "marker_remove",
        told: json!({ "writer": writer, "user": user, "bucket": BUCKET, "run": run }),
        secrets: vec![writer, user],
    };
    let removed = client::run(cluster, &Stand::allowed(home), &script, LIMIT).await;
    for place in &cluster.places {
        let secrets =
            Api::<Secret>::namespaced(cluster.client.clone(), &Stand::allowed(place).namespace);
        if secrets.get_metadata_opt(ROOT).await?.is_some() {
            secrets
                .delete(ROOT, &kube::api::DeleteParams::default())
                .await?;
        }
    }
    let measured = outcome?;
    removed?;
    Ok(measured)
}

async fn seek(cluster: &Cluster, home: &Place, run: &str) -> Outcome<String> {
    let since = Timestamp::now().as_second() - 1;
    let (marker, hash) = plant(cluster, home, run).await?;
    let forms = forms(&marker);
    tokio::time::sleep(SPREAD).await;
    let nodes = nodes()?;
    let mut found = Vec::new();
    let mut looked = Vec::new();

    // Where it must be, or the search finds nothing anywhere.
    let (files, hits) = search(&nodes.join(HOME_NODE), since, &forms)?;
    let region = format!("_{}_", home.region);
    let within = |path: &Path, part: &str| {
        path.components()
            .any(|component| component.as_os_str().to_string_lossy().contains(part))
    };
    for (volume, what) in [
        (home.names.postgres_claim(0), "the database's volume"),
        (home.names.object_store(), "the store's volume"),
    ] {
        ensure(
            hits.iter().any(|path| {
                within(path, &format!("{region}{volume}")) || within(path, &format!("-{volume}"))
            }),
            || {
                format!(
                    "{marker} was planted and is not in {what}, so that not finding it shows nothing: {hits:?}"
                )
            },
        )?;
    }
    looked.push(format!(
        "{} of {files} files of {HOME_NODE} have it",
        hits.len()
    ));
    found.extend(
        hits.iter()
            .filter(|path| !at_home(path, &nodes.join(HOME_NODE), home))
            .map(|path| path.display().to_string()),
    );

    let mut files = 0;
    let beside = kubeconfig();
    let beside = beside.parent().unwrap_or_else(|| Path::new("."));
    for folder in OTHER_NODES
        .map(|node| nodes.join(node))
        .iter()
        .map(PathBuf::as_path)
        // The audit log, what plays the internet and what it heard, and the programs' own logs.
        .chain([beside])
    {
        let (read, hits) = search(folder, since, &forms)?;
        ensure(read > 0, || {
            format!("nothing was written below {}", folder.display())
        })?;
        files += read;
        found.extend(hits.iter().map(|path| path.display().to_string()));
    }
    looked.push(format!("{files} files of other nodes and of the machine"));
    let (objects, hits) = api(cluster, &forms).await?;
    looked.push(format!("{objects} objects of the API"));
    found.extend(hits);
    let (logs, hits) = printed(cluster, home, &forms).await?;
    looked.push(format!("{logs} logs"));
    found.extend(hits);
    let (lines, hits) = metrics(cluster, &forms).await?;
    looked.push(format!("{lines} lines of metrics"));
    found.extend(hits);
    let (names, hits) = buckets(cluster, home, &hash).await?;
    looked.push(format!("{names} objects of other stores"));
    found.extend(hits);
    ensure(found.is_empty(), || {
        format!(
            "the marker was found outside of {HOME}:\n    {}",
            found.join("\n    ")
        )
    })?;
    Ok(format!(
        "{}: not found outside of {HOME}",
        looked.join(", ")
    ))
}

/// Plants a marker; it, and its hash.
async fn plant(cluster: &Cluster, home: &Place, run: &str) -> Outcome<(String, String)> {
    let user = home.names.object_store_user(BUCKET);
    let [_, writer, _] = logins(&home.names);
    client::hand_over(cluster, home, &user).await?;
    let script = Script {
        name: "marker_plant",
        told: json!({ "writer": writer, "user": user, "bucket": BUCKET, "run": run }),
        secrets: vec![writer, user],
    };
    let planted = client::run(cluster, &Stand::allowed(home), &script, LIMIT).await?;
    let text = |key: &str| planted[key].as_str().unwrap_or_default().to_owned();
    ensure(
        text("marker").len() == 32
            && planted["rows"] == 3
            && planted["put"] == 200
            && planted["same"] == true
            && planted["failed"] == FAILED,
        || format!("not everything was planted and read back: {planted}"),
    )?;
    Ok((text("marker"), text("hash")))
}

/// The folder with a folder for each node's disks, as the cluster's own scripts know it.
fn nodes() -> Outcome<PathBuf> {
    // The checkout whose cluster it is, whatever leads there.
    let kubeconfig = kubeconfig().canonicalize()?;
    let checkout = kubeconfig
        .parent()
        .and_then(Path::parent)
        .ok_or_else(|| Failure::new("the kubeconfig is in no checkout"))?;
    let settings = checkout.join("infra/dev-local/engineless/settings.sh");
    let told = Command::new("bash")
        .args(["-c", "source \"$0\" && printf %s \"$state\""])
        .arg(&settings)
        .output()
        .during(settings.display())?;
    let state = PathBuf::from(String::from_utf8_lossy(&told.stdout).into_owned());
    for node in OTHER_NODES.iter().chain([&HOME_NODE]) {
        ensure(state.join(node).is_dir(), || {
            format!("{} has no disks of node {node}", state.display())
        })?;
    }
    Ok(state)
}

/// Whether a file of the Region's node is the Region's: its volumes, and what its own pods and its clients' printed.
fn at_home(path: &Path, node: &Path, home: &Place) -> bool {
    let Ok(inside) = path.strip_prefix(node) else {
        return false;
    };
    let inside = inside.to_string_lossy();
    let region = &home.region;
    let client = Stand::allowed(home).namespace;
    (inside.starts_with("volumes/") && inside.contains(&format!("_{region}_")))
        || inside.starts_with(&format!("pods/{region}_"))
        || inside.starts_with(&format!("pods/{client}_"))
}

/// How many files below a folder were written since a moment, and which of them have one of the forms in their path or
/// their content.
fn search(folder: &Path, since: i64, forms: &[String]) -> Outcome<(usize, Vec<PathBuf>)> {
    let mut files = Vec::new();
    let mut found = Vec::new();
    collect(folder, since, forms, &mut files, &mut found);
    for batch in files.chunks(BATCH) {
        found.extend(matches(batch, forms)?);
    }
    Ok((files.len(), found))
}

/// Those of some files that hold one of the forms. One that has gone since it was listed is left out; one that is there and
/// cannot be read is no file without the marker.
fn matches(files: &[PathBuf], forms: &[String]) -> Outcome<Vec<PathBuf>> {
    for _ in 0..SEARCHES {
        let there: Vec<&PathBuf> = files.iter().filter(|path| path.exists()).collect();
        if there.is_empty() {
            return Ok(Vec::new());
        }
        let mut grep = Command::new("grep")
            .args([
                "--files-with-matches",
                "--text",
                "--fixed-strings",
                "--no-messages",
                "--null",
                "--file=-",
                "--",
            ])
            .args(&there)
            .env("LC_ALL", "C")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .during("start grep")?;
        if let Some(mut input) = grep.stdin.take() {
            input.write_all(forms.join("\n").as_bytes())?;
        }
        let answer = grep.wait_with_output()?;
        // 0: found, 1: not found; else a file could not be read.
        if matches!(answer.status.code(), Some(0 | 1)) {
            let paths = answer.stdout.split(|byte| *byte == 0);
            return Ok(paths
                .filter(|path| !path.is_empty())
                .map(|path| PathBuf::from(String::from_utf8_lossy(path).into_owned()))
                .collect());
        }
    }
    Err(Failure::new(format!(
        "grep could not read one of {} files, the first {:?}",
        files.len(),
        files.first()
    )))
}

fn collect(
    folder: &Path,
    since: i64,
    forms: &[String],
    files: &mut Vec<PathBuf>,
    found: &mut Vec<PathBuf>,
) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        // It may have gone since.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        if metadata.is_dir() {
            collect(&path, since, forms, files, found);
        } else if metadata.is_file() && metadata.mtime().max(metadata.ctime()) >= since {
            files.push(path.clone());
        }
        if is_in(&entry.file_name().to_string_lossy(), forms) {
            found.push(path);
        }
    }
}

/// Every object of every kind that can be listed: what etcd holds, as whoever may read all of it sees it.
async fn api(cluster: &Cluster, forms: &[String]) -> Outcome<(usize, Vec<String>)> {
    let discovery = Discovery::new(cluster.client.clone())
        .run()
        .await
        .during("list the kinds of the API")?;
    let mut kinds = 0;
    let mut objects = 0;
    let mut found = Vec::new();
    for group in discovery.groups() {
        for version in group.versions() {
            for (resource, capabilities) in group.versioned_resources(version) {
                if !capabilities.supports_operation(verbs::LIST) {
                    continue;
                }
                kinds += 1;
                let api =
                    Api::<kube::api::DynamicObject>::all_with(cluster.client.clone(), &resource);
                for object in api
                    .list(&ListParams::default())
                    .await
                    .during(format_args!("list {}", resource.plural))?
                {
                    objects += 1;
                    if is_in(&serde_json::to_string(&object)?, forms) {
                        found.push(format!(
                            "{} {} {}",
                            resource.kind,
                            object.namespace().unwrap_or_default(),
                            object.name_any()
                        ));
                    }
                }
            }
        }
    }
    ensure(kinds >= 40 && objects >= 300, || {
        format!("only {kinds} kinds with {objects} objects could be listed")
    })?;
    Ok((objects, found))
}

/// What all pods print, but for the Region's own.
async fn printed(
    cluster: &Cluster,
    home: &Place,
    forms: &[String],
) -> Outcome<(usize, Vec<String>)> {
    let own = home.names.namespaces();
    let client = Stand::allowed(home).namespace;
    let mut logs = 0;
    let mut found = Vec::new();
    for pod in Api::<Pod>::all(cluster.client.clone())
        .list(&ListParams::default())
        .await?
    {
        let namespace = pod.namespace().unwrap_or_default();
        if own.contains(&namespace) || namespace == client {
            continue;
        }
        let pods = Api::<Pod>::namespaced(cluster.client.clone(), &namespace);
        let spec = pod.spec.as_ref();
        for container in spec.iter().flat_map(|spec| &spec.containers) {
            let parameters = LogParams {
                container: Some(container.name.clone()),
                ..LogParams::default()
            };
            // A container that has not started yet has no log.
            let Ok(text) = pods.logs(&pod.name_any(), &parameters).await else {
                continue;
            };
            logs += 1;
            if is_in(&text, forms) {
                found.push(format!(
                    "the log of {} of pod {}",
                    container.name,
                    name_of(&pod)
                ));
            }
        }
    }
    ensure(logs >= 8, || format!("only {logs} logs could be read"))?;
    Ok((logs, found))
}

/// The operator's metrics, read in its own network, and those of the API server and the nodes.
async fn metrics(cluster: &Cluster, forms: &[String]) -> Outcome<(usize, Vec<String>)> {
    let mut pages = Vec::new();
    for path in [
        "/metrics",
        "/api/v1/nodes/tr-1/proxy/metrics",
        "/api/v1/nodes/es-1/proxy/metrics/cadvisor",
    ] {
        match Ask::get(path).send(&cluster.client, Who::Own).await? {
            Answer::Taken(text) => pages.push((path.to_owned(), text)),
            Answer::Refused(code, message) => {
                return Err(Failure::new(format!("read {path}: {code} {message}")));
            }
        }
    }
    let operators = Api::<Pod>::namespaced(cluster.client.clone(), OPERATOR_NAMESPACE)
        .list(&ListParams::default())
        .await?;
    for pod in operators {
        let Some(process) = processes::of(&pod)?.into_iter().next() else {
            continue;
        };
        let told = Command::new("nsenter")
            .arg(format!("--net=/proc/{}/ns/net", process.pid))
            .args([
                "curl",
                "--silent",
                "--max-time",
                "5",
                "http://127.0.0.1:8080/metrics",
            ])
            .output()
            .during("read the operator's metrics")?;
        let text = String::from_utf8_lossy(&told.stdout).into_owned();
        ensure(text.contains("bailiwick_reconciles"), || {
            format!("the operator's metrics could not be read: {text:?}")
        })?;
        pages.push((format!("the metrics of {}", name_of(&pod)), text));
    }
    let lines = pages.iter().map(|(_, text)| text.lines().count()).sum();
    let found = pages
        .into_iter()
        .filter(|(_, text)| is_in(text, forms))
        .map(|(name, _)| name)
        .collect();
    Ok((lines, found))
}

/// The buckets of the other Regions, which are encrypted on their disks: read through their stores, with the root keys.
async fn buckets(cluster: &Cluster, home: &Place, hash: &str) -> Outcome<(u64, Vec<String>)> {
    let mut names = 0;
    let mut found = Vec::new();
    for place in cluster
        .places
        .iter()
        .filter(|place| place.region != home.region)
    {
        let stand = Stand::allowed(place);
        let secret = root(cluster, &place.names).await?;
        let object = json!({ "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": ROOT, "labels": { LABEL: "true" } }, "data": secret });
        Api::<Secret>::namespaced(cluster.client.clone(), &stand.namespace)
            .patch(
                ROOT,
                &PatchParams::apply(MANAGER).force(),
                &Patch::Apply(&object),
            )
            .await
            .during("keep the store's root key")?;
        let script = Script {
            name: "marker_seek",
            told: json!({ "user": ROOT, "hash": hash, "most": OBJECTS, "names_only": BACKUP_BUCKET,
                "buckets": [BUCKET, EVIDENCE_BUCKET, BACKUP_BUCKET] }),
            secrets: vec![ROOT.to_owned()],
        };
        let told = client::run(cluster, &stand, &script, LIMIT).await?;
        let read = told["names"].as_u64().unwrap_or_default();
        ensure(read > 0, || {
            format!("the store of {} is empty: {told}", place.region)
        })?;
        let contents = told["contents"].as_u64().unwrap_or_default();
        ensure((1..OBJECTS).contains(&contents), || {
            format!(
                "of the store of {} only {contents} objects were read: {told}",
                place.region
            )
        })?;
        names += read;
        let hits: Vec<String> = serde_json::from_value(told["found"].clone())?;
        found.extend(hits.iter().map(|hit| format!("{hit} of {}", place.region)));
    }
    Ok((names, found))
}

/// What a client needs to use a store, with the root keys in place of a user's.
async fn root(
    cluster: &Cluster,
    names: &Names,
) -> Outcome<std::collections::BTreeMap<String, k8s_openapi::ByteString>> {
    let namespace = names.namespace();
    let user = cluster
        .secret(&namespace, &names.object_store_user(BUCKET))
        .await?;
    let root = cluster
        .secret(&namespace, &names.object_store_root())
        .await?;
    let mut data = user.data.unwrap_or_default();
    data.extend(root.data.unwrap_or_default());
    Ok(data)
}
