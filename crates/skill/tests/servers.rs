//! The MCP servers that plugins name: JSON in, what would be started and what is refused out; and where they are
//! looked for.

use proptest::prelude::*;
use tenure_skill::{
    MANIFEST_BYTES_MAX, NamedServers, SERVER_BYTES_MAX, SERVERS_MAX, ServersAt, read_servers, servers_at,
};
use tenure_workspace::{Directory, FilePath, Place};

/// Where the plugin is, in all of these.
const PLUGIN: &str = "/w/p";

/// One line a server: what is started, or why it is not.
fn told(named: &NamedServers) -> Vec<String> {
    let started = named.servers.iter().map(|server| {
        let mut line =
            format!("{}: {} {} in {}", server.name, server.command, server.args.join(" "), server.cwd);
        for name in &server.env_vars {
            line += &format!(" with {name}");
        }
        if let Some(tools) = &server.tools {
            line += &format!(" only {}", tools.join(" "));
        }
        line
    });
    let refused = named.refused.iter().map(|(name, why)| format!("{name} refused: {why}"));
    started.chain(refused).collect()
}

#[track_caller]
fn file(text: &str, expected: &[&str]) {
    let told = match read_servers(text.as_bytes(), PLUGIN) {
        Ok(named) => told(&named),
        Err(error) => vec![format!("error: {error}")],
    };
    assert_eq!(told, expected, "{text}");
}

#[track_caller]
fn manifest(text: &str, expected: &str) {
    let told = match servers_at(text.as_bytes(), PLUGIN) {
        Ok(ServersAt::Default) => "the usual file".to_owned(),
        Ok(ServersAt::File(path)) => format!("file {path}"),
        Ok(ServersAt::Inline(named)) => told(&named).join("; "),
        Err(error) => format!("error: {error}"),
    };
    assert_eq!(told, expected, "{text}");
}

