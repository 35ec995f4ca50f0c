//! What a user of the store wishes for: that it be read by everybody, copied or sent elsewhere.

use bailiwick_model::names::port;
use serde_json::json;

use super::super::bench::{Bench, Tried};
use super::{Login, NAME, Request, Wish, bucket, elsewhere, send};
use crate::cases::components::access::BUCKET;
use crate::failure::{Failure, Outcome};

/// Everybody reads the bucket, and somebody without a key does.
pub const ANONYMOUS: Wish = Wish {
    out: "read without a key",
    make: |_| {
        let object = |method, signed| Request {
            method,
            path: format!("/{BUCKET}/e2e/channel"),
            query: String::new(),
            body: if signed {
                b"object".to_vec()
            } else {
                Vec::new()
            },
            signed,
        };
        let policy = json!({ "Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": { "AWS": ["*"] }, "Action": ["s3:GetObject"],
            "Resource": [format!("arn:aws:s3:::{BUCKET}/*")],
        }] });
        Ok(vec![
            object("PUT", true),
            bucket("PUT", "policy=", &policy.to_string()),
            object("GET", false),
        ])
    },
};

/// Objects go by a rule of the user's own.
pub const LIFECYCLE: Wish = Wish {
    out: "another lifecycle",
    make: |_| {
        Ok(vec![bucket(
            "PUT",
            "lifecycle=",
            "<LifecycleConfiguration><Rule><ID>e2e</ID><Status>Enabled</Status><Filter><Prefix>e2e/</Prefix></Filter>\
             <Expiration><Days>3650</Days></Expiration></Rule></LifecycleConfiguration>",
        )])
    },
};

/// Another store is made known, to copy to. It is the same one: a way to another place is another channel's.
pub const REMOTE_TARGET: Wish = Wish {
    out: "a target to copy to",
    make: |login| {
        let target = json!({
            "sourcebucket": BUCKET, "endpoint": login.host(), "secure": true, "type": "replication",
            "credentials": { "accessKey": login.access_key, "secretKey": login.secret_key },
            "targetbucket": "bailiwick-evidence", "path": "auto", "api": "s3v4", "region": login.region,
        });
        Ok(vec![login.sealed(
            "PUT",
            "set-remote-target",
            &format!("bucket={BUCKET}"),
            &target.to_string(),
        )?])
    },
};

/// A store elsewhere is made known, to move to: it is tried before it is taken.
pub const TIER: Wish = Wish {
    out: "a tier to move to",
    make: |login| {
        let tier = json!({ "Version": "v1", "Type": "s3", "Name": NAME, "S3": {
            "Endpoint": format!("http://{}:{}", login.elsewhere, port::S3), "Region": "elsewhere",
            "AccessKey": "elsewhere", "SecretKey": "elsewhere", "Bucket": "elsewhere", "Prefix": "e2e",
        } });
        Ok(vec![login.sealed(
            "PUT",
            "tier",
            "force=true",
            &tier.to_string(),
        )?])
    },
};

/// Names of objects are sent to a target of the user's own.
pub const AUDIT: Wish = Wish {
    out: "a log target",
    make: |login| {
        Ok(vec![login.sealed(
            "PUT",
            "set-config-kv",
            "",
            "audit_webhook:e2e endpoint=\"http://198.51.100.10:80/e2e\" enable=on queue_size=10",
        )?])
    },
};

/// Asks for a wish as the application's user.
pub async fn ask(bench: &Bench<'_>, wish: Wish) -> Outcome<Tried> {
    let names = &bench.place.names;
    let user = names.object_store_user(BUCKET);
    let mut login = Login::of(&bench.cluster.secret(&names.namespace(), &user).await?);
    login.elsewhere = elsewhere(bench)
        .await?
        .unwrap_or_else(|| "192.0.2.1".to_owned());
    let requests = (wish.make)(&login)?;
    let answers = send(bench, &user, None, &requests).await?;
    match answers.last() {
        Some((200..=299, _)) => Ok(Tried::Out(wish.out.to_owned())),
        // It is known already.
        Some((409, code)) if code.contains("Exists") => Ok(Tried::Out(wish.out.to_owned())),
        Some((403, _)) => Ok(Tried::Held("the user's policy".to_owned())),
        other => Err(Failure::new(format!("the store answered {other:?}"))),
    }
}
