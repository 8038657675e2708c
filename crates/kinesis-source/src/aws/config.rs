use std::{fmt, sync::Arc, time::Duration};

use aws_config::{
    BehaviorVersion, SdkConfig, profile::ProfileFileCredentialsProvider,
    provider_config::ProviderConfig,
};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_kinesis::{
    Client,
    config::{
        Builder, Credentials, ProvideCredentials, Region, SharedCredentialsProvider,
        SharedHttpClient, SharedInterceptor, retry::RetryConfig, timeout::TimeoutConfig,
    },
};
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode};
use http::Uri;

use super::{
    AwsKinesis, FailedBeneath,
    clock::{ReadDate, ServiceClock},
    protocol::Protocol,
    stream_address::StreamAddress,
};

/// Why a stream of the real Kinesis cannot be spoken to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AwsConfigError {
    /// Neither a stream's name nor its ARN: pass one of them.
    #[error("not a stream's name or ARN: {found:?}")]
    InvalidStream {
        /// What was passed.
        found: String,
    },
    /// No URL of a server: pass one, or none for AWS's own.
    #[error("not the URL of an endpoint, as http://localhost:4567: {found:?}")]
    InvalidEndpoint {
        /// What was passed.
        found: String,
    },
    /// No region is set anywhere.
    #[error(
        "no AWS region found: pass one, set AWS_REGION, or choose a profile that has one \
         (AWS_PROFILE)"
    )]
    NoRegion,
    /// No credentials are set anywhere.
    #[error(
        "no AWS credentials found: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, choose a \
         profile that has some (AWS_PROFILE), or run where a role is available"
    )]
    NoCredentials,
    /// The profile that was passed has no credentials, or does not exist.
    #[error(
        "no AWS credentials found in profile {profile:?}: see that ~/.aws/config or \
         ~/.aws/credentials has it, or choose another"
    )]
    NoProfile {
        /// What was passed.
        profile: String,
    },
    /// Where credentials should come from is known, and they do not come.
    #[error("the AWS credentials cannot be loaded: mend what is beneath, or choose other ones")]
    CredentialsFailed {
        /// What went wrong.
        source: FailedBeneath,
    },
}

/// Finds out, the way all AWS programs do, how to speak to a stream. Made by
/// [`AwsKinesis::builder`].
///
/// What is not passed here comes from the environment (`AWS_REGION`, `AWS_PROFILE`,
/// `AWS_ENDPOINT_URL`, …), the files in `~/.aws`, or the machine's role.
#[derive(Clone)]
#[must_use = "nothing is looked up before `load`"]
pub struct AwsKinesisBuilder {
    stream: String,
    endpoint_url: Option<String>,
    region: Option<String>,
    profile: Option<String>,
    timeouts: TimeoutConfig,
}

/// How long it may take to connect to the service.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the service may take until its answer begins.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a call may take in all. An answer may be 10 MiB long.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);

/// How long credentials may take: a role's are three calls away, some with retries.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a connection may idle. Local servers close it after a minute, and a call that is sent
/// just then fails.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

impl AwsKinesis {
    /// Starts to configure the `stream` of this name or ARN the way all AWS programs do.
    pub fn builder(stream: impl Into<String>) -> AwsKinesisBuilder {
        AwsKinesisBuilder {
            stream: stream.into(),
            endpoint_url: None,
            region: None,
            profile: None,
            timeouts: default_timeouts(),
        }
    }

    /// The `stream` of this name or ARN, with a configuration that was loaded elsewhere. Retries
    /// are turned off; time-outs and the HTTP client are set where it has none.
    ///
    /// # Errors
    ///
    /// [`InvalidStream`](AwsConfigError::InvalidStream), [`NoRegion`](AwsConfigError::NoRegion)
    /// and [`NoCredentials`](AwsConfigError::NoCredentials). Credentials are not loaded by this.
    pub fn from_sdk_config(
        config: &SdkConfig,
        stream: impl AsRef<str>,
    ) -> Result<Self, AwsConfigError> {
        let stream = parse_stream(stream.as_ref())?;
        if config.credentials_provider().is_none() {
            return Err(AwsConfigError::NoCredentials);
        }
        assemble(Builder::from(config), stream)
    }

