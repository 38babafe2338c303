//! All shards of a population, one after another or side by side.
//!
//! Invariant: every shard that exists when the work begins is visited once, whichever thread does
//! it; how the shards are divided never shows in the answer, so that what is joined must not
//! depend on the order.

use rayon::prelude::*;

use super::stop::{Stop, Stopped};
use crate::population::{Population, ShardReader};

/// Shards that are not worth handing to another thread: some microseconds of work.
const SHARDS_PER_TASK: usize = 16;

/// Visits every shard, with something that `begin` makes for each thread that takes part, and
/// joins what became of them. On the query threads the shards are divided among them; elsewhere
/// the caller's thread does all.
///
/// # Errors
/// [`Stopped`] if `stop` said so before all were visited.
pub(super) fn over_shards<T: Send>(
    population: &Population,
    stop: &Stop,
    begin: impl Fn() -> T + Send + Sync,
    visit: impl Fn(&mut T, &ShardReader<'_>) + Send + Sync,
    join: impl Fn(T, T) -> T + Send + Sync,
) -> Result<T, Stopped> {
    divided(
        population.shard_count(),
        stop,
        begin,
        |so_far, number| {
            population.with_shard(number, |reader| visit(so_far, reader));
        },
        join,
    )
}

/// Visits the numbers below `count`.
fn divided<T: Send>(
    count: u32,
    stop: &Stop,
    begin: impl Fn() -> T + Send + Sync,
    visit: impl Fn(&mut T, u32) + Send + Sync,
    join: impl Fn(T, T) -> T + Send + Sync,
) -> Result<T, Stopped> {
    let visited = |mut so_far: T, number| {
        stop.check()?;
        visit(&mut so_far, number);
        Ok(so_far)
    };
    let alone = count as usize <= SHARDS_PER_TASK
        || rayon::current_thread_index().is_none()
        || rayon::current_num_threads() == 1;
    if alone {
        return (0..count).try_fold(begin(), visited);
    }
    (0..count)
        .into_par_iter()
        .with_min_len(SHARDS_PER_TASK)
        .try_fold(&begin, visited)
        .try_reduce_with(|a, b| Ok(join(a, b)))
        .unwrap_or_else(|| Ok(begin()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visited(threads: usize, count: u32, stop: &Stop) -> Result<Vec<u32>, Stopped> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let work = || {
            let join = |mut a: Vec<u32>, mut b: Vec<u32>| {
                a.append(&mut b);
                a
            };
            divided(count, stop, Vec::new, Vec::push, join)
        };
        let mut all = pool.unwrap().install(work)?;
        all.sort_unstable();
        Ok(all)
    }

    #[test]
    fn every_number_is_visited_once() {
        for threads in [1, 3] {
            for count in [0, 1, 16, 17, 1_000] {
                let all = visited(threads, count, &Stop::never()).unwrap();
                assert!(all.into_iter().eq(0..count));
            }
        }
    }

    #[test]
    fn work_that_is_stopped_has_no_answer() {
        let stop = Stop::never();
        stop.cancel();
        for threads in [1, 3] {
            assert_eq!(visited(threads, 1_000, &stop), Err(Stopped));
        }
    }
}
