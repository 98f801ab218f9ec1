#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| chartwire::fuzzing::check("smart_id_token", data));