    /// The `stream` of this name or ARN, with a configuration of Kinesis made elsewhere, which must
    /// have a provider of credentials. Retries are turned off; time-outs and the HTTP client are
    /// set where it has none.
    ///
    /// # Errors
    ///
    /// [`InvalidStream`](AwsConfigError::InvalidStream) and
    /// [`NoRegion`](AwsConfigError::NoRegion). Credentials are not loaded by this.
    pub fn from_conf(config: Builder, stream: impl AsRef<str>) -> Result<Self, AwsConfigError> {
        assemble(config, parse_stream(stream.as_ref())?)
    }

    /// The `stream` of this name at a stand-in for Kinesis, as `http://127.0.0.1:4567`, that does
    /// not check who calls. Nothing is looked up: no environment, no files, no credentials.
    ///
    /// # Errors
    ///
    /// [`InvalidStream`](AwsConfigError::InvalidStream) and
    /// [`InvalidEndpoint`](AwsConfigError::InvalidEndpoint).
    pub fn local(endpoint_url: &str, stream: impl AsRef<str>) -> Result<Self, AwsConfigError> {
        let nobody = Credentials::new("nobody", "nothing", None, None, "local");
        let config = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .credentials_provider(nobody)
            .endpoint_url(parse_endpoint(endpoint_url)?);
        Self::from_conf(config, stream)
    }
}

impl AwsKinesisBuilder {
    /// The server to call, as `http://localhost:4567`, instead of AWS's own of the region.
    pub fn endpoint_url(mut self, url: impl Into<String>) -> Self {
        self.endpoint_url = Some(url.into());
        self
    }

    /// The region to call. Without it, that of the stream's ARN, then what the environment says.
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// The profile of `~/.aws/config` to use. Credentials then come from it and nowhere else.
    pub fn profile(mut self, name: impl Into<String>) -> Self {
        self.profile = Some(name.into());
        self
    }

