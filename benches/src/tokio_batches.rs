//! Vectors of half a window over tokio's channel: what one writes by hand when it has to be fast.

use tokio::{sync::mpsc, task::JoinSet};

pub(crate) async fn run(window: usize, events: u64) -> u64 {
    let size = (window / 2).max(1) as u64;
    // With the batch in hand on each side, more than the window may be on their way: an advantage.
    let (sender, mut receiver) = mpsc::channel::<Vec<u64>>(2.min(window));
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut next = 0;
        while next < events {
            let end = events.min(next + size);
            if sender.send((next..end).collect()).await.is_err() {
                break;
            }
            next = end;
        }
        0
    });
    tasks.spawn(async move {
        let mut sum: u64 = 0;
        while let Some(batch) = receiver.recv().await {
            sum += batch.iter().sum::<u64>();
        }
        sum
    });
    tasks.join_all().await.into_iter().sum()
}
