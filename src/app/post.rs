//! The mailbox in which the window and a thread behind it leave messages for each other.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Mail under a lock that is never held for long, and a condition variable for whoever waits for it.
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

    /// Leaves something in the mail, and wakes whoever waits.
    pub fn send(&self, write: impl FnOnce(&mut M)) {
        write(&mut self.mail());
        self.came.notify_all();
    }

    /// Releases the mail and waits until something has come, which may not be what the caller waits for.
    pub fn wait<'a>(&'a self, mail: MutexGuard<'a, M>) -> MutexGuard<'a, M> {
        self.came.wait(mail).unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while `nothing` holds, but no longer than `patience`.
    pub fn wait_while(&self, patience: Duration, nothing: impl Fn(&M) -> bool) {
        let waited = self.came.wait_timeout_while(self.mail(), patience, |mail| nothing(mail));
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

/// Ignores poisoning: a panic leaves the contents whole, since under these locks things are only put in and taken out.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
