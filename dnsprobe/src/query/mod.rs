//! Asking DNS servers from where a pod stands: what is sent, what comes back,
//! and what that proves.
//!
//! [`conclude`] is pure and sees measurements only; [`measure`] sends, on a
//! thread of its own that alone enters the pod's network namespace.

mod conclusion;
mod exchange;
mod measure;
mod measurement;
mod place;

pub use conclusion::{Conclusion, conclude};
pub use measure::{Report, Step, Task, measure, scoped};
pub use measurement::{
    Discarded, Exchange, Measurement, Mismatch, Outcome, Target, Transport, Tries,
};
pub use place::{Place, PlaceError};
