//! Loss of power under the real server: its data directory is on a disk that forgets what was not synced, and
//! the services around it are not.
//!
//! What a service was asked must be in the journal that is left, as an intention whose attempt had begun: a
//! server that asks first and remembers later is found out here, and nowhere else. Where no file system can be
//! mounted the test says so and proves nothing.

#[path = "../../../store-sqlite/tests/disk/mod.rs"]
#[allow(dead_code, reason = "the tests of the store use the rest")]
mod disk;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde_json::Value;
use tenure_journal::{EffectKind, Event, Version};
use tenure_store::Store as _;
use tenure_store_sqlite::SqliteStore;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::check;
use super::client::Client;
use super::visitor::{Town, Visited, Visitor, order_of};
use super::world::Process;
use super::{LEDGER, LOOK_EVERY, SEED, Services, number};
use disk::{Disk, Image, Keep, Mounted, Syncs};

/// Cuts of a run that does not set another number.
const CUTS: u64 = 20;
/// Changes of the disk between two cuts, at most: enough for a start and some turns.
const CHANGES_MAX: usize = 1_500;
/// The first of the cuts meet the server while it starts for the first time, which takes about so many changes.
const CUTS_AT_START: u64 = 8;
const CHANGES_AT_START: usize = 120;
/// Changes between two cuts of a first start: the seed decides which are tried.
const STARTS_APART: usize = 6;
/// Sessions that are used at once.
const VISITORS: u64 = 6;
/// How long the server lives on a disk without power, at most: what it asks for now it may not have recorded.
const AFTERLIFE_MS: u64 = 150;
/// How long it may take until enough was written.
const PATIENCE: Duration = Duration::from_secs(60);
/// The pause between two looks at the disk.
const PAUSE: Duration = Duration::from_millis(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_was_asked_that_a_power_failure_made_the_journal_forget() {
    if let Some(reason) = disk::unavailable() {
        disk::say_not_run("power failure of the server", &reason);
        return;
    }
    let (seed, cuts) = (number("TENURE_KILL_SEED", SEED), number("TENURE_POWER_CUTS", CUTS));
    let began = Instant::now();
    println!("seed {seed}, {cuts} cuts");
    let services = Services::start().await;
    let (address, addresses) = watch::channel(None);
    let client = Client::new(addresses);
    let town = Arc::new(Town::new(LOOK_EVERY));
    let visitors = visitors(&client, &town, seed);
    let mut chance = Rng::with_seed(seed);
    let (mut image, mut asked) = (Image::default(), 0);
    for cut in 0..cuts {
        let keep = *chance.choice(&[Keep::Nothing, Keep::Prefix, Keep::Scattered]).expect("three");
        let changes = chance.usize(..if cut < CUTS_AT_START { CHANGES_AT_START } else { CHANGES_MAX });
        let disk = Disk::new(&image, chance.u64(..)).cut_after(changes, keep);
        live_until_cut(&services, &disk, &address, &mut chance).await;
        image = disk.image();
        asked = intended(&image, &services)
            .await
            .unwrap_or_else(|loss| panic!("seed {seed}, cut {cut}, {keep:?}: {loss}"));
    }
    println!("{asked} calls had been intended after {:.1} s", began.elapsed().as_secs_f64());

    // The power stays on.
    let disk = Disk::new(&image, 0);
    let mounted = Mounted::new(&disk);
    let server = serve(&services, &mounted).await.expect("it starts on what was left");
    address.send_replace(Some(server.address.clone()));
    town.closing.store(true, Ordering::Relaxed);
    let visited: Vec<Visited> = visitors.join_all().await.into_iter().flatten().collect();
    let tally = check::all(&client, &visited, &services.deeds()).await;
    println!("{tally:?}");
    assert!(tally.refunds > 0 && tally.parcels > 0, "too little happened: {tally:?}");
    server.ask_to_end();
    assert_eq!(server.ended().await.0, Some(0));
    tokio::task::block_in_place(|| drop(mounted));
    let asked = intended(&disk.image(), &services).await.expect("everything was intended");
    println!("{asked} calls had been intended, {:.1} s", began.elapsed().as_secs_f64());
}

/// The check itself is checked: on a disk that only pretends to sync content, it must find what was asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_believes_a_lying_disk_is_found_out() {
    if let Some(reason) = disk::unavailable() {
        disk::say_not_run("power failure of the server", &reason);
        return;
    }
    let services = Services::start().await;
    let (address, addresses) = watch::channel(None);
    let visitors = visitors(&Client::new(addresses), &Arc::new(Town::new(LOOK_EVERY)), SEED);
    let disk = Disk::new(&Image::default(), 1);
    disk.set_syncs(Syncs::Lying);
    let mounted = Mounted::new(&disk);
    let server = serve(&services, &mounted).await.expect("it starts");
    address.send_replace(Some(server.address.clone()));
    assert!(services.courier.ship_one_silently(PATIENCE).await, "nothing was shipped");
    drop(visitors);
    server.kill().await;
    tokio::task::block_in_place(|| drop(mounted));
    intended(&disk.image(), &services).await.expect_err("nothing was synced");
}

