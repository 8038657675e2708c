"""Drives a Kinesis through boto3, from a stream's making to its removal.

Called by .ci/clients with three endpoints: one with the service's limits, one whose iterators live
for two seconds, one with a clock that makes a day six seconds. What is not as it should be raises.
"""

import sys
import time
from datetime import datetime, timezone

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError


def client(endpoint, **config):
    return boto3.client(
        "kinesis",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="nobody",
        aws_secret_access_key="nothing",
        config=Config(retries={"total_max_attempts": 1}, parameter_validation=False, **config),
    )


def same(got, wanted):
    if got != wanted:
        raise AssertionError(f"got {got!r}, wanted {wanted!r}")


def refused(code, call, **arguments):
    """The message with which a call is refused."""
    try:
        answer = call(**arguments)
    except ClientError as error:
        same(error.response["Error"]["Code"], code)
        metadata = error.response["ResponseMetadata"]
        same(metadata["HTTPStatusCode"], 400)
        same(len(metadata["RequestId"]), 36)
        return error.response["Error"]["Message"]
    raise AssertionError(f"{code} was expected, and this came: {answer!r}")


def create(kinesis, name, shards):
    kinesis.create_stream(StreamName=name, ShardCount=shards)
    kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
    return kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]


def iterator(kinesis, shard, kind="TRIM_HORIZON", name="orders", **more):
    return kinesis.get_shard_iterator(
        StreamName=name, ShardId=shard, ShardIteratorType=kind, **more
    )["ShardIterator"]


def read(kinesis, shard):
    """All records of a shard, and the answer that has the last of them."""
    records, at = [], iterator(kinesis, shard)
    while True:
        page = kinesis.get_records(ShardIterator=at, Limit=300)
        records += page["Records"]
        if page.get("NextShardIterator") is None or page["MillisBehindLatest"] == 0:
            return records, page
        at = page["NextShardIterator"]
        time.sleep(0.21)


def fan_out(kinesis, arn, shard, closed):
    """Subscribes to a shard, and to one that is closed, whose records are returned."""
    consumer = kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="audit")["Consumer"]
    by_name = {"StreamARN": arn, "ConsumerName": "audit"}
    described = kinesis.describe_stream_consumer(**by_name)["ConsumerDescription"]
    same((described["ConsumerStatus"], described["StreamARN"]), ("ACTIVE", arn))
    same(described["ConsumerARN"], consumer["ConsumerARN"])
    same(kinesis.list_stream_consumers(StreamARN=arn)["Consumers"], [consumer])

    start = {
        "ConsumerARN": consumer["ConsumerARN"],
        "StartingPosition": {"Type": "TRIM_HORIZON"},
    }
    records, children = [], []
    for event in kinesis.subscribe_to_shard(ShardId=closed, **start)["EventStream"]:
        event = event["SubscribeToShardEvent"]
        records += event["Records"]
        children += event.get("ChildShards", [])
    same(len(children), 2)
    # Within a second it is one call too many, and then too early for a while.
    time.sleep(1.1)
    refused("ResourceInUseException", kinesis.subscribe_to_shard, ShardId=closed, **start)

    start["StartingPosition"] = {"Type": "LATEST"}
    subscription = kinesis.subscribe_to_shard(ShardId=shard, **start)["EventStream"]
    hash_range = next(
        it["HashKeyRange"]
        for it in kinesis.list_shards(StreamARN=arn)["Shards"]
        if it["ShardId"] == shard
    )
    put = kinesis.put_record(
        StreamARN=arn,
        Data=b"pushed",
        PartitionKey="k",
        ExplicitHashKey=hash_range["StartingHashKey"],
    )
    for event in subscription:
        event = event["SubscribeToShardEvent"]
        if event["Records"]:
            break
    same([it["Data"] for it in event["Records"]], [b"pushed"])
    same(event["Records"][0]["SequenceNumber"], put["SequenceNumber"])
    same(int(event["ContinuationSequenceNumber"]) >= int(put["SequenceNumber"]), True)
    subscription.close()

    refused("ResourceInUseException", kinesis.delete_stream, StreamARN=arn)
    kinesis.deregister_stream_consumer(ConsumerARN=consumer["ConsumerARN"])
    refused("ResourceNotFoundException", kinesis.describe_stream_consumer, **by_name)
    return records


