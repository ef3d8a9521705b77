//! What is read from a `SKILL.md` and from a `plugin.json`: text in, name and description or the mistake out.

use tenure_skill::{
    DESCRIPTION_CHARS_MAX, Error, ErrorKind, MANIFEST_BYTES_MAX, Manifest, read_plugin, read_skill,
};

fn told(result: Result<Manifest, Error>) -> String {
    match result {
        Ok(manifest) => format!("{} | {}", manifest.name(), manifest.description()),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Manifest);
            format!("error: {error}")
        }
    }
}

#[track_caller]
fn skill(text: &str, expected: &str) {
    assert_eq!(told(read_skill(text.as_bytes())), expected, "{text}");
}

#[track_caller]
fn plugin(text: &str, expected: &str) {
    assert_eq!(told(read_plugin(text.as_bytes())), expected, "{text}");
}

#[test]
fn skills_name_and_describe_themselves() {
    skill("---\nname: sum\ndescription: Adds.\n---\n# Body", "sum | Adds.");
    skill("---\r\nname: sum\r\ndescription: Adds.\r\n---\r\n", "sum | Adds.");
    skill("\u{feff}---\nname: a-1-b\ndescription: 'x: y'\n---", "a-1-b | x: y");
    skill("--- \nname: sum\ndescription: >\n  Adds\n  two.\n---\n", "sum | Adds two.");
    skill(
        "---\nname: sum\ndescription: Adds.\nlicense: MIT\nmetadata:\n  author: x\nallowed-tools: a b\n---\n",
        "sum | Adds.",
    );
}

#[test]
fn a_skill_without_front_matter_is_none() {
    let expected = "error: `SKILL.md` must begin with front matter: a line `---`, then `name` and `description`, then \
                    a line `---`";
    for text in ["", "# Sum", "\n---\nname: sum\n---", "---\nname: sum\ndescription: Adds.", "----\n---\n"] {
        skill(text, expected);
    }
    let long = format!("---\nname: {}\n---\n", "x".repeat(MANIFEST_BYTES_MAX));
    skill(&long, "error: the front matter of `SKILL.md` does not end within 16384 bytes");
    let latin = told(read_skill(b"---\nname: \xff\n---\n"));
    assert_eq!(latin, "error: the front matter of `SKILL.md` is not UTF-8 text");
}

#[test]
fn mistakes_of_a_front_matter_are_named() {
    let missing = |member: &str| format!("error: the front matter of `SKILL.md` has no `{member}`");
    skill("---\n---\n", &missing("name"));
    skill("---\ndescription: x\n---\n", &missing("name"));
    skill("---\nname: x\n---\n", &missing("description"));
    skill("---\nname: x\ndescription: '  '\n---\n", "error: `description` must not be empty");
    let long = format!("---\nname: x\ndescription: {}\n---\n", "é".repeat(DESCRIPTION_CHARS_MAX + 1));
    skill(&long, "error: `description` may have at most 1024 characters");
    let fits = "é".repeat(DESCRIPTION_CHARS_MAX);
    skill(&format!("---\nname: x\ndescription: {fits}\n---\n"), &format!("x | {fits}"));
    for (name, shown) in [
        ("Sum", "Sum"),
        ("my_skill", "my_skill"),
        ("-a", "-a"),
        ("a-", "a-"),
        ("a--b", "a--b"),
        ("a/b", "a/b"),
        ("'..'", ".."),
        ("ünter", "ünter"),
        ("''", ""),
    ] {
        skill(
            &format!("---\nname: {name}\ndescription: x\n---\n"),
            &format!(
                "error: the skill's name `{shown}` must be 1 to 64 lower-case letters and digits, with single hyphens \
                 between them"
            ),
        );
    }
    for (text, line) in [
        ("name: x\ndescription: a: b\n", 3),
        ("name: [x]\ndescription: y\n", 2),
        ("name: x\nname: y\ndescription: z\n", 3),
        ("- sum\n- Adds.\n", 2),
    ] {
        skill(
            &format!("---\n{text}---\n"),
            &format!(
                "error: the front matter of `SKILL.md` is not valid YAML near line {line}; it needs `name` and \
                 `description`, each a text, and a text that holds `: ` or `#` needs quotes"
            ),
        );
    }
}

#[test]
fn plugins_name_and_describe_themselves() {
    plugin(
        r#"{"name": "My_plugin-1", "description": "Helps.", "version": "1.0", "skills": "./skills"}"#,
        "My_plugin-1 | Helps.",
    );
    plugin(r#"{"description": "x"}"#, "error: `.codex-plugin/plugin.json` has no `name`");
    plugin(r#"{"name": "x"}"#, "error: `.codex-plugin/plugin.json` has no `description`");
    plugin(r#"{"name": "x", "description": ""}"#, "error: `description` must not be empty");
    for name in ["", "../x", "a b", "-a", ".a", "a/b"] {
        plugin(
            &format!(r#"{{"name": "{name}", "description": "x"}}"#),
            &format!(
                "error: the plugin's name `{name}` must be 1 to 64 letters, digits, `-` and `_`, beginning with a \
                 letter or a digit"
            ),
        );
    }
    let no_object = |line: usize, column: usize| {
        format!(
            "error: `.codex-plugin/plugin.json` is no JSON object with the texts `name` and `description` (line {line}, \
             column {column})"
        )
    };
    plugin("", &no_object(1, 0));
    plugin(r#"{"name": 1}"#, &no_object(1, 10));
    plugin(r#"["maths", "Counts."]"#, &no_object(1, 0));
    let long = format!(r#"{{"name": "x", "description": "{}"}}"#, "x".repeat(MANIFEST_BYTES_MAX));
    plugin(&long, "error: `.codex-plugin/plugin.json` is longer than 16384 bytes");
}
