//! What an agent does in its environment, and what has to be done for that.
//!
//! An environment is prepared before the first turn; messages wait until it is ready. Commands and whatever
//! else changes its files are attempted one after the other, each on the files that the one before left. A
//! command that cannot reach the network may be repeated at will, because its files are put back first; one
//! that can may have done something that no repetition should do again.

use std::net::IpAddr;

use serde_json::{Value, json};
use tenure_journal::{
    ArtifactId, CommandRequest, Confidentiality, Effect, EffectId, EffectKind, EnvironmentFile, Event,
    Failure, ItemBody, ItemId, ItemStatus, Network, PermitRecord, Repeat, ToolEffect, TurnId, json as strict,
    limit,
};
use tenure_policy::{
    Action, Approved, EnvironmentFacts, HostFacts, Hosting, Permit, Reach, ToolFacts, ToolLabels, Verdict,
};

use super::Draft;
use super::answer::Call;
use super::approval::{COMMAND_RUN, Waiting};
use super::permission::{Asking, Judgement};
use crate::Refusal;
use crate::catalogue::{BUILTIN_LABEL, EnvironmentTool};

/// The policy named by the permit of what an environment needs by its settings: whoever may open the session
/// may have it.
const PREPARING: &str = "builtin.prepare-environment";
/// The policy named by the permit of what a client put there.
const PLACING: &str = "builtin.place-files";
/// The policy named by the permit of what a turn publishes: its own client is shown its own files.
const PUBLISHING: &str = "builtin.publish-artifacts";