def labels(kinesis, arn):
    """What is attached to a stream, and said of its records."""
    kinesis.add_tags_to_stream(StreamName="orders", Tags={"team": "orders", "stage": "test"})
    kinesis.tag_resource(ResourceARN=arn, Tags={"stage": "production"})
    kinesis.remove_tags_from_stream(StreamARN=arn, TagKeys=["team"])
    tags = [{"Key": "stage", "Value": "production"}]
    same(kinesis.list_tags_for_resource(ResourceARN=arn)["Tags"], tags)
    listed = kinesis.list_tags_for_stream(StreamName="orders")
    same((listed["Tags"], listed["HasMoreTags"]), (tags, False))
    kinesis.untag_resource(ResourceARN=arn, TagKeys=["stage"])

    policy = '{"Version": "2012-10-17", "Statement": []}'
    kinesis.put_resource_policy(ResourceARN=arn, Policy=policy)
    same(kinesis.get_resource_policy(ResourceARN=arn)["Policy"], policy)
    kinesis.delete_resource_policy(ResourceARN=arn)
    refused("ResourceNotFoundException", kinesis.get_resource_policy, ResourceARN=arn)

    key = {"StreamARN": arn, "EncryptionType": "KMS", "KeyId": "alias/orders"}
    kinesis.start_stream_encryption(**key)
    description = kinesis.describe_stream(StreamName="orders")["StreamDescription"]
    same((description["EncryptionType"], description["KeyId"]), ("KMS", "alias/orders"))
    kinesis.stop_stream_encryption(**key)

    wanted = kinesis.enable_enhanced_monitoring(StreamARN=arn, ShardLevelMetrics=["ALL"])
    same(len(wanted["DesiredShardLevelMetrics"]), 7)
    kinesis.disable_enhanced_monitoring(StreamARN=arn, ShardLevelMetrics=["ALL"])

    settings = kinesis.describe_account_settings()["MinimumThroughputBillingCommitment"]
    same(settings["Status"], "DISABLED")
    refused(
        "ValidationException",
        kinesis.update_stream_warm_throughput,
        StreamARN=arn,
        WarmThroughputMiBps=8,
    )


