//! PyTorch
use super::finish::{Imported, Wishes};
use crate::models::Architecture;
pub fn is_meant(bytes: &[u8]) -> bool {
    bytes.get(8) == Some(&b'{')
}
pub fn import(_bytes: &[u8], _: &Architecture, _wishes: &Wishes) -> Result<Imported, String> {
    Err("todo".into())
}
