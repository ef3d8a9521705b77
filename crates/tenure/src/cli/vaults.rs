//! `tenure vaults`: what authenticates at tool servers and at the hosts that environments reach. Names go in and out,
//! secrets only in.

use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Value, json};
use tenure_runtime::MASKED_BYTES_MIN;

use super::Context;
use super::client::Client;
use super::error::{CliError, Exit};
use super::output::{self, Column, age, text};
use super::{find, secret};

#[derive(Debug, Args)]
pub(crate) struct VaultsArgs {
    #[command(subcommand)]
    command: VaultsCommand,
}

#[derive(Debug, Subcommand)]
enum VaultsCommand {
    /// List vaults
    Ls,
    /// Create a vault
    Create {
        /// What people call it
        name: String,
    },
    /// Delete a vault with its credentials; sessions that use them go on until the next use
    Rm {
        /// Its name, its id, or the unique beginning of it
        vault: String,
    },
    /// List the credentials of a vault, and whether they work
    Show {
        /// Its name, its id, or the unique beginning of it
        vault: String,
    },
    /// Put a secret into a vault; it is read from standard input, or typed
    Add(AddArgs),
    /// Replace the secret of a credential
    Rotate {
        /// The vault
        vault: String,
        /// The credential's name, its id, or the unique beginning of it
        credential: String,
        /// Take the secret from this variable instead
        #[arg(long, value_name = "VARIABLE")]
        secret_env: Option<String>,
    },
    /// Delete a credential
    Remove {
        /// The vault
        vault: String,
        /// The credential's name, its id, or the unique beginning of it
        credential: String,
    },
    /// Sign in at a tool server with a browser, and keep the tokens in a vault
    SignIn {
        /// The vault
        vault: String,
        /// The server's address, for a new credential; or a credential that needs it, by name or id
        server: String,
        /// What a new credential is called
        #[arg(long, default_value = "sign-in")]
        name: String,
        /// The scopes to ask for
        #[arg(long)]
        scope: Option<String>,
        /// A client that is registered at the authorization server already
        #[arg(long, value_name = "ID")]
        client_id: Option<String>,
        /// Print the address and do not wait
        #[arg(long)]
        no_wait: bool,
    },
}

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).args(["server", "variable"])))]
struct AddArgs {
    /// The vault
    vault: String,
    /// What people call the credential
    name: String,
    /// A token for the tool server at this address
    #[arg(long, value_name = "URL")]
    server: Option<String>,
    /// A secret for hosts that environments reach, behind this variable
    #[arg(long, value_name = "VARIABLE")]
    variable: Option<String>,
    /// A host that the secret may go to; may be repeated [default: every host of a restricted network]
    #[arg(long = "host", value_name = "HOST", requires = "variable")]
    hosts: Vec<String>,
    /// Take the secret from this variable instead
    #[arg(long, value_name = "VARIABLE")]
    secret_env: Option<String>,
}

