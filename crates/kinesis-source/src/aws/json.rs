use std::{borrow::Cow, fmt, sync::Arc};

use aws_smithy_json::codec::{JsonCodec, JsonCodecSettings, JsonDeserializer, JsonSerializer};
use aws_smithy_schema::{
    Schema,
    codec::Codec,
    prelude,
    serde::{SerdeError, ShapeDeserializer},
};
use aws_smithy_types::{
    BigDecimal, BigInteger, Blob, DateTime, Document, base64, date_time::Format,
};
use memchr::memchr2;

/// The SDK's codec of JSON, with a faster way to read answers.
#[derive(Clone, Debug)]
pub(super) struct Json(Arc<JsonCodec>);

impl Json {
    /// As it is for the protocol that Kinesis speaks.
    pub(super) fn new() -> Self {
        let settings = JsonCodecSettings::builder()
            .use_json_name(false)
            .default_timestamp_format(Format::EpochSeconds);
        Self(Arc::new(JsonCodec::new(settings.build())))
    }
}

impl Codec for Json {
    type Serializer = JsonSerializer;
    type Deserializer<'a> = JsonReader<'a>;

    fn create_serializer(&self) -> JsonSerializer {
        self.0.create_serializer()
    }

    fn create_deserializer<'a>(&self, input: &'a [u8]) -> JsonReader<'a> {
        JsonReader {
            input,
            position: 0,
            depth: 0,
            sdk: Arc::clone(&self.0),
        }
    }
}

/// Reads what the SDK's own reader of JSON reads, in less time.
///
/// That one looks at every byte by itself, and copies data as text before it decodes it: with 10,000 records in an answer,
/// most of what a call costs. This one finds the end of a string many bytes at a time, and decodes data where it lies.
/// Only what is plain, that is: everything else (escapes, numbers in other forms, what is unknown) is left to the SDK's, so
/// that both understand the same.
pub(super) struct JsonReader<'a> {
    input: &'a [u8],
    position: usize,
    /// In how many objects and lists it is.
    depth: usize,
    sdk: Arc<JsonCodec>,
}

/// Of seconds, for three thousand years to come.
const SECONDS_DIGITS: usize = 11;
const NANOSECONDS_DIGITS: usize = 9;

/// The number that comes first, and how many digits it has: at most that many.
fn digits(text: &[u8], most: usize) -> Option<(u64, usize)> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let digits = text.get(..count).filter(|_| (1..=most).contains(&count))?;
    let value = digits
        .iter()
        .fold(0, |value, digit| 10 * value + u64::from(digit - b'0'));
    Some((value, count))
}

