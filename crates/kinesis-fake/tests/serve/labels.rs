//! Tags, policies, encryption, monitoring and the account's settings, as clients see them.

use super::*;

const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/s";

async fn with_stream() -> Running {
    let running = unlimited().await;
    let create = json!({"StreamName": "s", "ShardCount": 1, "Tags": {"team": "orders"}});
    ok(running.address, "CreateStream", create).await;
    running
}

async fn summary(address: SocketAddr) -> Value {
    let summary = ok(address, "DescribeStreamSummary", json!({"StreamName": "s"})).await;
    summary["StreamDescriptionSummary"].clone()
}

#[tokio::test]
async fn tags_come_and_go_by_name_and_by_arn() {
    let running = with_stream().await;
    let address = running.address;
    let add = json!({"StreamName": "s", "Tags": {"a": "1", "b": null}});
    ok(address, "AddTagsToStream", add).await;
    let tag = json!({"ResourceARN": ARN, "Tags": {"c": "3"}});
    ok(address, "TagResource", tag).await;
    let page = ok(
        address,
        "ListTagsForStream",
        json!({"StreamARN": ARN, "Limit": 2}),
    )
    .await;
    let first = json!([{"Key": "a", "Value": "1"}, {"Key": "b", "Value": ""}]);
    assert_eq!(page, json!({"Tags": first, "HasMoreTags": true}));
    let rest = json!({"StreamName": "s", "ExclusiveStartTagKey": "b"});
    let rest = ok(address, "ListTagsForStream", rest).await;
    assert_eq!(rest["HasMoreTags"], false);
    assert_eq!(rest["Tags"][1], json!({"Key": "team", "Value": "orders"}));
    let remove = json!({"StreamName": "s", "TagKeys": ["a", "b"]});
    ok(address, "RemoveTagsFromStream", remove).await;
    let untag = json!({"ResourceARN": ARN, "TagKeys": ["team"]});
    ok(address, "UntagResource", untag).await;
    let left = ok(address, "ListTagsForResource", json!({"ResourceARN": ARN})).await;
    assert_eq!(left, json!({"Tags": [{"Key": "c", "Value": "3"}]}));

    let register = json!({"StreamARN": ARN, "ConsumerName": "audit", "Tags": {"k": "v"}});
    let consumer = ok(address, "RegisterStreamConsumer", register).await;
    let consumer = json!({"ResourceARN": consumer["Consumer"]["ConsumerARN"]});
    let tags = ok(address, "ListTagsForResource", consumer).await;
    assert_eq!(tags, json!({"Tags": [{"Key": "k", "Value": "v"}]}));

    let many: serde_json::Map<_, _> = (0..51).map(|n| (n.to_string(), json!(""))).collect();
    for (target, body, code) in [
        (
            "AddTagsToStream",
            json!({"StreamName": "s", "Tags": many}),
            "InvalidArgument",
        ),
        (
            "AddTagsToStream",
            json!({"StreamName": "s", "Tags": {"?": ""}}),
            "InvalidArgument",
        ),
        (
            "AddTagsToStream",
            json!({"StreamName": "s", "Tags": {}}),
            "Validation",
        ),
        ("AddTagsToStream", json!({"StreamName": "s"}), "Validation"),
        (
            "AddTagsToStream",
            json!({"StreamName": "s", "Tags": {"k": 1}}),
            "Serialization",
        ),
        (
            "TagResource",
            json!({"ResourceARN": ARN, "Tags": {"k".repeat(129): ""}}),
            "Validation",
        ),
        (
            "UntagResource",
            json!({"ResourceARN": ARN, "TagKeys": []}),
            "Validation",
        ),
        ("UntagResource", json!({"TagKeys": ["a"]}), "Validation"),
        (
            "ListTagsForStream",
            json!({"StreamName": "s", "Limit": 51}),
            "Validation",
        ),
        (
            "ListTagsForStream",
            json!({"StreamName": "t"}),
            "ResourceNotFound",
        ),
    ] {
        let refused = refused(address, target, body.clone()).await;
        assert_eq!(refused, format!("{code}Exception"), "{target} {body}");
    }
}

#[tokio::test]
async fn a_policy_is_an_object_with_statements() {
    let running = with_stream().await;
    let address = running.address;
    let with = |policy: &str| json!({"ResourceARN": ARN, "Policy": policy});
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny"}]}"#;
    ok(address, "PutResourcePolicy", with(policy)).await;
    let kept = ok(address, "GetResourcePolicy", json!({"ResourceARN": ARN})).await;
    assert_eq!(kept, json!({"Policy": policy}));
    for wrong in ["", "{", "[]", "{}", r#"{"Statement":7}"#] {
        let code = refused(address, "PutResourcePolicy", with(wrong)).await;
        assert_eq!(code, "InvalidArgumentException", "{wrong}");
    }
    // It holds nobody back.
    ok(address, "ListShards", json!({"StreamARN": ARN})).await;
    ok(address, "DeleteResourcePolicy", json!({"ResourceARN": ARN})).await;
    let gone = refused(address, "GetResourcePolicy", json!({"ResourceARN": ARN})).await;
    assert_eq!(gone, "ResourceNotFoundException");
}

