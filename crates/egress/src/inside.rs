//! What a sandbox must be told so that its programs find the way out.

/// The port on the sandbox's loopback address that leads to the proxy's socket.
pub const INSIDE_PORT: u16 = 3128;

/// Variables that name the proxy. Some programs read only the lower-case ones, `curl` for `http` among them.
const PROXY_VARIABLES: &[&str] = &["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"];
/// Variables that name hosts to which no proxy is used. They would lead nowhere.
const NO_PROXY_VARIABLES: &[&str] = &["NO_PROXY", "no_proxy"];
/// What is inside the sandbox itself.
const NO_PROXY: &str = "localhost,127.0.0.1,::1";
/// Variables that name a file with all roots that a program trusts.
const BUNDLE_VARIABLES: &[&str] = &[
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "AWS_CA_BUNDLE",
    "CARGO_HTTP_CAINFO",
];
/// Variables that name a file with roots that a program trusts beside its own.
const ADDITION_VARIABLES: &[&str] = &["NODE_EXTRA_CA_CERTS"];

/// The variables of a sandbox with a proxy. `bundle` is the path, inside, of a file with the usual roots and the
/// authority's certificate; `certificate` that of one with the authority's certificate alone.
#[must_use]
pub fn variables(bundle: &str, certificate: &str) -> Vec<(&'static str, String)> {
    let proxy = format!("http://127.0.0.1:{INSIDE_PORT}");
    let all = |names: &'static [&'static str], value: &str| {
        let value = value.to_owned();
        names.iter().map(move |name| (*name, value.clone()))
    };
    all(PROXY_VARIABLES, &proxy)
        .chain(all(NO_PROXY_VARIABLES, NO_PROXY))
        .chain(all(BUNDLE_VARIABLES, bundle))
        .chain(all(ADDITION_VARIABLES, certificate))
        .collect()
}

/// Whether a variable is one of these, in whatever case, or means the like: no secret may take its place.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    const OTHERS: &[&str] = &["ALL_PROXY", "FTP_PROXY", "SSL_CERT_DIR"];
    let lists = [PROXY_VARIABLES, NO_PROXY_VARIABLES, BUNDLE_VARIABLES, ADDITION_VARIABLES, OTHERS];
    lists.iter().any(|list| list.iter().any(|reserved| reserved.eq_ignore_ascii_case(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_is_set_once_and_reserved() {
        let variables = variables("/b.pem", "/c.pem");
        let mut names: Vec<_> = variables.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), variables.len());
        assert!(names.iter().all(|name| is_reserved(name)));
        for (name, value) in [
            ("HTTPS_PROXY", "http://127.0.0.1:3128"),
            ("http_proxy", "http://127.0.0.1:3128"),
            ("SSL_CERT_FILE", "/b.pem"),
            ("NODE_EXTRA_CA_CERTS", "/c.pem"),
        ] {
            assert!(variables.contains(&(name, value.to_owned())), "{name}");
        }
        for (name, reserved) in
            [("all_proxy", true), ("Ssl_Cert_Dir", true), ("API_KEY", false), ("PROXY", false)]
        {
            assert_eq!(is_reserved(name), reserved, "{name}");
        }
    }
}
