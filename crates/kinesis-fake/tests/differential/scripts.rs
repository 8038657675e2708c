use crate::step::{FILTERS, Step, odd};

/// Sequences that show each difference, whatever is drawn.
pub(crate) fn all() -> Vec<Vec<Step>> {
    let mut scripts = vec![
        whole_life(),
        vec![Step::Merge { shard: 1, with: 0 }],
        vec![
            Step::Split {
                shard: 0,
                sixteenth: 4,
            },
            Step::Summary,
        ],
        // Shard 0 is closed by then.
        vec![
            Step::Split {
                shard: 0,
                sixteenth: 4,
            },
            Step::Split {
                shard: 0,
                sixteenth: 2,
            },
        ],
        // Of two shards, one is closed and one is not there.
        vec![
            Step::Split {
                shard: 0,
                sixteenth: 4,
            },
            Step::Merge { shard: 0, with: 5 },
        ],
        // The first shard is left out.
        vec![Step::ListAfter { shard: 0 }],
        // Records fall on the parts of a shard.
        vec![
            Step::Split {
                shard: 0,
                sixteenth: 4,
            },
            Step::PutBatch {
                sixteenths: vec![1, 5],
            },
        ],
        // Both came at one time.
        vec![
            Step::PutBatch {
                sixteenths: vec![1, 1],
            },
            trim_horizon(),
            Step::Read { limit: Some(1) },
        ],
        // The number of another shard's record.
        vec![
            Step::PutBatch {
                sixteenths: vec![1],
            },
            Step::IteratorAt {
                shard: 1,
                after: false,
                record: 0,
            },
        ],
        vec![trim_horizon(), Step::Read { limit: Some(0) }],
        vec![
            trim_horizon(),
            Step::Read {
                limit: Some(10_001),
            },
        ],
        vec![Step::Retention {
            increase: true,
            hours: 169,
        }],
    ];
    scripts.extend(odd().into_iter().map(|step| vec![step]));
    scripts
}

fn trim_horizon() -> Step {
    Step::Iterator {
        shard: 0,
        kind: "TRIM_HORIZON",
    }
}

fn whole_life() -> Vec<Step> {
    let put = |sixteenth| Step::Put {
        sixteenth,
        data: "data".into(),
    };
    let read = || Step::Read { limit: None };
    let mut steps = vec![
        Step::List { most: None },
        put(1),
        put(2),
        put(9),
        Step::Iterator {
            shard: 0,
            kind: "TRIM_HORIZON",
        },
        Step::Read { limit: Some(1) },
        read(),
        read(),
        Step::Split {
            shard: 0,
            sixteenth: 4,
        },
        Step::Merge { shard: 3, with: 1 },
        Step::List { most: Some(2) },
        Step::Describe { most: None },
        Step::Summary,
        Step::Iterator {
            shard: 0,
            kind: "TRIM_HORIZON",
        },
        read(),
        read(),
    ];
    steps.extend(FILTERS.iter().map(|filter| Step::ListFiltered { filter }));
    steps
}
