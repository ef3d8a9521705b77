//! Whatever a plugin writes about its servers: what is taken stays within the plugin, within the limits, and holds no
//! value of a variable.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tenure_skill::{NamedServers, SERVER_BYTES_MAX, SERVERS_MAX, ServersAt, read_servers, servers_at};

const PLUGIN: &str = "/w/p";

fuzz_target!(|bytes: &[u8]| {
    match read_servers(bytes, PLUGIN) {
        Ok(named) => sound(&named),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    match servers_at(bytes, PLUGIN) {
        Ok(ServersAt::Inline(named)) => sound(&named),
        Ok(ServersAt::File(path)) => assert!(!path.is_root() && path.names().all(|name| name != b"..")),
        Ok(ServersAt::Default) => {}
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});

fn sound(named: &NamedServers) {
    assert!(named.servers.len() <= SERVERS_MAX);
    let below = |path: &str| {
        let rest = path.strip_prefix(PLUGIN).expect("it begins with the plugin's directory");
        assert!(rest.is_empty() || rest.starts_with('/'));
        assert!(rest.split('/').all(|name| name != ".."));
    };
    for server in &named.servers {
        assert!(!server.name.is_empty() && server.name.bytes().all(|byte| byte.is_ascii_graphic()));
        assert!(!server.command.is_empty() && server.command != PLUGIN);
        if server.command.contains('/') {
            below(&server.command);
        }
        below(&server.cwd);
        let plain = |name: &String| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        assert!(server.env_vars.iter().all(plain));
        let texts = server.args.iter().chain([&server.command, &server.cwd]);
        assert!(texts.clone().all(|text| !text.contains('\0')));
        assert!(texts.map(String::len).sum::<usize>() <= SERVER_BYTES_MAX);
    }
    assert!(named.refused.iter().all(|(_, why)| !why.is_empty()));
}
