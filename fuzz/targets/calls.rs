#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| belvedere_fuzz::calls(data));
