//! What clients do, and what they get.

use super::*;

#[tokio::test]
async fn a_stream_is_made_filled_read_resharded_and_removed() {
    let running = unlimited().await;
    let address = running.address;
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";
    ok(
        address,
        "CreateStream",
        json!({"StreamName": "orders", "ShardCount": 1}),
    )
    .await;

    let put = json!({"StreamName": "orders", "PartitionKey": "k", "Data": "aGVsbG8="});
    let put = ok(address, "PutRecord", put).await;
    assert_eq!(put["ShardId"], "shardId-000000000000");
    let puts = json!({"StreamARN": arn, "Records": [
        {"PartitionKey": "k", "Data": "", "ExplicitHashKey": "0"},
        {"PartitionKey": "k", "Data": "d29ybGQ=", "ExplicitHashKey": u128::MAX.to_string()},
    ]});
    let puts = ok(address, "PutRecords", puts).await;
    assert_eq!(puts["FailedRecordCount"], 0);

    let half = (1_u128 << 127).to_string();
    let split = json!({"StreamName": "orders", "ShardToSplit": "shardId-000000000000", "NewStartingHashKey": half});
    ok(address, "SplitShard", split).await;
    let merge = json!({"StreamName": "orders", "ShardToMerge": "shardId-000000000001",
        "AdjacentShardToMerge": "shardId-000000000002"});
    ok(address, "MergeShards", merge).await;

    let at = json!({"StreamARN": arn, "ShardId": "shardId-000000000000",
        "ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": put["SequenceNumber"]});
    let at = ok(address, "GetShardIterator", at).await;
    let page = json!({"ShardIterator": at["ShardIterator"], "Limit": 10});
    let page = ok(address, "GetRecords", page).await;
    let data: Vec<_> = page["Records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["Data"])
        .collect();
    assert_eq!(data, ["aGVsbG8=", "", "d29ybGQ="]);
    assert!(page["Records"][0]["ApproximateArrivalTimestamp"].is_f64());
    assert_eq!(page["MillisBehindLatest"], 0);
    assert_eq!(page.get("NextShardIterator"), None);
    assert_eq!(
        page["ChildShards"][1]["ParentShards"],
        json!(["shardId-000000000000"])
    );

    let summary = ok(
        address,
        "DescribeStreamSummary",
        json!({"StreamName": "orders"}),
    )
    .await;
    let summary = &summary["StreamDescriptionSummary"];
    assert_eq!(
        (&summary["StreamARN"], &summary["OpenShardCount"]),
        (&json!(arn), &json!(1))
    );
    assert_eq!(summary["StreamStatus"], "ACTIVE");
    ok(address, "DeleteStream", json!({"StreamARN": arn})).await;
    let gone = refused(address, "DescribeStream", json!({"StreamName": "orders"})).await;
    assert_eq!(gone, "ResourceNotFoundException");
}

#[tokio::test]
async fn shards_are_listed_in_pages_and_by_filter() {
    let running = unlimited().await;
    let (address, fake) = (running.address, running.fake.clone());
    ok(
        address,
        "CreateStream",
        json!({"StreamName": "s", "ShardCount": 3}),
    )
    .await;
    let first = ok(
        address,
        "ListShards",
        json!({"StreamName": "s", "MaxResults": 2}),
    )
    .await;
    assert_eq!(first["Shards"].as_array().unwrap().len(), 2);
    let token = &first["NextToken"];
    let both = refused(
        address,
        "ListShards",
        json!({"StreamName": "s", "NextToken": token}),
    );
    assert_eq!(both.await, "InvalidArgumentException");
    let second = ok(address, "ListShards", json!({"NextToken": token})).await;
    assert_eq!(second["Shards"][0]["ShardId"], "shardId-000000000002");
    assert_eq!(second.get("NextToken"), None);

    let split = json!({"StreamName": "s", "ShardToSplit": "shardId-000000000000", "NewStartingHashKey": "5"});
    ok(address, "SplitShard", split).await;
    let now = kinesis_source::KinesisApi::now(&fake).as_millis() as f64 / 1_000.0;
    for (filter, shards) in [
        (json!({"Type": "AT_LATEST"}), 4),
        (json!({"Type": "AT_TRIM_HORIZON"}), 3),
        (json!({"Type": "FROM_TRIM_HORIZON"}), 5),
        (
            json!({"Type": "AFTER_SHARD_ID", "ShardId": "shardId-000000000001"}),
            3,
        ),
        (json!({"Type": "FROM_TIMESTAMP", "Timestamp": 0}), 5),
        (json!({"Type": "AT_TIMESTAMP", "Timestamp": now + 1.0}), 4),
    ] {
        let listed = ok(
            address,
            "ListShards",
            json!({"StreamName": "s", "ShardFilter": filter}),
        );
        assert_eq!(
            listed.await["Shards"].as_array().unwrap().len(),
            shards,
            "{filter}"
        );
    }
    let after = json!({"StreamName": "s", "ExclusiveStartShardId": "shardId-000000000003"});
    let after = ok(address, "DescribeStream", after).await;
    let description = &after["StreamDescription"];
    assert_eq!(description["Shards"].as_array().unwrap().len(), 1);
    assert_eq!(description["HasMoreShards"], false);
}

#[tokio::test]
async fn streams_are_listed_in_pages_and_keep_records_as_long_as_told() {
    let running = unlimited().await;
    let address = running.address;
    for name in ["a", "b", "c"] {
        ok(
            address,
            "CreateStream",
            json!({"StreamName": name, "ShardCount": 1}),
        )
        .await;
    }
    let first = ok(address, "ListStreams", json!({"Limit": 2})).await;
    assert_eq!(first["StreamNames"], json!(["a", "b"]));
    assert_eq!(first["HasMoreStreams"], true);
    let rest = ok(
        address,
        "ListStreams",
        json!({"NextToken": first["NextToken"]}),
    )
    .await;
    assert_eq!(rest["StreamNames"], json!(["c"]));

    let hours = |hours: i64| json!({"StreamName": "a", "RetentionPeriodHours": hours});
    ok(address, "IncreaseStreamRetentionPeriod", hours(48)).await;
    let shorter = refused(address, "IncreaseStreamRetentionPeriod", hours(24)).await;
    assert_eq!(shorter, "InvalidArgumentException");
    ok(address, "DecreaseStreamRetentionPeriod", hours(24)).await;
    for hours_out in [23, -1, i64::MAX] {
        refused(address, "DecreaseStreamRetentionPeriod", hours(hours_out)).await;
    }
}

#[tokio::test]
async fn the_limits_hold_over_http_too() {
    let mut limits = Limits::default();
    // What is read takes a minute to be paid for, however slow this machine is.
    limits.read_bytes_per_second = Some(1);
    let running = serve(Fake::builder().instant().limits(limits).build()).await;
    let address = running.address;
    running.fake.put("k", vec![0; 60]).unwrap();
    let at = json!({"StreamName": "stream", "ShardId": "shardId-000000000000",
        "ShardIteratorType": "TRIM_HORIZON"});
    let at = ok(address, "GetShardIterator", at).await;
    ok(address, "GetRecords", at.clone()).await;
    let code = refused(address, "GetRecords", at).await;
    assert_eq!(code, "ProvisionedThroughputExceededException");
    assert_eq!(running.fake.calls().throttled(), 1);
}

#[tokio::test]
async fn an_answer_has_a_type_the_fakes_date_and_ids_of_its_own() {
    let running = serve(Fake::instant(1)).await;
    let address = running.address;
    let headers = |answer: Answer| {
        let head = answer.head.to_lowercase();
        assert!(
            head.contains("content-type: application/x-amz-json-1.1"),
            "{head}"
        );
        // The fake's own year, which does not follow the machine's clock.
        assert!(head.contains("date: thu, 01 jan 2026 00:00:"), "{head}");
        let line = |name| {
            head.lines()
                .find(|it| it.starts_with(name))
                .unwrap()
                .to_owned()
        };
        (line("x-amzn-requestid: "), line("x-amz-id-2: "))
    };
    let good = headers(post(address, "ListStreams", json!({})).await);
    let bad = headers(post(address, "GetRecords", json!({})).await);
    assert!(good.0 != bad.0 && good.1 != bad.1);
}

#[tokio::test]
async fn an_operation_without_an_answer_has_an_empty_body() {
    let running = unlimited().await;
    let create = json!({"StreamName": "s", "ShardCount": 1});
    let created = post(running.address, "CreateStream", create).await;
    assert_eq!((created.status, created.body.len()), (200, 0));
}

#[tokio::test]
async fn signatures_are_taken_as_they_are() {
    let running = serve(Fake::instant(1)).await;
    let signed = "Authorization: AWS4-HMAC-SHA256 Credential=nobody/20260101/us-east-1/kinesis/\
        aws4_request, SignedHeaders=host;x-amz-date, Signature=00\r\nX-Amz-Date: 20260101T000000Z\r\n\
        X-Amz-Security-Token: none\r\nX-Amz-Content-Sha256: wrong\r\nConnection: close\r\n";
    for headers in [signed, "Authorization: \r\nConnection: close\r\n", CLOSE] {
        let answer = raw(running.address, &request("ListStreams", b"{}", headers)).await;
        assert_eq!(answer.unwrap().status, 200);
    }
}

#[tokio::test]
async fn one_connection_takes_one_request_after_another() {
    let running = serve(Fake::instant(1)).await;
    let mut bytes = request("ListStreams", b"{}", "");
    bytes.extend(request("ListStreams", b"{", ""));
    bytes.extend(request("ListStreams", b"{}", CLOSE));
    let answers = raw(running.address, &bytes).await.unwrap();
    let text = String::from_utf8(answers.body).unwrap();
    assert_eq!(answers.status, 200);
    assert_eq!(text.matches("HTTP/1.1 400").count(), 1, "{text}");
    assert_eq!(text.matches("HTTP/1.1 200").count(), 1, "{text}");
}

#[tokio::test]
async fn a_server_that_is_told_to_stop_ends_though_clients_are_idle() {
    let mut running = serve(Fake::instant(1)).await;
    let idle = TcpStream::connect(running.address).await.unwrap();
    assert_eq!(post_ok(running.address).await, 200);
    running.stop.send(()).unwrap();
    let ended = timeout(Duration::from_secs(3), running.tasks.join_next());
    ended.await.unwrap().unwrap().unwrap();
    assert!(TcpStream::connect(running.address).await.is_err());
    drop(idle);
}

#[tokio::test]
async fn a_stream_that_is_named_twice_is_the_same_both_times() {
    let running = unlimited().await;
    let address = running.address;
    let arn = |stream: &str| format!("arn:aws:kinesis:us-east-1:000000000000:stream/{stream}");
    for stream in ["one", "other"] {
        let create = json!({"StreamName": stream, "ShardCount": 2});
        ok(address, "CreateStream", create).await;
        let register = json!({"StreamARN": arn(stream), "ConsumerName": "audit"});
        ok(address, "RegisterStreamConsumer", register).await;
    }
    let at = json!({"StreamName": "one", "ShardId": "shardId-000000000000",
        "ShardIteratorType": "TRIM_HORIZON"});
    let iterator = &ok(address, "GetShardIterator", at).await["ShardIterator"];
    let page = json!({"StreamName": "one", "MaxResults": 1});
    let token = &ok(address, "ListShards", page).await["NextToken"];
    for (target, body) in [
        ("GetRecords", json!({"ShardIterator": iterator})),
        ("ListShards", json!({"NextToken": token})),
    ] {
        let with = |arn: String| {
            let mut body = body.clone();
            body["StreamARN"] = arn.into();
            body
        };
        ok(address, target, with(arn("one"))).await;
        let other = refused(address, target, with(arn("other"))).await;
        assert_eq!(other, "InvalidArgumentException");
        let none = refused(address, target, with("arn:aws:s3:::bucket".into())).await;
        assert_eq!(none, "ValidationException");
    }

    let summary = json!({"StreamName": "one"});
    let summary = ok(address, "DescribeStreamSummary", summary).await;
    let made = &summary["StreamDescriptionSummary"]["StreamCreationTimestamp"];
    let whole_seconds = made.as_f64().unwrap().floor();
    for (target, body) in [
        ("ListShards", json!({"StreamName": "one"})),
        ("ListStreamConsumers", json!({"StreamARN": arn("one")})),
    ] {
        let mut body = body;
        for (time, found) in [
            (made.clone(), true),
            (json!(whole_seconds), true),
            (json!(1.0), false),
        ] {
            body["StreamCreationTimestamp"] = time;
            match found {
                true => drop(ok(address, target, body.clone()).await),
                false => {
                    let code = refused(address, target, body.clone()).await;
                    assert_eq!(code, "ResourceNotFoundException", "{target}");
                }
            }
        }
    }
    let both = json!({"NextToken": token, "StreamCreationTimestamp": made});
    let both = refused(address, "ListShards", both).await;
    assert_eq!(both, "InvalidArgumentException");
}

#[tokio::test]
async fn a_limit_below_zero_is_named_as_it_was_given() {
    let running = serve(Fake::instant(1)).await;
    let at = json!({"StreamName": "stream", "ShardId": "shardId-000000000000",
        "ShardIteratorType": "LATEST"});
    let at = ok(running.address, "GetShardIterator", at).await;
    for limit in [-1, 0, i64::MIN] {
        let page = json!({"ShardIterator": at["ShardIterator"], "Limit": limit});
        let answer = post(running.address, "GetRecords", page).await;
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        let named = format!("Limit {limit} is not between 1 and 10000.");
        assert_eq!((answer.status, message), (400, named));
    }
}

#[tokio::test]
async fn what_may_be_asked_for_is_what_was_chosen() {
    let mut limits = Limits::none();
    limits.results_asked_for = 7;
    limits.record_kib = 8..=16;
    limits.tag_key_chars = 3;
    limits.tag_value_chars = 2;
    limits.tags_per_page = 5;
    limits.policy_bytes = 20;
    let running = serve(Fake::builder().instant().limits(limits).build()).await;
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/stream";
    let create = |kib: i64| json!({"StreamName": format!("of-{kib}"), "ShardCount": 1, "MaxRecordSizeInKiB": kib});
    let tag = |key: &str, value: &str| json!({"ResourceARN": arn, "Tags": {key: value}});
    let policy = |policy: &str| json!({"ResourceARN": arn, "Policy": policy});
    let named = |member: &str, number: i64| json!({"StreamName": "stream", member: number});
    let by_arn = |member: &str, number: i64| json!({"StreamARN": arn, member: number});
    for (operation, fits, too_many) in [
        ("ListShards", named("MaxResults", 7), named("MaxResults", 8)),
        ("DescribeStream", named("Limit", 7), named("Limit", 8)),
        ("ListStreams", json!({"Limit": 7}), json!({"Limit": 8})),
        (
            "ListStreamConsumers",
            by_arn("MaxResults", 7),
            by_arn("MaxResults", 8),
        ),
        ("ListTagsForStream", named("Limit", 5), named("Limit", 6)),
        ("CreateStream", create(16), create(17)),
        ("CreateStream", create(8), create(7)),
        (
            "UpdateMaxRecordSize",
            by_arn("MaxRecordSizeInKiB", 16),
            by_arn("MaxRecordSizeInKiB", 17),
        ),
        ("TagResource", tag("abc", "de"), tag("abcd", "")),
        ("TagResource", tag("abc", "de"), tag("abc", "def")),
    ] {
        ok(running.address, operation, fits).await;
        let code = refused(running.address, operation, too_many).await;
        assert_eq!(code, "ValidationException", "{operation}");
    }
    ok(
        running.address,
        "PutResourcePolicy",
        policy(r#"{"Statement":{}}"#),
    )
    .await;
    let long = policy(r#"{"Statement":{    }}"#);
    ok(running.address, "PutResourcePolicy", long).await;
    let too_long = policy(r#"{"Statement":{     }}"#);
    let code = refused(running.address, "PutResourcePolicy", too_long).await;
    assert_eq!(code, "InvalidArgumentException");
}

#[tokio::test]
async fn arns_are_of_the_account_and_the_region_that_were_chosen() {
    let builder = Fake::builder().instant().limits(Limits::none());
    let owned = builder.account("123456789012").region("eu-west-1");
    let running = serve(owned.build()).await;
    let address = running.address;
    let own = "arn:aws:kinesis:eu-west-1:123456789012:stream/stream";
    let account = "arn:aws:kinesis:eu-west-1:000000000000:stream/stream";
    let region = "arn:aws:kinesis:us-east-1:123456789012:stream/stream";
    let shapeless = "arn:aws:kinesis:eu-west-1:1:stream/stream";

    let summary = json!({"StreamName": "stream"});
    let summary = ok(address, "DescribeStreamSummary", summary).await;
    assert_eq!(summary["StreamDescriptionSummary"]["StreamARN"], own);
    let register = json!({"StreamARN": own, "ConsumerName": "audit"});
    let registered = ok(address, "RegisterStreamConsumer", register).await;
    let consumer = registered["Consumer"]["ConsumerARN"].as_str().unwrap();
    assert!(consumer.starts_with(&format!("{own}/consumer/audit:")));
    let of_consumer = |stream: &str| consumer.replace(own, stream);

    for (arn, code) in [
        (own, None),
        (account, Some("AccessDeniedException")),
        (region, Some("ResourceNotFoundException")),
        (shapeless, Some("ValidationException")),
    ] {
        let start = json!({"Type": "TRIM_HORIZON"});
        let shard = "shardId-000000000000";
        for (operation, request) in [
            ("ListShards", json!({"StreamARN": arn})),
            ("DescribeStreamSummary", json!({"StreamARN": arn})),
            ("ListTagsForResource", json!({"ResourceARN": arn})),
            (
                "DescribeStreamConsumer",
                json!({"ConsumerARN": of_consumer(arn)}),
            ),
            (
                "SubscribeToShard",
                json!({"ConsumerARN": of_consumer(arn), "ShardId": shard, "StartingPosition": start}),
            ),
            (
                "EnableEnhancedMonitoring",
                json!({"StreamARN": arn, "ShardLevelMetrics": ["ALL"]}),
            ),
            (
                "UpdateShardCount",
                json!({"StreamARN": arn, "TargetShardCount": 2, "ScalingType": "UNIFORM_SCALING"}),
            ),
        ] {
            match code {
                Some(code) => {
                    assert_eq!(
                        refused(address, operation, request).await,
                        code,
                        "{operation}"
                    );
                }
                // Its answer does not end.
                None if operation == "SubscribeToShard" => {}
                None => {
                    let answer = ok(address, operation, request).await;
                    let told = answer.get("StreamARN");
                    let told = told.or(answer["ConsumerDescription"].get("StreamARN"));
                    assert!(told.is_none_or(|told| told == own), "{operation}: {answer}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_dry_run_does_nothing() {
    let running = serve(Fake::builder().instant().limits(Limits::none()).build()).await;
    let address = running.address;
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/stream";
    let register = json!({"StreamARN": arn, "ConsumerName": "audit"});
    let registered = ok(address, "RegisterStreamConsumer", register).await;
    let at = json!({"StreamName": "stream", "ShardId": "shardId-000000000000",
        "ShardIteratorType": "TRIM_HORIZON"});
    let iterator = ok(address, "GetShardIterator", at.clone()).await;
    let read = json!({"ShardIterator": iterator["ShardIterator"]});
    let record = json!({"Data": "eA==", "PartitionKey": "k"});
    for (operation, request) in [
        ("GetShardIterator", at),
        ("GetRecords", read.clone()),
        (
            "PutRecords",
            json!({"StreamName": "stream", "Records": [record]}),
        ),
        (
            "PutRecord",
            json!({"StreamName": "stream", "Data": "eA==", "PartitionKey": "k"}),
        ),
        (
            "SubscribeToShard",
            json!({"ConsumerARN": registered["Consumer"]["ConsumerARN"],
                "ShardId": "shardId-000000000000", "StartingPosition": {"Type": "LATEST"}}),
        ),
    ] {
        let mut dry = request.clone();
        dry["DryRun"] = true.into();
        let code = refused(address, operation, dry.clone()).await;
        assert_eq!(code, "DryRunOperationException", "{operation}");
        let page = ok(address, "GetRecords", read.clone()).await;
        assert_eq!(page["Records"], json!([]), "{operation}");
        // Where it is not wanted, it is done.
        if operation.starts_with("Get") {
            dry["DryRun"] = false.into();
            ok(address, operation, dry).await;
        }
    }
}

/// It is held in memory as a whole.
#[tokio::test]
async fn an_answer_has_an_end_though_no_limit_says_so() {
    let mut limits = Limits::none();
    limits.records_per_event = usize::MAX;
    limits.bytes_per_event = usize::MAX;
    let fake = Fake::builder().instant().shards(2).limits(limits).build();
    let shards: Vec<_> = fake.shards().into_iter().map(|it| it.id).collect();
    for _ in 0..40 {
        fake.put_on(&shards[0], "k", vec![0; (1 << 20) - 1])
            .unwrap();
    }
    for _ in 0..100_010 {
        fake.put_on(&shards[1], "k", "").unwrap();
    }
    let running = serve(fake).await;
    for (shard, pages) in shards.iter().zip([[32, 8], [100_000, 10]]) {
        let at = json!({"StreamName": "stream", "ShardId": shard.to_string(),
            "ShardIteratorType": "TRIM_HORIZON"});
        let mut at = ok(running.address, "GetShardIterator", at).await["ShardIterator"].clone();
        for records in pages {
            let page = json!({"ShardIterator": at, "Limit": 1_000_000_000});
            let page = ok(running.address, "GetRecords", page).await;
            assert_eq!(page["Records"].as_array().unwrap().len(), records);
            at = page["NextShardIterator"].clone();
        }
    }
}
