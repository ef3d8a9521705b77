//! `contracts/<name>.yaml`: the clauses that routes to models must keep, as people write them down.

use crate::node::{Data, Fields, Node};
use crate::problem::{Code, Problem, Report, quote, settle};
use crate::{ProjectError, yaml};

/// Where contracts are.
pub(crate) const CONTRACTS_DIRECTORY: &str = "contracts";
/// Contracts of one project directory.
pub const CONTRACTS_MAX: usize = 100;
/// Clauses of one contract.
pub const CLAUSES_MAX: usize = 200;

pub(crate) const CONTRACT_KEYS: &[&str] = &["version", "dated", "document", "clauses"];
pub(crate) const CLAUSE_KEYS: &[&str] =
    &["id", "document", "clause", "from", "to", "applies_to", "must", "must_not", "evidence"];
pub(crate) const APPLIES_KEYS: &[&str] =
    &["vendor", "model", "class", "labels", "categories", "confidentiality"];
pub(crate) const TERM_KEYS: &[&str] =
    &["provider", "region", "account", "deployment", "labels", "retention_days", "trains_on_data"];
const CLASSES: &[&str] = &["stateless", "stateful", "reviewer", "memory", "evaluation", "compaction"];
const CONFIDENTIALITIES: &[&str] = &["public", "internal", "confidential", "restricted"];
/// Bytes of a name of a contract or a clause: they are parts of policies' ids.
const NAME_BYTES_MAX: usize = 64;
const DAYS_MAX: u64 = 36_500;

/// A contract as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContractFile {
    /// Its name: that of its file without the ending.
    pub name: String,
    /// Which version of it this is.
    pub version: u64,
    /// When it was agreed on, as written.
    pub dated: Option<String>,
    /// Its clauses.
    pub clauses: Vec<ClauseFile>,
}

/// A clause as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClauseFile {
    /// Its id in the contract.
    pub id: String,
    /// The document it comes from.
    pub document: String,
    /// Where in the document.
    pub clause: String,
    /// The first moment at which it holds, in milliseconds since the Unix epoch.
    pub from: Option<i64>,
    /// The first moment at which it holds no more.
    pub to: Option<i64>,
    /// For which calls.
    pub applies_to: AppliesFile,
    /// Whether the terms must hold, or must not.
    pub is_must: bool,
    /// What of a route must hold, or must not.
    pub terms: TermsFile,
    /// Where it is written down that this is so.
    pub evidence: String,
}

/// For which calls a clause holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppliesFile {
    /// Who made the model.
    pub vendors: Vec<String>,
    /// The model, as agents know it.
    pub models: Vec<String>,
    /// Kinds of calls.
    pub classes: Vec<String>,
    /// Labels of routes.
    pub labels: Vec<String>,
    /// Categories of data.
    pub categories: Vec<String>,
    /// The least confidentiality of data.
    pub confidentiality: Option<String>,
}

/// What a route is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TermsFile {
    /// Who runs it.
    pub providers: Vec<String>,
    /// Where.
    pub regions: Vec<String>,
    /// By which account.
    pub accounts: Vec<String>,
    /// Which deployment.
    pub deployments: Vec<String>,
    /// What it is labelled.
    pub labels: Vec<String>,
    /// Days of retention at most.
    pub retention_days: Option<u32>,
    /// Whether the provider trains on what it is sent.
    pub trains_on_data: Option<bool>,
}

/// Reads the contract `name` from the text of the file at `path`.
///
/// # Errors
/// Every problem of the file.
pub fn parse_contract(
    name: &str,
    path: &str,
    text: &str,
) -> Result<(ContractFile, Vec<Problem>), ProjectError> {
    let report = Report::new(path);
    let contract = yaml::read(text, 0, &report).and_then(|root| contract(name, &root, &report));
    settle(contract, report.into_problems())
}

