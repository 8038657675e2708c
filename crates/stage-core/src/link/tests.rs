use super::*;
use crate::{Mode, Window, doorbell::Ear, protocol::Terms};

fn linked(window: usize) -> (SendEnd<u64>, ReceiveEnd<u64>) {
    let (up, down) = (
        Desk::new(&Seat::new(&"up".into())),
        Desk::new(&Seat::new(&"down".into())),
    );
    let wish = Wish {
        asking: Asking::Automatic(Window::new(window)),
        mode: Mode::default(),
        terms: Terms::default(),
        scale: None,
        handle: None,
    };
    connect(&up, &down, wish);
    let (_, sender) = up.news().arrivals.pop().unwrap();
    let (_, receiver) = down.news().arrivals.pop().unwrap();
    (sender, receiver)
}

fn send(sender: &mut SendEnd<u64>, events: std::ops::Range<u64>) {
    for event in events {
        sender.send(vec![event].into()).unwrap();
    }
}

fn received(receiver: &mut ReceiveEnd<u64>) -> Vec<u64> {
    let mut events = Vec::new();
    while let Arrival::Events(batch) = receiver.receive() {
        events.extend(batch.into_vec());
    }
    events
}

#[test]
fn what_is_in_the_ring_comes_before_the_crowd() {
    let (mut sender, mut receiver) = linked(100);
    send(&mut sender, 0..20);
    assert!(receiver.link.is_crowded.load(Relaxed));
    // As when the ring was seen to be empty just before all that was sent.
    receiver.link.inbound().take_crowd(&receiver.link);
    assert_eq!(received(&mut receiver), Vec::from_iter(0..20));
    // And the ring is in use again.
    send(&mut sender, 20..22);
    assert!(!receiver.link.is_crowded.load(Relaxed));
    assert_eq!(received(&mut receiver), [20, 21]);
}

#[test]
fn while_there_is_a_crowd_the_ring_gets_nothing() {
    let (mut sender, mut receiver) = linked(100);
    send(&mut sender, 0..RING as u64 + 1);
    let Arrival::Events(first) = receiver.receive() else {
        panic!("there is one");
    };
    assert_eq!(first[..], [0]);
    // There is a place in the ring, but one waits for it that came before.
    send(&mut sender, RING as u64 + 1..20);
    assert_eq!(received(&mut receiver), Vec::from_iter(1..20));
}

#[test]
fn the_end_comes_after_the_crowd_and_a_cancel_before_it() {
    let (mut sender, mut receiver) = linked(100);
    send(&mut sender, 0..20);
    sender.close(End::Completed);
    assert_eq!(receiver.ended(), None);
    assert_eq!(received(&mut receiver).len(), 20);
    assert_eq!(receiver.ended(), Some(End::Completed));

    let (mut sender, mut receiver) = linked(100);
    send(&mut sender, 0..20);
    let cancelled = End::Cancelled(Reason::Shutdown);
    receiver.cancel(cancelled.clone());
    assert_eq!(received(&mut receiver), []);
    assert_eq!(receiver.ended(), Some(cancelled));
    assert_eq!(sender.send(vec![20].into()), Ok(false));
}

#[test]
fn more_than_was_asked_for_is_refused() {
    let (mut sender, receiver) = linked(10);
    send(&mut sender, 0..7);
    let excess = sender.send(vec![7, 8, 9, 10].into()).unwrap_err();
    assert_eq!((excess.asked, excess.received), (3, 4));
    let counts = receiver.link.counts();
    assert_eq!((counts.due, counts.on_the_way, counts.in_hand), (3, 7, 0));
}

/// One that is idle takes no more than it must, and what comes back is found.
#[test]
fn its_rings_are_laid_when_they_are_needed() {
    let (mut sender, mut receiver) = linked(100);
    assert!(receiver.link.inbound().ring.is_none());
    send(&mut sender, 0..2);
    assert_eq!(received(&mut receiver), [0, 1]);
    assert!(receiver.link.inbound().ring.is_some());
    assert!(sender.take_returned().is_none());
    assert!(receiver.returning.is_none());
    // Nothing to keep.
    receiver.give_back(Batch::new());
    assert!(receiver.returning.is_none());
    for capacity in [7, 8] {
        receiver.give_back(Vec::with_capacity(capacity).into());
    }
    let capacities = [(); 3].map(|()| sender.take_returned().map(|emptied| emptied.capacity()));
    assert_eq!(capacities, [Some(7), Some(8), None]);
}

/// Whoever has gone is not told of what becomes of it.
#[test]
fn who_has_ended_is_not_rung_up() {
    let (mut sender, receiver) = linked(10);
    let up = Arc::clone(&sender.link.up.desk);
    let mut ear = Ear::default();
    send(&mut sender, 0..3);
    assert!(up.bell.listen(&mut ear), "it was handed the link");
    sender.close(End::Completed);
    receiver.cancel(End::Cancelled(Reason::Shutdown));
    assert!(!up.bell.listen(&mut ear));
    assert_eq!(receiver.link.down.meter().counts().nacked, 3);
}