const PATH: &str = "/v1/vaults";
/// How often a sign-in is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(crate) async fn vaults(cx: &mut Context, args: &VaultsArgs) -> Result<Exit, CliError> {
    let client = cx.client()?;
    let now = cx.world.now;
    match &args.command {
        VaultsCommand::Ls => {
            let vaults = client.list(PATH, &[("order", "asc")]).await?;
            output::list(&mut cx.world.out, cx.format, &columns(now), &vaults)?;
        }
        VaultsCommand::Create { name } => {
            let created = client.post(PATH, &json!({ "name": name })).await?;
            output::one(&mut cx.world.out, cx.format, text(&created, "/id"), &created)?;
        }
        VaultsCommand::Rm { vault } => {
            let id = self::vault(&client, vault).await?;
            let removed = client.delete(&format!("{PATH}/{id}")).await?;
            output::one(&mut cx.world.out, cx.format, &format!("removed {id}"), &removed)?;
        }
        VaultsCommand::Show { vault } => {
            let id = self::vault(&client, vault).await?;
            let found =
                client.list(&format!("/v1/tenure/vaults/{id}/credentials"), &[("order", "asc")]).await?;
            output::list(&mut cx.world.out, cx.format, &credential_columns(now), &found)?;
        }
        VaultsCommand::Add(add) => {
            let id = self::vault(&client, &add.vault).await?;
            let secret = secret::read(cx, add.secret_env.as_deref(), "secret")?;
            let auth = match (&add.server, &add.variable) {
                (Some(url), _) => {
                    json!({"type": "static_bearer", "mcp_server_url": url, "token": secret.expose()})
                }
                (None, variable) => {
                    let networking = match add.hosts.is_empty() {
                        true => json!({"type": "unrestricted"}),
                        false => json!({"type": "limited", "allowed_hosts": add.hosts}),
                    };
                    json!({"type": "environment_variable", "secret_name": variable,
                        "secret_value": secret.expose(), "networking": networking})
                }
            };
            let body = json!({"name": add.name, "auth": auth});
            let created = client.post(&format!("{PATH}/{id}/credentials"), &body).await?;
            warn_of(cx, secret.expose())?;
            output::one(&mut cx.world.out, cx.format, text(&created, "/id"), &created)?;
        }
        VaultsCommand::Rotate { vault, credential, secret_env } => {
            let id = self::vault(&client, vault).await?;
            let found = self::credential(&client, &id, credential).await?;
            let secret = secret::read(cx, secret_env.as_deref(), "secret")?;
            let kind = text(&found, "/auth/type");
            let member = match kind {
                "static_bearer" => "token",
                "mcp_oauth" => "access_token",
                _ => "secret_value",
            };
            let mut auth = json!({ "type": kind });
            auth[member] = json!(secret.expose());
            let path = format!("{PATH}/{id}/credentials/{}", text(&found, "/id"));
            let rotated = client.post(&path, &json!({ "auth": auth })).await?;
            warn_of(cx, secret.expose())?;
            output::one(&mut cx.world.out, cx.format, text(&rotated, "/id"), &rotated)?;
        }
        VaultsCommand::Remove { vault, credential } => {
            let id = self::vault(&client, vault).await?;
            let found = self::credential(&client, &id, credential).await?;
            let credential = text(&found, "/id");
            let removed = client.delete(&format!("{PATH}/{id}/credentials/{credential}")).await?;
            output::one(&mut cx.world.out, cx.format, &format!("removed {credential}"), &removed)?;
        }
        VaultsCommand::SignIn { vault, server, name, scope, client_id, no_wait } => {
            let id = self::vault(&client, vault).await?;
            let mut body = match server.contains("://") {
                true => json!({"mcp_server_url": server, "name": name}),
                false => {
                    let found = self::credential(&client, &id, server).await?;
                    json!({"credential_id": text(&found, "/id")})
                }
            };
            body["scope"] = json!(scope);
            body["client_id"] = json!(client_id);
            let started = client.post(&format!("/v1/tenure/vaults/{id}/sign_ins"), &body).await?;
            cx.note("open this address in a browser of your own, within a quarter of an hour:")?;
            cx.note(text(&started, "/authorization_url"))?;
            let done = match no_wait {
                true => started,
                false => signed_in(&client, text(&started, "/id")).await?,
            };
            let said =
                if *no_wait { text(&done, "/authorization_url") } else { text(&done, "/credential_id") };
            output::one(&mut cx.world.out, cx.format, said, &done)?;
        }
    }
    Ok(Exit::Done)
}

/// Says what comes of a secret that is too short to be masked.
fn warn_of(cx: &mut Context, secret: &str) -> Result<(), CliError> {
    if secret.len() >= MASKED_BYTES_MIN {
        return Ok(());
    }
    cx.note(&format!(
        "the secret has fewer than {MASKED_BYTES_MIN} bytes and is not masked where it comes back; take a longer one"
    ))
}

