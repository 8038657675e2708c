//! The same on many threads, without a paused clock.

use std::{io, time::Duration};

use stage_core::{
    Children, OnFailure, Pipeline, Restart, Window, pool, resilient, restarting_consumer,
};

use crate::support::{Fussy, Tracked};

#[test]
fn nothing_is_lost_on_many_threads() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    let (none, soon) = (Duration::ZERO, Duration::from_micros(50));
    for round in 0..20 {
        let (source, book) = Tracked::up_to(2_000);
        let bad = (0..2_000)
            .step_by(97)
            .map(|n| (n + round, 1 + n as u32 % 3));
        let fussy = Fussy::about(bad);
        let (made, flaky) = (fussy.clone(), fussy.clone());
        let restart = Restart::new(usize::MAX, Duration::from_secs(3_600)).waiting(none, soon);
        let policy = OnFailure::retry(5)
            .waiting(none, soon)
            .bisecting()
            .then_stop();
        let consumer = restarting_consumer(restart.clone(), move |_| made.clone());
        let work = move |event| {
            let flaky = flaky.clone();
            async move {
                tokio::task::yield_now().await;
                flaky.check(&[event])?;
                Ok::<(), io::Error>(())
            }
        };
        let mut pipeline = Pipeline::new();
        let numbers = pipeline.produce(source);
        pipeline.consume(
            resilient(consumer, policy),
            numbers.subscribe(Window::new(20)),
        );
        let tasks = pool(8, Children::Transient(restart), work);
        pipeline.consume(tasks, numbers.subscribe(Window::new(20)));
        runtime.block_on(pipeline.run()).unwrap();
        assert_eq!(book.acked().len(), 2_000);
        let mut taken = fussy.notes.taken();
        taken.sort_unstable();
        assert_eq!(taken, (0..2_000).collect::<Vec<_>>());
    }
}
