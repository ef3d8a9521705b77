//! From what a person types to the thing meant: names and beginnings of ids.

use serde_json::Value;

use super::client::Client;
use super::error::CliError;
use super::output::text;

/// The path of all sessions.
pub(crate) const SESSIONS: &str = "/v1/agents/sessions";
/// The same sessions, each with the version of the agent that it runs.
pub(crate) const PINNED_SESSIONS: &str = "/v1/tenure/sessions";

/// The id of the session that `typed` means: an id, the unique beginning of one (`sess_` may be left
/// out), or `last` for the one opened last.
pub(crate) async fn session(client: &Client, typed: &str) -> Result<String, CliError> {
    if typed.parse::<tenure_journal::SessionId>().is_ok() {
        return Ok(typed.to_owned());
    }
    let sessions = client.list(SESSIONS, &[("order", "desc")]).await?;
    let ids: Vec<&str> = sessions.iter().map(|session| text(session, "/id")).collect();
    if typed == "last" {
        let last = ids.first().ok_or_else(|| CliError::not_found("there are no sessions"))?;
        return Ok((*last).to_owned());
    }
    one_of("session", "sess_", typed, &ids, "tenure ps")
}

/// The agent that `typed` means, by name or id; the only one if nothing was typed.
pub(crate) async fn agent(client: &Client, typed: Option<&str>) -> Result<Value, CliError> {
    let agents = client.list("/v1/agents", &[("order", "asc")]).await?;
    pick_agent(&agents, typed).cloned()
}

/// The id of the agent that `typed` means, by name or id. An id is taken as it is: the agent may be deleted
/// and its versions still be there.
pub(crate) async fn agent_id(client: &Client, typed: &str) -> Result<String, CliError> {
    if typed.parse::<tenure_journal::AgentId>().is_ok() {
        return Ok(typed.to_owned());
    }
    Ok(text(&agent(client, Some(typed)).await?, "/id").to_owned())
}

fn pick_agent<'a>(agents: &'a [Value], typed: Option<&str>) -> Result<&'a Value, CliError> {
    let names: Vec<&str> =
        agents.iter().map(|agent| text(agent, "/name")).filter(|name| !name.is_empty()).collect();
    let Some(typed) = typed else {
        return match agents {
            [only] => Ok(only),
            [] => Err(CliError::not_found("the server has no agents")
                .fix("write `agents/assistant.md` and run `tenure up`")),
            _ => {
                Err(CliError::usage("there are several agents")
                    .fix(format!("name one of: {}", names.join(", "))))
            }
        };
    };
    let by_id = agents.iter().find(|agent| text(agent, "/id") == typed);
    let by_name = || agents.iter().find(|agent| text(agent, "/name") == typed);
    by_id.or_else(by_name).ok_or_else(|| {
        let error = CliError::not_found(format!("there is no agent `{typed}`"));
        let near = names
            .iter()
            .map(|name| (strsim::damerau_levenshtein(name, typed), name))
            .filter(|(distance, name)| *distance <= 1.max(name.len() / 3))
            .min();
        match near {
            Some((_, near)) => error.fix(format!("did you mean `{near}`?")),
            None if names.is_empty() => error,
            None => error.fix(format!("name one of: {}", names.join(", "))),
        }
    })
}

/// The id that begins with `typed`, where only one does.
pub(crate) fn one_of(
    what: &str,
    prefix: &str,
    typed: &str,
    ids: &[&str],
    list: &str,
) -> Result<String, CliError> {
    let bare = typed.strip_prefix(prefix).unwrap_or(typed);
    let begins = |id: &&&str| !bare.is_empty() && id.strip_prefix(prefix).unwrap_or(id).starts_with(bare);
    let found: Vec<&&str> = ids.iter().filter(begins).collect();
    match found.as_slice() {
        [only] => Ok((**only).to_owned()),
        [] => Err(CliError::not_found(format!("there is no {what} `{typed}`")).fix(list)),
        several => {
            Err(CliError::usage(format!("`{typed}` begins the ids of {} {what}s", several.len())).fix(list))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn finds_by_the_beginning_of_an_id() {
        let ids = ["sess_0a1", "sess_0a2", "sess_0b1"];
        let find =
            |typed: &str| one_of("session", "sess_", typed, &ids, "tenure ps").map_err(|error| error.message);
        assert_eq!(find("0b").as_deref(), Ok("sess_0b1"));
        assert_eq!(find("sess_0a2").as_deref(), Ok("sess_0a2"));
        assert_eq!(find("0a").expect_err("two"), "`0a` begins the ids of 2 sessions");
        assert_eq!(find("x").expect_err("none"), "there is no session `x`");
        assert_eq!(find("").expect_err("none"), "there is no session ``");
    }

    #[test]
    fn finds_agents_by_name() {
        let agents = [json!({"id": "agt_1", "name": "refunds"}), json!({"id": "agt_2", "name": null})];
        let find = |typed| pick_agent(&agents, typed).map(|agent| text(agent, "/id").to_owned());
        assert_eq!(find(Some("refunds")).as_deref(), Ok("agt_1"));
        assert_eq!(find(Some("agt_2")).as_deref(), Ok("agt_2"));
        assert_eq!(find(Some("refund")).expect_err("near").fix.as_deref(), Some("did you mean `refunds`?"));
        assert_eq!(find(None).expect_err("two").code, "usage");
        assert_eq!(pick_agent(&agents[..1], None).map(|agent| text(agent, "/id")), Ok("agt_1"));
    }
}
