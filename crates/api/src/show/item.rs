//! Items.

use serde_json::{Value, json};
use tenure_journal::{
    AgentRef, FunctionOutput, InputPart, Item, ItemBody, ItemStatus, Phase, SubagentId, SubagentRequest,
};

use super::subagent::texts;

/// An item as lists and events show it.
pub(crate) fn item(item: &Item) -> Value {
    let mut shown = match &item.body {
        ItemBody::UserMessage { content, .. } => json!({
            "type": "message",
            "role": "user",
            "content": parts(content),
            "phase": null,
            "status": message_status(item.status),
        }),
        ItemBody::AssistantMessage { content, phase } => json!({
            "type": "message",
            "role": "assistant",
            "content": content.iter().map(|text| json!({"type": "output_text", "text": text})).collect::<Vec<_>>(),
            "phase": phase.map(phase_word),
            "status": message_status(item.status),
        }),
        ItemBody::Reasoning { summary, .. } => json!({
            "type": "reasoning",
            "summary": summary.iter().map(|text| json!({"type": "summary_text", "text": text})).collect::<Vec<_>>(),
            "status": message_status(item.status),
        }),
        ItemBody::FunctionCall { call_id, name, arguments, .. } => json!({
            "type": "function_call",
            "call_id": call_id,
            "name": name,
            "arguments": arguments,
            "status": item.status,
        }),
        ItemBody::FunctionCallOutput { call_id, output, error } => json!({
            "type": "function_call_output",
            "call_id": call_id,
            "output": output.as_ref().map(function_output),
            "error": error,
            "status": item.status,
        }),
        ItemBody::McpCall { server_label, name, arguments, output, error, .. } => json!({
            "type": "mcp_call",
            "server_label": server_label,
            "name": name,
            "arguments": arguments,
            "output": output,
            "error": error,
            "status": item.status,
        }),
        ItemBody::CommandExecution { command, cwd, output, exit_code, duration_ms, error, .. } => json!({
            "type": "command_execution",
            "command": command,
            "cwd": cwd,
            "output": output.as_ref().or(error.as_ref()),
            "exit_code": exit_code,
            "duration_ms": duration_ms,
            "status": item.status,
        }),
        ItemBody::SubagentCall { sender, request, .. } => subagent_call(*sender, request, item.status),
        ItemBody::AgentMessage { sender, recipient, content, .. } => json!({
            "type": "agent_message",
            "sender_agent_id": sender,
            "recipient_agent_id": recipient,
            "content": texts(content),
        }),
        // Never listed and never streamed; shown here for a reader of the journal only.
        ItemBody::InternalCall { call_id, name, arguments, output } => json!({
            "type": "internal_call",
            "call_id": call_id,
            "name": name,
            "arguments": arguments,
            "output": output,
            "status": item.status,
        }),
    };
    shown["id"] = json!(item.id);
    shown["turn_id"] = json!(item.turn_id);
    shown
}

fn subagent_call(sender: AgentRef, request: &SubagentRequest, status: ItemStatus) -> Value {
    let to = |kind: &str, recipient: &SubagentId| {
        json!({
            "type": kind,
            "sender_agent_id": sender,
            "recipient_agent_id": recipient,
            "status": status,
        })
    };
    match request {
        SubagentRequest::Create { task, model, effort, .. } => json!({
            "type": "create_subagent_call",
            "agent_id": sender,
            "content": texts([task]),
            "model": model,
            "reasoning_effort": effort,
            "status": status,
        }),
        SubagentRequest::SendInput { subagent_id, input } => {
            let mut shown = to("send_subagent_input_call", subagent_id);
            shown["content"] = texts([input]);
            shown
        }
        SubagentRequest::Resume { subagent_id } => to("resume_subagent_call", subagent_id),
        SubagentRequest::Interrupt { subagent_id } => to("interrupt_subagent_call", subagent_id),
        SubagentRequest::Close { subagent_id } => to("close_subagent_call", subagent_id),
        SubagentRequest::Wait { subagent_ids, .. } => json!({
            "type": "wait_for_subagents_call",
            "sender_agent_id": sender,
            "recipient_agent_ids": subagent_ids,
            "status": status,
        }),
    }
}