#[tokio::test]
async fn encryption_is_said_of_streams_puts_and_records() {
    let running = with_stream().await;
    let address = running.address;
    let put = json!({"StreamName": "s", "PartitionKey": "k", "Data": ""});
    let puts = json!({"StreamName": "s", "Records": [{"PartitionKey": "k", "Data": ""}]});
    let key = json!({"StreamName": "s", "EncryptionType": "KMS", "KeyId": "alias/orders"});
    assert_eq!(
        ok(address, "PutRecord", put.clone()).await["EncryptionType"],
        "NONE"
    );
    assert_eq!(summary(address).await["EncryptionType"], "NONE");
    ok(address, "StartStreamEncryption", key.clone()).await;
    let stream = summary(address).await;
    assert_eq!(
        (&stream["EncryptionType"], &stream["KeyId"]),
        (&json!("KMS"), &json!("alias/orders"))
    );
    assert_eq!(
        ok(address, "PutRecord", put.clone()).await["EncryptionType"],
        "KMS"
    );
    assert_eq!(
        ok(address, "PutRecords", puts.clone()).await["EncryptionType"],
        "KMS"
    );
    ok(address, "StopStreamEncryption", key).await;
    assert_eq!(
        ok(address, "PutRecords", puts).await["EncryptionType"],
        "NONE"
    );
    assert_eq!(summary(address).await.get("KeyId"), None);
    let at = json!({"StreamName": "s", "ShardId": "shardId-000000000000",
        "ShardIteratorType": "TRIM_HORIZON"});
    let at = ok(address, "GetShardIterator", at).await;
    let page = json!({"ShardIterator": at["ShardIterator"]});
    let page = ok(address, "GetRecords", page).await;
    let said: Vec<_> = (0..4)
        .map(|n| page["Records"][n].get("EncryptionType").is_some())
        .collect();
    assert_eq!(said, [false, true, true, false]);
    assert_eq!(page["Records"][1]["EncryptionType"], "KMS");
    for (body, code) in [
        (
            json!({"StreamName": "s", "EncryptionType": "NONE", "KeyId": "k"}),
            "InvalidArgument",
        ),
        (
            json!({"StreamName": "s", "EncryptionType": "X", "KeyId": "k"}),
            "Validation",
        ),
        (
            json!({"StreamName": "s", "EncryptionType": "KMS"}),
            "Validation",
        ),
    ] {
        let refused = refused(address, "StartStreamEncryption", body).await;
        assert_eq!(refused, format!("{code}Exception"));
    }
}

#[tokio::test]
async fn metrics_that_are_wanted_are_shown() {
    let running = with_stream().await;
    let address = running.address;
    let with = |metrics: Value| json!({"StreamARN": ARN, "ShardLevelMetrics": metrics});
    let two = with(json!(["OutgoingBytes", "IncomingBytes"]));
    let answer = ok(address, "EnableEnhancedMonitoring", two).await;
    let expected = json!({"StreamName": "s", "StreamARN": ARN, "CurrentShardLevelMetrics": [],
        "DesiredShardLevelMetrics": ["IncomingBytes", "OutgoingBytes"]});
    assert_eq!(answer, expected);
    ok(address, "EnableEnhancedMonitoring", with(json!(["ALL"]))).await;
    let less = ok(
        address,
        "DisableEnhancedMonitoring",
        with(json!(["OutgoingBytes"])),
    )
    .await;
    let count = |value: &Value| value.as_array().unwrap().len();
    assert_eq!(count(&less["CurrentShardLevelMetrics"]), 7);
    assert_eq!(count(&less["DesiredShardLevelMetrics"]), 6);
    let shown = &summary(address).await["EnhancedMonitoring"][0]["ShardLevelMetrics"];
    assert_eq!(shown, &less["DesiredShardLevelMetrics"]);
    for wrong in [json!([]), json!(["x"]), json!(null)] {
        let code = refused(address, "EnableEnhancedMonitoring", with(wrong)).await;
        assert_eq!(code, "ValidationException");
    }
}

#[tokio::test]
async fn an_account_commits_itself_and_warms_up_its_streams() {
    let running = unlimited().await;
    let address = running.address;
    let set = |status: &str| json!({"MinimumThroughputBillingCommitment": {"Status": status}});
    let member = "MinimumThroughputBillingCommitment";
    let none = ok(address, "DescribeAccountSettings", json!({})).await;
    assert_eq!(none, json!({member: {"Status": "DISABLED"}}));
    let create = json!({"StreamName": "s", "StreamModeDetails": {"StreamMode": "ON_DEMAND"}});
    ok(address, "CreateStream", create).await;
    let warm = json!({"StreamName": "s", "WarmThroughputMiBps": 6});
    let refusal = refused(address, "UpdateStreamWarmThroughput", warm.clone()).await;
    assert_eq!(refusal, "ValidationException");
    let answer = ok(address, "UpdateAccountSettings", set("ENABLED")).await;
    assert_eq!(answer[member]["Status"], "ENABLED");
    assert!(answer[member]["EarliestAllowedEndAt"].as_f64() > answer[member]["StartedAt"].as_f64());
    let answer = ok(address, "UpdateStreamWarmThroughput", warm).await;
    assert_eq!(answer["WarmThroughput"]["TargetMiBps"], 6);
    let stream = summary(address).await;
    assert_eq!(
        stream["WarmThroughput"],
        json!({"TargetMiBps": 6, "CurrentMiBps": 6})
    );
    assert_eq!(stream["OpenShardCount"], 6);
    let answer = ok(address, "UpdateAccountSettings", set("DISABLED")).await;
    assert_eq!(
        answer[member]["Status"],
        "ENABLED_UNTIL_EARLIEST_ALLOWED_END"
    );
    let wrong = refused(address, "UpdateAccountSettings", set("x")).await;
    assert_eq!(wrong, "ValidationException");
}
