use aws_sdk_kinesis::config::{BehaviorVersion, Builder, Credentials, Region};
use kinesis_source::{AwsConfigError, AwsKinesis};

/// The real SDK, set up by hand: it looks at nobody's environment or credentials.
pub(super) fn client(endpoint: &str, stream: &str) -> Result<AwsKinesis, AwsConfigError> {
    let nobody = Credentials::new("nobody", "nothing", None, None, "kinesis-tail demo");
    let config = Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(nobody)
        .endpoint_url(endpoint);
    AwsKinesis::from_conf(config, stream)
}
