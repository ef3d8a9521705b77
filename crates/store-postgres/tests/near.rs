//! Large spaces have an index of their vectors where the server has pgvector, and the same answers where it has not.

mod fixture;

use std::collections::BTreeMap;

use tenure_journal::{AgentId, Episode, Fresh, ItemId, Labels, MemorySpace, Remembered, SessionId, Speaker};
use tenure_store::{Alike, Append, Candidates, Embedded, Place, Store};
use tenure_store_postgres::{Options, PostgresStore};
use tenure_testkit::postgres::Database;
use tenure_vector::{AskedVector, Vectors};
use tokio_postgres::Client;

use fixture::{NOW, append, by_hand, database, key, options};

const MODEL: &str = "tiny@1";
const NUMBERS: usize = 16;
/// Episodes of the large space.
const MANY: u64 = 300;
/// From which on a space is large.
const LARGE: u32 = 200;

/// Numbers from -1 to 1 that follow from a seed.
fn direction(seed: u64) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(seed);
    let numbers: Vec<f32> = (0..NUMBERS).map(|_| random.f32() * 2.0 - 1.0).collect();
    let length = numbers.iter().map(|number| number * number).sum::<f32>().sqrt();
    numbers.iter().map(|number| number / length).collect()
}

fn space(user: &str) -> MemorySpace {
    let fresh = Fresh::new(NOW, 9);
    MemorySpace { project: key(0).project, agent: AgentId::fresh(&fresh), user: Some(user.to_owned()) }
}

/// The session number `index` says as many words to a user, each once.
async fn say(store: &PostgresStore, index: u64, user: &str, count: u64) {
    let fresh = Fresh::new(NOW, 5 + index);
    let said = |ordinal: u64| Remembered {
        space: space(user),
        episode: Episode {
            session: key(index).session,
            item: ItemId::fresh(&fresh),
            ordinal,
            at: NOW.plus_millis(ordinal),
            speaker: Speaker::User,
            name: None,
            text: format!("{user} {ordinal}"),
            labels: Labels::NEUTRAL,
        },
        terms: vec![format!("word{ordinal}")],
    };
    let episodes = (0..count).map(said).collect();
    store.append(Append { episodes, ..append(key(index), 0, &["x"]) }).await.expect("appended");
}

/// Three vectors of an episode; the last is its sentence's.
fn vectors(episode: &Episode, model: &str) -> Vectors {
    let seed = episode.ordinal * 3 + u64::from(model != MODEL);
    let of = [seed, seed + 100_000, seed + 200_000].map(direction);
    Vectors::of(&of).expect("vectors of a length")
}

/// Vectors for everything that has none, a hundred at a time, and the indexes that follow.
async fn keep(store: &PostgresStore, model: &str) {
    loop {
        let lacking = store.unembedded(model, 0, 100).await.expect("read");
        if lacking.is_empty() {
            return;
        }
        let made = lacking.into_iter().map(|one| {
            let vectors = vectors(&one.episode, model);
            Embedded { project: one.project, episode: one.episode, vectors }
        });
        store.embed(model, made.collect()).await.expect("kept");
        store.indexes_built().await;
    }
}

/// The places of the ten that are most alike, each with its likeness.
async fn found(
    store: &PostgresStore,
    user: &str,
    model: &str,
    seed: u64,
) -> BTreeMap<(SessionId, u64), String> {
    let vector = AskedVector::of(&direction(seed)).expect("numbers");
    let alike = Alike { model: model.to_owned(), vector, hits_max: 10, reach: 0, compared_reach: 0 };
    let found = store.candidates_alike(&space(user), &alike, Candidates::default()).await.expect("found");
    let told = found.stretches.iter().flatten().map(|(number, episode)| {
        let likeness = found.likenesses.get(number).expect("everything was compared");
        ((episode.session, episode.ordinal), format!("{:.4}", likeness.best()))
    });
    told.collect()
}

/// Whether the server has the extension.
async fn has_pgvector(client: &Client) -> bool {
    let sql = "SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector')";
    let has: bool = client.query_one(sql, &[]).await.expect("asked").get(0);
    if !has {
        println!("this server has no pgvector: vectors are compared one by one");
    }
    has
}

/// How many spaces are ready and how many points there are; nothing where there are no tables of them.
async fn indexed(client: &Client) -> Option<(i64, i64)> {
    let there = client.query_one("SELECT to_regclass('near_spaces') IS NOT NULL", &[]).await.expect("asked");
    if !there.get::<_, bool>(0) {
        return None;
    }
    let sql = "SELECT (SELECT count(*) FROM near_spaces WHERE ready), (SELECT count(*) FROM near_points)";
    let row = client.query_one(sql, &[]).await.expect("counted");
    Some((row.get(0), row.get(1)))
}

async fn open_with(database: &Database, indexed_from: u32) -> PostgresStore {
    let options: Options = options(database).with_indexed_from(indexed_from);
    PostgresStore::open(&options).await.expect("the store opens")
}

