use std::time::Duration;

use super::{Figures, Halt, Phase, marks::Marks};
use crate::{
    Checkpoint, DataLoss, SequenceNumber, ShardError, ShardId, Timestamp,
    doubt::Doubt,
    place::{Mark, Place},
    unread::{CLOCK_SLACK, Unread},
    unsettled::InHand,
};

/// What is known of the shard.
pub(super) struct State {
    /// Where reading began, in this process.
    pub(super) start: Place,
    /// Where reading goes on: after what was handed out last.
    pub(super) next: Place,
    /// Counts lives of the reader in which records were nacked. What an earlier one handed out
    /// does not count any more.
    pub(super) generation: u64,
    pub(super) marks: Marks,
    /// How many of these numbers the stored checkpoint covers.
    pub(super) saved: u64,
    pub(super) stored: Option<Checkpoint>,
    /// Whether reading was told to go on elsewhere since the stored checkpoint, which may then go back.
    pub(super) is_sought: bool,
    /// Everything up to this is acknowledged.
    pub(super) done: Option<Mark>,
    /// How far it was before it went on elsewhere.
    pub(super) left: Option<Box<Left>>,
    /// Up to this there is nothing to hand out, since what was handed out last.
    pub(super) passed: Option<Mark>,
    pub(super) in_flight: u64,
    pub(super) nacked: u64,
    /// Whether what is done is still kept.
    pub(super) doubt: Option<Doubt>,
    /// How old what comes after the last read may be, once something was read.
    pub(super) unread: Option<Unread>,
    /// The same of what comes after that which is done: at least since then.
    pub(super) undone: Option<Unread>,
    pub(super) loss: Option<Box<DataLoss>>,
    pub(super) quiet: Quiet,
    /// The same of what was handed out before, while no more than that is settled.
    pub(super) earlier_quiet: Quiet,
    pub(super) phase: Phase,
    /// How many records were handed out when a read found the tip, the first since somebody asked.
    pub(super) tip: Option<u64>,
    /// How often somebody has asked for that.
    pub(super) asked: u64,
    pub(super) figures: Figures,
    /// What the shard's last answer named.
    pub(super) children: Vec<ShardId>,
    /// The number that it ends with, by the last listing that its reader has seen it closed in.
    pub(super) ending: Option<SequenceNumber>,
    pub(super) halt: Option<Halt>,
    /// Why it is not read any more.
    pub(super) failure: Option<Box<ShardError>>,
}

/// How far a shard was before it was told to go on elsewhere. That is its checkpoint until something is done
/// that was read there: it may not be stored yet.
#[derive(Clone, Debug)]
pub(super) struct Left {
    pub(super) checkpoint: Checkpoint,
    /// Whether it may go back behind the stored one.
    pub(super) is_sought: bool,
}

/// How long there has been nothing after what was handed out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Quiet {
    /// How many records had been handed out.
    pub(super) handed_out: u64,
    pub(super) since: Option<Timestamp>,
    /// What the checkpoint says, while the shard is read.
    pub(super) until: Option<Timestamp>,
    /// What it says in the end.
    pub(super) latest: Option<Timestamp>,
}

/// How often the checkpoint of a quiet shard says that it is, and once more when it is read no longer. The
/// service keeps records for 24 hours at least.
const QUIET_EVERY: Duration = Duration::from_secs(3_600);

impl State {
    pub(super) fn new(start: Place) -> Self {
        Self {
            next: start.clone(),
            start,
            generation: 0,
            marks: Marks::default(),
            saved: 0,
            stored: None,
            is_sought: false,
            done: None,
            left: None,
            passed: None,
            in_flight: 0,
            nacked: 0,
            doubt: None,
            unread: None,
            undone: None,
            loss: None,
            quiet: Quiet::default(),
            earlier_quiet: Quiet::default(),
            phase: Phase::Reading,
            tip: None,
            asked: 0,
            figures: Figures::default(),
            children: Vec::new(),
            ending: None,
            halt: None,
            failure: None,
        }
    }

    /// Reading goes on after what was read last or, when records were nacked, after what is acknowledged without a
    /// gap.
    pub(super) fn resume(&mut self) {
        // What was read and not handed out is read again, too.
        self.unread = self.undone.or(self.unread);
        if self.nacked == 0 {
            return;
        }
        let acked = self.done.clone().map(Place::from);
        self.next = acked.unwrap_or_else(|| self.start.clone());
        // By the time that a halt is over, what comes next may not be kept any more.
        if self.loss.is_some() || self.halt.is_some() {
            // What it goes on after may be the record that is not kept.
            self.doubt_place(None);
        }
        self.begin_generation();
    }