#[test]
fn a_manifest_says_where_the_servers_are_named() {
    manifest("{}", "the usual file");
    manifest(r#"{"name":"x","mcpServers":"./config/servers.json"}"#, "file config/servers.json");
    manifest(r#"{"mcpServers":"servers.json"}"#, "file servers.json");
    manifest(r#"{"mcpServers":{"a":{"command":"python3","args":["a.py"]}}}"#, "a: python3 a.py in /w/p");
    let outside = "error: `mcpServers` of `.codex-plugin/plugin.json` must be the path of a file of the plugin, such as \
                   `./.mcp.json`";
    for path in ["../x.json", "/etc/x.json", "", "./", "a/../../x"] {
        manifest(&format!(r#"{{"mcpServers":"{path}"}}"#), outside);
    }
    for wrong in ["null1", "[]", r#"["./x.json"]"#, "1", "{", ""] {
        let error = servers_at(wrong.as_bytes(), PLUGIN).expect_err("refused").to_string();
        assert!(error.starts_with("`.codex-plugin/plugin.json` is no JSON object"), "{error}");
    }
    for wrong in ["[]", "null", "true", "1"] {
        manifest(
            &format!(r#"{{"mcpServers":{wrong}}}"#),
            "error: `mcpServers` of `.codex-plugin/plugin.json` must be a path or an object",
        );
    }
}

#[test]
fn both_forms_of_the_file_are_read() {
    let server = r#"{"command":"./serve","args":["-v"],"cwd":"./bin/","env_vars":["HOME"],
        "env":{"HOME":"${HOME}","A":"${A}"},"enabled":true,"enabled_tools":["find"],"more":{}}"#;
    let expected = ["notes: /w/p/bin/serve -v in /w/p/bin with HOME with A only find"];
    file(&format!(r#"{{"mcpServers":{{"notes":{server}}}}}"#), &expected);
    file(&format!(r#"{{"notes":{server}}}"#), &expected);
    file("{}", &[]);
    file(
        r#"{"mcpServers":1}"#,
        &["error: `mcpServers` of the file that names the plugin's MCP servers must be an object"],
    );
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(MANIFEST_BYTES_MAX));
    file(&long, &["error: the file that names the plugin's MCP servers is longer than 16384 bytes"]);
}

#[test]
fn a_program_is_looked_for_or_is_a_file_of_the_plugin() {
    let outside = "a refused: its `command` must be the name of a program, or a path within the plugin";
    for (written, expected) in [
        (r#""command":"python3""#, "a: python3  in /w/p"),
        (r#""command":"./serve""#, "a: /w/p/serve  in /w/p"),
        (r#""command":"bin//./serve/""#, "a: /w/p/bin/serve  in /w/p"),
        (r#""command":"serve.sh","cwd":"bin""#, "a: serve.sh  in /w/p/bin"),
        (r#""command":"./serve.sh","cwd":"bin""#, "a: /w/p/bin/serve.sh  in /w/p/bin"),
        (r#""command":"${PLUGIN_ROOT}/bin/serve","cwd":"data""#, "a: /w/p/bin/serve  in /w/p/data"),
        (r#""command":"x","cwd":"${CLAUDE_PLUGIN_ROOT}""#, "a: x  in /w/p"),
        (
            r#""command":"sh","args":["${PLUGIN_ROOT}/a","-d${CLAUDE_PLUGIN_ROOT}/","${HOME}"]"#,
            "a: sh /w/p/a -d/w/p/ ${HOME} in /w/p",
        ),
        (r#""command":"/usr/bin/python3""#, outside),
        (r#""command":"/w/p/serve""#, outside),
        (r#""command":"../serve""#, outside),
        (r#""command":"./bin/../../serve""#, outside),
        (r#""command":"${PLUGIN_ROOT}x/serve""#, outside),
        (r#""command":"${PLUGIN_ROOT}/../serve""#, outside),
        (r#""command":"./""#, outside),
        (r#""command":"${PLUGIN_ROOT}/","cwd":"bin""#, outside),
        (r#""command":".""#, outside),
        (r#""command":"..""#, outside),
        (r#""command":"""#, outside),
        (r#""args":[]"#, "a refused: it has no `command`"),
    ] {
        file(&format!(r#"{{"a":{{{written}}}}}"#), &[expected]);
    }
}

#[test]
fn a_plugin_in_the_topmost_directory_has_paths_as_well() {
    let named = read_servers(br#"{"a":{"command":"./x"},"b":{"command":"x"}}"#, "/").expect("read");
    assert_eq!(told(&named), ["a: /x  in /", "b: x  in /"]);
}

#[test]
fn one_that_is_wrong_takes_no_other_with_it() {
    let network = "refused: it is no program of the plugin, and a plugin opens no way into a network; name it among the \
                   agent's tools";
    let shape = "refused: it must be an object with the text `command`, and `args`, `env_vars`, `enabled_tools` (lists of \
                 texts), `env` (texts by name), `cwd` (a text) and `enabled` (true or false) where they are needed";
    let outside = "refused: its `cwd` must be a path within the plugin";
    let off = "refused: the plugin says that it is switched off";
    let variable =
        "refused: the names of variables must be letters, digits and `_`, and begin with none of the digits";
    let many: String = (0..257).map(|n| format!("\"{n}\",")).collect();
    let many = format!(r#"{{"command":"x","args":[{}]}}"#, many.trim_end_matches(','));
    for (name, written, why) in [
        ("wiki", r#"{"url":"https://wiki.example/mcp"}"#, network),
        ("wiki", r#"{"type":"http","command":"x"}"#, network),
        ("empty", "{}", "refused: it has no `command`"),
        ("list", r#"["stdio",null,"x"]"#, shape),
        ("text", r#""x""#, shape),
        ("number", r#"{"command":1}"#, shape),
        ("described", r#"{"command":"x","env_vars":[{"name":"A","source":"local"}]}"#, shape),
        ("out", r#"{"command":"x","cwd":"../y"}"#, outside),
        ("out", r#"{"command":"x","cwd":"/etc"}"#, outside),
        ("out", r#"{"command":"x","cwd":"${PLUGIN_ROOT}/../.."}"#, outside),
        ("off", r#"{"command":"x","enabled":false}"#, off),
        ("off", r#"{"command":"x","disabled":true}"#, off),
        (
            "less",
            r#"{"command":"x","disabled_tools":["rm"]}"#,
            "refused: `disabled_tools` is not known here; name those that may be used in `enabled_tools`",
        ),
        ("nul", r#"{"command":"x\u0000"}"#, "refused: no text of it may hold a NUL character"),
        ("nul", r#"{"command":"x","args":["\u0000"]}"#, "refused: no text of it may hold a NUL character"),
        ("vars", r#"{"command":"x","env":{"A=B":"c"}}"#, variable),
        ("vars", r#"{"command":"x","env_vars":["*"]}"#, variable),
        ("vars", r#"{"command":"x","env_vars":["1A"]}"#, variable),
        ("vars", r#"{"command":"x","env_vars":[""]}"#, variable),
        ("a b", r#"{"command":"x"}"#, "refused: its name must be 1 to 64 letters, digits, `-` and `_`"),
        ("many", &many, "refused: it has more than 256 arguments, variables or tools"),
    ] {
        let text = format!(r#"{{"{name}":{written},"zz":{{"type":"stdio","command":"y"}}}}"#);
        file(&text, &["zz: y  in /w/p", &format!("{name} {why}")]);
    }
}

#[test]
fn what_is_filled_in_counts() {
    let text = format!(r#"{{"a":{{"command":"x","args":["{}"]}}}}"#, "${PLUGIN_ROOT}".repeat(1_000));
    file(&text, &[&format!("a: x {} in /w/p", PLUGIN.repeat(1_000))]);
    let named = read_servers(text.as_bytes(), &format!("/w/{}", "d".repeat(60))).expect("read");
    let expected = format!("its texts have more than {SERVER_BYTES_MAX} bytes together");
    assert_eq!(named.refused, [("a".to_owned(), expected)]);
}

#[test]
fn what_was_filled_in_is_not_looked_at_again() {
    let text = br#"{"a":{"command":"x","args":["${PLUGIN_ROOT}${CLAUDE_PLUGIN_ROOT}:${CLAUDE_PLUGIN_ROOT}/${PLUGIN"]}}"#;
    for directory in ["/w/${CLAUDE_PLUGIN_ROOT}", "/w/${PLUGIN_ROOT}"] {
        let named = read_servers(text, directory).expect("read");
        assert_eq!(named.servers[0].args, [format!("{directory}{directory}:{directory}/${{PLUGIN")]);
    }
    let directory = format!("/w/{}", "${CLAUDE_PLUGIN_ROOT}/".repeat(190));
    let text = format!(r#"{{"a":{{"command":"x","args":["{}"]}}}}"#, "${PLUGIN_ROOT}".repeat(1_000));
    let named = read_servers(text.as_bytes(), &directory).expect("read");
    assert!(named.servers.is_empty() && named.refused[0].1.starts_with("its texts have more than"));
}

#[test]
fn no_value_of_a_variable_is_taken() {
    for value in ["s3cret", "", "$A", "${B}", "${A:-x}", "x${A}", "${A}x", "${PLUGIN_ROOT}"] {
        let text = format!(r#"{{"a":{{"command":"x","env":{{"A":"{value}"}}}}}}"#);
        let named = read_servers(text.as_bytes(), PLUGIN).expect("read");
        let [(name, why)] = named.refused.as_slice() else { panic!("{value}: {named:?}") };
        assert!(
            name == "a" && why.starts_with("its `env` gives `A` a value, and a plugin is no place"),
            "{why}"
        );
        assert!(!why.contains("s3cret"), "{why}");
    }
}

#[test]
fn the_first_few_are_started() {
    let servers: Vec<String> =
        (0..SERVERS_MAX + 2).map(|n| format!(r#""s{n:02}":{{"command":"x"}}"#)).collect();
    let named = read_servers(format!("{{{}}}", servers.join(",")).as_bytes(), PLUGIN).expect("read");
    assert_eq!((named.servers.len(), named.refused.len()), (SERVERS_MAX, 2));
    assert_eq!(named.refused[0], ("s08".to_owned(), "a plugin may name at most 8 servers".to_owned()));
}

/// A directory with files in it, and what searching `roots` of it finds of plugins: one line each.
struct Files {
    home: tempfile::TempDir,
    files: Directory,
}

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        let place = Place::open(&home.path().join("env")).expect("a place");
        let made = Self { home, files: place.files().expect("files") };
        for (path, text) in files {
            made.files.write(&made.path(path), text.as_bytes()).expect("written");
        }
        made
    }

    fn path(&self, text: &str) -> FilePath {
        FilePath::parse(text.as_bytes()).expect("a path")
    }

    fn link(&self, target: &str, at: &str) {
        let at = self.home.path().join("env/files").join(at);
        std::fs::create_dir_all(at.parent().expect("a parent")).expect("a directory");
        std::os::unix::fs::symlink(target, at).expect("a link");
    }

    fn plugins(&self, roots: &[&str]) -> Vec<String> {
        let roots: Vec<FilePath> = roots.iter().map(|root| self.path(root)).collect();
        let found = tenure_skill::find(&self.files, "/w", &roots, 99).expect("searched");
        let line = |found: &tenure_skill::FoundPlugin| match &found.plugin {
            Ok(plugin) => {
                let name = plugin.manifest.name();
                format!("{} {name}: {}", found.directory, told(&plugin.servers).join("; "))
            }
            Err(error) => format!("{}: {error}", found.directory),
        };
        found.plugins.iter().map(line).collect()
    }
}

const P: &str = r#"{"name":"p","description":"d"}"#;
const SERVERS: &str = r#"{"mcpServers":{"s":{"command":"./s"}}}"#;

#[test]
fn plugins_are_found_with_their_servers() {
    let files = Files::new(&[
        ("a/.codex-plugin/plugin.json", P),
        ("a/.mcp.json", SERVERS),
        ("a/inner/.codex-plugin/plugin.json", P),
        ("b/.codex-plugin/plugin.json", r#"{"name":"b","description":"d","mcpServers":"./conf/s.json"}"#),
        ("b/conf/s.json", r#"{"t":{"command":"t"}}"#),
        ("b/.mcp.json", SERVERS),
        ("c/.codex-plugin/plugin.json", P),
        ("d/.mcp.json", SERVERS),
        ("e/.codex-plugin/plugin.json", "{"),
        ("e/.mcp.json", SERVERS),
        ("f/.codex-plugin/plugin.json", P),
        ("f/.mcp.json", "[]"),
        ("g/.codex-plugin/plugin.json", r#"{"name":"g","description":"d","mcpServers":"./none.json"}"#),
    ]);
    let found = [
        "/w/a p: s: /w/a/s  in /w/a",
        "/w/b b: t: t  in /w/b",
        "/w/c p: ",
        "/w/e: `.codex-plugin/plugin.json` is no JSON object with the texts `name` and `description` (line 1, column 1)",
        "/w/f: the file that names the plugin's MCP servers is no JSON object (line 1, column 0)",
        "/w/g: the plugin's file `none.json` is not there",
    ];
    assert_eq!(files.plugins(&[""]), found);
    assert_eq!(files.plugins(&["b", "none", ""])[0], found[1], "in the order of the directories");
    assert_eq!(files.plugins(&["a/inner"]), ["/w/a/inner p: "]);
}

#[test]
fn no_link_is_followed() {
    let files = Files::new(&[("out/plugin.json", P), ("out/s.json", SERVERS)]);
    files.files.write(&files.path("real/.codex-plugin/plugin.json"), P.as_bytes()).expect("written");
    files.link("/etc/hostname", "real/.mcp.json");
    files.link("../../out/plugin.json", "file/.codex-plugin/plugin.json");
    files.link("../out", "directory/.codex-plugin");
    let by_link = r#"{"name":"x","description":"d","mcpServers":"conf/s.json"}"#;
    files.files.write(&files.path("behind/.codex-plugin/plugin.json"), by_link.as_bytes()).expect("written");
    files.link("../out", "behind/conf");
    files.link("real", "whole");
    let not_plain =
        |file: &str| format!("the plugin's file `{file}` is a link or no file; links are not followed");
    assert_eq!(
        files.plugins(&[""]),
        [
            format!("/w/behind: {}", not_plain("conf/s.json")),
            format!("/w/directory: {}", not_plain(".codex-plugin/plugin.json")),
            format!("/w/file: {}", not_plain(".codex-plugin/plugin.json")),
            format!("/w/real: {}", not_plain(".mcp.json")),
        ]
    );
}

#[test]
fn files_that_are_none_or_too_long_are_told() {
    let long = format!(r#"{{"name":"p","description":"d","x":"{}"}}"#, "x".repeat(MANIFEST_BYTES_MAX));
    let files = Files::new(&[
        ("a/.codex-plugin/plugin.json", &long),
        ("b/.codex-plugin/plugin.json", P),
        ("b/.mcp.json/x", ""),
        ("c/.codex-plugin/plugin.json/x", ""),
    ]);
    assert_eq!(
        files.plugins(&[""]),
        [
            "/w/a: the plugin's file `.codex-plugin/plugin.json` is longer than 16384 bytes",
            "/w/b: the plugin's file `.mcp.json` is a link or no file; links are not followed",
            "/w/c: the plugin's file `.codex-plugin/plugin.json` is a link or no file; links are not followed",
        ]
    );
}

/// Names and values that such files are made of, right and wrong.
fn pieces() -> impl Strategy<Value = String> {
    let name = prop_oneof![Just("mcpServers"), Just("a"), Just("b-1"), Just("../x"), Just(""), Just("é")];
    let value = prop_oneof![
        Just(r#"{"command":"python3","args":["server.py","${PLUGIN_ROOT}"]}"#),
        Just(r#"{"command":"./x","cwd":"./y/"}"#),
        Just(r#"{"command":"${PLUGIN_ROOT}/x","cwd":"${CLAUDE_PLUGIN_ROOT}"}"#),
        Just(r#"{"command":"x","cwd":"a/../.."}"#),
        Just(r#"{"command":"x","env":{"A":"${A}","B":"b"}}"#),
        Just(r#"{"url":"http://x"}"#),
        Just(r#"{"a":{"command":"x","env":{"A":"\u0000"}}}"#),
        Just(r#""./.mcp.json""#),
        Just("null"),
        Just("[]"),
    ];
    prop::collection::vec((name, value), 0..12).prop_map(|members| {
        let members: Vec<String> =
            members.iter().map(|(name, value)| format!(r#""{name}":{value}"#)).collect();
        format!("{{{}}}", members.join(","))
    })
}

fn sound(named: &NamedServers) {
    assert!(named.servers.len() <= SERVERS_MAX);
    for server in &named.servers {
        assert!(!server.name.is_empty() && server.name.is_ascii());
        let below = |path: &str| path == PLUGIN || path.starts_with("/w/p/");
        let is_name = !server.command.is_empty() && !server.command.contains('/');
        assert!(is_name || below(&server.command) && server.command != PLUGIN);
        assert!(below(&server.cwd));
        assert!(
            ![&server.command, &server.cwd].into_iter().any(|path| path.split('/').any(|name| name == ".."))
        );
        let texts = server.args.iter().chain(&server.env_vars).chain([&server.command, &server.cwd]);
        assert!(texts.clone().all(|text| !text.contains('\0')));
        assert!(texts.map(String::len).sum::<usize>() <= SERVER_BYTES_MAX);
    }
    assert!(named.refused.iter().all(|(_, why)| !why.is_empty()));
}

proptest! {
    #[test]
    fn whatever_is_written_is_read_soundly_or_refused(
        text in prop_oneof![pieces().prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..64)],
    ) {
        if let Ok(named) = read_servers(&text, PLUGIN) {
            sound(&named);
        }
        match servers_at(&text, PLUGIN) {
            Ok(ServersAt::Inline(named)) => sound(&named),
            Ok(ServersAt::File(path)) => assert!(!path.is_root() && !path.names().any(|name| name == b"..")),
            Ok(ServersAt::Default) => {}
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}