#[tokio::test]
async fn a_large_space_is_found_in_as_it_was_before_it_had_an_index() {
    let database = database();
    let client = by_hand(&database).await;
    let store = open_with(&database, LARGE).await;
    say(&store, 1, "ada", MANY).await;
    say(&store, 2, "bob", 10).await;
    keep(&store, MODEL).await;
    let points = i64::try_from(3 * MANY).expect("few");
    let expected = has_pgvector(&client).await.then_some((1, points));
    assert_eq!(indexed(&client).await, expected, "the large space has an index, the small one none");

    let comparing = open_with(&database, u32::MAX).await;
    let unindexed = async |user, model, seed| {
        // As long as this is there, no index is asked.
        let hide = "ALTER TABLE IF EXISTS near_spaces RENAME TO hidden";
        client.batch_execute(hide).await.expect("hidden");
        let other = open_with(&database, u32::MAX).await;
        let told = found(&other, user, model, seed).await;
        client.batch_execute("ALTER TABLE IF EXISTS hidden RENAME TO near_spaces").await.expect("shown");
        told
    };
    for seed in 0..20 {
        let told = found(&comparing, "ada", MODEL, seed * 7_919).await;
        assert_eq!(told.len(), 10, "{seed}");
        assert_eq!(told, unindexed("ada", MODEL, seed * 7_919).await, "{seed}");
        assert!(found(&comparing, "carl", MODEL, seed).await.is_empty(), "nobody else's are found");
    }

    // An index that cannot be asked any more fails no recall.
    let told = found(&comparing, "ada", MODEL, 5).await;
    client.batch_execute("ALTER TABLE IF EXISTS near_points RENAME TO hidden").await.expect("hidden");
    assert_eq!(found(&comparing, "ada", MODEL, 5).await, told);
    client.batch_execute("ALTER TABLE IF EXISTS hidden RENAME TO near_points").await.expect("shown");

    // What is said from now on is in the index at once, and what goes is gone from it.
    say(&store, 3, "ada", 5).await;
    keep(&store, MODEL).await;
    assert_eq!(indexed(&client).await, expected.map(|(ready, points)| (ready, points + 15)));
    let place = Place::Session(key(3).session);
    store.erase(key(3).project, &place, tenure_store::Erasing::Remove).await.expect("erased");
    assert_eq!(indexed(&client).await, expected);

    // Another model takes the place of the first, and its index that of the first one's.
    keep(&store, "tiny@2").await;
    assert_eq!(found(&store, "ada", "tiny@2", 4).await, unindexed("ada", "tiny@2", 4).await);
    assert!(found(&store, "ada", MODEL, 4).await.is_empty(), "vectors of the first are gone");
    store.scrub().await.expect("scrubbed");
    let spaces =
        "SELECT count(*) FROM pg_indexes WHERE indexname LIKE 'near_points_%' AND indexdef LIKE '%hnsw%'";
    let indexes: i64 = client.query_one(spaces, &[]).await.expect("counted").get(0);
    assert_eq!(indexes, i64::from(expected.is_some()), "nor of its index");
    for session in [1, 2] {
        let place = Place::Session(key(session).session);
        store.erase(key(session).project, &place, tenure_store::Erasing::Remove).await.expect("erased");
    }
    store.scrub().await.expect("scrubbed");
    assert_eq!(indexed(&client).await, expected.map(|_| (0, 0)), "nothing is left of what is erased");
    store.close().await.expect("closed");
}

#[tokio::test]
async fn an_index_that_was_half_built_is_built_anew() {
    let database = database();
    let client = by_hand(&database).await;
    let store = open_with(&database, LARGE).await;
    say(&store, 1, "ada", MANY).await;
    keep(&store, MODEL).await;
    let before = found(&store, "ada", MODEL, 11).await;
    assert_eq!(before.len(), 10);
    if has_pgvector(&client).await {
        // As a process leaves it that died on the way: some points, and an index that was not built to its end.
        client
            .batch_execute(
                "UPDATE near_spaces SET ready = FALSE; DELETE FROM near_points WHERE episode % 3 = 0; \
                 UPDATE pg_index SET indisvalid = FALSE \
                 WHERE indexrelid = (SELECT to_regclass('near_points_' || near) FROM near_spaces)",
            )
            .await
            .expect("left so");
        assert_eq!(found(&store, "ada", MODEL, 11).await, before, "an index that is not ready is not asked");
    }
    // Whoever next keeps vectors of the space goes on.
    say(&store, 2, "ada", 1).await;
    keep(&store, MODEL).await;
    let points = i64::try_from(3 * (MANY + 1)).expect("few");
    let expected = has_pgvector(&client).await.then_some((1, points));
    assert_eq!(indexed(&client).await, expected);
    assert_eq!(found(&store, "ada", MODEL, 11).await.len(), 10, "and asked again");
    store.close().await.expect("closed");
}
