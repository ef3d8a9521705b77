//! What `sslmode` demands, against a server with a certificate for `localhost` only.

use std::net::TcpListener;

use tenure_store::{Store as _, StoreErrorKind};
use tenure_store_postgres::{Options, PostgresStore};
use tenure_testkit::postgres::Postgres;
use tokio_postgres::NoTls;

/// A key and a certificate that is its own issuer, and one of another issuer.
const CERTIFICATES: &str = "
    make() {
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout $1.key -out $1.pem \
            -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE
    }
    make server && make other && chmod 600 server.key
";

/// A port that was free a moment ago.
fn port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    listener.local_addr().expect("is bound").port()
}

/// Whether all connections of stores are encrypted, or none.
async fn encrypted(port: u16) -> Option<bool> {
    let url = format!("postgres://postgres@localhost:{port}/postgres?sslmode=disable");
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("connects");
    tokio::spawn(connection);
    let sql =
        "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'tenure'";
    let rows = client.query(sql, &[]).await.expect("asks");
    let mut encrypted = rows.iter().map(|row| row.get::<_, bool>(0));
    let first = encrypted.next()?;
    encrypted.all(|other| other == first).then_some(first)
}

#[tokio::test]
async fn certificates_are_verified_as_far_as_asked() {
    let port = port();
    let settings = format!(
        "-c fsync=off -c listen_addresses=127.0.0.1 -c port={port} \
         -c ssl=on -c ssl_cert_file=server.pem -c ssl_key_file=server.key"
    );
    let server = Postgres::private(&settings, CERTIFICATES);
    let data = server.data_directory().expect("it is private");
    let file = |name: &str| data.join(name).display().to_string();
    let (server_root, other_root) = (file("server.pem"), file("other.pem"));
    for (host, query, is_trusted) in [
        ("localhost", "sslmode=disable".to_owned(), true),
        ("localhost", "sslmode=prefer".to_owned(), true),
        ("localhost", "sslmode=require".to_owned(), true),
        ("localhost", format!("sslmode=require&sslrootcert={server_root}"), true),
        ("localhost", format!("sslmode=require&sslrootcert={other_root}"), false),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={server_root}"), true),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={other_root}"), false),
        ("localhost", format!("sslmode=verify-full&sslrootcert={server_root}"), true),
        ("127.0.0.1", format!("sslmode=verify-full&sslrootcert={server_root}"), false),
        ("localhost", "sslmode=verify-full".to_owned(), false),
    ] {
        let url = format!("postgres://postgres@{host}:{port}/postgres?{query}");
        let options = Options::parse(&url).expect("the URL is one");
        match (PostgresStore::open(&options).await, is_trusted) {
            (Ok(store), true) => {
                assert_eq!(store.nodes().await.expect("answers"), 0, "{host} {query}");
                let encrypted = encrypted(port).await;
                assert_eq!(encrypted, Some(!query.contains("disable")), "{host} {query}");
                store.close().await.expect("closes");
            }
            (Err(error), false) => assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{host} {query}"),
            (Ok(_), false) => panic!("{host} {query}: connected"),
            (Err(error), true) => panic!("{host} {query}: {error:?}"),
        }
    }
}
