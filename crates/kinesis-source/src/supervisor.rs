use std::{sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{source_watch::SourceWatch, stream_status::Board};

/// Looks after a source and its shards, from outside of the tasks that it looks after: whoever hangs
/// cannot say so. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Supervisor {
    _task: JoinSet<()>,
}

/// How often it looks.
const EVERY: Duration = Duration::from_secs(1);

impl Supervisor {
    pub(crate) fn over(board: Arc<Board>, source: Arc<SourceWatch>) -> Self {
        let mut task = JoinSet::new();
        task.spawn(async move {
            loop {
                sleep(EVERY).await;
                look_after(&board, &source);
            }
        });
        Self { _task: task }
    }
}

fn look_after(board: &Board, source: &SourceWatch) {
    let now = Instant::now();
    source.check(now);
    for event in board.check(now) {
        source.reporter().report(&event);
    }
}
