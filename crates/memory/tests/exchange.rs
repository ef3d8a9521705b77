//! What is kept, as text and back.

use proptest::prelude::*;
use tenure_journal::{
    AgentId, Confidence, FactId, Fresh, Integrity, Labels, MemoryScope, SessionId, Timestamp,
};
use tenure_memory::exchange::{
    BlockRecord, FactRecord, ProcedureRecord, Record, Standing, file_name, from_lines, from_markdown,
    to_lines, to_markdown,
};
use tenure_memory::procedure::ProcedureText;
use tenure_memory::{block, moment};

fn ada() -> MemoryScope {
    MemoryScope::User("ada".to_owned())
}

fn fact(subject: &str, statement: &str) -> FactRecord {
    FactRecord { subject: Some(subject.to_owned()), ..FactRecord::new(ada(), statement.to_owned()) }
}

fn some_records() -> Vec<Record> {
    let then = moment("2024-05-01");
    let labels = Labels { integrity: Integrity::Untrusted, ..Labels::NEUTRAL };
    vec![
        Record::Fact(fact("Ada", "Ada lives in Paris.")),
        Record::Fact(FactRecord {
            standing: Standing::Closed,
            valid_to: then,
            learned_at: moment("2023-01-01T10:00:00.123Z"),
            closed_at: then,
            reason: Some("moved: to Paris".to_owned()),
            ..fact("Ada", "Ada lives in Berlin.")
        }),
        Record::Fact(FactRecord {
            confidence: Confidence::percent(80).expect("a percentage"),
            labels,
            id: Some(FactId::of("m", "x", None)),
            source: Some("sess_1".to_owned()),
            ..fact("billing", "Billing uses PostgreSQL.")
        }),
        Record::Block(BlockRecord {
            scope: ada(),
            name: "likes".to_owned(),
            text: "Tea, no sugar.\n\n- # and *this*".to_owned(),
        }),
        Record::Procedure(ProcedureRecord {
            scope: ada(),
            text: ProcedureText {
                name: "refund-order".to_owned(),
                description: "# To refund > an order.".to_owned(),
                steps: "1. Find it.\n\n## Then\n> quote".to_owned(),
            },
        }),
    ]
}

