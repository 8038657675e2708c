use std::{
    convert::Infallible,
    fmt, mem,
    ops::{Deref, DerefMut},
    slice,
    sync::Arc,
    vec,
};

use crate::{
    InHand, Outcome, Step,
    events::Events,
    in_hand::Hand,
    receipt::{Acknowledge, FanOut, Receipt, Receipts},
};

mod queue;

pub(crate) use queue::BatchQueue;

/// Events on their way between two stages, in order.
///
/// Receipts go by place. Whoever puts events into another order, or new ones in after taking others out,
/// has them stand for each other from then on: all are acked together, or nacked.
///
/// To its user it is a `Vec`: slice it, iterate, [`push`](Self::push), [`drain`](Self::drain),
/// extend. Its storage goes back to the stage that filled it once the call is over that it was handed
/// to, if it is still there. And something travels with it unseen: events that came from a source that wants to know what becomes of them keep
/// their receipts: a stage that succeeds acks the events it was given, however it took them out,
/// and one that fails, panics or is dropped nacks them.
///
/// ```
/// use stage_core::Batch;
///
/// let mut batch: Batch<u32> = (1..=3).collect();
/// batch.push(4);
/// assert_eq!(batch.iter().sum::<u32>(), 10);
/// assert_eq!(batch.drain().collect::<Vec<_>>(), [1, 2, 3, 4]);
/// assert!(batch.is_empty());
/// ```
pub struct Batch<E> {
    /// In one piece, so that to move a batch is to move a pointer. It is made once: emptied, it goes back
    /// with the storage that it holds. `None` is nothing at all.
    body: Option<Box<Body<E>>>,
}

struct Body<E> {
    events: Events<E>,
    receipts: Option<Box<Receipts>>,
    /// Which portion it is that a stage was given, and of which subscription.
    portion: Option<(Arc<Hand>, u32)>,
}

impl<E> Batch<E> {
    /// A batch with nothing in it.
    pub const fn new() -> Self {
        Self { body: None }
    }

    #[inline]
    fn body(&mut self) -> &mut Body<E> {
        self.body.get_or_insert_with(Body::boxed)
    }

    /// Adds an event at the end.
    #[inline]
    pub fn push(&mut self, event: E) {
        self.body().events.own().push(event);
    }

    /// Adds an event that stands for the one that `receipt` belongs to: it is settled as this event
    /// will be.
    pub fn push_with_receipt(&mut self, event: E, receipt: Receipt) {
        if receipt.is_untracked() && !self.is_tracked() {
            return self.push(event);
        }
        let body = self.body();
        body.receipts_until(body.events.len()).push(receipt);
        body.events.own().push(event);
        body.align();
    }

