//! Which keys fall on which lanes.

use stage_core::protocol::lane_for;

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
