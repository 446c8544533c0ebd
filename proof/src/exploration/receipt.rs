//! An answer that shows whether it is complete.

use idempotency::engine::{Answer, UnreadableAnswer};

/// The answer of a call: its number and, if it is long, content derived from the number alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Receipt {
    pub(super) number: u64,
    pub(super) is_long: bool,
}

/// The length of an answer's parts: a long answer has two or three.
pub(super) const PART_BYTES: usize = 4200;

impl Receipt {
    fn bytes(self) -> Vec<u8> {
        let mut bytes = self.number.to_be_bytes().to_vec();
        if self.is_long {
            // The content is incompressible and therefore too long for the record.
            let mut rest = vec![0; if self.number.is_multiple_of(2) { 8300 } else { 8500 }];
            fastrand::Rng::with_seed(self.number).fill(&mut rest);
            bytes.extend(rest);
        }
        bytes
    }
}

impl Answer for Receipt {
    fn write(&self, _: usize) -> Vec<u8> {
        self.bytes()
    }

    fn read(bytes: &[u8]) -> Result<Self, UnreadableAnswer> {
        let number = bytes.first_chunk().map(|number| u64::from_be_bytes(*number));
        let receipt = number.map(|number| Self { number, is_long: bytes.len() > 8 });
        let whole = receipt.filter(|receipt| receipt.bytes() == bytes);
        whole.ok_or_else(|| UnreadableAnswer::OtherForm("a part belongs to another answer".into()))
    }
}