    /// How long it may take to connect. Default: 5 seconds.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.timeouts = self.timeouts.into_builder().connect_timeout(limit).build();
        self
    }

    /// How long the service may take until its answer begins. Default: 15 seconds.
    pub fn answer_timeout(mut self, limit: Duration) -> Self {
        self.timeouts = self.timeouts.into_builder().read_timeout(limit).build();
        self
    }

    /// How long a call may take in all, with connecting and reading the answer, which may be
    /// 10 MiB long. Default: 30 seconds.
    pub fn attempt_timeout(mut self, limit: Duration) -> Self {
        let timeouts = self.timeouts.into_builder();
        self.timeouts = timeouts.operation_attempt_timeout(limit).build();
        self
    }

    /// Checks the stream and the endpoint that were passed. [`load`](Self::load) does so, too; this
    /// looks nothing up, and so tells wrong usage from what is amiss elsewhere.
    ///
    /// # Errors
    ///
    /// [`InvalidStream`](AwsConfigError::InvalidStream) and
    /// [`InvalidEndpoint`](AwsConfigError::InvalidEndpoint).
    pub fn check(&self) -> Result<(), AwsConfigError> {
        parse_stream(&self.stream)?;
        self.endpoint_url
            .as_deref()
            .map_or(Ok(()), |url| parse_endpoint(url).map(drop))
    }

    /// Looks everything up, and loads the credentials once to see that there are some.
    ///
    /// # Errors
    ///
    /// Any [`AwsConfigError`]. The stream itself is not asked for.
    ///
    /// # Cancel safety
    ///
    /// Safe: it only reads.
    pub async fn load(self) -> Result<AwsKinesis, AwsConfigError> {
        let stream = parse_stream(&self.stream)?;
        let config = self.load_sdk_config(&stream).await?;
        if config.region().is_none() {
            return Err(AwsConfigError::NoRegion);
        }
        let provider = self.credentials_provider(&config)?;
        load_once(&provider)
            .await
            .map_err(|error| self.explain(&error))?;
        let config = Builder::from(&config).credentials_provider(provider);
        assemble(config.timeout_config(self.timeouts), stream)
    }

    fn explain(&self, error: &CredentialsError) -> AwsConfigError {
        match (error, &self.profile) {
            (CredentialsError::CredentialsNotLoaded(_), None) => AwsConfigError::NoCredentials,
            (CredentialsError::CredentialsNotLoaded(_), Some(profile)) => {
                AwsConfigError::NoProfile {
                    profile: profile.clone(),
                }
            }
            _ => AwsConfigError::CredentialsFailed {
                source: FailedBeneath::new(error),
            },
        }
    }

    /// A profile that was passed is the only place to look in. The SDK would look into the
    /// environment's `AWS_ACCESS_KEY_ID` first, and so take another account's credentials.
    fn credentials_provider(
        &self,
        config: &SdkConfig,
    ) -> Result<SharedCredentialsProvider, AwsConfigError> {
        let Some(profile) = &self.profile else {
            let provider = config.credentials_provider();
            return provider.ok_or(AwsConfigError::NoCredentials);
        };
        let surroundings = ProviderConfig::without_region()
            .with_http_client(http_client())
            .with_region(config.region().cloned());
        let provider = ProfileFileCredentialsProvider::builder()
            .configure(&surroundings)
            .profile_name(profile)
            .build();
        Ok(SharedCredentialsProvider::new(provider))
    }

    async fn load_sdk_config(&self, stream: &StreamAddress) -> Result<SdkConfig, AwsConfigError> {
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http_client());
        if let Some(region) = self.region.as_deref().or(stream.region()) {
            loader = loader.region(Region::new(region.to_owned()));
        }
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(url) = &self.endpoint_url {
            loader = loader.endpoint_url(parse_endpoint(url)?);
        }
        Ok(loader.load().await)
    }
}