def until(what, holds):
    """Waits until that holds: what it is then."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if found := holds():
            return found
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within a minute")


def expire(kinesis):
    """Records are trimmed after a day, from an open shard and from one that is closed, which goes
    with them."""
    create(kinesis, "orders", 1)
    shards = [f"shardId-{number:012}" for number in range(3)]
    for data in (b"first", b"second"):
        kinesis.put_record(StreamName="orders", Data=data, PartitionKey="k")
    records, _ = read(kinesis, shards[0])
    same([it["Data"] for it in records], [b"first", b"second"])
    until("records are trimmed", lambda: read(kinesis, shards[0])[0] == [])
    number = {"StartingSequenceNumber": records[0]["SequenceNumber"]}
    after = "AFTER_SEQUENCE_NUMBER"
    refused(
        "InvalidArgumentException",
        iterator,
        kinesis=kinesis,
        shard=shards[0],
        kind=after,
        **number,
    )

    half = str(2**127)
    kinesis.split_shard(StreamName="orders", ShardToSplit=shards[0], NewStartingHashKey=half)
    listed = kinesis.list_shards(StreamName="orders")["Shards"]
    same([it["ShardId"] for it in listed], shards)

    def left():
        listed = kinesis.list_shards(StreamName="orders")["Shards"]
        return [it["ShardId"] for it in listed] == shards[1:]

    until("a closed shard expires", left)
    refused("ResourceNotFoundException", iterator, kinesis=kinesis, shard=shards[0])
    same(read(kinesis, shards[1])[0], [])
    kinesis.delete_stream(StreamName="orders")


def main(endpoint, short_lived, fast):
    kinesis = client(endpoint)
    begun = datetime.now(timezone.utc)

    summary = create(kinesis, "orders", 3)
    arn = summary["StreamARN"]
    same(arn.split(":")[-1], "stream/orders")
    same((summary["StreamStatus"], summary["OpenShardCount"]), ("ACTIVE", 3))
    same(abs((summary["StreamCreationTimestamp"] - begun).total_seconds()) < 30, True)
    same(kinesis.list_streams()["StreamNames"], ["orders"])
    refused("ResourceInUseException", kinesis.create_stream, StreamName="orders", ShardCount=1)
    missing = refused("ResourceNotFoundException", kinesis.describe_stream, StreamName="none")
    same(missing, "Stream none under account 000000000000 not found.")
    wrong = refused("ValidationException", kinesis.describe_stream, StreamName="a b", Limit=0)
    same(wrong.startswith("2 validation errors detected: Value 'a b' at 'streamName' failed"), True)

    first = kinesis.list_shards(StreamName="orders", MaxResults=2)
    second = kinesis.list_shards(NextToken=first["NextToken"])
    pages = [[shard["ShardId"] for shard in page["Shards"]] for page in (first, second)]
    # As with the service, what boto3's own paginator does is refused.
    refused(
        "InvalidArgumentException",
        kinesis.list_shards,
        StreamName="orders",
        NextToken=first["NextToken"],
    )
    shards = [f"shardId-{number:012}" for number in range(3)]
    same(pages, [shards[:2], shards[2:]])
    filtered = kinesis.list_shards(StreamARN=arn, ShardFilter={"Type": "AT_LATEST"})
    same(len(filtered["Shards"]), 3)

    third = 2**128 // 3
    data = [bytes(range(256)), b"", "schön".encode()]
    for number, payload in enumerate(data):
        put = kinesis.put_record(
            StreamARN=arn,
            Data=payload,
            PartitionKey="key",
            ExplicitHashKey=str(number * third + 1),
        )
        same(put["ShardId"], shards[number])
    batch = [
        {"Data": str(number).encode(), "PartitionKey": f"key-{number}"} for number in range(500)
    ]
    put = kinesis.put_records(StreamName="orders", Records=batch)
    same(put["FailedRecordCount"], 0)
    stored = {shard: read(kinesis, shard)[0] for shard in shards}
    same([stored[shard][0]["Data"] for shard in shards], data)
    numbers = [int(record["Data"]) for shard in shards for record in stored[shard][1:]]
    same(sorted(numbers), list(range(500)))
    for entry, record in zip(put["Records"], batch):
        found = [it for it in stored[entry["ShardId"]] if it["Data"] == record["Data"]]
        same([it["SequenceNumber"] for it in found], [entry["SequenceNumber"]])

    second, third_record = stored[shards[0]][1:3]
    for kind, more in [
        ("AT_SEQUENCE_NUMBER", {"StartingSequenceNumber": third_record["SequenceNumber"]}),
        ("AFTER_SEQUENCE_NUMBER", {"StartingSequenceNumber": second["SequenceNumber"]}),
    ]:
        time.sleep(0.21)
        at = iterator(kinesis, shards[0], kind, **more)
        page = kinesis.get_records(ShardIterator=at, Limit=1)
        same(page["Records"], [third_record])
    at = iterator(kinesis, shards[1], "AT_TIMESTAMP", Timestamp=begun)
    same(kinesis.get_records(ShardIterator=at, Limit=1)["Records"][0]["Data"], b"")
    time.sleep(0.21)
    now = stored[shards[1]][-1]["ApproximateArrivalTimestamp"]
    at = iterator(kinesis, shards[1], "AT_TIMESTAMP", Timestamp=now)
    first = kinesis.get_records(ShardIterator=at)["Records"][0]
    same(first["ApproximateArrivalTimestamp"], now)

    kinesis.split_shard(
        StreamName="orders", ShardToSplit=shards[0], NewStartingHashKey=str(third // 2)
    )
    kinesis.merge_shards(
        StreamName="orders", ShardToMerge=shards[1], AdjacentShardToMerge=shards[2]
    )
    time.sleep(1)
    children = [f"shardId-{number:012}" for number in range(3, 6)]
    records, end = read(kinesis, shards[0])
    same(records, stored[shards[0]])
    same(end.get("NextShardIterator"), None)
    same([child["ShardId"] for child in end["ChildShards"]], children[:2])
    _, end = read(kinesis, shards[1])
    merged = end["ChildShards"][0]
    same((merged["ShardId"], sorted(merged["ParentShards"])), (children[2], shards[1:]))
    listed = {it["ShardId"]: it for it in kinesis.list_shards(StreamName="orders")["Shards"]}
    same(listed[children[2]]["AdjacentParentShardId"], shards[2])
    same("EndingSequenceNumber" in listed[shards[0]]["SequenceNumberRange"], True)

    kinesis.increase_stream_retention_period(StreamName="orders", RetentionPeriodHours=48)
    described = kinesis.describe_stream(StreamName="orders")["StreamDescription"]
    same((described["RetentionPeriodHours"], len(described["Shards"])), (48, 6))
    kinesis.decrease_stream_retention_period(StreamName="orders", RetentionPeriodHours=24)

    pushed = fan_out(kinesis, arn, children[0], closed=shards[0])
    same(pushed, stored[shards[0]])

    at = iterator(kinesis, children[0], "LATEST")
    refusals = []
    for _ in range(12):
        try:
            kinesis.get_records(ShardIterator=at)
        except kinesis.exceptions.ProvisionedThroughputExceededException as refusal:
            refusals.append(refusal)
    same(bool(refusals), True)
    large = [
        {"Data": bytes(1_000_000), "PartitionKey": "k", "ExplicitHashKey": "0"} for _ in range(4)
    ]
    put = kinesis.put_records(StreamName="orders", Records=large)
    codes = [record.get("ErrorCode") for record in put["Records"]]
    same((codes[0], put["FailedRecordCount"]), (None, 3))
    same(codes[3], "ProvisionedThroughputExceededException")

    labels(kinesis, arn)

    fleeting = client(short_lived)
    create(fleeting, "orders", 1)
    at = iterator(fleeting, shards[0])
    time.sleep(2.1)
    message = refused("ExpiredIteratorException", fleeting.get_records, ShardIterator=at)
    same(message.startswith("Iterator expired. The iterator was created at time "), True)
    same("2000 milliseconds" in message, True)
    fleeting.delete_stream(StreamName="orders")
    expire(client(fast))

    resized = kinesis.update_shard_count(
        StreamName="orders", TargetShardCount=6, ScalingType="UNIFORM_SCALING"
    )
    same((resized["CurrentShardCount"], resized["TargetShardCount"]), (3, 6))
    kinesis.update_max_record_size(StreamARN=arn, MaxRecordSizeInKiB=2048)
    kinesis.update_stream_mode(StreamARN=arn, StreamModeDetails={"StreamMode": "ON_DEMAND"})
    summary = kinesis.describe_stream_summary(StreamName="orders")["StreamDescriptionSummary"]
    same((summary["OpenShardCount"], summary["MaxRecordSizeInKiB"]), (6, 2048))
    same(summary["StreamModeDetails"], {"StreamMode": "ON_DEMAND"})
    limits = kinesis.describe_limits()
    same((limits["ShardLimit"], limits["OnDemandStreamCount"]), (200, 1))

    kinesis.delete_stream(StreamARN=arn)
    kinesis.get_waiter("stream_not_exists").wait(StreamName="orders", WaiterConfig={"Delay": 1})


if __name__ == "__main__":
    main(*sys.argv[1:])
    print("boto3: all is as it should be")
