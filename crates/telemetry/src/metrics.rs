//! Metrics: a few numbers that are counted where things happen and written when someone asks, in the text
//! format of Prometheus (version 0.0.4).
//!
//! Label values come from the configuration or from enums, never from clients, and a family holds at most
//! [`CELLS_MAX`] combinations of them: whatever comes beyond is counted together, as `other`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Combinations of label values that one family holds.
pub const CELLS_MAX: usize = 256;
/// The value of every label of what comes beyond that.
const OTHER: &str = "other";
/// The media type of [`Text`].
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `more`.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// What it has come to.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How many of something there are now.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// One more, until what is returned is dropped.
    #[must_use]
    pub fn enter(self: &Arc<Self>) -> Present {
        self.0.fetch_add(1, Ordering::Relaxed);
        Present(Arc::clone(self))
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One of what a gauge counts.
#[derive(Debug)]
pub struct Present(Arc<Gauge>);

impl Drop for Present {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How durations, or sizes, are spread.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One for each bound, and one for what is beyond the last.
    buckets: Box<[AtomicU64]>,
    /// In millionths.
    sum: AtomicU64,
}

impl Histogram {
    /// Bounds for commits: a lone one costs a sync.
    pub const COMMIT_SECONDS: &'static [f64] =
        &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
    /// Bounds for calls: a quick tool takes milliseconds, a thinking model minutes.
    pub const CALL_SECONDS: &'static [f64] =
        &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0];
    /// Bounds for the sizes of batches.
    pub const SIZES: &'static [f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

    /// A histogram with these upper bounds, which rise.
    #[must_use]
    pub fn new(bounds: &'static [f64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, buckets, sum: AtomicU64::new(0) }
    }

    /// Counts a duration, in seconds.
    pub fn observe(&self, duration: Duration) {
        self.count(duration.as_secs_f64(), u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// Counts a size.
    pub fn observe_size(&self, size: usize) {
        self.count(size as f64, (size as u64).saturating_mul(1_000_000));
    }

    fn count(&self, value: f64, millionths: u64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        self.buckets[place].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(millionths, Ordering::Relaxed);
    }
}

/// The same metric for each combination of label values.
#[derive(Debug)]
pub struct Family<T> {
    labels: &'static [&'static str],
    make: fn() -> T,
    cells: Mutex<BTreeMap<Vec<String>, Arc<T>>>,
}

impl<T> Family<T> {
    /// A family with these labels, whose members are made by `make`.
    #[must_use]
    pub fn new(labels: &'static [&'static str], make: fn() -> T) -> Self {
        Self { labels, make, cells: Mutex::default() }
    }

    /// The member with these label values, one for each label.
    ///
    /// # Panics
    /// If there are not as many values as labels.
    pub fn with(&self, values: &[&str]) -> Arc<T> {
        assert_eq!(values.len(), self.labels.len(), "a value for each label");
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        if !cells.contains_key(&key) && cells.len() >= CELLS_MAX {
            key = vec![OTHER.to_owned(); values.len()];
        }
        Arc::clone(cells.entry(key).or_insert_with(|| Arc::new((self.make)())))
    }

    fn each(&self, mut show: impl FnMut(&[(&str, &str)], &T)) {
        let cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        for (values, cell) in cells.iter() {
            let labels: Vec<_> = self.labels.iter().copied().zip(values.iter().map(String::as_str)).collect();
            show(&labels, cell);
        }
    }
}

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// The metrics as they are now, written one after the other. Each name once.
#[derive(Debug, Default)]
pub struct Text {
    out: String,
}

impl Text {
    /// All of it.
    #[must_use]
    pub fn into_string(self) -> String {
        self.out
    }

    /// One number, and labels that say what it is of.
    pub fn one(&mut self, kind: Kind, name: &str, help: &str, labels: &[(&str, &str)], value: u64) {
        self.head(name, help, kind_word(kind));
        self.sample(name, labels, value);
    }

