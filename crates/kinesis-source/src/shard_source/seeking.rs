//! Going on elsewhere.

use super::ShardSource;
use crate::{
    Position, Remedy, SeekError, SourceEvent, ending::Ending, listing::within_deadline,
    seek::SeekRequest,
};

impl ShardSource {
    /// Goes on elsewhere, if Kinesis has that place.
    pub(super) async fn seek(&mut self, request: SeekRequest) {
        let SeekRequest { position, reply } = request;
        let place = Position::from(&position);
        let call = self.api.get_shard_iterator(self.shard(), &place);
        let answer = match within_deadline("GetShardIterator", call).await {
            Ok(_) => {
                let to = position.clone();
                let watch = self.progress.watch();
                watch.report(|shard| SourceEvent::ShardSought { shard, to });
                self.progress.seek(position);
                self.forget();
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

    /// Forgets what was read, and where: all but what the progress says.
    fn forget(&mut self) {
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
        self.feed.start_over(Remedy::RenewIterator);
    }
}
