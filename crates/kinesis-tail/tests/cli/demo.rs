use std::time::Duration;

use tokio::time::timeout;

use crate::rig::{run, without_credentials};

#[tokio::test(flavor = "multi_thread")]
async fn it_proves_that_nothing_was_lost() {
    let mut demo = without_credentials(&["demo"]);
    // It looks at nothing that AWS programs look at.
    demo.env_clear()
        .env("AWS_PROFILE", "missing")
        .env("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
        .env("HTTP_PROXY", "http://127.0.0.1:1");
    let finished = timeout(Duration::from_secs(30), run(demo)).await;
    let finished = finished.expect("it ends within 30 s");
    assert_eq!(
        (finished.code, finished.stderr.as_str()),
        (Some(0), ""),
        "{finished:?}"
    );
    for proof in [
        "published 6000, received 6000, missing 0, repeated 0, unknown 0",
        "each of 500 keys in order: out of order 0",
        "6 shards read, 4 at first and 2 children",
        "records in flight, where the windows allow 650",
        "shardId-000000000005  read ",
        "Nothing was lost.",
    ] {
        assert!(
            finished.stdout.contains(proof),
            "no {proof:?} in {finished:?}"
        );
    }
    assert!(!finished.stdout.contains("NO "), "{finished:?}");
}
