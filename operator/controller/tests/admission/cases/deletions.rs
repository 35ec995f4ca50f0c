//! Deletions, exceptions and the namespaces of a Region.

use serde_json::{Value, json};

use super::{
    APPROVER, OWN, STANDING_APPROVER, STANDS, Table, change, create, delete, excepting, exception,
    region,
};
use crate::objects::{namespace, with};
use crate::request::{Ask, Who};

pub fn deletions(table: &mut Table) {
    table.of("bailiwick-region-deletion", 0).editor(
        "a protected Region is deleted",
        Ask {
            method: "DELETE",
            path: "/apis/bailiwick.dev/v1alpha1/regions/tr".to_owned(),
            body: Value::Null,
        },
    );
    table.of("bailiwick-namespace-deletion", 0).editor(
        "a protected namespace is deleted",
        delete("", &namespace(OWN, OWN)),
    );
}

const LONGER: &str = "2037-01-31T00:00:00Z";

pub fn exceptions(table: &mut Table) {
    let one = |approver: &str| json!([exception("39", approver, STANDS)]);
    let both = |approver: &str| {
        json!([
            exception("45", STANDING_APPROVER, STANDS),
            exception("1", approver, STANDS)
        ])
    };
    let longer = |approver: &str| json!([exception("45", approver, LONGER)]);
    for (validation, who, approver) in [
        (0, Who::Editor, "mallory"),
        (1, APPROVER, "dpo@example.org"),
    ] {
        table
            .of("bailiwick-residency-exceptions", validation)
            .by(who, "a Region is excepted", excepting("tr", &one(approver)))
            .by(who, "one more exception", excepting("es", &both(approver)))
            .by(
                who,
                "an exception is prolonged",
                excepting("es", &longer(approver)),
            )
            .by(
                who,
                "a Region is made with an exception",
                region(&one(approver)),
            );
    }
    // Whoever may approve does not approve in another's name, nor prolong what another approved.
    table.of("bailiwick-residency-exceptions", 1).by(
        APPROVER,
        "an exception is prolonged in the name of who approved it",
        excepting("es", &longer(STANDING_APPROVER)),
    );
}

pub fn namespaces(table: &mut Table) {
    let labels = |edit: Value| json!({"metadata": {"labels": edit}});
    let own = namespace(OWN, OWN);
    table
        .of("bailiwick-namespace-labels", 0)
        .editor(
            "a namespace goes over to another Region",
            change("", &own, labels(json!({"bailiwick.dev/region": "es"}))),
        )
        .editor(
            "a namespace leaves its Region",
            change("", &own, labels(json!({"bailiwick.dev/region": null}))),
        )
        .editor(
            "a namespace that stands becomes a Region's",
            change(
                "",
                &namespace("late", ""),
                labels(json!({"bailiwick.dev/region": "late",
                    "bailiwick.dev/location": "tr-ist-1", "bailiwick.dev/jurisdiction": "TR"})),
            ),
        );
    table
        .of("bailiwick-namespace-labels", 1)
        .editor(
            "a namespace moves",
            change(
                "",
                &own,
                labels(json!({"bailiwick.dev/location": "es-mad-1"})),
            ),
        )
        .editor(
            "a namespace forgets its location",
            change("", &own, labels(json!({"bailiwick.dev/location": null}))),
        );
    table.of("bailiwick-namespace-labels", 2).editor(
        "a namespace changes its jurisdiction",
        change(
            "",
            &own,
            labels(json!({"bailiwick.dev/jurisdiction": "ES"})),
        ),
    );
    table
        .of("bailiwick-namespace-labels", 3)
        .editor(
            "a Region's own namespace becomes a client's",
            change("", &own, labels(json!({"bailiwick.dev/client": "true"}))),
        )
        .editor(
            "a client's namespace becomes the Region's own",
            change(
                "",
                &namespace("tr-safe", OWN),
                labels(json!({"bailiwick.dev/client": null})),
            ),
        );
    table
        .of("bailiwick-namespace-claims", 0)
        .editor(
            "a fourth namespace of a Region",
            create("", namespace("tr-more", OWN)),
        )
        .editor(
            "a namespace of no Region",
            create("", namespace("nobodys", "")),
        );
    table
        .of("bailiwick-namespace-claims", 1)
        .editor(
            "a namespace without a location",
            create(
                "",
                with(
                    namespace("new", "new"),
                    labels(json!({"bailiwick.dev/location": null})),
                ),
            ),
        )
        .editor(
            "a client's namespace without a jurisdiction",
            create(
                "",
                with(
                    namespace("new-app", "new"),
                    labels(
                        json!({"bailiwick.dev/jurisdiction": "", "bailiwick.dev/client": "true"}),
                    ),
                ),
            ),
        );
    let enforce = "pod-security.kubernetes.io/enforce";
    table
        .of("bailiwick-namespace-claims", 2)
        .editor(
            "Pod Security of a Region's namespace is weakened",
            change("", &own, labels(json!({enforce: "baseline"}))),
        )
        .editor(
            "Pod Security of a Region's namespace is taken away",
            change("", &own, labels(json!({enforce: null}))),
        )
        .editor(
            "a Region's namespace without Pod Security",
            create(
                "",
                with(namespace("new", "new"), labels(json!({enforce: null}))),
            ),
        )
        .editor(
            "a client's namespace of privileged pods",
            create(
                "",
                with(
                    namespace("new-app", "new"),
                    labels(json!({enforce: "privileged", "bailiwick.dev/client": "true"})),
                ),
            ),
        );
    let version = "pod-security.kubernetes.io/enforce-version";
    table
        .of("bailiwick-namespace-claims", 3)
        .editor(
            "Pod Security of an older version",
            change("", &own, labels(json!({version: "v1.25"}))),
        )
        .editor(
            "a new namespace with Pod Security of an older version",
            create(
                "",
                with(namespace("new", "new"), labels(json!({version: "v1.32"}))),
            ),
        )
        .editor(
            "Pod Security that was raised is lowered",
            change(
                "",
                &namespace("tr-obs", OWN),
                labels(json!({version: "v1.34"})),
            ),
        );
}