impl<'a> JsonReader<'a> {
    fn rest(&self) -> &'a [u8] {
        self.input.get(self.position..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.input.get(self.position).copied()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.position += 1;
        }
    }

    fn expect(&mut self, byte: u8, otherwise: &str) -> Result<(), SerdeError> {
        self.skip_space();
        if self.peek() != Some(byte) {
            return Err(SerdeError::invalid_input(otherwise));
        }
        self.position += 1;
        Ok(())
    }

    fn enter(&mut self, open: u8, otherwise: &str) -> Result<(), SerdeError> {
        self.expect(open, otherwise)?;
        self.depth += 1;
        Ok(())
    }

    /// Nothing comes after the outermost one.
    fn leave(&mut self) -> Result<(), SerdeError> {
        self.depth -= 1;
        if self.depth > 0 {
            return Ok(());
        }
        self.skip_space();
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(SerdeError::invalid_input("more than one value")),
        }
    }

    /// Goes to the next element, or past the end of all of them, if there is none.
    fn has_next(&mut self, is_first: bool, close: u8) -> Result<bool, SerdeError> {
        self.skip_space();
        if self.peek() == Some(close) {
            self.position += 1;
            return Ok(false);
        }
        if !is_first {
            self.expect(b',', "expected a comma between elements")?;
            self.skip_space();
        }
        match self.peek() {
            Some(byte) if byte != close && byte != b',' => Ok(true),
            _ => Err(SerdeError::invalid_input("expected another element")),
        }
    }

    /// What is in a string without escapes, if that is what comes now.
    fn plain(&mut self) -> Option<&'a str> {
        let text = self.rest().strip_prefix(b"\"")?;
        let (text, end) = text.split_at_checked(memchr2(b'"', b'\\', text)?)?;
        if end.first() != Some(&b'"') {
            return None;
        }
        let plain = str::from_utf8(text).ok()?;
        self.position += text.len() + 2;
        Some(plain)
    }

    /// Seconds in plain digits, with a fraction or without, if that is what comes now.
    fn plain_seconds(&mut self) -> Option<DateTime> {
        let rest = self.rest();
        let (seconds, mut len) = digits(rest, SECONDS_DIGITS)?;
        let mut nanoseconds = 0;
        if let Some(fraction) = rest.get(len..)?.strip_prefix(b".") {
            let (value, count) = digits(fraction, NANOSECONDS_DIGITS)?;
            nanoseconds = value * 10_u64.pow((NANOSECONDS_DIGITS - count) as u32);
            len += 1 + count;
        }
        if let Some(b'.' | b'e' | b'E' | b'+' | b'-') = rest.get(len) {
            return None;
        }
        self.position += len;
        let (seconds, nanoseconds) = (seconds.try_into().ok()?, nanoseconds.try_into().ok()?);
        Some(DateTime::from_secs_and_nanos(seconds, nanoseconds))
    }

    fn key(&mut self) -> Result<Cow<'a, str>, SerdeError> {
        let key = match self.plain() {
            Some(key) => Cow::Borrowed(key),
            None => Cow::Owned(self.by_sdk(|sdk| sdk.read_string(&prelude::STRING))?),
        };
        self.expect(b':', "expected a colon after a key")?;
        self.skip_space();
        Ok(key)
    }

    /// Has the SDK's reader read what comes, which then goes no further than to its end.
    fn by_sdk<T>(
        &mut self,
        read: impl FnOnce(&mut JsonDeserializer<'a>) -> Result<T, SerdeError>,
    ) -> Result<T, SerdeError> {
        let mut sdk = self.sdk.create_deserializer(self.rest());
        let value = read(&mut sdk)?;
        self.position += sdk.position();
        Ok(value)
    }
}

