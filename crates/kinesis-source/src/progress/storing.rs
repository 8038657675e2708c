//! What is stored of the shard, and how far it goes on without.

use std::sync::Arc;

use super::{Offer, Phase, Progress, state::Left};
use crate::{Checkpoint, WaitingFor, place::Mark, saving::Saving};

impl Progress {
    /// What to store about the shard; `None` while there is nothing to add to its start.
    pub(crate) fn checkpoint(&self) -> Option<Checkpoint> {
        self.offer_checkpoint().map(|(checkpoint, _)| checkpoint)
    }

    /// The checkpoint, to be stored, and what to [note](Self::note_saved) once it is.
    pub(crate) fn offer_checkpoint(&self) -> Option<(Checkpoint, Offer)> {
        let state = self.lock();
        let offer = Offer {
            generation: state.generation,
            settled: state.settled(),
            is_sought: state.is_sought,
            is_left: false,
        };
        if state.phase == Phase::Finished {
            let checkpoint = match state.done.clone() {
                Some(Mark {
                    sequence_number, ..
                }) => Checkpoint::EndAfter { sequence_number },
                None => Checkpoint::end_from(&state.start.position),
            };
            return Some((checkpoint, offer));
        }
        match (&state.done, state.left.as_deref()) {
            (
                None,
                Some(Left {
                    checkpoint,
                    is_sought,
                }),
            ) => {
                let (is_sought, is_left) = (*is_sought, true);
                let offer = Offer {
                    is_sought,
                    is_left,
                    ..offer
                };
                Some((checkpoint.clone(), offer))
            }
            _ => Some((state.reached()?, offer)),
        }
    }

    /// Whether that is what is stored of it, if anything was stored by this process.
    pub(crate) fn has_stored(&self, checkpoint: &Checkpoint) -> Option<bool> {
        let state = self.lock();
        state.stored.as_ref().map(|stored| stored == checkpoint)
    }

    /// What was offered is stored.
    pub(crate) fn note_saved(&self, offer: Offer, checkpoint: Checkpoint) {
        let mut state = self.lock();
        state.stored = Some(checkpoint);
        if state.generation == offer.generation {
            state.saved = offer.settled;
            // What is done elsewhere may be further back than what was left.
            state.is_sought &= offer.is_left;
        }
    }

    /// What is stored of it may be further on: its next checkpoint replaces that.
    pub(crate) fn replace_stored(&self) {
        self.lock().is_sought = true;
    }

    /// Has its checkpoints stored, as told.
    pub(crate) fn save_by(&self, saving: Arc<Saving>) {
        // It is told once, before it is read.
        let _ = self.saving.set(saving);
    }

    /// How many records were handed out after those that the stored checkpoint covers.
    pub(super) fn unsaved(&self) -> u64 {
        let state = self.lock();
        state.marks.next().saturating_sub(state.saved)
    }

    /// Waits until more may be handed out: at once, unless checkpoints cannot be stored, or too much is
    /// acknowledged beyond a record that is not. Returns how many that may be.
    pub(crate) async fn may_hand_out(&self) -> usize {
        let Some(saving) = self.saving.get() else {
            return usize::MAX;
        };
        self.may_go_beyond(saving).await;
        let unsaved = self.unsaved();
        if saving.must_wait(unsaved) {
            // That the store fails is told already.
            self.watch.waits_for(WaitingFor::CheckpointStore, None);
            saving.may_hand_out(unsaved).await;
        }
        saving.room(unsaved)
    }
}
