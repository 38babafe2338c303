//! A population made of numbers: always the same, and nothing in it depends on the order of its
//! users.

/// 2026-01-01T00:00:00Z, in seconds since 1970.
pub const NOW: i64 = 1_767_225_600;
pub const DAY: i64 = 86_400;
pub const COUNTRIES: usize = 200;
pub const CITIES_PER_COUNTRY: usize = 25;
pub const PLANS: [(&str, f64); 4] = [
    ("free", 0.70),
    ("basic", 0.18),
    ("pro", 0.09),
    ("enterprise", 0.03),
];
pub const SYSTEMS: [(&str, f64); 6] = [
    ("android", 0.44),
    ("ios", 0.28),
    ("windows", 0.15),
    ("macos", 0.08),
    ("linux", 0.03),
    ("other", 0.02),
];
pub const GENDERS: [(&str, f64); 3] = [("female", 0.48), ("male", 0.48), ("other", 0.04)];
pub const APP_VERSIONS: usize = 60;
pub const LANGUAGES: usize = 40;
pub const TAGS: usize = 500;

/// One user.
#[derive(Clone, Debug)]
pub struct Row {
    pub country: usize,
    /// Within all countries.
    pub city: usize,
    pub plan: usize,
    pub system: usize,
    pub app_version: usize,
    pub language: usize,
    pub gender: usize,
    pub subscriber: bool,
    pub age: i64,
    /// In cents.
    pub amount: i64,
    /// In seconds since 1970.
    pub signed_up: i64,
    /// In seconds since 1970.
    pub last_seen: i64,
    /// Ascending.
    pub tags: Vec<usize>,
}

pub struct World {
    countries: Vec<f64>,
    cities: Vec<f64>,
    languages: Vec<f64>,
    app_versions: Vec<f64>,
    tags: Vec<f64>,
}

/// Sebastiano Vigna's `SplitMix64` (2015): a stream of numbers from a seed.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly in 0..1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn pick(&mut self, cumulative: &[f64]) -> usize {
        let at = self.unit() * cumulative[cumulative.len() - 1];
        cumulative
            .partition_point(|&upto| upto <= at)
            .min(cumulative.len() - 1)
    }

    fn weighted(&mut self, weights: &[(&str, f64)]) -> usize {
        let mut at = self.unit();
        for (position, (_, weight)) in weights.iter().enumerate() {
            if at < *weight {
                return position;
            }
            at -= weight;
        }
        weights.len() - 1
    }

    /// Normal with mean 0 and deviation 1, by Box and Muller (1958).
    pub fn normal(&mut self) -> f64 {
        let (a, b) = (1.0 - self.unit(), self.unit());
        (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
    }
}

/// Sums of the weights 1, 1/2^s, 1/3^s, ...
pub fn zipf(items: usize, exponent: f64) -> Vec<f64> {
    let mut sum = 0.0;
    (1..=items)
        .map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        })
        .collect()
}

impl World {
    pub fn new() -> Self {
        Self {
            countries: zipf(COUNTRIES, 1.0),
            cities: zipf(CITIES_PER_COUNTRY, 0.8),
            languages: zipf(LANGUAGES, 1.1),
            app_versions: zipf(APP_VERSIONS, 0.9),
            tags: zipf(TAGS, 0.7),
        }
    }

    pub fn row(&self, number: u64) -> Row {
        let mut random = Random(number.wrapping_mul(0xd6e8_feb8_6659_fd93));
        let country = random.pick(&self.countries);
        let city = country * CITIES_PER_COUNTRY + random.pick(&self.cities);
        let amount = if random.unit() < 0.4 {
            0
        } else {
            ((3.2 + 1.2 * random.normal()).exp() * 100.0)
                .round()
                .min(1e9) as i64
        };
        let signed_up = NOW - 1 - (random.unit() * 5.0 * 365.0 * DAY as f64) as i64;
        let away = random.unit().powi(4) * (NOW - signed_up) as f64;
        let mut tags: Vec<usize> = (0..random.next() % 9)
            .map(|_| random.pick(&self.tags))
            .collect();
        tags.sort_unstable();
        tags.dedup();
        Row {
            country,
            city,
            plan: random.weighted(&PLANS),
            system: random.weighted(&SYSTEMS),
            app_version: random.pick(&self.app_versions),
            language: random.pick(&self.languages),
            gender: random.weighted(&GENDERS),
            subscriber: random.unit() < 0.3,
            age: 13 + ((random.unit() * 40.0) + (random.unit() * 38.0)) as i64,
            amount,
            signed_up,
            last_seen: NOW - 1 - away as i64,
            tags,
        }
    }
}

pub fn country_name(country: usize) -> String {
    format!("C{country:03}")
}

pub fn city_name(city: usize) -> String {
    format!("City {city:04}")
}

pub fn language_name(language: usize) -> String {
    format!("l{language:02}")
}

pub fn tag_name(tag: usize) -> String {
    format!("tag-{tag:03}")
}

/// Newest first: popular versions are new ones.
pub fn version_name(version: usize) -> String {
    format!("{}.{}.{}", 6 - version / 12, 11 - version % 12, version % 3)
}

/// A canonical UUID.
pub fn user_id(number: u64) -> String {
    let mut random = Random(number ^ 0x5bd1_e995);
    let (high, low) = (random.next(), random.next());
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        low >> 52,
        low & 0xffff_ffff_ffff
    )
}
