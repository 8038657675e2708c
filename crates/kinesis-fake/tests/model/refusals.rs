//! What the service refuses, it does not do.

use kinesis_fake::model::{Refusal, StreamMode};
use kinesis_source::ConsumerAddress;

use super::*;

/// A call that may well be refused. Numbers choose among what there is.
#[derive(Clone, Debug)]
enum Call {
    Put(Vec<(u8, usize)>),
    Split(u32, u128),
    Merge(u32, u32),
    Resize(u32),
    Mode(bool),
    RecordSize(u32),
    Retention(u32),
    Register(u8),
    Deregister(u8),
    Create,
    Delete,
    Wait(u64),
}

fn call() -> impl Strategy<Value = Call> {
    prop_oneof![
        4 => vec((any::<u8>(), 0..400_000_usize), 0..8).prop_map(Call::Put),
        2 => (0..8_u32, any::<u128>()).prop_map(|(shard, at)| Call::Split(shard, at)),
        2 => (0..8_u32, 0..8_u32).prop_map(|(a, b)| Call::Merge(a, b)),
        2 => (0..9_u32).prop_map(Call::Resize),
        1 => any::<bool>().prop_map(Call::Mode),
        1 => (1_000..11_000_u32).prop_map(Call::RecordSize),
        1 => (0..10_000_u32).prop_map(Call::Retention),
        1 => (0..4_u8).prop_map(Call::Register),
        1 => (0..4_u8).prop_map(Call::Deregister),
        1 => Just(Call::Create),
        1 => Just(Call::Delete),
        3 => (0..3_000_u64).prop_map(Call::Wait),
    ]
}

fn carry_out(service: &mut Service, call: &Call, now: Moment) -> Result<(), Refusal> {
    let shard = |number: &u32| ShardId::new(format!("shardId-{number:012}"));
    match call {
        Call::Put(records) => {
            let entry = |(key, size): &(u8, usize)| PutEntry {
                partition_key: key.to_string(),
                explicit_hash_key: None,
                data: vec![0; *size].into(),
            };
            let entries: Vec<_> = records.iter().map(entry).collect();
            let outcomes = service.put_records(STREAM, &entries, now)?;
            let refused = |it: &PutOutcome| matches!(it, PutOutcome::Refused { .. });
            match outcomes.iter().all(refused) {
                true => Err(Refusal::new("All", "of them were refused")),
                false => Ok(()),
            }
        }
        Call::Split(it, at) => service.split_shard(STREAM, &shard(it), *at, now),
        Call::Merge(a, b) => service.merge_shards(STREAM, &shard(a), &shard(b), now),
        Call::Resize(target) => service.update_shard_count(STREAM, *target, now).map(drop),
        Call::Mode(true) => service.update_stream_mode(STREAM, StreamMode::OnDemand, now),
        Call::Mode(false) => service.update_stream_mode(STREAM, StreamMode::Provisioned, now),
        Call::RecordSize(kib) => service.update_max_record_size(STREAM, *kib, now),
        Call::Retention(hours) => service.increase_retention(STREAM, *hours, now),
        Call::Register(number) => {
            let name = format!("consumer-{number}");
            service
                .register_stream_consumer(STREAM, &name, now)
                .map(drop)
        }
        Call::Deregister(number) => {
            let consumer = ConsumerAddress::Name(format!("consumer-{number}"));
            service.deregister_stream_consumer(STREAM, &consumer, now)
        }
        Call::Create => service.create_stream(STREAM, 2, now),
        Call::Delete => service.delete_stream(STREAM, now),
        Call::Wait(_) => Ok(()),
    }
}

/// Everything that can be seen of a service, by calls that count for nothing here.
fn seen(service: &mut Service, now: Moment) -> String {
    let shards = service.shards(STREAM, now);
    let records = service.records(STREAM, now);
    let capacity = service.capacity(STREAM, now);
    // Looked at through limits that are lifted, so that it takes none of what there is.
    let limits = std::mem::replace(&mut service.settings_mut().limits, Limits::none());
    let summary = service.describe_stream_summary(STREAM, now);
    let consumers = service.list_stream_consumers(STREAM, None, None, now);
    let consumers = consumers.map(|page| page.consumers);
    service.settings_mut().limits = limits;
    format!("{shards:?} {records:?} {capacity:?} {summary:?} {consumers:?}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_is_refused_changes_nothing(calls in vec(call(), 1..60)) {
        let mut settings = instant();
        settings.durations.update = Duration::from_millis(700);
        settings.durations.register = Duration::from_millis(1_500);
        settings.limits.open_shards = 8;
        let mut service = Service::new(settings);
        let mut now = START;
        service.put_stream(STREAM, 2, now);
        for call in &calls {
            if let Call::Wait(millis) = call {
                now = now.plus(Duration::from_millis(*millis));
            }
            let before = seen(&mut service, now);
            if carry_out(&mut service, call, now).is_err() {
                prop_assert_eq!(seen(&mut service, now), before, "{:?}", call);
            }
        }
    }
}
