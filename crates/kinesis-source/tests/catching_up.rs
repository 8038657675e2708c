//! How fast a shard is read that is far behind, alone and beside another reader.

#![allow(clippy::unwrap_used)]

mod rig;

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use bytes::Bytes;
use kinesis_fake::{Fake, Fault, Limits, Operation};
use kinesis_source::{Record, StreamHandle, StreamSource};
use rig::{Sink, run_until_caught_up};
use stage_core::{Pipeline, Window, for_each};
use tokio::time::{Instant, sleep};

const MIB: usize = 1_024 * 1_024;

/// A shard with so many MiB of records of that size, their keys included. Its limit is that of bytes alone.
fn filled(mib: usize, size: usize) -> Fake {
    let mut limits = Limits::default();
    limits.read_records_per_second = None;
    let fake = Fake::builder().limits(limits).build();
    let data = Bytes::from(vec![b'x'; size - 1]);
    for _ in 0..mib * MIB / size {
        fake.put("k", data.clone()).unwrap();
    }
    fake
}

fn source(fake: &Fake) -> StreamSource {
    StreamSource::new("orders", Arc::new(fake.clone()))
}

/// 2 MiB a second are what the service allows. The way there and back is lost for reading, and so is
/// what is left to others: with 10 MiB in an answer, both together are less than two in a hundred.
#[tokio::test(start_paused = true)]
async fn a_shard_that_is_behind_is_read_at_98_percent_of_what_is_allowed_and_never_refused() {
    for (size, round_trip) in [
        (1_024, 0),
        (1_024, 50),
        (65_536, 20),
        (MIB, 50),
        (8 * MIB, 10),
    ] {
        let fake = filled(400, size);
        let delay = Duration::from_millis(round_trip);
        fake.inject(Fault::delayed(Operation::GetRecords, delay).always());
        let (sink, start) = (Sink::default(), Instant::now());
        run_until_caught_up(source(&fake), &sink, Window::new(20_000).with_min(10_000))
            .await
            .unwrap();
        let took = start.elapsed().as_secs_f64();
        assert_eq!(sink.taken().len(), 400 * MIB / size);
        assert_eq!(fake.calls().throttled(), 0, "{size} B, {round_trip} ms");
        // The last answer need not be paid for.
        let share = (400.0 - 10.0) / 2.0 / took;
        assert!(share >= 0.98, "{share} with {size} B, {round_trip} ms");
    }
}

/// Where the service counts records, too, and the source has been told. Nobody has to: then calls are refused.
#[tokio::test(start_paused = true)]
async fn small_records_are_read_at_98_percent_of_what_is_allowed_of_them() {
    for (size, is_told) in [(100, true), (1_000, true), (100, false)] {
        let fake = Fake::builder().build();
        let data = Bytes::from(vec![b'x'; size]);
        for _ in 0..200_000 {
            fake.put("k", data.clone()).unwrap();
        }
        let most = NonZeroU32::new(2_000).unwrap();
        let source = match is_told {
            true => source(&fake).records_per_second(most),
            false => source(&fake),
        };
        let (sink, start) = (Sink::default(), Instant::now());
        run_until_caught_up(source, &sink, Window::new(20_000))
            .await
            .unwrap();
        let took = start.elapsed().as_secs_f64();
        assert_eq!(sink.taken().len(), 200_000);
        let (refused, share) = (fake.calls().throttled(), 200_000.0 / 2_000.0 / took);
        if is_told {
            assert_eq!(refused, 0, "{size} B");
            assert!(share >= 0.98, "{share} with {size} B");
        } else {
            assert!(refused > 0 && share >= 0.8, "{refused}, {share}");
        }
    }
}

