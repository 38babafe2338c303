//! Any bytes are a command, with events or without, or refused; a command that was read is written
//! as it was read, and applying it never panics, whatever came before.

#![no_main]

use headcount::engine::record::{decode, encode};
use headcount::model::{Command, PopulationName, Revision, StoreLimits};
use headcount::population::Population;
use headcount::testing::generate::{Choices, action, once};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let population = Population::new(StoreLimits::default());
    let mut revision = 0;
    let mut apply = |command: &Command| {
        revision += 1;
        match command {
            Command::SetLimits(limits) => population.set_limits(*limits),
            Command::Population { once, action, .. } => {
                let _ = population.apply_once(Revision::new(revision), once.as_ref(), action);
            }
        }
    };

    // Commands made of the bytes, with a byte of their encoding changed.
    let mut choices = Choices::new(bytes);
    for _ in 0..choices.below(8) {
        let command = Command::Population {
            name: PopulationName::default(),
            once: once(&mut choices),
            action: action(&mut choices),
        };
        let mut encoded = encode(&command);
        assert_eq!(decode(&encoded).as_ref(), Ok(&command));
        apply(&command);
        let at = choices.below(encoded.len());
        encoded[at] ^= choices.below(256) as u8;
        if choices.yes() {
            encoded.truncate(at);
        }
        if let Ok(changed) = decode(&encoded) {
            assert_eq!(decode(&encode(&changed)), Ok(changed.clone()));
            apply(&changed);
        }
    }

    // The bytes themselves.
    if let Ok(command) = decode(bytes) {
        assert_eq!(decode(&encode(&command)), Ok(command.clone()));
        apply(&command);
    }
});
