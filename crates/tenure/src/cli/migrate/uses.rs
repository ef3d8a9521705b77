//! Moving what was used of budgets: journals say most of it again, and not what sessions had used that are erased.

use std::collections::BTreeMap;

use tenure_journal::{Amounts, BudgetId, BudgetUse, ProjectId};
use tenure_store::{Store as _, StoreError};
use tenure_store_postgres::PostgresStore;
use tenure_store_sqlite::SqliteStore;

use super::{PAGE, differs, failed};
use crate::cli::error::CliError;

/// Has every budget stand where it is moved to as it did, once all journals are there. Gives the number of budgets.
pub(super) async fn uses(from: &SqliteStore, to: &PostgresStore) -> Result<u64, CliError> {
    let (mut count, mut after) = (0, None);
    loop {
        let page = from.every_budget_use(after, PAGE).await;
        let page = page.map_err(|error| failed("reading a budget", &error))?;
        let Some((project, budget, _)) = page.last() else { return Ok(count) };
        after = Some((*project, *budget));
        count += page.len() as u64;
        let mut by_project: BTreeMap<ProjectId, Vec<(BudgetId, BudgetUse)>> = BTreeMap::new();
        for (project, budget, used) in page {
            by_project.entry(project).or_default().push((budget, used));
        }
        for (project, budgets) in by_project {
            project_uses(to, project, &budgets).await?;
        }
    }
}

async fn project_uses(
    to: &PostgresStore,
    project: ProjectId,
    budgets: &[(BudgetId, BudgetUse)],
) -> Result<(), CliError> {
    let comparing = |error: StoreError| failed("comparing a budget", &error);
    let ids: Vec<BudgetId> = budgets.iter().map(|(id, _)| *id).collect();
    let there = to.budget_uses(project, &ids).await.map_err(comparing)?;
    for ((id, ours), theirs) in budgets.iter().zip(there) {
        if theirs == *ours {
            continue;
        }
        // More than was used here was used there since: to put less would be to forget it.
        if !(covers(&ours.spent, &theirs.spent) && covers(&ours.reserved, &theirs.reserved)) {
            return Err(differs(format!("the budget `{id}` of project `{project}`")));
        }
        to.adopt_budget_use(project, *id, ours).await.map_err(|error| failed("writing a budget", &error))?;
    }
    let there = to.budget_uses(project, &ids).await.map_err(comparing)?;
    match budgets.iter().zip(there).find(|((_, ours), theirs)| ours != theirs) {
        Some(((id, _), _)) => Err(differs(format!("the budget `{id}` of project `{project}`"))),
        None => Ok(()),
    }
}

/// Whether there is at least as much of everything.
fn covers(ours: &Amounts, theirs: &Amounts) -> bool {
    ours.nano_usd >= theirs.nano_usd
        && ours.tokens >= theirs.tokens
        && ours.calls >= theirs.calls
        && ours.millis >= theirs.millis
}

#[cfg(test)]
mod tests {
    use tenure_journal::{
        AgentConfig, AgentId, BudgetScope, Event, Fresh, Head, Period, SessionId, SessionKey, SessionOpened,
        Timestamp, Version,
    };
    use tenure_session::Session;
    use tenure_store::{Append, Erasing, Place, UseChange, UseEntry};
    use tenure_store_postgres::Options;
    use tenure_testkit::postgres::Postgres;

    use super::super::everything;
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

    /// A session that did nothing but use so many tokens of budgets.
    fn used(key: SessionKey, fresh: &Fresh, budgets: &[BudgetId], tokens: u64) -> Append {
        let agent = AgentConfig::new(AgentId::fresh(fresh), "m");
        let opened = SessionOpened::new(key.project, agent);
        let state = Session::opened(key, NOW, &opened);
        let head: Head = state.head();
        let spent = Amounts { tokens, calls: 1, ..Amounts::default() };
        let change = UseChange::Settle { reserved: Amounts::default(), spent };
        let uses = budgets.iter().map(|budget| UseEntry { budget: *budget, change: change.clone() });
        let events = vec![Event::SessionOpened(Box::new(opened))];
        Append { uses: uses.collect(), ..Append::of(Version::ZERO, NOW, events, head) }
    }

    #[tokio::test]
    async fn what_erased_sessions_used_stays_counted() {
        let directory = tempfile::tempdir().expect("a directory");
        let from = SqliteStore::open(directory.path()).expect("opens");
        let database = Postgres::shared().database();
        let options = Options::parse(&database.url()).expect("the URL is one");
        let to = PostgresStore::open(&options).await.expect("opens");
        let fresh = Fresh::new(NOW, 1);
        let project = ProjectId::fresh(&fresh);
        let month = BudgetId::at(BudgetScope::Project, Period::Month, NOW);
        let day = BudgetId::at(BudgetScope::Agent(AgentId::fresh(&fresh)), Period::Day, NOW);
        let keys = [(); 2].map(|()| SessionKey { project, session: SessionId::fresh(&fresh) });
        for (key, tokens) in keys.iter().zip([5, 70]) {
            from.append(used(*key, &fresh, &[month, day], tokens)).await.expect("appended");
        }
        from.erase(project, &Place::Session(keys[1].session), Erasing::Remove).await.expect("erased");
        for again in [false, true] {
            assert!(everything(&from, &to).await.is_ok(), "again: {again}");
            let there = to.budget_uses(project, &[month, day]).await.expect("readable");
            let tokens: Vec<u64> = there.iter().map(|used| used.spent.tokens).collect();
            assert_eq!(tokens, [75, 75], "what is erased was used all the same");
        }
        // What was used there since is not forgotten.
        let more = BudgetUse { spent: Amounts { tokens: 80, ..Amounts::default() }, ..BudgetUse::default() };
        to.adopt_budget_use(project, month, &more).await.expect("written");
        assert!(everything(&from, &to).await.is_err(), "it says that more was used");
        let there = to.budget_uses(project, &[month]).await.expect("readable");
        assert_eq!(there[0].spent.tokens, 80);
        from.close().await.and(to.close().await).expect("closes");
    }
}