/// Nothing but the first records of a kind is a surprise: what a read brings stays within bounds.
#[tokio::test(start_paused = true)]
async fn a_read_brings_no_more_than_it_may_and_as_much_as_is_wanted() {
    let fake = Fake::new(1);
    for size in [100, 50_000, 1_000, 400_000, 10] {
        let data = Bytes::from(vec![b'x'; size - 1]);
        for _ in 0..(8 * MIB / size).min(20_000) {
            fake.put("k", data.clone()).unwrap();
        }
    }
    // What each read was asked for is seen by what it brought.
    let (sink, most) = (Sink::default(), 2 * MIB as u64);
    let mut pipeline = Pipeline::new();
    let (records, handle) = source(&fake).read_at_most(most).add_to(&mut pipeline);
    let window = Window::new(20_000).with_min(10_000);
    pipeline.consume(sink.clone(), records.subscribe(window));
    let watch = tokio::spawn({
        let handle = handle.clone();
        async move {
            let (mut reads, mut bytes, mut brought) = (0, 0, Vec::new());
            loop {
                sleep(Duration::from_millis(20)).await;
                let Some(status) = handle.status().pop() else {
                    continue;
                };
                if status.reads > reads && status.bytes_read > bytes {
                    assert_eq!(status.reads, reads + 1);
                    brought.push(status.bytes_read - bytes);
                }
                (reads, bytes) = (status.reads, status.bytes_read);
                if status.millis_behind_latest == Some(0) {
                    return brought;
                }
            }
        }
    });
    pipeline
        .run_until(async move { handle.caught_up().await })
        .await
        .unwrap();
    sink.assert_complete(&fake);
    let brought = watch.await.unwrap();
    let too_large = brought.iter().filter(|bytes| **bytes > most + most / 20);
    // Small ones are followed by large ones twice.
    assert!(too_large.count() <= 2, "{brought:?}");
    assert!(brought.len() < 60, "{brought:?}");
}

/// Calls that take longer some time than other times come closer to each other than they are sent.
#[tokio::test(start_paused = true)]
async fn small_reads_are_never_too_many_however_long_they_are_on_their_way() {
    let fake = Fake::new(1);
    fake.put_numbered(0..1_000).unwrap();
    for (every, millis) in [(2, 130), (3, 270), (5, 790)] {
        let delay = Duration::from_millis(millis);
        fake.inject(Fault::delayed(Operation::GetRecords, delay).every(every));
    }
    let sink = Sink::default();
    run_until_caught_up(source(&fake), &sink, Window::new(5))
        .await
        .unwrap();
    sink.assert_complete(&fake);
    assert_eq!(fake.calls().throttled(), 0);
}

/// Two readers of one shard, which know nothing of each other: each gets its part, and together they
/// get most of what there is.
#[tokio::test(start_paused = true)]
async fn two_readers_of_a_shard_share_it_fairly() {
    for size in [16_384, 262_144] {
        let fake = filled(3_600, size);
        fake.inject(Fault::delayed(Operation::GetRecords, Duration::from_millis(20)).always());
        let mut runs = Vec::new();
        for late in [0, 313] {
            sleep(Duration::from_millis(late)).await;
            let mut pipeline = Pipeline::new();
            let (records, handle) = source(&fake).add_to(&mut pipeline);
            let window = Window::new(20_000).with_min(10_000);
            let take = for_each(|_: Record| {});
            pipeline.consume(take, records.subscribe(window));
            let run = tokio::spawn(pipeline.run_until(sleep(Duration::from_secs(1_700))));
            runs.push((handle, run));
        }
        sleep(Duration::from_secs(400)).await;
        let read = |runs: &[(StreamHandle, _)]| -> Vec<f64> {
            let bytes = |handle: &StreamHandle| handle.status()[0].bytes_read;
            let mib = runs
                .iter()
                .map(|(handle, _)| bytes(handle) as f64 / MIB as f64);
            mib.collect()
        };
        let before = read(&runs);
        sleep(Duration::from_secs(1_200)).await;
        let after = read(&runs);
        let each: Vec<f64> = after
            .iter()
            .zip(&before)
            .map(|(a, b)| (a - b) / 2_400.0)
            .collect();
        println!("{size} B: {each:?}, {} refused", fake.calls().throttled());
        assert!(each.iter().all(|share| *share >= 0.35), "{each:?}");
        assert!(each.iter().sum::<f64>() >= 0.8, "{each:?}");
        for (_, run) in runs {
            run.await.unwrap().unwrap();
        }
    }
}
