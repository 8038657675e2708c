/// Why a record that begins as an aggregated one is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// There is no room for a body and its digest.
    #[error("it is too short")]
    TooShort,
    /// The digest is another's.
    #[error("its digest is wrong")]
    WrongDigest,
    /// The body is no protobuf.
    #[error("it cannot be parsed")]
    Malformed,
    /// A user record has no key or no data, or a tag has no key.
    #[error("it lacks a required field")]
    FieldMissing,
    /// A user record names a key that is not in the table.
    #[error("it names a key that it does not have")]
    NoSuchKey,
    /// A key is no UTF-8.
    #[error("it has a key that is no text")]
    KeyIsNoText,
    /// It is longer than [`MAX_DATA`](super::MAX_DATA).
    #[error("it is too long to be looked into")]
    TooLong,
    /// It has more user records than [`MAX_USER_RECORDS`](super::MAX_USER_RECORDS).
    #[error("it has too many user records")]
    TooManyRecords,
    /// A table has more entries than [`MAX_KEYS`](super::MAX_KEYS).
    #[error("it has too many keys")]
    TooManyKeys,
}
