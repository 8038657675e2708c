//! Going on elsewhere.

use super::ShardSource;
use crate::{Position, SeekError, ShardIterator, SourceEvent, ending::Ending, seek::SeekRequest};

impl ShardSource {
    /// Goes on where that was wished last, if Kinesis has that place.
    pub(super) async fn seek(&mut self) {
        let (calls, watch) = (self.progress.calls(), self.progress.watch());
        // Those that come meanwhile supersede it.
        calls.wait_for_iterator(watch).await;
        let Some(SeekRequest { position, reply }) = self.progress.take_seek() else {
            return;
        };
        let place = Position::from(&position);
        let call = calls.iterator(&*self.api, self.shard(), &place, watch);
        let answer = match call.await {
            Ok(iterator) => {
                let to = position.clone();
                watch.report(|shard| SourceEvent::ShardSought { shard, to });
                self.progress.seek(position);
                self.forget(iterator);
                Ok(())
            }
            Err(source) => Err(SeekError::Refused {
                shard: self.shard().clone(),
                position,
                source: Box::new(source),
            }),
        };
        // Perhaps nobody waits for it.
        let _ = reply.send(answer);
    }

    /// Forgets what was read, and where: all but what the progress says, which this leads to.
    fn forget(&mut self, iterator: ShardIterator) {
        self.read = Vec::new().into_iter();
        if let Some(unpacker) = &mut self.unpacker {
            unpacker.clear();
        }
        self.charge = None;
        self.shared_charge = None;
        self.reads_to_tip = None;
        self.tip.left();
        self.ending = Ending::default();
        self.is_read = false;
        self.is_complete = false;
        self.refusal = None;
        self.feed.go_on_at(iterator);
    }
}