/// Messages and thinking know no failure: what was cut off is incomplete.
fn message_status(status: ItemStatus) -> &'static str {
    match status {
        ItemStatus::InProgress => "in_progress",
        ItemStatus::Completed => "completed",
        ItemStatus::Incomplete | ItemStatus::Failed => "incomplete",
    }
}

fn phase_word(phase: Phase) -> &'static str {
    match phase {
        Phase::Commentary => "commentary",
        Phase::FinalAnswer => "final_answer",
    }
}

pub(super) fn parts(content: &[InputPart]) -> Vec<Value> {
    let part = |part: &InputPart| match part {
        InputPart::Text { text } => json!({"type": "input_text", "text": text}),
        InputPart::Image { image_url } => json!({"type": "input_image", "image_url": image_url}),
    };
    content.iter().map(part).collect()
}

fn function_output(output: &FunctionOutput) -> Value {
    match output {
        FunctionOutput::Text(text) => json!(text),
        FunctionOutput::Content(content) => json!(parts(content)),
    }
}

#[cfg(test)]
mod tests {
    use tenure_journal::{ItemId, TurnId};

    use super::*;
    use crate::show::session::tests::fresh;

    #[track_caller]
    fn check(body: ItemBody, status: ItemStatus, expected: Value) {
        let fresh = fresh();
        let value = Item {
            id: ItemId::fresh(&fresh),
            turn_id: TurnId::fresh(&fresh),
            status,
            output_index: None,
            step: None,
            body,
            labels: tenure_journal::Labels::NEUTRAL,
        };
        let mut expected = expected;
        expected["id"] = json!(value.id);
        expected["turn_id"] = json!(value.turn_id);
        assert_eq!(item(&value), expected);
    }

    #[test]
    fn shows_each_type() {
        check(
            ItemBody::UserMessage {
                content: vec![InputPart::text("a"), InputPart::Image { image_url: "data:,".into() }],
                by_agent: false,
            },
            ItemStatus::Completed,
            json!({"type": "message", "role": "user", "phase": null, "status": "completed", "content": [
                {"type": "input_text", "text": "a"}, {"type": "input_image", "image_url": "data:,"}]}),
        );
        check(
            ItemBody::AssistantMessage { content: vec!["x".into()], phase: Some(Phase::FinalAnswer) },
            ItemStatus::Failed,
            json!({"type": "message", "role": "assistant", "phase": "final_answer", "status": "incomplete",
                "content": [{"type": "output_text", "text": "x"}]}),
        );
        check(
            ItemBody::Reasoning {
                summary: vec!["s".into()],
                encrypted: Some("opaque".into()),
                provider_id: Some("rs_1".into()),
                model: "m".into(),
            },
            ItemStatus::Completed,
            json!({"type": "reasoning", "status": "completed", "summary": [{"type": "summary_text", "text": "s"}]}),
        );
        check(
            ItemBody::FunctionCall {
                call_id: "c".into(),
                name: "f".into(),
                arguments: json!({"n": 1}),
                is_async: false,
            },
            ItemStatus::InProgress,
            json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": {"n": 1}, "status": "in_progress"}),
        );
        check(
            ItemBody::FunctionCallOutput {
                call_id: "c".into(),
                output: Some(FunctionOutput::Text("ok".into())),
                error: None,
            },
            ItemStatus::Completed,
            json!({"type": "function_call_output", "call_id": "c", "output": "ok", "error": null, "status": "completed"}),
        );
        check(
            ItemBody::McpCall {
                call_id: "c".into(),
                tool: "s__t".into(),
                server_label: "s".into(),
                name: "t".into(),
                arguments: json!({}),
                output: None,
                error: Some("boom".into()),
                stored: None,
            },
            ItemStatus::Failed,
            json!({"type": "mcp_call", "server_label": "s", "name": "t", "arguments": {}, "output": null,
                "error": "boom", "status": "failed"}),
        );
    }
}
