//! What edge and cloud say to each other, and nothing else.
//!
//! **The compatibility promise.** A device in the field is updated late or never, so a receiver accepts
//! every version since v1 of the last two years, and a device never needs a newer receiver to keep
//! delivering. Therefore: readers tolerate unknown fields and unknown kinds ([`record::Body::Unknown`]),
//! no field ever changes its meaning, and `golden/` keeps one sample of every kind and version for ever.
//!
//! **What is signed is never encoded twice.** A batch and a command are turned into bytes once, by the
//! side that signs them; everyone after that stores, sends and verifies those very bytes.
//!
//! No I/O, no clock, no runtime: everything here is a function of its input.

pub mod batch;
pub mod claim;
pub mod command;
pub mod digest;
pub mod enroll;
pub mod evidence;
pub mod heartbeat;
pub mod ids;
pub mod receipt;
pub mod record;
pub mod renew;
pub mod sign;
pub mod time;
pub mod topic;

pub use batch::{Batch, BatchError, SignedBatch};
pub use digest::Sha256;
pub use ids::{
    CameraId, CommandId, ContractId, DeviceId, EnrollmentId, Epoch, EventId, Seq, SiteId,
};
pub use receipt::{Receipt, Rejected, SeqRange};
pub use record::{Body, MediaClass, Record};
pub use sign::{SigningKey, VerifyingKey};
pub use time::{BootId, ClockStamp, ClockState, RecordTime, UtcMicros};
