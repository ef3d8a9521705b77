//! Traces as OTLP/JSON: an `ExportTraceServiceRequest` in the JSON encoding of the OpenTelemetry protocol.
//! Ids are hexadecimal and 64-bit numbers are texts, as its specification says.

use serde_json::{Value, json};
use tenure_journal::{Timestamp, TurnId};

use crate::{Attribute, Span, SpanKind, Trace};

/// One request with these traces.
#[must_use]
pub fn request<'a>(traces: impl IntoIterator<Item = &'a Trace>) -> Value {
    let spans: Vec<Value> =
        traces.into_iter().flat_map(|trace| trace.spans.iter().map(|one| span(trace.turn_id, one))).collect();
    let version = env!("CARGO_PKG_VERSION");
    json!({"resourceSpans": [{
        "resource": {"attributes": [
            attribute("service.name", &Attribute::Text("tenure".into())),
            attribute("service.version", &Attribute::Text(version.into())),
        ]},
        "scopeSpans": [{"scope": {"name": "tenure", "version": version}, "spans": spans}],
    }]})
}

/// A turn's id is a UUID: sixteen bytes, as a trace's.
fn trace_id(turn: TurnId) -> String {
    format!("{:032x}", u128::from_be_bytes(*turn.as_bytes()))
}

fn span(turn: TurnId, span: &Span) -> Value {
    let kind = match span.kind {
        SpanKind::Internal => 1,
        SpanKind::Client => 3,
    };
    let mut attributes: Vec<Value> =
        span.attributes.iter().map(|(name, value)| attribute(name, value)).collect();
    let mut status = json!({});
    if let Some(error) = &span.error {
        attributes.push(attribute("error.type", &Attribute::Text(error.kind.clone())));
        status = json!({"code": 2, "message": error.message});
    }
    let mut shown = json!({
        "traceId": trace_id(turn),
        "spanId": span.id.to_string(),
        "name": span.name,
        "kind": kind,
        "startTimeUnixNano": nanos(span.start),
        "endTimeUnixNano": nanos(span.end),
        "attributes": attributes,
        "status": status,
    });
    if let Some(parent) = span.parent {
        shown["parentSpanId"] = json!(parent.to_string());
    }
    shown
}

fn nanos(at: Timestamp) -> String {
    let millis = u128::try_from(at.as_millis()).unwrap_or(0);
    (millis * 1_000_000).to_string()
}

fn attribute(name: &str, value: &Attribute) -> Value {
    let value = match value {
        Attribute::Text(text) => json!({"stringValue": text}),
        Attribute::Integer(number) => json!({"intValue": number.to_string()}),
        Attribute::Flag(flag) => json!({"boolValue": flag}),
    };
    json!({"key": name, "value": value})
}