impl Draft<'_> {
    /// Records that the environment is to be made ready, if there is one and that was never asked for.
    pub(super) fn prepare_environment(&mut self) {
        if self.state.hosted().is_some() && self.state.workspace_root().is_none() {
            self.request_unasked(None, EffectKind::PrepareEnvironment, PREPARING, &Value::Null);
        }
    }

    /// Records that the environment's files are lost, and that it is to be made ready anew.
    pub(super) fn reset_environment(&mut self) {
        self.push(Event::EnvironmentReset);
        self.request_unasked(None, EffectKind::PrepareEnvironment, PREPARING, &Value::Null);
    }

    /// Records that skills are to be installed in an environment that was made ready without them. It is made ready
    /// once more; by then that only adds what is missing.
    pub(super) fn install_skills(&mut self) {
        self.request_unasked(None, EffectKind::PrepareEnvironment, PREPARING, &Value::Null);
    }

    /// Records that skills are to be looked for on the customer's machine, if it names directories of them and that
    /// was not done yet.
    pub(super) fn find_skills(&mut self) {
        if self.state.wants_skills() {
            self.request_unasked(None, EffectKind::PrepareEnvironment, PREPARING, &Value::Null);
        }
    }

    /// Records that a client's files are to be placed.
    pub(super) fn place_files(&mut self, files: &[EnvironmentFile]) -> Result<(), Refusal> {
        if self.state.failed.is_some() {
            return Err(Refusal::Failed);
        }
        if self.state.hosted().is_none() || self.state.awaits_environment() {
            return Err(Refusal::NotConnected);
        }
        let waiting =
            self.state.pending().filter(|effect| matches!(effect.kind, EffectKind::PlaceFiles { .. }));
        let waiting = waiting.count();
        if waiting >= limit::FILES_PLACED_MAX {
            return Err(Refusal::QueueFull { waiting });
        }
        self.resume_environment();
        let bound = json!(files.iter().map(|file| (&file.path, &file.blob)).collect::<Vec<_>>());
        let kind = EffectKind::PlaceFiles { files: files.to_vec() };
        self.request_unasked(None, kind, PLACING, &bound);
        Ok(())
    }

    /// Records that the turn's files are to be published, if there may be any. Returns whether it did.
    pub(super) fn publish_artifacts(&mut self, turn_id: TurnId) -> bool {
        if !self.state.may_publish() {
            return false;
        }
        self.request_unasked(Some(turn_id), EffectKind::PublishArtifacts, PUBLISHING, &Value::Null);
        true
    }

    pub(super) fn delete_artifact(&mut self, artifact_id: ArtifactId) -> Result<(), Refusal> {
        if !self.state.artifacts().iter().any(|artifact| artifact.id == artifact_id) {
            return Err(Refusal::UnknownArtifact { artifact_id });
        }
        self.push(Event::ArtifactDeleted { artifact_id });
        Ok(())
    }

    /// What follows from a hosted environment that cannot be made ready: the session can do nothing.
    pub(super) fn environment_failed(&mut self, failure: &Failure) {
        // Skills that cannot be found are no reason to give up a machine that does the rest.
        if self.state.hosted().is_none() {
            return;
        }
        let message = format!("the environment could not be made ready: {}", failure.message);
        // One that is made ready anew may have a turn that runs, which ends before its session does.
        self.fail_turn("sandbox_error", message.clone());
        self.push(Event::SessionFailed { message });
    }

    /// Adds the item of a call and, unless policy refuses it, what carries it out. A call that makes no sense
    /// gives its id back, and why.
    pub(super) fn environment_call(
        &mut self,
        call: Call<'_>,
        tool: EnvironmentTool,
        arguments: Value,
    ) -> Result<(), (String, String)> {
        let request = match read(tool, &arguments, self.state.workspace_directory()) {
            Ok(request) => request,
            Err(error) => return Err((call.call_id, format!("Not run: {error}"))),
        };
        let bound = serde_json::to_value(&request).expect("a request holds only string keys and integers");
        let asking = self.asking();
        let judgement = self.judge_command(&request, &bound, None, asking);
        let untrusted = judgement.untrusted.clone();
        let verdict = self.pronounce(judgement);
        let (error, status) = match &verdict {
            Verdict::Allow(_) => (None, ItemStatus::InProgress),
            Verdict::Ask(_) if asking == Asking::Possible => (None, ItemStatus::InProgress),
            Verdict::Ask(_) | Verdict::Deny(_) => {
                (Some("Policy does not allow this command. It was not run.".to_owned()), ItemStatus::Failed)
            }
        };
        let (command, cwd) = shown(&request, self.state.workspace_directory());
        let body = ItemBody::CommandExecution {
            call_id: call.call_id,
            tool: call.name.to_owned(),
            arguments,
            command,
            cwd,
            output: None,
            error,
            exit_code: None,
            duration_ms: None,
            stored: None,
        };
        let turn_id = call.place.turn_id;
        let item_id = self.add(call.place, call.index, status, body);
        match verdict {
            Verdict::Allow(permit) => self.request_command(turn_id, item_id, request, &bound, permit),
            Verdict::Ask(hold) if asking == Asking::Possible => {
                let (action, server_label, name) = (COMMAND_RUN, BUILTIN_LABEL, tool.name());
                let arguments = bound;
                self.ask(
                    Waiting { turn_id, item_id, action, server_label, name, arguments, untrusted },
                    hold,
                );
            }
            Verdict::Ask(_) | Verdict::Deny(_) => {}
        }
        Ok(())
    }

    /// What policy says about a command: as a call of its tool, and as what it is.
    pub(super) fn judge_command(
        &self,
        request: &CommandRequest,
        bound: &Value,
        approved: Option<Approved<'_>>,
        asking: Asking,
    ) -> Judgement {
        let facts = ToolFacts {
            server: BUILTIN_LABEL,
            name: request.tool(),
            builtin: true,
            read_only: false,
            destructive: false,
            labels: ToolLabels::of_builtin(ToolEffect::Exec),
            parameters: None,
        };
        let call = Action::ToolCall { tool: facts, mode: self.state.agent.approval };
        let (hosting, id) = match self.state.self_hosted() {
            Some(own) => (Hosting::SelfHosted, own.id.to_string()),
            None => (Hosting::Hosted, self.state.hosted().map(|it| it.id.to_string()).unwrap_or_default()),
        };
        let environment = EnvironmentFacts { id: &id, hosting, network: self.reach() };
        let command = match request {
            CommandRequest::Shell { script, .. } => script,
            CommandRequest::Patch { patch } => patch,
        };
        let run = Action::CommandRun { environment, tool: request.tool(), command };
        self.judge(call, bound, approved, asking).and(self.judge(run, bound, approved, asking))
    }

    /// Records a command that is allowed, with the hosts that it is allowed to reach.
    pub(super) fn request_command(
        &mut self,
        turn_id: TurnId,
        item_id: ItemId,
        request: CommandRequest,
        bound: &Value,
        permit: Permit,
    ) {
        let hosts = match &request {
            CommandRequest::Shell { .. } => self.permitted_hosts(bound),
            CommandRequest::Patch { .. } => None,
        };
        let repeat = self.repeat_of(&request);
        self.request(Effect {
            id: EffectId::fresh(self.cx.fresh),
            turn_id: Some(turn_id),
            kind: EffectKind::Command { item_id, request, hosts },
            repeat,
            permit: permit.into_record(),
        });
    }

    /// The hosts of a restricted network that policy lets the command reach; nothing if that is all of them.
    /// Those that it does not are recorded.
    fn permitted_hosts(&mut self, bound: &Value) -> Option<Vec<String>> {
        let listed = match &self.state.hosted()?.network {
            Network::Restricted { allowed_domains } => allowed_domains.clone(),
            Network::Disabled | Network::Enabled => return None,
        };
        let (mut permitted, count) = (Vec::new(), listed.len());
        for name in listed {
            let host = HostFacts {
                name: &name,
                port: HTTPS_PORT,
                private: is_private(&name),
                clearance: Confidentiality::Internal,
            };
            match self.permit(Action::Connect { host, from_sandbox: true }, bound) {
                Verdict::Allow(_) => permitted.push(name),
                Verdict::Ask(_) | Verdict::Deny(_) => {}
            }
        }
        (permitted.len() < count).then_some(permitted)
    }

    fn reach(&self) -> Reach {
        match self.state.hosted().map(|hosted| &hosted.network) {
            None | Some(Network::Enabled) => Reach::Enabled,
            Some(Network::Restricted { .. }) => Reach::Restricted,
            Some(Network::Disabled) => Reach::Disabled,
        }
    }

    /// How a command may be repeated. Its files are put back before it runs again; what it may have sent is
    /// not. Nothing on a customer's machine can be put back.
    fn repeat_of(&self, request: &CommandRequest) -> Repeat {
        if self.state.self_hosted().is_some() {
            return Repeat::Never;
        }
        match (request, self.state.hosted().map(|hosted| &hosted.network)) {
            (CommandRequest::Patch { .. }, _) | (_, None | Some(Network::Disabled)) => Repeat::Freely,
            (CommandRequest::Shell { .. }, Some(Network::Restricted { .. } | Network::Enabled)) => {
                Repeat::Never
            }
        }
    }

    /// Records what is asked of no policy.
    fn request_unasked(&mut self, turn_id: Option<TurnId>, kind: EffectKind, policy: &str, bound: &Value) {
        let permit = PermitRecord {
            policies: vec![policy.to_owned()],
            policy_digest: String::new(),
            arguments_digest: strict::digest(bound),
            approval: None,
            grant: None,
            asked: Vec::new(),
        };
        let id = EffectId::fresh(self.cx.fresh);
        self.request(Effect { id, turn_id, kind, repeat: Repeat::Freely, permit });
    }
}

