//! The commands as their users meet them: each run as a process of its own, on small data sets.

#[path = "../common/mod.rs"]
mod common;

#[path = "../golden/mod.rs"]
mod golden;

#[path = "../travel/mod.rs"]
mod travel;

mod augment;
mod classify;
mod classify_resume;
mod classify_rows;
mod cli;
mod data_sources;
mod doctor;
mod evaluate_json;
mod gan;
mod gan_flags;
mod generate;
mod generate_classes;
mod import_export;
mod import_tensors;
mod precision;
mod snapshots;
mod train_from;
mod tune;
