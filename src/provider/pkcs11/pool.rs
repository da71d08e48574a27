//! Threads for calls that may hang: each has a state of its own, and callers wait no longer than they want.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Runs jobs on at most so many threads, made when they are needed.
pub(super) struct Pool<S> {
    shared: Arc<Shared<S>>,
}

impl<S: 'static> Pool<S> {
    pub(super) fn new(limit: NonZeroUsize, state: impl Fn() -> S + Send + Sync + 'static) -> Self {
        let queue = Queue { jobs: VecDeque::new(), idle: 0, threads: Vec::new(), gone: 0, closed: false };
        let shared = Shared {
            queue: Mutex::new(queue),
            wakes: Condvar::new(),
            leaves: Condvar::new(),
            limit: limit.get(),
            state: Box::new(state),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Waits for the result of `job`. One that was not begun in time is never begun; one that was goes on without anybody to answer to.
    pub(super) fn run<T: Send + 'static>(
        &self,
        wait: Duration,
        job: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Result<T, PoolError> {
        let (answer, answered) = channel();
        let taken = Arc::new(AtomicBool::new(false));
        let job = Job {
            taken: Arc::clone(&taken),
            // Nobody to answer to: the result is dropped, and what is secret in it is wiped.
            work: Box::new(move |state| drop(answer.send(job(state)))),
        };
        self.submit(job)?;
        match answered.recv_timeout(wait) {
            Ok(result) => Ok(result),
            Err(RecvTimeoutError::Disconnected) => Err(PoolError::Panicked),
            Err(RecvTimeoutError::Timeout) => {
                taken.store(true, Ordering::SeqCst);
                Err(PoolError::Timeout)
            }
        }
    }

    fn submit(&self, job: Job<S>) -> Result<(), PoolError> {
        let mut queue = self.shared.lock();
        queue.jobs.push_back(job);
        if queue.jobs.len() > queue.idle && queue.threads.len() < self.shared.limit {
            let shared = Arc::clone(&self.shared);
            match std::thread::Builder::new().name("pkcs11".to_owned()).spawn(move || work(&shared)) {
                Ok(thread) => queue.threads.push(thread),
                Err(error) if queue.threads.is_empty() => {
                    queue.jobs.pop_back();
                    return Err(PoolError::Spawn(error));
                }
                // Another thread will come to it.
                Err(_) => {}
            }
        }
        self.shared.wakes.notify_one();
        Ok(())
    }
}

impl<S> Drop for Pool<S> {
    /// Waits for the threads, but for those that hang: a module must not be called any more when the process begins to end.
    fn drop(&mut self) {
        let mut queue = self.shared.lock();
        queue.closed = true;
        self.shared.wakes.notify_all();
        let some_left = |queue: &mut Queue<S>| queue.gone < queue.threads.len();
        let (mut queue, _) =
            self.shared.leaves.wait_timeout_while(queue, PATIENCE, some_left).unwrap_or_else(PoisonError::into_inner);
        let all_are = queue.gone == queue.threads.len();
        let threads = std::mem::take(&mut queue.threads);
        drop(queue);
        for thread in threads {
            if all_are || thread.is_finished() {
                // A thread ends in no other way: jobs that panic are caught.
                let _ = thread.join();
            }
        }
    }
}

impl<S> fmt::Debug for Pool<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("limit", &self.shared.limit).finish_non_exhaustive()
    }
}

/// Why there is no result.
#[derive(Debug)]
pub(super) enum PoolError {
    Panicked,
    Spawn(io::Error),
    Timeout,
}

struct Shared<S> {
    queue: Mutex<Queue<S>>,
    /// For threads: there is a job, or the end.
    wakes: Condvar,
    /// For who waits for the threads to leave.
    leaves: Condvar,
    limit: usize,
    state: Box<dyn Fn() -> S + Send + Sync>,
}

impl<S> Shared<S> {
    fn lock(&self) -> MutexGuard<'_, Queue<S>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Queue<S> {
    jobs: VecDeque<Job<S>>,
    idle: usize,
    threads: Vec<JoinHandle<()>>,
    /// How many of the threads have left.
    gone: usize,
    closed: bool,
}

struct Job<S> {
    /// Whether somebody has decided about it: a thread, or a caller who went away.
    taken: Arc<AtomicBool>,
    work: Box<dyn FnOnce(&mut S) + Send>,
}