impl fmt::Debug for AwsKinesisBuilder {
    /// Without the endpoint, which may have a password in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsKinesisBuilder")
            .field("stream", &self.stream)
            .field("region", &self.region)
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

fn parse_stream(text: &str) -> Result<StreamAddress, AwsConfigError> {
    StreamAddress::parse(text).ok_or_else(|| AwsConfigError::InvalidStream {
        found: text.to_owned(),
    })
}

fn parse_endpoint(url: &str) -> Result<&str, AwsConfigError> {
    match url.parse() {
        Ok(uri) if is_endpoint(&uri) => Ok(url),
        _ => Err(AwsConfigError::InvalidEndpoint {
            found: url.to_owned(),
        }),
    }
}

fn is_endpoint(uri: &Uri) -> bool {
    let Some(authority) = uri.authority() else {
        return false;
    };
    let place = authority.as_str().rsplit('@').next().unwrap_or_default();
    let port = match place.strip_prefix(authority.host()) {
        Some("") => true,
        Some(rest) => rest
            .strip_prefix(':')
            .is_some_and(|port| port.parse::<u16>().is_ok()),
        None => false,
    };
    matches!(uri.scheme_str(), Some("http" | "https")) && !authority.host().is_empty() && port
}

async fn load_once(provider: &SharedCredentialsProvider) -> Result<(), CredentialsError> {
    let loading = provider.provide_credentials();
    match tokio::time::timeout(CREDENTIALS_TIMEOUT, loading).await {
        Ok(loaded) => loaded.map(drop),
        Err(_) => Err(CredentialsError::provider_timed_out(CREDENTIALS_TIMEOUT)),
    }
}

/// What every way of configuring ends with.
fn assemble(config: Builder, stream: StreamAddress) -> Result<AwsKinesis, AwsConfigError> {
    let given = config.clone().build();
    let region = given.region().cloned();
    let region = region.or_else(|| stream.region().map(|name| Region::new(name.to_owned())));
    let mut timeouts = given
        .timeout_config()
        .cloned()
        .unwrap_or_else(default_timeouts);
    timeouts.take_defaults_from(&default_timeouts());

    let clock = Arc::new(ServiceClock::default());
    let mut config = config
        .region(Some(region.ok_or(AwsConfigError::NoRegion)?))
        .timeout_config(timeouts)
        .retry_config(RetryConfig::disabled());
    config.push_interceptor(SharedInterceptor::new(ReadDate(Arc::clone(&clock))));
    if given.protocol().is_none() {
        config = config.protocol(Protocol::new());
    }
    if given.http_client().is_none() {
        config = config.http_client(http_client());
    }
    Ok(AwsKinesis {
        client: Client::from_conf(config.build()),
        stream,
        clock,
        arn: Arc::default(),
    })
}

fn default_timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(ANSWER_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .build()
}

/// One for TLS and plain HTTP. ring, because aws-lc takes a C compiler and a minute.
fn http_client() -> SharedHttpClient {
    // Where a machine has no certificates, a debug build of the SDK's client would panic, even if
    // all it is to do is plain HTTP.
    let has_certificates = !rustls_native_certs::load_native_certs().certs.is_empty();
    let trusted = TrustStore::default().with_native_roots(has_certificates);
    let client = aws_smithy_http_client::Builder::new()
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tls_provider(Provider::Rustls(CryptoMode::Ring));
    match TlsContext::builder().with_trust_store(trusted).build() {
        Ok(context) => client.tls_context(context).build_https(),
        // Never so far: the SDK's builder has no error. Its own default would do as well.
        Err(_) => client.build_https(),
    }
}

#[cfg(test)]
mod tests {
    use aws_smithy_json::protocol::aws_json_rpc::AwsJsonRpcProtocol;

    use super::*;

    #[test]
    fn no_call_goes_without_its_time_outs() {
        let second = Duration::from_secs(1);
        let given = TimeoutConfig::builder().connect_timeout(second).build();
        for (given, connect) in [(Some(given), second), (None, CONNECT_TIMEOUT)] {
            let mut config = Builder::new().region(Region::new("eu-central-1"));
            config.set_timeout_config(given);
            let api = AwsKinesis::from_conf(config, "orders").unwrap();
            let timeouts = api.client.config().timeout_config().unwrap();
            assert_eq!(timeouts.connect_timeout(), Some(connect));
            assert_eq!(timeouts.read_timeout(), Some(ANSWER_TIMEOUT));
            assert_eq!(timeouts.operation_attempt_timeout(), Some(ATTEMPT_TIMEOUT));
        }
    }

    #[test]
    fn a_protocol_that_was_chosen_is_kept() {
        let other = AwsJsonRpcProtocol::aws_json_1_0();
        let config = Builder::new().region(Region::new("eu-central-1"));
        for (config, expected) in [
            (config.clone(), "awsJson1_1"),
            (config.protocol(other), "awsJson1_0"),
        ] {
            let api = AwsKinesis::from_conf(config, "orders").unwrap();
            let protocol = api.client.config().protocol().unwrap();
            assert_eq!(protocol.protocol_id().shape_name(), expected);
        }
    }

    #[test]
    fn an_endpoint_is_a_url_with_a_host() {
        for good in [
            "http://localhost:4567",
            "https://[::1]/x",
            "http://127.0.0.1",
            "http://someone@host:1/path",
        ] {
            assert!(parse_endpoint(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "localhost:4567",
            "http://",
            "ftp://x",
            "http:// x",
            "http:///x",
            "not a url",
            "http://a b",
            "http://localhost:",
            "http://localhost:99999",
            "http://localhost:port",
            "http://[::1",
        ] {
            assert!(parse_endpoint(bad).is_err(), "{bad}");
        }
    }
}
