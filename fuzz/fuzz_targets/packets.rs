#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wgbind_fuzz::packets(data));