/// The port that policies are told of; the way out is a proxy of HTTPS.
const HTTPS_PORT: u16 = 443;

/// Whether a host is on a private network, as far as its name says. Where its name leads, the way out looks
/// itself.
fn is_private(host: &str) -> bool {
    let name = host.trim_end_matches('.').to_ascii_lowercase();
    let local = ["localhost", "local", "internal", "lan", "home.arpa"];
    let is_local = local
        .iter()
        .any(|end| name == *end || name.strip_suffix(end).is_some_and(|rest| rest.ends_with('.')));
    let private = |address: IpAddr| match address {
        IpAddr::V4(v4) => v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified(),
        IpAddr::V6(v6) => {
            v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local() || v6.is_unspecified()
        }
    };
    is_local || name.trim_matches(['[', ']']).parse().is_ok_and(private)
}

fn read(tool: EnvironmentTool, arguments: &Value, home: &str) -> Result<CommandRequest, String> {
    match tool {
        EnvironmentTool::Shell => {
            let cwd = match arguments.get("cwd") {
                None | Some(Value::Null) => home.to_owned(),
                Some(Value::String(cwd)) => inside(cwd, home)?,
                Some(_) => return Err("`cwd` must be a string.".to_owned()),
            };
            let most = limit::COMMAND_MS_MAX / 1_000;
            let timeout_ms = match arguments.get("timeout_seconds") {
                None | Some(Value::Null) => limit::COMMAND_MS_DEFAULT,
                Some(seconds) => {
                    let seconds = seconds.as_u64().filter(|seconds| (1..=most).contains(seconds));
                    seconds.ok_or_else(|| format!("`timeout_seconds` must be 1 to {most}."))? * 1_000
                }
            };
            Ok(CommandRequest::Shell { script: text(arguments, "command")?, cwd, timeout_ms })
        }
        EnvironmentTool::ApplyPatch => Ok(CommandRequest::Patch { patch: text(arguments, "patch")? }),
    }
}

