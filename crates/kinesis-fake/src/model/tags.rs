use std::collections::BTreeMap;

use super::{Limits, Refusal};

/// The tags of a stream or a consumer: values by key.
pub type Tags = BTreeMap<String, String>;

/// Sets tags, those that there are to new values.
pub(crate) fn add(tags: &mut Tags, more: &Tags, limits: &Limits) -> Result<(), Refusal> {
    check(more, limits)?;
    let most = limits.tags;
    let new = more.keys().filter(|key| !tags.contains_key(*key)).count();
    if tags.len() + new > most {
        return Err(Refusal::invalid_argument(format!(
            "A resource cannot have more than {most} tags: this one would have {}.",
            tags.len() + new
        )));
    }
    tags.extend(more.iter().map(|(key, value)| (key.clone(), value.clone())));
    Ok(())
}

/// API Tag: "Unicode letters, digits, white space, _ . / = + - % @"; API TagResource has `:` too.
fn check(tags: &Tags, limits: &Limits) -> Result<(), Refusal> {
    let (key_chars, value_chars) = (limits.tag_key_chars, limits.tag_value_chars);
    let allowed = |c: char| c.is_alphanumeric() || c.is_whitespace() || "_.:/=+-%@".contains(c);
    for (key, value) in tags {
        let (in_key, in_value) = (key.chars().count(), value.chars().count());
        if !(1..=key_chars).contains(&in_key) || in_value > value_chars {
            return Err(Refusal::invalid_argument(format!(
                "A tag's key has 1 to {key_chars} characters and its value at most {value_chars}."
            )));
        }
        if key.starts_with(RESERVED) {
            return Err(Refusal::invalid_argument(format!(
                "Tag keys that begin with {RESERVED} are reserved: {key}."
            )));
        }
        if !key.chars().chain(value.chars()).all(allowed) {
            return Err(Refusal::invalid_argument(
                "Some tags contain invalid characters. Valid characters: Unicode letters, digits, \
                 white space, _ . : / = + - % @.",
            ));
        }
    }
    Ok(())
}

/// Guide "Tagging your streams": "don't use the aws: prefix in tag keys".
const RESERVED: &str = "aws:";

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(of: &[(&str, &str)]) -> Tags {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        of.iter().map(owned).collect()
    }

    #[test]
    fn tags_are_set_anew_and_never_become_too_many() {
        let three = Limits {
            tags: 3,
            ..Limits::default()
        };
        let mut all = tags(&[("a", "1"), ("b", "2")]);
        add(&mut all, &tags(&[("b", "3"), ("c", "")]), &three).unwrap();
        let expected = tags(&[("a", "1"), ("b", "3"), ("c", "")]);
        assert_eq!(all, expected);
        let refusal = add(&mut all, &tags(&[("a", "9"), ("d", "4")]), &three).unwrap_err();
        assert_eq!(refusal.code(), "InvalidArgumentException");
        assert_eq!(all, expected, "nothing of it was set");
    }

    #[test]
    fn a_tag_has_so_many_characters_and_not_just_any() {
        for (key, value, fits) in [
            ("Größe 1_.:/=+-%@", "é", true),
            (&*"k".repeat(128), &*"v".repeat(256), true),
            (&*"k".repeat(129), "", false),
            ("k", &*"v".repeat(257), false),
            ("", "v", false),
            ("k!", "v", false),
            ("aws:k", "v", false),
            ("aws", "aws:v", true),
            ("k", "<v>", false),
        ] {
            let set = add(&mut Tags::new(), &tags(&[(key, value)]), &Limits::default());
            assert_eq!(set.is_ok(), fits, "{key} {value}");
        }
    }
}