impl ShapeDeserializer for JsonReader<'_> {
    fn read_struct(
        &mut self,
        schema: &Schema<'_>,
        consumer: &mut dyn FnMut(&Schema<'_>, &mut dyn ShapeDeserializer) -> Result<(), SerdeError>,
    ) -> Result<(), SerdeError> {
        self.skip_space();
        if self.peek().is_none() {
            // To the SDK's, an empty answer is an object without members.
            return Ok(());
        }
        self.enter(b'{', "expected an object")?;
        let (members, mut at) = (schema.members(), 0);
        while self.has_next(at == 0, b'}')? {
            let key = self.key()?;
            // They mostly come in their order.
            let is_key = |member: &&&Schema<'_>| member.member_name() == Some(&*key);
            let member = members.get(at).filter(is_key);
            let member = member.or_else(|| members.iter().find(is_key));
            at += 1;
            match member {
                _ if self.is_null() => self.read_null()?,
                Some(member) => consumer(member, self)?,
                None => self.skip_value()?,
            }
        }
        self.leave()
    }

    fn read_list(
        &mut self,
        _: &Schema<'_>,
        consumer: &mut dyn FnMut(&mut dyn ShapeDeserializer) -> Result<(), SerdeError>,
    ) -> Result<(), SerdeError> {
        self.enter(b'[', "expected a list")?;
        let mut is_first = true;
        while self.has_next(is_first, b']')? {
            is_first = false;
            consumer(self)?;
        }
        self.leave()
    }

    fn read_map(
        &mut self,
        _: &Schema<'_>,
        consumer: &mut dyn FnMut(String, &mut dyn ShapeDeserializer) -> Result<(), SerdeError>,
    ) -> Result<(), SerdeError> {
        self.enter(b'{', "expected an object")?;
        let mut is_first = true;
        while self.has_next(is_first, b'}')? {
            is_first = false;
            let key = self.key()?.into_owned();
            consumer(key, self)?;
        }
        self.leave()
    }

    fn read_string(&mut self, schema: &Schema<'_>) -> Result<String, SerdeError> {
        self.skip_space();
        match self.plain() {
            Some(text) => Ok(text.to_owned()),
            None => self.by_sdk(|sdk| sdk.read_string(schema)),
        }
    }

    fn read_blob(&mut self, schema: &Schema<'_>) -> Result<Blob, SerdeError> {
        self.skip_space();
        let Some(text) = self.plain() else {
            return self.by_sdk(|sdk| sdk.read_blob(schema));
        };
        let data = base64::decode(text);
        let data = data.map_err(|_| SerdeError::invalid_input("data is not in base64"))?;
        Ok(Blob::new(data))
    }

    fn read_timestamp(&mut self, schema: &Schema<'_>) -> Result<DateTime, SerdeError> {
        self.skip_space();
        match self.plain_seconds() {
            Some(moment) => Ok(moment),
            None => self.by_sdk(|sdk| sdk.read_timestamp(schema)),
        }
    }

    fn read_boolean(&mut self, schema: &Schema<'_>) -> Result<bool, SerdeError> {
        self.by_sdk(|sdk| sdk.read_boolean(schema))
    }

    fn read_byte(&mut self, schema: &Schema<'_>) -> Result<i8, SerdeError> {
        self.by_sdk(|sdk| sdk.read_byte(schema))
    }

    fn read_short(&mut self, schema: &Schema<'_>) -> Result<i16, SerdeError> {
        self.by_sdk(|sdk| sdk.read_short(schema))
    }

    fn read_integer(&mut self, schema: &Schema<'_>) -> Result<i32, SerdeError> {
        self.by_sdk(|sdk| sdk.read_integer(schema))
    }

    fn read_long(&mut self, schema: &Schema<'_>) -> Result<i64, SerdeError> {
        self.by_sdk(|sdk| sdk.read_long(schema))
    }

    fn read_float(&mut self, schema: &Schema<'_>) -> Result<f32, SerdeError> {
        self.by_sdk(|sdk| sdk.read_float(schema))
    }

    fn read_double(&mut self, schema: &Schema<'_>) -> Result<f64, SerdeError> {
        self.by_sdk(|sdk| sdk.read_double(schema))
    }

    fn read_big_integer(&mut self, schema: &Schema<'_>) -> Result<BigInteger, SerdeError> {
        self.by_sdk(|sdk| sdk.read_big_integer(schema))
    }

    fn read_big_decimal(&mut self, schema: &Schema<'_>) -> Result<BigDecimal, SerdeError> {
        self.by_sdk(|sdk| sdk.read_big_decimal(schema))
    }

    fn read_document(&mut self, schema: &Schema<'_>) -> Result<Document, SerdeError> {
        // Behind an outermost object, the SDK's would find what it takes for another one.
        let rest = self.rest();
        let before = self.position;
        self.skip_value()?;
        let value = rest.get(..self.position - before).unwrap_or_default();
        self.sdk.create_deserializer(value).read_document(schema)
    }

    fn is_null(&self) -> bool {
        let after = self.rest().strip_prefix(b"null");
        after.is_some_and(|after| !after.first().is_some_and(u8::is_ascii_alphanumeric))
    }

    fn read_null(&mut self) -> Result<(), SerdeError> {
        self.by_sdk(JsonDeserializer::read_null)
    }

    fn skip_value(&mut self) -> Result<(), SerdeError> {
        self.by_sdk(JsonDeserializer::skip_value)
    }

    fn container_size(&self) -> Option<usize> {
        None
    }
}

