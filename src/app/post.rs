//! What the window and a thread behind it leave for each other.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Letters under a lock that is never held for long, and a bell for whoever waits for one.
#[derive(Default)]
pub struct Post<M> {
    mail: Mutex<M>,
    came: Condvar,
}

impl<M> Post<M> {
    pub fn new(mail: M) -> Post<M> {
        Post { mail: Mutex::new(mail), came: Condvar::new() }
    }

    pub fn mail(&self) -> MutexGuard<'_, M> {
        lock(&self.mail)
    }

    /// Leaves something, and rings.
    pub fn send(&self, write: impl FnOnce(&mut M)) {
        write(&mut self.mail());
        self.came.notify_all();
    }

    /// Gives the mail back and waits until something has come, perhaps not what one waits for.
    pub fn wait<'a>(&'a self, mail: MutexGuard<'a, M>) -> MutexGuard<'a, M> {
        self.came.wait(mail).unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits as long as there is nothing yet, but no longer than that.
    pub fn wait_while(&self, patience: Duration, nothing: impl Fn(&M) -> bool) {
        let waited = self.came.wait_timeout_while(self.mail(), patience, |mail| nothing(mail));
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

/// Whoever panicked with it in hand left it whole: nothing is done under these locks but to put things in and out.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
