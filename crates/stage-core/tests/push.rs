//! Events that are pushed into a pipeline from outside.

#![allow(clippy::unwrap_used)]

mod stages;

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use futures_util::{FutureExt, SinkExt, StreamExt, future::poll_immediate, stream};
use proptest::prelude::*;
use stage_core::{
    Acknowledge, Batch, Demand, Flow, Pipeline, Producer, PushHandle, PushSource, SendError,
    SourceClosed, Window, protocol::Buffer, push_source,
};
use tokio::time::{sleep, timeout};

use stages::{Book, Slow};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Takes up to `demand` events that are there.
fn take(source: &mut PushSource<u64>, demand: usize) -> Option<(Vec<u64>, Flow)> {
    let mut batch = Batch::new();
    let demand = Demand::new(demand).unwrap();
    let flow = source.produce(demand, &mut batch).now_or_never()?.unwrap();
    let mut events = Vec::new();
    for (event, receipt) in batch.drain_with_receipts() {
        receipt.ack();
        events.push(event);
    }
    Some((events, flow))
}

/// A pipeline that takes two events each second.
fn slowly(source: PushSource<u64>) -> (Pipeline, Slow) {
    let sink = Slow::by(SECOND);
    let mut pipeline = Pipeline::new();
    let pushed = pipeline.stage("pushed").produce(source);
    pipeline.consume(sink.clone(), pushed.subscribe(Window::new(4)));
    (pipeline, sink)
}