fn text(arguments: &Value, name: &str) -> Result<String, String> {
    let text = arguments.get(name).and_then(Value::as_str);
    let text = text.ok_or_else(|| format!("`{name}` must be a string."))?;
    if text.trim().is_empty() {
        return Err(format!("`{name}` must not be empty."));
    }
    if text.contains('\0') {
        return Err(format!("`{name}` must not hold a NUL character."));
    }
    if text.len() > limit::COMMAND_BYTES_MAX {
        return Err(format!("`{name}` may have at most {} bytes.", limit::COMMAND_BYTES_MAX));
    }
    Ok(text.to_owned())
}

/// A directory below the workspace; a relative one is taken from there.
fn inside(cwd: &str, home: &str) -> Result<String, String> {
    fn plain(path: &str) -> Vec<&str> {
        path.split('/').filter(|part| !part.is_empty() && *part != ".").collect()
    }
    let path = if cwd.starts_with('/') { cwd.to_owned() } else { format!("{home}/{cwd}") };
    let parts = plain(&path);
    if parts.starts_with(&plain(home)) && !parts.contains(&"..") && !path.contains('\0') {
        Ok(format!("/{}", parts.join("/")))
    } else {
        Err(format!("`cwd` must be {home} or below it."))
    }
}

/// A request as people read it, and where it runs.
fn shown(request: &CommandRequest, home: &str) -> (String, String) {
    let (text, cwd) = match request {
        CommandRequest::Shell { script, cwd, .. } => (script.clone(), cwd.clone()),
        CommandRequest::Patch { patch } => {
            (format!("apply_patch <<'PATCH'\n{patch}\nPATCH"), home.to_owned())
        }
    };
    (text.chars().take(limit::COMMAND_SHOWN_CHARS_MAX).collect(), cwd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(tool: EnvironmentTool, arguments: &Value, expected: Result<CommandRequest, &str>) {
        assert_eq!(read(tool, arguments, "/workspace"), expected.map_err(str::to_owned));
    }

    fn shell(cwd: &str, timeout_ms: u64) -> Result<CommandRequest, &'static str> {
        Ok(CommandRequest::Shell { script: "ls".into(), cwd: cwd.into(), timeout_ms })
    }

    #[test]
    fn reads_commands() {
        let run = EnvironmentTool::Shell;
        check(run, &json!({"command": "ls"}), shell("/workspace", 120_000));
        check(run, &json!({"command": "ls", "cwd": "src/./a"}), shell("/workspace/src/a", 120_000));
        check(
            run,
            &json!({"command": "ls", "cwd": "/workspace//b/", "timeout_seconds": 5}),
            shell("/workspace/b", 5_000),
        );
        for cwd in ["/", "/etc", "..", "/workspace/../etc", "a/../../b", "/workspacex"] {
            check(run, &json!({"command": "ls", "cwd": cwd}), Err("`cwd` must be /workspace or below it."));
        }
        check(
            run,
            &json!({"command": "ls", "timeout_seconds": 0}),
            Err("`timeout_seconds` must be 1 to 3600."),
        );
        check(run, &json!({"command": " "}), Err("`command` must not be empty."));
        check(run, &json!({"command": ["ls"]}), Err("`command` must be a string."));
        check(run, &json!({"command": "a\u{0}b"}), Err("`command` must not hold a NUL character."));
    }

    #[test]
    fn names_say_whether_a_host_is_private() {
        for host in
            ["localhost", "a.localhost", "printer.local", "db.internal.", "10.0.0.1", "127.0.0.1", "[::1]"]
        {
            assert!(is_private(host), "{host}");
        }
        for host in ["example.com", "local.example", "notlocalhost", "8.8.8.8", "internal.example.com"] {
            assert!(!is_private(host), "{host}");
        }
    }

    #[test]
    fn reads_patches() {
        let patch = EnvironmentTool::ApplyPatch;
        check(patch, &json!({"patch": "*** x"}), Ok(CommandRequest::Patch { patch: "*** x".into() }));
        check(patch, &json!({}), Err("`patch` must be a string."));
        let long = "x".repeat(limit::COMMAND_BYTES_MAX + 1);
        check(patch, &json!({"patch": long}), Err("`patch` may have at most 262144 bytes."));
    }
}
