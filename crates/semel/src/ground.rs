//! Ground: what the deeds stand on. The manifest's stores, and the world.

pub mod database;
pub mod digests;
pub mod glob;
pub mod home;
pub mod http;
pub mod manifest;
pub mod once_log;
pub mod one_writer;
pub mod records;
pub mod world;
