//! The numbers of the service, each on both sides of its edge: what just passes, and what just does
//! not. All with the limits that hold by default, and with the numbers written out.

use kinesis_fake::{Durations, StreamMode, model::Refusal};

use super::*;

mod account;
mod fan_out;
mod reading;
mod writing;

const MIB: usize = 1_024 * 1_024;
const SHARD: &str = "shardId-000000000000";

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn shard() -> ShardId {
    ShardId::new(SHARD)
}

fn strict() -> Life {
    Life::new(1, instant())
}

fn settings_with(change: impl FnOnce(&mut Limits)) -> Settings {
    let mut settings = instant();
    change(&mut settings.limits);
    settings
}

fn code<T: std::fmt::Debug>(answer: Result<T, Refusal>) -> String {
    answer.unwrap_err().code().to_owned()
}

/// The call passes so many times at one moment and no more, and again once the time is over.
fn passes<T: std::fmt::Debug>(
    times: usize,
    within: Duration,
    refusal: &str,
    mut call: impl FnMut(Moment) -> Result<T, Refusal>,
) {
    let start = START.plus(DAY);
    for _ in 0..times {
        call(start).unwrap();
    }
    assert_eq!(code(call(start)), refusal);
    assert_eq!(code(call(start.plus(within).minus(millis(1)))), refusal);
    call(start.plus(within)).unwrap();
}

const SECOND: Duration = Duration::from_secs(1);
const THROUGHPUT: &str = "ProvisionedThroughputExceededException";
const LIMIT: &str = "LimitExceededException";
const ARGUMENT: &str = "InvalidArgumentException";
const VALIDATION: &str = "ValidationException";
const IN_USE: &str = "ResourceInUseException";