    /// What was handed out by now counts no more.
    pub(super) fn begin_generation(&mut self) {
        // What is done stays as it is.
        self.quiet = Quiet {
            handed_out: 0,
            ..self.quiet_of_done().unwrap_or_default()
        };
        self.earlier_quiet = Quiet::default();
        self.generation += 1;
        self.marks = Marks::default();
        self.saved = 0;
        self.passed = None;
        self.in_flight = 0;
        self.nacked = 0;
        self.tip = None;
    }

    /// Reading begins at or after a record, if its place says so by a number: then that is to be looked
    /// for. At `none_until` there was nothing after it, if that is known.
    pub(super) fn doubt_place(&mut self, none_until: Option<Timestamp>) {
        let number = self.next.position.sequence_number().cloned();
        self.doubt = number.map(|number| Doubt::about(number, none_until));
    }

    /// Takes note that there is nothing after what was handed out.
    pub(super) fn note_quiet(&mut self, now: Timestamp) {
        let now = now.minus(CLOCK_SLACK);
        let handed_out = self.marks.next();
        if self.quiet.handed_out != handed_out {
            if self.quiet.handed_out == self.settled() {
                self.earlier_quiet = self.quiet;
            }
            self.quiet = Quiet {
                handed_out,
                ..Quiet::default()
            };
        }
        self.quiet.latest = Some(now);
        let since = *self.quiet.since.get_or_insert(now);
        if now.since(self.quiet.until.unwrap_or(since)) >= QUIET_EVERY {
            self.quiet.until = Some(now);
        }
    }

    /// Until when, at least, there was nothing after what is done.
    pub(super) fn quiet_until(&self) -> Option<Timestamp> {
        let quiet = self.quiet_of_done()?;
        match self.phase.is_end() {
            true => quiet.latest.max(quiet.until),
            false => quiet.until,
        }
    }

    /// For how long there was nothing after what is done, if that is known.
    fn quiet_of_done(&self) -> Option<Quiet> {
        let settled = self.settled();
        let mut known = [self.quiet, self.earlier_quiet].into_iter();
        known.find(|it| it.handed_out == settled)
    }

    /// How old what comes after the last read may be, if something was read and nothing is in doubt.
    pub(super) fn undoubted(&self) -> Option<Unread> {
        let is_open = self.doubt.is_none() && self.last_read().is_some();
        self.unread.filter(|_| is_open)
    }

    /// The last record that was read, if the next is the one after it or that one.
    pub(super) fn last_read(&self) -> Option<&SequenceNumber> {
        self.next.position.sequence_number()
    }

    /// Reading goes on elsewhere: what is done so far is not forgotten.
    pub(super) fn leave(&mut self) {
        if self.done.is_some() || self.left.is_none() {
            let left = self.reached().map(|checkpoint| Left {
                checkpoint,
                is_sought: self.is_sought,
            });
            self.left = left.map(Box::new);
        }
        self.done = None;
        self.is_sought = true;
    }

    /// What to store about the shard while it is read, of what was done since it went on elsewhere, if it did.
    pub(super) fn reached(&self) -> Option<Checkpoint> {
        let Some(done) = self.done.clone() else {
            return self.quiet_start();
        };
        Some(match self.quiet_until() {
            Some(until) if done.sub_sequence_number.is_none() => Checkpoint::Quiet {
                sequence_number: done.sequence_number,
                until,
            },
            _ => done.into(),
        })
    }

    /// What to store of a shard that nothing has come to. After a seek, the stored checkpoint stays.
    pub(super) fn quiet_start(&self) -> Option<Checkpoint> {
        let until = self.quiet_until().filter(|_| !self.is_sought)?;
        let position = self.start.position.clone();
        Some(Checkpoint::QuietStart { position, until })
    }

    /// Ends a halt that waits for this. Whether there was one.
    pub(super) fn end_halt(&mut self, by: Halt) -> bool {
        self.halt.take_if(|halt| *halt == by).is_some()
    }

    pub(super) fn end_any_halt(&mut self) -> bool {
        self.halt.take().is_some()
    }

    pub(super) fn is_at_rest(&self) -> bool {
        if self.phase.is_done() {
            return self.in_flight == 0;
        }
        self.tip.is_some_and(|tip| self.settled() >= tip)
    }

    /// What was handed out and is not settled. Once records were nacked, all are read again, and nothing is
    /// beyond them.
    pub(super) fn in_hand(&self) -> Option<InHand> {
        let beyond = match self.nacked {
            0 => self.marks.open().saturating_sub(self.in_flight),
            _ => 0,
        };
        let nothing = self.nothing_in_hand();
        (self.in_flight > 0).then_some(InHand { beyond, ..nothing })
    }

    /// How far it is when nothing is in hand.
    pub(super) fn nothing_in_hand(&self) -> InHand {
        InHand {
            oldest: (self.generation, self.settled()),
            beyond: 0,
        }
    }

    /// How many records are acknowledged without a gap.
    pub(super) fn settled(&self) -> u64 {
        self.marks.done()
    }
}
