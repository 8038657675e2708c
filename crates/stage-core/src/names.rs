//! Names for stages that were given none.

use std::collections::{BTreeMap, BTreeSet};

/// The first number behind a name that is wished for once more.
const FIRST: u64 = 2;

/// Which numbers are taken behind each name that was wished for, so that finding the least that is free
/// does not begin with the first each time.
#[derive(Debug, Default)]
pub(crate) struct Names(BTreeMap<String, Numbers>);

#[derive(Debug)]
struct Numbers {
    /// Nobody has been seen to have this number or one above it.
    next: u64,
    /// Those below it that may be free.
    freed: BTreeSet<u64>,
}

impl Names {
    /// The name itself if that is free, or else that with the least number that is. It is not kept: the
    /// next call returns it again, unless it has been taken meanwhile.
    pub(crate) fn find(&mut self, wish: &str, is_taken: impl Fn(&str) -> bool) -> String {
        if !is_taken(wish) {
            return wish.to_owned();
        }
        let numbers = self.0.entry(wish.to_owned()).or_default();
        loop {
            let number = numbers.least();
            let name = format!("{wish}-{number}");
            if !is_taken(&name) {
                return name;
            }
            numbers.take(number);
        }
    }

    /// A name is free again.
    pub(crate) fn free(&mut self, name: &str) {
        if let Some((wish, number)) = name.rsplit_once('-')
            && let Some(numbers) = self.0.get_mut(wish)
            && let Ok(number) = number.parse()
            && (FIRST..numbers.next).contains(&number)
        {
            numbers.freed.insert(number);
        }
    }
}

impl Numbers {
    fn least(&self) -> u64 {
        self.freed.first().copied().unwrap_or(self.next)
    }

    fn take(&mut self, least: u64) {
        if !self.freed.remove(&least) {
            self.next += 1;
        }
    }
}

impl Default for Numbers {
    fn default() -> Self {
        Self {
            next: FIRST,
            freed: BTreeSet::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn finding_the_next_takes_as_little_however_many_there_are() {
        const STAGES: u64 = 20_000;
        let (mut names, mut taken) = (Names::default(), BTreeSet::new());
        let looks = Cell::new(0);
        for _ in 0..STAGES {
            let name = names.find("stage", |name| {
                looks.set(looks.get() + 1);
                taken.contains(name)
            });
            taken.insert(name);
        }
        assert_eq!(taken.len() as u64, STAGES);
        // The name, the number that was found last, and the next.
        assert!(looks.get() <= 3 * STAGES, "{} looks", looks.get());
        // Also if stages come and go all the time.
        looks.set(0);
        for number in FIRST..STAGES {
            let gone = format!("stage-{number}");
            taken.remove(&gone);
            names.free(&gone);
            let name = names.find("stage", |name| {
                looks.set(looks.get() + 1);
                taken.contains(name)
            });
            assert_eq!(name, gone);
            taken.insert(name);
        }
        assert!(looks.get() <= 3 * STAGES, "{} looks", looks.get());
    }

    /// What they are found by counting each time.
    fn counted(wish: &str, taken: &BTreeSet<String>) -> String {
        let numbered = (FIRST..).map(|n| format!("{wish}-{n}"));
        let mut names = std::iter::once(wish.to_owned()).chain(numbered);
        names.find(|name| !taken.contains(name)).unwrap()
    }

    proptest! {
        #[test]
        fn the_least_is_found_whatever_is_taken_by_hand_or_given_back(
            steps in proptest::collection::vec((0..4_u8, 0..3_usize, 0..8_u64), 1..200),
        ) {
            let (mut names, mut taken) = (Names::default(), BTreeSet::<String>::new());
            for (step, wish, number) in steps {
                let wish = ["a", "a-2", "b"][wish];
                match step {
                    // A name may be wished for, and then not be used.
                    0 | 1 => {
                        let name = names.find(wish, |name| taken.contains(name));
                        prop_assert_eq!(&name, &counted(wish, &taken));
                        if step == 0 {
                            taken.insert(name);
                        }
                    }
                    2 => {
                        taken.insert(format!("{wish}-{number}"));
                    }
                    _ => {
                        let of_all = usize::try_from(number).unwrap();
                        let gone = taken.iter().nth(of_all).cloned();
                        if let Some(gone) = gone {
                            taken.remove(&gone);
                            names.free(&gone);
                        }
                    }
                }
            }
        }
    }
}
