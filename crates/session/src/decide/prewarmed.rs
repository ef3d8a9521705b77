//! What may be asked of an environment that has no session.

use tenure_journal::{EffectId, Environment, Event, InputPart, SessionOpened};

use super::Draft;
use crate::{PrewarmedPhase, Refusal};

impl Draft<'_> {
    /// Opens the session that the environment waits for, once.
    pub(super) fn open_session(
        &mut self,
        opened: &SessionOpened,
        messages: &[Vec<InputPart>],
    ) -> Result<(), Refusal> {
        match self.state.prewarming().map(|prewarmed| prewarmed.phase) {
            None | Some(PrewarmedPhase::Taken) => return Err(Refusal::EnvironmentTaken),
            Some(PrewarmedPhase::Expired) => return Err(Refusal::EnvironmentExpired),
            Some(PrewarmedPhase::Waiting) if self.state.failed.is_some() => {
                return Err(Refusal::EnvironmentFailed);
            }
            Some(PrewarmedPhase::Waiting) => {}
        }
        let mut environment = self.state.environment.clone();
        let adds = match &mut environment {
            Environment::Hosted(hosted) => {
                let before = hosted.capabilities.skills.len();
                hosted.capabilities.add(&opened.agent.skills);
                hosted.capabilities.skills.len() > before
            }
            Environment::None | Environment::SelfHosted(_) => false,
        };
        self.push(Event::SessionOpened(Box::new(SessionOpened { environment, ..opened.clone() })));
        if adds {
            self.install_skills();
        }
        for content in messages {
            self.message(content.clone())?;
        }
        Ok(())
    }

    /// Ends an environment whose time is over; nothing if a session was opened in it, or it has time left.
    pub(super) fn expire_environment(&mut self) {
        let is_over = self.state.prewarming().is_some_and(|prewarmed| {
            prewarmed.phase == PrewarmedPhase::Waiting && self.cx.now >= prewarmed.expires_at
        });
        if !is_over {
            return;
        }
        let moot: Vec<EffectId> = self.state.pending().map(|effect| effect.id).collect();
        for effect_id in moot {
            self.push(Event::EffectAbandoned { effect_id });
        }
        self.push(Event::EnvironmentExpired);
    }

    /// Says that nothing is going on in the environment, whose files on this machine are gone; nothing if
    /// something is.
    pub(super) fn suspend_environment(&mut self) {
        if self.state.may_suspend() {
            self.push(Event::EnvironmentSuspended);
        }
    }

    /// Says that something begins in the environment again.
    pub(super) fn resume_environment(&mut self) {
        if self.state.is_suspended() {
            self.push(Event::EnvironmentResumed);
        }
    }
}
