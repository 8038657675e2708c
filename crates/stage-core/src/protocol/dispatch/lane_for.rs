use std::hash::{Hash, Hasher};

/// The lane that a key falls on, of `lanes`. Keys are spread evenly, also if they are alike.
///
/// The function is fixed: 64-bit FNV-1a over the key's bytes, numbers taken as little-endian and
/// those of the platform's size as 64 bits, then the finalizer of MurmurHash3, then the remainder. So numbers, text and
/// what is made of them fall on the same lane on every platform and in every version. What else a
/// type gives to its hasher is its own to decide.
///
/// # Panics
///
/// If `lanes` is zero.
///
/// ```
/// use stage_core::protocol::lane_for;
///
/// assert_eq!(lane_for("orders/17", 8), lane_for(&String::from("orders/17"), 8));
/// ```
pub fn lane_for<K: Hash + ?Sized>(key: &K, lanes: usize) -> usize {
    let mut hasher = Fnv1a::default();
    key.hash(&mut hasher);
    (hasher.finish() % lanes as u64) as usize
}

/// Each `write` of a number is overridden: by default they depend on the platform.
struct Fnv1a(u64);

impl Default for Fnv1a {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv1a {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn write_u16(&mut self, number: u16) {
        self.write(&number.to_le_bytes());
    }

    fn write_u32(&mut self, number: u32) {
        self.write(&number.to_le_bytes());
    }

    fn write_u64(&mut self, number: u64) {
        self.write(&number.to_le_bytes());
    }

    fn write_u128(&mut self, number: u128) {
        self.write(&number.to_le_bytes());
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    fn write_isize(&mut self, number: isize) {
        self.write_i64(number as i64);
    }

    /// Without this the low bits, which choose the lane, would hardly be mixed.
    fn finish(&self) -> u64 {
        let mut hash = self.0;
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        hash ^ (hash >> 33)
    }
}
