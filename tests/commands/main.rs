//! The commands as their users meet them: each run as a process of its own, on small data sets.

#[path = "../common/mod.rs"]
mod common;

#[path = "../golden/mod.rs"]
mod golden;

#[path = "../travel/mod.rs"]
mod travel;

mod augment;
mod classify;
mod cli;
mod data_sources;
mod doctor;
mod gan;
mod gan_flags;
mod generate;
mod import_export;
mod precision;
mod snapshots;
mod train_from;
mod tune;
