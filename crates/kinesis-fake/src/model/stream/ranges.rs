use kinesis_source::HashRange;

/// So many ranges of the same size, the last perhaps a little larger, that cover every hash key.
pub(super) fn even_ranges(count: u32) -> impl Iterator<Item = HashRange> {
    let count = u128::from(count);
    // The floor of 2^128 / count, which itself does not fit when there is one range only.
    let most = u128::MAX;
    let size = most.checked_div(count).map_or(0, |size| {
        size.wrapping_add(u128::from(most % count == count - 1))
    });
    (0..count).map(move |index| HashRange {
        start: index.wrapping_mul(size),
        end: match index + 1 {
            next if next == count => most,
            next => next * size - 1,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_ranges_cover_every_hash_key_once() {
        for count in [1, 2, 3, 7, 64, 1_000] {
            let ranges: Vec<_> = even_ranges(count).collect();
            assert_eq!(ranges.len(), count as usize);
            assert_eq!(ranges[0].start, 0);
            assert_eq!(ranges.last().unwrap().end, u128::MAX);
            for pair in ranges.windows(2) {
                assert_eq!(pair[0].end + 1, pair[1].start);
            }
        }
        assert_eq!(even_ranges(0).count(), 0);
        let halves: Vec<_> = even_ranges(2).map(|range| range.start).collect();
        assert_eq!(halves, [0, 1 << 127]);
    }
}