fn contract(name: &str, root: &Node, report: &Report) -> Option<ContractFile> {
    let fields = Fields::open(root, "", CONTRACT_KEYS, report)?;
    if !is_name(name) {
        let message = format!("a contract's file cannot be called {}", quote(name));
        report.hinted(Code::Name, root.at, message, NAME_HINT);
    }
    let version = match fields.find("version") {
        Some(node) => node.integer("`version`", 1..=1_000_000, report)?,
        None => {
            fields.require("version");
            return None;
        }
    };
    let dated = match fields.find("dated") {
        Some(node) => {
            let text = node.filled("`dated`", report)?;
            moment(node, "`dated`", report)?;
            Some(text.to_owned())
        }
        None => None,
    };
    let document = match fields.find("document") {
        Some(node) => node.filled("`document`", report)?.to_owned(),
        None => name.to_owned(),
    };
    let nodes = fields.require("clauses")?.list("`clauses`", report)?;
    if nodes.is_empty() || nodes.len() > CLAUSES_MAX {
        report.error(Code::Range, fields.at, format!("a contract has 1 to {CLAUSES_MAX} clauses"));
        return None;
    }
    let mut clauses: Vec<ClauseFile> = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let Some(clause) = clause(index, node, &document, report) else { continue };
        if clauses.iter().any(|other| other.id == clause.id) {
            let message = format!("two clauses have the id {}", quote(&clause.id));
            report.hinted(Code::Duplicate, node.at, message, "an auditor must tell them apart");
        }
        clauses.push(clause);
    }
    Some(ContractFile { name: name.to_owned(), version, dated, clauses })
}

const NAME_HINT: &str = "letters, digits, `.`, `_` and `-`, such as `msa-2026`";

fn is_name(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.bytes().all(legal)
}

fn clause(index: usize, node: &Node, document: &str, report: &Report) -> Option<ClauseFile> {
    let what = format!("clause {}", index + 1);
    let fields = Fields::open(node, &what, CLAUSE_KEYS, report)?;
    let id = fields.require("id")?.filled("`id`", report)?;
    if !is_name(id) {
        report.hinted(Code::Name, node.at, format!("a clause cannot have the id {}", quote(id)), NAME_HINT);
        return None;
    }
    let what = format!("clause {}", quote(id));
    let text = |key: &str| match fields.find(key) {
        Some(node) => node.filled(&format!("`{key}`"), report).map(str::to_owned),
        None => Some(String::new()),
    };
    let time = |key: &str| match fields.find(key) {
        Some(node) => moment(node, &format!("`{key}` of {what}"), report).map(Some),
        None => Some(None),
    };
    let (from, to) = (time("from")?, time("to")?);
    if let (Some(from), Some(to)) = (from, to)
        && from >= to
    {
        let message = format!("{what} ends before it begins");
        report.hinted(Code::Range, fields.at, message, "`to` is the first moment at which it holds no more");
    }
    let applies_to = match fields.find("applies_to") {
        Some(node) => applies(node, &what, report)?,
        None => AppliesFile::default(),
    };
    let (is_must, node) = match (fields.find("must"), fields.find("must_not")) {
        (Some(node), None) => (true, node),
        (None, Some(node)) => (false, node),
        (Some(_), Some(node)) => {
            let message = format!("`must` and `must_not` of {what} exclude each other");
            report.hinted(Code::Conflict, node.at, message, "write two clauses");
            return None;
        }
        (None, None) => {
            let message = format!("{what} says neither what must be nor what must not");
            report.hinted(Code::Missing, fields.at, message, "write `must: { provider: … }`");
            return None;
        }
    };
    let terms = terms(node, is_must, &what, report)?;
    if terms == TermsFile::default() {
        let message = format!("{what} demands nothing");
        report.hinted(Code::Missing, node.at, message, "say a `provider`, a `region`, …");
    }
    let own = text("document")?;
    Some(ClauseFile {
        id: id.to_owned(),
        document: if own.is_empty() { document.to_owned() } else { own },
        clause: text("clause")?,
        from,
        to,
        applies_to,
        is_must,
        terms,
        evidence: text("evidence")?,
    })
}

