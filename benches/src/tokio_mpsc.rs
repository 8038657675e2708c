//! tokio's channel, one event at a time: what one writes first.

use tokio::{sync::mpsc, task::JoinSet};

pub(crate) async fn run(window: usize, events: u64) -> u64 {
    let (sender, mut receiver) = mpsc::channel(window);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        for event in 0..events {
            if sender.send(event).await.is_err() {
                break;
            }
        }
        0
    });
    tasks.spawn(async move {
        let mut sum: u64 = 0;
        while let Some(event) = receiver.recv().await {
            sum += event;
        }
        sum
    });
    tasks.join_all().await.into_iter().sum()
}
