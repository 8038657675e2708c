use serde::{Deserialize, Serialize};

use super::{Call, tagging::check_resource};
use crate::{
    model::{Moment, Refusal, Service},
    serve::{check::Check, wire::Nothing},
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PutResourcePolicy {
    #[serde(rename = "ResourceARN")]
    resource_arn: Option<String>,
    policy: Option<String>,
}

impl Call for PutResourcePolicy {
    type Outcome = Nothing;
    type Answer = Nothing;

    fn check(&self, check: &mut Check) {
        check_resource(check, self.resource_arn.as_deref());
        check.required("policy", self.policy.as_ref());
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<Nothing, Refusal> {
        let arn = self.resource_arn.as_deref().unwrap_or_default();
        let policy = self.policy.as_deref().unwrap_or_default();
        // One that is too long is the model's to refuse, and not read.
        if policy.len() <= service.settings().limits.policy_bytes {
            check_policy(policy)?;
        }
        service.put_resource_policy(arn, policy, now)?;
        Ok(Nothing {})
    }
}

/// A policy is an object with statements. What these say is nobody's to judge here.
fn check_policy(policy: &str) -> Result<(), Refusal> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Policy {
        statement: serde_json::Value,
    }
    let refuse = |what: String| {
        let message = format!("The policy is not valid: {what}.");
        Err(Refusal::invalid_argument(message))
    };
    match serde_json::from_str(policy) {
        Ok(Policy { statement }) if statement.is_array() || statement.is_object() => Ok(()),
        Ok(_) => refuse("its Statement is neither an object nor a list".to_owned()),
        Err(error) => refuse(error.to_string()),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct GetResourcePolicy {
    #[serde(rename = "ResourceARN")]
    resource_arn: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct PolicyAnswer {
    policy: String,
}

impl Call for GetResourcePolicy {
    type Outcome = PolicyAnswer;
    type Answer = PolicyAnswer;

    fn check(&self, check: &mut Check) {
        check_resource(check, self.resource_arn.as_deref());
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<PolicyAnswer, Refusal> {
        let arn = self.resource_arn.as_deref().unwrap_or_default();
        let policy = service.get_resource_policy(arn, now)?;
        Ok(PolicyAnswer { policy })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct DeleteResourcePolicy {
    #[serde(rename = "ResourceARN")]
    resource_arn: Option<String>,
}

impl Call for DeleteResourcePolicy {
    type Outcome = Nothing;
    type Answer = Nothing;

    fn check(&self, check: &mut Check) {
        check_resource(check, self.resource_arn.as_deref());
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<Nothing, Refusal> {
        let arn = self.resource_arn.as_deref().unwrap_or_default();
        service.delete_resource_policy(arn, now)?;
        Ok(Nothing {})
    }
}
