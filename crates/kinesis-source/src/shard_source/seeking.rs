//! Going on elsewhere.

use super::ShardSource;
use crate::{
    PinnedPosition, Position, SeekError, ShardIterator, SourceEvent, Timestamp, ending::Ending,
    seek::SeekRequest, stock::Stock, unread::CLOSE,
};

impl ShardSource {
    /// Goes on where that was wished last, if Kinesis has that place.
    pub(super) async fn seek(&mut self) {
        let (calls, watch) = (self.progress.calls(), self.progress.watch());
        // Those that come meanwhile supersede it.
        calls.wait_for_iterator(watch).await;
        let Some(SeekRequest { position, reply }) = self.progress.take_seek() else {
            return;
        };
        let place = match position.sequence_number() {
            // It is looked for, as by the reader then.
            Some(number) => Position::AtSequenceNumber(number.clone()),
            None => Position::from(&position),
        };
        let call = calls.iterator(&*self.api, self.shard(), &place, watch);
        let answer = match call.await {
            Ok(iterator) => {
                let to = position.clone();
                watch.report(|shard| SourceEvent::ShardSought { shard, to });
                let since = self.is_kept_since(&position);
                self.progress.seek(position, since);
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

    /// Since when all is kept now that is to be read from there, if it says so by a moment: whoever asks
    /// for more than is kept asks for what is kept.
    fn is_kept_since(&self, position: &PinnedPosition) -> Option<Timestamp> {
        let now = self.api.now();
        match position {
            PinnedPosition::AtTimestamp(moment)
                if now.since(*moment) + CLOSE < self.progress.retention() =>
            {
                Some(*moment)
            }
            PinnedPosition::AtTimestamp(_) | PinnedPosition::TrimHorizon => Some(now),
            PinnedPosition::AtSequenceNumber(_) | PinnedPosition::AfterSequenceNumber(_) => None,
        }
    }

    /// Forgets what was read, and where: all but what the progress says, which this leads to.
    fn forget(&mut self, iterator: ShardIterator) {
        self.stock = Stock::default();
        if let Some(unpacker) = &mut self.unpacker {
            unpacker.clear();
        }
        self.charge = None;
        self.shared_charge = None;
        self.reads_to_tip = None;
        self.tip.left();
        self.ending = Ending::default();
        self.is_read = false;
        self.is_in_hand = false;
        self.is_complete = false;
        self.refusal = None;
        self.feed.go_on_at(iterator);
    }
}
