use aws_sdk_kinesis::{
    config::{
        ConfigBag,
        endpoint::Endpoint,
        http::{HttpRequest, HttpResponse},
    },
    operation::get_records::GetRecords,
};
use aws_smithy_json::protocol::aws_json_rpc::AwsJsonRpcProtocol;
use aws_smithy_schema::{
    Schema, ShapeId,
    codec::DynCodec,
    protocol::ClientProtocolInner,
    serde::{SerdeError, SerializableStruct, ShapeDeserializer},
};
use aws_smithy_types::error::metadata::Builder as ErrorMetadataBuilder;

use super::json::Json;

/// The SDK's protocol of Kinesis, with a faster way to read records, in answers and in events.
#[derive(Debug)]
pub(super) struct Protocol {
    sdk: AwsJsonRpcProtocol,
    json: Json,
}

impl Protocol {
    pub(super) fn new() -> Self {
        let namespace = GetRecords::OUTPUT_SCHEMA.shape_id().namespace();
        Self {
            sdk: AwsJsonRpcProtocol::aws_json_1_1().with_default_namespace(namespace),
            json: Json::new(),
        }
    }
}

impl ClientProtocolInner for Protocol {
    type Request = HttpRequest;
    type Response = HttpResponse;

    fn protocol_id(&self) -> &ShapeId<'static> {
        self.sdk.protocol_id()
    }

    fn serialize_request(
        &self,
        input: &dyn SerializableStruct,
        input_schema: &Schema<'_>,
        endpoint: &str,
        cfg: &ConfigBag,
    ) -> Result<HttpRequest, SerdeError> {
        self.sdk
            .serialize_request(input, input_schema, endpoint, cfg)
    }

    fn deserialize_response<'a>(
        &self,
        response: &'a HttpResponse,
        output_schema: &Schema<'_>,
        cfg: &'a ConfigBag,
    ) -> Result<Box<dyn ShapeDeserializer + 'a>, SerdeError> {
        match response.body().bytes() {
            Some(body) if output_schema.shape_id() == GetRecords::OUTPUT_SCHEMA.shape_id() => {
                Ok(DynCodec::create_deserializer(&self.json, body))
            }
            _ => self.sdk.deserialize_response(response, output_schema, cfg),
        }
    }

    fn parse_error_metadata(
        &self,
        response: &HttpResponse,
        cfg: &ConfigBag,
    ) -> Result<ErrorMetadataBuilder, SerdeError> {
        self.sdk.parse_error_metadata(response, cfg)
    }

    fn deserialize_error_response<'a>(
        &self,
        response: &'a HttpResponse,
        cfg: &'a ConfigBag,
    ) -> Result<Box<dyn ShapeDeserializer + 'a>, SerdeError> {
        self.sdk.deserialize_error_response(response, cfg)
    }

    fn update_endpoint(
        &self,
        request: &mut HttpRequest,
        endpoint: &Endpoint,
        cfg: &ConfigBag,
    ) -> Result<(), SerdeError> {
        self.sdk.update_endpoint(request, endpoint, cfg)
    }

    fn payload_codec(&self) -> Option<&dyn DynCodec> {
        Some(&self.json)
    }

    fn event_stream_media_type(&self) -> Option<&str> {
        self.sdk.event_stream_media_type()
    }

    fn parse_event_stream_error_metadata(
        &self,
        payload: &[u8],
    ) -> Result<ErrorMetadataBuilder, SerdeError> {
        self.sdk.parse_event_stream_error_metadata(payload)
    }
}
