//! The one whole-system test binary: one program to build, one list of what belongs where.

mod capture; // a camera and the agent's capture over real sockets, in good and bad times
mod delivery; // commands, masks, and records where MQTT is blocked
mod enrollment; // an installer enrolls a box, rightly and wrongly
mod killed; // kill -9 in the middle of the work
mod main_job; // camera to browser
mod quiet; // cameras that mostly show nothing
mod rules; // zones, lines, counts and a covered camera, on a customer's phone
mod tidy; // rules over the source itself
