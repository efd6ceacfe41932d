//! DNS messages as far as dnsprobe reads them: the question, the response
//! code, and names that are safe to print. No I/O.

mod exchange;
mod message;
mod name;
mod question;
mod rcode;
mod record;
pub mod resolv_conf;

pub use exchange::{AnswerSize, BehindHeader, Edns, Exchange, QuerySize};
pub use message::{Answer, NotAnAnswer, encode_query, read_answer};
pub use name::{Name, NameError};
pub use question::{QType, Question, QuestionError};
pub use rcode::{parse_rcode, rcode_name};
pub use record::Record;
