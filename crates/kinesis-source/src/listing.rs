use std::{collections::BTreeSet, time::Duration};

use tokio::time::{Instant, timeout_at};

use crate::{ApiError, KinesisApi, NextToken, Remedy, Shard};

/// How long any one call may take, whatever the transport thinks. An answer may have 10 MiB.
pub(crate) const CALL_DEADLINE: Duration = Duration::from_secs(40);

/// The most pages of a listing. The service puts 1,000 shards on one.
const MAX_PAGES: usize = 10_000;

/// Makes a call, and gives it up as lost at the deadline.
pub(crate) async fn within_deadline<T>(
    operation: &'static str,
    call: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    within_deadline_from(Instant::now(), operation, call).await
}

/// The same, of a call that is made at that moment.
pub(crate) async fn within_deadline_from<T>(
    now: Instant,
    operation: &'static str,
    call: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    match timeout_at(now + CALL_DEADLINE, call).await {
        Ok(answer) => answer,
        Err(_) => {
            let message = format!("no answer within {} s", CALL_DEADLINE.as_secs());
            Err(ApiError::new(operation, Remedy::Retry).with_message(&message))
        }
    }
}

/// All shards of the stream, of all pages. There is at least one: a listing without any is no answer.
///
/// Each page is asked for once; whoever calls this tries again from the first.
pub(crate) async fn list_all_shards(api: &dyn KinesisApi) -> Result<Vec<Shard>, ApiError> {
    let (mut shards, mut seen, mut token) = (Vec::new(), BTreeSet::new(), None);
    for _ in 0..MAX_PAGES {
        let page = within_deadline("ListShards", api.list_shards(token)).await?;
        match shards.is_empty() {
            true => shards = page.shards,
            false => shards.extend(page.shards),
        }
        let Some(NextToken(next)) = page.next else {
            return match shards.is_empty() {
                true => Err(senseless(
                    "the listing has no shards, and every stream has some",
                )),
                false => Ok(shards),
            };
        };
        if !seen.insert(next.clone()) {
            return Err(senseless("a page of the listing comes after itself"));
        }
        token = Some(NextToken(next));
    }
    Err(senseless("the listing has no end"))
}

fn senseless(message: &str) -> ApiError {
    ApiError::new("ListShards", Remedy::Retry).with_message(message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HashRange, MockKinesisApi, ShardsPage};

    fn page(id: &str, next: Option<&str>) -> ShardsPage {
        ShardsPage {
            shards: vec![Shard {
                id: id.into(),
                parent: None,
                adjacent_parent: None,
                hash_range: HashRange::ALL,
                starting_sequence_number: 0.into(),
                ending_sequence_number: None,
            }],
            next: next.map(|next| NextToken(next.to_owned())),
        }
    }

    #[tokio::test]
    async fn all_pages_are_read() {
        let mut api = MockKinesisApi::new();
        api.expect_list_shards().returning(|token| {
            Ok(match token.as_ref().map(|token| token.0.as_str()) {
                None => page("a", Some("2")),
                Some("2") => page("b", Some("3")),
                Some(_) => page("c", None),
            })
        });
        let shards = list_all_shards(&api).await.unwrap();
        assert_eq!(
            shards
                .iter()
                .map(|shard| shard.id.to_string())
                .collect::<String>(),
            "abc"
        );
    }

    #[tokio::test]
    async fn pages_in_a_circle_are_an_error() {
        let mut api = MockKinesisApi::new();
        api.expect_list_shards().times(3).returning(|token| {
            let next = if token.is_some_and(|token| token.0 == "1") {
                "2"
            } else {
                "1"
            };
            Ok(page("a", Some(next)))
        });
        let error = list_all_shards(&api).await.unwrap_err();
        assert_eq!(error.remedy(), Remedy::Retry);
        assert!(error.to_string().contains("after itself"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_without_an_answer_is_given_up() {
        let call = std::future::pending::<Result<(), ApiError>>();
        let error = within_deadline("GetRecords", call).await.unwrap_err();
        assert_eq!(error.remedy(), Remedy::Retry);
        assert_eq!(
            error.to_string(),
            "GetRecords failed: no answer within 40 s"
        );
    }
}