#[test]
fn markdown_reads_well() {
    let expected = "\
---
memory: 1
scope: user:ada
---

# Pinned blocks

## likes

> Tea, no sugar.
>
> - # and *this*

# Procedures

## refund-order

description: # To refund > an order.

> 1. Find it.
>
> ## Then
> > quote

# Facts

## Ada

- Ada lives in Paris.

## billing

- Billing uses PostgreSQL.
  - confidence: 80
  - labels: {\"integrity\":\"untrusted\"}
  - source: sess_1
  - id: ID

# Closed

## Ada

- Ada lives in Berlin.
  - valid_to: 2024-05-01T00:00:00Z
  - learned_at: 2023-01-01T10:00:00.123Z
  - closed_at: 2024-05-01T00:00:00Z
  - reason: moved: to Paris
";
    let id = FactId::of("m", "x", None).to_string();
    let written = to_markdown(&ada(), &some_records());
    assert_eq!(written.replace(&id, "ID"), expected);
    let mut back = from_markdown(&written).expect("reads");
    assert_eq!(to_markdown(&ada(), &back), written);
    back.reverse();
    assert_eq!(to_markdown(&ada(), &back), written, "the order of records makes no difference");
    assert_eq!(to_markdown(&MemoryScope::Project, &back), "---\nmemory: 1\nscope: project\n---\n");
}

#[test]
fn mistakes_in_markdown_name_line_and_field() {
    let head = "---\nmemory: 1\nscope: user:ada\n---\n";
    for (text, expected) in [
        ("", "line 1: expected `---`"),
        ("# Facts\n", "line 1: expected `---`"),
        ("---\nmemory: 1\nscope: user:ada\n", "line 1: expected `---`"),
        ("---\nmemory: 2\nscope: user:ada\n---\n", "line 2, `memory`: expected `memory: 1`"),
        ("---\nmemory: 1\n---\n", "line 2, `scope`: is missing"),
        ("---\nmemory: 1\nscope: ada\n---\n", "line 3, `scope`: `ada` is no scope"),
        ("---\nowner: ada\n---\n", "line 2, `owner`: is not known"),
        ("HEADx\n", "line 5: expected a heading before it"),
        ("HEAD# Notes\n", "line 5: expected `# Pinned blocks`"),
        ("HEAD## Ada\n", "line 5: expected a heading of the first level"),
        ("HEAD# Facts\n* x\n", "line 6: expected `- ` and a statement"),
        ("HEAD# Facts\n  - valid_to: 2024-05-01\n", "line 6, `valid_to`: stands before the statement"),
        ("HEAD# Facts\n- x\n  - valid_to: May\n", "line 7, `valid_to`: expected a date"),
        (
            "HEAD# Facts\n- x\n  - confidence: 0\n",
            "line 7, `confidence`: expected a whole number from 1 to 100",
        ),
        ("HEAD# Facts\n- x\n  - labels: secret\n", "line 7, `labels`: expected labels as JSON"),
        ("HEAD# Facts\n- x\n  - id: 7\n", "line 7, `id`: expected the id of a fact"),
        ("HEAD# Facts\n- x\n  - colour: red\n", "line 7, `colour`: is not known; known are valid_from"),
        ("HEAD# Pinned blocks\n## My Block\n", "line 6, `name`: expected 1 to 64"),
        ("HEAD# Pinned blocks\n> x\n", "line 6: expected a heading before it"),
        ("HEAD# Pinned blocks\n## a\nx\n", "line 7, `text`: expected `> `"),
        ("HEAD# Pinned blocks\n## a\n", "line 6, `text`: of block `a` must not be empty"),
        ("HEAD# Procedures\nx\n", "line 6: expected a heading before it"),
        ("HEAD# Procedures\n## a\nx\n", "line 7: expected one line with `description: `"),
        ("HEAD# Procedures\n## a\ndescription: b\ndescription: c\n", "line 8: expected one line with"),
        ("HEAD# Procedures\n## a\n> x\n", "line 7: of procedure `a` `description` must not be empty"),
        ("HEAD# Procedures\n## a\ndescription: b\n# Facts\n", "line 8: of procedure `a` `steps` must not"),
        ("HEAD# Procedures\n## ../a\ndescription: b\n> x\n", "line 8: of procedure `../a` `name` must have"),
    ] {
        let text = text.replace("HEAD", head);
        let error = from_markdown(&text).expect_err("refused").to_string();
        assert!(error.starts_with(expected), "{text:?}\n  {error}\n  {expected}");
    }
}

#[test]
fn lines_hold_one_record_each() {
    let written = to_lines(&some_records());
    let first = r#"{"type":"fact","scope":"user:ada","subject":"Ada","statement":"Ada lives in Paris."}"#;
    let sorted = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON");
    assert_eq!(written.lines().next().map(sorted), Some(sorted(first)));
    assert_eq!(from_lines(&written).expect("reads"), some_records());
    assert_eq!(from_lines("\n \n").expect("reads"), []);
}

#[test]
fn mistakes_in_lines_name_line_and_field() {
    let fact = r#"{"type":"fact","scope":"project","statement":"x""#;
    for (text, expected) in [
        ("{".to_owned(), "line 1: expected a JSON object"),
        ("\n[]".to_owned(), "line 2: expected a JSON object"),
        ("{}".to_owned(), "line 1, `type`: is missing"),
        (
            r#"{"type":"note","scope":"project"}"#.to_owned(),
            "line 1, `type`: expected `fact`, `block` or `procedure`",
        ),
        (r#"{"type":"fact","statement":"x"}"#.to_owned(), "line 1, `scope`: is missing"),
        (r#"{"type":"fact","scope":7}"#.to_owned(), "line 1, `scope`: expected a text"),
        (r#"{"type":"fact","scope":"ada"}"#.to_owned(), "line 1, `scope`: `ada` is no scope"),
        (r#"{"type":"fact","scope":"project"}"#.to_owned(), "line 1, `statement`: is missing"),
        (format!("{fact}}}\n{fact},\"confidence\":101}}"), "line 2, `confidence`: expected a whole number"),
        (format!("{fact},\"state\":\"old\"}}"), "line 1, `state`: expected active"),
        (format!("{fact},\"learnt\":\"old\"}}"), "line 1, `learnt`: is not known"),
        (
            r#"{"type":"block","scope":"project","name":"a b","text":"x"}"#.to_owned(),
            "line 1, `name`: expected",
        ),
        (
            r#"{"type":"block","scope":"project","name":"a","text":" "}"#.to_owned(),
            "line 1, `text`: must not be",
        ),
        (
            r#"{"type":"block","scope":"project","name":"a","text":"x","v":1}"#.to_owned(),
            "line 1, `v`: is not",
        ),
        (
            r#"{"type":"procedure","scope":"project","name":"a"}"#.to_owned(),
            "line 1, `description`: is missing",
        ),
        (
            r#"{"type":"procedure","scope":"project","name":"A","description":"b","steps":"c"}"#.to_owned(),
            "line 1: `name` must have",
        ),
        (
            r#"{"type":"procedure","scope":"project","name":"a","description":"b","steps":7}"#.to_owned(),
            "line 1, `steps`: expected a text",
        ),
        (
            r#"{"type":"procedure","scope":"project","name":"a","description":"b","steps":"c","v":1}"#
                .to_owned(),
            "line 1, `v`: is not",
        ),
    ] {
        let error = from_lines(&text).expect_err("refused").to_string();
        assert!(error.starts_with(expected), "{text}\n  {error}\n  {expected}");
    }
}

#[test]
fn a_scope_names_its_file_and_no_other() {
    let fresh = Fresh::new(Timestamp::EPOCH, 1);
    let (agent, session) = (AgentId::fresh(&fresh), SessionId::fresh(&fresh));
    let scopes = [
        MemoryScope::Project,
        MemoryScope::Agent(agent),
        MemoryScope::User("../ada".to_owned()),
        MemoryScope::User("..%2fada".to_owned()),
        MemoryScope::User("Ada".to_owned()),
        ada(),
        MemoryScope::Space(agent, None),
        MemoryScope::Space(agent, Some("ada".to_owned())),
        MemoryScope::Session(session),
    ];
    let names: Vec<String> = scopes.iter().map(file_name).collect();
    assert_eq!((names[0].as_str(), names[2].as_str()), ("project.md", "user.%2e%2e%2fada.md"));
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.%".contains(&byte);
    assert!(names.iter().all(|name| name.bytes().all(legal)), "{names:?}");
    let folded: std::collections::BTreeSet<String> = names.iter().map(|name| name.to_lowercase()).collect();
    assert_eq!(folded.len(), scopes.len(), "also where a file system does not tell case apart");
}

fn line() -> impl Strategy<Value = String> {
    "[^\\p{Cc}\\p{Zs}\\p{Zl}\\p{Zp}][^\\p{Cc}]{0,30}".prop_map(|text| text.trim().to_owned())
}

fn instant() -> impl Strategy<Value = Option<Timestamp>> {
    proptest::option::of((0..4_000_000_000_000_i64).prop_map(Timestamp::from_millis))
}

fn record() -> impl Strategy<Value = Record> {
    let fact = (
        proptest::option::of(line()),
        line(),
        proptest::sample::select(&Standing::ALL[..]),
        (instant(), instant(), instant(), instant()),
        (proptest::option::of(line()), proptest::option::of(line())),
        1..=100_u64,
        any::<bool>(),
    );
    let fact = fact.prop_map(|(subject, statement, standing, times, texts, percent, trusted)| {
        let labels = if trusted {
            Labels::NEUTRAL
        } else {
            Labels { integrity: Integrity::Partner, ..Labels::NEUTRAL }
        };
        Record::Fact(FactRecord {
            subject,
            standing,
            valid_from: times.0,
            valid_to: times.1,
            learned_at: times.2,
            closed_at: times.3,
            reason: texts.0,
            source: texts.1,
            confidence: Confidence::percent(percent).expect("a percentage"),
            labels,
            id: (!trusted).then(|| FactId::of("m", &statement, None)),
            ..FactRecord::new(ada(), statement)
        })
    });
    let block =
        ("[a-z0-9_-]{1,64}", "\\PC{0,20}(\n\\PC{0,20}){0,4}").prop_filter_map("a text", |(name, text)| {
            block::text(&text).ok().map(|text| Record::Block(BlockRecord { scope: ada(), name, text }))
        });
    let name = "[a-z0-9]{1,8}(-[a-z0-9]{1,8}){0,3}";
    let procedure = (name, line(), "\\PC{0,20}(\n\\PC{0,20}){0,4}").prop_filter_map(
        "a procedure",
        |(name, description, steps)| {
            let text = ProcedureText::new(&name, &description, &steps).ok()?;
            Some(Record::Procedure(ProcedureRecord { scope: ada(), text }))
        },
    );
    prop_oneof![3 => fact, 1 => block, 1 => procedure]
}

proptest! {
    #[test]
    fn whatever_is_written_is_read_back(records in proptest::collection::vec(record(), 0..12)) {
        prop_assert_eq!(&from_lines(&to_lines(&records)).expect("reads"), &records);
        let written = to_markdown(&ada(), &records);
        let back = from_markdown(&written);
        prop_assert!(back.is_ok(), "{:?}\n{}", back, written);
        let back = back.expect("checked above");
        prop_assert_eq!(to_markdown(&ada(), &back), written);
        let facts = |records: &[Record]| records.iter().filter(|one| matches!(one, Record::Fact(_))).count();
        prop_assert_eq!(facts(&back), facts(&records));
        for record in &back {
            prop_assert!(records.contains(record), "{:?} was not written", record);
        }
    }

    #[test]
    fn no_text_makes_it_stumble(text in "\\PC{0,200}", lines in "([-#> ]{0,4}[a-z_:]{0,12} ?[^\\p{Cc}]{0,12}\n){0,12}") {
        let _ = from_lines(&text);
        let _ = from_markdown(&text);
        let _ = from_markdown(&format!("---\nmemory: 1\nscope: project\n---\n{lines}"));
    }
}
