//! Budgets of trees of sessions, as a batch decides about them in memory.

use std::collections::BTreeMap;

use tenure_store::{Budget, BudgetChange};

/// A budget with its reservations. Keys are as they are stored.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    pub(crate) limit: Option<u64>,
    pub(crate) spent: u64,
    pub(crate) reserved: BTreeMap<String, u64>,
}

impl Ledger {
    pub(crate) fn change(&mut self, change: &BudgetChange) {
        match change {
            BudgetChange::Limit(limit) => self.limit = *limit,
            BudgetChange::Reserve { key, nano_usd } => {
                self.reserved.insert(crate::text::stored(key).into_owned(), *nano_usd);
            }
            BudgetChange::Settle { key, nano_usd } => {
                self.reserved.remove(&*crate::text::stored(key));
                self.spent = self.spent.saturating_add(*nano_usd);
            }
        }
    }

    pub(crate) fn is_exceeded(&self) -> bool {
        let budget = budget(self.limit, self.spent, self.reserved.values().copied());
        let used = budget.spent_nano_usd.saturating_add(budget.reserved_nano_usd);
        self.limit.is_some_and(|limit| used > limit)
    }
}

/// A budget as the contract shows it.
pub(crate) fn budget(limit: Option<u64>, spent: u64, reserved: impl Iterator<Item = u64>) -> Budget {
    Budget {
        limit_nano_usd: limit,
        spent_nano_usd: spent,
        reserved_nano_usd: reserved.fold(0, u64::saturating_add),
    }
}