fn applies(node: &Node, what: &str, report: &Report) -> Option<AppliesFile> {
    let fields = Fields::open(node, &format!("`applies_to` of {what}"), APPLIES_KEYS, report)?;
    let words = |key: &str| words(&fields, key, report);
    let classes = words("class")?;
    if let Some(wrong) = classes.iter().find(|class| !CLASSES.contains(&class.as_str())) {
        let message = format!("`class` of {what} cannot be {}", quote(wrong));
        report.hinted(
            Code::UnknownValue,
            node.at,
            message,
            crate::problem::suggest(wrong, "classes", CLASSES),
        );
        return None;
    }
    let confidentiality = match fields.find("confidentiality") {
        None => None,
        Some(node) => Some(node.word(
            "`confidentiality`",
            CONFIDENTIALITIES,
            |word| CONFIDENTIALITIES.contains(&word).then(|| word.to_owned()),
            report,
        )?),
    };
    Some(AppliesFile {
        vendors: words("vendor")?,
        models: words("model")?,
        classes,
        labels: words("labels")?,
        categories: words("categories")?,
        confidentiality,
    })
}

fn terms(node: &Node, is_must: bool, what: &str, report: &Report) -> Option<TermsFile> {
    let name = if is_must { "must" } else { "must_not" };
    let fields = Fields::open(node, &format!("`{name}` of {what}"), TERM_KEYS, report)?;
    let words = |key: &str| words(&fields, key, report);
    let retention_days = match fields.find("retention_days") {
        None => None,
        Some(node) if !is_must => {
            let message = format!("`retention_days` has no meaning in `must_not` of {what}");
            report.hinted(
                Code::Conflict,
                node.at,
                message,
                "it is the most that may be kept: write `must: { retention_days: … }`",
            );
            return None;
        }
        Some(node) => {
            let days = node.integer("`retention_days`", 0..=DAYS_MAX, report)?;
            Some(u32::try_from(days).unwrap_or(u32::MAX))
        }
    };
    Some(TermsFile {
        providers: words("provider")?,
        regions: words("region")?,
        accounts: words("account")?,
        deployments: words("deployment")?,
        labels: words("labels")?,
        retention_days,
        trains_on_data: match fields.find("trains_on_data") {
            Some(node) => Some(node.boolean("`trains_on_data`", report)?),
            None => None,
        },
    })
}

/// One word, or a list of them.
fn words(fields: &Fields<'_>, key: &str, report: &Report) -> Option<Vec<String>> {
    let what = format!("`{key}`");
    let Some(node) = fields.find(key) else { return Some(Vec::new()) };
    let words =
        if let Data::Text(text) = &node.data { vec![text.clone()] } else { node.texts(&what, report)? };
    if words.is_empty() || words.iter().any(|word| word.trim().is_empty()) {
        report.hinted(
            Code::Missing,
            node.at,
            format!("{what} is empty"),
            "leave it out where it says nothing",
        );
        return None;
    }
    Some(words)
}

/// A day, which begins at midnight UTC, or a moment (RFC 3339), in milliseconds since the Unix epoch.
fn moment(node: &Node, what: &str, report: &Report) -> Option<i64> {
    let text = node.filled(what, report)?;
    let read = parse_moment(text);
    if read.is_none() {
        let message = format!("{what} is no date: {}", quote(text));
        report.hinted(Code::Type, node.at, message, "such as `2026-02-27` or `2026-02-27T12:00:00Z`");
    }
    read
}

