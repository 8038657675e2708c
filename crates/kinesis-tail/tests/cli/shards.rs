use kinesis_source::KinesisWriteApi;

use crate::rig::{Kinesis, run};

#[tokio::test(flavor = "multi_thread")]
async fn a_split_and_a_merge_show_as_a_tree() {
    let kinesis = Kinesis::new(2).await;
    let shard = |number: u32| format!("shardId-{number:012}").as_str().into();
    let middle = (u128::MAX / 4) + 1;
    kinesis.fake.split_shard(&shard(0), middle).await.unwrap();
    kinesis
        .fake
        .merge_shards(&shard(3), &shard(1))
        .await
        .unwrap();
    let finished = run(kinesis.tail(&["shards", "orders"])).await;
    assert_eq!(
        (finished.code, finished.stderr.as_str()),
        (Some(0), ""),
        "{finished:?}"
    );
    let half = u128::MAX / 2;
    let expected = format!(
        "shardId-000000000000  closed  0..={half}\n\
         ├─ shardId-000000000002  open  0..={}\n\
         └─ shardId-000000000003  closed  {middle}..={half}\n\
         \u{20}  └─ shardId-000000000004  open  {middle}..={}  (merged with shardId-000000000001)\n\
         shardId-000000000001  closed  {}..={}\n",
        middle - 1,
        u128::MAX,
        half + 1,
        u128::MAX
    );
    assert_eq!(finished.stdout, expected);
}
