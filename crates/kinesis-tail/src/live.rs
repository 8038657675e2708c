//! `--live`: how each shard is doing, on standard error, while records are read.

mod concern;
mod frame;
mod history;
mod news;
mod past;
mod snapshot;
mod tally;

use std::{thread, time::Duration};

use kinesis_source::{Explanation, StreamHandle};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};

use self::{frame::frame, history::History, news::News};
use crate::screen::Screen;

/// A view of a stream that is being read. It is drawn by a thread of its own, at a fixed pace: whoever reads is
/// held up neither by its work nor by a terminal that takes nothing.
#[derive(Debug)]
pub(crate) struct Live {
    looker: Looker,
    frames: mpsc::Sender<Look>,
    /// Looks, once in a while.
    looking: JoinSet<()>,
    /// Told when the last state is shown.
    shown: oneshot::Receiver<()>,
}

/// Who looks at the stream.
#[derive(Clone, Debug)]
struct Looker {
    stream: StreamHandle,
    began: Instant,
}

/// How it was at one moment.
#[derive(Debug)]
struct Look {
    elapsed: Duration,
    explanation: Explanation,
    is_last: bool,
}

/// How often a view that moves in place is drawn.
const FRAME: Duration = Duration::from_millis(250);

/// How often it is looked whether there is news, where lines stay.
const LINE: Duration = Duration::from_secs(1);

/// How long the end of the run waits for a terminal that takes nothing.
const PATIENCE: Duration = Duration::from_secs(1);

impl Live {
    /// Shows how it is from now on. `has_store` says whether what is done is remembered beyond the process: else
    /// nobody is told when that was stored.
    pub(crate) fn start(stream: StreamHandle, screen: Screen, has_store: bool) -> Self {
        let (frames, looks) = mpsc::channel(1);
        let (tell, shown) = oneshot::channel();
        let pace = if screen.can_move() { FRAME } else { LINE };
        let history = History::new(has_store);
        thread::spawn(move || {
            match screen.can_move() {
                true => in_place(looks, history, &screen),
                false => in_lines(looks, history, &screen),
            }
            // Whoever no longer listens has ended anyway.
            let _ = tell.send(());
        });
        let began = Instant::now();
        let looker = Looker { stream, began };
        let mut looking = JoinSet::new();
        looking.spawn(looker.clone().look_at_times(pace, frames.clone()));
        Self {
            looker,
            frames,
            looking,
            shown,
        }
    }

    /// Shows the last state, and leaves the cursor below it.
    pub(crate) async fn end(mut self) {
        self.looking.shutdown().await;
        let show = async {
            // Who has gone shows nothing.
            let _ = self.frames.send(self.looker.look(true)).await;
            let _ = self.shown.await;
        };
        // A terminal that takes nothing does not keep the program from its end.
        let _ = timeout(PATIENCE, show).await;
    }
}

impl Looker {
    async fn look_at_times(self, pace: Duration, frames: mpsc::Sender<Look>) {
        // Until then there are hardly any shards.
        let mut ticks = interval_at(Instant::now() + pace, pace);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // While the last one is still to be drawn, it is not looked at all.
            if let Ok(room) = frames.try_reserve() {
                room.send(self.look(false));
            }
        }
    }

    fn look(&self, is_last: bool) -> Look {
        Look {
            elapsed: self.began.elapsed(),
            explanation: self.stream.explain(),
            is_last,
        }
    }
}

/// Draws a view that moves in place, and in the end leaves a line.
fn in_place(mut looks: mpsc::Receiver<Look>, mut history: History, screen: &Screen) {
    while let Some(look) = looks.blocking_recv() {
        let snapshot = history.note(look.explanation, look.elapsed);
        if look.is_last {
            screen.leave(vec![tally::line(&snapshot)]);
            return;
        }
        screen.show(frame(&snapshot, screen.size()));
    }
    screen.leave(Vec::new());
}

/// Writes lines, where there is news.
fn in_lines(mut looks: mpsc::Receiver<Look>, mut history: History, screen: &Screen) {
    let mut news = News::default();
    while let Some(look) = looks.blocking_recv() {
        let snapshot = history.note(look.explanation, look.elapsed);
        if news.has(&snapshot, look.is_last) {
            screen.leave(vec![tally::line(&snapshot)]);
        }
        if look.is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