    /// The events one by one, to be changed where they are. Each keeps its receipt, other than after a
    /// look at all of them as a slice that can be changed: somebody may have put them into another
    /// order, and from then on they stand for each other.
    pub fn iter_mut(&mut self) -> slice::IterMut<'_, E> {
        self.body
            .as_mut()
            .map_or_else(slice::IterMut::default, |body| body.events.own().iter_mut())
    }

    /// Adds all events of `events`. An empty batch takes its storage over, so that nothing is
    /// copied.
    pub fn append_vec(&mut self, mut events: Vec<E>) {
        let all = &mut self.body().events;
        if all.is_empty() {
            *all = events.into();
        } else {
            all.own().append(&mut events);
        }
    }

    /// Takes all events out, in order. What becomes of them is still settled by the batch, with the
    /// call that it was handed to.
    pub fn drain(&mut self) -> vec::Drain<'_, E> {
        self.body().events.own().drain(..)
    }

    /// Takes all events out, in order, each with its receipt: to settle them one by one, or to keep
    /// them for longer than the call that the batch was handed to.
    pub fn drain_with_receipts(&mut self) -> DrainWithReceipts<'_, E> {
        let body = self.body();
        body.align();
        DrainWithReceipts {
            receipts: body.receipts.take(),
            events: body.events.own().drain(..),
        }
    }

    /// Keeps the events that are in the batch now in hand for longer than the call that it was handed
    /// to: to the subscription's window they are not dealt with before what this returns is dropped.
    ///
    /// For a consumer that has work going on beyond its calls. Without it, all of a batch counts as
    /// dealt with when the call returns, and more is asked for. Events that are kept already, and
    /// those of a batch that is not what the present call was given, count no further: then it stands
    /// for less, down to [nothing](InHand::events).
    ///
    /// ```
    /// use stage_core::{Batch, Consumer};
    /// use std::convert::Infallible;
    ///
    /// /// Works on events in tasks, as many at once as the window allows.
    /// struct Spawning;
    ///
    /// impl Consumer<String> for Spawning {
    ///     type Error = Infallible;
    ///
    ///     async fn consume(&mut self, batch: &mut Batch<String>) -> Result<(), Infallible> {
    ///         let mut in_hand = batch.keep_in_hand();
    ///         for (event, receipt) in batch.drain_with_receipts() {
    ///             let in_hand = in_hand.split(1);
    ///             tokio::spawn(async move {
    ///                 println!("{event}");
    ///                 receipt.ack();
    ///                 drop(in_hand);
    ///             });
    ///         }
    ///         Ok(())
    ///     }
    /// }
    /// # let mut batch = Batch::from_iter(["loose"]);
    /// # assert_eq!(batch.keep_in_hand().events(), 0);
    /// ```
    pub fn keep_in_hand(&self) -> InHand {
        self.portion()
            .map_or_else(InHand::default, |(hand, number)| {
                hand.keep(*number, self.len())
            })
    }

    #[inline]
    fn portion(&self) -> Option<&(Arc<Hand>, u32)> {
        self.body.as_ref()?.portion.as_ref()
    }

    /// It is this portion that a stage is given.
    #[inline]
    pub(crate) fn is_portion(&mut self, hand: Arc<Hand>, number: u32) {
        self.body().portion = Some((hand, number));
    }

    /// Of which subscription it was a portion. It is one no longer.
    #[inline]
    pub(crate) fn let_go(&mut self) -> Option<Arc<Hand>> {
        let portion = self.body.as_mut()?.portion.take();
        portion.map(|(hand, _)| hand)
    }

    /// It is the portion that `other` was.
    pub(crate) fn take_portion_of<Other>(&mut self, other: &mut Batch<Other>) {
        self.body().portion = other.body().portion.take();
    }

    /// Whether what its events weigh counts, if it is a portion.
    pub(crate) fn is_weighed(&self) -> bool {
        self.portion().is_some_and(|(hand, _)| hand.is_weighed())
    }

    /// A hand for what is made of it, if it is a portion, of so many events: while any of that is kept, all of the portion is.
    pub(crate) fn hand_for_made(&self, events: usize) -> Option<Arc<Hand>> {
        let (hand, number) = self.portion()?;
        Some(hand.for_made(*number, events))
    }

    /// Whether some of the portion are kept in hand, which was of so many events.
    #[cfg(feature = "testkit")]
    pub(crate) fn is_kept(&self, events: usize) -> bool {
        self.portion()
            .is_some_and(|(hand, number)| hand.is_kept(*number, events))
    }

    /// All that it is, with nothing in it, for others. What receipts there are nack.
    #[inline(always)]
    pub(crate) fn emptied(&mut self) -> Self {
        self.empty();
        mem::take(self)
    }

    /// Drops what is in it. What receipts there are nack.
    #[inline(always)]
    pub(crate) fn empty(&mut self) {
        if let Some(body) = &mut self.body {
            body.events.clear();
            body.receipts = None;
            body.portion = None;
        }
    }

    /// What is in it and what is in the other change places, with the storage. Which portions they are does not.
    pub(crate) fn exchange(&mut self, other: &mut Self) {
        let (body, other) = (self.body(), other.body());
        body.align();
        other.align();
        mem::swap(&mut body.events, &mut other.events);
        mem::swap(&mut body.receipts, &mut other.receipts);
    }

    /// For how many events there is room.
    #[inline]
    pub(crate) fn capacity(&self) -> usize {
        self.body.as_ref().map_or(0, |body| body.events.capacity())
    }

    /// Whether it is anything that others could use, if only without room for events.
    #[inline]
    pub(crate) fn is_something(&self) -> bool {
        self.body.is_some()
    }

    /// The storage of a batch with nothing in it. What is left is to be [filled](Self::refill) again.
    pub(crate) fn take_storage(&mut self) -> Vec<E> {
        debug_assert!(self.is_empty());
        let body = self.body.as_mut();
        body.map_or_else(Vec::new, |body| mem::take(body.events.own()))
    }

    /// Puts events into a batch with nothing in it.
    pub(crate) fn refill(&mut self, events: Vec<E>) {
        debug_assert!(self.is_empty());
        self.body().events = events.into();
    }

    /// It stands in for `other` where events are kept in hand.
    pub(crate) fn is_portion_of<Other>(&mut self, other: &Batch<Other>) {
        self.body().portion = other.portion().cloned();
    }

    /// Makes one event of each, in order, and adds it to `out`. It is settled as the one that it was
    /// made of.
    ///
    /// In a [`Transform`](crate::Transform), this keeps the fates of events apart that came
    /// together: without it, what a call puts out stands for all that it was given.
    ///
    /// ```
    /// use stage_core::Batch;
    ///
    /// let (mut words, mut lengths) = (Batch::from_iter(["to", "be", "honest"]), Batch::new());
    /// words.map_into(&mut lengths, str::len);
    /// assert_eq!(lengths[..], [2, 2, 6]);
    /// assert!(words.is_empty());
    /// ```
    pub fn map_into<Out>(&mut self, out: &mut Batch<Out>, make: impl FnMut(E) -> Out) {
        let body = self.body();
        body.align();
        let before = out.len();
        out.extend(body.events.own().drain(..).map(make));
        self.hand_receipts_to(out, before);
    }

    /// Makes any number of events of each, in order, and adds them to `out`. An event is acked once
    /// all that was made of it is: at once if that is nothing.
    ///
    /// To leave events out, make an [`Option`] of each.
    ///
    /// ```
    /// use stage_core::Batch;
    ///
    /// let (mut lines, mut words) = (Batch::from_iter(["to be", "", "or not"]), Batch::new());
    /// lines.flat_map_into(&mut words, str::split_whitespace);
    /// assert_eq!(words[..], ["to", "be", "or", "not"]);
    /// ```
    pub fn flat_map_into<Out, I>(&mut self, out: &mut Batch<Out>, mut make: impl FnMut(E) -> I)
    where
        I: IntoIterator<Item = Out>,
    {
        let body = self.body();
        if body.receipts.is_none() {
            return out.extend(body.events.own().drain(..).flat_map(make));
        }
        let made: Result<(), Infallible> = self.each_into(out, |event, made| {
            made.extend(make(event));
            Ok(())
        });
        let Ok(()) = made;
    }

    /// Takes a step with each event, in order, and adds what that makes to `out`. Each is settled as what was made of
    /// it. If the step fails on one, that one and those after it are nacked, and what was made of those before it is in
    /// `out`.
    #[inline]
    pub(crate) fn step_into<S: Step<E>>(
        &mut self,
        step: &mut S,
        out: &mut Batch<S::Out>,
    ) -> Result<(), S::Error> {
        if let Some(make) = step.one_for_one() {
            self.map_into(out, make);
            return Ok(());
        }
        self.each_into(out, |event, made| {
            step.step(event, |event| made.push(event))
        })
    }

    #[inline]
    fn each_into<Out, Error>(
        &mut self,
        out: &mut Batch<Out>,
        mut make: impl FnMut(E, &mut Vec<Out>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let body = self.body();
        body.align();
        let out = out.body();
        if let Some(receipts) = body.receipts.take() {
            return body.each_with_receipt(*receipts, out, make);
        }
        let made = out.events.own();
        made.reserve(body.events.len());
        for event in body.events.own().drain(..) {
            let before = made.len();
            if let Err(error) = make(event, made) {
                made.truncate(before);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Has `source` told what becomes of the events that are not tracked yet. They are numbered in
    /// order, starting at `first`.
    pub fn track(&mut self, source: Arc<dyn Acknowledge>, first: u64) {
        self.track_next(usize::MAX, source, first);
    }

    /// The same of the next `events` that are not tracked yet, or as many as there are: for a source that wants to
    /// know of parts of a batch by themselves.
    ///
    /// ```
    /// use stage_core::{Acknowledge, Batch, Outcome};
    /// use std::{ops::Range, sync::{Arc, Mutex}};
    ///
    /// #[derive(Default)]
    /// struct Acked(Mutex<Vec<Range<u64>>>);
    ///
    /// impl Acknowledge for Acked {
    ///     fn settle(&self, numbers: Range<u64>, _: Outcome) {
    ///         self.0.lock().unwrap().push(numbers);
    ///     }
    /// }
    ///
    /// let (first, rest) = (Arc::new(Acked::default()), Arc::new(Acked::default()));
    /// let mut batch: Batch<u32> = (0..5).collect();
    /// batch.track_next(2, first.clone(), 0);
    /// batch.track(rest.clone(), 2);
    /// drop(batch);
    /// assert_eq!(*first.0.lock().unwrap(), [0..2]);
    /// assert_eq!(*rest.0.lock().unwrap(), [2..5]);
    /// ```
    pub fn track_next(&mut self, events: usize, source: Arc<dyn Acknowledge>, first: u64) {
        let body = self.body();
        let all = body.events.len();
        let receipts = body.receipts.get_or_insert_default();
        let until = receipts.len().saturating_add(events);
        receipts.track(all.min(until), source, first);
    }

    /// The events as a vector. If they have receipts, those are dropped, which nacks.
    pub fn into_vec(self) -> Vec<E> {
        self.body
            .map_or_else(Vec::new, |body| body.events.into_vec())
    }

    /// Takes all events out, to be owned for as long as a call lasts. What becomes of them is still
    /// settled by this batch.
    pub(crate) fn take_events(&mut self) -> Self {
        let Some(body) = &mut self.body else {
            return Self::new();
        };
        Self::from(Body {
            events: mem::take(&mut body.events),
            receipts: None,
            portion: body.portion.clone(),
        })
    }

    /// Settles the events of `out` from the `first`-th on as these, one for one.
    pub(crate) fn hand_receipts_to<Out>(&mut self, out: &mut Batch<Out>, first: usize) {
        let Some(body) = &mut self.body else {
            return;
        };
        let Some(receipts) = &mut body.receipts else {
            return;
        };
        let handed = receipts.split_front(out.len() - first);
        if receipts.is_empty() {
            body.receipts = None;
        }
        out.body().receipts_until(first).append(handed);
    }

    /// The events, and one receipt for all of them.
    pub(crate) fn into_joined(mut self) -> (Vec<E>, Receipt) {
        let receipts = self.untrack();
        let receipt = receipts.map_or(Receipt::UNTRACKED, |all| all.into_one());
        (self.into_vec(), receipt)
    }

    /// Takes its receipts out.
    #[inline]
    fn untrack(&mut self) -> Option<Box<Receipts>> {
        self.body.as_mut()?.receipts.take()
    }

    /// Takes the first `count` events off, with their receipts.
    pub(crate) fn split_front(&mut self, count: usize) -> Self {
        let portion = self.body.as_mut().and_then(|body| body.portion.take());
        let mut queue = mem::take(self).into_queue();
        let mut front = queue.take(count, Self::new());
        front.body().portion.clone_from(&portion);
        *self = queue.into_batch();
        self.body().portion = portion;
        front
    }

    /// How many events at the end are not tracked yet.
    pub(crate) fn untracked(&self) -> usize {
        let receipts = self.body.as_ref().and_then(|body| body.receipts.as_ref());
        let tracked = receipts.map_or(0, |receipts| receipts.len());
        self.len().saturating_sub(tracked)
    }

    /// Takes the receipts of all events out. The events stay.
    pub(crate) fn take_receipts(&mut self) -> Receipts {
        let body = self.body();
        body.align();
        let mut receipts = body.receipts.take().unwrap_or_default();
        receipts.pad(body.events.len());
        *receipts
    }

    /// Keeps only some events: from each of these places on, in order, as many as there are
    /// receipts.
    pub(crate) fn keep_only(&mut self, kept: Vec<(usize, Receipts)>) {
        let mut place = 0;
        let mut places = kept.iter().map(|(first, r)| *first..first + r.len());
        let mut range = places.next().unwrap_or_default();
        let body = self.body();
        body.events.own().retain(|_| {
            if place >= range.end {
                range = places.next().unwrap_or(usize::MAX..usize::MAX);
            }
            place += 1;
            range.contains(&(place - 1))
        });
        let mut receipts = Receipts::default();
        for (_, part) in kept {
            receipts.append(part);
        }
        body.receipts = Some(Box::new(receipts));
    }

    /// Adds the events of `other`, with their receipts.
    pub(crate) fn append(&mut self, other: &mut Self) {
        let Some(other) = &mut other.body else {
            return;
        };
        let body = self.body();
        body.align();
        other.align();
        if body.receipts.is_some() || other.receipts.is_some() {
            let receipts = body.receipts_until(body.events.len());
            if let Some(others) = other.receipts.take() {
                receipts.append(*others);
            }
        }
        body.events.own().append(other.events.own());
    }

    /// The same events, without their receipts, for somebody else: cloned or shared, in a batch with nothing
    /// in it, that has room for so many if that is not zero.
    pub(crate) fn share(&mut self, spare: impl FnOnce(usize) -> Self) -> Self
    where
        E: Clone + Send + Sync + 'static,
    {
        let events = &mut self.body().events;
        if let Some(same) = events.share() {
            let mut sharing = spare(0);
            sharing.body().events = same;
            return sharing;
        }
        let events = events.as_slice();
        let mut copy = spare(events.len());
        copy.body().events.own().extend_from_slice(events);
        copy
    }

    /// Whether anybody wants to know what becomes of these events.
    pub(crate) fn is_tracked(&self) -> bool {
        let body = self.body.as_ref();
        body.is_some_and(|body| body.receipts.is_some())
    }

    /// Takes the receipts off, to be shared by `takers` who each get these events. `None` if there
    /// are none.
    pub(crate) fn fan_out(&mut self, takers: usize) -> Option<Arc<FanOut>> {
        let body = self.body.as_mut()?;
        body.align();
        Some(body.receipts.take()?.fan_out(takers))
    }

    /// Acks what has not been settled otherwise.
    #[inline]
    pub(crate) fn ack(&mut self) {
        if let Some(receipts) = self.untrack() {
            receipts.settle(Outcome::Acked);
        }
    }

    /// Makes these events stand for those of `inputs`, except those that stand for others already.
    pub(crate) fn stand_for<In>(&mut self, inputs: &mut Batch<In>) {
        if let Some(inputs) = inputs.untrack() {
            let body = self.body();
            let receipts = body.receipts.get_or_insert_default();
            receipts.stand_for(body.events.len(), *inputs);
        }
    }
}

impl<E> Body<E> {
    #[cold]
    fn boxed() -> Box<Self> {
        Box::new(Self {
            events: Events::new(),
            receipts: None,
            portion: None,
        })
    }

    #[inline(never)]
    fn each_with_receipt<Out, Error>(
        &mut self,
        mut receipts: Receipts,
        out: &mut Body<Out>,
        mut make: impl FnMut(E, &mut Vec<Out>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut left_out = Receipts::default();
        let mut result = Ok(());
        let mut streak = Streak::default();
        for event in self.events.own().drain(..) {
            let made = out.events.own();
            let before = made.len();
            result = make(event, made);
            if result.is_err() {
                made.truncate(before);
                break;
            }
            let made = made.len() - before;
            if streak.takes(made, before) {
                continue;
            }
            streak.end(&mut receipts, &mut left_out, out);
            if !streak.takes(made, before) {
                let receipt = receipts.pop();
                out.receipts_until(before).push_shared(made, receipt);
            }
        }
        streak.end(&mut receipts, &mut left_out, out);
        left_out.settle(Outcome::Acked);
        result
    }

    /// If events were taken out, and others put in, those that are there stand for all together.
    #[inline]
    fn align(&mut self) {
        let events = self.events.len();
        if let Some(receipts) = &mut self.receipts
            && receipts.len() > events
        {
            receipts.join(events);
        }
    }

    /// The receipts, which cover the events up to the `until`-th at least.
    fn receipts_until(&mut self, until: usize) -> &mut Receipts {
        let receipts = self.receipts.get_or_insert_default();
        receipts.pad(until);
        receipts
    }
}

/// Events in a row of which none was made of each, or one: their receipts go together.
#[derive(Default)]
struct Streak {
    events: usize,
    is_of_one: bool,
    /// Where the first that was made of them is.
    first: usize,
}

impl Streak {
    /// Whether an event is the next, of which so many were made, or the first of them.
    #[inline]
    fn takes(&mut self, made: usize, first: usize) -> bool {
        if made > 1 || (self.events > 0 && self.is_of_one != (made == 1)) {
            return false;
        }
        if self.events == 0 {
            self.is_of_one = made == 1;
            self.first = first;
        }
        self.events += 1;
        true
    }

    fn end<Out>(&mut self, receipts: &mut Receipts, left_out: &mut Receipts, out: &mut Body<Out>) {
        if self.events == 0 {
            return;
        }
        let theirs = receipts.split_front(mem::take(&mut self.events));
        match self.is_of_one {
            true => out.receipts_until(self.first).append(theirs),
            false => left_out.append(theirs),
        }
    }
}

impl<E> From<Body<E>> for Batch<E> {
    fn from(body: Body<E>) -> Self {
        Self {
            body: Some(Box::new(body)),
        }
    }
}

/// Takes events out of a batch, each with its receipt. Made by [`Batch::drain_with_receipts`].
///
/// What is left when it is dropped is dropped, too: those events are nacked.
pub struct DrainWithReceipts<'a, E> {
    events: vec::Drain<'a, E>,
    receipts: Option<Box<Receipts>>,
}

impl<E> Iterator for DrainWithReceipts<'_, E> {
    type Item = (E, Receipt);

    fn next(&mut self) -> Option<Self::Item> {
        let event = self.events.next()?;
        let receipt = match &mut self.receipts {
            Some(receipts) => receipts.pop(),
            None => Receipt::UNTRACKED,
        };
        Some((event, receipt))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.events.size_hint()
    }
}

impl<E> fmt::Debug for DrainWithReceipts<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DrainWithReceipts({})", self.events.len())
    }
}

