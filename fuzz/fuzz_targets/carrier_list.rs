#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| chartwire::fuzzing::check("carrier_list", data));
