use serde::Deserialize;

use super::Call;
use crate::{
    model::{Moment, Refusal, Service},
    serve::{
        check::Check,
        wire::{Nothing, check_stream, stream_name},
    },
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Encryption {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    encryption_type: Option<String>,
    key_id: Option<String>,
}

impl Encryption {
    fn check(&self, check: &mut Check) {
        check_stream(
            check,
            self.stream_name.as_deref(),
            self.stream_arn.as_deref(),
        );
        let kind = self.encryption_type.as_deref();
        check.required("encryptionType", kind);
        check.one_of("encryptionType", kind, &["NONE", "KMS"]);
        check.required("keyId", self.key_id.as_ref());
        check.length("keyId", self.key_id.as_deref(), 1..=2_048);
    }

    fn stream(&self, service: &Service) -> Result<&str, Refusal> {
        if self.encryption_type.as_deref() != Some("KMS") {
            return Err(Refusal::invalid_argument(
                "The only valid EncryptionType is KMS.",
            ));
        }
        stream_name(
            service,
            self.stream_name.as_deref(),
            self.stream_arn.as_deref(),
        )
    }
}

#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct StartStreamEncryption(Encryption);

impl Call for StartStreamEncryption {
    type Outcome = Nothing;
    type Answer = Nothing;

    fn check(&self, check: &mut Check) {
        self.0.check(check);
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<Nothing, Refusal> {
        let key = self.0.key_id.as_deref().unwrap_or_default();
        let stream = self.0.stream(service)?;
        service.start_stream_encryption(stream, key, now)?;
        Ok(Nothing {})
    }
}

#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct StopStreamEncryption(Encryption);

impl Call for StopStreamEncryption {
    type Outcome = Nothing;
    type Answer = Nothing;

    fn check(&self, check: &mut Check) {
        self.0.check(check);
    }

    fn act(&self, service: &mut Service, now: Moment) -> Result<Nothing, Refusal> {
        let stream = self.0.stream(service)?;
        service.stop_stream_encryption(stream, now)?;
        Ok(Nothing {})
    }
}
