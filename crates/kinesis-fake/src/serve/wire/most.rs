use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, Expected, MapAccess, SeqAccess, Visitor},
};

/// A list of at most `MOST` elements. A longer one is refused as soon as that shows.
pub(in crate::serve) struct Most<T, const MOST: usize>(pub(in crate::serve) Vec<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for Most<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(Elements(PhantomData))
    }
}

struct Elements<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Elements<T, MOST> {
    type Value = Most<T, MOST>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MOST} elements")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        up_to(MOST, &self, || elements.next_element()).map(Most)
    }
}

/// Values by key, of which at most `MOST` are sent, each time a key comes counted. More are refused as
/// soon as that shows.
pub(in crate::serve) struct MostByKey<T, const MOST: usize>(
    pub(in crate::serve) BTreeMap<String, T>,
);

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for MostByKey<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

struct Entries<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Entries<T, MOST> {
    type Value = MostByKey<T, MOST>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object of at most {MOST} members")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let entries = up_to(MOST, &self, || entries.next_entry())?;
        Ok(MostByKey(entries.into_iter().collect()))
    }
}

/// All that come, unless these are more than `most`.
fn up_to<T, E: Error>(
    most: usize,
    expected: &dyn Expected,
    mut next: impl FnMut() -> Result<Option<T>, E>,
) -> Result<Vec<T>, E> {
    let mut all = Vec::new();
    while let Some(one) = next()? {
        if all.len() == most {
            return Err(E::invalid_length(most + 1, expected));
        }
        all.push(one);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_up_to_its_limit() {
        let read = |text: &str| serde_json::from_str::<Most<u8, 2>>(text).map(|list| list.0);
        assert_eq!(read("[1,2]").unwrap(), [1, 2]);
        let error = read("[1,2,3]").unwrap_err().to_string();
        assert!(error.contains("a list of at most 2 elements"), "{error}");
    }

    #[test]
    fn a_map_is_read_up_to_its_limit() {
        let read = |text: &str| serde_json::from_str::<MostByKey<u8, 2>>(text).map(|map| map.0);
        let all = read(r#"{"a":1,"a":2}"#).unwrap();
        assert_eq!(all, BTreeMap::from([("a".to_owned(), 2)]));
        for more in [r#"{"a":1,"b":2,"c":3}"#, r#"{"a":1,"a":2,"a":3}"#] {
            let error = read(more).unwrap_err().to_string();
            assert!(error.contains("an object of at most 2 members"), "{error}");
        }
    }
}
