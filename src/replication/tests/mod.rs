//! Seeded histories of sources, disk and process, and an oracle of plain maps after every step.

mod cases;
mod disk;
mod flows;
mod histories;
mod simulation;
mod world;
