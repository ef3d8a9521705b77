//! `tenure webhooks`: addresses that are told of what happens to sessions.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Context;
use super::client::Client;
use super::error::{CliError, Exit};
use super::find;
use super::output::{self, Column, age, text};

#[derive(Debug, Args)]
pub(crate) struct WebhooksArgs {
    #[command(subcommand)]
    command: WebhooksCommand,
}

#[derive(Debug, Subcommand)]
enum WebhooksCommand {
    /// List webhooks; their secrets are never shown again
    Ls,
    /// Add a webhook and print its secret, once
    Add {
        /// Where messages go
        // Not `url`: that is the server's, for every command.
        #[arg(value_name = "URL")]
        address: String,
        /// What people call it
        #[arg(long)]
        name: Option<String>,
        /// Only events of this type, such as agent.session.idle; may be repeated
        #[arg(long = "event", value_name = "TYPE")]
        events: Vec<String>,
    },
    /// Remove a webhook with its dead letters
    Rm {
        /// Its id, or the unique beginning of it
        id: String,
    },
    /// Give a webhook a new secret and print it, once
    Rotate {
        /// Its id, or the unique beginning of it
        id: String,
        /// Hours for which messages are also signed with the secret before
        #[arg(long, value_name = "HOURS", default_value_t = 24)]
        overlap: u64,
    },
    /// List deliveries that failed too often
    Dead {
        /// The webhook's id, or the unique beginning of it
        id: String,
    },
    /// Send a dead letter again
    Redeliver {
        /// The webhook's id, or the unique beginning of it
        id: String,
        /// The dead letter's id, or the unique beginning of it
        delivery: String,
    },
}

const PATH: &str = "/v1/tenure/webhooks";
const SECRET_NOTE: &str = "this is the only time the secret is shown";
const SECS_PER_HOUR: u64 = 3600;

pub(crate) async fn webhooks(cx: &mut Context, args: &WebhooksArgs) -> Result<Exit, CliError> {
    let client = cx.client()?;
    let now = cx.world.now;
    match &args.command {
        WebhooksCommand::Ls => {
            let webhooks = client.list(PATH, &[]).await?;
            output::list(&mut cx.world.out, cx.format, &columns(now), &webhooks)?;
        }
        WebhooksCommand::Add { address, name, events } => {
            let mut body = json!({"url": address, "name": name});
            if !events.is_empty() {
                body["event_types"] = json!(events);
            }
            let created = client.post(PATH, &body).await?;
            cx.note(&format!("{}: {SECRET_NOTE}", text(&created, "/id")))?;
            output::one(&mut cx.world.out, cx.format, text(&created, "/signing_secret"), &created)?;
        }
        WebhooksCommand::Rm { id } => {
            let id = webhook(&client, id).await?;
            let removed = client.delete(&format!("{PATH}/{id}")).await?;
            output::one(&mut cx.world.out, cx.format, &format!("removed {id}"), &removed)?;
        }
        WebhooksCommand::Rotate { id, overlap } => {
            let id = webhook(&client, id).await?;
            let body = json!({"overlap_seconds": overlap.saturating_mul(SECS_PER_HOUR)});
            let rotated = client.post(&format!("{PATH}/{id}/rotate_secret"), &body).await?;
            cx.note(SECRET_NOTE)?;
            output::one(&mut cx.world.out, cx.format, text(&rotated, "/signing_secret"), &rotated)?;
        }
        WebhooksCommand::Dead { id } => {
            let id = webhook(&client, id).await?;
            let dead = client.list(&format!("{PATH}/{id}/dead_letters"), &[]).await?;
            output::list(&mut cx.world.out, cx.format, &dead_columns(now), &dead)?;
        }
        WebhooksCommand::Redeliver { id, delivery } => {
            let id = webhook(&client, id).await?;
            let dead = client.list(&format!("{PATH}/{id}/dead_letters"), &[]).await?;
            let ids: Vec<&str> = dead.iter().map(|dead| text(dead, "/id")).collect();
            let list = format!("tenure webhooks dead {id}");
            let delivery = find::one_of("dead letter", "dlv_", delivery, &ids, &list)?;
            client.post(&format!("{PATH}/{id}/dead_letters/{delivery}/redeliver"), &json!({})).await?;
            let sent = json!({"id": delivery, "object": "tenure.webhook.delivery"});
            output::one(&mut cx.world.out, cx.format, &format!("sending {delivery} again"), &sent)?;
        }
    }
    Ok(Exit::Done)
}

async fn webhook(client: &Client, typed: &str) -> Result<String, CliError> {
    let webhooks = client.list(PATH, &[]).await?;
    let ids: Vec<&str> = webhooks.iter().map(|webhook| text(webhook, "/id")).collect();
    find::one_of("webhook", "wh_", typed, &ids, "tenure webhooks ls")
}

fn columns(now: i64) -> [Column; 5] {
    [
        Column::at("ID", "/id"),
        Column::at("NAME", "/name"),
        Column::at("URL", "/url"),
        Column::new("EVENTS", |webhook| {
            let events = webhook.get("event_types").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            let short = |event: &Value| {
                let event = event.as_str().unwrap_or_default();
                event.strip_prefix("agent.session.").unwrap_or(event).to_owned()
            };
            events.iter().map(short).collect::<Vec<_>>().join(",")
        }),
        aged("AGE", "created_at", now),
    ]
}

fn dead_columns(now: i64) -> [Column; 5] {
    [
        Column::at("ID", "/id"),
        Column::at("EVENT", "/event_type"),
        Column::at("SESSION", "/session_id"),
        Column::at("ERROR", "/last_error"),
        aged("FAILED", "failed_at", now),
    ]
}

fn aged(title: &'static str, key: &'static str, now: i64) -> Column {
    Column::new(title, move |row| {
        row.get(key).and_then(Value::as_i64).map(|at| age(now, at)).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Format;
    use crate::cli::output::tests::Captured;

    #[test]
    fn lists_webhooks_and_dead_letters() {
        let webhooks = [json!({"id": "wh_1", "name": "crm", "url": "https://crm.example/hook",
            "event_types": ["agent.session.idle", "agent.session.failed"], "created_at": 40})];
        let captured = Captured::default();
        output::list(&mut captured.output(), Format::Table, &columns(100), &webhooks).expect("written");
        assert_eq!(
            captured.text(),
            "ID    NAME  URL                       EVENTS       AGE\n\
             wh_1  crm   https://crm.example/hook  idle,failed  1m\n"
        );
        let dead = [json!({"id": "dlv_1", "event_type": "agent.session.idle", "session_id": "sess_1",
            "last_error": "the receiver took too long", "failed_at": 100})];
        let captured = Captured::default();
        output::list(&mut captured.output(), Format::Table, &dead_columns(100), &dead).expect("written");
        assert_eq!(
            captured.text(),
            "ID     EVENT               SESSION  ERROR                       FAILED\n\
             dlv_1  agent.session.idle  sess_1   the receiver took too long  0s\n"
        );
    }
}