impl<E> Default for Batch<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> Deref for Batch<E> {
    type Target = [E];

    fn deref(&self) -> &[E] {
        self.body
            .as_ref()
            .map_or_else(Default::default, |body| body.events.as_slice())
    }
}

impl<E> DerefMut for Batch<E> {
    fn deref_mut(&mut self) -> &mut [E] {
        let Some(body) = &mut self.body else {
            return &mut [];
        };
        if let Some(receipts) = &mut body.receipts {
            // Whoever sorts them does not sort their receipts.
            receipts.join(body.events.len());
        }
        body.events.own()
    }
}

impl<E> Extend<E> for Batch<E> {
    fn extend<I: IntoIterator<Item = E>>(&mut self, events: I) {
        self.body().events.own().extend(events);
    }
}

impl<E> FromIterator<E> for Batch<E> {
    fn from_iter<I: IntoIterator<Item = E>>(events: I) -> Self {
        Self::from(Vec::from_iter(events))
    }
}

impl<E> From<Vec<E>> for Batch<E> {
    fn from(events: Vec<E>) -> Self {
        Self::from(Body {
            events: events.into(),
            receipts: None,
            portion: None,
        })
    }
}

impl<'a, E> IntoIterator for &'a Batch<E> {
    type Item = &'a E;
    type IntoIter = slice::Iter<'a, E>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a, E> IntoIterator for &'a mut Batch<E> {
    type Item = &'a mut E;
    type IntoIter = slice::IterMut<'a, E>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

impl<E: fmt::Debug> fmt::Debug for Batch<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&**self).finish()
    }
}