#[tokio::test(start_paused = true)]
async fn what_is_pushed_comes_in_order_and_ends_with_the_last_handle() {
    let (handle, source) = push_source(Buffer::keep_first(100));
    let (pipeline, sink) = slowly(source);
    assert_eq!(handle.push(0..10).dropped, 0);
    let running = tokio::spawn(pipeline.run());
    let other = handle.clone();
    drop(handle);
    sleep(HOUR).await;
    assert_eq!(sink.seen(), (0..10).collect::<Vec<_>>());
    assert!(!running.is_finished());
    assert_eq!(other.push(10..15).dropped, 0);
    // One alone wakes the source as well.
    for (n, is_sent) in (15..).zip([false, true]) {
        sleep(HOUR).await;
        assert_eq!(sink.seen().len(), n);
        match is_sent {
            true => other.send(n as u64).await.unwrap(),
            false => assert_eq!(other.push([n as u64]).dropped, 0),
        }
    }
    drop(other);
    running.await.unwrap().unwrap();
    assert_eq!(sink.seen(), (0..17).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_has_no_room_is_dropped_nacked_and_counted() {
    for (keeps_last, kept) in [
        (false, Vec::from_iter(0..10)),
        // Four had been taken when three more made room for the last ones.
        (true, vec![15, 16, 17, 18, 22, 23, 24]),
    ] {
        let book = Arc::new(Book(std::sync::Mutex::new(vec![None; 25])));
        let (handle, source) = push_source(match keeps_last {
            true => Buffer::keep_last(10),
            false => Buffer::keep_first(10),
        });
        let (pipeline, sink) = slowly(source);
        let status = pipeline.handle();
        for (events, dropped) in [(0..8, 0), (8..12, 2), (12..25, 13)] {
            let mut batch: Batch<u64> = events.clone().collect();
            batch.track(Arc::clone(&book) as Arc<dyn Acknowledge>, events.start);
            assert_eq!(handle.push_batch(batch).dropped, dropped, "{events:?}");
        }
        let running = tokio::spawn(pipeline.run());
        sleep(Duration::from_millis(1)).await;
        assert_eq!(handle.dropped(), 15);
        assert_eq!(status.status().stage("pushed").unwrap().dropped, 15);
        // Also what is dropped while it runs.
        assert_eq!(handle.push(100..104).dropped, 0);
        assert_eq!(handle.push(200..203).dropped, 3);
        assert_eq!(status.status().stage("pushed").unwrap().dropped, 18);
        handle.close();
        running.await.unwrap().unwrap();
        assert_eq!(book.acked().len() + book.nacked().len(), 25);
        assert_eq!(book.acked(), kept);
        assert_eq!(sink.seen().len(), 14);
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_source_takes_nothing_and_ends_after_what_is_buffered() {
    let (handle, mut source) = push_source(Buffer::keep_first(4));
    handle.push(0..3);
    handle.close();
    assert!(handle.is_closed());
    assert_eq!(handle.push(3..7).dropped, 4);
    let SendError { event } = handle.send(9).await.unwrap_err();
    assert_eq!(event, 9);
    assert_eq!(take(&mut source, 2), Some((vec![0, 1], Flow::More)));
    assert_eq!(take(&mut source, 2), Some((vec![2], Flow::End)));
    assert_eq!(take(&mut source, 2), Some((vec![], Flow::End)));
}

#[tokio::test(start_paused = true)]
async fn what_is_buffered_when_the_pipeline_stops_is_nacked_and_counted() {
    let (handle, source) = push_source(Buffer::keep_first(100));
    let (pipeline, sink) = slowly(source);
    let (sent, report) = (
        handle.push(0..50).dropped,
        pipeline.run_reporting(sleep(3 * SECOND)).await,
    );
    assert_eq!(sent, 0);
    assert!(handle.is_closed());
    let taken = sink.seen().len() as u64;
    assert_eq!(handle.dropped(), 50 - taken);
    let pushed = report.stages.iter().find(|stage| &*stage.stage == "pushed");
    assert_eq!(pushed.unwrap().nacked, 50 - taken);
    assert_eq!(handle.send(1).await, Err(SendError { event: 1 }));
}

#[tokio::test(start_paused = true)]
async fn sending_waits_for_room_and_loses_nothing() {
    let (handle, source) = push_source(Buffer::keep_last(3));
    let (pipeline, sink) = slowly(source);
    let running = tokio::spawn(pipeline.run());
    let senders = (0..4).map(|sender| {
        let handle = handle.clone();
        tokio::spawn(async move {
            for n in 0..10 {
                handle.send(sender * 10 + n).await.unwrap();
                assert!(handle.buffered() <= 3);
            }
        })
    });
    let senders: Vec<_> = senders.collect();
    for sender in senders {
        sender.await.unwrap();
    }
    assert_eq!(handle.dropped(), 0);
    drop(handle);
    running.await.unwrap().unwrap();
    let seen = sink.seen();
    assert_eq!(seen.len(), 40);
    for sender in 0..4 {
        let of_one: Vec<u64> = seen.iter().copied().filter(|n| n / 10 == sender).collect();
        assert_eq!(of_one, (sender * 10..sender * 10 + 10).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_are_served_in_turn_and_nobody_barges_in() {
    let (handle, mut source) = push_source(Buffer::keep_first(1));
    handle.push([0]);
    let mut waiting: Vec<_> = (1..4).map(|n| Box::pin(handle.send(n))).collect();
    for sending in &mut waiting {
        assert_eq!(poll_immediate(sending).await, None);
    }
    assert_eq!(take(&mut source, 1).unwrap().0, [0]);
    // There is room, and it is for the first in the line.
    assert_eq!(poll_immediate(handle.send(9)).await, None);
    assert_eq!(poll_immediate(&mut waiting[1]).await, None);
    // One who leaves lets the next move up.
    drop(waiting.remove(0));
    assert_eq!(poll_immediate(&mut waiting[1]).await, None);
    assert_eq!(poll_immediate(&mut waiting[0]).await, Some(Ok(())));
    assert_eq!(take(&mut source, 1).unwrap().0, [2]);
    assert_eq!(poll_immediate(&mut waiting[1]).await, Some(Ok(())));
    assert_eq!(take(&mut source, 1).unwrap().0, [3]);
}

#[tokio::test(start_paused = true)]
async fn one_who_gives_up_in_the_line_wakes_the_next() {
    let (handle, mut source) = push_source(Buffer::keep_first(1));
    handle.push([0]);
    let first = tokio::spawn({
        let handle = handle.clone();
        async move { handle.send(1).await }
    });
    sleep(SECOND).await;
    let second = tokio::spawn({
        let handle = handle.clone();
        async move { handle.send(2).await }
    });
    sleep(SECOND).await;
    // The first is called up and goes before it has looked.
    assert_eq!(take(&mut source, 1).unwrap().0, [0]);
    first.abort();
    timeout(SECOND, second).await.unwrap().unwrap().unwrap();
    assert_eq!(take(&mut source, 2).unwrap().0, [2]);
}

#[tokio::test(start_paused = true)]
async fn demand_is_seen_live() {
    let (handle, source) = push_source(Buffer::keep_first(100));
    let sink = Slow::default();
    let mut pipeline = Pipeline::new();
    let pushed = pipeline.produce(source);
    let (subscription, asker) = pushed.subscribe_manually();
    pipeline.consume(sink.clone(), subscription);
    assert_eq!(handle.wanted(), 0);
    let running = tokio::spawn(pipeline.run());
    sleep(SECOND).await;
    assert_eq!(handle.wanted(), 0);
    for wanted in [5, 10, 15] {
        asker.ask(5).unwrap();
        sleep(SECOND).await;
        assert_eq!(handle.wanted(), wanted);
    }
    handle.push(0..9);
    assert_eq!(handle.wanted(), 6);
    sleep(SECOND).await;
    assert_eq!(handle.wanted(), 6);
    handle.push(0..9);
    sleep(SECOND).await;
    assert_eq!((handle.wanted(), handle.buffered()), (0, 3));
    asker.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(handle.wanted(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_sink_has_back_pressure_and_flushes_to_the_source() {
    let (handle, source) = push_source(Buffer::keep_first(3));
    let (pipeline, seen) = slowly(source);
    let mut sink = handle.sink();
    for n in 0..3 {
        assert_eq!(poll_immediate(sink.feed(n)).await, Some(Ok(())));
    }
    assert_eq!(poll_immediate(sink.feed(3)).await, None);
    assert_eq!(poll_immediate(sink.flush()).await, None);
    let running = tokio::spawn(pipeline.run());
    sink.flush().await.unwrap();
    assert_eq!(handle.buffered(), 0);
    sink.send(3).await.unwrap();
    sink.send_all(&mut stream::iter(4..20).map(Ok))
        .await
        .unwrap();
    assert_eq!(handle.buffered(), 0);
    drop(handle);
    sink.close().await.unwrap();
    assert_eq!(sink.send(99).await, Err(SourceClosed));
    running.await.unwrap().unwrap();
    assert_eq!(seen.seen(), (0..20).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_sink_loses_no_event_whose_room_others_took() {
    let (handle, mut source) = push_source(Buffer::keep_first(2));
    let mut sink = Box::pin(handle.sink());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(sink.poll_ready_unpin(&mut cx).is_ready());
    handle.push([0, 1]);
    sink.start_send_unpin(2).unwrap();
    assert_eq!(poll_immediate(sink.flush()).await, None);
    assert!(sink.poll_ready_unpin(&mut cx).is_pending());
    assert_eq!(take(&mut source, 1).unwrap().0, [0]);
    assert_eq!(poll_immediate(sink.flush()).await, None);
    assert_eq!(take(&mut source, 9).unwrap().0, [1, 2]);
    assert_eq!(poll_immediate(sink.flush()).await, Some(Ok(())));
    // What others push does not hold it up, nor does what is dropped.
    sink.feed(3).await.unwrap();
    assert_eq!(handle.push(4..8).dropped, 3);
    assert_eq!(poll_immediate(sink.flush()).await, None);
    assert_eq!(take(&mut source, 1).unwrap().0, [3]);
    assert_eq!(poll_immediate(sink.flush()).await, Some(Ok(())));
    drop(source);
    assert_eq!(sink.feed(9).await, Err(SourceClosed));
}

#[test]
fn what_is_dropped_may_push_again() {
    struct Again(PushHandle<u64>);
    impl Acknowledge for Again {
        fn settle(&self, _: std::ops::Range<u64>, _: stage_core::Outcome) {
            self.0.push([7]);
        }
    }
    let (handle, _source) = push_source(Buffer::keep_last(1));
    let mut batch: Batch<u64> = vec![1].into();
    batch.track(Arc::new(Again(handle.clone())), 0);
    handle.push_batch(batch);
    assert_eq!(handle.push([2]).dropped, 1);
    assert_eq!((handle.dropped(), handle.buffered()), (2, 1));
}

/// An iterator that says that there is one more.
struct Liar<I>(I);

impl<I: Iterator> Iterator for Liar<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        self.0.next()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (1, Some(1))
    }
}

#[test]
fn what_is_pushed_is_what_there_is_and_not_what_was_promised() {
    let (handle, mut source) = push_source(Buffer::keep_first(4));
    for (first, dropped) in [(0, 0), (3, 0), (2, 1)] {
        assert_eq!(handle.push(Liar(0..first)).dropped, dropped);
    }
    assert_eq!(take(&mut source, 9), Some((vec![0, 1, 2, 0], Flow::More)));
    let (handle, mut source) = push_source(Buffer::keep_last(2));
    for n in 0..5 {
        assert_eq!(handle.push([n]).dropped, usize::from(n > 1));
    }
    assert_eq!(take(&mut source, 9), Some((vec![3, 4], Flow::More)));
}

#[test]
fn one_by_one_behind_tracked_ones_they_have_no_receipts_of_theirs() {
    let (handle, mut source) = push_source(Buffer::unbounded());
    let (batch, book) = stages::tracked(3);
    handle.push_batch(batch);
    (3..200).for_each(|n| assert_eq!(handle.push([n]).dropped, 0));
    let mut batch = Batch::new();
    let demand = Demand::new(1_000).unwrap();
    let flow = source.produce(demand, &mut batch).now_or_never();
    assert_eq!(flow.unwrap().unwrap(), Flow::More);
    assert_eq!(batch[..], Vec::from_iter(0..200));
    batch
        .drain_with_receipts()
        .skip(1)
        .for_each(|(_, receipt)| receipt.ack());
    assert_eq!((book.acked(), book.nacked()), (vec![1, 2], vec![0]));
}

#[test]
fn what_is_taken_comes_behind_what_is_there() {
    let (handle, mut source) = push_source(Buffer::unbounded());
    handle.push(1..3);
    let mut batch = Batch::from_iter([0]);
    let demand = Demand::new(5).unwrap();
    let flow = source.produce(demand, &mut batch).now_or_never();
    assert_eq!(flow.unwrap().unwrap(), Flow::More);
    assert_eq!(batch[..], [0, 1, 2]);
}

#[test]
fn nothing_that_was_promised_to_be_one_event_is_lost_uncounted() {
    for (buffer, kept, dropped) in [
        (Buffer::keep_first(2), [100, 101], 3),
        (Buffer::keep_last(2), [1, 2], 3),
    ] {
        let (handle, mut source) = push_source(buffer);
        handle.push([100, 101]);
        assert_eq!(handle.push(Liar(0..3)).dropped, dropped);
        assert_eq!(handle.dropped(), 3);
        assert_eq!(take(&mut source, 9), Some((kept.to_vec(), Flow::More)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_whose_events_went_with_the_source_says_so() {
    for is_flushing in [false, true] {
        let (handle, source) = push_source(Buffer::unbounded());
        let mut sink = handle.sink();
        for n in 0..5 {
            sink.feed(n).await.unwrap();
        }
        if is_flushing {
            let flushing = tokio::spawn(async move { sink.flush().await });
            sleep(SECOND).await;
            drop(source);
            assert_eq!(flushing.await.unwrap(), Err(SourceClosed));
        } else {
            drop(source);
            assert_eq!(sink.flush().await, Err(SourceClosed));
            assert_eq!(sink.close().await, Err(SourceClosed));
        }
        assert_eq!(handle.dropped(), 5);
    }
}

#[tokio::test(start_paused = true)]
async fn a_flush_succeeds_though_the_source_has_gone_since() {
    let (handle, mut source) = push_source(Buffer::unbounded());
    let mut sink = handle.sink();
    sink.feed(1).await.unwrap();
    assert_eq!(take(&mut source, 9).unwrap().0, [1]);
    handle.push([2]);
    drop(source);
    assert_eq!(sink.flush().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_woken_where_he_waits_last() {
    let (handle, mut source) = push_source(Buffer::keep_first(1));
    handle.push([0]);
    let mut sending = Box::pin(handle.send(1));
    let mut sink = handle.sink();
    assert!(poll_immediate(&mut sending).await.is_none());
    let sent = tokio::spawn({
        let handle = handle.clone();
        async move {
            // It has been polled elsewhere.
            let mut sending = Box::pin(handle.send(2));
            assert!(poll_immediate(&mut sending).await.is_none());
            sending.await.unwrap();
        }
    });
    sleep(SECOND).await;
    assert_eq!(take(&mut source, 1).unwrap().0, [0]);
    sending.await.unwrap();
    assert_eq!(take(&mut source, 1).unwrap().0, [1]);
    timeout(SECOND, sent).await.unwrap().unwrap();
    // A sink that has sent stands in line again.
    let other = tokio::spawn({
        let handle = handle.clone();
        async move { handle.send(3).await.unwrap() }
    });
    sleep(SECOND).await;
    assert!(
        poll_immediate(sink.feed(4)).await.is_none(),
        "it is the other's turn"
    );
    assert_eq!(take(&mut source, 1).unwrap().0, [2]);
    other.await.unwrap();
    assert_eq!(take(&mut source, 1).unwrap().0, [3]);
    sink.feed(4).await.unwrap();
    let last = tokio::spawn({
        let handle = handle.clone();
        async move { handle.send(5).await.unwrap() }
    });
    sleep(SECOND).await;
    assert!(poll_immediate(sink.feed(6)).await.is_none());
    assert_eq!(take(&mut source, 1).unwrap().0, [4]);
    last.await.unwrap();
    assert_eq!(take(&mut source, 1).unwrap().0, [5]);
}

#[tokio::test(start_paused = true)]
async fn a_flush_is_over_when_its_event_has_made_room_for_another() {
    for alone in [true, false] {
        let (handle, _source) = push_source(Buffer::keep_last(1));
        let mut sink = handle.sink();
        sink.feed(1).await.unwrap();
        let flushing = tokio::spawn(async move { sink.flush().await });
        sleep(SECOND).await;
        let pushed = match alone {
            true => handle.push([2]),
            false => handle.push([2, 3]),
        };
        assert!(pushed.dropped > 0);
        timeout(SECOND, flushing).await.unwrap().unwrap().unwrap();
    }
}

/// A waker that pushes when it is dropped.
struct Pushes(PushHandle<u64>);

impl Wake for Pushes {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Pushes {
    fn drop(&mut self) {
        self.0.push([7]);
    }
}

#[test]
fn wakers_are_dropped_where_they_may_push() {
    let (handle, mut source) = push_source(Buffer::keep_first(1));
    let pushes = || Waker::from(Arc::new(Pushes(handle.clone())));
    let mut cx = Context::from_waker(Waker::noop());
    let demand = Demand::new(1).unwrap();
    let mut batch = Batch::new();
    // The source waits.
    let mut taking = Box::pin(source.produce(demand, &mut batch));
    assert!(
        taking
            .as_mut()
            .poll(&mut Context::from_waker(&pushes()))
            .is_pending()
    );
    assert!(taking.as_mut().poll(&mut cx).is_pending());
    assert!(taking.as_mut().poll(&mut cx).is_ready(), "it has pushed");
    drop(taking);
    // Somebody waits for room, and for the buffer to empty.
    handle.push([0]);
    let mut sending = Box::pin(handle.send(1));
    assert!(
        sending
            .as_mut()
            .poll(&mut Context::from_waker(&pushes()))
            .is_pending()
    );
    assert!(sending.as_mut().poll(&mut cx).is_pending());
    assert!(
        sending
            .as_mut()
            .poll(&mut Context::from_waker(&pushes()))
            .is_pending()
    );
    drop(sending);
    assert_eq!(take(&mut source, 9).unwrap().0, [0]);
    let mut sink = handle.sink();
    sink.feed(1).now_or_never().unwrap().unwrap();
    assert!(
        sink.poll_flush_unpin(&mut Context::from_waker(&pushes()))
            .is_pending()
    );
    assert!(sink.poll_flush_unpin(&mut cx).is_pending());
    assert!(
        sink.poll_flush_unpin(&mut Context::from_waker(&pushes()))
            .is_pending()
    );
    drop(sink);
}

#[test]
fn handles_go_anywhere_and_tell_nothing() {
    fn check<T: Send + Sync + Clone>(_: &T) {}
    let (handle, source) = push_source(Buffer::keep_first(3));
    check(&handle);
    handle.push(["secret"]);
    let debug = format!("{handle:?} {source:?} {:?}", SendError { event: "secret" });
    assert!(!debug.contains("secret"), "{debug}");
}

#[derive(Clone, Debug)]
enum Step {
    Push(u64),
    Send,
    Take(usize),
    Close,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0u64..7).prop_map(Step::Push),
        2 => Just(Step::Send),
        4 => (1usize..7).prop_map(Step::Take),
    ];
    let ends = prop_oneof![4 => Just(None), 1 => Just(Some(Step::Close))];
    (prop::collection::vec(step, 1..60), ends).prop_map(|(mut steps, end)| {
        steps.extend(end);
        steps.extend([Step::Push(2), Step::Send, Step::Take(3)]);
        steps
    })
}

proptest! {
    /// What goes in is taken, buffered or dropped; in order; and the flush of a sink is exact.
    #[test]
    fn a_push_source_is_a_bounded_queue(
        steps in steps(), size in 1usize..9, keeps_last in any::<bool>(),
    ) {
        let (handle, mut source) = push_source(match keeps_last {
            true => Buffer::keep_last(size),
            false => Buffer::keep_first(size),
        });
        let (mut model, mut closed) = (VecDeque::new(), false);
        let (mut next, mut dropped, mut last_sent) = (0, 0, None);
        let mut sink = handle.sink();
        let mut cx = Context::from_waker(Waker::noop());
        for step in steps {
            match step {
                Step::Push(n) => {
                    let mut lost = 0;
                    for event in next..next + n {
                        if closed || (model.len() == size && !keeps_last) {
                            lost += 1;
                            continue;
                        }
                        if model.len() == size {
                            model.pop_front();
                            lost += 1;
                        }
                        model.push_back(event);
                    }
                    prop_assert_eq!(handle.push(next..next + n).dropped, lost);
                    next += n;
                    dropped += lost as u64;
                }
                Step::Send => {
                    match sink.poll_ready_unpin(&mut cx) {
                        Poll::Ready(Ok(())) => {
                            prop_assert!(!closed && model.len() < size);
                            sink.start_send_unpin(next).unwrap();
                            model.push_back(next);
                            last_sent = Some(next);
                            next += 1;
                        }
                        Poll::Ready(Err(_)) => prop_assert!(closed),
                        Poll::Pending => prop_assert_eq!(model.len(), size),
                    }
                }
                Step::Take(n) => {
                    let expected: Vec<u64> = model.drain(..n.min(model.len())).collect();
                    match take(&mut source, n) {
                        Some((events, flow)) => {
                            prop_assert_eq!(events, expected);
                            let ends = closed && model.is_empty();
                            prop_assert_eq!(flow == Flow::End, ends);
                        }
                        None => prop_assert!(expected.is_empty() && !closed),
                    }
                }
                Step::Close => {
                    handle.close();
                    closed = true;
                }
            }
            prop_assert_eq!(handle.buffered(), model.len());
            prop_assert_eq!(handle.dropped(), dropped);
            let flushed = sink.poll_flush_unpin(&mut cx).is_ready();
            let waits = last_sent.is_some_and(|sent| model.contains(&sent));
            prop_assert_eq!(flushed, !waits);
        }
    }
}
