//! The shipped orders are exactly what this generates: invented people, reserved domains, no chance.
//!
//! After a change here, `TENURE_WRITE_ORDERS=1 cargo test -p tenure --test orders_csv` writes the file.

use std::fmt::Write as _;
use std::path::Path;

const ORDERS: usize = 520;
const FIRST_ID: usize = 1001;
/// 2026-01-05, a Monday, in days since 1970-01-01.
const FIRST_DAY: i64 = 20_458;

const FIRST_NAMES: [&str; 24] = [
    "Ada", "Bruno", "Chiara", "Dmitri", "Elif", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Kamala", "Liam",
    "Mei", "Noor", "Oscar", "Paula", "Quentin", "Rosa", "Sven", "Tomoko", "Uma", "Viktor", "Wanda", "Yusuf",
];
const LAST_NAMES: [&str; 20] = [
    "Albrecht",
    "Brightwater",
    "Castellan",
    "Dunmore",
    "Eriksdal",
    "Fairbank",
    "Greywick",
    "Holloway",
    "Ivarsen",
    "Jorvik",
    "Kestrel",
    "Lindqvist",
    "Marlowe",
    "Northgate",
    "Okonjo",
    "Pemberly",
    "Quillfeather",
    "Rosewood",
    "Stellan",
    "Thornbury",
];
/// What is sold, and for how much.
const ITEMS: [(&str, u64); 16] = [
    ("Desk lamp", 3_900),
    ("Standing desk", 44_900),
    ("Office chair", 21_900),
    ("Noise-cancelling headphones", 17_900),
    ("Mechanical keyboard", 12_900),
    ("Wireless mouse", 4_900),
    ("27-inch monitor", 28_900),
    ("Laptop stand", 5_400),
    ("USB-C dock", 15_900),
    ("Webcam", 7_900),
    ("Dotted notebook", 1_450),
    ("Fountain pen", 6_200),
    ("Backpack", 8_900),
    ("Water bottle", 2_400),
    ("Coffee grinder", 9_900),
    ("Steel tea kettle", 5_900),
];

/// SplitMix64: the same numbers everywhere and for ever.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

fn generate() -> String {
    let mut chance = Chance(20_260_105);
    let customers: Vec<_> = (0..140)
        .map(|_| {
            let first = FIRST_NAMES[chance.below(FIRST_NAMES.len())];
            let last = LAST_NAMES[chance.below(LAST_NAMES.len())];
            let domain = ["com", "net", "org"][(first.len() + last.len()) % 3];
            let currency = ["EUR", "EUR", "USD", "GBP"][last.len() % 4];
            let email = format!("{}.{}@example.{domain}", first.to_lowercase(), last.to_lowercase());
            (format!("{first} {last}"), email, currency)
        })
        .collect();
    let mut csv = "id,customer,email,item,quantity,total_cents,currency,status,ordered_at\n".to_owned();
    let mut minute: i64 = 8 * 60;
    for n in 0..ORDERS {
        minute += 20 + chance.below(900) as i64;
        let (customer, email, currency) = &customers[chance.below(customers.len())];
        let (item, price) = ITEMS[chance.below(ITEMS.len())];
        let quantity = [1, 1, 1, 1, 2, 2, 3, 4][chance.below(8)];
        let status = status(n, chance.below(100));
        let total = price * quantity;
        let at = time(minute);
        let id = FIRST_ID + n;
        writeln!(csv, "ord_{id},{customer},{email},{item},{quantity},{total},{currency},{status},{at}")
            .expect("a string");
    }
    csv
}

/// Old orders are settled, the newest are under way.
fn status(n: usize, percent: usize) -> &'static str {
    match (n, percent) {
        (_, 0..6) => "cancelled",
        (..470, 6..15) => "returned",
        (..470, _) => "delivered",
        (470..500, _) => "shipped",
        _ => "processing",
    }
}

/// RFC 3339 of a minute since the first day.
fn time(minute: i64) -> String {
    let timestamp = jiff::Timestamp::from_second(FIRST_DAY * 86_400 + minute * 60);
    timestamp.expect("within range").to_string()
}

#[test]
fn the_shipped_orders_are_generated() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/orders.csv");
    let generated = generate();
    if std::env::var_os("TENURE_WRITE_ORDERS").is_some() {
        std::fs::write(&path, &generated).expect("a writable file");
    }
    let shipped = std::fs::read_to_string(&path).expect("the shipped file");
    assert!(shipped == generated, "data/orders.csv differs; write it with TENURE_WRITE_ORDERS=1");
    assert!(shipped.lines().count() > 500);
}