fn work<S>(shared: &Shared<S>) {
    work_until_closed(shared);
    shared.lock().gone += 1;
    shared.leaves.notify_all();
}

fn work_until_closed<S>(shared: &Shared<S>) {
    let mut state = (shared.state)();
    loop {
        let mut queue = shared.lock();
        let job = loop {
            if let Some(job) = queue.jobs.pop_front() {
                break job;
            }
            if queue.closed {
                return;
            }
            queue.idle += 1;
            queue = shared.wakes.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
        };
        drop(queue);
        if job.taken.swap(true, Ordering::SeqCst) {
            continue;
        }
        if catch_unwind(AssertUnwindSafe(|| (job.work)(&mut state))).is_err() {
            // Whatever the job left behind goes with the state.
            state = (shared.state)();
        }
    }
}

/// How long the end waits for threads that are busy.
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::time::Instant;

    fn pool(limit: usize) -> Pool<u32> {
        Pool::new(NonZeroUsize::new(limit).expect("not zero"), || 0)
    }

    #[test]
    fn a_job_that_hangs_costs_its_caller_the_deadline_and_no_other() {
        let pool = pool(2);
        let began = Instant::now();
        let (release, held) = channel::<()>();
        let hung = pool.run(Duration::from_millis(30), move |_| held.recv().is_ok());
        assert!(matches!(hung, Err(PoolError::Timeout)));
        assert!(began.elapsed() < Duration::from_secs(5));
        assert_eq!(pool.run(Duration::from_secs(60), |_| 7).expect("the other thread"), 7);
        drop(release);
    }

    #[test]
    fn a_job_not_begun_in_time_is_never_begun() {
        let pool = pool(1);
        let (release, held) = channel::<()>();
        let hung = pool.run(Duration::from_millis(10), move |_| held.recv().is_ok());
        assert!(matches!(hung, Err(PoolError::Timeout)));
        let begun = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&begun);
        let late = pool.run(Duration::from_millis(10), move |_| count.fetch_add(1, Ordering::SeqCst));
        assert!(matches!(late, Err(PoolError::Timeout)));
        drop(release);
        pool.run(Duration::from_secs(60), |_| ()).expect("the thread is back");
        assert_eq!(begun.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_panic_is_an_error_and_the_state_starts_again() {
        let pool = pool(1);
        pool.run(Duration::from_secs(60), |state| *state = 5).expect("runs");
        let panicked = pool.run(Duration::from_secs(60), |_| -> u32 { std::panic::panic_any("a test's own") });
        assert!(matches!(panicked, Err(PoolError::Panicked)));
        assert_eq!(pool.run(Duration::from_secs(60), |state| *state).expect("runs"), 0);
    }

    #[test]
    fn the_end_waits_for_threads_but_not_for_those_that_hang() {
        struct Slow(Arc<AtomicUsize>);
        impl Drop for Slow {
            fn drop(&mut self) {
                std::thread::sleep(Duration::from_millis(50));
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let dropped = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&dropped);
        let pool = Pool::new(NonZeroUsize::MIN, move || Slow(Arc::clone(&count)));
        pool.run(Duration::from_secs(60), |_| ()).expect("runs");
        drop(pool);
        assert_eq!(dropped.load(Ordering::SeqCst), 1);
        let pool = self::pool(1);
        let (release, held) = channel::<()>();
        let hung = pool.run(Duration::from_millis(10), move |_| held.recv().is_ok());
        assert!(matches!(hung, Err(PoolError::Timeout)));
        let began = Instant::now();
        drop(pool);
        assert!(began.elapsed() < Duration::from_secs(20));
        drop(release);
    }

    #[test]
    fn no_more_threads_than_the_limit_work() {
        let pool = Arc::new(pool(3));
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        std::thread::scope(|scope| {
            for _ in 0..12 {
                let (pool, now, most) = (Arc::clone(&pool), Arc::clone(&now), Arc::clone(&most));
                scope.spawn(move || {
                    pool.run(Duration::from_secs(60), move |_| {
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_millis(5));
                        now.fetch_sub(1, Ordering::SeqCst);
                    })
                    .expect("runs");
                });
            }
        });
        assert!((1..=3).contains(&most.load(Ordering::SeqCst)));
    }
}
