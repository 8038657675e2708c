//! Values as they are written on the command line.

use std::{fmt::Debug, ops::RangeInclusive, time::Duration};

use kinesis_fake::{
    Continuation, DeletingStream, ForeignArn, FutureTimestamp, MergeOrder, NoPolicy,
    OlderThanHorizon, ReadLimit, ShardEnd, SubscriptionRefusal, Takeover, TimeBeforeHorizon,
};

/// Something that has a text, which says what it is.
pub(crate) trait Value: Sized {
    /// What a text may be that is none.
    fn expected() -> String;

    fn read(text: &str) -> Option<Self>;

    fn write(&self) -> String;

    /// Whether it lies between two others, these included. What has no order lies anywhere, and so does
    /// what is `none`.
    fn is_within(&self, _least: &str, _most: &str) -> bool {
        true
    }
}

/// Whether a value lies between two texts of its kind.
fn lies_between<V: Value + PartialOrd>(value: &V, least: &str, most: &str) -> bool {
    let (least, most) = (V::read(least), V::read(most));
    least.is_none_or(|least| *value >= least) && most.is_none_or(|most| *value <= most)
}

macro_rules! whole_number {
    ($($number:ty)*) => {
        $(impl Value for $number {
            fn expected() -> String {
                "a whole number".to_owned()
            }

            fn read(text: &str) -> Option<Self> {
                text.parse().ok()
            }

            fn write(&self) -> String {
                self.to_string()
            }

            fn is_within(&self, least: &str, most: &str) -> bool {
                lies_between(self, least, most)
            }
        })*
    };
}

whole_number!(u32 u64 usize);

/// Units by their size in milliseconds, the largest first.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Value for Duration {
    fn expected() -> String {
        "a time as 250ms, 2s, 5m or 1h".to_owned()
    }

    fn read(text: &str) -> Option<Self> {
        if text == "0" {
            return Some(Self::ZERO);
        }
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let (_, size) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
        let millis = number.parse::<u64>().ok()?.checked_mul(size)?;
        Some(Self::from_millis(millis))
    }

    fn write(&self) -> String {
        let millis = self.as_millis();
        let fits = |(_, size): &(&str, u64)| millis.is_multiple_of(u128::from(*size));
        match UNITS.into_iter().find(fits) {
            Some((unit, size)) if millis > 0 => format!("{}{unit}", millis / u128::from(size)),
            _ => "0".to_owned(),
        }
    }

    fn is_within(&self, least: &str, most: &str) -> bool {
        lies_between(self, least, most)
    }
}

impl<T: Value> Value for Option<T> {
    fn expected() -> String {
        format!("{}, or none", T::expected())
    }

    fn read(text: &str) -> Option<Self> {
        match text {
            "none" => Some(None),
            _ => T::read(text).map(Some),
        }
    }

    fn write(&self) -> String {
        self.as_ref().map_or("none".to_owned(), T::write)
    }

    fn is_within(&self, least: &str, most: &str) -> bool {
        self.as_ref().is_none_or(|it| it.is_within(least, most))
    }
}

impl Value for RangeInclusive<u32> {
    fn expected() -> String {
        "two whole numbers as 24..8760".to_owned()
    }

    fn read(text: &str) -> Option<Self> {
        let (least, most) = text.split_once("..")?;
        let range = least.parse().ok()?..=most.parse().ok()?;
        (!range.is_empty()).then_some(range)
    }

    fn write(&self) -> String {
        format!("{}..{}", self.start(), self.end())
    }

    fn is_within(&self, least: &str, most: &str) -> bool {
        let ends = [self.start(), self.end()];
        ends.into_iter().all(|end| end.is_within(least, most))
    }
}

macro_rules! one_of {
    ($($choice:ident: $($variant:ident)*;)*) => {
        $(impl Value for $choice {
            fn expected() -> String {
                [$(stringify!($variant)),*].join(" or ")
            }

            fn read(text: &str) -> Option<Self> {
                match text {
                    $(stringify!($variant) => Some(Self::$variant),)*
                    _ => None,
                }
            }

            fn write(&self) -> String {
                variant(self)
            }
        })*
    };
}

one_of! {
    Continuation: LastRecord BeyondLastRecord;
    DeletingStream: Refuse Serve;
    ForeignArn: AccessDenied NotFound;
    FutureTimestamp: Refuse StartAtEnd;
    MergeOrder: AsAsked ByHashKey LowerFirst;
    NoPolicy: Refuse Empty;
    OlderThanHorizon: Refuse StartAtHorizon;
    ReadLimit: InvalidArgument Validation;
    ShardEnd: WithLastRecords OneMoreAnswer;
    SubscriptionRefusal: AtCall InStream;
    Takeover: Fails Ends;
    TimeBeforeHorizon: AsSaid TrimHorizon;
}

fn variant(choice: &impl Debug) -> String {
    format!("{choice:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        for (text, millis) in [
            ("0", Some(0)),
            ("250ms", Some(250)),
            ("2s", Some(2_000)),
            ("90m", Some(5_400_000)),
            ("1h", Some(3_600_000)),
            ("2", None),
            ("s", None),
            ("-1s", None),
            ("1.5s", None),
            ("2 s", None),
            ("2d", None),
            ("99999999999999999999h", None),
            ("9999999999999999h", None),
            ("", None),
        ] {
            let read = Duration::read(text);
            assert_eq!(read, millis.map(Duration::from_millis), "{text:?}");
            if let Some(read) = read {
                assert_eq!(Duration::read(&read.write()), Some(read), "{text:?}");
            }
        }
        assert_eq!(Duration::from_secs(86_400).write(), "24h");
        assert_eq!(Duration::from_millis(1_500).write(), "1500ms");
    }

    #[test]
    fn a_range_has_two_numbers_in_order() {
        assert_eq!(RangeInclusive::<u32>::read("2..30"), Some(2..=30));
        for wrong in ["2", "2..", "..2", "3..2", "a..b"] {
            assert_eq!(RangeInclusive::<u32>::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn none_is_no_number() {
        assert_eq!(Option::<u32>::read("none"), Some(None));
        assert_eq!(Option::<u32>::read("5"), Some(Some(5)));
        assert_eq!(Option::<u32>::read("-"), None);
        assert_eq!(u32::read("none"), None);
    }
}
