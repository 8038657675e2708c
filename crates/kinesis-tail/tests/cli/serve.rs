use crate::rig::{Running, run, tail, without_credentials};

#[tokio::test(flavor = "multi_thread")]
async fn it_says_where_it_is_and_can_be_worked_with_until_a_signal() {
    let arguments = [
        "serve", "--port", "0", "--stream", "a", "--stream", "b", "--shards", "2",
    ];
    let mut server = Running::new(without_credentials(&arguments));
    let endpoint = server.line().await.unwrap();
    for stream in ["a", "b"] {
        let published = run(tail(&endpoint, &["publish", stream, "--count", "20"])).await;
        assert_eq!(published.code, Some(0), "{published:?}");
        let consume = [
            "consume",
            stream,
            "--from=trim-horizon",
            "--until-caught-up",
        ];
        assert_eq!(run(tail(&endpoint, &consume)).await.quiet_lines().len(), 20);
        let shards = run(tail(&endpoint, &["shards", stream])).await;
        assert_eq!(shards.stdout.lines().count(), 2);
    }
    server.signal("TERM").await;
    assert!(server.end().await.quiet_lines().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_a_failure() {
    let mut server = Running::new(without_credentials(&["serve", "--port", "0"]));
    let endpoint = server.line().await.unwrap();
    let port = endpoint.rsplit(':').next().unwrap();
    let finished = run(without_credentials(&["serve", "--port", port])).await;
    finished.fails_with(1, &["cannot listen", port]);
}
