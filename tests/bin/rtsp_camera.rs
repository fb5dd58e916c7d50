//! A real RTSP camera for tests and the demo.
fn main() {}
