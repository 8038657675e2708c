//! Which keys fall on which lanes, and what stays in a lane.

use stage_core::{
    Demand,
    protocol::{Backlog, Dispatcher, Handout, Partition, SubscriptionId, Terms, lane_for},
};

/// These numbers are a promise: a key stays on its lane from version to version.
#[test]
fn keys_fall_on_the_lanes_they_always_did() {
    let lanes = 1_000_000;
    assert_eq!(lane_for(&0u64, lanes), 557_598);
    assert_eq!(lane_for("", lanes), 462_295);
    assert_eq!(lane_for("orders/17", lanes), 99_890);
    assert_eq!(lane_for(&7u8, lanes), 741_762);
    assert_eq!(lane_for(&(3u32, "a"), lanes), 481_426);
    assert_eq!(lane_for(&7u16, lanes), 935_593);
    assert_eq!(lane_for(&7u128, lanes), 488_889);
    assert_eq!(lane_for(&17usize, lanes), lane_for(&17u64, lanes));
    assert_eq!(lane_for(&-1isize, lanes), lane_for(&-1i64, lanes));
    assert_eq!(lane_for("a", lanes), lane_for(&String::from("a"), lanes));
}

#[test]
fn keys_that_are_alike_are_spread_all_the_same() {
    for lanes in [2, 3, 8, 64] {
        for step in [1, 2, 8, 64, 1000, 1 << 32] {
            let mut counts = vec![0; lanes];
            for n in 0..lanes as u64 * 200 {
                counts[lane_for(&(n * step), lanes)] += 1;
            }
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            assert!(
                *least > 140 && *most < 270,
                "{lanes} lanes, step {step}: {counts:?}"
            );
        }
    }
}

/// What waits for a lane that nobody has is given up, at the end. What waits for one that is slow is not.
#[test]
fn what_is_stranded_is_given_up() {
    let mut partition = Partition::by_fn(3, |event: &u64| Some((event % 3) as usize));
    let (mut backlog, mut handout) = (Backlog::new(), Handout::new());
    for lane in 0..2 {
        let (id, terms) = (SubscriptionId(lane as u64), Terms::default().lane(lane));
        partition.subscribe(id, terms).unwrap();
    }
    partition.ask(SubscriptionId(0), Demand::new(9).unwrap());
    partition.ask(SubscriptionId(1), Demand::MIN);
    backlog.push((0..9).collect());
    partition.dispatch(&mut backlog, &mut handout);
    assert_eq!(partition.held(), 5);
    assert_eq!(partition.give_up_stranded().into_vec(), [2, 5, 8]);
    assert_eq!(partition.held(), 2);
    partition.ask(SubscriptionId(1), Demand::new(9).unwrap());
    partition.dispatch(&mut backlog, &mut handout);
    let of_the_slow = handout.deliveries.iter().filter(|it| it.to.0 == 1);
    let sent: Vec<u64> = of_the_slow.flat_map(|it| it.events.to_vec()).collect();
    assert_eq!(sent, [1, 4, 7]);
}
