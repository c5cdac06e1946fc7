//! How long a packet takes.

use std::time::Duration;

use crate::stopwatch::timed;
use crate::work::{Kind, Work};

const SAMPLES: u32 = 25;
const SAMPLE: Duration = Duration::from_millis(20);

/// Returns the least of several samples: whatever disturbs one only adds to it.
pub(crate) fn per_packet(kind: Kind) -> f64 {
    let mut work = kind.prepare();
    let passes = passes_of_a_sample(work.as_mut());
    let sample = |_| {
        let ((), took) = timed(|| (0..passes).for_each(|_| work.pass()));
        took.as_secs_f64() * 1e9 / f64::from(passes) / f64::from(work.packets())
    };
    (0..SAMPLES).map(sample).fold(f64::INFINITY, f64::min)
}

/// Doubles the passes until they take long enough for the clock.
fn passes_of_a_sample(work: &mut dyn Work) -> u32 {
    let mut passes = 1;
    while timed(|| (0..passes).for_each(|_| work.pass())).1 < SAMPLE {
        passes *= 2;
    }
    passes
}