    /// Several numbers of one name, each with its labels.
    pub fn several<'a, const LABELS: usize>(
        &mut self,
        kind: Kind,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = ([(&'a str, &'a str); LABELS], u64)>,
    ) {
        self.head(name, help, kind_word(kind));
        for (labels, value) in values {
            self.sample(name, &labels, value);
        }
    }

    /// A family of counters.
    pub fn counters(&mut self, name: &str, help: &str, family: &Family<Counter>) {
        self.head(name, help, kind_word(Kind::Counter));
        family.each(|labels, counter| self.sample(name, labels, counter.count()));
    }

    /// A histogram.
    pub fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, help, "histogram");
        self.buckets(name, &[], histogram);
    }

    /// A family of histograms.
    pub fn histograms(&mut self, name: &str, help: &str, family: &Family<Histogram>) {
        self.head(name, help, "histogram");
        family.each(|labels, histogram| self.buckets(name, labels, histogram));
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        writeln!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}").expect("a string takes everything");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.out.push_str(name);
        for (place, (label, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let before = if place == 0 { '{' } else { ',' };
            write!(self.out, "{before}{label}=\"{value}\"").expect("a string takes everything");
        }
        if !labels.is_empty() {
            self.out.push('}');
        }
        writeln!(self.out, " {value}").expect("a string takes everything");
    }

    fn buckets(&mut self, name: &str, labels: &[(&str, &str)], histogram: &Histogram) {
        let (buckets, mut total) = (format!("{name}_bucket"), 0);
        let bounds = histogram.bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (bound, count) in bounds.zip(&histogram.buckets) {
            total += count.load(Ordering::Relaxed);
            let labels = [labels, &[("le", bound.as_str())]].concat();
            self.sample(&buckets, &labels, total);
        }
        let sum = histogram.sum.load(Ordering::Relaxed) as f64 / 1e6;
        self.sample(&format!("{name}_sum"), labels, sum);
        self.sample(&format!("{name}_count"), labels, total);
    }
}

fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_prometheus_reads() {
        let calls = Family::new(&["model", "outcome"], Counter::default);
        calls.with(&["fast", "ok"]).add(2);
        calls.with(&["a\"b\\c\nd", "ok"]).add(1);
        let seconds = Histogram::new(&[0.1, 1.0]);
        for millis in [50, 100, 500, 5_000] {
            seconds.observe(Duration::from_millis(millis));
        }
        let mut text = Text::default();
        text.one(Kind::Gauge, "x_active", "How many.", &[], 3);
        text.counters("x_calls_total", "Calls.", &calls);
        text.histogram("x_seconds", "Time.", &seconds);
        assert_eq!(
            text.into_string(),
            "# HELP x_active How many.\n\
             # TYPE x_active gauge\n\
             x_active 3\n\
             # HELP x_calls_total Calls.\n\
             # TYPE x_calls_total counter\n\
             x_calls_total{model=\"a\\\"b\\\\c\\nd\",outcome=\"ok\"} 1\n\
             x_calls_total{model=\"fast\",outcome=\"ok\"} 2\n\
             # HELP x_seconds Time.\n\
             # TYPE x_seconds histogram\n\
             x_seconds_bucket{le=\"0.1\"} 2\n\
             x_seconds_bucket{le=\"1\"} 3\n\
             x_seconds_bucket{le=\"+Inf\"} 4\n\
             x_seconds_sum 5.65\n\
             x_seconds_count 4\n"
        );
    }

    #[test]
    fn a_family_is_bounded_and_a_gauge_lets_go() {
        let family = Family::new(&["of"], Counter::default);
        for number in 0..CELLS_MAX * 2 {
            family.with(&[&number.to_string()]).add(1);
        }
        assert_eq!(family.with(&[OTHER]).count(), CELLS_MAX as u64);
        let (mut cells, mut total) = (0, 0);
        family.each(|_, counter| {
            cells += 1;
            total += counter.count();
        });
        assert_eq!((cells, total), (CELLS_MAX + 1, CELLS_MAX as u64 * 2));

        let gauge = Arc::new(Gauge::default());
        let (one, other) = (gauge.enter(), gauge.enter());
        assert_eq!(gauge.count(), 2);
        drop(one);
        assert_eq!(gauge.count(), 1);
        drop(other);
        assert_eq!(gauge.count(), 0);
    }
}