impl fmt::Debug for JsonReader<'_> {
    /// Not what it reads: that is what was put.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonReader")
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_kinesis::{operation::get_records::GetRecordsOutput, types::Record};
    use proptest::{prelude::*, sample::select};

    use super::*;

    fn by_sdk(text: &[u8]) -> Option<GetRecordsOutput> {
        GetRecordsOutput::deserialize(&mut Json::new().0.create_deserializer(text)).ok()
    }

    fn by_us(text: &[u8]) -> Option<GetRecordsOutput> {
        GetRecordsOutput::deserialize(&mut Json::new().create_deserializer(text)).ok()
    }

    /// That both have understood the same, or nothing.
    fn compare(text: &[u8]) -> Result<(), TestCaseError> {
        let (mut ours, mut theirs) = (by_us(text), by_sdk(text));
        let [our_moments, their_moments] = [&mut ours, &mut theirs].map(|answer| {
            let records = answer.iter_mut().flat_map(|answer| &mut answer.records);
            let moments = records.map(|record| record.approximate_arrival_timestamp.take());
            Vec::from_iter(moments)
        });
        prop_assert_eq!(ours, theirs);
        for (ours, theirs) in our_moments.iter().zip(&their_moments) {
            prop_assert_eq!(ours.is_some(), theirs.is_some());
            // The SDK's makes a floating-point number of it.
            if let (Some(ours), Some(theirs)) = (ours, theirs) {
                let apart = ours.as_nanos().abs_diff(theirs.as_nanos());
                prop_assert!(apart < 100_000, "{ours:?} {theirs:?}");
            }
        }
        Ok(())
    }

    /// A string as it may be sent: characters are escaped or not.
    fn string() -> impl Strategy<Value = String> {
        let escape = |(text, is_escaped): (String, bool)| match is_escaped {
            true => text
                .encode_utf16()
                .map(|unit| format!("\\u{unit:04x}"))
                .collect(),
            false => serde_json::to_string(&text)
                .unwrap()
                .trim_matches('"')
                .to_owned(),
        };
        let text = prop_oneof![Just(String::new()), "[a-z0-9-]{1,20}", any::<String>()];
        let parts = prop::collection::vec((text, any::<bool>()).prop_map(escape), 1..3);
        parts.prop_map(|parts| format!("\"{}\"", parts.concat()))
    }

    fn number() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => (0..4_000_000_000_000_u64).prop_map(|millis| format!("{}.{:03}", millis / 1_000, millis % 1_000)),
            2 => "-?[0-9]{1,20}(\\.[0-9]{0,12})?([eE][+-]?[0-9]{1,2})?",
            1 => any::<u64>().prop_map(|number| number.to_string()),
        ]
    }

    /// What a server may add.
    fn unknown() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            string(),
            number(),
            select(vec!["null", "true", "false", "nullx"]).prop_map(str::to_owned)
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3)
                    .prop_map(|values| format!("[{}]", values.join(","))),
                prop::collection::vec((string(), inner), 0..3).prop_map(|members| object(&members)),
            ]
        })
    }

    fn object(members: &[(String, String)]) -> String {
        let members = members.iter().map(|(key, value)| format!("{key} :{value}"));
        format!("{{{}}}", Vec::from_iter(members).join("\t, "))
    }

    /// An object with some of these members, and others, in any order.
    fn members(known: Vec<(&'static str, BoxedStrategy<String>)>) -> BoxedStrategy<String> {
        let known = known.into_iter().map(|(name, value)| {
            let value = prop_oneof![
                12 => value,
                1 => Just("null".to_owned()),
                1 => unknown(),
            ];
            let member = value.prop_map(move |value| (format!("\"{name}\""), value));
            prop::option::weighted(0.9, member).boxed()
        });
        let others = prop::collection::vec((string(), unknown()), 0..2);
        let all = (Vec::from_iter(known), others)
            .prop_map(|(known, others)| Vec::from_iter(known.into_iter().flatten().chain(others)));
        let order = any::<bool>();
        (all, order)
            .prop_flat_map(|(all, is_usual)| match is_usual {
                true => Just(all).boxed(),
                false => Just(all).prop_shuffle().boxed(),
            })
            .prop_map(|members| object(&members))
            .boxed()
    }

    fn list(of: BoxedStrategy<String>) -> BoxedStrategy<String> {
        prop::collection::vec(of, 0..4)
            .prop_map(|all| format!("[ {}]", all.join(" ,")))
            .boxed()
    }

    fn answer() -> impl Strategy<Value = String> {
        let data = prop::collection::vec(any::<u8>(), 0..100)
            .prop_map(|data| format!("\"{}\"", base64::encode(data)));
        let record = members(vec![
            ("SequenceNumber", string().boxed()),
            ("ApproximateArrivalTimestamp", number().boxed()),
            ("Data", data.boxed()),
            ("PartitionKey", string().boxed()),
            ("EncryptionType", string().boxed()),
        ]);
        let range = members(vec![
            ("StartingHashKey", string().boxed()),
            ("EndingHashKey", string().boxed()),
        ]);
        let child = members(vec![
            ("ShardId", string().boxed()),
            ("ParentShards", list(string().boxed())),
            ("HashKeyRange", range),
        ]);
        members(vec![
            ("Records", list(record)),
            ("NextShardIterator", string().boxed()),
            (
                "MillisBehindLatest",
                any::<u32>().prop_map(|it| it.to_string()).boxed(),
            ),
            ("ChildShards", list(child)),
        ])
    }

    #[test]
    fn a_plain_answer_is_read_as_it_was_sent() {
        let text =
            br#"{"Records":[{"SequenceNumber":"12","ApproximateArrivalTimestamp":1700000000.123,
            "Data":"aGVsbG8=","PartitionKey":"a\"b"}],"MillisBehindLatest":0,"New":[{"x":1}]}"#;
        let answer = by_us(text).unwrap();
        let record = Record::builder()
            .sequence_number("12")
            .approximate_arrival_timestamp(DateTime::from_millis(1_700_000_000_123))
            .data(Blob::new("hello"))
            .partition_key("a\"b");
        assert_eq!(answer.records, [record.build().unwrap()]);
        assert_eq!(answer.millis_behind_latest, Some(0));
    }

    #[test]
    fn an_answer_that_is_no_json_is_refused() {
        for text in [
            "[]",
            "{",
            "{]",
            "{,}",
            r#"{"Records":[}"#,
            r#"{"Records":[,]}"#,
            r#"{"Records":[{},]}"#,
            r#"{"Records":[{}{}]}"#,
            r#"{"Records":[]} {}"#,
            r#"{"Records" []}"#,
            r#"{Records:[]}"#,
            r#"{"NextShardIterator":"a}"#,
            r#"{"Records":[{"Data":"a"}]}"#,
            "nul",
        ] {
            assert_eq!(by_us(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn an_answer_is_understood_as_the_sdk_does(text in answer()) {
            compare(text.as_bytes())?;
        }

        #[test]
        fn so_is_one_that_was_damaged(
            text in answer(),
            at: prop::sample::Index,
            damage in prop_oneof![
                any::<u8>().prop_map(|byte| vec![byte]),
                select(vec!["", "{", "}", "[", "]", ",", ":", "\"", "\\", " ", "0", "null"])
                    .prop_map(|text| text.as_bytes().to_vec()),
            ],
            removed in 0_usize..3,
        ) {
            let mut text = text.into_bytes();
            let from = at.index(text.len());
            let to = text.len().min(from + removed);
            text.splice(from..to, damage);
            compare(&text)?;
        }

        #[test]
        fn so_is_one_that_was_cut_short(text in answer(), at: prop::sample::Index) {
            let text = &text.as_bytes()[..at.index(text.len())];
            compare(text)?;
        }
    }
}
