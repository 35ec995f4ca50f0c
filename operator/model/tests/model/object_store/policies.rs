//! What the policy of each user grants.

use std::collections::BTreeSet;

use bailiwick_api::region::{Access, Grant};
use bailiwick_model::names::BACKUP_BUCKET;
use bailiwick_model::repository::MARKER;
use bailiwick_model::store::{canonical, policy};
use serde_json::{Value, json};

#[test]

fn who_writes_the_backups_may_not_write_their_marker() {
    let grants = |bucket: &str| {
        policy(&[Grant {
            bucket: bucket.to_owned(),
            access: Access::ReadWrite,
        }])
    };
    let denied = json!({
        "Effect": "Deny",
        "Action": ["s3:DeleteObject", "s3:PutObject"],
        "Resource": [format!("arn:aws:s3:::{BACKUP_BUCKET}/{MARKER}")],
    });
    let ours = grants(BACKUP_BUCKET);
    assert!(
        ours["Statement"]
            .as_array()
            .expect("statements")
            .contains(&denied),
        "{ours}"
    );
    // No other policy is another by it.
    assert!(!grants("documents").to_string().contains(MARKER));
}

#[test]
fn a_policy_grants_what_it_names_and_no_more() {
    let grants = [
        ("documents", Access::ReadWrite),
        ("images", Access::ReadOnly),
    ]
    .map(|(bucket, access)| Grant {
        bucket: bucket.to_owned(),
        access,
    });
    let document = policy(&grants);
    let statements = document["Statement"].as_array().expect("statements");
    assert_eq!(statements.len(), 6);
    for statement in statements {
        let actions = statement["Action"].to_string();
        assert!(!actions.contains('*'), "{actions}");
        if statement["Effect"] == "Allow" {
            for resource in statement["Resource"].as_array().expect("resources") {
                let resource = resource.as_str().expect("text");
                assert!(
                    resource.starts_with("arn:aws:s3:::documents")
                        || resource.starts_with("arn:aws:s3:::images"),
                    "{resource}"
                );
            }
        }
        if statement["Resource"].to_string().contains("images/*") {
            assert_eq!(
                statement["Action"],
                json!([
                    "s3:GetObject",
                    "s3:GetObjectRetention",
                    "s3:GetObjectTagging"
                ])
            );
        }
    }
    let denied = &statements[5];
    assert_eq!(denied["Effect"], "Deny");
    assert_eq!(
        denied["Action"],
        json!(["s3:BypassGovernanceRetention", "s3:DeleteObjectVersion"])
    );
}

/// The actions that a policy allows on a resource.
fn allowed(document: &Value, resource: &str) -> BTreeSet<String> {
    let statements = document["Statement"].as_array().expect("statements");
    statements
        .iter()
        .filter(|statement| statement["Effect"] == "Allow")
        .filter(|statement| {
            let resources = statement["Resource"].as_array().expect("resources");
            resources.contains(&json!(resource))
        })
        .flat_map(|statement| statement["Action"].as_array().expect("actions"))
        .map(|action| action.as_str().expect("text").to_owned())
        .collect()
}

#[test]
fn whoever_writes_may_ask_what_clients_ask_along_with_it() {
    let grant = |bucket: &str, access| {
        policy(&[Grant {
            bucket: bucket.to_owned(),
            access,
        }])
    };
    let writer = grant("documents", Access::ReadWrite);
    let of_bucket = allowed(&writer, "arn:aws:s3:::documents");
    let of_objects = allowed(&writer, "arn:aws:s3:::documents/*");
    for action in ["GetBucketVersioning", "ListBucketMultipartUploads"] {
        assert!(of_bucket.contains(&format!("s3:{action}")), "{action}");
    }
    for action in ["GetObjectTagging", "PutObjectTagging", "PutObjectRetention"] {
        assert!(of_objects.contains(&format!("s3:{action}")), "{action}");
    }
    let reader = grant("documents", Access::ReadOnly);
    for resource in ["arn:aws:s3:::documents", "arn:aws:s3:::documents/*"] {
        for action in allowed(&reader, resource) {
            assert!(
                action.starts_with("s3:Get") || action == "s3:ListBucket",
                "{action}"
            );
        }
    }
    // Whoever may lock the archive could keep it from ever being thinned out.
    let archive = grant(BACKUP_BUCKET, Access::ReadWrite);
    let of_archive = allowed(&archive, &format!("arn:aws:s3:::{BACKUP_BUCKET}/*"));
    assert!(of_archive.contains("s3:PutObject"));
    assert!(!of_archive.contains("s3:PutObjectRetention"));
}

#[test]
fn documents_that_mean_the_same_are_equal() {
    let ours = policy(&[Grant {
        bucket: "documents".to_owned(),
        access: Access::ReadOnly,
    }]);
    let mut other: Value = ours.clone();
    other["ID"] = json!("");
    other["Statement"][0]["Action"] = json!([
        "s3:ListBucket",
        "s3:GetBucketVersioning",
        "s3:GetBucketObjectLockConfiguration",
        "s3:GetBucketLocation",
    ]);
    other["Statement"][0]["Resource"] = json!("arn:aws:s3:::documents");
    assert_ne!(other, ours);
    assert_eq!(canonical(other), ours);
    assert_eq!(canonical(ours.clone()), ours);
    let single = json!({"Statement": {"Action": "s3:GetObject"}});
    assert_eq!(
        canonical(single),
        json!({"Statement": [{"Action": ["s3:GetObject"]}]})
    );
}