/// Waits until the browser has come back.
async fn signed_in(client: &Client, id: &str) -> Result<Value, CliError> {
    loop {
        let sign_in = client.get(&format!("/v1/tenure/sign_ins/{id}"), &[]).await?;
        match text(&sign_in, "/status") {
            "done" => return Ok(sign_in),
            "failed" => {
                return Err(CliError::failed("sign_in", "the sign-in came to nothing")
                    .cause(text(&sign_in, "/error"))
                    .fix("begin it again"));
            }
            _ => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

async fn vault(client: &Client, typed: &str) -> Result<String, CliError> {
    let vaults = client.list(PATH, &[]).await?;
    named("vault", "vault_", typed, &vaults, "tenure vaults ls").map(|found| text(found, "/id").to_owned())
}

async fn credential(client: &Client, vault: &str, typed: &str) -> Result<Value, CliError> {
    let found = client.list(&format!("{PATH}/{vault}/credentials"), &[]).await?;
    named("credential", "cred_", typed, &found, &format!("tenure vaults show {vault}")).cloned()
}

/// What `typed` means: a name that only one has, an id, or the unique beginning of one.
fn named<'a>(
    what: &str,
    prefix: &str,
    typed: &str,
    found: &'a [Value],
    list: &str,
) -> Result<&'a Value, CliError> {
    let mut by_name = found.iter().filter(|one| text(one, "/name") == typed);
    if let (Some(one), None) = (by_name.next(), by_name.next()) {
        return Ok(one);
    }
    let ids: Vec<&str> = found.iter().map(|one| text(one, "/id")).collect();
    let id = find::one_of(what, prefix, typed, &ids, list)?;
    let one = found.iter().find(|one| text(one, "/id") == id);
    one.ok_or_else(|| CliError::not_found(format!("no {what} `{typed}`")))
}

fn columns(now: i64) -> [Column; 3] {
    [Column::at("ID", "/id"), Column::at("NAME", "/name"), aged(now)]
}

fn credential_columns(now: i64) -> [Column; 6] {
    [
        Column::at("ID", "/id"),
        Column::at("NAME", "/name"),
        Column::at("TYPE", "/auth/type"),
        Column::new("FOR", |credential| {
            let url = text(credential, "/auth/mcp_server_url");
            if url.is_empty() { text(credential, "/auth/secret_name") } else { url }.to_owned()
        }),
        Column::at("STATE", "/state/type"),
        aged(now),
    ]
}

fn aged(now: i64) -> Column {
    Column::new("AGE", move |row| {
        row.get("created_at").and_then(Value::as_i64).map(|at| age(now, at)).unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::Format;
    use crate::cli::output::tests::Captured;

    #[test]
    fn lists_credentials_with_their_state() {
        let found = [
            json!({"id": "cred_1", "name": "crm", "created_at": 40, "state": {"type": "needs_sign_in"},
                "auth": {"type": "mcp_oauth", "mcp_server_url": "https://crm.example/mcp"}}),
            json!({"id": "cred_2", "name": "api", "created_at": 40, "state": {"type": "ready"},
                "auth": {"type": "environment_variable", "secret_name": "API_KEY"}}),
        ];
        let captured = Captured::default();
        output::list(&mut captured.output(), Format::Table, &credential_columns(100), &found)
            .expect("written");
        assert_eq!(
            captured.text(),
            "ID      NAME  TYPE                  FOR                      STATE          AGE\n\
             cred_1  crm   mcp_oauth             https://crm.example/mcp  needs_sign_in  1m\n\
             cred_2  api   environment_variable  API_KEY                  ready          1m\n"
        );
    }

    #[test]
    fn a_name_that_two_have_is_not_enough() {
        let found = [
            json!({"id": "vault_1", "name": "team"}),
            json!({"id": "vault_2", "name": "team"}),
            json!({"id": "vault_3", "name": "mine"}),
        ];
        let pick =
            |typed| named("vault", "vault_", typed, &found, "tenure vaults ls").map(|one| text(one, "/id"));
        assert_eq!(pick("mine").expect("one"), "vault_3");
        assert_eq!(pick("vault_1").expect("one"), "vault_1");
        assert!(pick("team").is_err());
        assert!(pick("none").is_err());
    }
}
