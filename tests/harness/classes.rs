//! Rare classes among others, made up: most of what embeddings tell apart has nothing to do with the class, so a few directions
//! vary much, and classes are moved a little in others.

/// Classes 1, 2 and 3 with their shares; 0 is everything else.
pub(crate) const SHARES: [(i64, f64); 3] = [(1, 0.26), (2, 0.02), (3, 0.001)];

pub(crate) const DIMENSION: usize = 64;

/// Directions of noise, and how far it and classes move vectors, where an object's own scatter is 0.3 a component.
const NUISANCES: usize = 12;
const NUISANCE: f64 = 1.2;
const MOVE: f64 = 1.6;

/// A small generator of random numbers (xorshift), so that data are the same everywhere.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.unit() * bound as f64) as usize
    }

    /// Box and Muller.
    pub(crate) fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    fn direction(&mut self) -> Vec<f64> {
        let vector: Vec<f64> = (0..DIMENSION).map(|_| self.normal()).collect();
        let length = vector.iter().map(|value| value * value).sum::<f64>().sqrt();
        vector.into_iter().map(|value| value / length).collect()
    }
}

/// Makes vectors of the classes.
pub(crate) struct Classes {
    /// What everything is drawn from.
    pub(crate) random: Random,
    nuisances: Vec<Vec<f64>>,
    moves: Vec<Vec<f64>>,
}

impl Classes {
    pub(crate) fn new() -> Self {
        let mut random = Random(0xACE);
        let nuisances = (0..NUISANCES).map(|_| random.direction()).collect();
        let moves = (0..=SHARES.len()).map(|_| random.direction()).collect();
        Self { random, nuisances, moves }
    }

    /// The next object: its class and its vector.
    pub(crate) fn draw(&mut self) -> (i64, Vec<f32>) {
        let Self { random, nuisances, moves } = self;
        let mut drawn = random.unit();
        let of_share = |(class, share): &(i64, f64)| {
            drawn -= share;
            (drawn < 0.0).then_some(*class)
        };
        let class = SHARES.iter().find_map(of_share).unwrap_or(0);
        let mut vector: Vec<f64> = (0..DIMENSION).map(|_| 0.3 * random.normal()).collect();
        let mut shift = |much: f64, direction: &[f64]| {
            vector.iter_mut().zip(direction).for_each(|(value, along)| *value += much * along);
        };
        for direction in nuisances {
            shift(NUISANCE * random.normal(), direction);
        }
        shift(MOVE, &moves[class as usize]);
        (class, vector.into_iter().map(|value| value as f32).collect())
    }
}