/// A first start that is cut anywhere leaves what the next start can begin with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_start_may_be_cut_anywhere() {
    if let Some(reason) = disk::unavailable() {
        disk::say_not_run("power failure of the server", &reason);
        return;
    }
    let seed = number("TENURE_KILL_SEED", SEED);
    let services = Services::start().await;
    let mut chance = Rng::with_seed(seed);
    for cut in (chance.usize(..STARTS_APART)..).step_by(STARTS_APART) {
        let keep = *chance.choice(&[Keep::Prefix, Keep::Scattered]).expect("two");
        let disk = Disk::new(&Image::default(), chance.u64(..)).cut_after(cut, keep);
        let mounted = Mounted::new(&disk);
        let started = serve(&services, &mounted).await;
        let is_over = !disk.is_cut();
        if let Some(server) = started {
            server.kill().await;
        }
        tokio::task::block_in_place(|| drop(mounted));
        let disk = Disk::new(&disk.image(), 0);
        let mounted = Mounted::new(&disk);
        let server = serve(&services, &mounted).await;
        let server = server.unwrap_or_else(|| panic!("seed {seed}: it does not start after {cut}, {keep:?}"));
        server.kill().await;
        tokio::task::block_in_place(|| drop(mounted));
        if is_over {
            println!("seed {seed}: a first start makes fewer than {cut} changes");
            return;
        }
    }
}

fn visitors(client: &Client, town: &Arc<Town>, seed: u64) -> JoinSet<Vec<Visited>> {
    let mut visitors = JoinSet::new();
    for number in 0..VISITORS {
        let chance = Rng::with_seed(seed ^ (number + 1));
        let (client, town) = (client.clone(), Arc::clone(town));
        visitors.spawn(Visitor { client, town, chance, reads: false }.visit());
    }
    visitors
}

async fn serve(services: &Services, mounted: &Mounted) -> Option<Process> {
    let data = mounted.path().display().to_string();
    Process::try_listening(services.directory.path(), &["serve", "--port", "0", "--data", &data]).await
}

/// Serves on `disk` until it has no power, and a little longer.
async fn live_until_cut(
    services: &Services,
    disk: &Disk,
    address: &watch::Sender<Option<String>>,
    chance: &mut Rng,
) {
    let mounted = Mounted::new(disk);
    let deadline = Instant::now() + PATIENCE;
    while !disk.is_cut() {
        // Without power it does not start.
        let Some(server) = serve(services, &mounted).await else {
            assert!(disk.is_cut(), "a server does not start on what is left");
            break;
        };
        address.send_replace(Some(server.address.clone()));
        while !disk.is_cut() {
            assert!(Instant::now() < deadline, "nothing is written");
            tokio::time::sleep(PAUSE).await;
        }
        tokio::time::sleep(Duration::from_millis(chance.u64(..AFTERLIFE_MS))).await;
        server.kill().await;
        address.send_replace(None);
    }
    // Unmounting waits for this process's own file system.
    tokio::task::block_in_place(|| drop(mounted));
}

/// Whether the journal that is on a disk knows of everything that services were asked to do, and each refund of
/// it under the key of one effect; gives how many calls it knows of.
async fn intended(image: &Image, services: &Services) -> Result<usize, String> {
    let directory = tempfile::tempdir().expect("a directory");
    image.write_to(directory.path()).expect("writes");
    let store = SqliteStore::open(directory.path()).map_err(|error| format!("does not open: {error}"))?;
    let problems = store.integrity().await.map_err(|error| error.to_string())?.problems;
    if !problems.is_empty() {
        return Err(format!("{problems:?}"));
    }
    let begun = begun(&store).await;
    let ledger = std::fs::read_to_string(services.directory.path().join(LEDGER)).unwrap_or_default();
    for line in ledger.lines() {
        let refund: Value = serde_json::from_str(line).expect("a refund");
        let key = refund["idempotency_key"].as_str().expect("a key");
        let order = order_of(&refund);
        if begun.get(key) != Some(&format!("refund {order}")) {
            return Err(format!("nobody intended {refund}: it is known as {:?}", begun.get(key)));
        }
    }
    let parcels: BTreeSet<&String> = begun.values().collect();
    for order in services.courier.shipped() {
        if !parcels.contains(&format!("ship {order}")) {
            return Err(format!("nobody intended to ship {order}"));
        }
    }
    Ok(begun.len())
}

/// The tool and the order of every call of which an attempt had begun, by its effect.
async fn begun(store: &SqliteStore) -> BTreeMap<String, String> {
    let mut begun = BTreeMap::new();
    for key in store.every_session(None, usize::MAX).await.expect("readable") {
        let mut requested = BTreeMap::new();
        for recorded in store.events(key, Version::ZERO, usize::MAX).await.expect("readable") {
            if let Event::EffectRequested { effect } = recorded.event {
                requested.insert(effect.id, effect.kind);
            } else if let Event::AttemptStarted { effect_id, .. } = recorded.event
                && let Some(EffectKind::ToolCall { name, arguments, .. }) = requested.get(&effect_id)
            {
                begun.insert(effect_id.to_string(), format!("{name} {}", order_of(arguments)));
            }
        }
    }
    begun
}
