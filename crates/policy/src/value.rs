//! What a policy may see, as plain values. Everything a decision depends on is one of these, so that equal
//! questions are equal values and a kept answer is the answer.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{LazyLock, Mutex, PoisonError};

use cedar_policy::{Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression};
use cedar_policy_core::ast::{Name as CedarName, RestrictedExpr};

/// Why a request could not be put to Cedar. Such a request is refused.
pub(crate) type Fault = Box<dyn std::error::Error + Send + Sync>;

/// A value of Cedar's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Value {
    Bool(bool),
    Long(i64),
    Text(String),
    /// Up to four places, as Cedar reads it.
    Decimal(String),
    /// Milliseconds since the epoch.
    Moment(i64),
    Set(BTreeSet<Value>),
    Record(BTreeMap<String, Value>),
}

/// A record's members, or a context's.
pub(crate) type Members = BTreeMap<String, Value>;

impl Value {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A count; one beyond what Cedar holds is as good as the largest.
    pub(crate) fn count(count: u64) -> Self {
        Self::Long(i64::try_from(count).unwrap_or(i64::MAX))
    }

    pub(crate) fn texts<'a>(texts: impl IntoIterator<Item = &'a String>) -> Self {
        Self::Set(texts.into_iter().map(Self::text).collect())
    }

    pub(crate) fn record<const N: usize>(members: [(&str, Self); N]) -> Self {
        Self::Record(self::members(members))
    }

    fn to_expression(&self) -> Result<RestrictedExpression, Fault> {
        Ok(match self {
            Self::Bool(it) => RestrictedExpression::new_bool(*it),
            Self::Long(it) => RestrictedExpression::new_long(*it),
            Self::Text(it) => RestrictedExpression::new_string(it.clone()),
            Self::Decimal(it) => constructed(&DECIMAL, it),
            // A moment is counted from the epoch: no calendar is needed, and no moment is out of its range.
            Self::Moment(millis) => constructed(&DATETIME, &moment(*millis)),
            Self::Set(items) => RestrictedExpression::new_set(
                items.iter().map(Self::to_expression).collect::<Result<Vec<_>, _>>()?,
            ),
            Self::Record(members) => RestrictedExpression::new_record(to_expressions(members)?)?,
        })
    }
}

/// Cedar's constructors of values that it has no form for. Their names are parsed once and not for each value, which
/// takes longer than most policies.
static DECIMAL: LazyLock<CedarName> = LazyLock::new(|| constructor("decimal"));
static DATETIME: LazyLock<CedarName> = LazyLock::new(|| constructor("datetime"));

fn constructor(name: &str) -> CedarName {
    CedarName::parse_unqualified_name(name).expect("a name")
}

fn constructed(constructor: &CedarName, text: &str) -> RestrictedExpression {
    RestrictedExpr::call_extension_fn(constructor.clone(), [RestrictedExpr::val(text)]).into()
}

/// Members under their names.
pub(crate) fn members<const N: usize>(members: [(&str, Value); N]) -> Members {
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Members as Cedar reads them.
pub(crate) fn to_expressions(members: &Members) -> Result<HashMap<String, RestrictedExpression>, Fault> {
    members.iter().map(|(name, value)| Ok((name.clone(), value.to_expression()?))).collect()
}

/// A moment as Cedar writes it: `2026-02-27T10:00:00.000Z`.
fn moment(millis: i64) -> String {
    let (days, rest) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
    let (year, month, day) = civil(days);
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    let (second, milli) = (rest / 1_000 % 60, rest % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// The date that is so many days after 1970-01-01 (Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: i64) -> (i64, i64, i64) {
    // Cedar writes years in four digits; no clock of ours is before the first or after the last of them.
    let shifted = days.clamp(-719_468, 2_932_896) + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The name of an entity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    pub(crate) kind: &'static str,
    pub(crate) id: String,
}

impl Name {
    pub(crate) fn new(kind: &'static str, id: impl Into<String>) -> Self {
        Self { kind, id: id.into() }
    }

    pub(crate) fn to_uid(&self) -> Result<EntityUid, Fault> {
        uid(self.kind, &self.id)
    }

    /// Whether Cedar calls it by `uid`.
    pub(crate) fn is(&self, uid: &EntityUid) -> bool {
        uid.id().unescaped() == self.id && uid.type_name().basename() == self.kind
    }
}

pub(crate) fn uid(kind: &str, id: &str) -> Result<EntityUid, Fault> {
    /// The names of kinds, each parsed once: there are as many as the schema has.
    static KINDS: Mutex<BTreeMap<String, EntityTypeName>> = Mutex::new(BTreeMap::new());
    // A poisoned lock only means that another thread panicked between two complete writes.
    let mut kinds = KINDS.lock().unwrap_or_else(PoisonError::into_inner);
    let known = kinds.get(kind).cloned();
    let name = match known {
        Some(name) => name,
        None => {
            let name: EntityTypeName = kind.parse()?;
            kinds.insert(kind.to_owned(), name.clone());
            name
        }
    };
    Ok(EntityUid::from_type_name_and_id(name, EntityId::new(id)))
}

/// An entity with everything that is known of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Thing {
    pub(crate) name: Name,
    pub(crate) attributes: Members,
    /// What it belongs to. None of them has attributes or belongs to anything.
    pub(crate) parents: Vec<Name>,
}

impl Thing {
    /// It and what it belongs to.
    pub(crate) fn to_entities(&self) -> Result<Vec<Entity>, Fault> {
        let mut entities = Vec::with_capacity(1 + self.parents.len());
        let mut parents = HashSet::with_capacity(self.parents.len());
        for parent in &self.parents {
            let uid = parent.to_uid()?;
            entities.push(Entity::new_no_attrs(uid.clone(), HashSet::new()));
            parents.insert(uid);
        }
        entities.push(Entity::new(self.name.to_uid()?, to_expressions(&self.attributes)?, parents)?);
        Ok(entities)
    }

    /// Whether it is what `uid` names, or belongs to it.
    pub(crate) fn is_in(&self, uid: &EntityUid) -> bool {
        self.name.is(uid) || self.parents.iter().any(|parent| parent.is(uid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_constructed_is_what_cedar_would_construct() {
        let ours = |value: Value| value.to_expression().expect("it can be put");
        assert_eq!(ours(Value::Decimal("-1.5".into())), RestrictedExpression::new_decimal("-1.5"));
        let moment = "1970-01-01T00:00:00.001Z";
        assert_eq!(ours(Value::Moment(1)), RestrictedExpression::new_datetime(moment));
    }

    #[test]
    fn moments_are_written_as_cedar_reads_them() {
        let check = |millis: i64, expected: &str| assert_eq!(moment(millis), expected);
        check(0, "1970-01-01T00:00:00.000Z");
        check(-1, "1969-12-31T23:59:59.999Z");
        check(951_782_400_000, "2000-02-29T00:00:00.000Z");
        check(1_772_150_400_000, "2026-02-27T00:00:00.000Z");
        check(1_777_247_999_999, "2026-04-26T23:59:59.999Z");
        check(253_402_300_799_999, "9999-12-31T23:59:59.999Z");
    }
}