fn parse_moment(text: &str) -> Option<i64> {
    const DAY_MS: i64 = 86_400_000;
    let (day, time) = match text.split_once('T') {
        None => (text, None),
        Some((day, time)) => (day, Some(time.strip_suffix('Z')?)),
    };
    let mut parts = day.split('-').map(|part| (part.len(), part.parse::<i64>().ok()));
    let ((4, Some(year)), (2, Some(month)), (2, Some(date)), None) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next())
    else {
        return None;
    };
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let length = lengths.get(usize::try_from(month).ok()?.checked_sub(1)?)?;
    if !(1..=*length).contains(&date) || !(1970..=9999).contains(&year) {
        return None;
    }
    // Days since the epoch, with years that begin in March (Hinnant, `days_from_civil`).
    let (years, months) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era = years.div_euclid(400);
    let of_era = years.rem_euclid(400);
    let of_year = (153 * months + 2) / 5 + date - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    let millis = match time {
        None => 0,
        Some(time) => {
            let mut parts = time.split(':').map(|part| part.parse::<i64>().ok().filter(|_| part.len() == 2));
            let (Some(hour), Some(minute), Some(second), None) =
                (parts.next()?, parts.next()?, parts.next()?, parts.next())
            else {
                return None;
            };
            if !(0..24).contains(&hour) || !(0..60).contains(&minute) || !(0..60).contains(&second) {
                return None;
            }
            ((hour * 60 + minute) * 60 + second) * 1000
        }
    };
    Some(days * DAY_MS + millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_days_and_moments() {
        for (text, expected) in [
            ("1970-01-01", Some(0)),
            ("2026-02-27", Some(1_772_150_400_000)),
            ("2024-02-29", Some(1_709_164_800_000)),
            ("2026-02-27T12:30:01Z", Some(1_772_195_401_000)),
            ("2026-02-29", None),
            ("2026-13-01", None),
            ("2026-2-27", None),
            ("27.02.2026", None),
            ("2026-02-27T24:00:00Z", None),
            ("2026-02-27T12:00:00", None),
            ("2026-02-27T12:00:00+01:00", None),
        ] {
            assert_eq!(parse_moment(text), expected, "{text}");
        }
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let error = parse_contract("msa", "contracts/msa.yaml", text).expect_err(expected);
        let problems: Vec<String> = error
            .problems()
            .iter()
            .map(|problem| format!("{}:{} {}", problem.place.line, problem.code.as_str(), problem.message))
            .collect();
        assert_eq!(problems.join("\n"), expected, "{text}");
    }

    #[test]
    fn refuses_what_it_cannot_keep() {
        check("version: 1\nclauses: []\n", "1:range a contract has 1 to 200 clauses");
        check("clauses: [{id: a, must: {provider: x}}]\n", "1:missing `version` is missing");
        let clause = |rest: &str| format!("version: 1\nclauses:\n  - id: a\n    {rest}\n");
        check(&clause("must: {provider: x}\n    musst: 1"), "5:unknown_key unknown key `musst` in clause 1");
        check(
            &clause("must: {povider: x}"),
            "4:missing clause `a` demands nothing\n4:unknown_key unknown key `povider` in `must` of clause `a`",
        );
        check(&clause("clause: s1"), "3:missing clause `a` says neither what must be nor what must not");
        check(
            &clause("must: {provider: x}\n    must_not: {provider: y}"),
            "5:conflict `must` and `must_not` of clause `a` exclude each other",
        );
        check(
            &clause("from: 2026-04-27\n    to: 2026-02-27\n    must: {provider: x}"),
            "3:range clause `a` ends before it begins",
        );
        check(
            &clause("from: soon\n    must: {provider: x}"),
            "4:type `from` of clause `a` is no date: `soon`",
        );
        check(
            &clause("applies_to: {class: statefull}\n    must: {provider: x}"),
            "4:unknown_value `class` of clause `a` cannot be `statefull`",
        );
        check(
            &clause("must_not: {retention_days: 3}"),
            "4:conflict `retention_days` has no meaning in `must_not` of clause `a`",
        );
        check(&clause("must: {provider: []}"), "4:missing `provider` is empty");
    }

    #[test]
    fn reads_a_contract() {
        let text = "version: 3\ndated: 2026-02-20\ndocument: MSA-2026-17\nclauses:\n\
            - {id: C1, clause: s4.2, from: 2026-02-27, to: 2026-04-27, applies_to: {vendor: openai, class: stateless}, must: {provider: azure, region: [eu, ch]}, evidence: exhibit 4}\n";
        let (contract, warnings) = parse_contract("msa", "contracts/msa.yaml", text).expect("a contract");
        assert!(warnings.is_empty());
        let clause = &contract.clauses[0];
        assert_eq!((contract.version, clause.document.as_str(), clause.is_must), (3, "MSA-2026-17", true));
        assert_eq!((clause.from, clause.to), (Some(1_772_150_400_000), Some(1_777_248_000_000)));
        assert_eq!(clause.terms.regions, ["eu", "ch"]);
        assert_eq!(clause.applies_to.classes, ["stateless"]);
    }
}
